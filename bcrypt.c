/* bcrypt.c - the hashes that `htpasswd -B` makes: $2y$, $2b$ and $2a$
 *
 *   $2y$10$saltsaltsaltsaltsaltsahashhashhashhashhashhashhash
 *
 * Blowfish: its tables begin as the digits of pi and are mixed with password and salt 2^cost times; what is kept is a
 * known text that they encipher.  4 KB of digits would weigh more than the rest.  So they are worked out when the first
 * of these hashes is asked for (0.1 s on a desktop, a second or two on a small router), by Machin's formula
 *
 *   pi = 16 arctan(1/5) - 4 arctan(1/239),  arctan(1/x) = 1/x - 1/3x^3 + 1/5x^5 ...
 */
#include "auth.h"

#include <string.h>

enum {
	KEYS = 18,                      /* words: subkeys */
	WORDS = KEYS + 4 * 256,         /* and the four boxes behind them */
	LIMBS = 1 + 2 * WORDS + 2,      /* halves of words: the integer, the digits, and what is inexact */
	PREFIX = 29,                    /* of a setting, salt included */
	LETTERS = 22,                   /* of a salt */
	TURNED = 31,                    /* letters of a sum */
};

static struct {
	uint32_t pi[WORDS];
	bool known;                     /* pi is all there */
	bool begun;                     /* and salt and password are in the tables */
	uint64_t left;                  /* times to go */
	uint32_t key[KEYS], salt[KEYS]; /* as often as they have room */
	union {
		uint32_t v[WORDS];
		struct { uint32_t square, divisor, at; bool minus; int32_t sum[LIMBS]; uint16_t term[LIMBS]; } sought;
	} u;
} fish;

/* -- pi ------------------------------------------------------------------------------------------------ */

/* Limbs of the sum take on all of their terms, and are put in order at the end. */
static void
digits(void)
{
	int32_t carry = 0;

	for (unsigned i = LIMBS - 1; i > 0; i--) {
		carry += fish.u.sought.sum[i];
		if (i <= 2 * WORDS)
			fish.pi[(i - 1) / 2] |= (carry & 0xffffu) << (i % 2 ? 16 : 0);
		carry >>= 16;
	}
	fish.known = true;
}

static void
series(uint32_t square, uint32_t begin, bool minus)
{
	fish.u.sought.square = square;
	fish.u.sought.divisor = 1;
	fish.u.sought.at = 0;
	fish.u.sought.term[0] = begin;
	fish.u.sought.minus = minus;
}

/* A term: the last one divided by the square of x, and that, divided by 2k+1, added. */
static void
add_term(void)
{
	uint32_t square = fish.u.sought.square, divisor = fish.u.sought.divisor, rest = 0, rests = 0;
	uint16_t *term = fish.u.sought.term;

	if (!square)
		series(square = 5 * 5, 16 * 5, false);
	divisor = fish.u.sought.divisor;
	for (unsigned i = fish.u.sought.at; i < LIMBS; i++) {
		rest = rest << 16 | term[i];
		term[i] = rest / square;
		rest %= square;
		rests = rests << 16 | term[i];
		fish.u.sought.sum[i] += fish.u.sought.minus ? -(int32_t)(rests / divisor) : (int32_t)(rests / divisor);
		rests %= divisor;
	}
	while (fish.u.sought.at < LIMBS && !term[fish.u.sought.at])
		fish.u.sought.at++;
	fish.u.sought.divisor += 2;
	fish.u.sought.minus = !fish.u.sought.minus;
	if (fish.u.sought.at < LIMBS)
		return;
	if (square == 5 * 5)
		series(239 * 239, 4 * 239, true);
	else
		digits();
}

/* -- Blowfish ------------------------------------------------------------------------------------------ */

static void
encipher(uint32_t x[2])
{
	const uint32_t *v = fish.u.v, *box = v + KEYS;
	uint32_t a = x[0], b = x[1], t;

	for (unsigned i = 0; i < 16; i++) {
		a ^= v[i];
		t = (((box[a >> 24] + box[256 + (a >> 16 & 255)]) ^ box[512 + (a >> 8 & 255)]) + box[768 + (a & 255)]) ^ b;
		b = a;
		a = t;
	}
	x[0] = b ^ v[17];
	x[1] = a ^ v[16];
}

/* All tables anew, out of themselves and the key; salt NULL: none. */
static void
expand(const uint32_t key[KEYS], const uint32_t *salt)
{
	uint32_t x[2] = { 0, 0 };

	for (unsigned i = 0; i < KEYS; i++)
		fish.u.v[i] ^= key[i];
	for (unsigned i = 0; i < WORDS; i += 2) {
		if (salt) {
			x[0] ^= salt[i % 4];
			x[1] ^= salt[i % 4 + 1];
		}
		encipher(x);
		memcpy(fish.u.v + i, x, sizeof x);
	}
}

/* -- bcrypt -------------------------------------------------------------------------------------------- */

static const char alphabet[] = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

static bool
take_salt(const char *p)
{
	uint32_t bits = 0;
	unsigned n = 0;

	for (unsigned i = 0, have = 0; i < LETTERS; i++) {
		const char *at = find_char(alphabet, p[i]);

		if (!at)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		for (; have >= 8 && n < 16; n++) {
			have -= 8;
			fish.salt[n / 4] = fish.salt[n / 4] << 8 | (bits >> have & 255);
		}
	}
	for (unsigned i = 4; i < KEYS; i++)
		fish.salt[i] = fish.salt[i % 4];
	return true;
}

bool
bcrypt_begin(struct span password, struct span setting)
{
	struct span cost;
	uint64_t n;

	if (setting.n < PREFIX || !find_char("aby", setting.p[2]) || setting.p[3] != '$' || setting.p[6] != '$')
		return false;
	cost = (struct span){ setting.p + 4, 2 };
	if (!span_uint(cost, &n) || n < 4 || n > 31 || !take_salt(setting.p + PREFIX - LETTERS))
		return false;
	for (unsigned i = 0; i < 4 * KEYS; i++) {       /* the NUL at its end is of it */
		unsigned at = i % (password.n + 1);

		fish.key[i / 4] = fish.key[i / 4] << 8 | (at < password.n ? (unsigned char)password.p[at] : 0);
	}
	fish.left = (uint64_t)1 << n;
	fish.begun = false;
	return true;
}

bool
bcrypt_step(void)
{
	if (!fish.known) {
		add_term();
	} else if (!fish.begun) {
		memcpy(fish.u.v, fish.pi, sizeof fish.pi);
		expand(fish.key, fish.salt);
		fish.begun = true;
	} else if (fish.left) {
		expand(fish.key, NULL);
		expand(fish.salt, NULL);
		fish.left--;
	}
	return fish.left;
}

void
bcrypt_end(struct buf *to, struct span setting)
{
	static const char text[] = "OrpheanBeholderScryDoubt";
	uint32_t x[6] = { 0 };

	if (to) {
		for (unsigned i = 0; i < 24; i++)
			x[i / 4] = x[i / 4] << 8 | (unsigned char)text[i];
		for (unsigned i = 0; i < 64 * 6; i += 2)
			encipher(x + i % 6);
		x[5] &= ~0xffu;                 /* whoever wrote it first forgot the last byte */
		buf_mem(to, setting.p, PREFIX);
		for (unsigned i = 0; i < TURNED; i++) {
			unsigned bit = 6 * i % 32;
			uint64_t two = (uint64_t)x[6 * i / 32] << 32 | (6 * i / 32 < 5 ? x[6 * i / 32 + 1] : 0);

			buf_char(to, alphabet[two >> (58 - bit) & 63]);
		}
	}
	wipe(fish.key, sizeof fish.key);
	if (fish.known)
		wipe(fish.u.v, sizeof fish.u.v);
}
