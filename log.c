/* log.c - what happened: errors with a level, and a line a request
 *
 * An error line says whom and what it is about, when there is somebody: 192.168.1.7 "GET /x HTTP/1.1": why.
 * An access line is the combined format, then milliseconds, the route's word, and why it ended early:
 *   192.168.1.7 - - [23/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 512 "-" "curl/7.88.1" 3 file -
 * Text from the network is escaped: no byte of it can end a line or a quotation.
 */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum { LINE_MOST = 200, REFERER_MOST = 200, AGENT_MOST = 200, FACILITY_DAEMON = 3 << 3 };

struct conn *log_about;

static int error_fd = STDERR_FILENO, access_fd = -1, syslog_fd = -1;
static enum log_target error_to = TO_STDERR, access_to = TO_NOWHERE;
static enum level most = LOG_INFO;

static char access_store[8192], line_store[2048];
static struct buf lines = { access_store, 0, 0, sizeof access_store, false };

/* -- where to ---------------------------------------------------------------------------------------- */

static bool
open_target(const struct conf *cf, enum log_target to, const char *path, int *fd)
{
	*fd = to == TO_STDERR ? STDERR_FILENO : -1;
	if (to != TO_FILE)
		return true;
	*fd = call_open(AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (*fd < 0) {
		log_line(LOG_ERROR, "cannot open the log %s: %s", path, error_text(errno));
		return false;
	}
	if (cf->user && geteuid() == 0 && call_chown(*fd, cf->uid, cf->gid) < 0)
		log_line(LOG_WARN, "%s stays with root: %s", path, error_text(errno));
	return true;
}

static void
close_target(int fd)
{
	if (fd > STDERR_FILENO)
		call_close(fd);
}

bool
log_open(const struct conf *cf)
{
	int errors, accesses = -1;

	if (!open_target(cf, cf->error_to, cf->error_log, &errors))
		return false;
	if (CONFIG_ACCESS_LOG && !open_target(cf, cf->access_to, cf->access_log, &accesses)) {
		close_target(errors);
		return false;
	}
	log_flush();
	close_target(error_fd);
	close_target(access_fd);
	error_fd = errors;
	access_fd = accesses;
	error_to = cf->error_to;
	access_to = CONFIG_ACCESS_LOG ? cf->access_to : TO_NOWHERE;
	most = cf->level;
	return true;
}

/* syslog(3) allocates and prints by printf; the protocol is a datagram (RFC 3164). */
static void
to_syslog(enum level level, struct span text)
{
	static const char severity[] = { 3, 4, 6, 7 };
	static const struct addr dev_log = { sizeof dev_log.u.un, { .un = { AF_UNIX, "/dev/log" } } };
	static char store[sizeof line_store + 64];
	struct buf b = buf_on(store, sizeof store);

	if (syslog_fd < 0) {
		syslog_fd = call_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (syslog_fd >= 0 && call_connect(syslog_fd, &dev_log.u.any, dev_log.size) < 0) {
			call_close(syslog_fd);
			syslog_fd = -1;
		}
	}
	if (syslog_fd < 0)
		return;
	buf_print(&b, "<%d>cubhttpd[%d]: %.*s", FACILITY_DAEMON | severity[level], (int)getpid(), (int)text.n, text.p);
	if (send(syslog_fd, store, b.w, MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
		call_close(syslog_fd);       /* the log daemon was started anew: the next line finds it */
		syslog_fd = -1;
	}
}

/* A pipe or terminal whose reader has stopped would stop us too: its lines are lost, as those that a full disk has no
 * room for, and that is told.  What poll calls writable takes PIPE_BUF bytes at once. */
static bool
would_block(int fd)
{
	struct pollfd p = { fd, POLLOUT, 0 };

	return poll(&p, 1, 0) == 0;
}

static void
put(int fd, const char *p, size_t n)
{
	static unsigned lost;
	ssize_t k;

	for (; n; p += k, n -= k) {
		if (would_block(fd) || (k = call_write(fd, p, n < PIPE_BUF ? n : PIPE_BUF)) <= 0) {
			lost++;
			return;
		}
	}
	if (lost) {
		lost = 0;
		log_line(LOG_WARN, "lines were lost: the log was full, or nobody read it");
	}
}

/* -- error lines --------------------------------------------------------------------------------------- */

/* A whole line of at most the store; one that is longer loses its end. */
static struct buf
line_begin(enum level level, unsigned *text)
{
	static const char *const names[] = { "error: ", "warning: ", "", "debug: " };
	struct buf b = buf_on(line_store, sizeof line_store - 1);

	if (error_to == TO_FILE) {
		buf_char(&b, '[');
		date_log(&b, wall);
		buf_text(&b, "] ");
	}
	*text = b.w;
	buf_text(&b, names[level]);
	if (log_about) {
		const struct lent *l = log_about->lent;

		from_print(&b, &log_about->from);
		if (l && log_about->conf && l->line_n) {
			buf_text(&b, " \"");
			buf_log(&b, (struct span){ l->log, l->line_n });
			buf_char(&b, '"');
		}
		buf_text(&b, ": ");
	}
	return b;
}

static void
line_end(enum level level, struct buf *b, unsigned text)
{
	b->bad = false;
	buf_char(b, '\n');
	if (CONFIG_SYSLOG && error_to == TO_SYSLOG)
		to_syslog(level, (struct span){ line_store + text, b->w - text - 1 });
	else if (error_to != TO_NOWHERE)
		put(error_fd, line_store, b->w);
}

void
log_line(enum level level, const char *format, ...)
{
	unsigned text;
	struct buf b;
	va_list ap;

	if (level > most)
		return;
	b = line_begin(level, &text);
	b.size -= 1;
	va_start(ap, format);
	buf_vprint(&b, format, ap);
	va_end(ap);
	b.size += 1;
	if (b.bad) {
		b.bad = false;
		buf_text(&b, "(the line is too long)");
	}
	line_end(level, &b, text);
}

void
log_backend(struct span who, struct span text)
{
	while (text.n) {
		struct span line = span_item(&text, '\n');
		unsigned at;
		struct buf b;

		if (!line.n)
			continue;
		b = line_begin(LOG_WARN, &at);
		buf_log(&b, who);
		buf_text(&b, ": ");
		if (line.n > buf_room(&b) / 4 - 8)
			line.n = buf_room(&b) / 4 - 8;
		buf_log(&b, line);
		line_end(LOG_WARN, &b, at);
	}
}

/* -- access lines ---------------------------------------------------------------------------------------- */

static unsigned
keep(char *to, struct span s, unsigned limit)
{
	unsigned n = s.n < limit ? s.n : limit;

	copy(to, s.p, n);
	return n;
}

void
log_request(struct conn *c, const struct request *r)
{
	struct lent *l = c->lent;

	l->user_n = 0;
	l->line_n = keep(l->log, r->line, LINE_MOST);
	if (access_to == TO_NOWHERE)
		return;
	l->referer_n = keep(l->log + LINE_MOST, r->known[F_REFERER], REFERER_MOST);
	l->agent_n = keep(l->log + LINE_MOST + REFERER_MOST, r->known[F_USER_AGENT], AGENT_MOST);
}

static void
quoted(struct buf *b, const char *p, unsigned n)
{
	buf_text(b, " \"");
	if (n)
		buf_log(b, (struct span){ p, n });
	else
		buf_char(b, '-');
	buf_char(b, '"');
}

static void
access_line(struct buf *b, const struct conn *c)
{
	const struct lent *l = c->lent;

	from_print(b, &c->from);
	buf_text(b, " - ");
	if (l->user_n)
		buf_log(b, (struct span){ l->user, l->user_n });
	else
		buf_char(b, '-');
	buf_text(b, " [");
	date_log(b, wall);
	buf_char(b, ']');
	quoted(b, l->log, l->line_n);
	buf_print(b, " %d %llu", c->status, (unsigned long long)c->sent);
	quoted(b, l->log + LINE_MOST, l->referer_n);
	quoted(b, l->log + LINE_MOST + REFERER_MOST, l->agent_n);
	buf_print(b, " %llu %s", (unsigned long long)(now - c->began), c->word ? c->word : "-");
	if (c->why)
		quoted(b, c->why, strlen(c->why));
	else
		buf_text(b, " -");
	buf_char(b, '\n');
}

void
log_access(struct conn *c)
{
	unsigned before;

	if (c->why)
		log_line(LOG_DEBUG, "%s", c->why);
	if (!CONFIG_ACCESS_LOG || access_to == TO_NOWHERE)
		return;
	if (buf_room(&lines) < 4 * (CLIENT_LOG + USER_MOST) + 256)      /* each byte may become four */
		log_flush();
	before = lines.w;
	access_line(&lines, c);
	if (CONFIG_SYSLOG && access_to == TO_SYSLOG) {
		to_syslog(LOG_INFO, (struct span){ access_store + before, lines.w - before - 1 });
		lines.w = before;
	}
}

void
log_flush(void)
{
	if (!lines.w)
		return;
	if (access_fd >= 0)
		put(access_fd, access_store, lines.w);
	lines.w = 0;
	lines.bad = false;
}
