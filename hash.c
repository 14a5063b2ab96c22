/* hash.c - what is kept in place of passwords: the hashes of crypt(3) that are made of MD5 and SHA-2
 *
 *   $1$salt$...   $apr1$salt$...   MD5, a thousand rounds; apr1 is what htpasswd writes
 *   $5$salt$...   $6$salt$...      SHA-256 and SHA-512, 5,000 rounds or as many as `rounds=N$` before the salt says
 *
 * They are here, and $2y$ (bcrypt) is next door, because the C libraries of small systems have some of them, others or
 * none, and nobody has apr1.  For whatever else there is crypt(3) is asked, when it is linked in.
 */
#include "auth.h"
#include "digest.h"

#include <string.h>

enum { PASSWORD_SALT = 16 };

static const struct kind {
	const struct algorithm *made_of;
	uint8_t salt;                   /* bytes of a salt at the most */
	struct span id;
	unsigned rounds;
} kinds[] = {
	{ &sha512, 16, SPAN("$6$"), 5000 },
	{ &sha256, 16, SPAN("$5$"), 5000 },
	{ CONFIG_APR1 ? &md5 : NULL, 8, SPAN("$1$"), 1000 },
	{ CONFIG_APR1 ? &md5 : NULL, 8, SPAN("$apr1$"), 1000 },
};

enum { KINDS = CONFIG_APR1 ? 4 : 2 };

/* What a hash is made from, and the digest on its way; one at a time. */
struct work {
	const struct kind *kind;        /* NULL: of others */
	bool bcrypt;                    /* and that is whose */
	struct span setting;
	struct digest d;
	struct span password, salt;     /* as they go into each round */
	unsigned rounds, at;            /* how many, and those that are done */
	bool counted;                   /* the number of rounds is written in the hash */
	unsigned char sum[DIGEST_MOST];
	struct span plain, mild;        /* password and salt as they were */
	char store[PASSWORD_MOST], stretched[PASSWORD_MOST], salted[PASSWORD_SALT];
};

static void
add(struct work *w, const void *p, unsigned n)
{
	digest_add(&w->d, w->kind->made_of, p, n);
}

static void
add_span(struct work *w, struct span s)
{
	add(w, s.p, s.n);
}

/* The sum over and over, n bytes of it. */
static void
add_sum(struct work *w, unsigned n)
{
	unsigned size = w->kind->made_of->size;

	for (; n > size; n -= size)
		add(w, w->sum, size);
	add(w, w->sum, n);
}

static void
begin(struct work *w)
{
	digest_begin(&w->d, w->kind->made_of);
}

static void
end(struct work *w)
{
	digest_end(&w->d, w->kind->made_of, w->sum);
}

static void
add_round(struct work *w)
{
	const struct span sum = { (const char *)w->sum, w->kind->made_of->size };
	unsigned i = w->at++;

	begin(w);
	add_span(w, i & 1 ? w->password : sum);
	if (i % 3)
		add_span(w, w->salt);
	if (i % 7)
		add_span(w, w->password);
	add_span(w, i & 1 ? sum : w->password);
	end(w);
}

/* The digest that all begin with: password, id if it takes part, salt, and password as often as its length says. */
static void
first(struct work *w)
{
	unsigned n = w->password.n;
	bool little = w->kind->made_of->little;

	begin(w);
	add_span(w, w->password);
	add_span(w, w->salt);
	add_span(w, w->password);
	end(w);

	begin(w);
	add_span(w, w->password);
	if (little)
		add_span(w, w->kind->id);
	add_span(w, w->salt);
	add_sum(w, n);
	for (; n; n >>= 1)
		if (little)
			add(w, n & 1 ? "" : w->password.p, 1);
		else if (n & 1)
			add(w, w->sum, w->kind->made_of->size);
		else
			add_span(w, w->password);
	end(w);
}

/* SHA: in place of the text its digest, so many times written as itself, cut to its length. */
static struct span
stretched(struct work *w, struct span text, unsigned times, char *to)
{
	unsigned char keep[DIGEST_MOST];
	const unsigned size = w->kind->made_of->size;

	memcpy(keep, w->sum, size);
	begin(w);
	while (times--)
		add_span(w, text);
	end(w);
	for (unsigned i = 0; i < text.n; i++)
		to[i] = w->sum[i % size];
	memcpy(w->sum, keep, size);
	return (struct span){ to, text.n };
}

/* Three bytes as four letters, the lowest first. */
static void
letters(struct buf *to, uint32_t x, unsigned n)
{
	static const char alphabet[] = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

	for (; n; n--, x >>= 6)
		buf_char(to, alphabet[x & 63]);
}

bool
hash_setting(struct buf *to)
{
	uint32_t salt[4];

	if (call_getrandom(salt, sizeof salt, 0) != sizeof salt)
		return false;
	buf_text(to, "$6$");
	for (unsigned i = 0; i < 4; i++)
		letters(to, salt[i], 4);
	return !to->bad;
}

/* The bytes of the sum in the order that crypt has for each kind. */
static void
encode(struct buf *to, const unsigned char *sum, unsigned size)
{
	unsigned third = size / 3, a = 0, b = third + (size == 16), c = 2 * b, t;

	for (unsigned i = 0; i < third; i++) {
		letters(to, (uint32_t)sum[a] << 16 | sum[b] << 8 | sum[c], 4);
		t = a;
		if (size == 64) {
			a = b + 1, b = c + 1, c = t + 1;
		} else if (size == 32) {
			a = c + 1, c = b + 1, b = t + 1;
		} else {
			a++, b++, c = i == 3 ? 5 : c + 1;
		}
	}
	if (size == 32)
		letters(to, (uint32_t)sum[31] << 8 | sum[30], 3);
	else
		letters(to, sum[size == 16 ? 11 : 63], 2);
}

/* $id$ [rounds=N$] salt [$ ...] */
static void
take_setting(struct work *w, const struct kind *k, struct span s)
{
	struct span rest = { s.p + k->id.n, s.n - k->id.n }, number, after = rest;
	uint64_t n;

	w->rounds = k->rounds;
	w->counted = false;
	number = span_cut(&after, '$');
	if (!k->made_of->little && span_starts(number, SPAN("rounds=")) &&
	    span_uint((struct span){ number.p + 7, number.n - 7 }, &n)) {
		w->counted = true;
		w->rounds = n < 1000 ? 1000 : n > 999999999 ? 999999999 : n;
		rest = after;
	}
	w->salt = span_cut(&rest, '$');
	if (w->salt.n > k->salt)
		w->salt.n = k->salt;
}

/* Weak: where it is in libc.so it is found, a static program does not grow by it, and -lcrypt brings it elsewhere. */
extern char *crypt(const char *, const char *) __attribute__((weak));

static bool
hash_by_libc(struct buf *to, struct span password, struct span setting)
{
	char text[PASSWORD_MOST + 1], like[HASH_MOST + 1];
	const char *made;

	if (!CONFIG_CRYPT || !crypt || setting.n > HASH_MOST)
		return false;
	memcpy(text, password.p, password.n);
	memcpy(like, setting.p, setting.n);
	text[password.n] = like[setting.n] = '\0';
	made = crypt(text, like);
	wipe(text, sizeof text);
	if (!made || made[0] == '*')
		return false;
	buf_text(to, made);
	return true;
}

static struct work work;

void
hash_begin(struct span password, struct span setting)
{
	struct work *w = &work;

	hash_end(NULL);
	w->setting = setting;
	if (password.n > PASSWORD_MOST)
		return;
	memcpy(w->store, password.p, password.n);
	w->plain = w->password = (struct span){ w->store, password.n };
	w->bcrypt = CONFIG_BCRYPT && span_starts(setting, SPAN("$2")) && bcrypt_begin(password, setting);
	for (unsigned i = 0; i < KINDS && !w->kind; i++)
		if (span_starts(setting, kinds[i].id))
			w->kind = &kinds[i];
	if (!w->kind)
		return;
	take_setting(w, w->kind, setting);
	w->mild = w->salt;
	first(w);
	if (!w->kind->made_of->little) {
		w->password = stretched(w, w->plain, w->plain.n, w->stretched);
		w->salt = stretched(w, w->mild, 16 + w->sum[0], w->salted);
	}
}

bool
hash_work(int64_t until)
{
	enum { AT_ONCE = 16 };
	struct work *w = &work;

	do {
		if (CONFIG_BCRYPT && w->bcrypt) {
			if (!bcrypt_step())
				return true;
			continue;
		}
		for (unsigned i = 0; i < AT_ONCE; i++) {
			if (!w->kind || w->at == w->rounds)
				return true;
			add_round(w);
		}
	} while (clock_now() < until);
	return false;
}

bool
hash_end(struct buf *to)
{
	struct work *w = &work;
	bool known = to && w->plain.p;

	if (CONFIG_BCRYPT && w->bcrypt) {
		bcrypt_end(to, w->setting);
	} else if (known && !w->kind) {
		known = hash_by_libc(to, w->plain, w->setting);
	} else if (known) {
		buf_span(to, w->kind->id);
		if (w->counted)
			buf_print(to, "rounds=%u$", w->rounds);
		buf_span(to, w->mild);
		buf_char(to, '$');
		encode(to, w->sum, w->kind->made_of->size);
	}
	wipe(w, sizeof *w);
	return known && !to->bad;
}

bool
password_hash(struct buf *to, struct span password, struct span setting)
{
	hash_begin(password, setting);
	while (!hash_work(INT64_MAX))
		;
	return hash_end(to);
}
