/* hash.c - what is kept in place of passwords: the hashes of crypt(3) that are made of MD5 and SHA-2
 *
 *   $1$salt$...   $apr1$salt$...   MD5, a thousand rounds; apr1 is what htpasswd writes
 *   $5$salt$...   $6$salt$...      SHA-256 and SHA-512, 5,000 rounds or as many as `rounds=N$` before the salt says
 *
 * They are here, and $2y$ (bcrypt) is next door, because the C libraries of small systems have some of them, others or
 * none, and nobody has apr1.  SHA-256 and SHA-512 are one algorithm with words of two sizes, down to their constants: the
 * shorter ones are the upper halves of the longer.  For whatever else there is crypt(3) is asked, when it is linked in.
 */
#include "auth.h"

#include <string.h>

/* -- digests --------------------------------------------------------------------------------------- */

enum { DIGEST_MOST = 64, BLOCK_MOST = 128, PASSWORD_SALT = 16 };

struct digest {
	const struct kind *kind;
	uint64_t n;                     /* bytes so far */
	uint64_t state[8];
	unsigned char block[BLOCK_MOST];
};

struct kind {
	void (*mix)(struct digest *);   /* a block into the state */
	uint8_t block, size;            /* bytes of a block, of the result */
	uint8_t word;                   /* bytes of a word */
	bool little;                    /* words begin with their lowest byte */
	uint8_t salt;                   /* bytes of a salt at the most */
	struct span id;
	unsigned rounds;
};

/* The fractions of the cube roots of the first 80 primes (FIPS 180-4 4.2.3). */
static const uint64_t sha_k[80] = {
	0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
	0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
	0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
	0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
	0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
	0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
	0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
	0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
	0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
	0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
	0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
	0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
	0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
	0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
	0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
	0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

/* Of the square roots of the first 8 (5.3.5). */
const uint64_t sha512_start[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* Of the sines of 1 to 64 (RFC 1321 3.4). */
static const uint32_t md5_k[64] = {
	0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501,
	0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821,
	0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8,
	0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a,
	0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70,
	0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665,
	0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1,
	0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391,
};

static uint64_t
get(const unsigned char *p, unsigned bytes, bool little)
{
	uint64_t x = 0;

	for (unsigned i = 0; i < bytes; i++)
		x = x << 8 | p[little ? bytes - 1 - i : i];
	return x;
}

static void
put(unsigned char *p, uint64_t x, unsigned bytes, bool little)
{
	for (unsigned i = 0; i < bytes; i++)
		p[little ? i : bytes - 1 - i] = x >> 8 * i;
}

static uint32_t
left(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static void
md5_mix(struct digest *d)
{
	static const uint8_t turns[4][4] = { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } };
	static const uint8_t steps[4] = { 1, 5, 3, 7 }, starts[4] = { 0, 1, 5, 0 };
	uint32_t a = d->state[0], b = d->state[1], c = d->state[2], e = d->state[3], f, t;

	for (unsigned i = 0; i < 64; i++) {
		unsigned round = i / 16, at = (starts[round] + steps[round] * i) % 16;

		f = round == 0 ? (b & c) | (~b & e) : round == 1 ? (b & e) | (c & ~e) : round == 2 ? b ^ c ^ e : c ^ (b | ~e);
		t = e;
		e = c;
		c = b;
		b += left(a + f + md5_k[i] + (uint32_t)get(d->block + 4 * at, 4, true), turns[round][i % 4]);
		a = t;
	}
	d->state[0] += a;
	d->state[1] += b;
	d->state[2] += c;
	d->state[3] += e;
}

/* Words of 32 bits lie in 64 whose upper half is zero; bits is a constant wherever this is put. */
static inline __attribute__((always_inline)) uint64_t
word(uint64_t x, unsigned bits)
{
	return bits == 64 ? x : (uint32_t)x;
}

static inline __attribute__((always_inline)) uint64_t
right(uint64_t x, unsigned n, unsigned bits)
{
	return word(x >> n | x << (bits - n), bits);
}

static inline __attribute__((always_inline)) uint64_t
turned(uint64_t x, unsigned i, unsigned j, unsigned k, unsigned bits)
{
	return right(x, i, bits) ^ right(x, j, bits) ^ right(x, k, bits);
}

/* The next sixteen words of the schedule, in place of the last (FIPS 180-4 6.2.2). */
static inline __attribute__((always_inline)) void
schedule(uint64_t w[16], unsigned bits)
{
	for (unsigned i = 0; i < 16; i++) {
		uint64_t x = w[(i + 1) % 16], y = w[(i + 14) % 16];

		x = bits == 64 ? right(x, 1, bits) ^ right(x, 8, bits) ^ x >> 7 : right(x, 7, bits) ^ right(x, 18, bits) ^ x >> 3;
		y = bits == 64 ? right(y, 19, bits) ^ right(y, 61, bits) ^ y >> 6 :
		    right(y, 17, bits) ^ right(y, 19, bits) ^ y >> 10;
		w[i] = word(w[i] + x + w[(i + 9) % 16] + y, bits);
	}
}

static inline __attribute__((always_inline)) void
sha_mix(uint64_t state[8], const unsigned char *block, unsigned bits, unsigned rounds)
{
	uint64_t w[16], store[80 + 8], *s = store + 80, t;     /* in each round the eight begin one place earlier */

	memcpy(s, state, 8 * sizeof *s);
	for (unsigned i = 0; i < 16; i++)
		w[i] = get(block + bits / 8 * i, bits / 8, false);
	for (unsigned i = 0; i < rounds; i++) {
		if (i && i % 16 == 0)
			schedule(w, bits);
		t = s[7] + (bits == 64 ? turned(s[4], 14, 18, 41, bits) : turned(s[4], 6, 11, 25, bits)) +
		    ((s[4] & s[5]) ^ (~s[4] & s[6])) + (sha_k[i] >> (64 - bits)) + w[i % 16];
		s--;
		s[4] = word(s[4] + t, bits);
		s[0] = word(t + (bits == 64 ? turned(s[1], 28, 34, 39, bits) : turned(s[1], 2, 13, 22, bits)) +
		    ((s[1] & s[2]) ^ (s[1] & s[3]) ^ (s[2] & s[3])), bits);
	}
	for (unsigned i = 0; i < 8; i++)
		state[i] = word(state[i] + s[i], bits);
}

static void
sha256_mix(struct digest *d)
{
	sha_mix(d->state, d->block, 32, 64);
}

void
sha512_block(uint64_t state[8], const unsigned char block[128])
{
	sha_mix(state, block, 64, 80);
}

static void
sha512_mix(struct digest *d)
{
	sha512_block(d->state, d->block);
}

static const struct kind kinds[] = {
	{ sha512_mix, 128, 64, 8, false, 16, SPAN("$6$"), 5000 },
	{ sha256_mix, 64, 32, 4, false, 16, SPAN("$5$"), 5000 },
	{ CONFIG_APR1 ? md5_mix : NULL, 64, 16, 4, true, 8, SPAN("$1$"), 1000 },
	{ CONFIG_APR1 ? md5_mix : NULL, 64, 16, 4, true, 8, SPAN("$apr1$"), 1000 },
};

enum { KINDS = CONFIG_APR1 ? 4 : 2 };

static void
begin(struct digest *d, const struct kind *kind)
{
	static const uint64_t md5_start[4] = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 };

	d->kind = kind;
	d->n = 0;
	if (CONFIG_APR1 && kind->little)
		memcpy(d->state, md5_start, sizeof md5_start);
	else
		for (unsigned i = 0; i < 8; i++)
			d->state[i] = sha512_start[i] >> (64 - 8 * kind->word);
}

static void
add(struct digest *d, const void *p, size_t n)
{
	unsigned at = d->n % d->kind->block, room;

	d->n += n;
	for (; n; n -= room, p = (const char *)p + room) {
		room = d->kind->block - at;
		if (n < room)
			room = n;
		memcpy(d->block + at, p, room);
		at = (at + room) % d->kind->block;
		if (!at)
			d->kind->mix(d);
	}
}

/* The end: a bit, zeros, and how many bits there were, in the last two words of a block. */
static void
end(struct digest *d, unsigned char *to)
{
	const struct kind *k = d->kind;
	unsigned at = d->n % k->block;

	d->block[at++] = 0x80;
	if (at > k->block - 2u * k->word) {
		memset(d->block + at, 0, k->block - at);
		k->mix(d);
		at = 0;
	}
	memset(d->block + at, 0, k->block - at);
	put(d->block + k->block - 8, 8 * d->n, 8, k->little);
	k->mix(d);
	for (unsigned i = 0; i < k->size / k->word; i++)
		put(to + k->word * i, d->state[i], k->word, k->little);
}

/* -- crypt(3) -------------------------------------------------------------------------------------- */

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
add_span(struct work *w, struct span s)
{
	add(&w->d, s.p, s.n);
}

/* The sum over and over, n bytes of it. */
static void
add_sum(struct work *w, unsigned n)
{
	unsigned size = w->d.kind->size;

	for (; n > size; n -= size)
		add(&w->d, w->sum, size);
	add(&w->d, w->sum, n);
}

static void
add_round(struct work *w)
{
	const struct span sum = { (const char *)w->sum, w->d.kind->size };
	unsigned i = w->at++;

	begin(&w->d, w->d.kind);
	add_span(w, i & 1 ? w->password : sum);
	if (i % 3)
		add_span(w, w->salt);
	if (i % 7)
		add_span(w, w->password);
	add_span(w, i & 1 ? sum : w->password);
	end(&w->d, w->sum);
}

/* The digest that all begin with: password, id if it takes part, salt, and password as often as its length says. */
static void
first(struct work *w, const struct kind *k)
{
	unsigned n = w->password.n;

	begin(&w->d, k);
	add_span(w, w->password);
	add_span(w, w->salt);
	add_span(w, w->password);
	end(&w->d, w->sum);

	begin(&w->d, k);
	add_span(w, w->password);
	if (k->little)
		add_span(w, k->id);
	add_span(w, w->salt);
	add_sum(w, n);
	for (; n; n >>= 1)
		if (k->little)
			add(&w->d, n & 1 ? "" : w->password.p, 1);
		else if (n & 1)
			add(&w->d, w->sum, k->size);
		else
			add_span(w, w->password);
	end(&w->d, w->sum);
}

/* SHA: in place of the text its digest, so many times written as itself, cut to its length. */
static struct span
stretched(struct work *w, struct span text, unsigned times, char *to)
{
	unsigned char keep[DIGEST_MOST];
	const unsigned size = w->d.kind->size;

	memcpy(keep, w->sum, size);
	begin(&w->d, w->d.kind);
	while (times--)
		add_span(w, text);
	end(&w->d, w->sum);
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
	if (!k->little && span_starts(number, SPAN("rounds=")) &&
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
	first(w, w->kind);
	if (!w->kind->little) {
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
		encode(to, w->sum, w->kind->size);
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
