/* child.c - starting programs and seeing them end
 *
 *   us  --clone(VM|VFORK)--> the same memory, another stack: group, descriptors, limits, account --execve--> program
 *   us  <---- asleep until then; `error` says what failed, without a pipe
 *
 * Not fork(2), which copies page tables and makes each page fault again, and not vfork(3), which is fork in musl where
 * nobody has written it in assembler.  The signals we know are blocked at all times (httpd.c reads them from a
 * descriptor), so none can run a handler of ours in the child.
 */
#include "child.h"
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GRACE = 2000 };                  /* milliseconds between SIGTERM and SIGKILL */

static struct child *children;

/* -- in the child, until execve(2) -------------------------------------------------------------------------- */

struct start { const struct program *program; int error; bool resident, terminal; };

static bool
limit(int what, uint64_t soft, uint64_t hard)
{
	const struct rlimit l = { soft, hard };

	return syscall(SYS_prlimit64, 0, what, &l, NULL) == 0;
}

/* Limits before the account, because root may raise them. */
static bool
restrain(const struct run *r)
{
	if (r->memory && !limit(RLIMIT_AS, r->memory, r->memory))
		return false;
	if (r->cpu && !limit(RLIMIT_CPU, r->cpu, r->cpu + 1))
		return false;
	if (r->nice && syscall(SYS_setpriority, PRIO_PROCESS, 0, r->nice) < 0)
		return false;
	return !r->user || (geteuid() == r->uid && r->uid) ||
	    (syscall(CALL_SETGROUPS, 0, NULL) == 0 && syscall(CALL_SETRESGID, r->gid, r->gid, r->gid) == 0 &&
	    syscall(CALL_SETRESUID, r->uid, r->uid, r->uid) == 0);
}

/* Ours are above 2 and closed by execve: main() leaves no standard stream free. */
static bool
take_streams(const int fd[3])
{
	for (int i = 0; i < 3; i++)
		if (fd[i] >= 0 && syscall(SYS_dup3, fd[i], i, 0) < 0)
			return false;
	return true;
}

/* Sanitizers would keep notes about a stack that nobody returns from. */
__attribute__((no_sanitize_address)) static int
run(void *argument)
{
	static const uint64_t none[2];  /* signals: 128 of them on mips */
	struct start *s = argument;
	const struct program *p = s->program;

	if (s->terminal)
		syscall(SYS_setsid);
	else
		syscall(SYS_setpgid, 0, 0);
	if (take_streams(p->fd) && (!p->run || restrain(p->run)) && (!p->dir || syscall(SYS_chdir, p->dir) == 0)) {
		if (s->resident)
			syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGTERM);
		syscall(SYS_rt_sigprocmask, SIG_SETMASK, none, NULL, _NSIG / 8);
		syscall(SYS_execve, p->path, p->argv, p->envp);
	}
	s->error = errno;
	syscall(SYS_exit, 127);
	return 127;
}

/* -- in the parent ---------------------------------------------------------------------------------------------- */

/* Where there is a terminal a program gets a session of its own, or it could ask there.  Elsewhere a group of its own is
 * enough: with each session Linux makes a group for its scheduler, which takes a tenth of the time that starting a small
 * program does, and outside of which `nice` has no effect (sched(7)). */
static bool
has_terminal(void)
{
	static bool known, there;
	int fd;

	if (!known) {
		fd = call_open(AT_FDCWD, "/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC, 0);
		there = fd >= 0;
		if (there)
			call_close(fd);
		known = true;
	}
	return there;
}

bool
child_start(struct child *c, const struct program *p)
{
	static _Alignas(16) char stack[8192];
	struct start s = { p, 0, c->resident, has_terminal() };
	int pid = clone(run, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &s);

	if (pid < 0)
		return false;
	if (s.error) {
		call_waitpid(pid, NULL, 0);
		errno = s.error;
		return false;
	}
	c->pid = pid;
	c->due = 0;
	c->stopping = false;
	c->next = children;
	children = c;
	return true;
}

void
child_stop(struct child *c)
{
	if (!c->pid || c->stopping)
		return;
	c->stopping = true;
	c->due = now + GRACE;
	kill(-c->pid, SIGTERM);
}

/* Once the first process of a group that is stopping has ended, the others are ended now, while the number is still its
 * own: it is not waited for yet. */
static void
end_group(const struct child *c)
{
	siginfo_t info = { 0 };

	if (call_waitid(P_PID, c->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid)
		kill(-c->pid, SIGKILL);
}

void
child_reap(void)
{
	struct child **at = &children, *c;

	while ((c = *at)) {
		if (c->stopping)
			end_group(c);
		if (call_waitpid(c->pid, &c->status, WNOHANG) == 0) {
			at = &c->next;
			continue;
		}
		*at = c->next;
		c->pid = 0;
		c->ended(c);
	}
}

int64_t
child_due(void)
{
	int64_t next = INT64_MAX;

	for (const struct child *c = children; c; c = c->next)
		if (c->due && c->due < next)
			next = c->due;
	return next;
}

void
child_expire(void)
{
	for (struct child *c = children, *next; c; c = next) {
		next = c->next;
		if (!c->due || c->due > now)
			continue;
		c->due = 0;
		if (c->stopping)
			kill(-c->pid, SIGKILL);
		else
			c->late(c);
	}
}

static bool
some_stop(void)
{
	for (const struct child *c = children; c; c = c->next)
		if (c->stopping)
			return true;
	return false;
}

void
child_leave(void)
{
	static const struct signals ends = { { SIGNAL(SIGCHLD) } };

	for (struct child *c = children; c; c = c->next)
		if (c->resident)
			child_stop(c);
	for (child_reap(); some_stop(); child_reap()) {
		call_sigwait(&ends, 100);
		clock_tick();
		child_expire();
	}
}

/* -- what they write to stderr ------------------------------------------------------------------------------------ */

bool
child_errors(int fd[2])
{
	if (fd[0])
		return true;
	if (call_pipe(fd) < 0)
		return false;
	call_unblock(fd[0]);
	return true;
}

/* More than a piece a turn is not read: whoever floods the log is slowed down by it. */
void
child_tells(int fd, struct span who)
{
	char text[1024];
	ssize_t n = call_read(fd, text, sizeof text);

	if (n > 0)
		log_backend(who, (struct span){ text, n });
}
