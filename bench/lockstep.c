/* lockstep.c - clients that all ask at once, and again when all have been answered
 *
 *     lockstep PORT PATH CONNECTIONS ROUNDS
 *
 * A client that never rests, such as wrk, and a server that is faster than it come to terms: the server finds fewer
 * requests at a time the faster it is, and what it saves in each goes into more turns.  Here it finds the same ones each
 * time, whoever it is.  The length of the first answer is that of all.  For measuring only.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { CONNECTIONS = 256 };

static char in[1 << 20];
static size_t whole;                    /* bytes of an answer; 0: not known yet */

static int
dial(int port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	a.sin_port = htons((uint16_t)port);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
		exit(1);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static int
number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

/* From the n bytes that have come of the first answer, its head at least; in[n] is 0. */
static size_t
length(size_t n)
{
	static const char field[] = "\r\nContent-Length: ";
	const char *body = memmem(in, n, "\r\n\r\n", 4), *value = strcasestr(in, field);

	if (strncmp(in, "HTTP/1.1 200", 12) || !body || !value || value > body)
		exit(1);
	return (size_t)(body + 4 - in) + strtoul(value + strlen(field), NULL, 10);
}

static void
take(int fd)
{
	size_t n = 0;

	do {
		ssize_t k = recv(fd, in + n, sizeof in - 1 - n, 0);

		if (k <= 0)
			exit(1);
		n += (size_t)k;
		in[n] = 0;
		if (!whole)
			whole = length(n);
	} while (n < whole);
}

int
main(int argc, char **argv)
{
	static int fd[CONNECTIONS];
	char request[256];
	int n, size;

	if (argc != 5)
		return 2;
	n = number(argv[3]);
	if (n < 1 || n > CONNECTIONS)
		return 2;
	size = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", argv[2]);
	for (int i = 0; i < n; i++)
		fd[i] = dial(number(argv[1]));
	for (int round = number(argv[4]); round > 0; round--) {
		for (int i = 0; i < n; i++)
			if (send(fd[i], request, (size_t)size, MSG_NOSIGNAL) != size)
				return 1;
		for (int i = 0; i < n; i++)
			take(fd[i]);
	}
	return 0;
}
