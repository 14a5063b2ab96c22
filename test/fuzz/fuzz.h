/* fuzz.h - what the fuzzers share: a property that does not hold ends the program, so that the input is kept */
#ifndef FUZZ_H
#define FUZZ_H

#include "../../httpd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

__attribute__((weak)) int64_t now, wall;        /* clock.c has them in the server */

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define HOLDS(condition) holds(condition, __FILE__, __LINE__, #condition)

static inline void
holds(bool good, const char *file, int line, const char *text)
{
	if (good)
		return;
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, text);
	abort();
}

/* Bytes in a block of their own size, so that the sanitizer sees each one read too far. */
static inline char *
exactly(const void *p, size_t n)
{
	char *copy = malloc(n ? n : 1);

	HOLDS(copy);
	if (n)
		memcpy(copy, p, n);
	return copy;
}

/* What request_path promises. */
static inline void
path_holds(const struct request *r)
{
	struct span rest = r->path;

	HOLDS(r->path.p == r->store && r->path.n && r->path.n < PATH_STORE && !r->store[r->path.n]);
	HOLDS(*r->path.p == '/' && !memchr(r->path.p, 0, r->path.n));
	span_cut(&rest, '/');
	while (rest.n) {
		struct span segment = span_cut(&rest, '/');

		HOLDS(segment.n && !span_eq(segment, SPAN(".")) && !span_eq(segment, SPAN("..")));
	}
}

#endif
