/* Chunked bodies: whatever the cut, the same bytes and the same verdict.  The first byte of the input is the cut. */
#include "cut.h"

enum { BUFFER = 5000 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct result whole, cut;
	char *copy;

	if (size < 1 || size > MOST)
		return 0;
	copy = exactly(data + 1, size - 1);
	decode(chunked_next, BUFFER, copy, (unsigned)size - 1, MOST, &whole);
	decode(chunked_next, BUFFER, copy, (unsigned)size - 1, 1 + data[0] % 64, &cut);
	HOLDS(whole.io == cut.io && whole.moved == cut.moved && !memcmp(whole.bytes, cut.bytes, whole.moved));
	HOLDS(whole.io != IO_DONE || (whole.taken == cut.taken && whole.taken <= size - 1 &&
	    !memcmp(copy + whole.taken - 4, "\r\n\r\n", 4)));
	free(copy);
	return 0;
}
