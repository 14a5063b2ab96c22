/* aes.c: the same as BearSSL's makes, with the processor's instructions and without them, for every length */
#include "unit.h"

#include "../../ciphers.h"

enum { LONGEST = 700 };

static const struct way { const br_block_ctr_class *class; br_ghash hash; const char *name; } ways[] = {
	{ &aes_slow_class, ghash_slow, "by arithmetic" }, { &aes_fast_class, ghash_fast, "by instructions" },
};

static unsigned char text[LONGEST], key[16];

static void
make(const br_block_ctr_class *class, unsigned char *to, unsigned n, uint32_t number)
{
	br_aes_gen_ctr_keys k;

	memcpy(to, text, LONGEST);
	class->init(&k.vtable, key, sizeof key);
	CHECK(k.vtable == class && class->run(&k.vtable, text + 30, number, to, n) == number + (n + 15) / 16);
}

static void
test_counter(const struct way *w)
{
	static const uint32_t numbers[] = { 0, 1, 2, 0xff, 0xffff, 0xfffffff0, 0xffffffff };
	unsigned char a[LONGEST], b[LONGEST];

	for (unsigned n = 0; n <= LONGEST; n += 1 + n / 200) {
		for (unsigned i = 0; i < sizeof key; i++)
			key[i] = n * 31 + i * 7 + n * i;
		make(&br_aes_ct_ctr_vtable, a, n, numbers[n % 7]);
		make(w->class, b, n, numbers[n % 7]);
		CHECK(!memcmp(a, b, sizeof a));
	}
	group(w->name);
}

static void
test_hash(const struct way *w)
{
	unsigned char a[16], b[16], h[16];

	for (unsigned n = 0; n <= LONGEST; n++) {
		for (unsigned i = 0; i < sizeof h; i++) {
			h[i] = n * 13 + i * n * 5;
			a[i] = b[i] = n & 1 ? 0 : i + n;
		}
		h[n / 2 % 16] = n & 2 ? 0x80 : 0x01;
		br_ghash_ctmul(a, h, text, n);
		w->hash(b, h, text, n);
		CHECK(!memcmp(a, b, sizeof a));
	}
	group("GHASH");
}

int
main(void)
{
	unsigned n = aes_here() ? 2 : 1;

	for (unsigned i = 0; i < LONGEST; i++)
		text[i] = i * 11 + i / 256;
	if (n < 2)
		printf("this processor has no instructions for it\n");
	for (unsigned i = 0; i < n; i++) {
		test_counter(&ways[i]);
		test_hash(&ways[i]);
	}
	return unit_end();
}
