/* poly1305.c: the same as BearSSL's makes, for every length, and at the ends of its numbers */
#include "unit.h"

#include "../../ciphers.h"

enum { LONGEST = 300 };

static unsigned char text[LONGEST], key[32];

/* In place of ChaCha20: the key of Poly1305 is what the test says, and data stays as it is. */
static const unsigned char *once;

static uint32_t
no_cipher(const void *k, const void *iv, uint32_t number, void *data, size_t n)
{
	(void)k;
	(void)iv;
	if (!number)
		memcpy(data, once, n);
	return number;
}

static void
compare(unsigned n, unsigned aad, br_chacha20_run chacha)
{
	unsigned char a[LONGEST], b[LONGEST], one[16], other[16];

	for (int encrypt = 0; encrypt < 2; encrypt++) {
		memcpy(a, text, sizeof a);
		memcpy(b, text, sizeof b);
		br_poly1305_ctmul_run(key, key + 8, a, n, text, aad, one, chacha, encrypt);
		chapol(key, key + 8, b, n, text, aad, other, chacha, encrypt);
		CHECK(!memcmp(a, b, sizeof a) && !memcmp(one, other, sizeof one));
	}
}

static void
test_lengths(void)
{
	for (unsigned n = 0; n <= LONGEST; n++) {
		for (unsigned i = 0; i < sizeof key; i++)
			key[i] = n * 7 + i * i + 3 * n * i;
		compare(n, n * 5 % 40, br_chacha20_ct_run);
	}
	group("every length");
}

/* Carries into everything, sums about 2^130 - 5, keys of zeros and of ones. */
static void
test_ends(void)
{
	static const unsigned char bytes[] = { 0, 1, 2, 3, 4, 5, 0x0f, 0x7f, 0x80, 0xf0, 0xfa, 0xfb, 0xfc, 0xfe, 0xff };
	unsigned char own[32];

	once = own;
	for (unsigned i = 0; i < sizeof bytes * sizeof bytes * sizeof bytes; i++) {
		unsigned char x = bytes[i % sizeof bytes], y = bytes[i / sizeof bytes % sizeof bytes];
		unsigned char z = bytes[i / sizeof bytes / sizeof bytes];

		memset(own, 0, sizeof own);
		own[0] = x;                     /* a factor that lets sums stay near where they are */
		if (i & 1)
			memset(own, x, 16);
		memset(own + 16, z, 16);
		memset(text, y, sizeof text);
		text[0] = z;
		text[16] = x;
		text[31] = z;
		compare(16 * (i % 4), 0, no_cipher);
		compare(16, 16, no_cipher);
		compare(i % 60, 13, no_cipher);
	}
	group("carries");
}

int
main(void)
{
	for (unsigned i = 0; i < LONGEST; i++)
		text[i] = i * 13 + i / 256;
	test_lengths();
	test_ends();
	return unit_end();
}
