/* Preloaded before the server: the time of day is what stands in the file CLOCK_FILE, in seconds since 1970, and goes
 * on from there; the monotonic clock is left alone. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int
clock_gettime(clockid_t clock, struct timespec *t)
{
	const char *file = getenv("CLOCK_FILE");
	char text[32] = { 0 };
	int fd;

	if (syscall(SYS_clock_gettime, clock, t) < 0)
		return -1;
	if (clock != CLOCK_REALTIME || !file)
		return 0;
	fd = open(file, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
		abort();
	close(fd);
	t->tv_sec = atoll(text);
	return 0;
}
