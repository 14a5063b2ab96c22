/* gateway.c - what all backends share: dialling, retrying, the response head, the spool
 *
 *   client.in --up--> peer.out ==> backend ==> peer.in --head--> reply.c
 *                                                     `--down--> client.out
 *
 * What went out and still lies at the start of peer.out can be sent once more: that is how a connection that went
 * stale while it was idle, or an address that does not answer, is passed over without anybody noticing.
 */
#include "httpd.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

struct gateway {                        /* the handler's state */
	const struct dialect *dialect;
	struct relay down;
	uint64_t tried;                 /* bit i: the i-th address was dialled in vain */
	unsigned seen, gathered;        /* of a head that comes in pieces: they lie at client.out */
	bool headed;                    /* the response head has been passed on */
	bool sent;                      /* a byte has gone to this connection */
	bool measured;                  /* the length of the response is known: down.limit */
	bool unreachable;               /* no address is left to try */
	bool spooling, spooled;
	int spool;
	off_t spool_at;
};

_Static_assert(sizeof (struct gateway) <= HANDLER_STATE, "HANDLER_STATE is too small for gateways");

/* -- dialling ---------------------------------------------------------------------------------------------- */

static void
rests(struct backend *b, int error)
{
	if (b->rests_until <= now)
		log_line(LOG_WARN, "%s cannot be reached: %s", b->text, strerror(error));
	b->rests_until = now + BACKEND_RESTS;
}

static bool
dial(struct conn *c, struct backend *b)
{
	struct gateway *g = STATE(c, gateway);
	bool connecting;
	int fd = stream_dial(&b->addr, &connecting);

	if (fd < 0) {
		rests(b, errno);
		return false;
	}
	stream_open(&c->peer->s, fd);
	c->peer->s.connecting = connecting;
	c->peer->s.writable = !connecting;
	c->peer->backend = b;
	c->peer->served = 0;
	c->since = now;
	g->sent = false;
	return true;
}

/* The next address that was not tried for this request; those that rest come last. */
static bool
dial_next(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	for (int resting = 0; resting < 2; resting++) {
		struct backend *b = c->route->backends;

		for (unsigned i = 0; b && i < 64; b = b->next, i++) {
			if (g->tried >> i & 1 || (b->rests_until > now) != resting)
				continue;
			g->tried |= (uint64_t)1 << i;
			if (dial(c, b))
				return true;
		}
	}
	g->unreachable = true;
	c->status = 503;
	c->why = "no backend can be reached";
	return false;
}

/* The connection failed before a byte of response: again on a fresh one, if all that was sent is still there. */
static bool
retry(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;
	struct backend *b = p->backend;
	bool stale = p->served > 0;

	if (g->headed || g->gathered || p->s.in.w || g->down.body.at || !p->replay || (g->sent && !stale))
		return false;
	if (!stale)
		rests(b, p->s.error ? p->s.error : ECONNRESET);
	stream_close(&p->s);
	p->s.out.r = 0;
	p->s.out.w = p->replay;
	g->down.body.ended = false;
	return (stale && dial(c, b)) || dial_next(c);
}

/* -- the spool: a body without a length goes through an unlinked file, because the backend wants one --------- */

static int
spool_open(const char *dir)
{
	char name[512];
	struct buf b = { name, 0, 0, sizeof name - 1, false };
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	buf_print(&b, "%s/cubhttpd.%d.%llu", dir, (int)getpid(), (unsigned long long)now);
	name[b.w] = '\0';
	fd = b.bad ? -1 : open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		unlink(name);
	return fd;
}

/* Chunks out, bytes into the file. */
static enum io
spool_in(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf b = { c->peer->s.in.data, 0, 0, c->peer->s.in.size, false };
	enum io io = relay(&c->up, &c->client.in, &b);

	if (b.w && write(g->spool, b.data, b.w) != (ssize_t)b.w) {
		c->status = 507;
		c->why = "the spool is full";
		return IO_FAIL;
	}
	return io;
}

static bool
spool_end(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	g->spooling = false;
	g->spooled = true;
	g->dialect->length(&c->peer->s.out, true, c->up.moved);
	c->peer->replay = c->peer->s.out.w;
	return !c->peer->s.out.bad && (c->peer->s.fd >= 0 || dial_next(c));
}

/* From the file to the backend, as there is room. */
static bool
spool_out(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *out = &c->peer->s.out;
	static char store[4096];
	unsigned n = buf_room(out) > 64 ? buf_room(out) - 64 : 0;
	ssize_t got;

	if (!g->spooled || !n)
		return false;
	got = pread(g->spool, store, n < sizeof store ? n : sizeof store, g->spool_at);
	if (got < 0)
		return errno == EINTR;
	n = g->dialect->put(out, store, got);
	if (got)
		g->spool_at += n;
	else
		g->spooled = !n;        /* the end mark has gone */
	c->peer->replay = g->sent ? 0 : out->w;
	return n;
}

/* -- starting ------------------------------------------------------------------------------------------------ */

static void
drop(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	if (g->spool >= 0)
		close(g->spool);
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
	if (r->framing == BODY_CHUNKED) {
		g->spooling = true;
		g->spool = spool_open(c->conf->spool);
		c->up.put = raw_put;
		if (c->up.limit > c->conf->spool_size)
			c->up.limit = c->conf->spool_size;
		return out->bad ? 431 : g->spool < 0 ? 503 : 0;
	}
	g->dialect->length(out, r->framing == BODY_LENGTH, r->length);
	c->up.put = g->dialect->put;
	if (c->up.done && !g->dialect->put(out, NULL, 0))
		out->bad = true;
	c->peer->replay = out->w;
	return out->bad ? 431 : 0;
}

int
gateway_start(struct conn *c, struct request *r, const struct script *s, const struct dialect *d)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p;
	int status;

	if (r->framing == BODY_CHUNKED && !c->conf->spool)
		return 411;
	p = peer_take(c->route->backends);
	if (!p)
		return BUSY;
	memset(g, 0, sizeof *g);
	g->dialect = d;
	g->spool = -1;
	g->down = (struct relay){ .next = d->next, .limit = UINT64_MAX };
	c->peer = p;
	status = begin(c, r, s);
	if (!status && p->s.fd < 0 && !g->spooling && !dial_next(c))
		status = 503;
	if (status) {
		drop(c);
		return status;
	}
	c->hold = c->route->sendfile && r->framing == BODY_NONE;
	return 0;
}

/* -- the request body ------------------------------------------------------------------------------------------ */

enum io
gateway_push(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *out = &c->peer->s.out;
	unsigned r = out->r, w = out->w;
	enum io io;

	reply_continue(c);
	if (g->spooling)
		return spool_in(c);
	io = relay(&c->up, &c->client.in, out);
	if (out->r != r || out->w != w)
		c->peer->replay = g->sent ? 0 : out->w;
	return io;
}

/* -- the response head ------------------------------------------------------------------------------------------- */

struct head {                           /* what a CGI head says (RFC 3875 6.3) */
	int status;
	bool located;
	struct span sendfile;
	uint64_t length;
	bool measured;
};

/* Its fields, between being read and being passed on. */
static struct passed passed[FIELDS_MAX + 1];
static unsigned npassed;

static bool
parse_status(struct span value, int *status)
{
	uint64_t code;

	value.n = value.n < 3 ? value.n : 3;
	if (!span_uint(value, &code) || code < 200 || code > 599)
		return false;
	*status = code;
	return true;
}

/* What one field means to us; false when it cannot be. */
static bool
heed(struct head *h, enum field_id id, struct span value)
{
	switch (id) {
	case F_STATUS:
		return parse_status(value, &h->status);
	case F_CONTENT_LENGTH:
		if (h->measured || !span_uint(value, &h->length))
			return false;
		h->measured = true;
		return true;
	case F_LOCATION:
		h->located = true;
		return true;
	case F_X_SENDFILE:
		h->sendfile = value;
		return true;
	default:
		return true;
	}
}

static bool
read_head(struct span text, struct head *h)
{
	struct passed *f = passed;

	for (npassed = 0; field_next(&text, &f->name, &f->value); npassed++, f++) {
		if (!f->name.n || npassed == FIELDS_MAX)
			return false;
		f->id = field_find(f->name);
		if (!heed(h, f->id, f->value))
			return false;
	}
	if (!h->status)
		h->status = h->located ? 302 : 200;
	return npassed;
}

/* How the body is framed towards the client (RFC 9112 6.3). */
static void
frame(struct conn *c, const struct head *h)
{
	struct gateway *g = STATE(c, gateway);
	bool none = c->head_only || h->status == 204 || h->status == 304;

	g->measured = h->measured && !none;
	g->down.limit = g->measured ? h->length : UINT64_MAX;
	g->down.put = none ? discard_put : !h->measured && c->chunks ? chunked_put : raw_put;
	c->until_close = !none && !h->measured && !c->chunks;
}

static bool
respond(struct conn *c, const struct head *h)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *out = &c->client.out;

	frame(c, h);
	reply_start(c, c->errors ? c->status : h->status);
	reply_pass(c, passed, npassed);
	if (h->measured && h->status != 204) {
		buf_text(out, "Content-Length: ");
		buf_uint(out, h->length);
		buf_mem(out, "\r\n", 2);
	} else if (g->down.put == chunked_put) {
		buf_text(out, "Transfer-Encoding: chunked\r\n");
	}
	reply_end(c);
	g->headed = true;
	return !out->bad;
}

/* A segment "." or "..": what a backend names is taken as it is, so it has none. */
static bool
has_dots(struct span path)
{
	while (path.n) {
		struct span segment = span_cut(&path, '/');

		if (span_eq(segment, SPAN(".")) || span_eq(segment, SPAN("..")))
			return true;
	}
	return false;
}

/* X-Sendfile: a file below one of the route's roots takes the place of the backend's body. */
static bool
hand_over(struct conn *c, struct span path)
{
	static struct request r;
	const struct rule *rule = c->route->sendfile;
	struct span root;
	int status;

	for (; rule; rule = rule->next) {
		root = span_of(rule->root.path);
		if (span_starts(path, root) && path.n > root.n && path.p[root.n] == '/')
			break;
	}
	if (!rule)
		return false;
	if (!c->hold || request_parse(&r, c->client.in.data + c->client.in.r, c->held)) {
		memset(&r, 0, offsetof(struct request, fields));
		r.method = M_GET;
	}
	path = (struct span){ path.p + root.n, path.n - root.n };
	if (has_dots(path) || request_set_path(&r, path))
		return false;
	reply_extra(passed, npassed);
	gateway_finish(c);
	c->alias = rule;
	c->handler = &file_handler;
	status = file_handler.start(c, &r);
	if (status) {
		reply_extra(NULL, 0);
		reply_status(c, NULL, status < 0 ? 404 : status);
	}
	return true;
}

/* A whole head: the response begins.  Without c->peer after that, somebody else answers. */
static enum io
take_head(struct conn *c, struct span text)
{
	struct head h = { 0 };

	if (!read_head(text, &h)) {
		c->why = "the backend's head is not one";
		return IO_FAIL;
	}
	if (h.sendfile.p && c->route->sendfile) {
		if (hand_over(c, h.sendfile))
			return IO_MOVED;
		c->why = "the backend named a file that it may not";
		return IO_FAIL;
	}
	if (!respond(c, &h)) {
		c->why = "the backend's head is too large";
		c->begun = false;
		c->client.out.r = c->client.out.w = 0;
		c->client.out.bad = false;
		return IO_FAIL;
	}
	return IO_MOVED;
}

/* Bytes of a head with its empty line, whose lines may end in LF alone (RFC 3875 6.2); 0 while it has not all come. */
static unsigned
head_end(const char *p, unsigned n, unsigned *seen)
{
	unsigned at = *seen;
	const char *lf;

	if (n && p[0] == '\n')
		return 1;
	for (; at < n && (lf = memchr(p + at, '\n', n - at)); at = lf + 1 - p) {
		unsigned left = p + n - lf;

		*seen = lf - p;
		if (left > 1 && lf[1] == '\n')
			return lf + 2 - p;
		if (left > 2 && lf[1] == '\r' && lf[2] == '\n')
			return lf + 3 - p;
	}
	return 0;
}

/* A head that does not come in one piece is gathered behind what is used of client.out: bytes that are not sent. */
static enum io
gather(struct conn *c, const char *p, unsigned n, unsigned *taken)
{
	struct gateway *g = STATE(c, gateway);
	static char store[CLIENT_OUT];
	struct buf *out = &c->client.out;
	unsigned before = g->gathered, k = n < out->size - before ? n : out->size - before, length;

	memcpy(out->data + before, p, k);
	g->gathered += k;
	*taken = k;
	length = head_end(out->data, g->gathered, &g->seen);
	if (!length && g->gathered < out->size)
		return IO_MOVED;
	if (!length) {
		c->why = "the backend's head has no end";
		return IO_FAIL;
	}
	*taken = length - before;
	memcpy(store, out->data, length);
	return take_head(c, (struct span){ store, length });
}

static enum io
head_step(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *in = &c->peer->s.in;
	enum io io = g->down.next(&g->down.body, in);
	unsigned n, length, seen = 0;

	if (io == IO_DONE || io == IO_FAIL) {
		c->why = g->down.body.failed ? "the backend refused the request" :
		    in->w ? "the backend sent no head" : "the backend closed before it answered";
		c->status = g->down.body.failed == 2 ? 503 : 502;       /* FCGI_OVERLOADED */
		return IO_FAIL;
	}
	if (io == IO_WAIT || buf_used(&c->client.out))
		return IO_WAIT;         /* a 100 Continue goes first */
	n = buf_used(in) < g->down.body.left ? buf_used(in) : g->down.body.left;
	if (!n)
		return IO_WAIT;
	length = g->gathered ? 0 : head_end(in->data + in->r, n, &seen);
	if (length)
		io = take_head(c, (struct span){ in->data + in->r, length });
	else
		io = gather(c, in->data + in->r, n, &length);
	if (io == IO_FAIL || !c->peer)
		return io;
	buf_take(in, length);
	g->down.body.left -= length;
	return IO_MOVED;
}

/* -- the response body --------------------------------------------------------------------------------------------- */

static enum io
body_step(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	enum io io = relay(&g->down, &c->peer->s.in, &c->client.out);

	if (!c->head_only && g->down.put != discard_put)
		c->sent = g->down.moved;
	if (io == IO_FAIL && g->down.over) {
		log_line(LOG_WARN, "the backend sent more than its Content-Length");
		c->peer->s.eof = true;
		return IO_DONE;
	}
	if (io == IO_FAIL)
		c->why = "the backend broke off";
	if (io == IO_DONE && g->measured && g->down.moved < g->down.limit) {
		c->why = "the backend sent less than its Content-Length";
		return IO_FAIL;
	}
	if (io == IO_DONE && g->down.body.failed) {
		c->why = "the backend gave up";
		return IO_FAIL;
	}
	return io;
}

/* A backend that has closed its ear may still be speaking: an early answer. */
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
	if (s->dead && g->sent && !s->shut && !(c->peer->served && c->peer->replay))
		deaf(c);
	moved |= stream_read(s);
	g->down.body.ended = s->eof || s->dead;
	return moved;
}

enum io
gateway_pull(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;
	bool moved = false;
	enum io io;

	if (g->spooling && !c->up.done)
		return IO_WAIT;
	if (g->spooling && !spool_end(c))
		return IO_FAIL;
	while (spool_out(c))
		moved = true;
	moved |= peer_io(c);
	if (p->s.dead || (p->s.eof && !p->s.in.w && !g->headed && !g->gathered)) {
		if (retry(c))
			return IO_MOVED;
		if (g->unreachable)
			return IO_FAIL;
	}
	io = g->headed ? body_step(c) : head_step(c);
	if (io == IO_WAIT && p->s.dead)
		return IO_FAIL;
	if (io == IO_WAIT && moved && (!c->up.done || g->spooled))
		return IO_MOVED;        /* what was written made room for more of the body */
	return io;
}

/* Kept when the exchange has ended on both sides and the backend may be spoken to again. */
void
gateway_finish(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;

	if (!p)
		return;
	if (p->s.fd < 0 || !g->down.done || !c->up.done || p->s.eof || p->s.dead || p->s.shut || buf_used(&p->s.out) ||
	    buf_used(&p->s.in) || c->conf != conf) {
		drop(c);
		return;
	}
	if (g->spool >= 0)
		close(g->spool);
	peer_keep(p);
	c->peer = NULL;
}
