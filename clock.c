/* clock.c - the time of the turn: asked once, the same for everyone until the next poll */
#include "httpd.h"

int64_t now, wall;

int64_t
clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void
clock_tick(void)
{
	int64_t second = now / 1000;
	struct timespec t;

	now = clock_now();
	if (now / 1000 == second && wall)
		return;
	clock_gettime(CLOCK_REALTIME, &t);
	wall = t.tv_sec;
}
