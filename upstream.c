/* upstream.c - what another HTTP server answers: its status line, where its body ends, and what comes before the answer
 *
 *   HTTP/1.1 103 Early Hints ...      passed on as it comes, and the head of the answer is still awaited
 *   HTTP/1.1 101 Switching ...        to a protocol that was asked for: a tunnel (tunnel.c)
 *   HTTP/1.1 200 OK ...               the answer; its body ends by RFC 9112 6.3, or the answer is none
 */
#include "gateway.h"

/* HTTP/1.x SP three digits, and what follows is for nobody (RFC 9112 4). */
bool
upstream_line(struct span *text, struct answer *a)
{
	enum { USUAL = sizeof "HTTP/1.1 200 OK\r\n" - 1 };
	struct span line, rest;
	uint64_t status;

	if (text->n > USUAL && load8(text->p) == load8("HTTP/1.1") && load8(text->p + 8) == load8(" 200 OK\r") &&
	    text->p[16] == '\n') {
		*text = (struct span){ text->p + USUAL, text->n - USUAL };
		a->status = 200;
		a->minor = 1;
		return true;
	}
	line = span_cut(text, '\n');
	if (line.n < 12 || !span_starts(line, SPAN("HTTP/1.")) || line.p[8] != ' ' ||
	    (line.n > 12 && line.p[12] != ' ' && line.p[12] != '\r'))
		return false;
	rest = (struct span){ line.p + 9, 3 };
	if (!span_uint(rest, &status) || status < 100 || status > 599 || line.p[7] < '0' || line.p[7] > '9')
		return false;
	a->status = status;
	a->minor = line.p[7] > '0';
	return true;
}

bool
upstream_heed(struct answer *a, enum field_id id, struct span value)
{
	switch (id) {
	case F_TRANSFER_ENCODING:       /* more than one, or another one, could be read in two ways */
		if (a->chunked || !span_eq_nocase(value, SPAN("chunked")))
			return false;
		a->chunked = true;
		return true;
	case F_CONNECTION:
		a->close |= list_has(value, SPAN("close"));
		a->keep |= list_has(value, SPAN("keep-alive"));
		a->names |= !span_eq_nocase(value, SPAN("close")) && !span_eq_nocase(value, SPAN("keep-alive"));
		return true;
	case F_UPGRADE:
		a->upgrade = value;
		return true;
	default:
		return true;
	}
}

/* What Connection names is about that connection alone (RFC 9110 7.6.1): such fields are not passed on. */
static void
drop_named(struct fields *h)
{
	struct field *f = h->f, *end = f + h->n;

	for (const struct field *named = f; named < end; named++)
		for (f = h->f; named->id == F_CONNECTION && f < end; f++)
			if (f->id != F_CONNECTION && f->id != F_UPGRADE && f->id != F_CONTENT_LENGTH &&
			    list_has(value_at(h->head, named), name_at(h->head, f)))
				f->id = F_KEEP_ALIVE;
	h->each = true;
}

/* A response before the response (RFC 9110 15.2); a client of HTTP/1.0 knows of none. */
static enum io
interim(struct conn *c, const struct answer *a, const struct fields *h)
{
	struct buf *out = &c->client.out;

	c->continues = false;
	if (!c->chunks && ++STATE(c, gateway)->untold)
		return IO_MOVED;
	if (!c->chunks)
		return gateway_fail(c, 502, "the backend answers only that it will answer");
	buf_print(out, "HTTP/1.1 %d %.*s\r\n", a->status, (int)status_text(a->status).n, status_text(a->status).p);
	reply_pass(c, h, false, NULL);
	buf_crlf(out);
	if (!out->bad)
		return IO_MOVED;
	*out = buf_on(out->data, out->size);
	return gateway_fail(c, 502, "the backend's head is too large");
}

static enum io
upgrade(struct conn *c, const struct answer *a, const struct fields *h)
{
	struct gateway *g = STATE(c, gateway);
	struct span asked = { g->upgrade, g->upgrade_n };

	if (!a->upgrade.n || !list_has(asked, a->upgrade))
		return gateway_fail(c, 502, "the backend switched to a protocol that nobody asked for");
	buf_text(&c->client.out, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ");
	buf_span(&c->client.out, a->upgrade);
	buf_crlf(&c->client.out);
	reply_pass(c, h, false, NULL);
	buf_crlf(&c->client.out);
	c->status = 101;
	c->begun = true;
	tunnel_begin(c);
	return IO_MOVED;
}

/* Where the body ends (RFC 9112 6.3).  Two ways to find its end are none. */
bool
upstream_frame(struct conn *c, const struct answer *a, struct fields *h, enum io *io)
{
	struct gateway *g = STATE(c, gateway);
	struct relay *down = &g->down;
	bool none = down->put == discard_put, ended = down->body.ended;

	if (a->chunked && a->measured) {
		*io = gateway_fail(c, 502, "the backend's head has two lengths");
		return false;
	}
	if (a->names)
		drop_named(h);
	if (a->status < 200) {
		*io = a->status == 101 ? upgrade(c, a, h) : interim(c, a, h);
		return false;
	}
	down->body = (struct body){ .left = none ? 0 : a->length, .ended = ended };
	down->body.trails = !none && a->chunked;
	down->next = none || a->measured ? length_next : a->chunked ? chunked_next : until_eof_next;
	g->closes = a->close || (!a->minor && (!a->keep || a->chunked)) || down->next == until_eof_next;
	return true;
}
