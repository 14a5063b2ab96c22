/* sha2.c, prf.c: the same digests and keys as BearSSL makes, in pieces and from any place on, and numbers that differ */
#include "unit.h"

#include "../../cert.h"

enum { LONGEST = 300 };

static const struct pair { const br_hash_class *const *ours, *theirs; unsigned size; } pairs[] = {
	{ &sha256_class, &br_sha256_vtable, 32 }, { &sha384_class, &br_sha384_vtable, 48 },
	{ &sha512_class, &br_sha512_vtable, 64 },
};

static unsigned char text[LONGEST];

static void
digest(const br_hash_class *class, unsigned char to[64], unsigned n, unsigned piece)
{
	br_hash_compat_context c;

	class->init(&c.vtable);
	for (unsigned i = 0; i < n; i += piece)
		c.vtable->update(&c.vtable, text + i, piece < n - i ? piece : n - i);
	c.vtable->out(&c.vtable, to);
}

static void
test_lengths(void)
{
	unsigned char a[64], b[64];

	for (unsigned k = 0; k < 3; k++) {
		for (unsigned n = 0; n <= LONGEST; n++) {
			digest(pairs[k].theirs, a, n, LONGEST);
			digest(*pairs[k].ours, b, n, 1 + n % 70);
			CHECK(!memcmp(a, b, pairs[k].size));
		}
	}
	sha256_sum(b, text, LONGEST);
	digest(&br_sha256_vtable, a, LONGEST, LONGEST);
	CHECK(!memcmp(a, b, 32));
	group("digests of every length");
}

/* As handshakes and chains of certificates do: all at once, cut at blocks, and results on the way. */
static void
test_together(void)
{
	br_multihash_context ours, theirs;
	unsigned char a[64], b[64];

	br_multihash_zero(&ours);
	br_multihash_zero(&theirs);
	for (int k = 0; k < 3; k++) {
		br_multihash_setimpl(&ours, br_sha256_ID + k, *pairs[k].ours);
		br_multihash_setimpl(&theirs, br_sha256_ID + k, pairs[k].theirs);
	}
	br_multihash_init(&ours);
	br_multihash_init(&theirs);
	for (unsigned i = 0; i < 40; i++) {
		br_multihash_update(&ours, text, 7 * i);
		br_multihash_update(&theirs, text, 7 * i);
		for (int k = 0; k < 3; k++) {
			CHECK(br_multihash_out(&ours, br_sha256_ID + k, a) == pairs[k].size);
			br_multihash_out(&theirs, br_sha256_ID + k, b);
			CHECK(!memcmp(a, b, pairs[k].size));
		}
	}
	group("several digests at once");
}

static void
test_keys(void)
{
	const br_tls_prf_seed_chunk seed[] = { { text, 32 }, { text + 100, 77 } };
	unsigned char a[200], b[200];

	for (unsigned secret = 0; secret < 130; secret++)
		for (unsigned n = 0; n < sizeof a; n += 1 + secret % 7) {
			memset(a, 0x5a, sizeof a);
			memset(b, 0x5a, sizeof b);
			br_tls12_sha256_prf(a, n, text, secret, "key expansion", secret % 3, seed);
			tls12_prf(b, n, text, secret, "key expansion", secret % 3, seed);
			CHECK(!memcmp(a, b, sizeof a));
		}
	group("keys of TLS 1.2");
}

static void
test_numbers(void)
{
	unsigned char a[70] = { 0 }, b[70] = { 0 };
	br_hmac_drbg_context one, other;

	br_hmac_drbg_init(&one, sha256_class, "seed", 4);
	br_hmac_drbg_init(&other, sha256_class, "seed", 4);
	br_hmac_drbg_generate(&one, a, 66);
	br_hmac_drbg_generate(&other, b, 66);
	for (unsigned i = 0; i + 8 <= 66; i += 8)
		CHECK(memcmp(a + i, b + i, 8));
	CHECK(!memcmp(a + 66, "\0\0\0", 4) && memcmp(a, a + 32, 32));
	group("random numbers");
}

/* What is signed can be verified, by numbers that come from here. */
static void
test_signature(void)
{
	unsigned char x[32] = { 1, 2, 3 }, point[65], hash[32], made[80];
	br_ec_private_key key = { BR_EC_secp256r1, x, sizeof x };
	br_ec_public_key public = { BR_EC_secp256r1, point, sizeof point };
	size_t n;

	CHECK(our_curves.mulgen(point, x, sizeof x, BR_EC_secp256r1) == sizeof point);
	for (unsigned i = 0; i < 50; i++) {
		sha256_sum(hash, text, i);
		n = br_ecdsa_i31_sign_asn1(&our_curves, sha256_class, hash, &key, made);
		CHECK(n && br_ecdsa_i31_vrfy_asn1(&br_ec_p256_m31, hash, sizeof hash, &public, made, n));
		hash[i % 32] ^= 1;
		CHECK(!br_ecdsa_i31_vrfy_asn1(&br_ec_p256_m31, hash, sizeof hash, &public, made, n));
	}
	group("signatures");
}

int
main(void)
{
	for (unsigned i = 0; i < LONGEST; i++)
		text[i] = i * 7 + i / 256;
	test_lengths();
	test_together();
	test_keys();
	test_numbers();
	test_signature();
	return unit_end();
}
