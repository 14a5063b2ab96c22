/* PROXY headers: whatever comes, the answer for a beginning agrees with the one for the whole. */
#include "fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct from whole = { 0 }, part;
	int length, before;
	char *copy;

	if (!n)
		return 0;
	n = n < CLIENT_IN ? n : CLIENT_IN;
	copy = exactly(data, n);
	length = proxy_header(copy, (unsigned)n, &whole);
	HOLDS(length <= (int)n);
	free(copy);
	for (size_t i = 1; i < n && i < 600; i++) {
		copy = exactly(data, i);
		part = (struct from){ 0 };
		before = proxy_header(copy, (unsigned)i, &part);
		free(copy);
		if (length > 0)         /* refused before its end, or taken before it: neither may be */
			HOLDS(before == (i < (size_t)length ? 0 : length));
		if (length == 0)
			HOLDS(before == 0);
		HOLDS(!part.family || (before > 0 && !memcmp(&part, &whole, sizeof part)));
	}
	return 0;
}
