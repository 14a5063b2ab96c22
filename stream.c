/* stream.c - the only place where a connection is read or written
 *
 *            in.data                    out.data
 *   read -> [ ... r====w ... ] -> house -> [ ... r====w ... ] -> write
 *
 * A call is made only when poll has said that it is worth it: `readable` and `writable` are poll's word until a
 * short count or EAGAIN takes it back.  Nothing here knows what the bytes mean.
 */
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BACKLOG = 1024, SENDFILE_MOST = 1 << 19, IPV6_FREEBIND_OPTION = 78 };

static void
stream_die(struct stream *s, int error)
{
	s->dead = true;
	s->readable = s->writable = false;
	s->error = error;
}

void
stream_open(struct stream *s, int fd)
{
	s->fd = fd;
	s->readable = s->connecting = s->more = s->eof = s->hung_up = s->shut = s->dead = s->broken = false;
	s->later = s->crowded = s->misplaced = false;
	s->pipes = false;
	s->writable = true;
	s->sealed = 0;
	s->tls = NULL;
	s->error = 0;
}

void
stream_pipes(struct stream *s, int fd, int to)
{
	stream_open(s, fd);
	s->pipes = true;
	s->to = to;
}

void
stream_shut(struct stream *s)
{
	if (CONFIG_TLS && s->tls)
		tls_shut(s);
	if (!s->shut && s->pipes && s->to >= 0)
		call_close(s->to);
	else if (!s->shut && !s->pipes && !s->dead && call_shutdown(s->fd, SHUT_WR) < 0)
		stream_die(s, errno);
	s->shut = true;
}

void
stream_close(struct stream *s)
{
	if (CONFIG_TLS && s->tls)
		tls_close(s);
	if (s->fd >= 0)
		call_close(s->fd);
	if (s->pipes)
		stream_shut(s);
	s->pipes = false;
	s->fd = -1;
	s->readable = s->writable = s->connecting = false;
}

/* The end of a connect() that could not end at once. */
bool
stream_connected(struct stream *s)
{
	int error = 0;
	socklen_t size = sizeof error;

	if (!s->connecting)
		return true;
	if (!s->writable)
		return false;
	if (call_getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	s->connecting = false;
	if (error)
		stream_die(s, error);
	return !error;
}

/* A call that moved nothing says why.  After EINTR too the flag is taken back: poll is asked only about what is not
 * flagged. */
static void
refused(struct stream *s, bool *flag)
{
	*flag = false;
	if (errno != EAGAIN && errno != EINTR)
		stream_die(s, errno);
}

unsigned
stream_send(struct stream *s, const void *p, size_t n)
{
	ssize_t k = s->pipes ? call_write(s->to, p, n) : send(s->fd, p, n, MSG_NOSIGNAL | (s->more ? MSG_MORE : 0));

	if (k == (ssize_t)n)
		return n;
	if (k >= 0)
		s->writable = false;
	else if (s->pipes && errno == EPIPE)
		stream_shut(s);         /* what is read from the other pipe may go on */
	else
		refused(s, &s->writable);
	return k > 0 ? k : 0;
}

unsigned
stream_recv(struct stream *s, void *p, size_t n)
{
	ssize_t k = s->pipes ? call_read(s->fd, p, n) : recv(s->fd, p, n, 0);

	if (k == (ssize_t)n)
		return n;
	s->readable = false;
	if (k > 0)
		return k;
	if (k == 0)
		s->eof = true;
	else
		refused(s, &s->readable);
	return 0;
}

bool
stream_flush(struct stream *s)
{
	unsigned n;

	if (s->dead)
		return false;
	if (CONFIG_GATEWAY && s->connecting && !stream_connected(s))
		return s->dead;
	if (CONFIG_TLS && s->tls)
		return tls_write(s);
	n = stream_send(s, s->out.data + s->out.r, buf_used(&s->out));
	if (n)
		buf_take(&s->out, n);
	return n || s->dead || s->shut;
}

unsigned
stream_peek(struct stream *s)
{
	unsigned room = buf_room(&s->in);
	ssize_t n;

	if (!room || !s->readable || s->eof || s->dead)
		return 0;
	n = recv(s->fd, s->in.data + s->in.w, room, MSG_PEEK);
	if (n == 0)
		s->eof = true;
	if (n < 0)
		refused(s, &s->readable);
	return n > 0 ? (unsigned)n : 0;
}

bool
stream_read_most(struct stream *s, unsigned room)
{
	unsigned n;

	if (!room || !s->readable || s->eof || s->dead)
		return false;
	if (CONFIG_GATEWAY && s->connecting && !stream_connected(s))
		return s->dead;
	n = stream_recv(s, s->in.data + s->in.w, room);
	s->in.w += n;
	return n || s->dead || s->eof;
}

bool
stream_fill(struct stream *s)
{
	return CONFIG_TLS && s->tls ? tls_read(s) : stream_read_most(s, buf_room(&s->in));
}

enum io
stream_sendfile(struct stream *s, int fd, off_t *at, uint64_t n)
{
	size_t asked = n < SENDFILE_MOST ? n : SENDFILE_MOST;
	ssize_t k;

	if (CONFIG_TLS && s->tls)
		return tls_sendfile(s, fd, at, n);
	if (s->dead || !CONFIG_SENDFILE)
		return IO_FAIL;
	if (!s->writable)
		return IO_WAIT;
	k = sendfile(s->fd, fd, at, asked);
	if (k == 0)
		return IO_FAIL;
	if (k < 0)
		refused(s, &s->writable);
	else if ((size_t)k < asked)
		s->writable = false;
	return s->dead ? IO_FAIL : k > 0 ? IO_MOVED : IO_WAIT;
}

int64_t
stream_quiet(const struct stream *s)
{
	struct tcp_info i;
	socklen_t size = sizeof i;

	if (s->fd < 0 || call_getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &i, &size) < 0 ||
	    size < offsetof(struct tcp_info, tcpi_last_ack_recv) + sizeof i.tcpi_last_ack_recv)
		return INT64_MAX;
	return i.tcpi_last_data_sent > i.tcpi_last_ack_recv ? i.tcpi_last_data_sent : i.tcpi_last_ack_recv;
}

static bool
is_tcp(const struct addr *a)
{
	return a->u.any.sa_family != AF_UNIX;
}

static void
option(int fd, int level, int name, int value)
{
	call_setsockopt(fd, level, name, &value, sizeof value);
}

int
stream_dial(const struct addr *a, bool *connecting)
{
	int fd = call_socket(a->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	*connecting = false;
	if (fd < 0)
		return -1;
	if (is_tcp(a))
		option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	if (call_connect(fd, &a->u.any, a->size) == 0)
		return fd;
	if (errno == EINPROGRESS) {
		*connecting = true;
		return fd;
	}
	call_close(fd);
	return -1;
}

/* A socket file whose server is gone keeps the next one from binding. */
static void
remove_stale_socket(const struct addr *a)
{
	struct stat st;
	int fd;

	if (call_stat(AT_FDCWD, a->u.un.sun_path, AT_SYMLINK_NOFOLLOW, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = call_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && call_connect(fd, &a->u.any, a->size) < 0 && errno == ECONNREFUSED)
		unlink(a->u.un.sun_path);
	if (fd >= 0)
		call_close(fd);
}

/* Options that an accepted socket inherits on Linux are set once, here. */
static int
listen_on(const struct addr *a, int v6only)
{
	int fd = call_socket(a->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (is_tcp(a)) {
		option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
		option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);   /* seconds: accept with the first bytes, or after that */
		option(fd, IPPROTO_IP, IP_FREEBIND, 1);
	}
	if (a->u.any.sa_family == AF_INET6) {
		option(fd, IPPROTO_IPV6, IPV6_V6ONLY, v6only);
		option(fd, IPPROTO_IPV6, IPV6_FREEBIND_OPTION, 1);
	}
	if (call_bind(fd, &a->u.any, a->size) == 0 && call_listen(fd, BACKLOG) == 0)
		return fd;
	call_close(fd);
	return -1;
}

APART int
stream_listen(const struct addr *a)
{
	bool any6 = a->u.any.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
	struct addr any4 = { sizeof any4.u.in4, { .in4 = { AF_INET, a->u.in6.sin6_port, { INADDR_ANY }, { 0 } } } };
	int fd;

	if (!is_tcp(a))
		remove_stale_socket(a);
	fd = listen_on(a, !any6);
	if (fd < 0 && any6 && errno == EADDRINUSE)      /* IPv4 is taken, maybe by a listen line of its own */
		fd = listen_on(a, true);
	if (fd < 0 && any6 && errno == EAFNOSUPPORT)    /* a kernel without IPv6 */
		fd = listen_on(&any4, false);
	return fd;
}
