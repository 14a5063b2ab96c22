/* tunnel.c - once both sides have switched to another protocol: bytes, both ways, until both have ended
 *
 *   client.in --up--> peer.out ==> backend        an end on one side is passed on when all before it has been,
 *   client.out <--down-- peer.in <==              and the other direction goes on: half a connection is one, too
 */
#include "gateway.h"

static enum io
tunnel_push(struct conn *c)
{
	c->up.body.ended = c->client.eof;
	return relay(&c->up, &c->client.in, &c->peer->s.out);
}

static bool
pass_end(struct stream *s, bool ended)
{
	if (!ended || buf_used(&s->out) || s->shut || s->dead)
		return false;
	stream_shut(s);
	return true;
}

static enum io
tunnel_pull(struct conn *c)
{
	struct relay *down = &STATE(c, gateway)->down;
	struct stream *s = &c->peer->s;
	bool moved = stream_write(s);
	enum io io;

	moved |= stream_read(s);
	moved |= pass_end(s, c->up.done);
	down->body.ended = s->eof || s->dead;
	io = relay(down, &s->in, &c->client.out);
	c->sent = down->moved;
	moved |= io == IO_MOVED;
	moved |= pass_end(&c->client, down->done);
	if (down->done && s->dead && !s->eof && !buf_used(&c->client.out))
		return gateway_fail(c, 502, "the backend broke off");
	if (down->done && c->up.done && (!buf_used(&s->out) || s->dead))
		return IO_DONE;
	return moved ? IO_MOVED : IO_WAIT;
}

static const struct handler tunnel_handler = { "tunnel", NULL, tunnel_push, tunnel_pull, gateway_finish };

void
tunnel_begin(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	c->up = g->down = (struct relay){ .next = until_eof_next, .put = raw_put, .limit = UINT64_MAX };
	g->closes = true;
	c->handler = &tunnel_handler;
	c->word = tunnel_handler.name;
	c->keep = c->continues = false;
	c->until_close = c->tunnel = true;
}
