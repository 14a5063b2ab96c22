/* auth.c - who may, by password: HTTP's Basic scheme (RFC 7617)
 *
 *   credentials -- remembered? --> yes
 *        |
 *        `-- too soon after a wrong one? --> 429
 *        `-- somebody's hash is worked out? --> later
 *        `-- the file, the hash, slice by slice -- right --> remembered, yes
 *                                             `-- wrong --> 401, in a while
 *
 * A hash is slow on purpose, and while a slice of it is worked out nobody is served.  So a rest as long follows each
 * slice; right ones are remembered for a minute, not as passwords but as keyed sums, with what the file was like that
 * they were checked against; and an address that was wrong is answered late, and not listened to before that.
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
	SLICE = 5,                      /* ms of work on a hash */
	LEFT_ALONE = 250,               /* ms after which a hash that nobody came back for is given up */
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
wrong_of(const struct from *who, bool make)
{
	struct from f = { .family = who->family };
	struct wrong *oldest = wrongs;

	memcpy(f.ip, who->ip, f.family == AF_INET6 ? 8 : 4);
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

/* It is not listened to until then. */
static int64_t
blame(const struct from *who)
{
	struct wrong *w = wrong_of(who, true);

	w->until = now + (WAIT << (w->times < DOUBLINGS ? w->times : DOUBLINGS));
	w->times++;
	return w->until;
}

/* The answer is for nobody in a hurry: it may have a quarter of the busy places. */
static int
refuse_late(struct conn *c, int refusal)
{
	c->refused = true;
	return wait_until(c, blame(&c->from), conf->clients / 4, refusal);
}

/* -- credentials ------------------------------------------------------------------------------------------ */

/* RFC 4648 4, padded or not; false when it is something else, or too long. */
static bool
decode(struct span s, struct buf *to)
{
	uint32_t bits = 0;
	unsigned n = 0, pads = 0;

	for (; pads < 2 && s.n && s.p[s.n - 1] == '='; pads++)
		s.n--;
	for (; n < s.n; n++) {
		int digit = base64_digit(s.p[n]);

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
	if (!find_byte(password->p, ':', password->n))
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

/* Who a client says it is. */
struct claim {
	struct span user, password;
	uint64_t sum;                   /* of both, and of what the file that would know was like */
};

/* The one hash that is being worked out. */
static struct {
	bool begun;
	uint64_t sum;                   /* of the claim that it is for */
	struct from from;               /* whose that is, and who comes back after the rest */
	const struct conn *owner;
	int64_t rests_until;            /* after a slice */
	struct login login;
	struct span setting;
} job;

void
auth_flush(void)
{
	memset(remembered, 0, sizeof remembered);
	memset(wrongs, 0, sizeof wrongs);
	job.begun = false;
}

/* A hash is worked out in any case, of another user when there is none.  False when the file cannot be read. */
static bool
begin(const struct rule *rule, const struct claim *claim)
{
	const char *path = rule->root.path;
	struct login *a = &job.login;

	if (!(*path ? login_of_file(path, claim->user, a) :
	    login_of_system("/etc/passwd", "/etc/shadow", claim->user, a)))
		return false;
	job.setting = a->hash;
	if (!a->hash.n || a->hash.p[0] == '{')
		job.setting = (struct span){ a->decoy, a->decoy_n };
	if (job.setting.n)
		hash_begin(claim->password, job.setting);
	job.begun = true;
	return true;
}

static bool
work(void)
{
	int64_t before = clock_now();
	bool done = !job.setting.n || hash_work(before + SLICE);

	job.rests_until = 2 * clock_now() - before;
	return done;
}

/* Was it the password? */
static bool
matches(const struct claim *claim)
{
	char store[HASH_MOST + 64];
	struct buf made = buf_on(store, sizeof store);
	struct span hash = job.login.hash;
	bool known = !job.setting.n || hash_end(&made);

	if (job.setting.n)
		log_line(LOG_DEBUG, "a password was hashed");
	if (span_starts(hash, SPAN("{PLAIN}")))
		return same(claim->password, (struct span){ hash.p + 7, hash.n - 7 });
	if (!known && hash.n)
		log_line(LOG_ERROR, "the password of '%.*s' is kept in a way that this build does not know",
		    (int)claim->user.n, claim->user.p);
	return known && hash.n && same((struct span){ store, made.w }, hash);
}

static bool
end(const struct claim *claim)
{
	bool right = matches(claim);

	if (!right)
		log_line(LOG_WARN, job.login.found ? "wrong password for '%.*s'" : "wrong user", (int)claim->user.n,
		    claim->user.p);
	wipe(&job.login, sizeof job.login);
	job.begun = false;
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

/* It dozes until the rest is over: a machine that was held up does not make it one who has left. */
static bool
left_alone(void)
{
	const struct conn *c = job.owner;
	bool dozes = c->phase != FREE && c->dozes && c->since == job.rests_until;

	return job.rests_until + LEFT_ALONE <= now && !dozes;
}

/* 0 when it is the right password; others as auth_check. */
static int
check(struct conn *c, const struct rule *rule, const struct claim *claim, int refusal)
{
	const unsigned most = (conf->clients + 1) / 2;
	const struct wrong *w;
	int status;

	if (job.begun && job.sum != claim->sum && left_alone()) {
		blame(&job.from);               /* or leaving in time would make guesses free */
		job.begun = false;
	}
	w = wrong_of(&c->from, false);
	if (w && w->until > now) {
		c->why = "too soon after a wrong password";
		return 429;
	}
	if (job.rests_until > now)
		return wait_until(c, job.rests_until, most, 503);
	if (job.begun && job.sum != claim->sum)
		return wait_until(c, now + 4 * SLICE, most, 503);
	if (!job.begun && !begin(rule, claim))
		return 500;
	job.sum = claim->sum;
	job.from = c->from;
	job.owner = c;
	if (!work()) {
		status = wait_until(c, job.rests_until, most, 503);
		job.begun = status == LATER;
		return status;
	}
	if (!end(claim))
		return refuse_late(c, refusal);
	remember_it(claim->sum);
	return 0;
}

int
auth_check(struct conn *c, const struct rule *rule, struct span credentials, int refusal)
{
	static char store[USER_MOST + PASSWORD_MOST + 4];
	struct buf b = buf_on(store, sizeof store);
	struct claim claim;
	int status = refusal;

	if (!key.there)
		key.there = call_getrandom(&key, 2 * sizeof key.a, GRND_NONBLOCK) == 2 * sizeof key.a;
	if (c->refused) {
		c->why = "a wrong password";
	} else if (auth_basic(credentials, &b, &claim.user, &claim.password)) {
		claim.sum = keyed(stamp((struct rule *)(uintptr_t)rule), store, b.w);
		status = is_remembered(claim.sum) ? 0 : check(c, rule, &claim, refusal);
		if (!status) {
			memcpy(c->lent->user, claim.user.p, claim.user.n);
			c->lent->user_n = claim.user.n;
		}
	}
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
