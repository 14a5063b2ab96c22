/* park.c - connections asleep: a descriptor and forty bytes each, behind one descriptor of the poll set
 *
 *   oldest <-> ... <-> newest        a list through the places; 0 is its anchor
 *
 * A sleeper is watched by an epoll descriptor, which poll() watches in turn: a thousand of them cost poll nothing.
 * EPOLLONESHOT disarms a sleeper as it wakes, so a busy connection wakes nobody, and one call puts it back.
 * Where there is no epoll, each sleeper stands in the poll set itself.
 */
#include "tls.h"

#include <assert.h>
#include <sys/epoll.h>

enum { PEEKS_MAX = 64 };         /* sleepers that are looked at for one that may go */

static unsigned
places(const struct conf *cf)
{
	return cf->parked + 1;
}

struct pool park_pool = { "parked clients", sizeof (struct parked), places, NULL, 0 };

static struct { int epoll; unsigned count, fresh, free; } lot = { -1, 0, 1, 0 };        /* free: chained by next */

static struct parked *
place(unsigned i)
{
	return (struct parked *)(void *)park_pool.at + i;
}

bool
park_open(void)
{
	if (CONFIG_EPOLL)
		lot.epoll = call_epoll_create1(EPOLL_CLOEXEC);
	return lot.epoll >= 0;
}

unsigned
park_count(void)
{
	return lot.count;
}

bool
park_full(void)
{
	return lot.count + 1 >= park_pool.n;
}

/* Out of the list; the descriptor is the caller's. */
static void
leave(unsigned i)
{
	struct parked *p = place(i);

	place(p->prev)->next = p->next;
	place(p->next)->prev = p->prev;
	p->fd = -1;
	p->next = lot.free;
	lot.free = i;
	lot.count--;
}

static void
hang_up(const struct parked *p)
{
	if (CONFIG_TLS && p->tls)
		tls_hang_up(p->tls, p->fd);
	call_close(p->fd);
}

/* A program that is just starting may hold its descriptor for a moment more: nothing is to be told of it. */
static void
forget(const struct parked *p)
{
	struct epoll_event e = { 0, { .u32 = 0 } };     /* old kernels want one */

	if (lot.epoll >= 0 && p->watched)
		call_epoll_ctl(lot.epoll, EPOLL_CTL_DEL, p->fd, &e);
}

static void
drop(unsigned i)
{
	forget(place(i));
	hang_up(place(i));
	leave(i);
}

bool
park_drop_oldest(void)
{
	if (!lot.count)
		return false;
	drop(place(0)->next);
	return true;
}

/* It waits for its turn with a request. */
static bool
has_spoken(const struct parked *p)
{
	char byte;

	return recv(p->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* A place for one more: the oldest that has nothing to say goes, or the oldest of all. */
static bool
make_room(void)
{
	unsigned i = place(0)->next, tries = 0;

	while (i && tries++ < PEEKS_MAX && has_spoken(place(i)))
		i = place(i)->next;
	if (!i || tries > PEEKS_MAX)
		return park_drop_oldest();
	drop(i);
	return true;
}

static unsigned
take_place(void)
{
	unsigned i = lot.free;

	if (i)
		lot.free = place(i)->next;
	else
		i = lot.fresh++;
	assert(i < park_pool.n);
	return i;
}

/* False when the kernel has no memory for it: then the connection cannot sleep. */
static bool
watch(struct parked *p, unsigned i)
{
	struct epoll_event e = { EPOLLIN | EPOLLRDHUP | EPOLLONESHOT, { .u32 = i } };

	if (lot.epoll < 0)
		return true;
	if (call_epoll_ctl(lot.epoll, p->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, p->fd, &e) < 0)
		return false;
	p->watched = true;
	return true;
}

void
park_put(const struct parked *from)
{
	struct parked *p;
	unsigned i;

	if (park_full() && !make_room()) {
		hang_up(from);
		return;
	}
	i = take_place();
	p = place(i);
	*p = *from;
	p->prev = place(0)->prev;
	p->next = 0;
	place(p->prev)->next = i;
	place(0)->prev = i;
	lot.count++;
	if (!watch(p, i))
		drop(i);
}

int64_t
park_due(void)
{
	if (!lot.count)
		return INT64_MAX;
	return ((int64_t)place(place(0)->next)->since << PARK_BITS) + conf->timeout[T_IDLE];
}

void
park_expire(void)
{
	while (park_due() <= now)
		park_drop_oldest();
}

unsigned
park_plan(struct pollfd *set)
{
	unsigned n = 0;

	if (!lot.count)
		return 0;
	if (lot.epoll >= 0) {
		set[0] = (struct pollfd){ lot.epoll, POLLIN, 0 };
		return 1;
	}
	for (unsigned i = place(0)->next; i; i = place(i)->next)
		set[n++] = (struct pollfd){ place(i)->fd, POLLIN, 0 };
	return n;
}

static unsigned
wake_by_epoll(struct parked *out, unsigned most)
{
	struct epoll_event e[16];
	int n = call_epoll_wait(lot.epoll, e, most < 16 ? most : 16, 0);

	for (int i = 0; i < n; i++) {
		out[i] = *place(e[i].data.u32);
		leave(e[i].data.u32);
	}
	return n > 0 ? n : 0;
}

unsigned
park_wake(const struct pollfd *set, unsigned n, struct parked *out, unsigned most)
{
	unsigned woken = 0, i = place(0)->next;

	if (lot.epoll >= 0)
		return n && set[0].revents ? wake_by_epoll(out, most) : 0;
	for (unsigned k = 0, next; k < n && i && woken < most; k++, i = next) {
		next = place(i)->next;
		if (place(i)->fd != set[k].fd || !set[k].revents)
			continue;
		out[woken++] = *place(i);
		leave(i);
	}
	return woken;
}
