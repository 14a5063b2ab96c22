/* unit.h - a unit program: checks that count, and a line for each group of them */
#ifndef UNIT_H
#define UNIT_H

#include "../../httpd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((weak)) int64_t now, wall;         /* httpd.c has them in the server */

static unsigned unit_checks, unit_failures, unit_failures_before;

#define CHECK(condition) check(condition, __FILE__, __LINE__, #condition)

static inline bool
check(bool good, const char *file, int line, const char *text)
{
	unit_checks++;
	if (!good && ++unit_failures <= 20)
		printf("not ok %s:%d: %s\n", file, line, text);
	return good;
}

static inline void
group(const char *name)
{
	if (unit_failures == unit_failures_before)
		printf("ok %s\n", name);
	unit_failures_before = unit_failures;
}

static inline int
unit_end(void)
{
	printf("%u checks, %u failed\n", unit_checks, unit_failures);
	return unit_failures ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Bytes in a block of their own size, so that the sanitizer sees each one read too far. */
static inline struct span
exactly(const char *p, size_t n)
{
	char *copy = malloc(n ? n : 1);

	if (!copy)
		abort();
	memcpy(copy, p, n);
	return (struct span){ copy, (unsigned)n };
}

static inline void
give_back(struct span s)
{
	free((void *)(uintptr_t)s.p);
}

#endif
