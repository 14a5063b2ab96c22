/* peer.c - connections to backends: so many places, and those that are kept
 *
 *   free  --peer_take-->  in use, with buffers  --peer_keep-->  idle, without  --peer_take--> ...
 *         <-----------------peer_release-----'
 *
 * Scripts and proxied requests have places of their own, so that neither waits for the other.  Both draw on one pool of
 * the sum: those in use can never fill it beyond their share, and who is idle gives way.
 *
 * An idle connection is polled, so that one the backend closes is gone before anybody takes it.
 */
#include "gateway.h"
#include "spawn.h"

#include <string.h>

static unsigned
most(const struct conf *cf, enum share share)
{
	return share == FOR_PROXY ? cf->proxied : cf->scripts;
}

static unsigned
places(const struct conf *cf)
{
	return most(cf, FOR_SCRIPTS) + (CONFIG_PROXY || CONFIG_FORWARD ? most(cf, FOR_PROXY) : 0);
}

struct pool peer_pool = { "backend connections", sizeof (struct peer), places, NULL, 0 };
struct pool peer_lent_pool = { "their buffers", sizeof (struct peer_lent), places, NULL, 0 };

static struct peer *idle_peers, *free_peers;    /* last used first */
static struct peer_lent *free_lent;
static unsigned fresh, fresh_lent;
static unsigned busy[SHARES];                   /* in use, by what for */

static void
lend(struct peer *p)
{
	struct peer_lent *l = free_lent;

	if (l)
		memcpy(&free_lent, (void *)l, sizeof free_lent);
	else
		l = (struct peer_lent *)(void *)peer_lent_pool.at + fresh_lent++;
	p->lent = l;
	p->s.in = (struct buf){ l->in, 0, 0, sizeof l->in, false };
	p->s.out = (struct buf){ l->out, 0, 0, sizeof l->out, false };
}

static void
give_back(struct peer *p)
{
	memcpy((void *)p->lent, &free_lent, sizeof free_lent);
	free_lent = p->lent;
	p->lent = NULL;
}

/* It is in use no longer. */
static void
uncount(struct peer *p)
{
	busy[p->share]--;
	if (p->backend)
		p->backend->busy--;
}

void
peer_turn_to(struct peer *p, struct backend *b)
{
	if (p->backend)
		p->backend->busy--;
	p->backend = b;
	p->served = 0;
	b->busy++;
}

static void
put_free(struct peer *p)
{
	p->next = free_peers;
	free_peers = p;
}

void
peer_free(struct peer *p)
{
	uncount(p);
	put_free(p);
}

/* One that is idle. */
static void
let_go(struct peer *p)
{
	stream_close(&p->s);
	put_free(p);
}

struct peer *
peer_at(unsigned i)
{
	return i < fresh ? (struct peer *)(void *)peer_pool.at + i : NULL;
}

/* The idle connection to it that was used last. */
static struct peer *
take_idle(struct backend *b)
{
	for (struct peer **at = &idle_peers, *p; (p = *at); at = &p->next)
		if (p->backend == b) {
			*at = p->next;
			b->busy++;
			return p;
		}
	return NULL;
}

static struct peer *
take_free(void)
{
	struct peer *p = free_peers, **last = &idle_peers;

	if (p) {
		free_peers = p->next;
	} else if (fresh < peer_pool.n) {
		p = (struct peer *)(void *)peer_pool.at + fresh++;
	} else if (idle_peers) {        /* kept for another backend: the one idle for longest goes */
		while ((*last)->next)
			last = &(*last)->next;
		p = *last;
		*last = NULL;
		stream_close(&p->s);
	}
	if (p) {
		p->s.fd = -1;
		p->served = 0;
		p->backend = NULL;
	}
	return p;
}

struct peer *
peer_take(struct backend *b, enum share share)
{
	struct peer *p;

	if (!peer_has_place(share))
		return NULL;
	p = b ? take_idle(b) : NULL;
	if (!p)
		p = take_free();
	if (p) {
		p->share = share;
		busy[share]++;
		lend(p);
	}
	return p;
}

void
peer_close(struct peer *p)
{
	give_back(p);
	stream_close(&p->s);
}

void
peer_release(struct peer *p)
{
	peer_close(p);
	peer_free(p);
}

void
peer_keep(struct peer *p)
{
	give_back(p);
	uncount(p);
	p->served++;
	p->since = now;
	p->next = idle_peers;
	idle_peers = p;
}

unsigned
peers_busy(enum share share)
{
	return busy[share];
}

bool
peer_has_place(enum share share)
{
	return busy[share] < most(conf, share);
}

unsigned
peer_idle_plan(struct pollfd *set, int64_t *due)
{
	unsigned n = 0;

	for (const struct peer *p = idle_peers; p; p = p->next) {
		int64_t end = p->since + conf->timeout[T_KEEP];

		set[n++] = (struct pollfd){ p->s.fd, POLLIN, 0 };
		*due = end < *due ? end : *due;
	}
	return n;
}

/* Whatever an idle backend says, it is not an answer: an end, or something to keep away from. */
void
peer_idle_run(const struct pollfd *set, unsigned n)
{
	struct peer **at = &idle_peers, *p;

	for (unsigned i = 0; i < n && (p = *at); i++) {
		if (!set[i].revents && p->since + conf->timeout[T_KEEP] > now) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		if (CONFIG_SPAWN && p->backend->own && set[i].revents)
			spawn_end(p->backend);
		let_go(p);
	}
}

void
peer_forget(const struct backend *b)
{
	struct peer **at = &idle_peers, *p;

	while ((p = *at)) {
		if (b && p->backend != b) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		let_go(p);
	}
}
