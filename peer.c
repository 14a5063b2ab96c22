/* peer.c - connections to backends: so many places, and those that are kept
 *
 *   free  --peer_take-->  in use, with buffers  --peer_keep-->  idle, without  --peer_take--> ...
 *         <-----------------peer_release-----'
 *
 * An idle connection is polled, so that one the backend closes is gone before anybody takes it.
 */
#include "gateway.h"

#include <string.h>

static unsigned
places(const struct conf *cf)
{
	return cf->scripts;
}

struct pool peer_pool = { "backend connections", sizeof (struct peer), places, NULL, 0 };
struct pool peer_lent_pool = { "their buffers", sizeof (struct peer_lent), places, NULL, 0 };

static struct peer *idle_peers, *free_peers;    /* last used first */
static struct peer_lent *free_lent;
static unsigned fresh, fresh_lent;

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

void
peer_free(struct peer *p)
{
	p->next = free_peers;
	free_peers = p;
}

static void
release(struct peer *p)
{
	stream_close(&p->s);
	peer_free(p);
}

struct peer *
peer_at(unsigned i)
{
	return i < fresh ? (struct peer *)(void *)peer_pool.at + i : NULL;
}

/* An idle connection to one of these, the last used first; else a place without connection; NULL for none. */
static struct peer *
take_idle(const struct backend *b)
{
	for (struct peer **at = &idle_peers, *p; (p = *at); at = &p->next)
		for (const struct backend *k = b; k; k = k->next)
			if (p->backend == k) {
				*at = p->next;
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
	}
	return p;
}

struct peer *
peer_take(const struct backend *backends)
{
	struct peer *p = take_idle(backends);

	if (!p)
		p = take_free();
	if (p)
		lend(p);
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
	p->served++;
	p->since = now;
	p->next = idle_peers;
	idle_peers = p;
}

bool
peer_has_place(void)
{
	return idle_peers || free_peers || fresh < peer_pool.n;
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
		release(p);
	}
}

void
peer_flush(void)
{
	struct peer *p;

	while ((p = idle_peers)) {
		idle_peers = p->next;
		release(p);
	}
}
