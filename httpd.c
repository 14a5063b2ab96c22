/* httpd.c - main: start-up order, the poll loop, signals
 *
 *   read the configuration - listen - logs - drop privileges - map the memory - "listens on" - loop
 *
 * What can fail because of rights or memory fails before the line that says where the server listens.
 */
#include "auth.h"
#include "child.h"
#include "forward.h"
#include "resolve.h"
#include "spawn.h"
#include "tls.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { SPARE_DESCRIPTORS = 64 };        /* besides those that are counted */

static int signal_fd;
static struct { bool made, full; int64_t due; } ahead;  /* what plan() said the last time, while it holds */
static unsigned given_up;               /* places of idle connections, for want of descriptors */

/* -- signals ------------------------------------------------------------------------------ */

/* They are blocked: what ours say is read from a descriptor, in its turn, and the calls say the others too, by EPIPE and
 * EFBIG.  Programs have them neither blocked nor as whoever started us had them. */
static bool
signals_open(void)
{
	static const char signals[] = { SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGPIPE, SIGXFSZ, SIGQUIT };
	enum { OURS = 4, BLOCKED = 6 };
	struct signals ours, set = { { 0 } };

	for (unsigned i = 0; i < sizeof signals; i++) {
		call_default(signals[i]);
		if (i < BLOCKED)
			set.bits[0] |= SIGNAL(signals[i]);
		if (i < OURS)
			ours = set;
	}
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, _NSIG / 8);
	signal_fd = syscall(SYS_signalfd4, -1, &ours, _NSIG / 8, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		log_line(LOG_ERROR, "cannot open the descriptor of signals: %s", error_text(errno));
	return signal_fd >= 0;
}

/* -- listening --------------------------------------------------------------------------------------- */

static bool
listens_on(const struct conf *cf, int fd)
{
	for (unsigned i = 0; cf && i < cf->nlisten; i++)
		if (cf->listen[i].fd == fd)
			return true;
	return false;
}

/* A socket of another configuration with this very address, for cf; two lines that leave the port open have one each. */
static bool
inherit(struct listener *l, const struct conf *cf, const struct conf *from)
{
	for (unsigned i = 0; from && i < from->nlisten; i++) {
		if (!addr_same(&l->addr, &from->listen[i].addr) || listens_on(cf, from->listen[i].fd))
			continue;
		l->fd = from->listen[i].fd;
		l->flags |= from->listen[i].flags & LISTEN_HANDED;
		return true;
	}
	return false;
}

static bool
socket_address(int fd, struct addr *a)
{
	a->size = sizeof a->u;
	return call_getsockname(fd, &a->u.any, &a->size) == 0;
}

/* The number that a variable of the environment has; name ends with "=". */
static bool
variable(struct span name, uint64_t *n)
{
	for (char **e = environ; *e; e++)
		if (span_starts(span_of(*e), name))
			return span_uint(span_of(*e + name.n), n);
	return false;
}

/* sd_listen_fds(3): LISTEN_FDS descriptors from 3 on are meant for process LISTEN_PID.  They come before, and take the
 * place of, `listen` lines with the same address; with no such line they are the ones listened on. */
static void
take_activated(struct conf *cf)
{
	uint64_t pid, n;
	bool fresh = true;

	if (!variable(SPAN("LISTEN_PID="), &pid) || !variable(SPAN("LISTEN_FDS="), &n) || pid != (uint64_t)getpid())
		return;
	for (int fd = 3; fd < 3 + (int)(n < LISTEN_MAX ? n : LISTEN_MAX); fd++) {
		struct listener l = { .fd = fd, .text = "LISTEN_FDS" };
		unsigned i = 0;

		if (!socket_address(fd, &l.addr))
			continue;
		call_ioctl(fd, FIOCLEX, NULL);
		call_unblock(fd);
		while (i < cf->nlisten && !addr_same(&cf->listen[i].addr, &l.addr))
			i++;
		if (i == cf->nlisten && cf->listen_default && fresh)
			i = cf->nlisten = 0, cf->activated = true;
		fresh = false;
		if (i == LISTEN_MAX)
			continue;
		l.flags = LISTEN_HANDED | (i < cf->nlisten ? cf->listen[i].flags : 0);
		cf->nlisten += i == cf->nlisten;
		cf->listen[i] = l;
	}
}

static bool
listen_one(struct listener *l, const struct conf *cf, const struct conf *old)
{
	if (l->fd >= 0 || inherit(l, cf, old))
		return true;
	l->fd = stream_listen(&l->addr);
	if (l->fd < 0)
		log_line(LOG_ERROR, "cannot listen on %s: %s", l->text, error_text(errno));
	return l->fd >= 0;
}

/* False when one cannot be had; IPv4 first, because an IPv6 wildcard would take its ports along. */
static bool
listen_all(struct conf *cf, const struct conf *old)
{
	bool good = true;

	for (int pass = 0; pass < 2; pass++)
		for (unsigned i = 0; i < cf->nlisten; i++)
			if ((cf->listen[i].addr.u.any.sa_family == AF_INET6) == pass)
				good &= listen_one(&cf->listen[i], cf, old);
	return good;
}

/* The kernel has no descriptor or memory for one more: room is made, or the socket rests for a second. */
static bool
accept_failed(struct listener *l)
{
	switch (errno) {
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		if (park_drop_oldest() || slot_park_oldest())   /* where none may sleep, that closes it */
			return true;
		if (l->rests_until + 10000 < now)
			log_line(LOG_WARN, "%s rests: %s", l->text, error_text(errno));
		l->rests_until = now + 1000;
		ahead.made = false;
		return false;
	case EINTR:
	case ECONNABORTED:
		return true;
	default:
		return false;
	}
}

/* False when there is none. */
static bool
accept_one(struct listener *l)
{
	struct addr a;
	int fd;

	a.size = sizeof a.u;
	fd = syscall(SYS_accept4, l->fd, &a.u.any, &a.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return accept_failed(l);
	conn_arrive(fd, &a, l->flags);
	return true;
}

/* Those of the old configuration that the new one (NULL: none) has no use for, or the other way round.  For clients in
 * their queues, which would be reset, the connection is made already: as many come in as find places.  What was handed to
 * us is open elsewhere, too: who waits there is left to whoever comes after us. */
static void
listen_drop(struct conf *old, const struct conf *cf)
{
	for (unsigned i = 0; i < old->nlisten; i++) {
		struct listener *l = &old->listen[i];
		bool ours = !CONFIG_ACTIVATION || !(l->flags & LISTEN_HANDED);

		if (l->fd < 0 || listens_on(cf, l->fd))
			continue;
		for (unsigned most = conf->clients; ours && most && slots_left() && accept_one(l); most--)
			;
		call_close(l->fd);
		if (ours && l->addr.u.any.sa_family == AF_UNIX)
			unlink(l->addr.u.un.sun_path);
	}
}

static void
say_ready(const struct conf *cf)
{
	static char line[1024];
	struct buf b = buf_on(line, sizeof line);
	struct addr a;

	for (unsigned i = 0; i < cf->nlisten; i++) {
		buf_text(&b, i ? ", " : "");
		if (socket_address(cf->listen[i].fd, &a))
			addr_print(&b, &a);
	}
	log_line(LOG_INFO, "cubhttpd " VERSION " listens on %.*s", (int)b.w, line);
}

/* -- rights ---------------------------------------------------------------------------------------------- */

/* For good: the saved ids go too, and the groups of whoever started us.  Libc's functions of these names make all threads
 * follow; there is one here, and they weigh 2.6 KB. */
static bool
drop_privileges(const struct conf *cf)
{
	if (!cf->user || (geteuid() != 0 && geteuid() == cf->uid))
		return true;
	if (syscall(CALL_SETGROUPS, 0, NULL) == 0 && syscall(CALL_SETRESGID, cf->gid, cf->gid, cf->gid) == 0 &&
	    syscall(CALL_SETRESUID, cf->uid, cf->uid, cf->uid) == 0 && (cf->uid == 0 || syscall(CALL_SETUID, 0) < 0))
		return true;
	log_line(LOG_ERROR, "cannot become user %s: %s", cf->user, error_text(errno));
	return false;
}

static bool
write_pid(const struct conf *cf)
{
	char text[24];
	struct buf b = buf_on(text, sizeof text);
	int fd;

	if (!cf->pid)
		return true;
	buf_print(&b, "%d\n", (int)getpid());
	fd = call_open(AT_FDCWD, cf->pid, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd >= 0 && call_write(fd, text, b.w) == (ssize_t)b.w) {
		if (cf->uid && call_chown(fd, cf->uid, cf->gid) < 0)
			log_line(LOG_DEBUG, "%s stays with root: %s", cf->pid, error_text(errno));
		call_close(fd);
		return true;
	}
	log_line(LOG_ERROR, "cannot write %s: %s", cf->pid, error_text(errno));
	return false;
}

/* As many descriptors as we need, and not more, because programs inherit the limit, and some close all up to it; fewer
 * parked clients when they would not do. */
static void
fit_descriptors(struct conf *cf)
{
	/* A place of CGI has four descriptors of pipes, and while it starts a program two more. */
	unsigned fixed = 26 + cf->nlisten + cf->clients + cf->scripts * (CONFIG_CGI ? 4 : 1) + cf->proxied +
	    cache_pool.count(cf) + (CONFIG_RESOLVE ? QUERIES_MAX : 0);
	struct rlimit l;
	uint64_t want;

	if (syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &l) < 0)
		return;
	want = (uint64_t)fixed + cf->parked + SPARE_DESCRIPTORS;
	if (l.rlim_cur < want)
		l.rlim_cur = want < l.rlim_max ? want : l.rlim_max;
	syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, &l, NULL);
	if (CONFIG_CGI && l.rlim_cur < INT_MAX)
		cgi_descriptors = l.rlim_cur;
	if (l.rlim_cur != RLIM_INFINITY && l.rlim_cur < fixed + cf->parked) {
		given_up = cf->parked;
		cf->parked = l.rlim_cur > fixed ? l.rlim_cur - fixed : 0;
		given_up -= cf->parked;
		log_line(LOG_WARN, "the limit of %lu descriptors leaves places for %u idle connections",
		    (unsigned long)l.rlim_cur, cf->parked);
	}
}

/* -- reload ------------------------------------------------------------------------------------------------ */

/* What was mapped at start stays: another size of a pool needs another process. */
static void
keep_pools(struct conf *cf)
{
	if (cf->clients != conf->clients || cf->parked != conf->parked + given_up || cf->scripts != conf->scripts ||
	    cf->proxied != conf->proxied)
		log_line(LOG_WARN, "`clients`, `scripts` and `proxied` change with the next start, not by a reload");
	cf->clients = conf->clients;
	cf->parked = conf->parked;
	cf->scripts = conf->scripts;
	cf->proxied = conf->proxied;
	if (CONFIG_FORWARD && cf->forwards && !conf->forwards && !target_pool.n) {
		log_line(LOG_WARN, "`forward` begins with the next start, not by a reload");
		cf->forwards = NULL;
	}
}

/* Sockets that were handed over are not asked for twice. */
static void
keep_activated(struct conf *cf, const struct conf *old)
{
	memcpy(cf->listen, old->listen, sizeof cf->listen);
	cf->nlisten = old->nlisten;
	cf->activated = true;
}

static void
reload(int argc, char **argv)
{
	struct conf *cf = conf_read(argc, argv), *old = conf;

	if (CONFIG_ACTIVATION && cf && cf->listen_default && old->activated)
		keep_activated(cf, old);
	if (!cf || (CONFIG_TLS && !tls_fits(cf)) || !listen_all(cf, old) || !log_open(cf)) {
		log_line(LOG_ERROR, "the configuration is refused: the old one stays in force");
		if (cf) {
			listen_drop(cf, old);
			conf_release(cf);
		}
		return;
	}
	keep_pools(cf);
	if (CONFIG_TLS)
		certificates_open(cf, old);
	cache_flush();
	if (CONFIG_AUTH)
		auth_flush();
	if (CONFIG_GATEWAY) {
		peer_forget(NULL);
		cgi_flush();
	}
	conf = cf;
	listen_drop(old, cf);
	ahead.made = false;
	if (CONFIG_SPAWN) {
		spawn_drop(old);
		queue_forget();
	}
	conf_release(old);
	say_ready(cf);
	if (CONFIG_RESOLVE)
		resolve_all(cf);
}

/* -- the loop -------------------------------------------------------------------------------------------------- */

static int64_t stop_by;

static void
stop(void)
{
	stop_by = stop_by ? now : now + conf->timeout[T_STOP];  /* asked twice: at once */
	log_line(LOG_INFO, "stops: what is in flight has %u seconds", conf->timeout[T_STOP] / 1000);
	conn_stop();
	listen_drop(conf, NULL);
	conn_stop();                    /* those who came in with that and have not said all */
	conf->nlisten = 0;
	ahead.made = false;
}

static void
take_signals(int argc, char **argv)
{
	struct signalfd_siginfo info[4];
	ssize_t n = call_read(signal_fd, info, sizeof info);         /* what is more than these comes with the next poll */

	for (unsigned i = 0; n > 0 && i < n / sizeof *info; i++) {
		int number = info[i].ssi_signo;

		if (number == SIGCHLD && CONFIG_CHILDREN) {
			child_reap();
			queue_serve();
		}
		if (number == SIGHUP && !stop_by)
			reload(argc, argv);
		if (number == SIGTERM || number == SIGINT)
			stop();
	}
}

/* Signals and the listening sockets, ahead of the connections: they change seldom.  *due is when one has rested. */
static unsigned
plan(struct pollfd *set, int64_t *due)
{
	bool full = conn_full();
	unsigned n = 1;

	*due = ahead.due;
	if (ahead.made && ahead.full == full && now < ahead.due)
		return 1 + conf->nlisten;
	*due = INT64_MAX;
	set[0] = (struct pollfd){ signal_fd, POLLIN, 0 };
	for (unsigned i = 0; i < conf->nlisten; i++) {
		struct listener *l = &conf->listen[i];
		bool rests = l->rests_until > now;

		if (rests && l->rests_until < *due)
			*due = l->rests_until;
		set[n++] = (struct pollfd){ full || rests ? -1 : l->fd, POLLIN, 0 };
	}
	ahead.made = true;
	ahead.full = full;
	ahead.due = *due;
	return n;
}

/* What poll is to wait for that, in ms. */
static int
until(int64_t due)
{
	int64_t left = due - now;

	if (left < INT_MAX)
		return left > 0 ? (int)left : 0;
	return due == INT64_MAX ? -1 : INT_MAX;
}

static void
take_ahead(const struct pollfd *set, unsigned n, int argc, char **argv)
{
	if (set[0].revents)
		take_signals(argc, argv);
	for (unsigned i = 1; i < n && ahead.made; i++)  /* no signal has taken the sockets away */
		if (set[i].revents)
			for (unsigned most = ACCEPTS_MAX; most && !conn_full() && accept_one(&conf->listen[i - 1]); most--)
				;
}

/* Within main, which linkers put first, near the calls of libc: what waits touches few pages of the program. */
static INLINE void
loop(int argc, char **argv)
{
	struct pollfd *set = (struct pollfd *)(void *)set_pool.at;

	while (!stop_by || (now < stop_by && !conn_none())) {
		int64_t due;
		unsigned first = plan(set, &due), n = polls_make(set + first, &due);
		int told;

		if (stop_by && stop_by < due)
			due = stop_by;
		if (CONFIG_TLS && certificates_due < due)
			due = certificates_due;
		told = poll(set, first + n, until(due));
		if (told < 0 && errno != EINTR)
			log_line(LOG_ERROR, "poll: %s", error_text(errno));
		clock_tick();
		if (CONFIG_TLS)
			tls_turn();
		if (polls_take(set + first, n, told > 0 ? told : 0))
			take_ahead(set, first, argc, argv);
		if (CONFIG_TLS && certificates_due <= now)
			certificates_check();
		log_flush();
	}
}

static void
leave(void)
{
	if (conf->pid)
		unlink(conf->pid);
	cache_flush();
	if (CONFIG_GATEWAY)
		peer_forget(NULL);
	if (CONFIG_CGI)
		cgi_leave();
	if (CONFIG_CHILDREN)
		child_leave();
	log_flush();
}

extern const char __executable_start[];                 /* of the linker */

/* What the kernel told at the start: it lies behind the environment.  Not every C library has a getauxval(3). */
static uintptr_t
told(unsigned type)
{
	char **p = environ;
	const ElfW(auxv_t) *a;

	while (*p)
		p++;
	for (a = (const void *)(p + 1); a->a_type && a->a_type != type; a++)
		;
	return a->a_un.a_val;
}

/* Reading the configuration went deeper into the stack than serving does, and through more of the program: those pages
 * are given back, and what serving needs of the program comes from the file again.  A whole page below this frame is
 * left alone, for whoever is called from here: pages have up to 64 KB. */
static void
trim(void)
{
	enum { DEPTH = 256 << 10 };
	const ElfW(Phdr) *h = (const ElfW(Phdr) *)told(AT_PHDR);
	uintptr_t page = told(AT_PAGESZ), here = (uintptr_t)__builtin_frame_address(0) / page * page, moved = 0;
	bool first = true;

	syscall(SYS_madvise, here - DEPTH, DEPTH - page, MADV_DONTNEED);
	for (unsigned i = 0, n = told(AT_PHNUM); h && i < n; i++) {
		uintptr_t from = h[i].p_vaddr / page * page, end = (h[i].p_vaddr + h[i].p_memsz) / page * page;

		if (h[i].p_type != PT_LOAD)
			continue;
		if (first)              /* where it was put, as seen from where it was linked for */
			moved = (uintptr_t)__executable_start - from;
		first = false;
		if (!(h[i].p_flags & PF_W))
			syscall(SYS_madvise, from + moved, end - from, MADV_DONTNEED);
	}
}

/* Nothing of ours may get the number of a standard stream that was closed, and no program what whoever started us left
 * open. */
static void
fill_descriptors(void)
{
	int fd;

	syscall(SYS_close_range, STDERR_FILENO + 1, ~0u, CLOSE_ON_EXEC);
	while ((fd = call_open(AT_FDCWD, "/dev/null", O_RDWR, 0)) >= 0 && fd <= STDERR_FILENO)
		;
	if (fd >= 0)
		call_close(fd);
}

/* Once the configuration has been read, nobody here reads from stdin: programs without input get it as it is. */
static void
drop_stdin(void)
{
	int fd = call_open(AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC, 0);

	if (fd >= 0 && syscall(SYS_dup3, fd, STDIN_FILENO, 0) == STDIN_FILENO)
		call_close(fd);
}

int
main(int argc, char **argv)
{
	struct conf *cf;
	int status;

	fill_descriptors();
	clock_tick();
	if (conf_answers(argc, argv, &status))
		return status;
	cf = conf_read(argc, argv);
	if (!cf)
		return 1;
	conf = cf;
	if (CONFIG_ACTIVATION)
		take_activated(cf);
	if (CONFIG_CHILDREN)
		drop_stdin();
	if (!signals_open() || !listen_all(cf, NULL) || !log_open(cf) || !write_pid(cf))
		return 1;
	if (CONFIG_TLS)
		certificates_open(cf, NULL);    /* keys are for root to read */
	if (!drop_privileges(cf))
		return 1;
	fit_descriptors(cf);
	if (!pool_map(cf) || (CONFIG_TLS && !tls_open()) || (CONFIG_EPOLL && !park_open()))
		return 1;
	say_ready(cf);
	if (CONFIG_RESOLVE)
		resolve_all(cf);
	log_flush();
	trim();
	loop(argc, argv);
	leave();
	return 0;
}
