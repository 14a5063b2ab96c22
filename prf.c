/* prf.c - where the secrets of a handshake come from: the function of TLS 1.2 that makes keys, and random numbers
 *
 * BearSSL finds its generator of random numbers by name.  That of the names in this file is ours, because a linker looks
 * into libraries for what it has not seen yet: BearSSL's makes each number by four digests of the one before, where the
 * kernel has as good ones.  With a library that keeps to its own names both sides still work: see engine_setup().
 */
#include "cert.h"
#include "digest.h"

#include <assert.h>
#include <sys/random.h>

/* -- HMAC (RFC 2104) and the PRF (RFC 5246 5) ---------------------------------------------------------------------- */

enum { SEEDS_MOST = 2 };                /* the engine has one, or both random numbers of a hello */

struct hmac { struct digest inner, outer; };    /* once they have seen the key */

static void
keyed(struct digest *d, const unsigned char *key, size_t n, unsigned char pad)
{
	unsigned char block[64];

	for (unsigned i = 0; i < sizeof block; i++)
		block[i] = pad ^ (i < n ? key[i] : 0);
	digest_begin(d, &sha256);
	digest_add(d, &sha256, block, sizeof block);
}

/* Of a digest, unless it is NULL, and of what follows it. */
static void
hmac(const struct hmac *h, const unsigned char *a, const br_tls_prf_seed_chunk *rest, size_t n, unsigned char to[32])
{
	struct digest d = h->inner;

	if (a)
		digest_add(&d, &sha256, a, 32);
	for (; n; n--, rest++)
		digest_add(&d, &sha256, rest->data, rest->len);
	digest_end(&d, &sha256, to);
	d = h->outer;
	digest_add(&d, &sha256, to, 32);
	digest_end(&d, &sha256, to);
}

void
tls12_prf(void *to, size_t size, const void *secret, size_t secret_n, const char *label, size_t n,
    const br_tls_prf_seed_chunk *seed)
{
	br_tls_prf_seed_chunk all[1 + SEEDS_MOST] = { { label, strlen(label) } };
	unsigned char key[32], a[32], sum[32], *at = to;
	struct hmac h;

	assert(n <= SEEDS_MOST);
	memcpy(all + 1, seed, n * sizeof *seed);
	if (secret_n > 64) {                    /* of a block at the most */
		sha256_sum(key, secret, secret_n);
		secret = key;
		secret_n = sizeof key;
	}
	keyed(&h.inner, secret, secret_n, 0x36);
	keyed(&h.outer, secret, secret_n, 0x5c);
	hmac(&h, NULL, all, 1 + n, a);
	for (size_t piece; size; at += piece, size -= piece) {
		hmac(&h, a, all, 1 + n, sum);
		hmac(&h, a, NULL, 0, a);
		piece = size < sizeof sum ? size : sizeof sum;
		memcpy(at, sum, piece);
	}
}

/* -- random numbers ------------------------------------------------------------------------------------------------- */

void
random_bytes(void *to, unsigned n)
{
	while (call_getrandom(to, n, 0) != (ssize_t)n)       /* 256 bytes and less come whole, once the kernel has any */
		;
}

/* What only its owner knows, the key and the hash that is to be signed, goes into each number, so that signatures give away
 * no key even if the kernel's numbers could be guessed. */
void
br_hmac_drbg_init(br_hmac_drbg_context *ctx, const br_hash_class *class, const void *seed, size_t n)
{
	ctx->vtable = NULL;
	ctx->digest_class = class;
	sha256_sum(ctx->K, seed, n);
}

void
br_hmac_drbg_generate(br_hmac_drbg_context *ctx, void *to, size_t size)
{
	unsigned char both[64], *at = to;

	for (size_t piece; size; at += piece, size -= piece) {
		memcpy(both, ctx->K, 32);
		random_bytes(both + 32, 32);
		sha256_sum(ctx->V, both, sizeof both);
		piece = size < 32 ? size : 32;
		memcpy(at, ctx->V, piece);
	}
}

void
br_hmac_drbg_update(br_hmac_drbg_context *ctx, const void *seed, size_t n)
{
	(void)ctx;
	(void)seed;
	(void)n;
}

/* Another source is not needed. */
br_prng_seeder
br_prng_seeder_system(const char **name)
{
	(void)name;
	return NULL;
}
