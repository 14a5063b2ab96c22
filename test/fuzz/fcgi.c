/* FastCGI records: whatever the cut, the same bytes and the same verdict.  The first byte of the input is the cut. */
#include "fuzz.h"

enum { BUFFER = 600, MOST = 1 << 16 };

struct result { enum io io; uint64_t moved; unsigned taken, failed; char bytes[MOST]; };

static void
decode(const char *p, unsigned n, unsigned cut, struct result *to)
{
	static char in_data[BUFFER], out_data[BUFFER];
	struct buf in = { in_data, 0, 0, BUFFER, false }, out = { out_data, 0, 0, BUFFER, false };
	struct relay r = { .next = fcgi_dialect.next, .put = raw_put, .limit = UINT64_MAX };
	enum io io = IO_WAIT;
	unsigned at = 0, got = 0;

	do {
		unsigned step = n - at < cut ? n - at : cut;

		if (step > buf_room(&in))
			step = buf_room(&in);
		HOLDS(step || at == n);         /* it never leaves us without room */
		buf_mem(&in, p + at, step);
		at += step;
		do {
			io = relay(&r, &in, &out);
			memcpy(to->bytes + got, out.data + out.r, buf_used(&out));
			got += buf_used(&out);
			buf_take(&out, buf_used(&out));
		} while (io == IO_MOVED);
	} while (at < n && io == IO_WAIT);
	HOLDS(got == r.moved && !in.bad && !out.bad);
	to->io = io;
	to->moved = r.moved;
	to->failed = r.body.failed;
	to->taken = at - buf_used(&in);
}

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
	decode(copy, (unsigned)size - 1, MOST, &whole);
	decode(copy, (unsigned)size - 1, 1 + data[0] % 64, &cut);
	HOLDS(whole.io == cut.io && whole.moved == cut.moved && !memcmp(whole.bytes, cut.bytes, whole.moved));
	HOLDS(whole.io != IO_DONE || (whole.taken == cut.taken && whole.failed == cut.failed));
	free(copy);
	return 0;
}
