/* queue.c - who waits for a place among `scripts`, who is next, and that nobody takes them all
 *
 *   asks --> a place is free, and nobody waits who may have it --> it runs
 *    |                                                              ^ the longest waiting whose address holds
 *    `-----> waits, unless too many do: then 503 -------------------'  less than its part
 *
 * An address may hold most of the places but not all, and the queue leaves slots for those who ask for files.
 */
#include "gateway.h"
#include "spawn.h"

#include <string.h>

static struct { unsigned waiting, ticket; } queue;      /* how many; the last ticket given */

/* Places for scripts that it holds, those of scripts that live on after their answer too. */
APART static unsigned
held_by(const struct from *from)
{
	const struct peer *p;
	unsigned n = 0;

	for (unsigned i = 0; (p = peer_at(i)); i++)
		n += (p->lent || p->child.pid) && p->share == FOR_SCRIPTS && from_same(&p->from, from);
	return n;
}

/* Of the places for scripts a quarter, or one, is for others.  Of clients on a unix socket nothing is known. */
static bool
within_part(const struct conn *c)
{
	unsigned n = conf->scripts, others = n > 4 ? n / 4 : 1;

	return c->share != FOR_SCRIPTS || peers_busy(FOR_SCRIPTS) < n - others || n == 1 ||
	    (c->from.family != AF_INET && c->from.family != AF_INET6) || held_by(&c->from) < n - others;
}

/* Of those that wait for such a place, or for any (SHARES), the first that may have one. */
static struct conn *
first(enum share share)
{
	struct conn *found = NULL;

	for (unsigned i = 0; i < slot_count(); i++) {
		struct conn *c = slot_at(i);

		if (c->phase != HEAD || !c->ticket || (share != SHARES && c->share != share))
			continue;
		if (CONFIG_SPAWN && c->awaits && !spawn_choose(c->awaits))
			continue;
		if ((!found || c->ticket < found->ticket) && peer_has_place(c->share) && within_part(c))
			found = c;
	}
	return found;
}

bool
queue_lets(const struct conn *c)
{
	const struct conn *next = c->ticket || !queue.waiting ? NULL : first(c->share);

	return c->hops || (!next && within_part(c));    /* it has just given one back */
}

/* How many may wait: slots are left for those under way, and a quarter of the others. */
static unsigned
room(void)
{
	unsigned n = conf->clients > conf->scripts ? conf->clients - conf->scripts : 0;

	n -= n / 4;
	return n ? n : 1;
}

bool
queue_join(struct conn *c)
{
	unsigned most = room(), same = 0;

	if (c->ticket)
		return true;
	for (unsigned i = 0; i < slot_count(); i++)
		same += slot_at(i)->phase == HEAD && slot_at(i)->ticket && from_same(&slot_at(i)->from, &c->from);
	if (queue.waiting >= most || same >= most - most / 8)
		return false;
	c->ticket = ++queue.ticket;
	queue.waiting++;
	return true;
}

void
queue_leave(struct conn *c)
{
	if (c->ticket)
		queue.waiting--;
	c->ticket = 0;
	c->retry = false;
}

void
queue_forget(void)
{
	for (unsigned i = 0; i < slot_count(); i++)
		slot_at(i)->awaits = NULL;
}

APART static void
serve(void)
{
	for (unsigned tries = queue.waiting; tries; tries--) {
		struct conn *c = first(SHARES);

		if (!c)
			return;
		c->retry = true;
		c->seen = 0;
		conn_turn(c);
	}
}

void
queue_serve(void)
{
	if (queue.waiting)
		serve();
}
