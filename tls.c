/* tls.c - TLS: the only room that knows BearSSL's engine
 *
 *                 ,-- handshake: BearSSL's engine in a place of its own, until both sides have said Finished --.
 *   recv -> input                                                                                              > send
 *                 `-- record -> plain -> stream.in      stream.out -> record -------------------------------- '
 *
 * The engine is needed for the handshake alone.  After that a connection is two keys and two counters (struct tls,
 * some 650 bytes), and records are opened and sealed here with BearSSL's record classes.  There is one input and one
 * output buffer for all connections: what has come but cannot go on yet is put aside (struct pending) when another
 * connection needs the buffer; what the kernel would not take of a record stays at the beginning of stream.out.
 */
#include "tls.h"

#include "cert.h"
#include "verify.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

enum {
	HEADER = 5,                     /* of a record: type, version, length */
	PLAIN_MOST = 16384,             /* RFC 5246 6.2.1 */
	INPUT_MOST = HEADER + PLAIN_MOST + 325,         /* with what any cipher adds */
	OUTPUT_MOST = HEADER + PLAIN_MOST + 85,
	ENGINE_IN = 512 + 325, ENGINE_OUT = 512 + 85,   /* the least BearSSL takes: its messages may be longer */
	OVERHEAD = 5 + 8 + 16,          /* of a sealed record: header, nonce, tag */
	CHANGE_CIPHER = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23,      /* types of records */
	WARNING = 1, FATAL = 2,
};

enum state { NEW, GREETING, OPEN, CLOSED, FAILED };     /* CLOSED: we said close_notify */

struct tls {                            /* all that is kept of a connection between two events */
	union {
		const br_sslrec_in_class *class;
		br_sslrec_gcm_context gcm;
		br_sslrec_chapol_context chapol;
	} in;
	union {
		const br_sslrec_out_class *class;
		br_sslrec_gcm_context gcm;
		br_sslrec_chapol_context chapol;
	} out;
	struct place *place;            /* while GREETING */
	uint8_t state;
	bool fin;                       /* the other side sends no more, but not all has been passed on */
	uint16_t next;                  /* of the free ones */
	uint16_t pending;               /* what was put aside; 0: nothing */
	uint16_t version, suite;
	uint16_t proof;                 /* what the client's certificate has proved */
	uint16_t most;                  /* plain bytes in a record that we send */
	uint8_t stub_n;                 /* what of a sealed record found no room in stream.out goes before it */
	unsigned char stub[OVERHEAD];
};

struct place {                          /* a handshake under way */
	struct tls *tls;                /* NULL: free */
	int fd;
	int64_t since;
	struct conf *conf;              /* whose `client-ca` the client is asked by; held */
	br_ssl_server_context server;
	unsigned char in[ENGINE_IN], out[ENGINE_OUT];
};

struct pending { uint16_t next, plain_n, raw_n; unsigned char bytes[INPUT_MOST]; };

/* -- memory ------------------------------------------------------------------------------------------------ */

static bool
wanted(const struct conf *cf)
{
	bool tls = false;

	for (unsigned i = 0; i < cf->nlisten; i++)
		tls |= (cf->listen[i].flags & LISTEN_TLS) != 0;
	return tls;
}

static unsigned
connections(const struct conf *cf)
{
	return wanted(cf) ? cf->clients + cf->parked + 2 : 0;   /* number 0 is none, and one may be arriving */
}

static unsigned
places(const struct conf *cf)
{
	return !wanted(cf) ? 0 : cf->clients < HANDSHAKES_MAX ? cf->clients : HANDSHAKES_MAX;
}

static unsigned
pendings(const struct conf *cf)
{
	return wanted(cf) ? cf->clients + 1 : 0;
}

static unsigned
sessions(const struct conf *cf)
{
	return wanted(cf) ? cf->sessions : 0;
}

struct pool tls_pool = { "TLS connections", sizeof (struct tls), connections, NULL, 0 };
struct pool tls_place_pool = { "TLS handshakes", sizeof (struct place), places, NULL, 0 };
struct pool tls_pending_pool = { "TLS records put aside", sizeof (struct pending), pendings, NULL, 0 };
struct pool tls_session_pool = { "TLS sessions", 100, sessions, NULL, 0 };

static struct { uint16_t fresh, free, pending_fresh, pending_free; } house = { 1, 0, 1, 0 };

struct tls *
tls_at(uint16_t number)
{
	return (struct tls *)(void *)tls_pool.at + number;
}

static struct pending *
pending_at(uint16_t number)
{
	return (struct pending *)(void *)tls_pending_pool.at + number;
}

struct tls *
tls_new(void)
{
	struct tls *t = tls_at(house.free ? house.free : house.fresh);

	if (house.free)
		house.free = t->next;
	else
		house.fresh++;
	assert(house.fresh <= tls_pool.n);
	memset(t, 0, sizeof *t);
	return t;
}

/* -- the two buffers that all share ------------------------------------------------------------------------ */

static struct {                         /* of `owner`: plain bytes that were not passed on yet, then bytes as received */
	struct tls *owner;
	unsigned plain, plain_n, raw, raw_n;
	unsigned char bytes[INPUT_MOST];
} input;

static struct { unsigned from, n; unsigned char bytes[OUTPUT_MOST]; } output;

static void
put_aside(void)
{
	struct pending *p;
	struct tls *t = input.owner;

	input.owner = NULL;
	if (!t || !(input.plain_n + input.raw_n))
		return;
	t->pending = house.pending_free ? house.pending_free : house.pending_fresh;
	p = pending_at(t->pending);
	if (house.pending_free)
		house.pending_free = p->next;
	else
		house.pending_fresh++;
	assert(house.pending_fresh <= tls_pending_pool.n);
	p->plain_n = input.plain_n;
	p->raw_n = input.raw_n;
	memcpy(p->bytes, input.bytes + input.plain, p->plain_n);
	memcpy(p->bytes + p->plain_n, input.bytes + input.raw, p->raw_n);
}

static void
pending_free(struct tls *t)
{
	if (!t->pending)
		return;
	pending_at(t->pending)->next = house.pending_free;
	house.pending_free = t->pending;
	t->pending = 0;
}

/* The input buffer is this connection's from here on. */
static void
claim(struct tls *t)
{
	if (input.owner == t)
		return;
	put_aside();
	input.owner = t;
	input.plain = input.plain_n = input.raw = input.raw_n = 0;
	if (!t->pending)
		return;
	input.raw = input.plain_n = pending_at(t->pending)->plain_n;
	input.raw_n = pending_at(t->pending)->raw_n;
	memcpy(input.bytes, pending_at(t->pending)->bytes, input.plain_n + input.raw_n);
	pending_free(t);
}

bool
tls_busy(const struct tls *t)
{
	return t->state == GREETING || t->pending || (input.owner == t && input.plain_n + input.raw_n);
}

uint16_t
tls_number(struct tls *t)
{
	assert(!tls_busy(t));
	if (input.owner == t)
		input.owner = NULL;
	return t - tls_at(0);
}

/* For tests: nobody may find anything in the buffers that was not put there for him. */
static void
poison(void)
{
	if (!CONFIG_CHECKS)
		return;
	put_aside();
	memset(input.bytes, 0xaa, sizeof input.bytes);
	memset(output.bytes, 0x55, sizeof output.bytes);
}

/* -- failures ------------------------------------------------------------------------------------------------- */

static const struct alert { uint8_t code; const char *name; } alerts[] = {
	{ 0, "close_notify" }, { 10, "unexpected_message" }, { 20, "bad_record_mac" }, { 22, "record_overflow" },
	{ 40, "handshake_failure" }, { 42, "bad_certificate" }, { 43, "unsupported_certificate" },
	{ 44, "certificate_revoked" }, { 45, "certificate_expired" }, { 46, "certificate_unknown" },
	{ 47, "illegal_parameter" }, { 48, "unknown_ca" }, { 49, "access_denied" }, { 50, "decode_error" },
	{ 51, "decrypt_error" }, { 70, "protocol_version" }, { 71, "insufficient_security" }, { 80, "internal_error" },
	{ 86, "inappropriate_fallback" }, { 90, "user_canceled" }, { 100, "no_renegotiation" },
	{ 112, "unrecognized_name" }, { 116, "certificate_required" }, { 120, "no_application_protocol" },
};

static const char *
alert_name(unsigned code)
{
	for (unsigned i = 0; i < sizeof alerts / sizeof *alerts; i++)
		if (alerts[i].code == code)
			return alerts[i].name;
	return "of no name";
}

/* The alert for an error of the engine's, which sends few itself. */
static unsigned
alert_for(int error)
{
	switch (error) {
	case BR_ERR_UNSUPPORTED_VERSION:
	case BR_ERR_BAD_VERSION:
		return 70;
	case BR_ERR_TOO_LARGE:
	case BR_ERR_BAD_LENGTH:
		return 22;
	case BR_ERR_BAD_MAC:
		return 20;
	case BR_ERR_UNKNOWN_TYPE:
	case BR_ERR_UNEXPECTED:
	case BR_ERR_BAD_CCS:
		return 10;
	case BR_ERR_BAD_FINISHED:
	case BR_ERR_BAD_SIGNATURE:
		return 51;
	case BR_ERR_NO_RANDOM:
	case BR_ERR_BAD_STATE:
		return 80;
	case BR_ERR_BAD_SECRENEG:
	case BR_ERR_RESUME_MISMATCH:
	case BR_ERR_NO_CLIENT_AUTH:
		return 40;
	case BR_ERR_BAD_FRAGLEN:
		return 47;
	case BR_ERR_X509_EXPIRED:
		return 45;
	case BR_ERR_X509_NOT_TRUSTED:
		return 48;
	default:
		return error > BR_ERR_X509_OK && error < BR_ERR_X509_NOT_TRUSTED ? 42 : 50;
	}
}

/* -- sending ------------------------------------------------------------------------------------------------------ */

/* What the kernel would not take of n bytes stays in stream.out, in the place of the plain bytes it was made of; what is
 * too long for that goes to the stub, so that nothing has to be moved. */
static void
send_or_keep(struct stream *s, const unsigned char *p, unsigned n, unsigned plain)
{
	struct tls *t = s->tls;
	unsigned sent = stream_send(s, p, n), rest = n - sent, stub = rest > plain ? rest - plain : 0;

	if (s->dead)
		return;
	if (rest < plain)
		buf_take(&s->out, plain - rest);
	if (!plain) {                           /* a flight of the handshake: nothing is there that it could stand before */
		stub = 0;
		s->out.r = 0;
		s->out.w = rest;
	}
	if (s->out.w > s->out.size || stub > sizeof t->stub) {
		s->dead = true;
		s->error = ENOBUFS;
		return;
	}
	memcpy(t->stub, p + sent, stub);
	t->stub_n = stub;
	memcpy(s->out.data + s->out.r, p + sent + stub, rest - stub);
	s->sealed = rest - stub;
}

/* The rest of a record that was sent in part; true when all of it is gone. */
static bool
send_rest(struct stream *s)
{
	struct tls *t = s->tls;
	unsigned n;

	if (t->stub_n) {
		n = stream_send(s, t->stub, t->stub_n);
		t->stub_n -= n;
		memmove(t->stub, t->stub + n, t->stub_n);
		if (t->stub_n)
			return false;
	}
	if (s->sealed) {
		n = stream_send(s, s->out.data + s->out.r, s->sealed);
		s->sealed -= n;
		if (n)
			buf_take(&s->out, n);
	}
	return !s->sealed;
}

/* Make a record of n bytes in `output`; it replaces what was there. */
static void
seal(const br_sslrec_out_class **out, unsigned version, int type, const void *p, unsigned n)
{
	size_t from = HEADER, end = sizeof output.bytes, size = n;
	unsigned char *record;

	(*out)->max_plaintext(out, &from, &end);
	memcpy(output.bytes + from, p, n);
	record = (*out)->encrypt(out, type, version, output.bytes + from, &size);
	output.from = record - output.bytes;
	output.n = size;
}

bool
tls_write(struct stream *s)
{
	struct tls *t = s->tls;
	unsigned before = buf_used(&s->out), n;

	if (s->sealed && !send_rest(s))
		return s->dead || buf_used(&s->out) != before;
	n = buf_used(&s->out);
	if (n > t->most)
		n = t->most;
	if (t->state != OPEN || !n || !s->writable)
		return s->dead || buf_used(&s->out) != before;
	seal(&t->out.class, t->version, DATA, s->out.data + s->out.r, n);
	send_or_keep(s, output.bytes + output.from, output.n, n);
	return true;
}

/* An alert, when a record can begin now; it is short enough to go out or to be missed. */
static void
send_alert(struct stream *s, unsigned level, unsigned code)
{
	struct tls *t = s->tls;
	const unsigned char text[2] = { level, code };
	bool more = s->more;

	if (s->dead || s->sealed)
		return;
	if (t->state == OPEN)
		seal(&t->out.class, t->version, ALERT, text, sizeof text);
	else if (t->place && t->place->server.eng.version_out)
		seal(&t->place->server.eng.out.vtable, t->place->server.eng.version_out, ALERT, text, sizeof text);
	else
		seal(&(const br_sslrec_out_class *){ &br_sslrec_out_clear_vtable }, BR_TLS10, ALERT, text, sizeof text);
	s->more = false;
	if (stream_send(s, output.bytes + output.from, output.n) < output.n)
		s->dead = true;         /* half an alert */
	s->more = more;
}

static void
place_free(struct tls *t)
{
	if (!t->place)
		return;
	if (CONFIG_VERIFY && t->place->conf)
		conf_release(t->place->conf);
	memset(t->place, 0, sizeof *t->place);          /* keys were in it */
	t->place = NULL;
}

/* It cannot go on: the alert says why, and what still comes is read, lest a reset overtakes it. */
static void
fail(struct stream *s, unsigned code, const char *why)
{
	struct tls *t = s->tls;

	send_alert(s, FATAL, code);
	log_line(LOG_INFO, "TLS: %s; the client was told %s", why, alert_name(code));
	place_free(t);
	t->state = FAILED;
	s->broken = true;
	s->out.r = s->out.w = s->sealed = 0;
	input.plain_n = input.raw_n = 0;
}

/* The other side has said that it cannot go on. */
static void
refused(struct stream *s, unsigned code)
{
	log_line(LOG_INFO, "TLS: the client refused: %s", alert_name(code));
	place_free(s->tls);
	s->tls->state = FAILED;
	s->dead = true;
	s->error = EPROTO;
	input.plain_n = input.raw_n = 0;
}

/* -- handshakes ----------------------------------------------------------------------------------------------------- */

/* The two curves that clients have: X25519 takes a third of the time, P-256 is what certificates are made with. */
static const br_ec_impl *
curve_of(int curve)
{
	return curve == BR_EC_curve25519 ? &br_ec_c25519_m31 : &br_ec_p256_m31;
}

static const unsigned char *
curve_generator(int curve, size_t *n)
{
	return curve_of(curve)->generator(curve, n);
}

static const unsigned char *
curve_order(int curve, size_t *n)
{
	return curve_of(curve)->order(curve, n);
}

static size_t
curve_xoff(int curve, size_t *n)
{
	return curve_of(curve)->xoff(curve, n);
}

static uint32_t
curve_mul(unsigned char *G, size_t G_n, const unsigned char *x, size_t x_n, int curve)
{
	return curve_of(curve)->mul(G, G_n, x, x_n, curve);
}

static size_t
curve_mulgen(unsigned char *R, const unsigned char *x, size_t x_n, int curve)
{
	return curve_of(curve)->mulgen(R, x, x_n, curve);
}

static uint32_t
curve_muladd(unsigned char *A, const unsigned char *B, size_t n, const unsigned char *x, size_t x_n,
    const unsigned char *y, size_t y_n, int curve)
{
	return curve_of(curve)->muladd(A, B, n, x, x_n, y, y_n, curve);
}

static const br_ec_impl curves = {
	1 << BR_EC_curve25519 | 1 << BR_EC_secp256r1,
	curve_generator, curve_order, curve_xoff, curve_mul, curve_mulgen, curve_muladd,
};

/* A certificate for the name that the client asks for, of a kind it can check; BearSSL's own policy does the rest. */
static int
choose(const br_ssl_server_policy_class **policy, const br_ssl_server_context *server, br_ssl_server_choices *choices)
{
	br_ssl_server_context *sc = (br_ssl_server_context *)(uintptr_t)server;
	const br_suite_translated *suite;
	const struct identity *id;
	size_t n;
	int types = 0;

	(void)policy;
	suite = br_ssl_server_get_client_suites(server, &n);
	for (size_t i = 0; i < n; i++)
		types |= suite[i][1] >> 12 == BR_SSLKEYX_ECDHE_RSA ? BR_KEYTYPE_RSA : BR_KEYTYPE_EC;
	for (char *p = sc->eng.server_name; *p; p++)
		*p = lower(*p);
	id = certificate_for(span_of(sc->eng.server_name), types);
	if (!id)
		return 0;
	if (id->type == BR_KEYTYPE_EC)
		br_ssl_server_set_single_ec(sc, id->chain, id->chain_n, &id->key.ec, BR_KEYTYPE_SIGN, 0, &curves,
		    br_ecdsa_i31_sign_asn1);
	else
		br_ssl_server_set_single_rsa(sc, id->chain, id->chain_n, &id->key.rsa, BR_KEYTYPE_SIGN, 0,
		    br_rsa_pkcs1_sign_get_default());
	return (*sc->policy_vtable)->choose(sc->policy_vtable, server, choices);
}

static const br_ssl_server_policy_class policy_class = { sizeof (br_ssl_server_policy_class *), choose, NULL, NULL };
static const br_ssl_server_policy_class *policy = &policy_class;

static const struct suite { uint16_t id; const char *name; } suites[] = {
	{ BR_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, "ECDHE-ECDSA-AES128-GCM-SHA256" },
	{ BR_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, "ECDHE-RSA-AES128-GCM-SHA256" },
	{ BR_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-ECDSA-CHACHA20-POLY1305" },
	{ BR_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "ECDHE-RSA-CHACHA20-POLY1305" },
};

enum { SUITES = sizeof suites / sizeof *suites };

static const char *protocols[] = { "http/1.1" };
static br_ssl_session_cache_lru cache;

bool
tls_open(void)
{
	/* The one field of the engine that is used beside its documented doors must be where the header says. */
	static struct place probe;

	if (!tls_pool.n)
		return true;
	if (tls_session_pool.n)
		br_ssl_session_cache_lru_init(&cache, (unsigned char *)tls_session_pool.at,
		    tls_session_pool.n * tls_session_pool.size);
	br_ssl_engine_set_buffers_bidi(&probe.server.eng, probe.in, sizeof probe.in, probe.out, sizeof probe.out);
	if (probe.server.eng.out.vtable == &br_sslrec_out_clear_vtable)
		return true;
	log_line(LOG_ERROR, "this is not the version of BearSSL that the server was built for");
	return false;
}

bool
tls_fits(const struct conf *cf)
{
	if ((tls_pool.n || !wanted(cf)) && (!CONFIG_VERIFY || verifier_pool.n || !cf->client_ca || !wanted(cf)))
		return true;
	log_line(LOG_ERROR, "`listen ... tls` and `client-ca` need memory that is set aside at the start: stop and start the "
	    "server");
	return false;
}

/* ChaCha20 goes first where the processor has no instructions for AES: it is seven times faster there. */
static void
engine_setup(struct place *p)
{
	br_ssl_engine_context *eng = &p->server.eng;
	unsigned first = br_aes_x86ni_ctr_get_vtable() ? 0 : 2;
	unsigned char seed[32];
	uint16_t ids[SUITES];

	for (unsigned i = 0; i < SUITES; i++)
		ids[i] = suites[(i + first) % SUITES].id;
	br_ssl_server_zero(&p->server);
	br_ssl_engine_set_versions(eng, BR_TLS12, BR_TLS12);
	br_ssl_engine_set_suites(eng, ids, SUITES);
	br_ssl_engine_set_ec(eng, &curves);
	br_ssl_engine_set_hash(eng, br_sha256_ID, &br_sha256_vtable);
	br_ssl_engine_set_prf_sha256(eng, br_tls12_sha256_prf);
	br_ssl_engine_set_default_aes_gcm(eng);
	br_ssl_engine_set_default_chapol(eng);
	br_ssl_engine_set_protocol_names(eng, protocols, 1);
	br_ssl_engine_set_all_flags(eng, BR_OPT_ENFORCE_SERVER_PREFERENCES | BR_OPT_NO_RENEGOTIATION);
	br_ssl_server_set_policy(&p->server, &policy);
	if (CONFIG_VERIFY && conf->client_ca) { /* resumed sessions would lack what their client has proved */
		p->conf = conf;
		conf->users++;
		verify_client(p - (struct place *)(void *)tls_place_pool.at, &p->server);
	} else if (tls_session_pool.n) {
		br_ssl_server_set_cache(&p->server, &cache.vtable);
	}
	br_ssl_engine_set_buffers_bidi(eng, p->in, sizeof p->in, p->out, sizeof p->out);
	eng->log_max_frag_len = 14;     /* records are sealed here, so the engine's buffers are no limit to agree upon */
	if (getrandom(seed, sizeof seed, 0) == sizeof seed)
		br_ssl_engine_inject_entropy(eng, seed, sizeof seed);
	br_ssl_server_reset(&p->server);
}

/* A place; when none is free the longest handshake gives way, because one that takes so long has been left. */
static struct place *
place_take(void)
{
	struct place *all = (struct place *)(void *)tls_place_pool.at, *p = all;

	for (unsigned i = 0; i < tls_place_pool.n && p->tls; i++)
		if (!all[i].tls || all[i].since < p->since)
			p = &all[i];
	if (p->tls) {
		log_line(LOG_DEBUG, "TLS: an unfinished handshake gives way");
		shutdown(p->fd, SHUT_RDWR);
		p->tls->state = FAILED;
		place_free(p->tls);
	}
	return p;
}

static void
greet(struct stream *s)
{
	struct place *p = place_take();

	p->tls = s->tls;
	p->fd = s->fd;
	p->since = now;
	s->tls->place = p;
	s->tls->state = GREETING;
	engine_setup(p);
}

/* What the engine has to say, into `output`. */
static void
collect(br_ssl_engine_context *eng)
{
	unsigned char *p;
	size_t n;

	while ((p = br_ssl_engine_sendrec_buf(eng, &n)) && n <= sizeof output.bytes - output.n) {
		memcpy(output.bytes + output.n, p, n);
		output.n += n;
		br_ssl_engine_sendrec_ack(eng, n);
	}
}

/* Both sides are done: the keys are taken along and the engine is not needed any more. */
static void
established(struct stream *s)
{
	struct tls *t = s->tls;
	br_ssl_engine_context *eng = &t->place->server.eng;

	if ((void *)eng->in.vtable != (void *)&br_sslrec_in_gcm_vtable &&
	    (void *)eng->in.vtable != (void *)&br_sslrec_in_chapol_vtable) {
		fail(s, 80, "the library is not what it was");
		return;
	}
	memcpy(&t->in, &eng->in, sizeof t->in);
	memcpy(&t->out, &eng->out, sizeof t->out);
	t->version = eng->session.version;
	t->suite = eng->session.cipher_suite;
	t->most = eng->peer_log_max_frag_len ? 1 << eng->peer_log_max_frag_len : PLAIN_MOST;
	t->state = OPEN;
	if (CONFIG_VERIFY && t->place->conf)
		t->proof = verify_result(t->place - (struct place *)(void *)tls_place_pool.at);
	place_free(t);
}

static void
engine_failed(struct stream *s, int error)
{
	if (error > BR_ERR_SEND_FATAL_ALERT) {  /* it has told the client itself */
		s->tls->stub_n = 0;
		log_line(LOG_INFO, "TLS: no agreement; the client was told %s",
		    alert_name(error - BR_ERR_SEND_FATAL_ALERT));
		place_free(s->tls);
		s->tls->state = FAILED;
		s->broken = true;
		input.raw_n = 0;
	} else if (error > BR_ERR_RECV_FATAL_ALERT) {
		refused(s, error - BR_ERR_RECV_FATAL_ALERT);
	} else if (error) {
		fail(s, alert_for(error), error >= BR_ERR_X509_OK && error <= BR_ERR_X509_NOT_TRUSTED ?
		    "the client's certificate was refused" : "the handshake is not one");
	} else {
		place_free(s->tls);
		s->tls->state = CLOSED;
		s->eof = true;
	}
}

/* Feed the engine with what has come; false when nothing came of it. */
static bool
handshake(struct stream *s)
{
	unsigned before = input.raw_n;
	struct tls *t = s->tls;
	br_ssl_engine_context *eng;
	unsigned char *to;
	size_t n;

	if (t->state == NEW)
		greet(s);
	eng = &t->place->server.eng;
	output.from = output.n = 0;
	collect(eng);
	while (input.raw_n && (to = br_ssl_engine_recvrec_buf(eng, &n)) &&
	    !(br_ssl_engine_current_state(eng) & BR_SSL_SENDAPP)) {
		n = n < input.raw_n ? n : input.raw_n;
		memcpy(to, input.bytes + input.raw, n);
		input.raw += n;
		input.raw_n -= n;
		br_ssl_engine_recvrec_ack(eng, n);
		collect(eng);
	}
	if (output.n)
		send_or_keep(s, output.bytes, output.n, 0);
	if (s->dead || s->sealed)
		return true;
	if (br_ssl_engine_current_state(eng) == BR_SSL_CLOSED)
		engine_failed(s, br_ssl_engine_last_error(eng));
	else if (br_ssl_engine_current_state(eng) & BR_SSL_SENDAPP)
		established(s);
	return input.raw_n < before || output.n || t->state != GREETING;
}

/* -- receiving ---------------------------------------------------------------------------------------------------- */

/* A record that is not data. */
static void
control(struct stream *s, int type, const unsigned char *p, unsigned n)
{
	if (type == ALERT && n == 2 && p[1] == 0)
		s->tls->fin = true;             /* close_notify; what comes after it is dropped */
	else if (type == ALERT && n == 2 && p[0] == FATAL)
		refused(s, p[1]);
	else if (type == HANDSHAKE && n && p[0] == 1)
		send_alert(s, WARNING, 100);    /* a new ClientHello: there is no renegotiation here */
	else if (type != ALERT)
		fail(s, 10, "a record of a kind that has no place here");
	if (s->tls->fin)
		input.raw_n = 0;
}

/* Open the record at the beginning of what came; false when it has not all come. */
static bool
open_record(struct stream *s)
{
	struct tls *t = s->tls;
	unsigned char *p = input.bytes + input.raw, *plain;
	size_t n;

	if (input.raw_n < HEADER)
		return false;
	n = p[3] << 8 | p[4];
	if (p[1] << 8 != (t->version & 0xff00) || !t->in.class->check_length(&t->in.class, n)) {
		fail(s, p[1] << 8 != (t->version & 0xff00) ? 70 : 22, "a record of a wrong length or version");
		return true;
	}
	if (input.raw_n < HEADER + n)
		return false;
	input.raw += HEADER + n;
	input.raw_n -= HEADER + n;
	plain = t->in.class->decrypt(&t->in.class, p[0], p[1] << 8 | p[2], p + HEADER, &n);
	if (!plain) {
		fail(s, 20, "a record was damaged");
	} else if (p[0] != DATA) {
		control(s, p[0], plain, n);
	} else {
		input.plain = plain - input.bytes;
		input.plain_n = n;
	}
	return true;
}

/* Plain bytes into stream.in. */
static bool
pass_on(struct stream *s)
{
	unsigned n = input.plain_n < buf_room(&s->in) ? input.plain_n : buf_room(&s->in);

	if (!n)
		return false;
	memcpy(s->in.data + s->in.w, input.bytes + input.plain, n);
	s->in.w += n;
	input.plain += n;
	input.plain_n -= n;
	return true;
}

/* Everything that can go on without the kernel. */
static bool
work(struct stream *s)
{
	struct tls *t = s->tls;
	bool moved = pass_on(s), part = !input.raw_n;

	while (!input.plain_n && input.raw_n && !s->dead && !s->broken) {
		if (t->state < OPEN ? s->sealed : !buf_room(&s->in))
			break;
		part = t->state < OPEN ? !handshake(s) : !open_record(s);
		if (part)
			break;
		moved = true;
		part = !input.raw_n;
		pass_on(s);
	}
	if (t->fin && !input.plain_n && part && !s->eof) {
		input.raw_n = 0;
		s->eof = moved = true;
	}
	return moved;
}

static bool
receive(struct stream *s)
{
	unsigned n;

	if (s->dead || s->eof || !s->readable || s->tls->fin || (!buf_room(&s->in) && !s->broken))
		return false;
	memmove(input.bytes, input.bytes + input.raw, input.raw_n);
	input.raw = 0;
	n = stream_recv(s, input.bytes + input.raw_n, sizeof input.bytes - input.raw_n);
	input.raw_n += n;
	if (s->broken) {
		input.raw_n = 0;
	} else if (s->eof) {
		s->eof = false;
		s->tls->fin = true;
	}
	return n || s->dead || s->eof || s->tls->fin;
}

bool
tls_read(struct stream *s)
{
	bool moved = false;

	if (s->dead || s->eof)
		return false;
	if (s->tls->state == FAILED)
		s->broken = true;
	if (s->sealed)
		moved = s->writable && tls_write(s);
	claim(s->tls);
	moved |= work(s);
	if (receive(s)) {
		moved = true;
		work(s);
	}
	poison();
	return moved;
}

/* -- the end ---------------------------------------------------------------------------------------------------- */

void
tls_shut(struct stream *s)
{
	if (s->tls->state == OPEN && !s->shut && !buf_used(&s->out))
		send_alert(s, WARNING, 0);
	if (s->tls->state == OPEN)
		s->tls->state = CLOSED;
}

void
tls_close(struct stream *s)
{
	struct tls *t = s->tls;

	tls_shut(s);
	place_free(t);
	if (input.owner == t)
		input.owner = NULL;
	pending_free(t);
	if (CONFIG_VERIFY)
		proof_free(t->proof);
	memset(t, 0, sizeof *t);
	t->next = house.free;
	house.free = t - tls_at(0);
	s->tls = NULL;
}

void
tls_hang_up(uint16_t number, int fd)
{
	struct stream s = { .fd = fd, .writable = true, .tls = tls_at(number) };

	tls_close(&s);
}

/* -- what programs are told --------------------------------------------------------------------------------------- */

struct span
tls_protocol(const struct tls *t)
{
	(void)t;
	return SPAN("TLSv1.2");
}

uint16_t
tls_proof(const struct tls *t)
{
	return t->proof;
}

struct span
tls_cipher(const struct tls *t)
{
	for (unsigned i = 0; i < SUITES; i++)
		if (suites[i].id == t->suite)
			return span_of(suites[i].name);
	return SPAN("");
}
