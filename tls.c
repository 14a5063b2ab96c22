/* tls.c - TLS: records, and the edge to stream.c
 *
 *                 ,-- handshake.c: BearSSL's engine, until both sides have said Finished -----------------.
 *   recv -> input                                                                                              > send
 *                 `-- record -> plain -> stream.in      stream.out -> record -------------------------------- '
 *
 * The engine is needed for the handshake alone.  After that a connection is two keys and two counters (struct tls,
 * some 650 bytes), and records are opened and sealed here with BearSSL's record classes.  There is one input and one
 * output buffer for all connections: what has come but cannot go on yet is put aside (struct pending) when another
 * connection needs the buffer; what the kernel would not take of a record stays at the beginning of stream.out.
 */
#include "gateway.h"
#include "handshake.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

_Static_assert(offsetof(br_sslrec_gcm_context, seq) == offsetof(br_sslrec_chapol_context, seq), "BearSSL is not what it was");

struct pending { uint16_t next, plain_n, raw_n; unsigned char bytes[INPUT_MOST]; };

/* -- memory ------------------------------------------------------------------------------------------------ */

static uint8_t
listened(const struct conf *cf)
{
	uint8_t flags = 0;

	for (unsigned i = 0; i < cf->nlisten; i++)
		flags |= cf->listen[i].flags;
	return flags;
}

static bool
wanted(const struct conf *cf)
{
	return listened(cf) & LISTEN_TLS;
}

static unsigned
backends(const struct conf *cf)
{
	return CONFIG_HTTPS && cf->https ? peer_pool.count(cf) : 0;
}

static unsigned
busy(const struct conf *cf)
{
	return (wanted(cf) ? cf->clients : 0) + backends(cf);
}

static unsigned
connections(const struct conf *cf)
{
	return busy(cf) ? busy(cf) + (wanted(cf) ? cf->parked : 0) + 2 : 0;     /* 0 is none, and one may be arriving */
}

static unsigned
places(const struct conf *cf)
{
	return backends(cf) + (!wanted(cf) ? 0 : cf->clients < HANDSHAKES_MAX ? cf->clients : HANDSHAKES_MAX);
}

unsigned
tls_client_places(void)
{
	return tls_place_pool.n - (tls_https ? peer_pool.n : 0);
}

static unsigned
pendings(const struct conf *cf)
{
	return busy(cf) ? busy(cf) + 1 : 0;
}

static unsigned
legacies(const struct conf *cf)
{
	return listened(cf) & LISTEN_LEGACY ? connections(cf) : 0;
}

static unsigned
sessions(const struct conf *cf)
{
	return wanted(cf) ? cf->sessions : 0;
}

struct pool tls_pool = { "TLS connections", sizeof (struct tls), connections, NULL, 0 };
struct pool tls_place_pool = { "TLS handshakes", sizeof (struct place), places, NULL, 0 };
struct pool tls_pending_pool = { "TLS records put aside", sizeof (struct pending), pendings, NULL, 0 };
struct pool tls_session_pool = { "TLS sessions", sizeof (struct session), sessions, NULL, 0 };
struct pool tls_legacy_pool = { "TLS legacy connections", sizeof (struct legacy), legacies, NULL, 0 };

bool
tls_fits(const struct conf *cf)
{
	if ((tls_client_places() || !wanted(cf)) && (!CONFIG_VERIFY || proof_pool.n || !cf->client_ca || !wanted(cf)) &&
	    (!cf->https || tls_https) && (!CONFIG_LEGACY || tls_legacy_pool.n || !(listened(cf) & LISTEN_LEGACY)))
		return true;
	log_line(LOG_ERROR, "`listen ... tls`, `legacy`, `client-ca` and `proxy ... https://` need memory that is set "
	    "aside at the start: stop and start the server");
	return false;
}

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

struct legacy *
legacy_of(const struct tls *t)
{
	return (struct legacy *)(void *)tls_legacy_pool.at + (t - tls_at(0));
}

static const br_sslrec_in_class **
opener(struct tls *t)
{
	return CONFIG_LEGACY && t->cbc ? &legacy_of(t)->in.class : &t->in.class;
}

static const br_sslrec_out_class **
sealer(struct tls *t)
{
	return CONFIG_LEGACY && t->cbc ? &legacy_of(t)->out.class : &t->out.class;
}

struct tls *
tls_new(bool legacy)
{
	struct tls *t = tls_at(house.free ? house.free : house.fresh);

	if (house.free)
		house.free = t->next;
	else
		house.fresh++;
	assert(house.fresh <= tls_pool.n);
	memset(t, 0, sizeof *t);
	t->legacy = legacy;
	return t;
}

/* -- the two buffers that all share ------------------------------------------------------------------------ */

struct input input;
struct output output;

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

/* -- sending ------------------------------------------------------------------------------------------------------ */

static unsigned char *
spill_of(struct tls *t)
{
	return CONFIG_LEGACY && t->cbc ? legacy_of(t)->spill : t->spill;
}

/* The rest of a record stays at the beginning of out.  What is too long for its place there is the spill, so that
 * nothing has to be moved. */
static void
keep(struct stream *s, const unsigned char *p, unsigned n, unsigned place)
{
	unsigned spill = n > place ? n - place : 0;

	memcpy(spill_of(s->tls), p, spill);
	s->tls->spill_n = spill;
	memcpy(s->out.data + s->out.r, p + spill, n - spill);
	s->sealed = n - spill;
}

void
send_or_keep(struct stream *s, const unsigned char *p, unsigned n, unsigned plain)
{
	struct tls *t = s->tls;
	unsigned sent = stream_send(s, p, n), rest = n - sent, place = plain;

	if (s->dead)
		return;
	if (rest < plain)
		buf_take(&s->out, plain - rest);
	if (!plain && t->backend) {             /* a request is there already, and a flight is short: whole or not at all */
		s->dead = rest;
		s->error = EPROTO;
		return;
	}
	if (!plain) {                           /* a flight of the handshake: nothing is there that it could stand before */
		s->out.r = 0;
		s->out.w = place = rest;
	}
	if (s->out.w > s->out.size || rest > place + (t->cbc ? LEGACY_OVERHEAD : OVERHEAD)) {
		s->dead = true;
		s->error = ENOBUFS;
		return;
	}
	keep(s, p + sent, rest, place);
}

/* The rest of a record that was sent in part; true when all of it is gone. */
static bool
send_rest(struct stream *s)
{
	struct tls *t = s->tls;
	unsigned char *spill = spill_of(t);
	unsigned n;

	if (t->spill_n) {
		n = stream_send(s, spill, t->spill_n);
		t->spill_n -= n;
		memmove(spill, spill + n, t->spill_n);
		if (t->spill_n)
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

	if (t->backend && t->state == GREETING) {       /* we speak first */
		claim(t);
		handshake(s);
		return s->dead;
	}
	if (s->sealed && !send_rest(s))
		return s->dead || buf_used(&s->out) != before;
	n = buf_used(&s->out);
	if (n > t->most)
		n = t->most;
	if (t->state != OPEN || !n || !s->writable)
		return s->dead || buf_used(&s->out) != before;
	seal(sealer(t), t->version, DATA, s->out.data + s->out.r, n);
	send_or_keep(s, output.bytes + output.from, output.n, n);
	return true;
}

/* Records of a file are made in the buffer that they leave from, several for one call, and short ones: for a client that
 * does not read no more is kept than the rest of one. */
struct batch { struct iovec at[FILE_RECORDS]; unsigned count, most, stride; };

/* Where n bytes have to lie so that they become records, one behind the other. */
static void
batch_plan(struct batch *b, struct tls *t, uint64_t n)
{
	size_t lead = HEADER, end = sizeof output.bytes, size;

	(*sealer(t))->max_plaintext(sealer(t), &lead, &end);
	b->most = FILE_RECORD < t->most ? FILE_RECORD : t->most;
	b->stride = lead + b->most + TAG;
	for (b->count = 0; n && b->count < (t->cbc ? 1 : FILE_RECORDS); n -= size) {
		size = n < b->most ? n : b->most;
		b->at[b->count] = (struct iovec){ output.bytes + b->count * b->stride + lead, size };
		b->count++;
	}
}

static void
batch_seal(const struct batch *b, struct tls *t, size_t n)
{
	const br_sslrec_out_class **out = sealer(t);
	unsigned char *record;
	size_t size;

	output.n = 0;
	for (unsigned i = 0; n; i++) {
		size = n < b->most ? n : b->most;
		n -= size;
		record = (*out)->encrypt(out, DATA, t->version, b->at[i].iov_base, &size);
		if (!i)
			output.from = record - output.bytes;
		output.n += size;
	}
}

/* Only `sent` bytes have gone.  The rest of a record that has begun to go is kept; those that have not were seen by nobody,
 * so their numbers are free again.  How many plain bytes are used up. */
static unsigned
batch_keep(const struct batch *b, struct stream *s, unsigned sent, uint64_t number)
{
	unsigned begun = s->tls->cbc ? 1 : (sent + b->stride - 1) / b->stride, end = begun * b->stride;

	if (s->tls->cbc || end > output.n)
		end = output.n;
	if (!s->tls->cbc)
		s->tls->out.gcm.seq = number + begun;
	s->out.r = 0;
	keep(s, output.bytes + output.from + sent, end - sent, FILE_RECORD);
	s->out.w = s->sealed;
	return begun * b->most;
}

enum io
tls_sendfile(struct stream *s, int fd, off_t *at, uint64_t n)
{
	struct tls *t = s->tls;
	uint64_t number = t->out.gcm.seq;        /* chapol's, too */
	unsigned sent, used;
	struct batch b;
	ssize_t got;

	if (s->dead)
		return IO_FAIL;
	if (!s->writable || t->state != OPEN)
		return IO_WAIT;
	batch_plan(&b, t, n);
	got = preadv(fd, b.at, b.count, *at);
	if (got <= 0)
		return IO_FAIL;
	batch_seal(&b, t, got);
	sent = stream_send(s, output.bytes + output.from, output.n);
	used = sent < output.n && !s->dead ? batch_keep(&b, s, sent, number) : (unsigned)got;
	*at += used < (unsigned)got ? used : (unsigned)got;
	poison();
	return s->dead ? IO_FAIL : used ? IO_MOVED : IO_WAIT;
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
		seal(sealer(t), t->version, ALERT, text, sizeof text);
	else if (t->place && t->place->server.eng.version_out)
		seal(&t->place->server.eng.out.vtable, t->place->server.eng.version_out, ALERT, text, sizeof text);
	else
		seal(&(const br_sslrec_out_class *){ &br_sslrec_out_clear_vtable }, BR_TLS10, ALERT, text, sizeof text);
	s->more = false;
	if (stream_send(s, output.bytes + output.from, output.n) < output.n)
		s->dead = true;         /* half an alert */
	s->more = more;
}

const char *
other_side(const struct tls *t)
{
	return t->backend ? "backend" : "client";
}

void
tls_broken(struct stream *s)
{
	s->broken = true;
	if (!s->tls->backend)
		return;
	s->dead = true;
	s->error = EPROTO;
}

/* It cannot go on: the alert says why, and what still comes is read, lest a reset overtakes it. */
void
tls_fail(struct stream *s, unsigned code, const char *why)
{
	struct tls *t = s->tls;

	send_alert(s, FATAL, code);
	log_line(t->backend ? LOG_WARN : LOG_INFO, "TLS: %s; the %s was told %s", why, other_side(t), alert_name(code));
	place_free(t);
	t->state = FAILED;
	tls_broken(s);
	s->out.r = s->out.w = s->sealed = 0;
	input.plain_n = input.raw_n = 0;
}

/* The other side has said that it cannot go on. */
void
tls_refused(struct stream *s, unsigned code)
{
	log_line(LOG_INFO, "TLS: the %s refused: %s", other_side(s->tls), alert_name(code));
	place_free(s->tls);
	s->tls->state = FAILED;
	s->dead = true;
	s->error = EPROTO;
	input.plain_n = input.raw_n = 0;
}

/* -- receiving ---------------------------------------------------------------------------------------------------- */

/* A record that is not data. */
static void
control(struct stream *s, int type, const unsigned char *p, unsigned n)
{
	if (type == ALERT && (n != 2 || (p[0] != WARNING && p[0] != FATAL)))
		tls_fail(s, 50, "an alert that is none");
	else if (type == ALERT && p[1] == 0)
		s->tls->fin = true;             /* close_notify; what comes after it is dropped */
	else if (type == ALERT && p[0] == FATAL)
		tls_refused(s, p[1]);
	else if (type == HANDSHAKE && n && p[0] == !s->tls->backend)
		send_alert(s, WARNING, 100);    /* a new ClientHello: there is no renegotiation here */
	else if (type != ALERT)
		tls_fail(s, 10, "a record of a kind that has no place here");
	if (s->tls->fin)
		input.raw_n = 0;
}

/* Open the record at the beginning of what came; false when it has not all come. */
static bool
open_record(struct stream *s)
{
	struct tls *t = s->tls;
	const br_sslrec_in_class **in = opener(t);
	unsigned char *p = input.bytes + input.raw, *plain;
	size_t n;

	if (input.raw_n < HEADER)
		return false;
	n = uint16_at(p + 3);
	if (p[1] != t->version >> 8 || !(*in)->check_length(in, n)) {
		tls_fail(s, p[1] != t->version >> 8 ? 70 : 22, "a record of a wrong length or version");
		return true;
	}
	if (input.raw_n < HEADER + n)
		return false;
	input.raw += HEADER + n;
	input.raw_n -= HEADER + n;
	plain = (*in)->decrypt(in, p[0], uint16_at(p + 1), p + HEADER, &n);
	t->vain = plain && n && p[0] == DATA ? 0 : t->vain + 1;
	if (!plain) {
		tls_fail(s, 20, "a record was damaged");
	} else if (t->vain > VAIN_MOST) {
		tls_fail(s, 10, "too many records that say nothing");
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

	while (!input.plain_n && input.raw_n && !s->dead && !s->eof && !s->broken && !s->misplaced) {
		if (t->state < OPEN ? s->sealed : !buf_room(&s->in))
			break;
		part = t->state < OPEN ? !handshake(s) : !open_record(s);
		if (part)
			break;
		moved = true;
		part = !input.raw_n;
		pass_on(s);
	}
	if (t->fin && !input.plain_n && part && !s->eof && !s->later && !s->misplaced) {
		input.raw_n = 0;
		moved = true;
		s->eof = !t->cut;
		s->dead = t->cut;
		s->error = t->cut ? ECONNRESET : 0;
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
		s->tls->cut = s->tls->backend;
	}
	return n || s->dead || s->eof || s->tls->fin;
}

/* There is no TLS in it: what has come belongs to those above. */
static void
unwrap(struct stream *s)
{
	unsigned n = input.raw_n < buf_room(&s->in) ? input.raw_n : buf_room(&s->in);

	memcpy(s->in.data + s->in.w, input.bytes + input.raw, n);
	s->in.w += n;
	s->eof = s->tls->fin;
	input.raw_n = 0;
	tls_close(s);
}

APART bool
tls_read(struct stream *s)
{
	bool moved = false;

	s->later = false;
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
	if (s->misplaced)
		unwrap(s);
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
	if (CONFIG_LEGACY && t->cbc)
		memset(legacy_of(t), 0, sizeof (struct legacy));        /* keys were in it */
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
	return CONFIG_LEGACY && t->version == BR_TLS10 ? SPAN("TLSv1") :
	    CONFIG_LEGACY && t->version == BR_TLS11 ? SPAN("TLSv1.1") : SPAN("TLSv1.2");
}

uint16_t
tls_proof(const struct tls *t)
{
	return t->proof;
}
