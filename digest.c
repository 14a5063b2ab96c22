/* digest.c - MD5 and SHA-2
 *
 * SHA-256 and SHA-512 are one algorithm with words of two sizes, down to their constants: the shorter ones are the upper
 * halves of the longer.  Passwords are made of them (hash.c), and handshakes of TLS (sha2.c, prf.c).
 */
#include "digest.h"

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
static const uint64_t sha512_start[8] = {
	0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1,
	0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179,
};

/* Of the square roots of the 9th to 16th (5.3.4). */
static const uint64_t sha384_start[8] = {
	0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
	0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
};

static const uint64_t md5_start[8] = { 0x67452301ull << 32, 0xefcdab89ull << 32, 0x98badcfeull << 32, 0x10325476ull << 32 };

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
md5_mix(uint64_t state[8], const unsigned char *block)
{
	static const uint8_t turns[4][4] = { { 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 } };
	static const uint8_t steps[4] = { 1, 5, 3, 7 }, starts[4] = { 0, 1, 5, 0 };
	uint32_t a = state[0], b = state[1], c = state[2], e = state[3], f, t;

	for (unsigned i = 0; i < 64; i++) {
		unsigned round = i / 16, at = (starts[round] + steps[round] * i) % 16;

		f = round == 0 ? (b & c) | (~b & e) : round == 1 ? (b & e) | (c & ~e) : round == 2 ? b ^ c ^ e : c ^ (b | ~e);
		t = e;
		e = c;
		c = b;
		b += left(a + f + md5_k[i] + (uint32_t)get(block + 4 * at, 4, true), turns[round][i % 4]);
		a = t;
	}
	state[0] += a;
	state[1] += b;
	state[2] += c;
	state[3] += e;
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
sha256_mix(uint64_t state[8], const unsigned char *block)
{
	sha_mix(state, block, 32, 64);
}

static void
sha512_mix(uint64_t state[8], const unsigned char *block)
{
	sha_mix(state, block, 64, 80);
}

const struct algorithm md5 = { md5_mix, md5_start, 64, 16, 4, true };
const struct algorithm sha256 = { sha256_mix, sha512_start, 64, 32, 4, false };
const struct algorithm sha384 = { sha512_mix, sha384_start, 128, 48, 8, false };
const struct algorithm sha512 = { sha512_mix, sha512_start, 128, 64, 8, false };

void
digest_begin(struct digest *d, const struct algorithm *a)
{
	d->n = 0;
	for (unsigned i = 0; i < 8; i++)
		d->state[i] = a->start[i] >> (64 - 8 * a->word);
}

void
digest_add(struct digest *d, const struct algorithm *a, const void *p, size_t n)
{
	unsigned at = (unsigned)d->n % a->block, room;

	d->n += n;
	for (; n; n -= room, p = (const char *)p + room) {
		room = a->block - at;
		if (n < room)
			room = n;
		memcpy(d->block + at, p, room);
		at = (at + room) % a->block;
		if (!at)
			a->mix(d->state, d->block);
	}
}

void
digest_state(const struct digest *d, const struct algorithm *a, unsigned char *to, unsigned n)
{
	for (unsigned i = 0; i < n / a->word; i++)
		put(to + a->word * i, d->state[i], a->word, a->little);
}

void
digest_go_on(struct digest *d, const struct algorithm *a, const unsigned char *state, uint64_t n)
{
	d->n = n;
	for (unsigned i = 0; i < 8; i++)
		d->state[i] = get(state + a->word * i, a->word, a->little);
}

/* A bit, zeros, and how many bits there were, in the last two words of a block. */
void
digest_end(struct digest *d, const struct algorithm *a, unsigned char *to)
{
	unsigned at = (unsigned)d->n % a->block;

	d->block[at++] = 0x80;
	if (at > a->block - 2u * a->word) {
		memset(d->block + at, 0, a->block - at);
		a->mix(d->state, d->block);
		at = 0;
	}
	memset(d->block + at, 0, a->block - at);
	put(d->block + a->block - 8, 8 * d->n, 8, a->little);
	a->mix(d->state, d->block);
	digest_state(d, a, to, a->size);
}
