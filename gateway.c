/* gateway.c - what all backends share: a place, dialling, saying it again, and the two bodies
 *
 *   gateway_start --> dial --> gateway_push:  client.in --up--> peer.out ==> backend
 *                      ^       gateway_pull:  peer.in --answer.c, then body_step, down--> client.out
 *                      `--retry--'
 *
 * What went out and still lies at the start of peer.out can be sent once more: that is how a connection that went
 * stale while it was idle, or an address that does not answer, is passed over without anybody noticing.
 */
#include "gateway.h"
#include "forward.h"
#include "resolve.h"
#include "spawn.h"
#include "tls.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

APART enum io
gateway_fail(struct conn *c, int status, const char *why)
{
	if (!c->begun)
		c->status = status;
	c->why = why;
	return IO_FAIL;
}

/* -- dialling ---------------------------------------------------------------------------------------------- */

static void
rests(struct backend *b, int error)
{
	if (b->rests_until <= now)
		log_line(b->foreign ? LOG_DEBUG : LOG_WARN, "%s cannot be reached: %s", b->text, error_text(error));
	b->rests_until = now + BACKEND_RESTS;
	b->silent = error == ETIMEDOUT;
}

/* The one behind it in the line, which is a ring. */
static struct backend *
after(const struct rule *rule, const struct backend *b)
{
	return b->next ? b->next : rule->backends;
}

static unsigned
count(const struct backend *b)
{
	unsigned n = 0;

	for (; b; b = b->next)
		n++;
	return n;
}

/* How far along the line to begin, by what it says. */
static unsigned
preferred(const struct conn *c)
{
	struct backend *first = c->route->backends;
	unsigned n = count(first);
	uint32_t hash = 2166136261;

	switch ((enum balance)c->route->number) {
	case IN_ORDER:
		break;
	case IN_TURN:
	case LEAST_BUSY:
		return first->turn = (first->turn + 1) % n;
	case STICKY:
		for (unsigned i = 0; i < sizeof c->from.ip; i++)
			hash = (hash ^ c->from.ip[i]) * 16777619;
		return hash % n;
	}
	return 0;
}

/* Whom to ask first; one that rests only when all do. */
static struct backend *
choose(const struct conn *c)
{
	struct backend *from = c->route->backends, *b, *found = NULL;

	if (!from || !from->next)
		return from;
	for (unsigned i = preferred(c); i; i--)
		from = from->next;
	b = from;
	do {
		if (b->rests_until > now || (found && b->busy >= found->busy))
			continue;
		found = b;
		if (c->route->number != LEAST_BUSY)
			break;
	} while ((b = after(c->route, b)) != from);
	return found ? found : from;
}

/* Without a connection, but as if one were being made. */
static void
hold_place(struct conn *c)
{
	stream_open(&c->peer->s, -1);
	c->peer->s.writable = false;
	c->peer->s.connecting = true;
}

/* Another process takes the place of this one once it has ended. */
static bool
wait_for_end(struct conn *c, struct backend *b)
{
	struct gateway *g = STATE(c, gateway);

	if (!spawn_end(b))
		return false;
	g->ending = true;
	hold_place(c);
	return true;
}

static bool
dial(struct conn *c, struct backend *b)
{
	struct gateway *g = STATE(c, gateway);
	bool connecting;
	int fd;

	if (CONFIG_SPAWN && b->own && spawn_ends(b))
		return wait_for_end(c, b);
	if (CONFIG_SPAWN && b->own && !spawn_ready(b))
		return false;
	fd = stream_dial(&b->addr, &connecting);
	if (CONFIG_SPAWN && fd < 0 && b->own)
		return wait_for_end(c, b);
	if (fd < 0) {
		rests(b, errno);
		return false;
	}
	stream_open(&c->peer->s, fd);
	c->peer->s.connecting = connecting;
	c->peer->s.writable = !connecting;
	if (CONFIG_HTTPS && c->route->secure)
		tls_dial(&c->peer->s, c->conf, c->route->secure, span_of(b->text));
	peer_turn_to(c->peer, b);
	c->peer->changes = b->changes;
	c->since = now;
	g->sent = false;
	return true;
}

/* No address is left, but a name is being asked for: the place is held until that is settled. */
static bool
wait_for_names(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	g->naming = CONFIG_RESOLVE && names_asking(c->route->backends);
	if (!g->naming)
		return false;
	hold_place(c);
	return true;
}

static const char does_not_run[] = "the program that should answer ends, or cannot be started";

/* The next address that was not tried for this request; those that rest come last, and not at all when asking them took
 * its time. */
bool
gateway_dial(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	bool forward = CONFIG_FORWARD && c->route->kind == R_FORWARD;
	unsigned tries = c->route->spawn ? 1 : count(c->route->backends);       /* a process is one's own */

	for (int resting = 0; resting < 2; resting++) {
		struct backend *b = g->first;

		for (unsigned i = 0; i < tries; i++, b = after(c->route, b)) {
			if (CONFIG_RESOLVE && b->name)
				name_want(b->name);
			if (g->tried >> i & 1 || (b->rests_until > now) != resting || (resting && b->silent))
				continue;
			g->tried |= (uint64_t)1 << i;
			if (forward && !forward_lets(c->route, &b->addr))
				g->refused = true;
			else if (dial(c, b))
				return true;
		}
	}
	if (wait_for_names(c))
		return true;
	if (g->refused)
		gateway_fail(c, 403, "this address may not be reached");
	else if (forward)
		gateway_fail(c, c->peer->s.error == ETIMEDOUT ? 504 : 502, "the server cannot be reached");
	else
		gateway_fail(c, 503, c->route->spawn ? does_not_run : "no backend can be reached");
	return false;
}

/* The connection failed before a byte of response: again on a fresh one, if all that was sent is still there.  What a
 * backend may have acted upon is said again only when it may be (RFC 9110 9.2.2).  IO_WAIT: it is not said again;
 * IO_FAIL: there is nobody to say it to. */
static enum io
retry(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;
	struct backend *b = p->backend;
	bool stale = p->served > 0, sent = g->sent;

	if (g->headed || g->gathered || p->s.in.w || g->down.body.at || !p->replay)
		return IO_WAIT;
	if (sent && !g->again && (!stale || g->dialect->once))
		return IO_WAIT;
	if (!stale && !sent)
		rests(b, p->s.error ? p->s.error : ECONNRESET);
	stream_close(&p->s);
	p->s.out.r = 0;
	p->s.out.w = p->replay;
	g->down.body.ended = false;
	if (CONFIG_SPAWN && b->own)
		spawn_end(b);
	if ((stale && dial(c, b)) || gateway_dial(c))
		return IO_MOVED;
	return sent ? gateway_fail(c, 502, "the backend closed before it answered") : IO_FAIL;
}

/* -- starting ------------------------------------------------------------------------------------------------ */

static void
drop(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	if (g->spool >= 0)
		call_close(g->spool);
	if (c->peer)
		peer_release(c->peer);
	c->peer = NULL;
	c->up.put = discard_put;        /* whoever answers now: a body framed for the backend is not his answer */
}

/* The head, and what of the length is known now. */
static int
begin(struct conn *c, const struct request *r, const struct script *s)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *out = &c->peer->s.out;

	g->dialect->head(c, r, s, out);
	if (r->framing == BODY_CHUNKED && !g->dialect->put_chunks) {
		g->spooling = true;
		g->spool = spool_open(c->conf->spool);
		c->up.put = raw_put;
		if (c->up.limit > c->conf->spool_size)
			c->up.limit = c->conf->spool_size;
		return out->bad ? 431 : g->spool < 0 ? 503 : 0;
	}
	g->dialect->length(out, r->framing == BODY_LENGTH, r->length);
	c->up.body.trails = r->framing == BODY_CHUNKED;
	c->up.put = r->framing == BODY_CHUNKED ? g->dialect->put_chunks : g->dialect->put;
	if (c->up.done && r->framing != BODY_NONE && !g->dialect->put(out, NULL, 0))
		out->bad = true;
	c->peer->replay = out->w;
	return out->bad ? 431 : 0;
}

int
gateway_take(struct conn *c, const struct dialect *d)
{
	struct gateway *g = STATE(c, gateway);
	const struct spawn *spawn = CONFIG_SPAWN ? c->route->spawn : NULL;
	struct backend *first = spawn ? spawn_choose(spawn) : choose(c);

	c->share = d->share;
	c->awaits = spawn;
	c->peer = (first || !spawn) && queue_lets(c) ? peer_take(first, d->share) : NULL;
	if (!c->peer)
		return BUSY;
	if (c->peer->s.fd < 0)
		c->peer->s.error = 0;
	c->peer->from = c->from;
	if (spawn && c->peer->s.fd < 0)
		peer_turn_to(c->peer, first);   /* nobody else may dial it */
	if (CONFIG_RESOLVE && c->peer->s.fd >= 0 && c->peer->backend->name)
		name_want(c->peer->backend->name);
	memset(g, 0, offsetof(struct gateway, upgrade));
	g->first = first;
	g->dialect = d;
	g->spool = -1;
	g->down.next = d->next;
	g->down.limit = UINT64_MAX;
	return 0;
}

int
gateway_start(struct conn *c, struct request *r, const struct script *s, const struct dialect *d)
{
	struct gateway *g = STATE(c, gateway);
	int status;

	if (r->framing == BODY_CHUNKED && !d->put_chunks && !c->conf->spool)
		return 411;
	status = gateway_take(c, d);
	if (status)
		return status;
	status = begin(c, r, s);
	if (!status && c->peer->s.fd < 0 && !g->spooling && !gateway_dial(c))
		status = c->status;
	if (status) {
		drop(c);
		return status;
	}
	c->hold = c->route->sendfile && r->framing == BODY_NONE;
	return 0;
}

/* -- bodies that need no framing ------------------------------------------------------------------------------- */

enum { STRAIGHT = 4096 };               /* fewer bytes are better sent together with others */

/* A body that goes on as it came is sent from the buffer that it was read into, without a copy.  True when that is the
 * way now; *moved when something went. */
static bool
straight(struct relay *r, struct buf *in, struct stream *to, bool *moved)
{
	uint64_t n;

	if (r->put != raw_put || r->done || buf_used(&to->out) || to->tls || to->connecting || to->shut || to->dead ||
	    buf_used(in) < STRAIGHT || r->next(&r->body, in) != IO_MOVED)
		return false;
	n = r->body.left < buf_used(in) ? r->body.left : buf_used(in);
	if (n < STRAIGHT || n > r->limit - r->moved)
		return false;
	if (!to->writable)
		return true;
	n = stream_send(to, in->data + in->r, n);
	buf_take(in, n);
	r->body.left -= n;
	r->moved += n;
	*moved |= n;
	return true;
}

/* -- the request body ------------------------------------------------------------------------------------------ */

enum io
gateway_push(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *out = &c->peer->s.out;
	unsigned r = out->r, w = out->w;
	bool moved = false;
	enum io io;

	if (!g->dialect->line)
		reply_continue(c);
	else if (buf_used(&c->client.in))
		c->continues = false;   /* it waits no more; else the backend says 100 itself */
	if (g->spooling)
		return spool_in(c);
	/* Poll is asked about a backend that takes no more as long as there is something in `out`. */
	if (g->sent && c->peer->s.writable && straight(&c->up, &c->client.in, &c->peer->s, &moved) && moved) {
		c->peer->replay = 0;
		return IO_MOVED;
	}
	io = relay(&c->up, &c->client.in, out);
	if (out->r != r || out->w != w)
		c->peer->replay = g->sent ? 0 : out->w;
	return io;
}

/* -- the answer -------------------------------------------------------------------------------------------------- */

static enum io
body_step(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct stream *s = &c->peer->s;
	bool moved = false;
	enum io io;

	if (straight(&g->down, &s->in, &c->client, &moved)) {
		c->sent = g->down.moved;
		return moved ? IO_MOVED : IO_WAIT;
	}
	io = relay(&g->down, &s->in, &c->client.out);
	if (g->down.put == discard_put) {       /* nobody sees it, so its end, which may never come, need not be awaited */
		if (g->down.moved > LINGER_BODY || now - c->began > conf->timeout[T_BACKEND])
			return IO_DONE;
	} else if (!c->head_only) {
		c->sent = g->down.moved;
	}
	if (io == IO_FAIL && g->down.over) {
		log_line(LOG_WARN, "the backend sent more than its Content-Length");
		s->eof = true;
		return IO_DONE;
	}
	if (g->measured && g->down.moved == g->down.limit && g->down.next == until_eof_next)
		return IO_DONE;         /* whenever it may hang up */
	if (io == IO_FAIL)
		return gateway_fail(c, 502, "the backend broke off");
	if (io == IO_DONE && g->measured && g->down.moved < g->down.limit)
		return gateway_fail(c, 502, "the backend sent less than its Content-Length");
	if (io == IO_DONE && g->down.body.failed)
		return gateway_fail(c, 502, "the backend gave up");
	return io;
}

/* A backend that takes no more of the request may still be answering it. */
static void
deaf(struct conn *c)
{
	struct peer *p = c->peer;

	p->s.dead = false;
	p->s.shut = true;
	p->s.readable = true;
	p->s.out.r = p->s.out.w = 0;
	c->up.put = discard_put;
	c->keep = c->keep && c->up.done;
}

/* On a unix socket a reset takes no bytes along: it is an end like any other, of a program that has not read the whole
 * request.  And once the other side has closed, a read that comes short was the last one: that is what true says. */
static bool
local_end(struct stream *s)
{
	bool reset = s->dead && s->error == ECONNRESET, last = !s->dead && !s->eof && s->hung_up && !s->readable;

	if (reset)
		s->dead = false;
	s->eof = s->eof || reset || last;
	return last;
}

static bool
peer_io(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct stream *s = &c->peer->s;
	bool moved;

	if (s->shut)
		s->out.r = s->out.w = 0;
	moved = stream_write(s);
	if (moved && !s->dead)
		g->sent = true;
	if ((s->dead && g->sent && !s->shut && !(c->peer->served && c->peer->replay)) ||
	    (s->pipes && s->shut && c->up.put != discard_put && !c->up.done))
		deaf(c);
	moved |= stream_read(s);
	if (CONFIG_HTTPS && s->tls) {
		if (!s->dead && stream_write(s))        /* it waited for the handshake */
			g->sent = moved = true;
		if (s->sealed)
			c->peer->replay = 0;    /* ciphertext stands where the request was */
	}
	if ((s->dead || s->hung_up) && !s->pipes && !s->tls && c->peer->backend->addr.u.any.sa_family == AF_UNIX)
		moved |= local_end(s);
	/* A program that has ended, and may have left something in the background that holds the pipe open: all that it
	 * wrote itself has been read. */
	if (CONFIG_CGI && s->pipes && g->down.body.at && !s->readable)
		s->eof = true;
	g->down.body.ended = s->eof;
	return moved;
}

static bool
spool_end(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	g->spooling = false;
	g->spooled = true;
	g->dialect->length(&c->peer->s.out, true, c->up.moved);
	c->peer->replay = c->peer->s.out.w;
	return !c->peer->s.out.bad && (c->peer->s.fd >= 0 || gateway_dial(c));
}

/* A name was being asked for: IO_WAIT while it still is, IO_MOVED when an address is being dialled. */
static enum io
named(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	if (c->peer->s.dead)
		return gateway_fail(c, 504, "the name was not resolved in time");
	if (names_asking(c->route->backends))
		return IO_WAIT;
	g->naming = false;
	c->peer->s.connecting = false;
	if (!gateway_dial(c))
		return IO_FAIL;
	return g->naming ? IO_WAIT : IO_MOVED;
}

enum io
gateway_connect(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;

	if (CONFIG_RESOLVE && g->naming)
		return named(c);
	if (stream_connected(&p->s))
		return IO_DONE;
	if (!p->s.dead)
		return IO_WAIT;
	rests(p->backend, p->s.error);
	stream_close(&p->s);
	return gateway_dial(c) ? IO_MOVED : IO_FAIL;
}

/* The process that should end has ended, and another is dialled. */
static enum io
ended(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct backend *b = c->peer->backend;

	if (!c->peer->s.dead) {
		if (spawn_ends(b))
			return IO_WAIT;
		g->ending = c->peer->s.connecting = false;
		if (dial(c, b))
			return g->ending ? IO_WAIT : IO_MOVED;
	}
	return gateway_fail(c, 503, does_not_run);
}

enum io
gateway_pull(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;
	bool moved = false;
	enum io io;

	if (g->spooling && !c->up.done) {
		if (p->s.fd >= 0 && p->s.readable)
			stream_close(&p->s);    /* kept, and it speaks or ends before it was asked: nobody would read it */
		return IO_WAIT;
	}
	if (g->spooling && !spool_end(c))
		return IO_FAIL;
	if (CONFIG_SPAWN && g->ending && (io = ended(c)) != IO_MOVED)
		return io;
	if (CONFIG_RESOLVE && g->naming && (io = named(c)) != IO_MOVED)
		return io;
	while (g->spooled && spool_out(c))
		moved = true;
	moved |= peer_io(c);
	if ((p->s.dead || (p->s.eof && !p->s.in.w && !g->headed && !g->gathered)) && (io = retry(c)) != IO_WAIT)
		return io;
	if (g->headed)
		io = body_step(c);
	else
		io = p->s.in.w || p->s.eof ? answer_head(c) : IO_WAIT;
	if (io == IO_WAIT && p->s.dead)
		return gateway_fail(c, 502, g->headed ? "the backend broke off" : "the backend was gone before it answered");
	if (io == IO_WAIT && moved && (!c->up.done || g->spooled))
		return IO_MOVED;        /* what was written made room for more of the body */
	return io;
}

/* Both sides have said all of it, and the backend may be spoken to again. */
static bool
may_be_kept(const struct conn *c)
{
	const struct gateway *g = STATE(c, gateway);
	const struct peer *p = c->peer;
	const struct stream *s = &p->s;

	return g->down.done && c->up.done && !g->closes && c->route->kind != R_FORWARD &&
	    s->fd >= 0 && !s->eof && !s->dead && !s->shut && !buf_used(&s->out) && !buf_used(&s->in) &&
	    !(CONFIG_HTTPS && s->tls && tls_busy(s->tls)) && c->conf == conf && p->changes == p->backend->changes;
}

void
gateway_finish(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;

	if (!p)
		return;
	if (CONFIG_SPAWN && p->backend && p->backend->own) {
		p->backend->own->answered |= g->headed;
		if (p->s.eof && g->down.done && g->dialect->next != until_eof_next)
			spawn_end(p->backend);  /* it was asked to keep the connection */
	}
	if (!may_be_kept(c)) {
		drop(c);
		return;
	}
	if (g->spool >= 0)
		call_close(g->spool);
	peer_keep(p);
	c->peer = NULL;
}
