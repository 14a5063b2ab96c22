/* responder.c - the FastCGI or SCGI program behind the servers that are measured: it costs as little as it can
 *
 *   responder SOCKET [scgi]
 *
 * listens on the unix socket, says "ready" on its standard output, and answers every request, once its body has
 * ended, with a head, one line that says how many bytes of body came, and points up to 100 bytes.  No length is
 * given, as PHP gives none.  Connections are kept when the server asks for it; SCGI knows no such thing.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS = 256, ROOM = 65536 + 512, CONTENT = 100 };
enum { BEGIN = 1, ABORT = 2, END = 3, STDIN = 5, STDOUT = 6 };

struct client {
	unsigned n;                     /* bytes in data */
	bool keep;
	uint64_t body;
	unsigned char data[ROOM];
};

static const char head[] = "Content-Type: text/plain\r\n\r\n";
static bool scgi;
static struct client clients[CLIENTS];
static struct pollfd polled[CLIENTS + 1];       /* the last one listens */

static unsigned char *
record(unsigned char *to, int type, unsigned size)
{
	const unsigned char head[8] = { 1, type, 0, 1, size >> 8, size, 0, 0 };

	memcpy(to, head, 8);
	return to + 8;
}

/* Head and content, and what follows them. */
static unsigned char *
text(unsigned char *p, uint64_t body)
{
	unsigned i = 24;

	memcpy(p, head, sizeof head - 1);
	p += sizeof head - 1;
	memset(p, '.', CONTENT);
	do
		p[--i] = '0' + body % 10;
	while (body /= 10);
	p[CONTENT - 1] = '\n';
	return p + CONTENT;
}

static bool
answer(int fd, uint64_t body)
{
	unsigned char out[256], *p = text(record(out, STDOUT, sizeof head - 1 + CONTENT), body);

	p = record(p, STDOUT, 0);
	p = record(p, END, 8);
	memset(p, 0, 8);
	p += 8;
	return write(fd, out, p - out) == p - out;
}

/* One whole record; false when the connection has to be closed. */
static bool
take(struct client *c, int fd, const unsigned char *r, unsigned content)
{
	if (r[1] == BEGIN) {
		c->keep = r[10] & 1;
		c->body = 0;
	} else if (r[1] == ABORT) {
		return false;
	} else if (r[1] == STDIN) {
		c->body += content;
		return content || (answer(fd, c->body) && c->keep);
	}
	return true;
}

/* A netstring that begins with CONTENT_LENGTH, and the body; false when all has come and was answered. */
static bool
serve_scgi(struct client *c, int fd)
{
	ssize_t got = read(fd, c->data + c->n, ROOM - c->n);
	unsigned char out[256], *colon;
	uint64_t wanted;

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	c->n += got;
	colon = memchr(c->data, ':', c->n);
	if (!colon || c->data + c->n - colon < 32)
		return true;
	wanted = strtoull((char *)c->data, NULL, 10) + (uint64_t)(colon - c->data) + 2;
	c->body = strtoull((char *)colon + sizeof "CONTENT_LENGTH" + 1, NULL, 10);
	if (c->n < wanted + c->body)
		return true;
	return write(fd, out, text(out, c->body) - out) < 0;
}

static bool
serve(struct client *c, int fd)
{
	ssize_t got = read(fd, c->data + c->n, ROOM - c->n);
	unsigned at = 0, content;

	if (got <= 0)
		return got < 0 && errno == EAGAIN;
	c->n += got;
	while (c->n - at >= 8) {
		const unsigned char *r = c->data + at;

		content = r[4] << 8 | r[5];
		if (c->n - at < 8 + content + r[6])
			break;
		if (!take(c, fd, r, content))
			return false;
		at += 8 + content + r[6];
	}
	memmove(c->data, c->data + at, c->n - at);
	c->n -= at;
	return true;
}

static void
take_connection(int listening)
{
	int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK), i;

	for (i = 0; fd >= 0 && i < CLIENTS; i++) {
		if (polled[i].fd < 0) {
			polled[i].fd = fd;
			clients[i].n = 0;
			return;
		}
	}
	if (fd >= 0)
		close(fd);
}

int
main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int listening = socket(AF_UNIX, SOCK_STREAM, 0), i;

	signal(SIGPIPE, SIG_IGN);
	scgi = argc == 3;
	if (argc < 2 || argc > 3 || strlen(argv[1]) >= sizeof addr.sun_path)
		return 2;
	memcpy(addr.sun_path, argv[1], strlen(argv[1]) + 1);
	if (bind(listening, (struct sockaddr *)&addr, sizeof addr) || listen(listening, 512))
		return 1;
	for (i = 0; i <= CLIENTS; i++)
		polled[i] = (struct pollfd){ .fd = i < CLIENTS ? -1 : listening, .events = POLLIN };
	if (write(1, "ready\n", 6) != 6)
		return 1;
	while (poll(polled, CLIENTS + 1, -1) > 0 || errno == EINTR) {
		for (i = 0; i < CLIENTS; i++) {
			if (polled[i].fd >= 0 && polled[i].revents &&
			    !(scgi ? serve_scgi : serve)(&clients[i], polled[i].fd)) {
				close(polled[i].fd);
				polled[i].fd = -1;
			}
		}
		if (polled[CLIENTS].revents)
			take_connection(listening);
	}
	return 1;
}
