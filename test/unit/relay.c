/* relay.c: whatever the source, the sink, the buffers and the cuts, no byte is lost and nothing stands still
 *
 *   wire ---> in ---relay---> out ---> decoded by a decoder of this file's own, and compared
 *        feed                     drain
 */
#include "unit.h"
#include "../../gateway.h"

enum { PAYLOAD = 700, WIRE = 8192, MOST = 512 };

static unsigned char payload[PAYLOAD];
static const struct span surplus = SPAN("GET / HTTP/1.1\r\n");  /* what lies behind a body is not the relay's */

static uint32_t seed = 1;

static unsigned
chance(unsigned below)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % below;
}

/* -- sources: payload as it comes over the wire ------------------------------------------------------- */

static void
wire_plain(struct buf *to, unsigned n)
{
	buf_mem(to, payload, n);
}

static void
wire_chunked(struct buf *to, unsigned n)
{
	static const char *const extensions[] = { "", "", ";a", ";a=b", " ;a", ";a=\"b c\"", "\t; q" };

	for (unsigned at = 0, size; at < n; at += size) {
		size = 1 + chance(chance(2) ? 8 : 200);
		size = size < n - at ? size : n - at;
		if (!chance(4))
			buf_text(to, "00");
		buf_hex(to, size);
		buf_text(to, extensions[chance(7)]);
		buf_text(to, "\r\n");
		buf_mem(to, payload + at, size);
		buf_text(to, "\r\n");
	}
	buf_text(to, chance(2) ? "0\r\n\r\n" : "0;x\r\nA: b\r\nC:\r\n\r\n");
}

static void
record(struct buf *to, unsigned type, const void *p, unsigned n, unsigned padding)
{
	static const char zeros[8];

	buf_mem(to, (unsigned char[]){ 1, (unsigned char)type, 0, 1, (unsigned char)(n >> 8), (unsigned char)n,
	    (unsigned char)padding, 0 }, 8);
	buf_mem(to, p, n);
	buf_mem(to, zeros, padding);
}

static void
wire_fcgi(struct buf *to, unsigned n)
{
	for (unsigned at = 0, size; at < n; at += size) {
		size = 1 + chance(chance(2) ? 8 : 200);
		size = size < n - at ? size : n - at;
		if (!chance(5))
			record(to, 6, "", 0, 0);        /* the end of STDOUT is not yet the end of the request */
		record(to, 6, payload + at, size, chance(8));
	}
	record(to, 3, "\0\0\0\0\0\0\0", 8, 0);
}

struct source {
	const char *name;
	enum io (*next)(struct body *, struct buf *);
	void (*wire)(struct buf *, unsigned);
	bool knows_length, until_end;
};

/* -- sinks: what was put, decoded anew ------------------------------------------------------------------ */

static unsigned
plain_bytes(const char *p, unsigned n, char *to)
{
	memcpy(to, p, n);
	return n;
}

static unsigned
chunked_bytes(const char *p, unsigned n, char *to)
{
	const char *end = p + n;
	unsigned got = 0;

	while (p < end) {
		char *stop;
		unsigned long size = strtoul(p, &stop, 16);

		if (!CHECK(stop > p && stop[0] == '\r' && stop[1] == '\n' && size < (unsigned long)(end - stop)))
			return 0;
		memcpy(to + got, stop + 2, size);
		got += (unsigned)size;
		p = stop + 2 + size + 2;
		CHECK(p[-2] == '\r' && p[-1] == '\n');
		CHECK(size || p == end);
	}
	CHECK(n >= 5 && !memcmp(end - 5, "0\r\n\r\n", 5));
	return got;
}

static unsigned
fcgi_bytes(const char *p, unsigned n, char *to)
{
	unsigned got = 0, at = 0, size = 1;

	while (at < n) {
		const unsigned char *h = (const unsigned char *)p + at;

		size = h[4] << 8 | h[5];
		if (!CHECK(at + 8 + size + h[6] <= n && h[0] == 1 && h[1] == 5))
			return 0;
		memcpy(to + got, h + 8, size);
		got += size;
		at += 8 + size + h[6];
		CHECK(size || at == n);
	}
	CHECK(!size);
	return got;
}

struct sink {
	const char *name;
	unsigned (*put)(struct buf *, const char *, unsigned);
	unsigned (*bytes)(const char *, unsigned, char *);
};

/* -- the property --------------------------------------------------------------------------------------- */

struct trial { const struct source *source; const struct sink *sink; unsigned n, in, out, feed, drain; };

static bool
run(const struct trial *t)
{
	static char wire[WIRE], got[WIRE], plain[WIRE], in_data[MOST], out_data[MOST];
	struct buf w = { wire, 0, 0, sizeof wire, false }, g = { got, 0, 0, sizeof got, false };
	struct buf in = { in_data, 0, 0, t->in, false }, out = { out_data, 0, 0, t->out, false };
	struct relay r = { .next = t->source->next, .put = t->sink->put, .limit = UINT64_MAX };
	unsigned idle = 0, n, end;
	enum io io = IO_WAIT;

	t->source->wire(&w, t->n);
	end = w.w;
	if (t->source->knows_length)
		r.body.left = t->n;
	if (!t->source->until_end)
		buf_span(&w, surplus);
	for (unsigned turn = 0; idle < 3; turn++) {
		unsigned moves = 0;

		n = buf_used(&w) < t->feed ? buf_used(&w) : t->feed;
		n = n < buf_room(&in) ? n : buf_room(&in);
		if (n) {
			buf_mem(&in, w.data + w.r, n);
			w.r += n;
			moves++;
		}
		if (t->source->until_end)
			r.body.ended = w.r == w.w;
		io = relay(&r, &in, &out);
		if (io == IO_FAIL)
			return false;
		moves += io == IO_MOVED;
		n = buf_used(&out) < t->drain ? buf_used(&out) : t->drain;
		buf_mem(&g, out.data + out.r, n);
		buf_take(&out, n);
		moves += n > 0;
		idle = moves ? 0 : idle + 1;
	}
	if (io != IO_DONE || !r.done || r.moved != t->n || in.bad || out.bad || w.bad || g.bad)
		return false;
	if (!t->source->until_end && w.r - buf_used(&in) != end)
		return false;
	if (!t->sink->bytes)
		return !g.w;
	n = t->sink->bytes(g.data, g.w, plain);
	return n == t->n && !memcmp(plain, payload, n);
}

static void
test_all(void)
{
	const struct source sources[] = {
		{ "length", length_next, wire_plain, true, false }, { "chunked", chunked_next, wire_chunked, false, false },
		{ "until eof", until_eof_next, wire_plain, false, true },
		{ "fcgi", fcgi_dialect.next, wire_fcgi, false, false },
	};
	const struct sink sinks[] = {
		{ "raw", raw_put, plain_bytes }, { "chunked", chunked_put, chunked_bytes },
		{ "fcgi", fcgi_dialect.put, fcgi_bytes }, { "discard", discard_put, NULL },
	};
	static const unsigned lengths[] = { 0, 1, 2, 17, 256, PAYLOAD }, sizes[] = { 16, 17, 31, 64, 300, MOST };
	static const unsigned cuts[] = { 1, 2, 3, 7, 15, 16, 100, WIRE };

	for (unsigned so = 0; so < 4; so++) {
		for (unsigned i = 0; i < 4 * 6 * 6 * 6 * 8 * 8; i++) {
			unsigned k = i;
			struct trial t = { .source = sources + so };

			t.sink = sinks + k % 4, k /= 4;
			t.n = lengths[k % 6], k /= 6;
			t.in = sizes[k % 6], k /= 6;
			t.out = sizes[k % 6], k /= 6;
			t.feed = cuts[k % 8], k /= 8;
			t.drain = cuts[k % 8];
			if (chance(8))                  /* one in eight of all, other ones for each source */
				continue;
			if (!CHECK(run(&t)))
				printf("   %s to %s: %u bytes, buffers %u %u, cuts %u %u\n", t.source->name, t.sink->name,
				    t.n, t.in, t.out, t.feed, t.drain);
		}
		group(sources[so].name);
	}
}

/* -- what chunked bodies may not be ------------------------------------------------------------------- */

/* The answer to text that comes n bytes at a time: IO_WAIT when the end never came. */
static enum io
chunked_in_cuts(const char *text, unsigned length, unsigned n, unsigned *moved)
{
	static char in_data[8192], out_data[8192];
	struct buf in = { in_data, 0, 0, sizeof in_data, false }, out = { out_data, 0, 0, sizeof out_data, false };
	struct relay r = { .next = chunked_next, .put = raw_put, .limit = UINT64_MAX };
	enum io io = IO_WAIT;

	for (unsigned at = 0; at < length && io != IO_FAIL && io != IO_DONE; at += n) {
		buf_mem(&in, text + at, n < length - at ? n : length - at);
		io = relay(&r, &in, &out);
	}
	*moved = (unsigned)r.moved;
	return io == IO_MOVED ? IO_WAIT : io;
}

static void
test_bad_chunks(void)
{
	static const struct { const char *text; enum io io; unsigned moved; } t[] = {
		{ "5\r\nhello\r\n0\r\n\r\n", IO_DONE, 5 }, { "5\r\nhello\r\n0\r\nA: b\r\n\r\n", IO_DONE, 5 },
		{ "A;x=\"y\"\r\n0123456789\r\n000\r\n\r\n", IO_DONE, 10 }, { "5\r\nhel", IO_WAIT, 3 },
		{ "5\nhello\r\n0\r\n\r\n", IO_FAIL, 0 }, { "5\r\nhello\n0\r\n\r\n", IO_FAIL, 5 },
		{ "5\r\nhello!\r\n0\r\n\r\n", IO_FAIL, 5 }, { "5\r\nhelloworld", IO_FAIL, 5 },
		{ "\r\n", IO_FAIL, 0 }, { ";a\r\n", IO_FAIL, 0 }, { "g\r\n", IO_FAIL, 0 }, { "0x5\r\nhello", IO_FAIL, 0 },
		{ "+5\r\nhello", IO_FAIL, 0 }, { "-5\r\nhello", IO_FAIL, 0 }, { " 5\r\nhello", IO_FAIL, 0 },
		{ "5 \r\nhello", IO_FAIL, 0 }, { "5 5\r\nhello", IO_FAIL, 0 }, { "5,\r\nhello", IO_FAIL, 0 },
		{ "5;a\rb\r\nhello", IO_FAIL, 0 }, { "5\r\r\nhello", IO_FAIL, 0 }, { "5;\x01\r\nhello", IO_FAIL, 0 },
		{ "5;a\nb\r\nhello", IO_FAIL, 0 }, { "7fffffffffffffff\r\nhello", IO_WAIT, 5 },
		{ "8000000000000000\r\nhello", IO_FAIL, 0 }, { "10000000000000000\r\nhello", IO_FAIL, 0 },
		{ "fffffffffffffffffffff\r\n", IO_FAIL, 0 }, { "0\r\nA: b\n\r\n", IO_FAIL, 0 },
		{ "0\r\nA: b\rc\r\n\r\n", IO_FAIL, 0 }, { "0\r\n b\r\n\r\n", IO_FAIL, 0 }, { "0\r\nno field\r\n\r\n", IO_FAIL, 0 },
		{ "0\r\n: b\r\n\r\n", IO_FAIL, 0 }, { "0\r\n\n", IO_FAIL, 0 }, { "0\r\nA: b\r\n", IO_WAIT, 0 },
	};
	static char text[9000];
	unsigned n, moved;

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++)
		for (unsigned cut = 1; cut < 24; cut++) {
			enum io io = chunked_in_cuts(t[i].text, (unsigned)strlen(t[i].text), cut, &moved);

			if (!CHECK(io == t[i].io && moved == t[i].moved))
				printf("   %s in cuts of %u: %d, moved %u\n", t[i].text, cut, io, moved);
		}
	CHECK(chunked_in_cuts("5;\0\r\nhello", 10, 1, &moved) == IO_FAIL);
	for (unsigned extension = 240; extension < 280; extension++) {
		n = (unsigned)sprintf(text, "5;");
		memset(text + n, 'a', extension);
		n += extension;
		n += (unsigned)sprintf(text + n, "\r\nhello\r\n0\r\n\r\n");
		CHECK(chunked_in_cuts(text, n, 7, &moved) == (extension + 4 <= 258 ? IO_DONE : IO_FAIL));
	}
	for (unsigned lines = 1; lines < 300; lines += 7) {
		n = (unsigned)sprintf(text, "0\r\n");
		for (unsigned i = 0; i < lines; i++)
			n += (unsigned)sprintf(text + n, "A: 01234567890123456\r\n");
		n += (unsigned)sprintf(text + n, "\r\n");
		CHECK(chunked_in_cuts(text, n, 5, &moved) == (lines * 22 + 2 <= 4096 ? IO_DONE : IO_FAIL));
	}
	group("chunks that are none");
}

/* -- limits and ends ---------------------------------------------------------------------------------- */

static void
test_ends(void)
{
	const struct { const char *name; enum io (*next)(struct body *, struct buf *); const char *wire; } t[] = {
		{ "length", length_next, "hello" }, { "chunked", chunked_next, "9\r\nhello" },
		{ "chunk size", chunked_next, "9" }, { "chunk ending", chunked_next, "5\r\nhello" },
		{ "trailers", chunked_next, "0\r\nA: b\r\n" }, { "fcgi head", fcgi_dialect.next, "\x01\x06" },
		{ "fcgi", fcgi_dialect.next, "\x01\x06\x01" },
	};
	char in_data[64], out_data[64];

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		struct buf in = { in_data, 0, 0, 64, false }, out = { out_data, 0, 0, 64, false };
		struct relay r = { .next = t[i].next, .put = raw_put, .limit = UINT64_MAX };

		if (t[i].next == length_next)
			r.body.left = 9;
		buf_text(&in, t[i].wire);
		CHECK(relay(&r, &in, &out) != IO_DONE && !r.done);
		CHECK(relay(&r, &in, &out) == IO_WAIT);
		r.body.ended = true;
		if (!CHECK(relay(&r, &in, &out) == IO_FAIL && !r.done))
			printf("   %s\n", t[i].name);
	}
	group("a source that ends too early");
	for (unsigned limit = 0; limit < 7; limit++) {
		struct buf in = { in_data, 0, 0, 64, false }, out = { out_data, 0, 0, 64, false };
		struct relay r = { .next = chunked_next, .put = raw_put, .limit = limit };

		buf_text(&in, "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nnext");
		CHECK(relay(&r, &in, &out) == (limit < 5 ? IO_FAIL : IO_DONE));
		CHECK(r.over == (limit < 5) && r.done == (limit >= 5) && r.moved == (limit < 5 ? limit : 5) && out.w == r.moved);
	}
	group("limits");
	{
		struct buf in = { in_data, 0, 0, 64, false }, out = { out_data, 0, 0, 64, false };
		struct relay r = { .next = length_next, .put = chunked_put, .limit = UINT64_MAX };

		buf_text(&out, "0123456789012345678901234567890123456789012345678901234567890");
		CHECK(relay(&r, &in, &out) == IO_WAIT && !r.done);
		buf_take(&out, buf_used(&out));
		CHECK(relay(&r, &in, &out) == IO_DONE && r.done && out.w == 5);
		CHECK(relay(&r, &in, &out) == IO_DONE && out.w == 5);
	}
	group("the end mark goes once, when there is room");
}

int
main(void)
{
	for (unsigned i = 0; i < PAYLOAD; i++)
		payload[i] = (unsigned char)(i * 7 + i / 251);
	test_all();
	test_bad_chunks();
	test_ends();
	return unit_end();
}
