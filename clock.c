/* clock.c - the time of the turn: asked once, the same for everyone until the next poll */
#include "base.h"

uint32_t turn_number;
int64_t now, wall;

static int64_t
milliseconds(const struct timespec *t)
{
	return (int64_t)t->tv_sec * 1000 + (uint32_t)t->tv_nsec / 1000000;
}

int64_t
clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return milliseconds(&t);
}

void
clock_tick(void)
{
	static time_t second = -1;
	struct timespec t;

	turn_number++;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now = milliseconds(&t);
	if (t.tv_sec == second)
		return;
	second = t.tv_sec;
	clock_gettime(CLOCK_REALTIME, &t);
	wall = t.tv_sec;
}
