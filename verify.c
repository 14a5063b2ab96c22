/* verify.c - who the other side is: authorities that are believed, and what a chain of certificates proves
 *
 * BearSSL looks at a chain while it passes by.  We stand before it and keep the first certificate, for the name and the
 * fingerprint that programs are told.
 */
#include "verify.h"

#include "words.h"

enum { DAYS_TO_1970 = 719528, DAY = 86400, ANCHORS_MAX = 256, NAME_MOST = 220 };

/* -- authorities ------------------------------------------------------------------------------------------- */

static int
curve_of(struct span oid)
{
	static const struct { struct span oid; int curve; } curves[] = {
		{ { "\x2a\x86\x48\xce\x3d\x03\x01\x07", 8 }, BR_EC_secp256r1 },
		{ { "\x2b\x81\x04\x00\x22", 5 }, BR_EC_secp384r1 },
		{ { "\x2b\x81\x04\x00\x23", 5 }, BR_EC_secp521r1 },
	};

	for (unsigned i = 0; i < sizeof curves / sizeof *curves; i++)
		if (span_eq(curves[i].oid, oid))
			return curves[i].curve;
	return 0;
}

static unsigned char *
bytes(struct span s)
{
	return (unsigned char *)(uintptr_t)s.p;
}

static br_x509_pkey
key_of(const struct public_key *k)
{
	br_x509_pkey key = { .key_type = BR_KEYTYPE_RSA };

	if (k->kind == KEY_RSA)
		key.key.rsa = (br_rsa_public_key){ bytes(k->n), k->n.n, bytes(k->e), k->e.n };
	else
		key = (br_x509_pkey){ BR_KEYTYPE_EC, { .ec = { curve_of(k->curve), bytes(k->point), k->point.n } } };
	return key;
}

/* The file itself is not kept, only names and keys. */
static br_x509_trust_anchor
anchor_of(const struct certificate *c)
{
	struct public_key k = c->key;
	struct span name = keep_span(c->subject);

	k.n = keep_span(k.n);
	k.e = keep_span(k.e);
	k.point = keep_span(k.point);
	return (br_x509_trust_anchor){ { bytes(name), name.n }, BR_X509_TA_CA, key_of(&k) };
}

static struct anchors *
anchors_read(const char *path)
{
	br_x509_trust_anchor *all = scratch(ANCHORS_MAX * sizeof *all);
	struct span text = file_text(path), label, body;
	struct anchors *a = keep(sizeof *a);
	struct certificate c;

	if (!text.p)
		return NULL;
	while (pem_next(&text, &label, &body))
		if (span_ends(label, SPAN("CERTIFICATE")) && certificate_parse(body, &c) && a->n < ANCHORS_MAX &&
		    (c.key.kind == KEY_RSA || curve_of(c.key.curve)))
			all[a->n++] = anchor_of(&c);
	if (!a->n) {
		mistake("%s: there is no certificate in it, in PEM", path);
		return NULL;
	}
	a->all = memcpy(keep(a->n * sizeof *all), all, a->n * sizeof *all);
	return a;
}

void
ca_set(const struct word *w, char *const *arg, unsigned n)
{
	(void)n;
	if (!once(&reader.conf->ca, w->name))
		return;
	reader.conf->ca = anchors_read(arg[0]);
}

void
client_ca_set(const struct word *w, char *const *arg, unsigned n)
{
	struct conf *cf = reader.conf;

	if (!once(&cf->client_ca, w->name))
		return;
	cf->client_ca = anchors_read(arg[0]);
	cf->client_ca_optional = n > 1 && arg[1][0] == 'o';
}

/* -- a chain as it comes ----------------------------------------------------------------------------------- */

static struct verifier *
of(const br_x509_class **class)
{
	return (struct verifier *)(void *)class;
}

/* By authorities, and not by a pin or not at all. */
static bool
judged(const struct verifier *v)
{
	return !v->secure || (!v->secure->pin && !v->secure->unchecked);
}

static void
leaf_hash(const struct verifier *v, unsigned char hash[32])
{
	sha256_sum(hash, v->leaf, v->leaf_n);
}

static void
start_chain(const br_x509_class **class, const char *name)
{
	struct verifier *v = of(class);

	(void)name;
	v->n = v->leaf_n = 0;
	v->error = BR_ERR_X509_EMPTY_CHAIN;
	if (judged(v))
		v->minimal.vtable->start_chain(&v->minimal.vtable, NULL);
}

static void
start_cert(const br_x509_class **class, uint32_t length)
{
	struct verifier *v = of(class);

	v->n++;
	if (judged(v))
		v->minimal.vtable->start_cert(&v->minimal.vtable, length);
}

static void
append(const br_x509_class **class, const unsigned char *p, size_t n)
{
	struct verifier *v = of(class);

	if (v->n == 1 && v->leaf_n + n <= sizeof v->leaf) {
		memcpy(v->leaf + v->leaf_n, p, n);
		v->leaf_n += n;
	} else if (v->n == 1) {
		v->leaf_n = LEAF_LONG;
	}
	if (judged(v))
		v->minimal.vtable->append(&v->minimal.vtable, p, n);
}

static void
end_cert(const br_x509_class **class)
{
	struct verifier *v = of(class);

	if (judged(v))
		v->minimal.vtable->end_cert(&v->minimal.vtable);
}

/* A pin is for one certificate, whoever issued it, whomever it is for, and however old it is. */
static bool
pinned(const struct verifier *v)
{
	unsigned char hash[32];

	leaf_hash(v, hash);
	return !memcmp(hash, v->secure->pin, sizeof hash);
}

static unsigned
judge(struct verifier *v)
{
	unsigned error = judged(v) ? v->minimal.vtable->end_chain(&v->minimal.vtable) : 0;
	struct certificate c;

	if (v->leaf_n == LEAF_LONG)
		return BR_ERR_X509_LIMIT_EXCEEDED;
	if (error || !v->secure)
		return error;
	if (!certificate_parse((struct span){ (const char *)v->leaf, v->leaf_n }, &c))
		return BR_ERR_X509_UNSUPPORTED;
	v->key = key_of(&c.key);
	if (v->secure->pin)
		return pinned(v) ? 0 : BR_ERR_X509_NOT_TRUSTED;
	return v->secure->unchecked || certificate_is_for(&c, v->host) ? 0 : BR_ERR_X509_BAD_SERVER_NAME;
}

static unsigned
end_chain(const br_x509_class **class)
{
	struct verifier *v = of(class);

	v->error = judge(v);
	return v->error;
}

static const br_x509_pkey *
get_pkey(const br_x509_class *const *class, unsigned *usages)
{
	const struct verifier *v = (const struct verifier *)(const void *)class;

	if (judged(v))
		return v->minimal.vtable->get_pkey(&v->minimal.vtable, usages);
	if (usages)
		*usages = BR_KEYTYPE_SIGN | BR_KEYTYPE_KEYX;
	return &v->key;
}

static const br_x509_class passing_by = {
	sizeof (struct verifier), start_chain, start_cert, append, end_cert, end_chain, get_pkey,
};

static void
verifier_init(struct verifier *v, const struct anchors *a, const struct secure *secure, struct span host)
{
	v->secure = secure;
	v->host = host;
	br_x509_minimal_init(&v->minimal, sha256_class, a ? a->all : NULL, a ? a->n : 0);
	br_x509_minimal_set_rsa(&v->minimal, br_rsa_i31_pkcs1_vrfy);
	br_x509_minimal_set_ecdsa(&v->minimal, &br_ec_all_m31, br_ecdsa_i31_vrfy_asn1);
	br_x509_minimal_set_hash(&v->minimal, br_sha256_ID, sha256_class);
	br_x509_minimal_set_hash(&v->minimal, br_sha384_ID, sha384_class);
	br_x509_minimal_set_hash(&v->minimal, br_sha512_ID, sha512_class);
	br_x509_minimal_set_time(&v->minimal, (uint32_t)(wall / DAY + DAYS_TO_1970), (uint32_t)(wall % DAY));
	v->vtable = &passing_by;
	v->n = 0;
}

/* -- clients ----------------------------------------------------------------------------------------------- */

struct proof { uint16_t next, error; unsigned char fingerprint[32]; uint8_t name_n; char name[NAME_MOST]; };

static unsigned
verifiers(const struct conf *cf)
{
	return cf->client_ca || cf->https ? tls_place_pool.count(cf) : 0;
}

static unsigned
proofs(const struct conf *cf)
{
	return cf->client_ca ? tls_pool.count(cf) : 0;
}

struct pool verifier_pool = { "certificates being verified", sizeof (struct verifier), verifiers, NULL, 0 };
struct pool proof_pool = { "certificates of clients", sizeof (struct proof), proofs, NULL, 0 };

static struct { uint16_t fresh, free; } house = { 1, 0 };

static struct proof *
proof_at(uint16_t number)
{
	return (struct proof *)(void *)proof_pool.at + number;
}

static struct verifier *
verifier_at(unsigned i)
{
	return (struct verifier *)(void *)verifier_pool.at + i;
}

void
verify_client(unsigned i, br_ssl_server_context *server)
{
	struct verifier *v = verifier_at(i);

	verifier_init(v, conf->client_ca, NULL, SPAN(""));
	br_ssl_engine_set_ec(&server->eng, &br_ec_all_m31);     /* its key may be on another curve than ours */
	br_ssl_engine_set_x509(&server->eng, &v->vtable);
	br_ssl_engine_set_rsavrfy(&server->eng, br_rsa_i31_pkcs1_vrfy);
	br_ssl_engine_set_ecdsa(&server->eng, br_ecdsa_i31_vrfy_asn1);
	br_ssl_server_set_trust_anchor_names_alt(server, conf->client_ca->all, conf->client_ca->n);
	if (conf->client_ca_optional)
		br_ssl_engine_add_flags(&server->eng, BR_OPT_TOLERATE_NO_CLIENT_AUTH);
}

uint16_t
verify_result(unsigned i)
{
	const struct verifier *v = verifier_at(i);
	uint16_t number = house.free ? house.free : house.fresh;
	struct proof *p = proof_at(number);
	struct buf b = { p->name, 0, 0, sizeof p->name, false };
	struct certificate c;

	if (!v->n)
		return 0;
	if (house.free)
		house.free = p->next;
	else
		house.fresh++;
	*p = (struct proof){ .error = (uint16_t)v->error };
	if (!v->error)
		leaf_hash(v, p->fingerprint);
	if (!v->error && certificate_parse((struct span){ (const char *)v->leaf, v->leaf_n }, &c))
		name_print(&b, c.subject);
	p->name_n = b.w;
	return number;
}

void
proof_free(uint16_t number)
{
	if (!number)
		return;
	proof_at(number)->next = house.free;
	house.free = number;
}

/* -- backends ---------------------------------------------------------------------------------------------- */

void
verify_backend(unsigned i, br_ssl_client_context *client, const struct conf *cf, const struct secure *secure,
    struct span host)
{
	struct verifier *v = verifier_at(i);

	verifier_init(v, cf->ca, secure, host);
	br_ssl_engine_set_ec(&client->eng, &br_ec_all_m31);
	br_ssl_engine_set_x509(&client->eng, &v->vtable);
	br_ssl_engine_set_rsavrfy(&client->eng, br_rsa_i31_pkcs1_vrfy);
	br_ssl_engine_set_ecdsa(&client->eng, br_ecdsa_i31_vrfy_asn1);
}

const char *
verify_why(int error)
{
	switch (error) {
	case BR_ERR_X509_EXPIRED:
		return "its certificate has expired, or is not valid yet";
	case BR_ERR_X509_NOT_TRUSTED:
		return "its certificate is from nobody we know";
	case BR_ERR_X509_BAD_SERVER_NAME:
		return "its certificate is for another name";
	default:
		return error >= BR_ERR_X509_OK && error < BR_ERR_X509_NOT_TRUSTED ? "its certificate cannot be accepted" :
		    "the handshake failed";
	}
}

/* -- what programs are told of a client ---------------------------------------------------------------------- */

/* What BearSSL says of a chain, in words; the handshake itself fails when the key is not the client's. */
static struct span
reason(unsigned error)
{
	switch (error) {
	case BR_ERR_X509_EXPIRED:
		return SPAN("FAILED:expired or not yet valid");
	case BR_ERR_X509_NOT_TRUSTED:
		return SPAN("FAILED:unknown authority");
	case BR_ERR_X509_BAD_SIGNATURE:
		return SPAN("FAILED:bad signature");
	default:
		return SPAN("FAILED:not acceptable");
	}
}

struct span
proof_state(uint16_t number)
{
	if (!number)
		return SPAN("NONE");
	return proof_at(number)->error ? reason(proof_at(number)->error) : SPAN("SUCCESS");
}

struct span
proof_name(uint16_t number)
{
	const struct proof *p = proof_at(number);

	return number && !p->error ? (struct span){ p->name, p->name_n } : (struct span){ NULL, 0 };
}

struct span
proof_fingerprint(uint16_t number, char store[64])
{
	struct buf b = { store, 0, 0, 64, false };

	if (!number || proof_at(number)->error)
		return (struct span){ NULL, 0 };
	for (unsigned i = 0; i < 32; i++) {
		buf_char(&b, "0123456789abcdef"[proof_at(number)->fingerprint[i] >> 4]);
		buf_char(&b, "0123456789abcdef"[proof_at(number)->fingerprint[i] & 15]);
	}
	return (struct span){ store, b.w };
}
