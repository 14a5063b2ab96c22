/* sha512.c - SHA-384 and SHA-512 in BearSSL's form, by the code that passwords have
 *
 * Only signatures in chains of certificates are made of them, so they are to be small: BearSSL's own take 2 KB more.
 */
#include "auth.h"
#include "verify.h"

#include <bearssl.h>

#include <string.h>

enum { BLOCK = 128, WORD = 8 };

/* Of the square roots of the 9th to 16th primes (FIPS 180-4 5.3.4). */
static const uint64_t sha384_start[8] = {
	0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
	0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4,
};

static br_sha512_context *
context(const br_hash_class **ctx)
{
	return (br_sha512_context *)(void *)ctx;
}

static void
start384(const br_hash_class **ctx)
{
	*ctx = &sha384_class;
	context(ctx)->count = 0;
	memcpy(context(ctx)->val, sha384_start, sizeof sha384_start);
}

static void
start512(const br_hash_class **ctx)
{
	*ctx = &sha512_class;
	context(ctx)->count = 0;
	memcpy(context(ctx)->val, sha512_start, sizeof sha512_start);
}

static void
update(const br_hash_class **ctx, const void *data, size_t n)
{
	br_sha512_context *c = context(ctx);

	for (const unsigned char *p = data; n; n--) {
		c->buf[c->count++ % BLOCK] = *p++;
		if (c->count % BLOCK == 0)
			sha512_block(c->val, c->buf);
	}
}

static void
words_out(unsigned char *to, const uint64_t *val, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i] = val[i / WORD] >> (56 - i % WORD * 8);
}

/* Of a context whose vtable nobody may have set: BearSSL's multihash knows the class. */
static void
out(const br_hash_class *const *ctx, void *to, unsigned size)
{
	br_sha512_context c = *(const br_sha512_context *)(const void *)ctx;
	uint64_t bits = 8 * c.count;
	unsigned char length[2 * WORD] = { 0 };

	update(&c.vtable, "\x80", 1);
	while (c.count % BLOCK != BLOCK - 2 * WORD)
		update(&c.vtable, "", 1);
	words_out(length + WORD, &bits, WORD);
	update(&c.vtable, length, 2 * WORD);
	words_out(to, c.val, size);
}

static void
out384(const br_hash_class *const *ctx, void *to)
{
	out(ctx, to, 48);
}

static void
out512(const br_hash_class *const *ctx, void *to)
{
	out(ctx, to, 64);
}

/* Nobody else reads what is kept here. */
static uint64_t
state(const br_hash_class *const *ctx, void *to)
{
	const br_sha512_context *c = (const void *)ctx;

	memcpy(to, c->val, sizeof c->val);
	return c->count;
}

static void
set_state(const br_hash_class **ctx, const void *from, uint64_t count)
{
	memcpy(context(ctx)->val, from, sizeof context(ctx)->val);
	context(ctx)->count = count;
}

#define DESC(id, size) BR_HASHDESC_ID(id) | BR_HASHDESC_OUT(size) | BR_HASHDESC_STATE(64) | BR_HASHDESC_LBLEN(7) | \
	BR_HASHDESC_MD_PADDING | BR_HASHDESC_MD_PADDING_BE | BR_HASHDESC_MD_PADDING_128

const br_hash_class sha384_class = {
	sizeof (br_sha512_context), DESC(br_sha384_ID, 48), start384, update, out384, state, set_state
};
const br_hash_class sha512_class = {
	sizeof (br_sha512_context), DESC(br_sha512_ID, 64), start512, update, out512, state, set_state
};
