/* spawn.c - programs that stay: started for the first request or before it, ended when nobody asks, started again
 *
 *   socket, bind, listen --> descriptor 0 of the program (FCGI_LISTENSOCK_FILENO)
 *        `--> O_PATH, and its name is removed: dialled as /proc/self/fd/N, by us and by nobody else
 *
 * The socket listens before the program runs, so a request can be sent at once and waits there.  When the process ends
 * the socket goes with it, and whoever waits learns it.
 */
#include "gateway.h"
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAITING = 16, RETRY_MOST = 64 }; /* connections in the socket; seconds between two starts */
enum { WORDS_MOST = 64 };               /* of the environment */

static int errors[2];                   /* the pipe for stderr of all of them, kept; 0: none yet */

static struct spawned *
spawned_of(struct child *child)
{
	return (struct spawned *)(void *)((char *)child - offsetof(struct spawned, child));
}

/* -- the socket --------------------------------------------------------------------------------------- */

static void
name_of(struct sockaddr_un *un, const char *folder, unsigned number)
{
	struct buf b = buf_on(un->sun_path, sizeof un->sun_path - 1);

	un->sun_family = AF_UNIX;
	buf_print(&b, "%s%u", folder, number);
	un->sun_path[b.w] = '\0';
}

/* Bound to a name of its own in one of the folders where that can be done. */
static bool
bind_somewhere(int fd, struct sockaddr_un *un)
{
	static const char *const folders[] = { "/tmp/.cubhttpd.", "/run/.cubhttpd.", "/dev/shm/.cubhttpd." };
	static unsigned serial;
	mode_t mask = umask(0177);
	bool good = false;

	for (unsigned i = 0; !good && i < 4 * (sizeof folders / sizeof *folders); i++) {
		name_of(un, folders[i / 4], (unsigned)getpid() * 64 + serial++ % 64);
		good = call_bind(fd, (struct sockaddr *)un, sizeof *un) == 0;
	}
	umask(mask);
	return good;
}

/* A listening socket for the process, *at to dial it, and its address; -1 with errno. */
static int
listen_alone(struct addr *a, int *at)
{
	int fd = call_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), error;

	*at = -1;
	a->size = sizeof a->u.un;
	if (fd >= 0 && bind_somewhere(fd, &a->u.un)) {
		*at = call_open(AT_FDCWD, a->u.un.sun_path, O_PATH | O_CLOEXEC | O_NOFOLLOW, 0);
		error = errno;
		unlink(a->u.un.sun_path);
		errno = error;
		if (*at >= 0 && call_listen(fd, WAITING) == 0) {
			name_of(&a->u.un, "/proc/self/fd/", (unsigned)*at);
			return fd;
		}
	}
	if (fd >= 0)
		call_close(fd);
	if (*at >= 0)
		call_close(*at);
	return -1;
}

/* -- starting and ending ------------------------------------------------------------------------------ */

/* It may be started again at once; then it has to wait for a second, and each time twice as long. */
static void
rests(struct spawned *s)
{
	unsigned seconds = s->failures < 7 ? 1u << s->failures >> 1 : RETRY_MOST;

	s->failures++;
	s->backend->rests_until = now + seconds * (int64_t)1000;
}

/* Those who wait for the end of this one go on. */
static void
wake(const struct spawned *s)
{
	for (unsigned i = 0; i < slot_count(); i++) {
		struct conn *c = slot_at(i);

		if (c->phase == EXCHANGE && c->peer && c->peer->backend == s->backend && c->peer->s.fd < 0)
			c->again = true;
	}
}

static void
spawned_ended(struct child *child)
{
	struct spawned *s = spawned_of(child);
	int status = child->status;

	call_close(s->at);
	if (!child->stopping && WIFSIGNALED(status))
		log_line(LOG_WARN, "%s: signal %d ended it", s->by->argv[0], WTERMSIG(status));
	else if (!child->stopping && (WEXITSTATUS(status) || !s->answered))
		log_line(LOG_WARN, "%s: it ended with status %d", s->by->argv[0], WEXITSTATUS(status));
	if (s->answered)
		s->failures = 0;
	else if (!child->stopping || s->failures)       /* requests that end it do not make it a good one */
		rests(s);
	wake(s);
	conf_release(s->by->conf);
}

/* Is it one of those that are there always? */
static bool
stays(const struct spawned *s)
{
	return s < s->by->place + s->by->least;
}

static void
spawned_late(struct child *child)
{
	struct spawned *s = spawned_of(child);
	int64_t end = s->used + s->by->idle * (int64_t)1000;

	if (s->backend->busy)
		child->due = now + 1000;
	else if (s->by->conf != conf || now >= end)
		child_stop(child);
	else
		child->due = end;
}

/* False when it is too much. */
static bool
environment(const struct spawn *p, char *envp[WORDS_MOST])
{
	static char store[8192];
	struct buf b = buf_on(store, sizeof store);

	env_words = (struct env_words){ envp, envp + WORDS_MOST - 1 };
	put_env(p->host, p->conf->hosts, &b, PAIRS_WORDS);
	*env_words.next = NULL;
	return !b.bad && env_words.next < env_words.last;
}

static bool
start(struct spawned *s)
{
	char *envp[WORDS_MOST];
	struct program program = { .path = s->by->argv[0], .argv = s->by->argv, .envp = envp, .run = s->by->run };
	int fd = child_errors(errors) ? listen_alone(&s->backend->addr, &s->at) : -1, error = errno;
	bool good = false;

	if (fd >= 0) {
		program.fd[0] = fd;
		program.fd[1] = program.fd[2] = errors[1];
		s->child = (struct child){ .ended = spawned_ended, .late = spawned_late, .resident = true };
		errno = E2BIG;
		good = environment(s->by, envp) && child_start(&s->child, &program);
		error = errno;
		call_close(fd);
	}
	if (!good) {
		if (fd >= 0)
			call_close(s->at);
		log_line(LOG_ERROR, "%s cannot be started: %s", s->by->argv[0], error_text(error));
		rests(s);
		return false;
	}
	s->answered = false;
	s->used = now;
	s->child.due = stays(s) ? 0 : now + s->by->idle * (int64_t)1000;
	s->by->conf->users++;
	return true;
}

/* -- for requests ------------------------------------------------------------------------------------- */

struct backend *
spawn_choose(const struct spawn *p)
{
	struct backend *chosen = NULL;
	bool waits = false;

	for (const struct spawned *s = p->place; s < p->place + p->most; s++) {
		if (s->backend->busy || (s->child.pid && s->child.stopping))
			waits = true;
		else if (s->child.pid)
			return s->backend;
		else if (!chosen && s->backend->rests_until <= now)
			chosen = s->backend;
	}
	return chosen || waits ? chosen : p->place->backend;
}

bool
spawn_ready(struct backend *b)
{
	b->own->used = now;
	return b->own->child.pid ? !b->own->child.stopping : b->rests_until <= now && start(b->own);
}

bool
spawn_ends(const struct backend *b)
{
	return b->own->child.pid && b->own->child.stopping;
}

bool
spawn_end(struct backend *b)
{
	child_stop(&b->own->child);
	return b->own->child.pid;
}

/* -- in each turn ------------------------------------------------------------------------------------- */

void
spawn_keep(void)
{
	for (struct spawn *p = conf->spawns; p; p = p->next)
		for (unsigned i = 0; i < p->least; i++)
			if (!p->place[i].child.pid && p->place[i].backend->rests_until <= now)
				start(&p->place[i]);
}

int64_t
spawn_due(void)
{
	int64_t next = INT64_MAX;

	for (const struct spawn *p = conf->spawns; p; p = p->next)
		for (unsigned i = 0; i < p->least; i++)
			if (!p->place[i].child.pid && p->place[i].backend->rests_until < next)
				next = p->place[i].backend->rests_until;
	return next;
}

void
spawn_drop(const struct conf *old)
{
	for (struct spawn *p = old->spawns; p; p = p->next)
		for (unsigned i = 0; i < p->most; i++)
			if (p->place[i].child.pid && !p->place[i].child.stopping)
				p->place[i].child.due = now;
}

unsigned
spawn_most(const struct conf *cf)
{
	unsigned n = 0;

	for (const struct spawn *p = cf->spawns; p; p = p->next)
		n += p->most;
	return n;
}

unsigned
spawn_plan(struct pollfd *set)
{
	if (!errors[0])
		return 0;
	*set = (struct pollfd){ errors[0], POLLIN, 0 };
	return 1;
}

void
spawn_take(const struct pollfd *set, unsigned n)
{
	if (n && set->revents)
		child_tells(errors[0], SPAN("spawned"));
}
