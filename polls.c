/* polls.c - whom poll is asked about, and who gets what it said
 *
 *   | client, its backend | client | ... | idle backends | programs of `spawn` | stderr of scripts | resolvers | sleepers
 *                                        ^ idle_at       ^ spawn_at            ^ errors_at         ^ names_at  ^ parked_at
 *
 * Sleepers are one descriptor, of epoll, where there is that.  What to poll for is never stored: it follows from the
 * buffers, each turn anew.  A full buffer asks for nothing.
 */
#include "child.h"
#include "gateway.h"
#include "spawn.h"
#include "resolve.h"

#include <assert.h>

/* Whose descriptors stand in the poll set, place by place. */
struct owner { struct conn *c; struct stream *s; };

struct pool set_pool = { "poll set", sizeof (struct pollfd), polls_size, NULL, 0 };
struct pool owner_pool = { "who is polled", sizeof (struct owner), polls_size, NULL, 0 };

static struct { unsigned idle_at, spawn_at, errors_at, names_at, parked_at; bool park_waits; } part;

static int64_t due;                     /* before it nobody's time is over */
static unsigned turns;                  /* so many are to have theirs: they stand at the beginning of the owners */

unsigned
polls_size(const struct conf *cf)
{
	return 1 + LISTEN_MAX + cf->clients + 3 * cf->scripts + 2 * cf->proxied + (CONFIG_RESOLVE ? QUERIES_MAX : 0) +
	    cf->parked + 2;
}

static struct owner *
owner(unsigned i)
{
	return (struct owner *)(void *)owner_pool.at + i;
}

/* -- the poll set ---------------------------------------------------------------------------------------- */

static short
client_wants(const struct conn *c)
{
	const struct stream *s = &c->client;
	short events = 0;

	if (c->phase == HEAD)           /* a handshake goes on when its last words have gone */
		return s->sealed ? POLLOUT : c->ticket || c->dozes || s->crowded ? 0 : POLLIN;
	if (c->phase == LINGER)
		return POLLIN;
	if (!c->up.done && !s->eof && buf_room(&s->in) && (c->phase == EXCHANGE || c->keep))
		events |= POLLIN;
	if (!s->writable)
		events |= POLLOUT;
	return events;
}

/* A backend that hangs up is always ready: it is asked about only when its bytes have somewhere to go. */
static short
peer_wants(const struct stream *s)
{
	short events = 0;

	if (s->connecting || (!s->writable && buf_used(&s->out) && !s->pipes))
		events |= POLLOUT;
	if (!s->connecting && !s->eof && buf_room(&s->in))
		events |= POLLIN;
	return events;
}

/* Towards a program of ours: a descriptor of its own. */
static bool
pipe_wants(const struct stream *s)
{
	return s->pipes && !s->shut && !s->writable && buf_used(&s->out);
}

/* No connection waits for nothing. */
static void
check(const struct conn *c)
{
	(void)c;                        /* without assertions */
	assert(conn_due(c) < INT64_MAX);
	assert((!c->over && !c->client.dead) || conn_due(c) <= now);
	assert((c->phase == EXCHANGE || c->phase == FLUSH) == (c->conf != NULL));
	assert(c->lent || (c->phase == HEAD && !c->ticket));
}

/* Of two times the first. */
static int64_t
sooner(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* Clients, and the backends of those who have one, at `set`. */
static unsigned
plan_clients(struct pollfd *set, int64_t *next)
{
	struct owner *o = owner(0);
	struct pollfd *p = set;
	unsigned left = slots_used();

	for (struct conn *c = slot_at(0); left; c++) {
		if (c->phase == FREE)
			continue;
		left--;
		if (CONFIG_CHECKS)
			check(c);
		*o++ = (struct owner){ c, &c->client };
		*p++ = (struct pollfd){ c->tunnel && c->client.eof && c->client.shut ? -1 : c->client.fd, client_wants(c), 0 };
		if (CONFIG_GATEWAY && c->peer && c->peer->s.fd >= 0 && peer_wants(&c->peer->s)) {
			*o++ = (struct owner){ c, &c->peer->s };
			*p++ = (struct pollfd){ c->peer->s.fd, peer_wants(&c->peer->s), 0 };
		}
		if (CONFIG_CGI && c->peer && pipe_wants(&c->peer->s)) {
			*o++ = (struct owner){ c, &c->peer->s };
			*p++ = (struct pollfd){ c->peer->s.to, POLLOUT, 0 };
		}
		*next = sooner(*next, conn_due(c));
	}
	return p - set;
}

unsigned
polls_make(struct pollfd *set, int64_t *next)
{
	unsigned n = plan_clients(set, next);

	part.idle_at = n;
	if (CONFIG_GATEWAY)
		n += peer_idle_plan(set + n, next);
	part.spawn_at = n;
	if (CONFIG_SPAWN)
		n += spawn_plan(set + n);
	part.errors_at = n;
	if (CONFIG_CGI)
		n += cgi_plan(set + n);
	part.names_at = n;
	if (CONFIG_RESOLVE)
		n += resolve_plan(set + n, next);
	part.parked_at = n;
	part.park_waits = park_count() && !slots_left();
	if (park_count()) {
		*next = sooner(*next, park_due());
		if (!part.park_waits)
			n += park_plan(set + n);
	}
	if (CONFIG_CHILDREN)
		*next = sooner(*next, child_due());
	if (CONFIG_SPAWN)
		*next = sooner(*next, spawn_due());
	due = *next;
	return n;
}

bool
polls_park_waits(void)
{
	return part.park_waits;
}

/* -- what poll said ------------------------------------------------------------------------------------------ */

APART static void
wake(const struct pollfd *set, unsigned n)
{
	struct parked woken[16];
	unsigned left = slots_left(), k = park_wake(set, n, woken, left < 16 ? left : 16);

	for (unsigned i = 0; i < k; i++) {
		struct conn *c = conn_open(&woken[i]);

		c->client.readable = true;
		conn_turn(c);
	}
}

/* It takes the place of an owner that has been looked at. */
static void
give_turn(struct conn *c)
{
	if (c->ready)
		return;
	c->ready = true;
	owner(turns++)->c = c;
}

static void
take_revents(const struct owner *o, short revents)
{
	struct conn *c = o->c;
	struct stream *s = o->s;

	if (revents & (POLLIN | POLLHUP | POLLERR))
		s->readable = true;
	if (revents & (POLLOUT | POLLHUP | POLLERR))
		s->writable = true;
	if (!(revents & (POLLHUP | POLLERR)))
		return;
	if (s != &c->client)
		s->hung_up |= (revents & POLLHUP) != 0;
	else if (revents & (c->tunnel ? POLLERR : POLLHUP | POLLERR) &&
	    (c->phase == EXCHANGE || c->phase == FLUSH || c->ticket || c->dozes))
		s->dead = true;         /* both directions are closed: nobody is there for the answer */
}

/* Those who are no client, nor a backend at work for one. */
APART static void
take_others(const struct pollfd *set)
{
	if (CONFIG_GATEWAY)
		peer_idle_run(set + part.idle_at, part.spawn_at - part.idle_at);
	if (CONFIG_SPAWN)
		spawn_take(set + part.spawn_at, part.errors_at - part.spawn_at);
	if (CONFIG_CGI)
		cgi_take(set + part.errors_at, part.names_at - part.errors_at);
	if (!CONFIG_RESOLVE || !resolve_run(set + part.names_at, part.parked_at - part.names_at))
		return;
	for (unsigned i = 0; i < slot_count(); i++) {   /* a name that was being asked for has been settled */
		struct conn *c = slot_at(i);

		if (c->phase == EXCHANGE && c->peer && c->peer->s.fd < 0 && c->peer->s.connecting)
			give_turn(c);
	}
}

APART static void
take_time(void)
{
	for (unsigned i = 0; i < slot_count(); i++) {
		struct conn *c = slot_at(i);

		if (c->phase == FREE || conn_due(c) > now)
			continue;
		if (c->ready && (c->phase == EXCHANGE || c->phase == FLUSH))
			continue;       /* what has come goes first: we may have been the ones who were late */
		conn_on_time(c);
		if (c->phase != FREE)
			give_turn(c);
	}
}

unsigned
polls_take(const struct pollfd *set, unsigned n, unsigned told)
{
	const struct owner *o = owner(0);
	bool late = due <= now;

	for (unsigned i = 0; told && i < part.idle_at; i++, o++)
		if (set[i].revents) {
			told--;
			take_revents(o, set[i].revents);
			give_turn(o->c);
		}
	if (told || late)
		take_others(set);
	if (late)
		take_time();
	for (o = owner(0); turns; turns--, o++)
		if (o->c->phase != FREE)
			conn_turn(o->c);
	if (told && part.parked_at < n)
		wake(set + part.parked_at, n - part.parked_at);
	if (late) {
		park_expire();
		if (CONFIG_CHILDREN)
			child_expire();
		if (CONFIG_SPAWN)
			spawn_keep();
	}
	if (CONFIG_GATEWAY)
		queue_serve();
	return told;
}
