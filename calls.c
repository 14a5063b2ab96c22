/* calls.c - system calls as the kernel has them
 *
 * What libc's functions of these names do besides is for kernels of 2008, or for threads: 4 KB in a static program.
 */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int
call_open(int dir, const char *path, int flags, int mode)
{
	return syscall(SYS_openat, dir, path, flags | O_LARGEFILE, mode);
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
		return path ? fstatat(dir, path, st, flags) : fstat(dir, st);
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
