/* auth.c - who may, by password: HTTP's Basic scheme (RFC 7617)
 *
 *   credentials -- remembered? --> yes
 *        |
 *        `-- too soon after a wrong one? --> 429
 *        `-- a hash was worked out just now? --> later
 *        `-- the file, the hash -- right --> remembered, yes
 *                              `-- wrong --> 401, in a while
 *
 * A hash is slow on purpose, and while it is worked out nobody is served.  So right ones are remembered for a minute,
 * not as passwords but as keyed sums, with what the file was like that they were checked against; a rest as long as each
 * hash took follows it; and an address that was wrong is answered late, and not listened to before that.
 */
#include "auth.h"

#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
	REMEMBERED = 64,                /* right passwords */
	REMEMBER = 60000,               /* ms */
	WATCHED = 32,                   /* addresses that had a wrong one */
	WAIT = 1000,                    /* ms after the first, then twice that, and so on */
	DOUBLINGS = 3,
	FORGIVEN = 600000,              /* ms after which a wrong one does not count any more */
	LOOK = 1000,                    /* ms between looks at a file's date */
};

/* -- sums with a key of this process ------------------------------------------------------------------- */

static struct { uint64_t a, b; bool there; } key;

static void
turn(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = (v[1] << 13 | v[1] >> 51) ^ v[0];
		v[3] = (v[3] << 16 | v[3] >> 48) ^ v[2];
		v[0] = v[0] << 32 | v[0] >> 32;
		v[2] += v[1];
		v[0] += v[3];
		v[1] = (v[1] << 17 | v[1] >> 47) ^ v[2];
		v[3] = (v[3] << 21 | v[3] >> 43) ^ v[0];
		v[2] = v[2] << 32 | v[2] >> 32;
	}
}

/* SipHash-2-4, begun with a number in place of zero. */
static uint64_t
keyed(uint64_t begin, const void *data, size_t n)
{
	uint64_t v[4] = { key.a ^ begin ^ 0x736f6d6570736575, key.b ^ 0x646f72616e646f6d, key.a ^ 0x6c7967656e657261,
		key.b ^ 0x7465646279746573 }, word;
	const char *p = data;

	for (size_t left = n;; left -= 8, p += 8) {
		word = (uint64_t)n << 56;
		if (left >= 8)
			word = load8(p);
		else if (left)
			memcpy(&word, p, left);
		v[3] ^= word;
		turn(v, 2);
		v[0] ^= word;
		if (left < 8)
			break;
	}
	v[2] ^= 0xff;
	turn(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* -- what was right a short time ago -------------------------------------------------------------------- */

static struct { uint64_t sum; int64_t until; } remembered[REMEMBERED];

static bool
is_remembered(uint64_t sum)
{
	for (unsigned i = 0; i < REMEMBERED; i++)
		if (remembered[i].sum == sum && remembered[i].until > now)
			return key.there;
	return false;
}

static void
remember_it(uint64_t sum)
{
	unsigned oldest = 0;

	for (unsigned i = 1; i < REMEMBERED; i++)
		if (remembered[i].until < remembered[oldest].until)
			oldest = i;
	remembered[oldest].sum = sum;
	remembered[oldest].until = now + REMEMBER;
}

/* -- what was wrong --------------------------------------------------------------------------------------- */

static struct wrong { struct from from; unsigned times; int64_t until; } wrongs[WATCHED];

/* An IPv6 client has a whole /64 to choose addresses from. */
static struct wrong *
wrong_of(const struct conn *c, bool make)
{
	struct from f = { .family = c->from.family };
	struct wrong *oldest = wrongs;

	memcpy(f.ip, c->from.ip, f.family == AF_INET6 ? 8 : 4);
	for (struct wrong *w = wrongs; w < wrongs + WATCHED; w++) {
		if (w->times && w->until + FORGIVEN > now && !memcmp(&w->from, &f, sizeof f))
			return w;
		if (w->until < oldest->until)
			oldest = w;
	}
	if (make)
		*oldest = (struct wrong){ .from = f };
	return make ? oldest : NULL;
}

void
auth_flush(void)
{
	memset(remembered, 0, sizeof remembered);
	memset(wrongs, 0, sizeof wrongs);
}

/* LATER, or the status when as many wait already as may. */
static int
wait_until(struct conn *c, int64_t t, unsigned most, int status)
{
	unsigned n = 1;

	for (unsigned i = 0; i < slot_count(); i++)
		n += slot_at(i)->phase != FREE && slot_at(i)->dozes;
	if (n > most)
		return status;
	c->since = t;
	return LATER;
}

/* The answer is for nobody in a hurry: it may have a quarter of the busy places. */
static int
refuse_late(struct conn *c, int refusal)
{
	struct wrong *w = wrong_of(c, true);

	w->until = now + (WAIT << (w->times < DOUBLINGS ? w->times : DOUBLINGS));
	w->times++;
	c->refused = true;
	return wait_until(c, w->until, conf->clients / 4, refusal);
}

/* -- credentials ------------------------------------------------------------------------------------------ */

static int
base64(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648 4, padded or not; false when it is something else, or too long. */
static bool
decode(struct span s, struct buf *to)
{
	uint32_t bits = 0;
	unsigned n = 0, pads = 0;

	for (; pads < 2 && s.n && s.p[s.n - 1] == '='; pads++)
		s.n--;
	for (; n < s.n; n++) {
		int digit = base64(s.p[n]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (unsigned)digit;
		if (n % 4)
			buf_char(to, (char)(bits >> (6 - 2 * (n % 4))));
	}
	return n % 4 != 1 && (!pads || (n + pads) % 4 == 0) && !to->bad;
}

bool
auth_basic(struct span field, struct buf *to, struct span *user, struct span *password)
{
	struct span scheme = span_cut(&field, ' ');

	if (!span_eq_nocase(scheme, SPAN("Basic")) || !decode(span_trim(field), to))
		return false;
	*password = (struct span){ to->data, to->w };
	if (!memchr(password->p, ':', password->n))
		return false;
	for (unsigned i = 0; i < to->w; i++)    /* a NUL would end the password for crypt(3) */
		if ((unsigned char)to->data[i] < ' ' || to->data[i] == 127)
			return false;
	*user = span_cut(password, ':');
	return user->n && user->n <= USER_MOST && password->n <= PASSWORD_MOST;
}

/* -- checking ----------------------------------------------------------------------------------------------- */

/* As long for those that differ early as for those that differ late. */
static bool
same(struct span given, struct span kept)
{
	unsigned differs = given.n ^ kept.n;

	for (unsigned i = 0; i < given.n; i++)
		differs |= (unsigned char)given.p[i] ^ (unsigned char)(kept.n ? kept.p[i % kept.n] : 1);
	return !differs && kept.n;
}

/* A hash is worked out in any case, of another user when there is none; and then it rests as long as that took. */
static int64_t rests_until;

static bool
matches(struct span password, struct span hash, struct span setting, struct span user)
{
	char store[HASH_MOST + 64];
	struct buf made = { store, 0, 0, sizeof store, false };
	int64_t before = setting.n ? clock_now() : 0;
	bool known = !setting.n || password_hash(&made, password, setting);

	if (setting.n) {
		log_line(LOG_DEBUG, "a password was hashed");
		rests_until = 2 * clock_now() - before;
	}
	if (span_starts(hash, SPAN("{PLAIN}")))
		return same(password, (struct span){ hash.p + 7, hash.n - 7 });
	if (!known && hash.n)
		log_line(LOG_ERROR, "the password of '%.*s' is kept in a way that this build does not know", (int)user.n, user.p);
	return known && hash.n && same((struct span){ store, made.w }, hash);
}

/* 1, 0 or -1 when the file cannot be read. */
static int
check(const struct rule *rule, struct span user, struct span password)
{
	static struct login a;
	struct span setting;
	const char *path = rule->root.path;
	bool right;

	if (!(*path ? login_of_file(path, user, &a) : login_of_system("/etc/passwd", "/etc/shadow", user, &a)))
		return -1;
	setting = a.hash;
	if (!a.hash.n || a.hash.p[0] == '{')
		setting = (struct span){ a.decoy, a.decoy_n };
	right = matches(password, a.hash, setting, user);
	if (!right)
		log_line(LOG_WARN, a.found ? "wrong password for '%.*s'" : "wrong user", (int)user.n, user.p);
	wipe(&a, sizeof a);
	return right;
}

/* A number for the state that a file is in. */
static uint64_t
stamp_of(const char *path, uint64_t begin)
{
	struct stat st;
	uint64_t of[6];

	if (call_stat(AT_FDCWD, path, 0, &st) < 0)
		return begin;
	of[0] = st.st_dev, of[1] = st.st_ino, of[2] = st.st_size, of[3] = st.st_mtime;
	of[4] = st.st_mtim.tv_nsec, of[5] = st.st_ctime;
	return keyed(begin, of, sizeof of);
}

/* Looked at once a second; the stamp is in rule->number. */
static uint64_t
stamp(struct rule *rule)
{
	if (rule->root.looked && now < rule->root.looked + LOOK)
		return rule->number;
	rule->root.looked = now;
	if (*rule->root.path)
		rule->number = stamp_of(rule->root.path, (uintptr_t)rule);
	else
		rule->number = stamp_of("/etc/shadow", stamp_of("/etc/passwd", (uintptr_t)rule));
	return rule->number;
}

static int
check_login(struct conn *c, struct rule *rule, struct span text, struct span user, struct span password, int refusal)
{
	uint64_t sum;
	const struct wrong *w;
	int right;

	if (!key.there)
		key.there = getrandom(&key, 2 * sizeof key.a, GRND_NONBLOCK) == 2 * sizeof key.a;
	sum = keyed(stamp(rule), text.p, text.n);
	if (!is_remembered(sum)) {
		w = wrong_of(c, false);
		if (w && w->until > now) {
			c->why = "too soon after a wrong password";
			return 429;
		}
		if (rests_until > now)
			return wait_until(c, rests_until, (conf->clients + 1) / 2, 503);
		right = check(rule, user, password);
		if (right < 0)
			return 500;
		if (!right)
			return refuse_late(c, refusal);
		remember_it(sum);
	}
	memcpy(c->lent->user, user.p, user.n);
	c->lent->user_n = user.n;
	return 0;
}

int
auth_check(struct conn *c, const struct rule *rule, struct span credentials, int refusal)
{
	static char store[USER_MOST + PASSWORD_MOST + 4];
	struct buf b = { store, 0, 0, sizeof store, false };
	struct span user, password;
	int status = refusal;

	if (c->refused)
		c->why = "a wrong password";
	else if (auth_basic(credentials, &b, &user, &password))
		status = check_login(c, (struct rule *)(uintptr_t)rule, (struct span){ store, b.w }, user, password, refusal);
	wipe(store, sizeof store);
	if (status == refusal)
		c->challenge = rule;
	return status;
}

/* RFC 7617 2, 2.1: passwords are sent as UTF-8. */
void
auth_challenge(struct conn *c)
{
	struct buf *out = &c->client.out;

	buf_text(out, c->status == 407 ? "Proxy-Authenticate" : "WWW-Authenticate");
	buf_text(out, ": Basic realm=\"");
	buf_span(out, c->challenge->value);
	buf_text(out, "\", charset=\"UTF-8\"\r\n");
}
