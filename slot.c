/* slot.c - places for busy connections, and their buffers
 *
 *   connection: a small slot, the first that is free       buffers: lent while bytes are there, last used first
 *
 * An idle connection keeps its slot for a while but no buffers, so that the memory that is touched follows the
 * number of those busy at the same instant.  When slots run out the idle ones are parked.
 */
#include "tls.h"

#include <string.h>

static unsigned
clients(const struct conf *cf)
{
	return cf->clients;
}

/* Six pages, of which a small exchange, or the rest of a record of TLS, touches two: the first, and the one that has all but
 * the end of out and most of `in`: a head of 1.8 KB fits into it.  That is why out is shorter than there is room for. */
struct buffers { _Alignas(4096) char out[CLIENT_OUT]; struct lent rest; };

struct pool conn_pool = { "busy clients", sizeof (struct conn), clients, NULL, 0 };
struct pool lent_pool = { "their buffers", sizeof (struct buffers), clients, NULL, 0 };

static struct {
	unsigned fresh, n;              /* slots never used begin at fresh; n are in use */
	unsigned lent_fresh;
	struct lent *lent_free;
} house;

struct conn *
slot_at(unsigned i)
{
	return (struct conn *)(void *)conn_pool.at + i;
}

void
slot_lend(struct conn *c)
{
	struct lent *l = house.lent_free;

	if (c->lent)
		return;
	if (l)
		memcpy(&house.lent_free, (void *)l, sizeof house.lent_free);
	else
		l = &((struct buffers *)(void *)lent_pool.at + house.lent_fresh++)->rest;
	c->lent = l;
	if (CONFIG_TLS && c->client.tls)
		l->lying.age = LYING_NONE;      /* records are written where it was */
	c->client.in = (struct buf){ l->in, 0, 0, sizeof l->in, false };
	c->client.out = (struct buf){ (char *)l - offsetof(struct buffers, rest), 0, 0, CLIENT_OUT, false };
}

void
slot_give_back(struct conn *c)
{
	if (!c->lent)
		return;
	memcpy((void *)c->lent, &house.lent_free, sizeof house.lent_free);
	house.lent_free = c->lent;
	c->lent = NULL;
	c->client.in.data = c->client.out.data = NULL;
	c->client.in.w = c->client.in.r = c->client.out.w = c->client.out.r = 0;
}

void
slot_free(struct conn *c)
{
	slot_give_back(c);
	c->phase = FREE;
	house.n--;
}

/* Move an idle connection to the parking lot: its slot is free then. */
void
slot_park(struct conn *c)
{
	struct parked p = { .fd = c->client.fd, .since = c->since >> PARK_BITS, .requests = c->requests, .from = c->from,
		.watched = c->watched, .before = c->before,
		.tls = CONFIG_TLS && c->client.tls ? tls_number(c->client.tls) : 0 };

	park_put(&p);
	slot_free(c);
}

static struct conn *
oldest_idle(void)
{
	struct conn *found = NULL;

	for (unsigned i = 0; i < house.fresh; i++)
		if (slot_idle(slot_at(i)) && (!found || slot_at(i)->since < found->since))
			found = slot_at(i);
	return found;
}

bool
slot_park_oldest(void)
{
	struct conn *c = oldest_idle();

	if (c)
		slot_park(c);
	return c;
}

struct conn *
slot_take(void)
{
	if (house.n == conn_pool.n && !slot_park_oldest())
		return NULL;
	house.n++;
	for (unsigned i = 0; i < house.fresh; i++)
		if (slot_at(i)->phase == FREE)
			return slot_at(i);
	return slot_at(house.fresh++);
}

unsigned
slots_left(void)
{
	unsigned left = conn_pool.n - house.n;

	for (unsigned i = 0; i < house.fresh; i++)
		left += slot_idle(slot_at(i));
	return left;
}

unsigned
slots_used(void)
{
	return house.n;
}

unsigned
slot_count(void)
{
	return house.fresh;
}
