/* relay.c - every body in the house crosses here, a frame at a time
 *
 *        in                                       out
 *   +-----------+   next()   +---------+  put()  +-----------+
 *   | 5 CR LF   | ---------> | payload | ------> | 01 05 ... |
 *   | hello ... |  unframes  | in->r,  | frames  | hello     |
 *   +-----------+  in place  |  left   | anew    +-----------+
 *                            +---------+
 *
 * A source is a next() that steps over framing and says how much payload lies ahead; a sink is a put() that frames as
 * much of it as finds room.  Neither knows the other, neither touches a descriptor, neither keeps data.  Back-pressure
 * is what happens when there is no room.
 *
 * A byte is copied once.  Nothing is moved inside a buffer but crumbs: whoever reads empties `in` by and by, whoever
 * writes empties `out`, and an empty buffer begins anew by itself.
 */
#include "base.h"

#include <assert.h>
#include <string.h>

enum {
	CHUNK_LINE_MAX = 256 + 2,       /* a size with its extensions: more is an attack, not a chunk */
	CHUNK_TRAILERS_MAX = 4096,
};

static unsigned
least(uint64_t a, uint64_t b)
{
	return (unsigned)(a < b ? a : b);
}

/* -- sources ------------------------------------------------------------------------------------- */

/* Payload lies ahead; but it never comes when the stream has ended. */
static enum io
ahead(const struct body *body, const struct buf *in)
{
	return buf_used(in) || !body->ended ? IO_MOVED : IO_FAIL;
}

enum io
length_next(struct body *body, struct buf *in)
{
	return body->left ? ahead(body, in) : IO_DONE;
}

enum io
until_eof_next(struct body *body, struct buf *in)
{
	body->left = buf_used(in);
	if (body->left)
		return IO_MOVED;
	return body->ended ? IO_DONE : IO_WAIT;
}

bool
until_eof_whole(const struct body *body, const struct buf *in)
{
	(void)in;
	return body->ended;
}

/* The line `from` bytes behind in->r: true when it has come whole, in CRLF and without controls.  When not, *io says what
 * that means. */
static bool
cut_line(const struct body *body, const struct buf *in, unsigned from, unsigned max, struct span *line, enum io *io)
{
	const char *p = in->data + in->r + from, *lf;
	unsigned used = buf_used(in) - from, n = least(used, max);

	lf = n ? find_byte(p, '\n', n) : NULL;
	*io = lf || used >= max || buf_used(in) == in->size || body->ended ? IO_FAIL : IO_WAIT;
	if (!lf || lf == p || lf[-1] != '\r')
		return false;
	*line = (struct span){ p, (unsigned)(lf - 1 - p) };
	for (unsigned i = 0; i < line->n; i++)
		if (((unsigned char)p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f)
			return false;
	return true;
}

/* chunk-size [ chunk-ext ], checked before it can overflow (RFC 9112 7.1) */
static bool
chunk_size(struct span line, uint64_t *size)
{
	unsigned i = 0;

	for (*size = 0; i < line.n && hex_digit(line.p[i]) >= 0; i++) {
		if (*size >> 59)
			return false;
		*size = *size << 4 | (unsigned)hex_digit(line.p[i]);
	}
	line = (struct span){ line.p + i, line.n - i };
	return i && (!line.n || span_starts(span_trim(line), SPAN(";")));
}

enum { CHUNK_SIZE, CHUNK_ENDING, CHUNK_TRAILERS, CHUNK_END };   /* body->at */

/* What a line means where it stands: false when it may not stand there.  Of trailers the bytes are counted. */
static bool
chunk_line(struct body *body, struct span line)
{
	switch (body->at) {
	case CHUNK_SIZE:
		if (!chunk_size(line, &body->left))
			return false;
		body->at = body->left ? CHUNK_ENDING : CHUNK_TRAILERS;
		return true;
	case CHUNK_ENDING:
		body->at = CHUNK_SIZE;
		return !line.n;
	default:
		body->skip += line.n + 2;
		if (!line.n)
			body->at = CHUNK_END;
		return !line.n || (*line.p != ' ' && *line.p != '\t' && *line.p != ':' && find_byte(line.p, ':', line.n));
	}
}

enum io
chunked_next(struct body *body, struct buf *in)
{
	while (!body->left && body->at != CHUNK_END) {
		unsigned max = body->at == CHUNK_TRAILERS ? CHUNK_TRAILERS_MAX - body->skip :
		    body->at == CHUNK_ENDING ? 2 : CHUNK_LINE_MAX;
		bool stays = CONFIG_GATEWAY && body->trails && body->at == CHUNK_TRAILERS;
		struct span line;
		enum io io;

		if (!cut_line(body, in, stays ? body->skip : 0, max, &line, &io))
			return io;
		if (!chunk_line(body, line))
			return IO_FAIL;
		if (!stays)
			buf_take(in, line.n + 2);
	}
	return body->left ? ahead(body, in) : IO_DONE;
}

/* -- sinks --------------------------------------------------------------------------------------- */

unsigned
raw_put(struct buf *out, const char *p, unsigned n)
{
	if (!n)
		return true;            /* the length is known, or the end of the stream is the mark */
	n = least(n, buf_room(out));
	buf_mem(out, p, n);
	return n;
}

unsigned
chunked_put(struct buf *out, const char *p, unsigned n)
{
	static const char hex[] = "0123456789abcdef";
	enum { OVER = 6 + 2 };          /* four digits CRLF ... CRLF */
	unsigned room = buf_room(out);

	if (!n) {
		if (room < 5)
			return false;
		buf_mem(out, "0\r\n\r\n", 5);
		return true;
	}
	if (room <= OVER || (n > room - OVER && room < out->size / 4 && buf_used(out)))
		return 0;               /* a scrap is not worth a frame while more room is to come */
	n = least(least(n, room - OVER), 0xffff);
	buf_mem(out, (char[]){ hex[n >> 12], hex[n >> 8 & 15], hex[n >> 4 & 15], hex[n & 15], '\r', '\n' }, 6);
	buf_mem(out, p, n);
	buf_crlf(out);
	return n;
}

unsigned
discard_put(struct buf *out, const char *p, unsigned n)
{
	(void)out;
	(void)p;
	return n ? n : true;
}

/* -- the one loop -------------------------------------------------------------------------------- */

/* A little that has not been written yet keeps no room from the rest. */
static void
pack_crumbs(struct buf *b)
{
	if (buf_room(b) < b->size / 2 && buf_used(b) <= b->size / 4)
		buf_pack(b);
}

/* Not what frames, routes or describes a message (RFC 9110 6.5.1): whoever merges trailers into the head would be led
 * astray.  All fields that somebody here knows are of that kind. */
static bool
may_trail(struct span name)
{
	static const struct span never[] = { SPAN("content-"), SPAN("forwarded"), SPAN("x-forwarded-"), SPAN("cookie"),
		SPAN("proxy-") };

	for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
		if (span_starts_nocase(name, never[i]))
			return false;
	return name.n && field_find(name) == F_OTHER;
}

/* Trailers lie at in->r, whole: they go on with the last chunk, or not at all. */
APART static bool
end_with_trailers(struct relay *r, struct buf *in, struct buf *out)
{
	struct span text = { in->data + in->r, r->body.skip };

	if (r->put == chunked_put) {
		if (buf_room(out) < text.n + 3)
			return false;
		buf_mem(out, "0\r\n", 3);
		while (text.n) {
			struct span line = span_cut(&text, '\n');

			if (may_trail(line_name(line.p)))
				buf_mem(out, line.p, line.n + 1);
		}
		buf_crlf(out);
	}
	buf_take(in, r->body.skip);
	return true;
}

static bool
relay_end(struct relay *r, struct buf *in, struct buf *out)
{
	pack_crumbs(out);
	r->done = CONFIG_GATEWAY && r->body.trails ? end_with_trailers(r, in, out) : r->put(out, NULL, 0);
	return r->done;
}

/* Some of the payload that lies ahead, within the limit. */
static enum io
relay_payload(struct relay *r, struct buf *in, struct buf *out)
{
	unsigned n = least(buf_used(in), r->body.left), went;

	if (!n)
		return IO_WAIT;
	if (r->moved >= r->limit) {
		r->over = true;
		return IO_FAIL;
	}
	pack_crumbs(out);
	went = r->put(out, in->data + in->r, least(n, r->limit - r->moved));
	assert(went <= n);
	if (!went)
		return IO_WAIT;
	buf_take(in, went);
	r->body.left -= went;
	r->moved += went;
	return IO_MOVED;
}

enum io
relay(struct relay *r, struct buf *in, struct buf *out)
{
	enum io io, moved = IO_WAIT;

	if (r->done)
		return IO_DONE;
	/* Each turn takes bytes from `in`, so that there are few. */
	while ((io = r->next(&r->body, in)) == IO_MOVED && (io = relay_payload(r, in, out)) == IO_MOVED)
		moved = IO_MOVED;
	if (io == IO_DONE)
		return relay_end(r, in, out) ? IO_DONE : moved;
	if (io == IO_WAIT && !r->body.left && buf_room(in) < in->size / 2)
		buf_pack(in);           /* half a frame's head, for the rest of which there must be room */
	return io == IO_WAIT ? moved : io;
}
