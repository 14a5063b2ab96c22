/* fcgi.c - FastCGI 1.0: the records
 *
 *   BEGIN_REQUEST | PARAMS name value ... | PARAMS CONTENT_LENGTH | PARAMS end | STDIN ... | STDIN end   ->
 *   <-   STDOUT head and body ... | STDERR to the log | END_REQUEST
 *
 * A record: version 1, type, request id (always 1 here), content length, padding length, reserved; then both.
 */
#include "gateway.h"

enum { HEAD_SIZE = 8, CONTENT_MOST = 65528 };   /* a multiple of eight: no padding is ever needed */

enum { BEGIN_REQUEST = 1, END_REQUEST = 3, PARAMS, STDIN, STDOUT, STDERR };
enum { RESPONDER = 1, KEEP_CONN = 1 };

/* -- to the backend ----------------------------------------------------------------------------------- */

static void
put_head(struct buf *b, unsigned type, unsigned n)
{
	const unsigned char head[HEAD_SIZE] = { 1, type, 0, 1, n >> 8, n & 255, 0, 0 };

	buf_mem(b, head, HEAD_SIZE);
}

/* The record that begins there has become so long: its head says it. */
static void
end_record(struct buf *b, unsigned from)
{
	unsigned n = b->w - from - HEAD_SIZE;

	_Static_assert(PEER_OUT <= CONTENT_MOST, "PEER_OUT is more than a record holds");
	if (b->bad)
		return;
	b->data[from + 4] = n >> 8;
	b->data[from + 5] = n & 255;
}

static void
fcgi_head(struct conn *c, const struct request *r, const struct script *s, struct buf *to)
{
	static const char begin[3 * HEAD_SIZE] = { 1, BEGIN_REQUEST, 0, 1, 0, HEAD_SIZE, 0, 0, 0, RESPONDER, KEEP_CONN,
		[2 * HEAD_SIZE] = 1, PARAMS, 0, 1 };
	unsigned from = to->w + 2 * HEAD_SIZE;

	buf_mem(to, begin, sizeof begin);
	cgi_variables(c, r, s, to, PAIRS_SIZED);
	end_record(to, from);
}

/* CONTENT_LENGTH has a record of its own: for a body that is spooled it is known last. */
static void
fcgi_length(struct buf *to, bool body, uint64_t length)
{
	static const char end[2 * HEAD_SIZE] = { 1, PARAMS, 0, 1, [HEAD_SIZE] = 1, STDIN, 0, 1 };
	unsigned from = to->w;

	if (body) {
		put_head(to, PARAMS, 0);
		put_length(to, PAIRS_SIZED, length);
		end_record(to, from);
	}
	buf_mem(to, end, body ? HEAD_SIZE : 2 * HEAD_SIZE);
}

static unsigned
fcgi_put(struct buf *out, const char *p, unsigned n)
{
	unsigned room = buf_room(out);

	if (room < HEAD_SIZE + (n > 0))
		return 0;
	if (n > room - HEAD_SIZE && room < out->size / 4)
		return 0;               /* not in scraps: there will be more room in a moment */
	if (n > room - HEAD_SIZE)
		n = room - HEAD_SIZE;
	if (n > CONTENT_MOST)
		n = CONTENT_MOST;
	put_head(out, STDIN, n);
	buf_mem(out, p, n);
	return n ? n : true;            /* an empty record ends the stream */
}

/* -- from the backend ------------------------------------------------------------------------------------ */

enum { AT_HEAD, AT_STDOUT, AT_STDERR, AT_END, AT_LAST, ENDED };         /* body->at */

/* Step over bytes that nobody wants, as far as they have come; true when none is left. */
static bool
skipped(struct body *body, struct buf *in)
{
	unsigned n = body->skip < buf_used(in) ? body->skip : buf_used(in);

	if (body->at == AT_STDERR && n) {
		unsigned text = body->skip > body->padding ? body->skip - body->padding : 0;

		log_backend(SPAN("stderr"), (struct span){ in->data + in->r, text < n ? text : n });
	}
	in->r += n;
	body->skip -= n;
	return !body->skip;
}

static bool
record(struct body *body, const char *head)
{
	const unsigned char *h = (const unsigned char *)head;
	unsigned content = h[4] << 8 | h[5], padding = h[6];

	if (h[0] != 1 || h[2] || h[3] != 1)
		return false;
	body->padding = padding;
	body->skip = content + padding;
	switch (h[1]) {
	case STDOUT:
		body->left = content;
		body->skip = padding;
		body->at = AT_STDOUT;
		return true;
	case STDERR:
		body->at = AT_STDERR;
		return true;
	case END_REQUEST:
		body->at = AT_END;
		return content >= 5;
	default:
		return false;
	}
}

/* Up to payload, or the end; in->r moves and nothing else of `in`. */
static enum io
step_over(struct body *body, struct buf *in)
{
	while (!body->left && body->at != ENDED) {
		if (body->at == AT_END) {
			if (buf_used(in) < 5)
				return IO_WAIT;
			body->failed = in->data[in->r + 4];     /* protocolStatus */
			body->at = AT_LAST;
		}
		if (body->skip && !skipped(body, in))
			return IO_WAIT;
		if (body->at == AT_LAST) {
			body->at = ENDED;
			break;
		}
		if (buf_used(in) < HEAD_SIZE)
			return IO_WAIT;
		if (!record(body, in->data + in->r))
			return IO_FAIL;
		in->r += HEAD_SIZE;
	}
	return body->left ? IO_MOVED : IO_DONE;
}

static enum io
fcgi_next(struct body *body, struct buf *in)
{
	enum io io = step_over(body, in);

	buf_take(in, 0);
	if (body->ended && (io == IO_WAIT || (io == IO_MOVED && !buf_used(in))))
		return IO_FAIL;
	return io;
}

/* Nothing but the end of the request lies behind the payload ahead: most answers are one record and that. */
static bool
fcgi_whole(const struct body *body, const struct buf *in)
{
	static const struct span none = { "\1\6\0\1\0\0\0", HEAD_SIZE }, end = { "\1\3\0\1\0\10\0", HEAD_SIZE };
	uint64_t ahead = body->left + body->skip;
	struct span rest = { in->data + in->r + ahead, buf_used(in) - ahead };

	if (ahead >= buf_used(in))
		return false;
	if (rest.n == 3 * HEAD_SIZE && span_starts(rest, none))
		rest = (struct span){ rest.p + HEAD_SIZE, 2 * HEAD_SIZE };
	return rest.n == 2 * HEAD_SIZE && span_starts(rest, end) && !rest.p[HEAD_SIZE + 4];      /* protocolStatus */
}

const struct dialect fcgi_dialect = {
	"fastcgi", fcgi_head, fcgi_length, fcgi_next, fcgi_put, .share = FOR_SCRIPTS, .whole = fcgi_whole,
};

static int
fcgi_start(struct conn *c, struct request *r)
{
	struct script s;
	int status = script_find(c, r, &s);

	return status ? status : gateway_start(c, r, &s, &fcgi_dialect);
}

const struct handler fcgi_handler = { "fastcgi", fcgi_start, gateway_push, gateway_pull, gateway_finish };
