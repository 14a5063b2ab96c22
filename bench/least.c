/* least.c - the least that a server around poll() can do for the same answers
 *
 *     least PORT SITE [SOCKET]
 *
 * Whatever a server adds to this is its own; what this takes is nearly all the kernel's.  One client after the other is
 * served, scripts too, so that it is no bound for those.  It looks at nothing but the path, asks nothing of the file system while it answers, knows four paths and no
 * errors, and has never heard of HTTP.  What a client asks of /p goes to SOCKET as it came, by a connection of the client's
 * own, and what comes back goes to the client in the pieces in which it came.  For measuring only.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENTS = 256, SMALL = 16384 };

/* What is answered: a head with a small file behind it, or one that a file follows. */
static struct answer { const char *path; char text[SMALL + 512]; size_t size, file_size; int file; } answers[] = {
	{ .path = "/100.txt" }, { .path = "/10k.txt" }, { .path = "/1m.bin" },
};

static const char PROGRAM[] = "/cgi-bin/hello", PROXIED[] = "/p/";

static struct pollfd set[CLIENTS];
static struct client { const struct answer *answer; size_t sent; unsigned other; } clients[CLIENTS];
static unsigned count = 1;
static const char *backend;

static void
prepare(struct answer *a, const char *site)
{
	char name[4096];
	struct stat st;

	snprintf(name, sizeof name, "%s%s", site, a->path);
	a->file = open(name, O_RDONLY);
	if (a->file < 0 || fstat(a->file, &st) < 0)
		exit(1);
	a->size = (size_t)snprintf(a->text, sizeof a->text, "HTTP/1.1 200 OK\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
	    "Content-Type: text/plain\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\nETag: \"655402b0-64\"\r\n"
	    "Accept-Ranges: bytes\r\nContent-Length: %lld\r\n\r\n", (long long)st.st_size);
	if (st.st_size <= SMALL)
		a->size += (size_t)read(a->file, a->text + a->size, SMALL);
	else
		a->file_size = (size_t)st.st_size;
}

/* A pipe, a process, its output behind what the program leaves to a server, its end. */
static void
run(int client, const char *site)
{
	static char name[4096];
	char *const argv[] = { name, NULL }, *const envp[] = { NULL };
	char text[4096] = "HTTP/1.1 200 OK\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\nContent-Length: 13\r\n";
	size_t size = strlen(text);
	int out[2];
	pid_t child;
	ssize_t n;

	snprintf(name, sizeof name, "%s%s", site, PROGRAM);
	if (pipe2(out, O_CLOEXEC) < 0)
		exit(1);
	child = vfork();
	if (!child) {
		dup2(out[1], 1);
		execve(name, argv, envp);
		_exit(127);
	}
	close(out[1]);
	while ((n = read(out[0], text + size, sizeof text - size)) > 0)
		size += (size_t)n;
	close(out[0]);
	waitpid(child, NULL, 0);
	send(client, text, size, 0);
}

static unsigned
add(int fd, unsigned other)
{
	unsigned i = 1;

	while (i < count && set[i].fd >= 0)
		i++;
	if (fd < 0 || i == CLIENTS)
		exit(1);
	clients[i] = (struct client){ NULL, 0, other };
	set[i] = (struct pollfd){ fd, POLLIN, 0 };
	count += i == count;
	return i;
}

/* The connection to the backend that belongs to this client. */
static unsigned
other(unsigned i)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	if (!clients[i].other) {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		snprintf(a.sun_path, sizeof a.sun_path, "%s", backend);
		if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
			exit(1);
		clients[i].other = add(fd, i);
	}
	return clients[i].other;
}

/* False when the client has gone. */
static bool
serve(unsigned i, const char *site)
{
	struct client *c = &clients[i];
	static char in[SMALL];
	ssize_t n = 1;

	if (!c->answer) {
		n = recv(set[i].fd, in, sizeof in, 0);
		if (n <= 4)
			return false;
		if (backend && (c->other || !memcmp(in + 4, PROXIED, sizeof PROXIED - 1)))
			return send(set[other(i)].fd, in, (size_t)n, MSG_NOSIGNAL) == n;
		if (!memcmp(in + 4, PROGRAM, sizeof PROGRAM - 1)) {
			run(set[i].fd, site);
			return true;
		}
		for (unsigned k = 0; k < sizeof answers / sizeof *answers; k++)
			if (!memcmp(in + 4, answers[k].path, strlen(answers[k].path)))
				c->answer = &answers[k];
		if (!c->answer)
			return false;
		n = send(set[i].fd, c->answer->text, c->answer->size, c->answer->file_size ? MSG_MORE : 0);
		c->sent = 0;
	}
	if (c->answer->file_size) {
		off_t at = (off_t)c->sent;

		n = sendfile(set[i].fd, c->answer->file, &at, c->answer->file_size - c->sent);
		c->sent = (size_t)at;
	}
	set[i].events = POLLIN;
	if (c->sent < c->answer->file_size)
		set[i].events = POLLOUT;
	else
		c->answer = NULL;
	return n > 0 || errno == EAGAIN;
}

static void
welcome(int listener)
{
	int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	add(fd, 0);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* One has gone, and with it who was behind it. */
static void
part(unsigned i)
{
	for (unsigned k = clients[i].other; i; i = k, k = 0) {
		close(set[i].fd);
		set[i].fd = -1;
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (argc != 3 && argc != 4)
		return 2;
	backend = argv[3];
	signal(SIGPIPE, SIG_IGN);
	for (unsigned i = 0; i < sizeof answers / sizeof *answers; i++)
		prepare(&answers[i], argv[2]);
	a.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, 128) < 0)
		return 1;
	set[0] = (struct pollfd){ listener, POLLIN, 0 };
	while (poll(set, count, -1) > 0) {
		if (set[0].revents)
			welcome(listener);
		for (unsigned i = count; --i; ) {
			if (set[i].fd < 0 || !set[i].revents || serve(i, argv[2]))
				continue;
			part(i);
		}
	}
	return 1;
}
