/* Programs that are started: what they find, what is said when they cannot be, and how a whole group ends. */
#include "../../child.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static char text[4096];
static unsigned told;

static void
ended(struct child *c)
{
	told++;
	CHECK(!c->pid);
}

static void
late(struct child *c)
{
	child_stop(c);
}

/* Until the pipe ends, into text. */
static void
listen_to(int fd)
{
	size_t n = 0;
	ssize_t k;

	while ((k = read(fd, text + n, sizeof text - 1 - n)) > 0)
		n += k;
	text[n] = '\0';
	close(fd);
}

/* Start `sh -c script` with its stdout as fd[0] of a pipe, which is returned. */
static int
shell(struct child *c, const char *script, const char *dir, const struct run *run)
{
	char *argv[] = { "sh", "-c", (char *)(uintptr_t)script, NULL }, *envp[] = { "PATH=/usr/bin:/bin", "A=1", NULL };
	int fd[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct program p = { "/bin/sh", argv, envp, dir, { null, 0, -1 }, run };

	if (pipe2(fd, O_CLOEXEC) < 0)
		abort();
	p.fd[1] = fd[1];
	*c = (struct child){ .ended = ended, .late = late };
	CHECK(child_start(c, &p));
	close(null);
	close(fd[1]);
	return fd[0];
}

static int
wait_for(const struct child *c)
{
	while (c->pid) {
		now += 100;
		poll(NULL, 0, 1);
		child_expire();
		child_reap();
	}
	return c->status;
}

static void
test_what_it_finds(void)
{
	const char *ignored;
	struct child c;
	char own[32] = "";
	pid_t pid;
	int fd;

	fd = shell(&c, "pwd; echo $A; echo $$; ls /proc/self/fd | wc -l; grep -E '^Sig(Blk|Ign)' /proc/self/status; exit 3",
	    "/usr", NULL);
	pid = c.pid;
	listen_to(fd);
	snprintf(own, sizeof own, "/usr\n1\n%d\n", (int)pid);
	CHECK(!strncmp(text, own, strlen(own)));
	CHECK(strstr(text, "\n4\n"));           /* its three, and the folder that ls reads */
	ignored = strstr(text, "SigBlk:\t0000000000000000\nSigIgn:\t");
	CHECK(ignored && !(strtoull(ignored + 32, NULL, 16) & ~(7ull << 31)));  /* 32 to 34 are libc's: make ignores them */
	CHECK(WEXITSTATUS(wait_for(&c)) == 3);
	CHECK(told == 1);
	group("a program finds its folder, its words, three descriptors and no blocked signal");
}

static void
test_failures(void)
{
	char *argv[] = { "x", NULL };
	struct child c = { .ended = ended };
	struct program p = { "/nowhere", argv, argv + 1, NULL, { -1, -1, -1 }, NULL };

	CHECK(!child_start(&c, &p) && errno == ENOENT);
	p.path = "/etc/passwd";
	CHECK(!child_start(&c, &p) && errno == EACCES);
	p.path = "/bin/true";
	p.dir = "/nowhere";
	CHECK(!child_start(&c, &p) && errno == ENOENT);
	CHECK(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD);
	group("what cannot be started says why and leaves no zombie");
}

static void
test_limits(void)
{
	struct run run = { .memory = 64 << 20, .cpu = 7, .nice = 3 };
	struct child c;

	listen_to(shell(&c, "ulimit -v; ulimit -t; nice", NULL, &run));
	CHECK(!strcmp(text, "65536\n7\n3\n"));
	CHECK(wait_for(&c) == 0);
	group("limits");
}

static void
test_a_group_ends(void)
{
	struct child c;
	int fd = shell(&c, "trap '' TERM; sleep 1000 & echo; while :; do sleep 1; done", NULL, NULL);

	CHECK(read(fd, text, 1) == 1);
	c.due = now + 1000;
	CHECK(child_due() == c.due);
	CHECK(WTERMSIG(wait_for(&c)) == SIGKILL);
	listen_to(fd);                  /* ends only when nobody of the group has the other end */
	fd = shell(&c, "(trap '' TERM; echo; while :; do sleep 1; done) & sleep 1000", NULL, NULL);
	CHECK(read(fd, text, 1) == 1);
	child_stop(&c);
	CHECK(WTERMSIG(wait_for(&c)) == SIGTERM);
	listen_to(fd);
	CHECK(child_due() == INT64_MAX);
	group("a group ends whole, whoever of it ignores SIGTERM");
}

static int
write_to(void *seen)
{
	*(bool *)seen = true;
	return 0;
}

/* What cannot be started is told in memory that is shared with the child.  qemu's emulation of a process makes a copy. */
static bool
children_share_memory(void)
{
	static _Alignas(16) char stack[8192];
	static volatile bool seen;
	int pid = clone(write_to, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, (void *)(uintptr_t)&seen);

	return pid > 0 && waitpid(pid, NULL, 0) == pid && seen;
}

int
main(void)
{
	sigset_t set;

	if (!children_share_memory()) {
		puts("child: nothing was tried, for children share no memory here (an emulator)");
		return EXIT_SUCCESS;
	}

	for (int fd = 3; fd < 256; fd++)        /* of whoever started this */
		fcntl(fd, F_SETFD, FD_CLOEXEC);
	for (int i = 1; i < 32; i++)
		signal(i, SIG_DFL);
	now = 1000;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	test_what_it_finds();
	test_failures();
	test_limits();
	test_a_group_ends();
	return unit_end();
}
