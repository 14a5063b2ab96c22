/* calls.c - system calls as the kernel has them
 *
 * What libc's functions of these names do besides is for kernels of 2008, for threads that may be cancelled, or for
 * structures of which a processor of 32 bits had others once: 5 to 10 KB in a static program.
 */
#include "base.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int
call_open(int dir, const char *path, int flags, int mode)
{
	return syscall(SYS_openat, dir, path, flags | O_LARGEFILE, mode);
}

int
call_close(int fd)
{
	return syscall(SYS_close, fd);
}

ssize_t
call_read(int fd, void *to, size_t n)
{
	return syscall(SYS_read, fd, to, n);
}

ssize_t
call_write(int fd, const void *p, size_t n)
{
	return syscall(SYS_write, fd, p, n);
}

int
call_pipe(int fd[2])
{
	return syscall(SYS_pipe2, fd, O_CLOEXEC);
}

int
call_chown(int fd, uid_t uid, gid_t gid)
{
	return syscall(CALL_FCHOWN, fd, uid, gid);
}

/* Where a long has 64 bits, libc's structure is the kernel's. */
int
call_stat(int dir, const char *path, int flags, struct stat *st)
{
	if (CALL_FSTATAT < 0)
		return fstatat(dir, path ? path : "", st, path ? flags : AT_EMPTY_PATH);
	return path ? syscall(CALL_FSTATAT, dir, path, st, flags) : syscall(SYS_fstat, dir, st);
}

void *
call_map(size_t n, int flags)
{
	long at = syscall(CALL_MMAP, NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0L);

	return at == -1 ? NULL : (void *)at;
}

/* A structure of zeros is SIG_DFL, however a processor's kernel lays it out. */
void
call_default(int number)
{
	static const uint64_t none[8];

	syscall(SYS_rt_sigaction, number, none, NULL, _NSIG / 8);
}

void
call_munmap(void *at, size_t n)
{
	syscall(SYS_munmap, at, n);
}

int
call_ioctl(int fd, unsigned request, void *about)
{
	return syscall(SYS_ioctl, fd, (unsigned long)request, about);
}

void
call_unblock(int fd)
{
	call_ioctl(fd, FIONBIO, &(int){ 1 });
}

ssize_t
call_getrandom(void *to, size_t n, unsigned flags)
{
	return syscall(SYS_getrandom, to, n, flags);
}

/* -- programs ------------------------------------------------------------------------------------------ */

int
call_waitpid(int pid, int *status, int options)
{
	return syscall(SYS_wait4, pid, status, options, NULL);
}

int
call_waitid(int type, int id, siginfo_t *info, int options)
{
	return syscall(SYS_waitid, type, id, info, options, NULL);
}

void
call_sigwait(const struct signals *some, long ms)
{
	const long time[2] = { ms / 1000, ms % 1000 * 1000000 };

	syscall(SYS_rt_sigtimedwait, some, NULL, time, _NSIG / 8);
}

/* -- sockets ------------------------------------------------------------------------------------------- */

int
call_socket(int family, int type, int protocol)
{
	return syscall(SYS_socket, family, type, protocol);
}

int
call_connect(int fd, const struct sockaddr *a, socklen_t size)
{
	return syscall(SYS_connect, fd, a, size);
}

int
call_bind(int fd, const struct sockaddr *a, socklen_t size)
{
	return syscall(SYS_bind, fd, a, size);
}

int
call_listen(int fd, int most)
{
	return syscall(SYS_listen, fd, most);
}

int
call_shutdown(int fd, int how)
{
	return syscall(SYS_shutdown, fd, how);
}

int
call_getsockname(int fd, struct sockaddr *a, socklen_t *size)
{
	return syscall(SYS_getsockname, fd, a, size);
}

int
call_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	return syscall(SYS_getsockopt, fd, level, name, value, size);
}

int
call_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	return syscall(SYS_setsockopt, fd, level, name, value, size);
}

int
call_epoll_create1(int flags)
{
	return syscall(SYS_epoll_create1, flags);
}

int
call_epoll_ctl(int epoll, int what, int fd, struct epoll_event *event)
{
	return syscall(SYS_epoll_ctl, epoll, what, fd, event);
}

int
call_epoll_wait(int epoll, struct epoll_event *to, int most, int ms)
{
	return syscall(SYS_epoll_pwait, epoll, to, most, ms, NULL, _NSIG / 8);
}
