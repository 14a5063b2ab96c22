/* FastCGI records: whatever the cut, the same bytes and the same verdict.  The first byte of the input is the cut. */
#include "../../gateway.h"
#include "cut.h"

enum { BUFFER = 600 };

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct conf silent = { .error_to = TO_NOWHERE, .access_to = TO_NOWHERE };
	static struct result whole, cut;
	static bool opened;
	char *copy;

	if (!opened)
		opened = log_open(&silent);     /* STDERR records go to the log */

	if (size < 1 || size > MOST)
		return 0;
	copy = exactly(data + 1, size - 1);
	decode(fcgi_dialect.next, BUFFER, copy, (unsigned)size - 1, MOST, &whole);
	decode(fcgi_dialect.next, BUFFER, copy, (unsigned)size - 1, 1 + data[0] % 64, &cut);
	HOLDS(whole.io == cut.io && whole.moved == cut.moved && !memcmp(whole.bytes, cut.bytes, whole.moved));
	HOLDS(whole.io != IO_DONE || (whole.taken == cut.taken && whole.failed == cut.failed));
	free(copy);
	return 0;
}
