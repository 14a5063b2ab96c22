/* spool.c - a request body whose length is not known goes through an unlinked file, because the backend wants one
 *
 *   client.in --spool_in--> file ... complete: the length goes out ... file --spool_out--> peer.out
 */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* O_TMPFILE, which not every C library knows; the three processors that have other bits make a file with a name. */
enum { NAMELESS = 020000000 | O_DIRECTORY };

int
spool_open(const char *dir)
{
	char name[512];
	struct buf b = buf_on(name, sizeof name - 1);
	int fd = call_open(AT_FDCWD, dir, NAMELESS | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	buf_print(&b, "%s/cubhttpd.%d.%llu", dir, (int)getpid(), (unsigned long long)now);
	name[b.w] = '\0';
	fd = b.bad ? -1 : call_open(AT_FDCWD, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd >= 0)
		unlink(name);
	return fd;
}

/* Chunks out, bytes into the file. */
enum io
spool_in(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf b = buf_on(c->peer->s.in.data, c->peer->s.in.size);
	enum io io = relay(&c->up, &c->client.in, &b);

	if (b.w && call_write(g->spool, b.data, b.w) != (ssize_t)b.w)
		return gateway_fail(c, 507, "the spool is full");
	return io;
}

/* From the file to the backend, as there is room. */
bool
spool_out(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct buf *out = &c->peer->s.out;
	static char store[4096];
	unsigned n = buf_room(out) > 64 ? buf_room(out) - 64 : 0;
	ssize_t got;

	if (!n)
		return false;
	got = pread(g->spool, store, n < sizeof store ? n : sizeof store, g->spool_at);
	if (got < 0)
		return errno == EINTR;
	n = g->dialect->put(out, store, got);
	if (got)
		g->spool_at += n;
	else
		g->spooled = !n;        /* the end mark has gone */
	c->peer->replay = g->sent ? 0 : out->w;
	return n;
}
