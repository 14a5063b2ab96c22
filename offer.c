/* offer.c - what a client is offered in a handshake: suites, curves, a certificate, and a signature
 *
 *   ClientHello -> BearSSL's engine -> choose() a certificate and a suite -> sign()
 */
#include "handshake.h"

/* -- curves -------------------------------------------------------------------------------------------------------- */

/* The two curves that clients have: X25519 takes a third of the time, P-256 is what certificates are made with.  Both are
 * called by name, so that a linker that sees all of the program leaves out what nobody asks of them. */
static const unsigned char *
curve_order(int curve, size_t *n)
{
	return curve == BR_EC_curve25519 ? br_ec_c25519_m31.order(curve, n) : br_ec_p256_m31.order(curve, n);
}

static size_t
curve_xoff(int curve, size_t *n)
{
	return curve == BR_EC_curve25519 ? br_ec_c25519_m31.xoff(curve, n) : br_ec_p256_m31.xoff(curve, n);
}

static uint32_t
curve_mul(unsigned char *G, size_t G_n, const unsigned char *x, size_t x_n, int curve)
{
	return curve == BR_EC_curve25519 ? br_ec_c25519_m31.mul(G, G_n, x, x_n, curve) :
	    br_ec_p256_m31.mul(G, G_n, x, x_n, curve);
}

static size_t
curve_mulgen(unsigned char *R, const unsigned char *x, size_t x_n, int curve)
{
	return curve == BR_EC_curve25519 ? br_ec_c25519_m31.mulgen(R, x, x_n, curve) :
	    br_ec_p256_m31.mulgen(R, x, x_n, curve);
}

/* What a server asks for that verifies no signature. */
const br_ec_impl our_curves = {
	1 << BR_EC_curve25519 | 1 << BR_EC_secp256r1, NULL, curve_order, curve_xoff, curve_mul, curve_mulgen, NULL,
};

/* -- certificates -------------------------------------------------------------------------------------------------- */

struct place *
place_around(const br_ssl_server_context *server)
{
	return (struct place *)((uintptr_t)server - offsetof(struct place, server));
}

/* The hash that is signed; negative when the client has none for this kind of key.  Before TLS 1.2 it is not agreed upon:
 * SHA-1, and for RSA MD5 with it, which BearSSL counts as 0. */
static int
hash_for(const br_ssl_server_context *server, int type)
{
	uint32_t hashes = br_ssl_server_get_client_hashes(server) >> (type == BR_KEYTYPE_EC ? 8 : 0);

	if (CONFIG_LEGACY && server->eng.session.version < BR_TLS12)
		return type == BR_KEYTYPE_EC ? br_sha1_ID : 0;
	return hashes & 1 << br_sha256_ID ? br_sha256_ID : CONFIG_LEGACY && hashes & 1 << br_sha1_ID ? br_sha1_ID : -1;
}

/* A certificate for the name that the client asks for, of a kind it can check, and the first suite for that. */
static int
choose(const br_ssl_server_policy_class **policy, const br_ssl_server_context *server, br_ssl_server_choices *choices)
{
	struct place *p = place_around(server);
	const br_suite_translated *suite;
	const struct identity *id;
	size_t n;
	int types = 0, hash;

	(void)policy;
	suite = br_ssl_server_get_client_suites(server, &n);
	for (size_t i = 0; i < n; i++)
		types |= suite[i][1] >> 12 == BR_SSLKEYX_ECDHE_ECDSA ? BR_KEYTYPE_EC : BR_KEYTYPE_RSA;
	for (char *c = p->server.eng.server_name; *c; c++)
		*c = lower(*c);
	id = p->identity = certificate_for(span_of(p->server.eng.server_name), types);
	if (!id)
		return 0;
	hash = hash_for(server, id->type);
	choices->chain = id->chain;
	choices->chain_len = id->chain_n;
	choices->algo_id = 0xff00 + hash;
	for (; n; suite++, n--) {
		choices->cipher_suite = (*suite)[0];
		if (hash >= 0 && (*suite)[1] >> 12 == (id->type == BR_KEYTYPE_EC ? BR_SSLKEYX_ECDHE_ECDSA : BR_SSLKEYX_ECDHE_RSA))
			return 1;
		if (CONFIG_LEGACY && (*suite)[1] >> 12 == BR_SSLKEYX_RSA && id->type == BR_KEYTYPE_RSA)
			return 1;
	}
	return 0;
}

static const struct identity *
identity_around(const br_ssl_server_policy_class **policy)
{
	return ((const struct place *)((uintptr_t)policy - offsetof(struct place, policy)))->identity;
}

/* The hash that `data` begins with becomes its signature, which has room: 512 bytes are those of the longest key. */
static size_t
sign(const br_ssl_server_policy_class **policy, unsigned hash, unsigned char *data, size_t n, size_t most)
{
	const struct identity *id = identity_around(policy);
	bool old = CONFIG_LEGACY && hash != 0xff00 + br_sha256_ID;
	const unsigned char *oid = !old ? BR_HASH_OID_SHA256 : hash == 0xff00 + br_sha1_ID ? BR_HASH_OID_SHA1 : NULL;
	unsigned char sum[64];
	size_t size;

	memcpy(sum, data, n);
	if (id->type == BR_KEYTYPE_EC)
		return br_ecdsa_i31_sign_asn1(&our_curves, old ? &br_sha1_vtable : sha256_class, sum, &id->key.ec, data);
	size = (id->key.rsa.n_bitlen + 7) / 8;
	return size <= most && br_rsa_i31_pkcs1_sign(oid, sum, n, &id->key.rsa, data) ? size : 0;
}

/* Older clients send the secret, for the key of the certificate. */
static uint32_t
unwrap(const br_ssl_server_policy_class **policy, unsigned char *data, size_t *n)
{
	return br_rsa_ssl_decrypt(br_rsa_i31_private, &identity_around(policy)->key.rsa, data, *n);
}

const br_ssl_server_policy_class policy_class = {
	sizeof (br_ssl_server_policy_class *), choose, CONFIG_LEGACY ? unwrap : NULL, sign,
};

/* -- suites -------------------------------------------------------------------------------------------------------- */

static const struct suite { uint16_t id; const char *name; } suites[] = {
	{ BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256" },
	{ BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256" },
	{ BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305" },
	{ BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305" },
}, legacy_suites[] = {
	{ BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256, "ECDHE-ECDSA-AES128-SHA256" },
	{ BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256, "ECDHE-RSA-AES128-SHA256" },
	{ BR_TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "ECDHE-ECDSA-AES128-SHA" },
	{ BR_TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, "ECDHE-RSA-AES128-SHA" },
	{ BR_TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA, "ECDHE-ECDSA-AES256-SHA" },
	{ BR_TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "ECDHE-RSA-AES256-SHA" },
	{ BR_TLS_RSA_WITH_AES_128_GCM_SHA256, "AES128-GCM-SHA256" },
	{ BR_TLS_RSA_WITH_AES_128_CBC_SHA256, "AES128-SHA256" },
	{ BR_TLS_RSA_WITH_AES_256_CBC_SHA256, "AES256-SHA256" },
	{ BR_TLS_RSA_WITH_AES_128_CBC_SHA, "AES128-SHA" },
	{ BR_TLS_RSA_WITH_AES_256_CBC_SHA, "AES256-SHA" },
};

enum { SUITES = sizeof suites / sizeof *suites, LEGACY_SUITES = sizeof legacy_suites / sizeof *legacy_suites };

const char *
suite_name(unsigned id, bool legacy)
{
	for (unsigned i = 0; i < SUITES; i++)
		if (suites[i].id == id)
			return suites[i].name;
	for (unsigned i = 0; legacy && i < LEGACY_SUITES; i++)
		if (legacy_suites[i].id == id)
			return legacy_suites[i].name;
	return NULL;
}

struct span
tls_cipher(const struct tls *t)
{
	return span_of(suite_name(t->suite, CONFIG_LEGACY));
}

/* What BearSSL's own defaults choose, without what this processor has no use for. */
static void
ciphers_setup(br_ssl_engine_context *eng)
{
	const br_block_ctr_class *aes = br_aes_x86ni_ctr_get_vtable();
	br_ghash ghash = br_ghash_pclmul_get();
	bool wide = sizeof (void *) == 8;

	br_ssl_engine_set_gcm(eng, &br_sslrec_in_gcm_vtable, &br_sslrec_out_gcm_vtable);
	br_ssl_engine_set_aes_ctr(eng, aes ? aes : wide && !MOSTLY_AES ? &br_aes_ct64_ctr_vtable : &br_aes_ct_ctr_vtable);
	br_ssl_engine_set_ghash(eng, ghash ? ghash : wide ? br_ghash_ctmul64 : br_ghash_ctmul);
	br_ssl_engine_set_chapol(eng, &br_sslrec_in_chapol_vtable, &br_sslrec_out_chapol_vtable);
	br_ssl_engine_set_chacha20(eng, SURELY_SSE2 ? br_chacha20_sse2_get() : br_chacha20_ct_run);
	br_ssl_engine_set_poly1305(eng, SURELY_INT128 && !MOSTLY_AES ? br_poly1305_ctmulq_get() :
	    br_poly1305_ctmul_run);
}

/* What clients of another age need besides; all that is newer still comes first. */
static void
legacy_setup(br_ssl_engine_context *eng, uint16_t ids[SUITES + LEGACY_SUITES])
{
	const br_block_cbcenc_class *enc = br_aes_x86ni_cbcenc_get_vtable();
	const br_block_cbcdec_class *dec = br_aes_x86ni_cbcdec_get_vtable();
	bool wide = sizeof (void *) == 8;

	for (unsigned i = 0; i < LEGACY_SUITES; i++)
		ids[SUITES + i] = legacy_suites[i].id;
	br_ssl_engine_set_versions(eng, BR_TLS10, BR_TLS12);
	br_ssl_engine_set_suites(eng, ids, SUITES + LEGACY_SUITES);
	br_ssl_engine_set_hash(eng, br_md5_ID, &br_md5_vtable);
	br_ssl_engine_set_hash(eng, br_sha1_ID, &br_sha1_vtable);
	br_ssl_engine_set_prf10(eng, br_tls10_prf);
	br_ssl_engine_set_cbc(eng, &br_sslrec_in_cbc_vtable, &br_sslrec_out_cbc_vtable);
	br_ssl_engine_set_aes_cbc(eng, enc ? enc : wide ? &br_aes_ct64_cbcenc_vtable : &br_aes_ct_cbcenc_vtable,
	    dec ? dec : wide ? &br_aes_ct64_cbcdec_vtable : &br_aes_ct_cbcdec_vtable);
}

static const char *protocols[] = { "http/1.1", "http/1.0" };

/* ChaCha20 goes first where the processor has no instructions for AES: it is seven times faster there. */
void
engine_setup(struct place *p)
{
	br_ssl_engine_context *eng = &p->server.eng;
	unsigned first = br_aes_x86ni_ctr_get_vtable() ? 0 : 2;
	unsigned char seed[32];
	uint16_t ids[SUITES + LEGACY_SUITES];

	for (unsigned i = 0; i < SUITES; i++)
		ids[i] = suites[(i + first) % SUITES].id;
	br_ssl_engine_set_versions(eng, BR_TLS12, BR_TLS12);
	br_ssl_engine_set_suites(eng, ids, SUITES);
	br_ssl_engine_set_ec(eng, &our_curves);
	br_ssl_engine_set_hash(eng, br_sha256_ID, sha256_class);
	br_ssl_engine_set_prf_sha256(eng, tls12_prf);
	ciphers_setup(eng);
	if (CONFIG_LEGACY && p->tls->legacy)
		legacy_setup(eng, ids);
	br_ssl_engine_set_protocol_names(eng, protocols, p->tls->backend ? 1 : 2);
	/* RFC 7301 3.2: whoever names protocols must name one of these. */
	br_ssl_engine_set_all_flags(eng, BR_OPT_ENFORCE_SERVER_PREFERENCES | BR_OPT_NO_RENEGOTIATION |
	    BR_OPT_FAIL_ON_ALPN_MISMATCH);
	br_ssl_engine_set_buffers_bidi(eng, p->in, sizeof p->in, p->out, sizeof p->out);
	eng->log_max_frag_len = 14;     /* records are sealed here, so the engine's buffers are no limit to agree upon */
	random_bytes(seed, sizeof seed);
	br_ssl_engine_inject_entropy(eng, seed, sizeof seed);   /* for a library that has a generator of its own */
}
