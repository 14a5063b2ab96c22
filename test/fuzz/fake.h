/* fake.h - sockets without a kernel, for conn.c: what the server calls is answered here, the same each time
 *
 *      actor (client or backend)                         server
 *   script --> in[ ... r====w ... ] -- recv, poll, epoll_wait -->
 *          <-- take(), while room lasts -- send, sendfile ------
 *
 * Calls reach this page because the program is linked with --wrap.  Descriptors from FAKE_FD on are ours, all others
 * go to the kernel.  What a call may do wrong it does by the odds of the input: short counts, EAGAIN, EINTR, files
 * that shrink, a full disk, no memory.  Using a descriptor that is not open, or waiting on one, ends the program.
 */
#ifndef FAKE_H
#define FAKE_H

#include "fuzz.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

enum { EPOLL_FD = 1 << 20, FAKE_FD, ENDS = 64, QUEUE = 1 << 15, PORT_FIRST = 1000, ROOM = 30000 };

struct end {                            /* a socket of the server's, and what lies on the way to and from it */
	bool used, open;                /* somebody has a side of it; the server has its side */
	bool backend, waiting;          /* dialled, not accepted; not accepted yet */
	bool connecting;
	bool fin, reset, deaf;          /* of the actor: sends no more; gone with a reset; reads no more */
	bool told;                      /* the server has been told of the reset */
	bool shut, closed, hard;        /* of the server: sends no more; closed; closed with a reset */
	bool linger0;
	bool watched, armed;            /* known to epoll; to be reported */
	int connect_error;              /* what SO_ERROR says, once */
	int actor;
	epoll_data_t data;
	unsigned room;                  /* bytes that the actor still takes */
	unsigned r, w;
	char in[QUEUE];
};

static struct end ends[ENDS];
static unsigned long moves;             /* calls that changed something: without them the server spins */

/* What conn.c does with bytes from the server, and when the server dials: 0, or the errno of connect(). */
static void take(struct end *, const char *, unsigned n);
static int dialled(struct end *);

/* -- odds ---------------------------------------------------------------------------------------- */

enum {
	SHORT_READ = 1, SHORT_WRITE = 2, AGAIN_READ = 4, AGAIN_WRITE = 8, INTERRUPT = 16, POLL_INTERRUPT = 32,
	SHRINK = 64, DISK_FULL = 128, NO_MEMORY = 256, NO_FILES = 512, STARTING = 1024,
};

static struct { unsigned kinds; uint32_t state; } odds;

static unsigned
chance(unsigned below)
{
	odds.state ^= odds.state << 13;
	odds.state ^= odds.state >> 17;
	odds.state ^= odds.state << 5;
	return odds.state % below;
}

static bool
fault(unsigned kind, unsigned one_in)
{
	return (odds.kinds & kind) && chance(one_in) == 0;
}

static int
fail_with(int error)
{
	errno = error;
	return -1;
}

/* -- ends ------------------------------------------------------------------------------------------ */

static struct end *
end_new(bool backend)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *e = &ends[i];

		if (e->used)
			continue;
		memset(e, 0, offsetof(struct end, in));
		e->used = true;
		e->backend = backend;
		e->room = ROOM;
		e->actor = -1;
		return e;
	}
	return NULL;
}

static struct end *
end_of(int fd)
{
	HOLDS(fd >= FAKE_FD && fd < FAKE_FD + ENDS && ends[fd - FAKE_FD].open);
	return &ends[fd - FAKE_FD];
}

static int
fd_of(const struct end *e)
{
	return FAKE_FD + (int)(e - ends);
}

static unsigned
end_room(struct end *e)
{
	if (e->r == e->w)
		e->r = e->w = 0;
	return e->fin || e->reset || e->closed ? QUEUE : QUEUE - e->w;
}

/* Bytes from the actor; they vanish when nobody reads them any more. */
static void
end_say(struct end *e, const void *p, unsigned n)
{
	if (e->fin || e->reset || e->closed)
		return;
	HOLDS(n <= QUEUE - e->w);
	if (n)
		memcpy(e->in + e->w, p, n);
	e->w += n;
	moves++;
}

static void
end_reset(struct end *e)
{
	e->reset = true;
	moves++;
}

static short
end_ready(const struct end *e)
{
	short events = 0;

	if (e->connecting)
		return 0;
	if (e->reset || e->connect_error)
		return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP;
	if (e->r < e->w || e->fin)
		events |= POLLIN;
	if (e->fin)
		events |= POLLRDHUP;
	if (e->fin && (e->shut || e->deaf))
		events |= POLLHUP;
	if (e->room || e->shut || e->deaf)
		events |= POLLOUT;
	return events;
}

/* A descriptor that was closed, but a program that is just starting has it for a moment more: epoll tells of it. */
static struct { bool told; epoll_data_t data; } held;

static bool
epoll_ready(const struct end *e)
{
	return e->watched && e->armed && (end_ready(e) & (POLLIN | POLLRDHUP | POLLHUP | POLLERR));
}

static bool
any_waits(void)
{
	for (unsigned i = 0; i < ENDS; i++)
		if (ends[i].used && ends[i].waiting)
			return true;
	return false;
}

static int
fake_poll(struct pollfd *set, unsigned n)
{
	int ready = 0;

	for (unsigned i = 0; i < n; i++) {
		set[i].revents = 0;
		if (set[i].fd == EPOLL_FD) {
			set[i].revents = held.told ? POLLIN : 0;
			for (unsigned k = 0; k < ENDS; k++)
				if (ends[k].open && epoll_ready(&ends[k]))
					set[i].revents = POLLIN;
		} else if (set[i].fd >= 0) {
			set[i].revents = end_ready(end_of(set[i].fd)) & (set[i].events | POLLERR | POLLHUP);
		}
		ready += set[i].revents != 0;
	}
	return ready;
}

/* -- the calls ------------------------------------------------------------------------------------- */

int __real_call_close(int);
ssize_t __real_pread(int, void *, size_t, off_t);
ssize_t __real_call_write(int, const void *, size_t);
int __wrap_call_close(int);
int __wrap_call_connect(int, const struct sockaddr *, socklen_t);
int __wrap_call_epoll_create1(int);
int __wrap_call_epoll_ctl(int, int, int, struct epoll_event *);
int __wrap_call_epoll_wait(int, struct epoll_event *, int, int);
int __wrap_call_getsockname(int, struct sockaddr *, socklen_t *);
int __wrap_call_getsockopt(int, int, int, void *, socklen_t *);
ssize_t __wrap_pread(int, void *, size_t, off_t);
ssize_t __wrap_recv(int, void *, size_t, int);
ssize_t __wrap_send(int, const void *, size_t, int);
ssize_t __wrap_sendmsg(int, const struct msghdr *, int);
ssize_t __wrap_sendfile(int, int, off_t *, size_t);
int __wrap_call_setsockopt(int, int, int, const void *, socklen_t);
int __wrap_call_shutdown(int, int);
int __wrap_call_socket(int, int, int);
ssize_t __wrap_call_write(int, const void *, size_t);

static void
put_address(struct sockaddr *to, socklen_t *size, unsigned port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(0x7f000001) } };

	memcpy(to, &in, *size < sizeof in ? *size : sizeof in);
	*size = sizeof in;
}

/* accept(), which httpd.c does: -1 for nobody, or no descriptor left. */
static int
fake_accept(struct addr *a)
{
	for (unsigned i = 0; i < ENDS; i++) {
		struct end *e = &ends[i];

		if (!e->used || !e->waiting || fault(NO_FILES, 4))
			continue;
		e->waiting = false;
		e->open = true;
		moves++;
		a->size = sizeof a->u;
		put_address(&a->u.any, &a->size, PORT_FIRST + e->actor);
		a->u.in4.sin_addr.s_addr += htonl(e->actor & 1);        /* of two clients: none may have every place */
		return fd_of(e);
	}
	return -1;
}

int
__wrap_call_socket(int family, int type, int protocol)
{
	struct end *e;

	HOLDS(type == (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC) && !protocol && family != AF_UNSPEC);
	e = fault(NO_FILES, 4) ? NULL : end_new(true);
	if (!e)
		return fail_with(EMFILE);
	e->open = true;
	return fd_of(e);
}

int
__wrap_call_connect(int fd, const struct sockaddr *a, socklen_t size)
{
	struct end *e = end_of(fd);
	int error;

	HOLDS(e->backend && e->actor < 0 && a && size);
	moves++;
	error = dialled(e);
	return error ? fail_with(error) : 0;
}

int
__wrap_call_close(int fd)
{
	struct end *e;

	if (fd < EPOLL_FD)
		return __real_call_close(fd);
	e = end_of(fd);
	if (e->watched && e->armed && fault(STARTING, 2)) {
		held.told = true;
		held.data = e->data;
	}
	e->open = e->watched = e->armed = false;
	e->closed = true;
	e->hard = e->linger0 || e->r < e->w;
	if (e->actor < 0)
		e->used = false;        /* dialled in vain: nobody else knows it */
	moves++;
	return 0;
}

int
__wrap_call_shutdown(int fd, int how)
{
	struct end *e = end_of(fd);

	HOLDS(how == SHUT_WR);
	if (e->reset)
		return fail_with(ENOTCONN);
	e->shut = true;
	moves++;
	return 0;
}

int
__wrap_call_getsockname(int fd, struct sockaddr *a, socklen_t *size)
{
	end_of(fd);
	put_address(a, size, 80);
	return 0;
}

int
__wrap_call_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	struct end *e = end_of(fd);

	if (level == IPPROTO_TCP && name == TCP_INFO) {         /* nothing is known: what stalls is given up */
		errno = EOPNOTSUPP;
		return -1;
	}
	HOLDS(level == SOL_SOCKET && name == SO_ERROR && *size == sizeof (int));
	memcpy(value, &e->connect_error, sizeof e->connect_error);
	moves += e->connect_error != 0;
	e->connect_error = 0;
	return 0;
}

int
__wrap_call_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	struct end *e = end_of(fd);

	if (level == SOL_SOCKET && name == SO_LINGER) {
		HOLDS(size == sizeof (struct linger) && !((const struct linger *)value)->l_linger);
		e->linger0 = true;
	}
	return 0;
}

/* The error that a reset leaves behind is told once. */
static int
gone(struct end *e, int later)
{
	bool first = !e->told;

	e->told = true;
	moves += first;
	return first ? fail_with(ECONNRESET) : later ? fail_with(later) : 0;
}

ssize_t
__wrap_recv(int fd, void *to, size_t n, int flags)
{
	struct end *e = end_of(fd);
	unsigned there = e->w - e->r;

	HOLDS(!(flags & ~(MSG_PEEK | MSG_DONTWAIT)) && n && !e->connecting);
	if (fault(INTERRUPT, 4))
		return fail_with(EINTR);
	if (!there && e->reset)
		return gone(e, 0);
	if (!there && e->fin)
		return 0;
	if (!there || fault(AGAIN_READ, 4))
		return fail_with(EAGAIN);
	n = n < there ? n : there;
	if (fault(SHORT_READ, 2))
		n = 1 + chance(n);
	memcpy(to, e->in + e->r, n);
	if (flags & MSG_PEEK)
		return n;
	e->r += n;
	moves++;
	return n;
}

/* How many of n bytes may go now; -1 with errno. */
static ssize_t
may_send(struct end *e, size_t n)
{
	HOLDS(n && !e->connecting);
	HOLDS(!e->shut);
	if (fault(INTERRUPT, 4))
		return fail_with(EINTR);
	if (e->reset)
		return gone(e, EPIPE);
	if (e->deaf)
		return fail_with(EPIPE);
	if (!e->room || fault(AGAIN_WRITE, 4))
		return fail_with(EAGAIN);
	n = n < e->room ? n : e->room;
	return fault(SHORT_WRITE, 2) ? 1 + chance(n) : n;
}

static void
sent(struct end *e, const char *p, unsigned n)
{
	e->room -= n;
	moves++;
	take(e, p, n);
}

ssize_t
__wrap_send(int fd, const void *p, size_t n, int flags)
{
	struct end *e = end_of(fd);
	ssize_t may = may_send(e, n);

	HOLDS(flags & MSG_NOSIGNAL);
	if (may > 0)
		sent(e, p, may);
	return may;
}

ssize_t
__wrap_sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct end *e = end_of(fd);
	size_t n = 0;
	ssize_t may, left;

	HOLDS(flags & MSG_NOSIGNAL);
	for (size_t i = 0; i < m->msg_iovlen; i++)
		n += m->msg_iov[i].iov_len;
	left = may = may_send(e, n);
	for (size_t i = 0; i < m->msg_iovlen && left > 0; i++) {
		size_t k = (size_t)left < m->msg_iov[i].iov_len ? (size_t)left : m->msg_iov[i].iov_len;

		sent(e, m->msg_iov[i].iov_base, k);
		left -= k;
	}
	return may;
}

ssize_t
__wrap_sendfile(int fd, int file, off_t *at, size_t n)
{
	static char store[ROOM];
	struct end *e = end_of(fd);
	ssize_t may = may_send(e, n), got;

	if (may <= 0)
		return may;
	got = fault(SHRINK, 8) ? 0 : __real_pread(file, store, may, *at);
	if (got <= 0)
		return got;
	*at += got;
	sent(e, store, got);
	return got;
}

ssize_t
__wrap_pread(int fd, void *to, size_t n, off_t at)
{
	return __real_pread(fd, to, n && fault(SHRINK, 8) ? chance(n) : n, at);
}

ssize_t
__wrap_call_write(int fd, const void *p, size_t n)
{
	if (fd > STDERR_FILENO && fault(DISK_FULL, 8))
		return fail_with(ENOSPC);
	return __real_call_write(fd, p, n);
}

int
__wrap_call_epoll_create1(int flags)
{
	HOLDS(flags == EPOLL_CLOEXEC);
	return EPOLL_FD;
}

int
__wrap_call_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
	struct end *e = end_of(fd);

	HOLDS(epoll == EPOLL_FD && (what == EPOLL_CTL_ADD) == !e->watched);
	if (what == EPOLL_CTL_DEL) {
		e->watched = e->armed = false;
		return 0;
	}
	HOLDS(event->events == (EPOLLIN | EPOLLRDHUP | EPOLLONESHOT));
	if (fault(NO_MEMORY, 4))
		return fail_with(ENOMEM);
	e->watched = e->armed = true;
	e->data = event->data;
	return 0;
}

int
__wrap_call_epoll_wait(int epoll, struct epoll_event *out, int most, int wait)
{
	int n = 0;

	HOLDS(epoll == EPOLL_FD && !wait);
	if (fault(INTERRUPT, 4))
		return fail_with(EINTR);
	if (most <= 0)
		return fail_with(EINVAL);
	if (held.told) {
		held.told = false;
		out[n++] = (struct epoll_event){ EPOLLIN, held.data };
	}
	for (unsigned i = 0; i < ENDS && n < most; i++) {
		if (!ends[i].open || !epoll_ready(&ends[i]))
			continue;
		ends[i].armed = false;
		out[n++] = (struct epoll_event){ EPOLLIN, ends[i].data };
		moves++;
	}
	return n;
}

#endif
