/* answer.c - the head of a backend's answer: found, read where it lies, and made into a response head
 *
 *   peer.in --next--> Status: Location: ...  --reply_pass--> client.out
 *                     X-Sendfile: a file takes the place of the body, and the backend is let go
 *
 * The head is that of CGI (RFC 3875 6.3) unless the dialect has another.
 */
#include "gateway.h"

#include <string.h>

/* Its fields, between being read and being passed on. */
static struct fields fields;

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
heed(const struct dialect *d, struct answer *h, enum field_id id, struct span value)
{
	switch (id) {
	case F_STATUS:
		return d->line || parse_status(value, &h->status);
	case F_CONTENT_LENGTH:
		if (h->measured || !span_uint(value, &h->length))
			return false;
		h->measured = true;
		return true;
	case F_X_SENDFILE:
		h->sendfile = value;
		return true;
	default:
		return !d->heed || d->heed(h, id, value);
	}
}

/* False when it is none, or not all there yet, up to its empty line; *text then is what follows. */
static bool
read_head(const struct dialect *d, struct span *text, struct answer *h)
{
	static const uint64_t heeded = 1ull << F_STATUS | 1ull << F_CONTENT_LENGTH | 1ull << F_X_SENDFILE |
	    1ull << F_TRANSFER_ENCODING | 1ull << F_CONNECTION | 1ull << F_UPGRADE;
	const struct field *f = fields.f;

	*h = (struct answer){ 0 };
	if ((d->line && !d->line(text, h)) || !fields_read(&fields, text))
		return false;
	for (const struct field *end = f + fields.n; f < end; f++)
		if (heeded >> f->id & 1 && !heed(d, h, f->id, value_at(fields.head, f)))
			return false;
	h->located = fields.ids >> F_LOCATION & 1;
	if (!h->status)
		h->status = h->located ? 302 : 200;
	return fields.n || d->line;
}

/* Is all of the answer here?  Then it needs no chunks.  A backend that ends by hanging up may have done so since the last
 * read: one look more costs less than another turn. */
static bool
is_whole(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct stream *s = &c->peer->s;
	bool (*whole)(const struct body *, const struct buf *) = g->dialect->whole;

	if (!whole)
		return false;
	if (whole == until_eof_whole && !s->eof && buf_used(&s->in)) {
		s->readable = true;
		stream_read(s);
		g->down.body.ended = s->eof;
		until_eof_next(&g->down.body, &s->in);
	}
	return whole(&g->down.body, &s->in);
}

/* How the body is framed towards the client (RFC 9112 6.3): what has come whole gets a length.  Where the body of the
 * backend ends a dialect may know better, in its own frame(). */
static void
frame(struct conn *c, struct answer *h)
{
	struct gateway *g = STATE(c, gateway);
	bool none = c->head_only || h->status == 204 || h->status == 304;

	if (!h->measured && !none && is_whole(c)) {
		h->measured = g->whole = true;
		h->length = g->down.body.left;
	}
	g->measured = h->measured && !none;
	g->down.limit = g->measured ? h->length : UINT64_MAX;
	g->down.put = none ? discard_put : !h->measured && c->chunks ? chunked_put : raw_put;
	c->until_close = !none && !h->measured && !c->chunks;
}

static void
respond(struct conn *c, const struct answer *h)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *out = &c->client.out;
	bool length = h->measured && h->status != 204, said = fields.ids >> F_CONTENT_LENGTH & 1;

	reply_start(c, c->errors ? c->status : h->status);
	reply_pass(c, &fields, length, CONFIG_PROXY && c->route->kind == R_PROXY ? mapped_place : NULL);
	if (length && !said)
		buf_length(out, h->length);
	else if (g->down.put == chunked_put)
		buf_span(out, SPAN("Transfer-Encoding: chunked\r\n"));
	reply_end(c);
	g->headed = true;
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
	unsigned tries = 0;
	struct span root;
	bool folder;
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
	folder = path.p[path.n - 1] == '/';
	reply_extra(c, &fields);        /* they lie in the buffers that go */
	gateway_finish(c);
	c->alias = rule;
	c->handler = &file_handler;
	/* Once more when the file is not what it was a moment ago; but no index of a folder. */
	while ((status = file_handler.start(c, &r)) == AGAIN && !folder && ++tries < DISPATCH_MAX)
		;
	reply_extra(c, NULL);
	if (status)
		reply_status(c, NULL, status < 0 ? 404 : status);
	return true;
}

/* The rest of an answer that is all there goes with its head, if that leaves room. */
static enum io
pass_whole(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *in = &c->peer->s.in, *out = &c->client.out;
	unsigned n = g->down.body.left;

	if (n > buf_room(out))
		return IO_MOVED;
	buf_mem(out, in->data + in->r, n);
	c->sent = g->down.moved = n;
	in->r = in->w = 0;
	g->down.done = true;
	return IO_DONE;
}

/* A head: the response begins.  Without c->peer after that, somebody else answers. */
static enum io
take_head(struct conn *c, struct answer *h)
{
	const struct gateway *g = STATE(c, gateway);
	const struct dialect *d = g->dialect;
	struct buf *out = &c->client.out;
	enum io io = IO_FAIL;

	c->peer->replay = 0;            /* it has answered */
	if (h->sendfile.p && c->route->sendfile) {
		if (!hand_over(c, h->sendfile))
			return gateway_fail(c, 502, "the backend named a file that it may not");
		if (!out->bad)
			return IO_MOVED;
	} else {
		frame(c, h);
		if (d->frame && !d->frame(c, h, &fields, &io))
			return io;
		respond(c, h);
		if (!out->bad)
			return g->whole ? pass_whole(c) : IO_MOVED;
	}
	c->begun = out->bad = false;
	out->r = out->w = c->sent = 0;
	return gateway_fail(c, 502, "the backend's head is too large");
}

/* Bytes of a head with its empty line, whose lines may end in LF alone (RFC 3875 6.2); 0 while it has not all come. */
static unsigned
head_end(const char *p, unsigned n, unsigned *seen)
{
	unsigned at = *seen;
	const char *lf;

	if (n && p[0] == '\n')
		return 1;
	for (; at < n && (lf = find_byte(p + at, '\n', n - at)); at = lf + 1 - p) {
		unsigned left = p + n - lf;

		*seen = lf - p;
		if (left > 1 && lf[1] == '\n')
			return lf + 2 - p;
		if (left > 2 && lf[1] == '\r' && lf[2] == '\n')
			return lf + 3 - p;
	}
	return 0;
}

/* A head that does not come in one piece is gathered in client.out, beyond what is to be sent.  Returns how many of the n
 * bytes at p are of the head; *text is all of it once it is whole. */
static unsigned
gather(struct conn *c, const char *p, unsigned n, struct span *text)
{
	struct gateway *g = STATE(c, gateway);
	static char store[CLIENT_OUT];
	struct buf *out = &c->client.out;
	unsigned before = g->gathered, k = n < out->size - before ? n : out->size - before, length;

	c->lent->lying.age = LYING_NONE;
	memcpy(out->data + before, p, k);
	g->gathered += k;
	length = head_end(out->data, g->gathered, &g->seen);
	*text = (struct span){ store, length };
	if (!length)
		return k;
	memcpy(store, out->data, length);
	g->gathered = g->seen = 0;
	return length - before;
}

enum io
answer_head(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *in = &c->peer->s.in;
	enum io io = g->down.next(&g->down.body, in);
	struct answer h;
	struct span text, rest;
	unsigned n, seen = 0;
	bool good;

	if (io == IO_DONE || io == IO_FAIL) {
		return gateway_fail(c, g->down.body.failed == 2 ? 503 : 502,    /* FCGI_OVERLOADED */
		    g->down.body.failed ? "the backend refused the request" :
		    in->w ? "the backend sent no head" : "the backend closed before it answered");
	}
	if (io == IO_WAIT || buf_used(&c->client.out))
		return IO_WAIT;         /* a 100 Continue goes first */
	n = buf_used(in) < g->down.body.left ? buf_used(in) : g->down.body.left;
	if (!n)
		return IO_WAIT;
	rest = text = (struct span){ in->data + in->r, n };
	good = !g->gathered && read_head(g->dialect, &rest, &h);
	text.n = good ? n - rest.n : g->gathered ? 0 : head_end(text.p, n, &seen);
	n = text.n ? text.n : gather(c, text.p, n, &text);
	buf_take(in, n);
	g->down.body.left -= n;
	if (good || (text.n && read_head(g->dialect, &text, &h)))
		return take_head(c, &h);
	if (!text.n && g->gathered < c->client.out.size)
		return IO_MOVED;
	return gateway_fail(c, 502, text.n ? "the backend's head is not one" : "the backend's head has no end");
}
