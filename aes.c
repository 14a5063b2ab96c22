/* aes.c - AES-128 in counter mode, and GHASH, for amd64: by its instructions, and without them as small as can be
 *
 * BearSSL's own are 7 KB, with longer keys that no suite of ours has.  What is slow here does 7 MB a second where the
 * instructions do 3 GB: it is met where a processor that lacks them has a client that lacks ChaCha20.  Nothing is looked up
 * by a secret, or decided by one.
 */
#include "ciphers.h"

#include <cpuid.h>
#include <immintrin.h>

#include <string.h>

#define FAST __attribute__((target("aes,pclmul,ssse3")))

enum { ROUNDS = 10, BLOCK = 16, BLOCKS = 8 };

struct keys { const br_block_ctr_class *class; unsigned char round[ROUNDS + 1][BLOCK]; };

_Static_assert(sizeof (struct keys) <= sizeof (br_aes_gen_ctr_keys), "BearSSL makes room for less");

bool
aes_here(void)
{
	unsigned a, b, c, d;

	__cpuid(1, a, b, c, d);
	return (c & bit_AES) && (c & bit_PCLMUL) && (c & bit_SSSE3);
}

static __m128i
load(const void *p)
{
	return _mm_loadu_si128(p);
}

static void
store(void *p, __m128i x)
{
	_mm_storeu_si128(p, x);
}

/* -- slow: sixteen bytes at once, by arithmetic (FIPS 197) ----------------------------------------------------------- */

/* Each byte doubled, in the field of AES. */
static __m128i
doubled(__m128i x)
{
	return _mm_xor_si128(_mm_add_epi8(x, x), _mm_and_si128(_mm_cmplt_epi8(x, _mm_setzero_si128()), _mm_set1_epi8(0x1b)));
}

static __m128i
multiplied(__m128i a, __m128i b)
{
	__m128i product = _mm_setzero_si128();

	for (unsigned i = 0; i < 8; i++, b = _mm_add_epi8(b, b))
		product = _mm_xor_si128(doubled(product), _mm_and_si128(a, _mm_cmplt_epi8(b, _mm_setzero_si128())));
	return product;
}

/* SubBytes: the inverse, which is the 254th power, and bits of it added up. */
static __m128i
substituted(__m128i x)
{
	__m128i power = x, sum;

	for (unsigned i = 0; i < 6; i++)
		power = multiplied(multiplied(power, power), x);
	power = multiplied(power, power);
	sum = _mm_xor_si128(power, _mm_set1_epi8(0x63));
	for (unsigned i = 0; i < 4; i++) {
		power = _mm_sub_epi8(_mm_add_epi8(power, power), _mm_cmplt_epi8(power, _mm_setzero_si128()));
		sum = _mm_xor_si128(sum, power);
	}
	return sum;
}

static __m128i
rows_shifted(__m128i x)
{
	unsigned char from[BLOCK], to[BLOCK];

	store(from, x);
	for (unsigned i = 0; i < BLOCK; i++)
		to[i] = from[i * 5 % BLOCK];
	return load(to);
}

/* Of each four bytes, those that stand so many bits further. */
#define TURNED(x, bits) _mm_or_si128(_mm_srli_epi32(x, bits), _mm_slli_epi32(x, 32 - (bits)))

static __m128i
columns_mixed(__m128i x)
{
	__m128i next = TURNED(x, 8), both = _mm_xor_si128(x, next);

	return _mm_xor_si128(_mm_xor_si128(doubled(both), next), TURNED(both, 16));
}

static void
set_keys(struct keys *k, const void *key)
{
	__m128i x = load(key), last;
	unsigned add = 1;

	store(k->round[0], x);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		last = _mm_shuffle_epi32(x, 0xff);
		last = _mm_xor_si128(substituted(TURNED(last, 8)), _mm_set1_epi32(add));
		x = _mm_xor_si128(x, _mm_slli_si128(x, 4));
		x = _mm_xor_si128(x, _mm_slli_si128(x, 8));
		x = _mm_xor_si128(x, last);
		store(k->round[i], x);
		add = add << 1 ^ (add & 0x80 ? 0x11b : 0);
	}
}

static __m128i
encrypted(const struct keys *k, __m128i x)
{
	x = _mm_xor_si128(x, load(k->round[0]));
	for (unsigned i = 1; i <= ROUNDS; i++) {
		x = rows_shifted(substituted(x));
		if (i < ROUNDS)
			x = columns_mixed(x);
		x = _mm_xor_si128(x, load(k->round[i]));
	}
	return x;
}

static uint32_t
run_slow(const br_block_ctr_class *const *ctx, const void *iv, uint32_t number, void *data, size_t n)
{
	const struct keys *k = (const struct keys *)(const void *)ctx;
	unsigned char *p = data, block[BLOCK];

	for (size_t i = 0; i < n; i++) {
		if (i % BLOCK == 0) {
			uint32_t big = __builtin_bswap32(number++);

			memcpy(block, iv, 12);
			memcpy(block + 12, &big, 4);
			store(block, encrypted(k, load(block)));
		}
		p[i] ^= block[i % BLOCK];
	}
	return number;
}

/* As numbers whose highest bit stands for the first (SP 800-38D 6.3); behind the end there are zeros. */
static unsigned __int128
number_of(const unsigned char *p, size_t n)
{
	unsigned __int128 x = 0;

	for (unsigned i = 0; i < BLOCK; i++)
		x = x << 8 | (i < n ? p[i] : 0);
	return x;
}

void
ghash_slow(void *y, const void *h, const void *data, size_t n)
{
	unsigned __int128 sum = number_of(y, BLOCK), product, v;
	unsigned char *to = y;

	for (const unsigned char *p = data; n; p += BLOCK, n -= n < BLOCK ? n : BLOCK) {
		sum ^= number_of(p, n);
		v = number_of(h, BLOCK);
		product = 0;
		for (unsigned i = 0; i < 128; i++, sum <<= 1) {
			product ^= v & -(sum >> 127);
			v = v >> 1 ^ ((unsigned __int128)0xe1 << 120 & -(v & 1));
		}
		sum = product;
	}
	for (unsigned i = BLOCK; i--; sum >>= 8)
		to[i] = (unsigned char)sum;
}

/* -- fast: by the instructions --------------------------------------------------------------------------------------- */

#define EIGHT(x) x(0); x(1); x(2); x(3); x(4); x(5); x(6); x(7)

static FAST __m128i
reversed(__m128i x)
{
	return _mm_shuffle_epi8(x, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
}

/* Eight blocks, and the number of the first of them, which stands in a block that is written backwards. */
static FAST __m128i
eight(const struct keys *k, __m128i first, unsigned char *p)
{
	__m128i b[BLOCKS], key = load(k->round[0]);

#define BEGIN(i) b[i] = _mm_xor_si128(reversed(first), key); first = _mm_add_epi32(first, _mm_set_epi32(0, 0, 0, 1))
#define GO_ON(i) b[i] = _mm_aesenc_si128(b[i], key)
#define END(i)   store(p + i * BLOCK, _mm_xor_si128(load(p + i * BLOCK), _mm_aesenclast_si128(b[i], key)))
	EIGHT(BEGIN);
	for (unsigned i = 1; i < ROUNDS; i++) {
		key = load(k->round[i]);
		EIGHT(GO_ON);
	}
	key = load(k->round[ROUNDS]);
	EIGHT(END);
	return first;
}

static FAST uint32_t
run_fast(const br_block_ctr_class *const *ctx, const void *iv, uint32_t number, void *data, size_t n)
{
	const struct keys *k = (const struct keys *)(const void *)ctx;
	unsigned char *p = data, rest[BLOCKS * BLOCK];
	uint32_t end = number + (uint32_t)((n + BLOCK - 1) / BLOCK);
	__m128i first;

	memcpy(rest, iv, 12);
	first = _mm_or_si128(_mm_slli_si128(_mm_srli_si128(reversed(load(rest)), 4), 4), _mm_cvtsi32_si128((int)number));
	for (; n >= sizeof rest; p += sizeof rest, n -= sizeof rest)
		first = eight(k, first, p);
	memcpy(rest, p, n);
	eight(k, first, rest);
	memcpy(p, rest, n);
	return end;
}

/* a * x + b * y.  Bits stand the other way round here, where x to the 128th is x^127 + x^126 + x^121 + 1, and what comes
 * out is lower by 128 places: so one of two factors is one place too high (RFC 8452 A). */
static FAST __m128i
products(__m128i a, __m128i x, __m128i b, __m128i y)
{
	const __m128i by = _mm_set_epi64x((int64_t)0xc200000000000000, 0);
	__m128i low = _mm_xor_si128(_mm_clmulepi64_si128(a, x, 0x00), _mm_clmulepi64_si128(b, y, 0x00));
	__m128i high = _mm_xor_si128(_mm_clmulepi64_si128(a, x, 0x11), _mm_clmulepi64_si128(b, y, 0x11));
	__m128i middle = _mm_xor_si128(_mm_clmulepi64_si128(a, x, 0x01), _mm_clmulepi64_si128(b, y, 0x01));

	middle = _mm_xor_si128(middle, _mm_clmulepi64_si128(a, x, 0x10));
	middle = _mm_xor_si128(middle, _mm_clmulepi64_si128(b, y, 0x10));
	low = _mm_xor_si128(low, _mm_slli_si128(middle, 8));
	high = _mm_xor_si128(high, _mm_srli_si128(middle, 8));
	low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, by, 0x10));
	low = _mm_xor_si128(_mm_shuffle_epi32(low, 0x4e), _mm_clmulepi64_si128(low, by, 0x10));
	return _mm_xor_si128(low, high);
}

/* Two blocks at once: the processor waits half as often for the one before. */
FAST void
ghash_fast(void *y, const void *h, const void *data, size_t n)
{
	unsigned __int128 once = number_of(h, BLOCK), twice = once << 1 ^
	    (((unsigned __int128)0xc2 << 120 | 1) & -(once >> 127));
	const __m128i zero = _mm_setzero_si128(), by = load(&twice), square = products(by, by, zero, zero);
	__m128i sum = reversed(load(y)), a, b;
	unsigned char rest[BLOCK] = { 0 };

	for (const unsigned char *p = data; n; p += BLOCK, n -= BLOCK) {
		a = zero;
		b = sum;
		if (n > BLOCK) {
			a = _mm_xor_si128(sum, reversed(load(p)));
			b = zero;
			p += BLOCK;
			n -= BLOCK;
		}
		if (n < BLOCK) {
			p = memcpy(rest, p, n);
			n = BLOCK;
		}
		sum = products(a, square, _mm_xor_si128(b, reversed(load(p))), by);
	}
	store(y, reversed(sum));
}

/* -- both ------------------------------------------------------------------------------------------------------------ */

static void
set_slow(const br_block_ctr_class **ctx, const void *key, size_t n)
{
	(void)n;
	*ctx = &aes_slow_class;
	set_keys((struct keys *)(void *)ctx, key);
}

static void
set_fast(const br_block_ctr_class **ctx, const void *key, size_t n)
{
	(void)n;
	*ctx = &aes_fast_class;
	set_keys((struct keys *)(void *)ctx, key);
}

const br_block_ctr_class aes_slow_class = { sizeof (struct keys), BLOCK, 4, set_slow, run_slow };
const br_block_ctr_class aes_fast_class = { sizeof (struct keys), BLOCK, 4, set_fast, run_fast };
