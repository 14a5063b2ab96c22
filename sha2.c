/* sha2.c - SHA-2 in BearSSL's form, by the code that passwords have
 *
 * BearSSL's own would be there a second time: 2 KB for each of the two sizes.
 */
#include "cert.h"
#include "digest.h"

static const struct class { br_hash_class class; const struct algorithm *a; } sha256_of, sha384_of, sha512_of;

_Static_assert(sizeof (struct digest) <= sizeof (br_sha512_context), "BearSSL makes room for less");

/* *ctx is its owner; in BearSSL's unions there is room for the longest. */
static struct digest *
of(const br_hash_class **ctx)
{
	return (struct digest *)(void *)ctx;
}

static const struct algorithm *
algorithm_of(const br_hash_class *const *ctx)
{
	return ((const struct class *)(const void *)*ctx)->a;
}

static void
start(const br_hash_class **ctx, const struct class *class)
{
	*ctx = &class->class;
	digest_begin(of(ctx), class->a);
}

static void
start256(const br_hash_class **ctx)
{
	start(ctx, &sha256_of);
}

static void
start384(const br_hash_class **ctx)
{
	start(ctx, &sha384_of);
}

static void
start512(const br_hash_class **ctx)
{
	start(ctx, &sha512_of);
}

static void
update(const br_hash_class **ctx, const void *p, size_t n)
{
	digest_add(of(ctx), algorithm_of(ctx), p, n);
}

static void
out(const br_hash_class *const *ctx, void *to)
{
	struct digest d = *(const struct digest *)(const void *)ctx;

	digest_end(&d, algorithm_of(ctx), to);
}

static uint64_t
state(const br_hash_class *const *ctx, void *to)
{
	const struct digest *d = (const void *)ctx;

	digest_state(d, algorithm_of(ctx), to, 8u * algorithm_of(ctx)->word);
	return d->n;
}

/* Nothing need have been set before: BearSSL's multihash knows the class. */
static void
go_on(const br_hash_class **ctx, const struct class *class, const void *from, uint64_t n)
{
	*ctx = &class->class;
	digest_go_on(of(ctx), class->a, from, n);
}

static void
go_on256(const br_hash_class **ctx, const void *from, uint64_t n)
{
	go_on(ctx, &sha256_of, from, n);
}

static void
go_on384(const br_hash_class **ctx, const void *from, uint64_t n)
{
	go_on(ctx, &sha384_of, from, n);
}

static void
go_on512(const br_hash_class **ctx, const void *from, uint64_t n)
{
	go_on(ctx, &sha512_of, from, n);
}

#define CLASS(id, size, word, block_bits, padding, start, go_on, algorithm) { { sizeof (br_sha512_context), \
	BR_HASHDESC_ID(id) | BR_HASHDESC_OUT(size) | BR_HASHDESC_STATE(8 * (word)) | BR_HASHDESC_LBLEN(block_bits) | \
	BR_HASHDESC_MD_PADDING | BR_HASHDESC_MD_PADDING_BE | (padding), start, update, out, state, go_on }, algorithm }

static const struct class sha256_of = CLASS(br_sha256_ID, 32, 4, 6, 0, start256, go_on256, &sha256);
static const struct class sha384_of = CLASS(br_sha384_ID, 48, 8, 7, BR_HASHDESC_MD_PADDING_128, start384, go_on384, &sha384);
static const struct class sha512_of = CLASS(br_sha512_ID, 64, 8, 7, BR_HASHDESC_MD_PADDING_128, start512, go_on512, &sha512);

const br_hash_class *const sha256_class = &sha256_of.class, *const sha384_class = &sha384_of.class,
    *const sha512_class = &sha512_of.class;

void
sha256_sum(unsigned char to[32], const void *p, size_t n)
{
	struct digest d;

	digest_begin(&d, &sha256);
	digest_add(&d, &sha256, p, n);
	digest_end(&d, &sha256, to);
}
