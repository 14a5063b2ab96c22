/* handshake.c - handshakes: the only room that knows BearSSL's engine
 *
 *   ClientHello -> looked at -> a place with an engine, offer.c -> ... -> keys, and the place is free
 *
 * An engine takes four kilobytes and two small buffers, so there are only so many places; a connection that has one for
 * long gives way to one more.
 */
#include "handshake.h"

#include "verify.h"

#include <string.h>
#include <sys/socket.h>

/* A code before each name. */
static const char alerts[] = "\0close_notify\0" "\xa" "unexpected_message\0" "\x14" "bad_record_mac\0"
    "\x16" "record_overflow\0" "\x28" "handshake_failure\0" "\x2a" "bad_certificate\0" "\x2b" "unsupported_certificate\0"
    "\x2c" "certificate_revoked\0" "\x2d" "certificate_expired\0" "\x2e" "certificate_unknown\0" "\x2f" "illegal_parameter\0"
    "\x30" "unknown_ca\0" "\x31" "access_denied\0" "\x32" "decode_error\0" "\x33" "decrypt_error\0" "\x46" "protocol_version\0"
    "\x47" "insufficient_security\0" "\x50" "internal_error\0" "\x56" "inappropriate_fallback\0" "\x5a" "user_canceled\0"
    "\x64" "no_renegotiation\0" "\x70" "unrecognized_name\0" "\x74" "certificate_required\0" "\x78" "no_application_protocol";

const char *
alert_name(unsigned code)
{
	for (const char *p = alerts; p < alerts + sizeof alerts; p += strlen(p + 1) + 2)
		if ((unsigned char)*p == code)
			return p + 1;
	return "of no name";
}

/* The alert for an error of the engine's, which sends few itself. */
static unsigned
alert_for(int error)
{
	static const struct { uint8_t error, alert; } of[] = {
		{ BR_ERR_UNSUPPORTED_VERSION, 70 }, { BR_ERR_BAD_VERSION, 70 }, { BR_ERR_TOO_LARGE, 22 }, { BR_ERR_BAD_LENGTH, 22 },
		{ BR_ERR_BAD_MAC, 20 }, { BR_ERR_UNKNOWN_TYPE, 10 }, { BR_ERR_UNEXPECTED, 10 }, { BR_ERR_BAD_CCS, 10 },
		{ BR_ERR_BAD_FINISHED, 51 }, { BR_ERR_BAD_SIGNATURE, 51 }, { BR_ERR_NO_RANDOM, 80 }, { BR_ERR_BAD_STATE, 80 },
		{ BR_ERR_BAD_SECRENEG, 40 }, { BR_ERR_RESUME_MISMATCH, 40 }, { BR_ERR_NO_CLIENT_AUTH, 40 },
		{ BR_ERR_BAD_FRAGLEN, 47 }, { BR_ERR_X509_EXPIRED, 45 }, { BR_ERR_X509_NOT_TRUSTED, 48 },
	};

	for (unsigned i = 0; i < sizeof of / sizeof *of; i++)
		if (of[i].error == error)
			return of[i].alert;
	return error > BR_ERR_X509_OK && error < BR_ERR_X509_NOT_TRUSTED ? 42 : 50;
}

void
place_free(struct tls *t)
{
	if (!t->place)
		return;
	if (CONFIG_VERIFY && t->place->conf)
		conf_release(t->place->conf);
	memset(t->place, 0, sizeof *t->place);          /* keys were in it */
	t->place = NULL;
}

/* Who finds nothing left of what is rationed draws a number, and those who wait go before those who come: else a few
 * who always want more would leave nothing for the others. */
static struct queue { uint16_t drawn, served; } for_steps, for_places;
static unsigned steps;                  /* of handshakes that may still be taken in this turn */

static unsigned
serve(struct queue *q, unsigned n)
{
	for (; n && q->drawn != q->served; n--)
		q->served++;
	return n;
}

static bool
lets(struct queue *q, struct tls *t, unsigned left)
{
	if (t->next ? (int16_t)(q->served - t->next) >= 0 : left && q->drawn == q->served) {
		t->next = 0;
		return true;
	}
	if (!t->next)
		t->next = ++q->drawn ? q->drawn : ++q->drawn;
	return false;
}

static bool
has_step(struct tls *t)
{
	bool waited = t->next;

	if (!lets(&for_steps, t, steps))
		return false;
	steps -= !waited;
	return true;
}

/* How many places could be had, and from when on the next one. */
static unsigned
places_left(int64_t *when)
{
	const struct place *all = (struct place *)(void *)tls_place_pool.at;
	unsigned n = 0;

	*when = INT64_MAX;
	for (unsigned i = 0; i < tls_client_places(); i++) {
		int64_t from = all[i].tls ? all[i].since + PLACE_KEPT : now;

		n += from <= now;
		*when = from < *when ? from : *when;
	}
	return n;
}

static bool
has_place(struct tls *t)
{
	int64_t when;
	unsigned left = places_left(&when);

	return lets(&for_places, t, left) && left;
}

int64_t
tls_due(void)
{
	int64_t when;

	places_left(&when);
	return when > now ? when : now;
}

void
tls_turn(void)
{
	int64_t when;

	steps = serve(&for_steps, HANDSHAKES_TURN);
	if (for_places.drawn != for_places.served)
		serve(&for_places, places_left(&when));
}

bool tls_https;

/* -- sessions ------------------------------------------------------------------------------------------------------ */

static uint32_t uses;                   /* of sessions */

/* RFC 6066 3: a session is for the name that it was begun with.  So what it is kept under differs by the name. */
static void
session_key(unsigned char key[32], const br_ssl_session_parameters *what, const br_ssl_server_context *server)
{
	uint32_t name = place_around(server)->name;

	memcpy(key, what->session_id, 32);
	for (unsigned i = 0; i < sizeof name; i++)
		key[i] ^= name >> 8 * i;
}

/* The one of this key; else, of those that stand where it would, the one that was used longest ago. */
static struct session *
session_find(const unsigned char key[32])
{
	struct session *all = (struct session *)(void *)tls_session_pool.at, *found = NULL;
	unsigned at = uint16_at(key + 8) % tls_session_pool.n;

	for (unsigned i = 0; i < SESSIONS_LOOKED && i < tls_session_pool.n; i++, at = (at + 1) % tls_session_pool.n) {
		if (all[at].used && !memcmp(all[at].key, key, sizeof all[at].key))
			return &all[at];
		if (!found || all[at].used < found->used)
			found = &all[at];
	}
	return found;
}

static void
session_save(const br_ssl_session_cache_class **class, br_ssl_server_context *server,
    const br_ssl_session_parameters *what)
{
	unsigned char key[32];
	struct session *s;

	(void)class;
	session_key(key, what, server);
	s = session_find(key);
	memcpy(s->key, key, sizeof key);
	memcpy(s->master, what->master_secret, sizeof s->master);
	s->version = what->version;
	s->suite = what->cipher_suite;
	s->used = ++uses;
}

/* What was agreed upon where older versions and suites will do holds nowhere else; BearSSL does not look at that. */
static int
session_load(const br_ssl_session_cache_class **class, br_ssl_server_context *server, br_ssl_session_parameters *what)
{
	unsigned char key[32];
	struct session *s;

	(void)class;
	session_key(key, what, server);
	s = session_find(key);
	if (what->session_id_len != sizeof key || !place_around(server)->name || !s->used || memcmp(s->key, key, sizeof key))
		return 0;
	memcpy(what->master_secret, s->master, sizeof s->master);
	what->version = s->version;
	what->cipher_suite = s->suite;
	s->used = ++uses;
	return !CONFIG_LEGACY || (what->version >= server->eng.version_min &&
	    (server->eng.version_min < BR_TLS12 || suite_name(what->cipher_suite, false)));
}

static const br_ssl_session_cache_class sessions_class = {
	sizeof (br_ssl_session_cache_class *), session_save, session_load,
};
static const br_ssl_session_cache_class *sessions_kept = &sessions_class;

/* -- engines --------------------------------------------------------------------------------------------------------- */

bool
tls_open(void)
{
	/* The one field of the engine that is used beside its documented doors must be where the header says. */
	struct place *probe = (struct place *)(void *)tls_place_pool.at;
	bool good;

	tls_https = conf->https;
	if (!tls_pool.n)
		return true;
	br_ssl_engine_set_buffers_bidi(&probe->server.eng, probe->in, sizeof probe->in, probe->out, sizeof probe->out);
	good = probe->server.eng.out.vtable == &br_sslrec_out_clear_vtable;
	memset(probe, 0, sizeof *probe);
	if (good)
		return true;
	log_line(LOG_ERROR, "this is not the version of BearSSL that the server was built for");
	return false;
}

static void
server_setup(struct place *p)
{
	br_ssl_server_zero(&p->server);
	engine_setup(p);
	p->policy = &policy_class;
	br_ssl_server_set_policy(&p->server, &p->policy);
	if (CONFIG_VERIFY && conf->client_ca) { /* resumed sessions would lack what their client has proved */
		p->conf = conf;
		conf->users++;
		verify_client(p - (struct place *)(void *)tls_place_pool.at, &p->server);
	} else if (tls_session_pool.n) {
		br_ssl_server_set_cache(&p->server, &sessions_kept);
	}
	br_ssl_server_reset(&p->server);
}

/* A place.  Backends have the last ones, one for each connection there can be.  When there is none for another client
 * the longest handshake gives way: it has had its time (has_place). */
static struct place *
place_take(bool backend)
{
	unsigned clients = tls_client_places(), from = backend ? clients : 0, to = backend ? tls_place_pool.n : clients;
	struct place *all = (struct place *)(void *)tls_place_pool.at, *p = all + from;

	for (unsigned i = from; i < to && p->tls; i++)
		if (!all[i].tls || all[i].since < p->since)
			p = &all[i];
	if (p->tls) {
		log_line(LOG_DEBUG, "TLS: an unfinished handshake gives way");
		call_shutdown(p->fd, SHUT_RDWR);
		p->tls->state = FAILED;
		place_free(p->tls);
	}
	return p;
}

struct place *
place_for(struct stream *s)
{
	struct place *p = place_take(s->tls->backend);

	p->tls = s->tls;
	p->fd = s->fd;
	p->since = now;
	s->tls->place = p;
	s->tls->state = GREETING;
	return p;
}

/* -- the first record --------------------------------------------------------------------------------------- */

static uint32_t asked;                  /* a hash of the name that the last hello asked for; 0: that cannot be told */

/* RFC 8446 4.2.1: where there is this extension it alone says which versions the client has.  BearSSL does not look at
 * it, and would find no cipher suite with those who are too new. */
static bool
lacks_ours(const unsigned char *p, unsigned n)
{
	for (; n >= 2; p += 2, n -= 2)
		if (uint16_at(p) == BR_TLS12)
			return false;
	return true;
}

/* Look at the extensions of a hello, behind its type and length: is the client too new?  And set `asked`. */
static bool
too_new(const unsigned char *p, unsigned n)
{
	unsigned at = 34, type, size;           /* version, random */
	bool is = false;

	asked = (p[-3] << 16 | uint16_at(p - 2)) == n;        /* else it goes on in the next record, and may ask there */
	if (at < n)
		at += 1 + p[at];                                /* session */
	if (at + 1 < n)
		at += 2 + uint16_at(p + at);                    /* suites */
	if (at < n)
		at += 1 + p[at];                                /* compression */
	for (at += 2; at + 4 <= n; at += 4 + size) {
		type = uint16_at(p + at);
		size = uint16_at(p + at + 2);
		if (size > n - at - 4)
			break;
		for (unsigned i = 0; type == 0 && asked && i < size; i++)
			asked = asked * 33 + lower(p[at + 4 + i]) + 1;
		if (type == 43 && size)
			is = lacks_ours(p + at + 5, size - 1);
	}
	return is;
}

static unsigned
oldest(const struct tls *t)
{
	return CONFIG_LEGACY && t->legacy ? BR_TLS10 : BR_TLS12;
}

/* Is this the beginning of TLS, and of a version that can be spoken?  False when it is not, and that was said, or when
 * more of it has to come. */
static bool
acceptable(struct stream *s)
{
	const unsigned char *p = input.bytes + input.raw;
	unsigned n = input.raw_n, size;

	asked = 0;
	if (p[0] >= 'A' && p[0] <= 'Z') {
		s->misplaced = true;            /* HTTP: read on as such, and answered in plain words */
		return false;
	}
	if (n < HEADER)
		return false;
	size = uint16_at(p + 3);
	if (p[0] & 0x80 && p[2] == 1)
		tls_fail(s, 70, "the client speaks SSL 2");
	else if (p[0] != HANDSHAKE || p[1] != 3)
		tls_fail(s, 10, "this is not the beginning of TLS");
	else if (size > PLAIN_MOST)
		tls_fail(s, 22, "the first record is too long");
	else if (n < HEADER + size)
		return false;
	else if (size > 6 && p[HEADER] == 1 && uint16_at(p + HEADER + 4) < oldest(s->tls))
		tls_fail(s, 70, "the client speaks only older versions than are spoken here");
	else if (size > 4 && p[HEADER] == 1 && too_new(p + HEADER + 4, size - 4) && !s->tls->legacy)
		tls_fail(s, 70, "the client speaks no TLS 1.2, only newer versions");
	return !s->broken;
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

	t->cbc = CONFIG_LEGACY && t->legacy && (void *)eng->in.vtable == (void *)&br_sslrec_in_cbc_vtable;
	if (!t->cbc && (void *)eng->in.vtable != (void *)&br_sslrec_in_gcm_vtable &&
	    (void *)eng->in.vtable != (void *)&br_sslrec_in_chapol_vtable) {
		tls_fail(s, 80, "the library is not what it was");
		return;
	}
	if (t->cbc) {
		memcpy(&legacy_of(t)->in, &eng->in, sizeof legacy_of(t)->in);
		memcpy(&legacy_of(t)->out, &eng->out, sizeof legacy_of(t)->out);
	} else {
		memcpy(&t->in, &eng->in, sizeof t->in);
		memcpy(&t->out, &eng->out, sizeof t->out);
	}
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
		s->tls->spill_n = 0;
		log_line(LOG_INFO, "TLS: no agreement; the %s was told %s", other_side(s->tls),
		    alert_name(error - BR_ERR_SEND_FATAL_ALERT));
		place_free(s->tls);
		s->tls->state = FAILED;
		tls_broken(s);
		input.raw_n = 0;
	} else if (error > BR_ERR_RECV_FATAL_ALERT) {
		tls_refused(s, error - BR_ERR_RECV_FATAL_ALERT);
	} else if (error) {
		tls_fail(s, alert_for(error), CONFIG_HTTPS && s->tls->backend ? verify_why(error) :
		    error >= BR_ERR_X509_OK && error <= BR_ERR_X509_NOT_TRUSTED ? "the client's certificate was refused" :
		    "the handshake is not one");
	} else {
		place_free(s->tls);             /* a good-bye; there are no keys for what may stand behind it */
		s->tls->state = CLOSED;
		s->eof = true;
		input.raw_n = 0;
	}
}

bool
handshake(struct stream *s)
{
	unsigned before = input.raw_n;
	struct tls *t = s->tls;
	br_ssl_engine_context *eng;
	unsigned char *to;
	size_t n;

	if (t->state == NEW && !acceptable(s))
		return s->broken || s->misplaced;
	s->crowded = t->state == NEW && !has_place(t);
	if (!s->crowded && t->state == NEW) {
		place_for(s)->name = asked;
		server_setup(t->place);
	}
	if (s->crowded || (!t->backend && !has_step(t))) {
		s->later = true;
		return false;
	}
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
