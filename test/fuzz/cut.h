/* cut.h - a framed body decoded in pieces of a given size: the cut must not matter */
#ifndef CUT_H
#define CUT_H

#include "fuzz.h"

enum { MOST = 1 << 16, BUFFER_MOST = 5000 };

struct result { enum io io; uint64_t moved; unsigned taken, failed; char bytes[MOST]; };

static inline void
decode(enum io (*next)(struct body *, struct buf *), unsigned buffer, const char *p, unsigned n, unsigned cut,
    struct result *to)
{
	static char in_data[BUFFER_MOST], out_data[BUFFER_MOST];
	struct buf in = { in_data, 0, 0, buffer, false }, out = { out_data, 0, 0, buffer, false };
	struct relay r = { .next = next, .put = raw_put, .limit = UINT64_MAX };
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

#endif
