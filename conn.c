/* conn.c - connections: phases, steps, deadlines
 *
 *        accepted      head is whole      handler is done      out is empty
 *   FREE -------> HEAD -----------> EXCHANGE ----------> FLUSH -----------> HEAD   kept
 *                  |                                       |
 *                  `-> parked, when idle                   `---> LINGER --> FREE   closed once the client has read
 *
 * A connection is stepped until nothing moves, at most STEPS_MAX times in a turn; then, and only then, settle()
 * decides whether it is closed.  Everyone else records `why`, or sets `over`.  Deadlines are not stored: they follow
 * from `since` and from what the connection waits for.
 */
#include "gateway.h"
#include "tls.h"

#include <errno.h>
#include <string.h>

static bool stopping;                   /* the server ends: nobody new, and no second request */
static struct request request;          /* the one that is being started */

/* -- phases ------------------------------------------------------------------------------------------ */

/* The only place that changes the phase. */
static void
enter(struct conn *c, enum phase phase)
{
	c->phase = phase;
	c->since = now;
}

bool
conn_full(void)
{
	return stopping || (park_full() && !slots_left());
}

bool
conn_none(void)
{
	return !slots_used() && !park_count();
}

struct conn *
conn_open(const struct parked *p)
{
	struct conn *c = slot_take();

	if (!c)
		return NULL;
	memset(c, 0, sizeof *c);
	stream_open(&c->client, p->fd);
	c->client.tls = CONFIG_TLS && p->tls ? tls_at(p->tls) : NULL;
	c->secure = c->client.tls;
	c->from = p->from;
	c->requests = p->requests;
	c->watched = p->watched;
	c->before = p->before;
	enter(c, HEAD);
	turn_number++;
	return c;
}

/* Its head is there, and nothing is to be done about it yet. */
static bool
held_back(const struct conn *c)
{
	return c->dozes || (c->ticket && !c->retry);
}

/* What keeps it from going on, as the name of the time it is given for that. */
static enum timeout
waits_for(const struct conn *c)
{
	switch (c->phase) {
	case FREE:
	case HEAD:
		if (CONFIG_GATEWAY && c->ticket)
			return T_QUEUE;
		return c->lent || !c->requests ? T_HEAD : T_IDLE;
	case EXCHANGE:
		if (CONFIG_GATEWAY && c->tunnel)
			return T_TUNNEL;
		if (!c->client.writable || buf_used(&c->client.out))
			return T_SEND;
		if (CONFIG_GATEWAY && c->peer && c->peer->s.connecting)
			return T_CONNECT;
		/* What lies there may be half a line between two chunks. */
		if (!c->up.done && !c->continues && (!buf_used(&c->client.in) || !c->up.body.left))
			return T_BODY;
		return T_BACKEND;
	case FLUSH:
		return c->client.writable && !buf_used(&c->client.out) ? T_BODY : T_SEND;
	case LINGER:
		return T_LINGER;
	}
	return T_IDLE;
}

int64_t
conn_due(const struct conn *c)
{
	if (CONFIG_TLS && c->again && !c->over && c->client.crowded)
		return tls_due();
	if (c->again || c->over || c->dozes)
		return c->again || c->over ? now : c->since;
	if (slot_idle(c) && park_pool.n > 1)
		return c->since + PARK_AFTER;
	return c->since + conf->timeout[waits_for(c)];
}

/* -- requests ---------------------------------------------------------------------------------------- */

static void
let_go(struct conn *c)
{
	if (c->handler && c->handler->finish)
		c->handler->finish(c);
	c->handler = NULL;
	c->up.put = discard_put;
	if (!c->up.done && !c->drains)
		c->keep = false;
}

/* The request is over, well or not. */
static void
request_end(struct conn *c)
{
	if (c->conf) {
		log_access(c);
		conf_release(c->conf);
	}
	if (CONFIG_TRUST && c->vouched)
		trust_forget(c);
	c->conf = NULL;
	c->refused = false;
	if (c->held)
		buf_take(&c->client.in, c->held);
	c->held = 0;
}

/* The head that was made has no room: none of it may go out.  It may be the `header` lines that are too long. */
static void
too_large(struct conn *c)
{
	let_go(c);
	c->client.out.w = c->client.out.r + c->client.sealed;
	c->client.out.bad = false;
	c->begun = c->hold = c->keep = c->until_close = false;
	c->headers = 0;
	c->sent = 0;
	c->why = "the response head is too large";
	reply_status(c, NULL, 500);
}

/* Give up: with a status while there is no response yet, else by a cut that cannot pass for a whole response. */
static void
fail(struct conn *c, int status, const char *why)
{
	if (!c->why)
		c->why = why;
	c->keep = false;
	let_go(c);
	if (c->begun) {
		c->over = c->phase != FLUSH;
		return;
	}
	c->until_close = false;
	reply_status(c, NULL, status);
	if (c->client.out.bad)
		too_large(c);
	enter(c, FLUSH);
}

/* The relay that brings the request body in.  Member by member: compilers clear so much by an instruction that is slow. */
static void
body_begin(struct relay *up, const struct request *r)
{
	struct body *b = &up->body;
	bool chunks = r->framing == BODY_CHUNKED;

	up->next = chunks ? chunked_next : length_next;
	up->put = discard_put;
	b->left = r->length;
	b->skip = b->at = b->padding = b->failed = b->gathers = b->ended = b->trails = 0;
	up->moved = 0;
	up->limit = UINT64_MAX;
	up->over = false;
	up->done = !chunks && !r->length;
}

/* Of a head that is refused: it has no body that could be found, and no other will follow it. */
static void
request_distrust(struct request *r)
{
	r->keep = r->continues = false;
	r->framing = BODY_NONE;
	r->length = 0;
}

static void
request_prepare(struct conn *c, const struct request *r, bool refused)
{
	c->conf = conf;
	conf->users++;
	c->lent->lying.age++;
	c->began = now;
	c->why = NULL;
	c->status = 0;
	c->sent = 0;
	c->headers = 0;
	c->hops = 0;
	c->route = c->challenge = NULL;
	c->credentials = false;
	c->host = conf->hosts;
	c->begun = c->errors = c->until_close = c->hold = c->tunnel = false;
	c->parting = !(r->keep | refused);
	c->keep = r->keep & !stopping;
	c->chunks = r->minor > 0;
	c->head_only = r->method == M_HEAD;     /* a refused head may have shown that much */
	c->continues = r->continues;
	body_begin(&c->up, r);
	/* A short body that nobody wants is read and dropped, so that the connection can be kept. */
	c->drains = c->up.done || (c->up.body.left && c->up.body.left <= LINGER_BODY && !c->continues);
	c->handler = NULL;
	c->client.more = false;
	log_request(c, r);
}

/* Without having read its head, so nothing of the last one may show. */
static void
refuse(struct conn *c, int status, const char *why)
{
	memset(&request, 0, offsetof(struct request, fields));
	request.minor = 1;
	request_prepare(c, &request, true);
	fail(c, status, why);
}

/* Nobody may look at the head any more. */
static void
poison(struct conn *c, unsigned n)
{
	if (CONFIG_CHECKS)
		memset(c->client.in.data + c->client.in.r, 0xdd, n);
}

/* It cannot begin yet: the head stays where it is, and is read again. */
static void
postpone(struct conn *c, int64_t since)
{
	conf_release(c->conf);
	c->conf = NULL;
	enter(c, HEAD);
	c->since = since;
}

/* It waits for a place, since then if it has waited before.  False: too many do already. */
static bool
queue(struct conn *c, int64_t since)
{
	bool waited = c->ticket;

	if (!queue_join(c))
		return false;
	postpone(c, waited ? since : now);
	c->retry = false;
	return true;
}

/* Plain HTTP came where TLS was to be: the same place by https, which the client is on the port of already. */
APART static int
misplaced(struct conn *c, struct request *r)
{
	static char store[CLIENT_IN];
	struct buf b = buf_on(store, sizeof store);

	c->secure = c->keep = false;
	c->why = "plain HTTP came where TLS is spoken";
	buf_text(&b, "https://");
	buf_span(&b, r->known[F_HOST]);
	buf_span(&b, r->target);
	return r->known[F_HOST].n && span_starts(r->target, SPAN("/")) ? reply_redirect(c, NULL, 308, &b) : 400;
}

/* The n bytes at client.in begin with a whole head: from here on it is an exchange. */
static void
request_begin(struct conn *c, unsigned n)
{
	const char *head = c->client.in.data + c->client.in.r;
	int status = request_parse(&request, head, n);
	int64_t since = c->since;

	if (!status)
		n = request.size;
	else
		request_distrust(&request);
	request_prepare(c, &request, status);
	enter(c, EXCHANGE);
	if (CONFIG_TRUST && !status && conf->trust)
		status = trust_request(c, &request);
	if (!status)
		status = CONFIG_TLS && c->client.misplaced ? misplaced(c, &request) : dispatch(c, &request);
	if (status == BUSY && queue(c, since))
		return;
	if (status == BUSY) {
		status = 503;
		c->why = "too many wait for a backend";
	}
	queue_leave(c);
	if (status == LATER) {
		postpone(c, c->since);
		c->dozes = true;
		return;
	}
	c->requests++;
	c->seen = 0;
	if (status > 0) {
		c->keep &= request.method != M_CONNECT; /* what follows may be of the tunnel (RFC 9931 8) */
		c->up.limit = UINT64_MAX;
		reply_status(c, &request, status);
	}
	if (c->client.out.bad)
		too_large(c);
	if (c->hold) {
		c->held = n;
		return;
	}
	poison(c, n);
	buf_take(&c->client.in, n);
}

/* -- steps: each does what can be done now and says whether anything moved ------------------------------ */

static bool
head_step(struct conn *c)
{
	bool fresh = !c->lent, moved;
	unsigned n;

	if (held_back(c))
		return false;
	if (fresh && !c->client.readable)
		return false;
	slot_lend(c);
	if (buf_room(&c->client.in) == 0)
		buf_pack(&c->client.in);
	moved = stream_read(&c->client);
	if (fresh && moved)
		c->since = now;
	n = head_length(c->client.in.data + c->client.in.r, buf_used(&c->client.in), &c->seen);
	if (n) {
		request_begin(c, n);
		return c->phase != HEAD;
	}
	if (c->client.eof)
		c->over = true;
	else if (buf_used(&c->client.in) == c->client.in.size) {
		bool line = find_byte(c->client.in.data, '\n', c->client.in.size);

		refuse(c, line ? 431 : 414, "the head is too large");
	}
	return moved && !c->over;
}

/* The request body onward, or away; false with the phase changed when it is broken. */
static bool
push_step(struct conn *c)
{
	enum io io;
	bool moved;

	if (c->up.done)
		return false;
	moved = stream_read(&c->client);
	c->up.body.ended = c->client.eof;
	if (c->handler && c->handler->push)
		io = c->handler->push(c);
	else
		io = c->keep ? relay(&c->up, &c->client.in, &c->client.out) : IO_WAIT;
	if (io == IO_FAIL && c->up.over)
		fail(c, 413, "the body is larger than allowed");
	else if (io == IO_FAIL && c->status && !c->begun)
		fail(c, c->status, "the body could not be passed on");
	else if (c->client.eof && !c->up.done && (io == IO_FAIL || !buf_used(&c->client.in)))
		fail(c, 400, "the client left in the middle of the body");
	else if (io == IO_FAIL)
		fail(c, 400, "the body is not framed as RFC 9112 wants it");
	return moved || io == IO_MOVED || io == IO_DONE;
}

static bool
exchange_step(struct conn *c)
{
	enum io io = IO_DONE;
	bool moved = push_step(c);

	if (c->phase != EXCHANGE || c->over)
		return !c->over;
	while (c->handler && c->handler->pull && (io = c->handler->pull(c)) == IO_MOVED)
		moved = true;
	if (io == IO_FAIL)
		fail(c, c->status ? c->status : 502, c->why ? c->why : "the response broke off");
	if (c->phase != EXCHANGE || c->over)
		return !c->over;
	if (io == IO_DONE) {
		let_go(c);
		enter(c, FLUSH);
		return true;
	}
	return stream_write(&c->client) || moved;
}

/* The connection goes on with the next request, or ends.  False when nothing is there yet to go on with. */
static bool
flushed(struct conn *c)
{
	const struct stream *s = &c->client;
	bool straight = c->parting && c->up.done && !c->up.moved && !buf_used(&s->in) && !c->why && !c->continues &&
	    !(CONFIG_TLS && s->tls);    /* of TLS a good-bye is still to come, at any time */

	request_end(c);
	c->client.more = false;
	if (c->keep) {
		enter(c, HEAD);
		return buf_used(&s->in) || s->readable || s->eof || s->tls;
	}
	if (straight || s->eof) {
		c->over = true;         /* nothing is left that the kernel would answer with a reset */
		return false;
	}
	stream_shut(&c->client);
	enter(c, LINGER);
	return true;
}

static bool
flush_step(struct conn *c)
{
	bool moved = false;

	c->client.more = false;
	if (c->keep)
		moved = push_step(c);
	if (c->phase != FLUSH || c->over)
		return !c->over;
	moved = stream_write(&c->client) || moved;
	if (buf_used(&c->client.out) || (c->keep && !c->up.done))
		return moved;
	return flushed(c);
}

/* Read and drop until the client has seen all and closes, so that no reset overtakes the response. */
static bool
linger_step(struct conn *c)
{
	bool moved;

	c->client.in.r = c->client.in.w = 0;
	moved = stream_read(&c->client);
	if (c->client.eof)
		c->over = true;
	return moved && !c->over;
}

static bool
step(struct conn *c)
{
	switch (c->phase) {
	case FREE:
		return false;
	case HEAD:
		return CONFIG_TRUST && c->before ? trust_step(c) : head_step(c);
	case EXCHANGE:
		return exchange_step(c);
	case FLUSH:
		return flush_step(c);
	case LINGER:
		return linger_step(c);
	}
	return false;
}

/* -- turns -------------------------------------------------------------------------------------------- */

/* Whatever it was waiting for, or being given. */
static void
abandon(struct conn *c)
{
	queue_leave(c);
	let_go(c);
	request_end(c);
}

static void
conn_close(struct conn *c)
{
	struct linger reset = { 1, 0 };

	if (c->client.dead && !c->why)
		c->why = "the client left";
	if (c->begun && c->until_close && c->why && !c->client.dead) {
		call_setsockopt(c->client.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
		c->client.dead = true;          /* and TLS says nothing that sounds like an end */
	}
	abandon(c);
	stream_close(&c->client);
	slot_free(c);
}

/* TLS has failed in the middle of something: nothing more can be said, and what still comes is read. */
static void
part(struct conn *c)
{
	c->why = c->why ? c->why : "TLS failed";
	abandon(c);
	slot_lend(c);
	stream_shut(&c->client);
	enter(c, LINGER);
}

/* The one place that decides to close. */
static void
settle(struct conn *c)
{
	if (CONFIG_TLS && c->client.broken && c->phase != LINGER && !c->client.dead)
		part(c);
	if (c->client.dead || c->over || (stopping && slot_idle(c)))
		conn_close(c);
	else if (c->phase == HEAD && !buf_used(&c->client.in) && !(CONFIG_TLS && c->client.tls && tls_busy(c->client.tls)))
		slot_give_back(c);
}

void
conn_turn(struct conn *c)
{
	unsigned left = c->over ? 0 : STEPS_MAX;

	log_about = c;
	while (left && !c->client.dead && step(c))
		left--;
	c->again = !left || c->client.later;
	c->ready = false;
	if (left < STEPS_MAX && (c->phase == EXCHANGE || c->phase == FLUSH) && !c->dozes)
		c->since = now;
	settle(c);
	log_about = NULL;
}

/* The kernel holds megabytes for who reads slowly, and asks for more when a third of that has gone: as long as any of it
 * goes, nobody has stopped reading. */
static bool
still_reads(struct conn *c, const struct stream *s, enum timeout t)
{
	int64_t quiet = stream_quiet(s);

	if (s->writable || quiet >= conf->timeout[t])
		return false;
	c->since = now - quiet;
	return true;
}

/* Without another word to the client. */
static void
end(struct conn *c, const char *why)
{
	c->why = why;
	c->over = true;
}

/* Its time is over. */
static void
expire(struct conn *c)
{
	log_about = c;
	switch (waits_for(c)) {
	case T_HEAD:
		if (c->lent && buf_used(&c->client.in) && !c->before) {
			refuse(c, 408, "the head did not come in time");
			break;
		}
		if (CONFIG_TLS && c->client.tls && tls_busy(c->client.tls))
			log_line(LOG_INFO, "TLS: neither handshake nor head came whole in time");
		c->over = true;
		break;
	case T_IDLE:
	case T_LINGER:
	case T_KEEP:
	case T_STOP:
		c->over = true;
		break;
	case T_QUEUE:
		queue_leave(c);
		refuse(c, 503, "no backend had a place in time");
		break;
	case T_BODY:
		fail(c, 408, "the body stalled");
		break;
	case T_SEND:
		if (!still_reads(c, &c->client, T_SEND))
			end(c, "the client did not read");
		break;
	case T_TUNNEL:
		end(c, "nothing moved in the tunnel");
		break;
	case T_CONNECT:
		c->peer->s.dead = true;
		c->peer->s.error = ETIMEDOUT;
		c->since = now;
		break;
	case T_BACKEND:
		if (CONFIG_GATEWAY && c->peer && still_reads(c, &c->peer->s, T_BACKEND))
			break;
		fail(c, 504, "the backend did not answer in time");
		break;
	case TIMEOUTS:
		break;
	}
	log_about = NULL;
}

static void
wake(struct conn *c)
{
	c->dozes = false;
	c->seen = 0;
}

void
conn_on_time(struct conn *c)
{
	if (slot_idle(c) && park_pool.n > 1 && !stopping)
		slot_park(c);
	else if (c->dozes)
		wake(c);
	else if (!c->again && !c->over)
		expire(c);
}

/* -- arriving and stopping ----------------------------------------------------------------------------------- */

const struct from *
conn_local(struct conn *c)
{
	struct addr a;

	a.size = sizeof a.u;
	if (!c->local.family && call_getsockname(c->client.fd, &a.u.any, &a.size) == 0)
		c->local = from_of(&a);
	return &c->local;
}

void
conn_arrive(int fd, const struct addr *a, uint8_t flags)
{
	struct parked p = { .fd = fd, .since = now >> PARK_BITS, .from = from_of(a), .before = flags & LISTEN_PROXIED };
	struct conn *c;

	if (CONFIG_TLS && flags & LISTEN_TLS)
		p.tls = tls_number(tls_new(flags & LISTEN_LEGACY));
	c = polls_park_waits() ? NULL : conn_open(&p);          /* not past those who came before */
	if (!c) {
		park_put(&p);
		return;
	}
	c->client.readable = true;      /* most clients speak at once: trying costs less than asking */
	conn_turn(c);
}

void
conn_stop(void)
{
	stopping = true;
	while (park_drop_oldest())
		;
	for (unsigned i = 0; i < slot_count(); i++) {
		slot_at(i)->keep = false;
		if (slot_at(i)->phase == HEAD && !slot_at(i)->ticket && !slot_at(i)->dozes)
			slot_at(i)->over = true;
	}
}
