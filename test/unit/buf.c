/* buf.c: spans, numbers, printing, escaping, and what happens when there is no room */
#include "unit.h"

#include <limits.h>

static char data[64];
static struct buf b;

static struct buf *
fresh(unsigned size)
{
	memset(data, '#', sizeof data);
	b = (struct buf){ data, 0, 0, size, false };
	return &b;
}

static bool
holds(const char *text)
{
	return !b.bad && span_eq((struct span){ data + b.r, buf_used(&b) }, span_of(text));
}

static void
test_spans(void)
{
	struct span rest = SPAN("a,,b"), nothing = { NULL, 0 };

	CHECK(span_eq(SPAN("ab"), SPAN("ab")) && !span_eq(SPAN("ab"), SPAN("ac")) && !span_eq(SPAN("ab"), SPAN("abc")));
	CHECK(span_eq(nothing, SPAN("")) && span_eq_nocase(nothing, SPAN("")));
	CHECK(span_eq_nocase(SPAN("X-Forwarded-FOR"), SPAN("x-forwarded-for")));
	CHECK(!span_eq_nocase(SPAN("@"), SPAN("`")) && !span_eq_nocase(SPAN("[[[[[[[["), SPAN("{{{{{{{{")));
	CHECK(!span_eq_nocase(SPAN("12345678-"), SPAN("12345678\r")));
	CHECK(span_starts(SPAN("abc"), SPAN("ab")) && !span_starts(SPAN("a"), SPAN("ab")) && span_starts(SPAN("a"), nothing));
	CHECK(span_ends(SPAN("abc"), SPAN("bc")) && !span_ends(SPAN("c"), SPAN("bc")) && span_ends(SPAN("a"), nothing));
	CHECK(span_eq(span_trim(SPAN(" \ta b\t ")), SPAN("a b")) && !span_trim(SPAN(" \t ")).n && !span_trim(nothing).n);
	CHECK(!span_of(NULL).n && span_of("abc").n == 3);
	CHECK(span_eq(span_cut(&rest, ','), SPAN("a")) && span_eq(rest, SPAN(",b")));
	CHECK(!span_cut(&rest, ',').n && span_eq(span_cut(&rest, ','), SPAN("b")) && !rest.n);
	CHECK(!span_cut(&rest, ',').n && !span_cut(&nothing, ',').n);
	for (unsigned n = 0; n < 20; n++) {     /* every length by eights and by ones: one byte differs, each in turn */
		char x[20], y[20];

		for (unsigned at = 0; at < n; at++) {
			memset(x, 'a', n);
			memset(y, 'A', n);
			CHECK(span_eq_nocase((struct span){ x, n }, (struct span){ y, n }));
			for (unsigned c = 0; c < 256; c++) {
				struct span sx = exactly(x, n), sy;

				y[at] = (char)c;
				sy = exactly(y, n);
				CHECK(span_eq_nocase(sx, sy) == (c == 'a' || c == 'A') && span_eq_nocase(sy, sx) == span_eq_nocase(sx, sy));
				memset(x, 'A', n);
				CHECK(span_eq((struct span){ x, n }, sy) == (c == 'A'));
				CHECK(span_starts(sy, (struct span){ x, at }) && span_starts(sy, (struct span){ x, n }) == (c == 'A'));
				CHECK(span_ends(sy, (struct span){ x, n - at - 1 }) && span_ends(sy, (struct span){ x, n - at }) == (c == 'A'));
				memset(x, 'a', n);
				give_back(sx);
				give_back(sy);
			}
			y[at] = 'b';
			CHECK(!span_eq_nocase((struct span){ x, n }, (struct span){ y, n }));
		}
	}
	group("spans");
}

static void
test_numbers(void)
{
	static const struct { const char *text; bool good; uint64_t value; } t[] = {
		{ "0", true, 0 }, { "007", true, 7 }, { "9223372036854775807", true, INT64_MAX },
		{ "9223372036854775808", false, 0 }, { "18446744073709551617", false, 0 },
		{ "99999999999999999999999999", false, 0 }, { "", false, 0 }, { "-1", false, 0 }, { "+1", false, 0 },
		{ " 1", false, 0 }, { "1 ", false, 0 }, { "0x1", false, 0 }, { "1.0", false, 0 },
	};
	static const uint64_t values[] = { 0, 9, 10, 4294967295, 4294967296, 42949672959, INT64_MAX, UINT64_MAX };
	uint64_t value;

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++)
		CHECK(span_uint(span_of(t[i].text), &value) == t[i].good && (!t[i].good || value == t[i].value));
	for (unsigned i = 0; i < sizeof values / sizeof *values; i++) {
		char text[64];

		sprintf(text, "%llu %llx", (unsigned long long)values[i], (unsigned long long)values[i]);
		buf_uint(fresh(64), values[i]);
		buf_char(&b, ' ');
		buf_hex(&b, values[i]);
		CHECK(holds(text));
		sprintf(text, "Content-Length: %llu\r\n", (unsigned long long)values[i]);
		buf_length(fresh(64), values[i]);
		CHECK(holds(text));
	}
	for (int c = 0; c < 256; c++) {
		static const char digits[] = "0123456789abcdef";
		const char *at = c ? strchr(digits, lower((char)c)) : NULL;

		CHECK(hex_digit((char)c) == (at ? (int)(at - digits) : -1));
		CHECK(lower((char)c) == (c >= 'A' && c <= 'Z' ? (char)(c + 32) : (char)c));
	}
	group("numbers");
}

static void
test_print(void)
{
	buf_print(fresh(64), "%s|%c|%d|%d|%u|%x", "text", 'c', -7, INT_MIN, UINT_MAX, 0xbeefu);
	CHECK(holds("text|c|-7|-2147483648|4294967295|beef"));
	buf_print(fresh(64), "%lu|%llu|%.*s|%%|", 7ul, ULLONG_MAX, 2, "abc");
	CHECK(holds("7|18446744073709551615|ab|%|"));
	buf_print(fresh(64), "%s", "");
	CHECK(holds(""));
	group("printing");
}

static void
test_escapes(void)
{
	buf_html(fresh(64), SPAN("a<b>&\"'/\xc3\xa4"));
	CHECK(holds("a&#60;b&#62;&#38;&#34;&#39;/\xc3\xa4"));
	buf_url(fresh(64), SPAN("/a b/%?#\"<&'\\:\xff~"));
	CHECK(holds("/a%20b/%25%3F%23%22%3C%26%27%5C%3A%FF~"));
	buf_log(fresh(64), SPAN("a b\"\\\r\n\x7f\xff~"));
	CHECK(holds("a b\\x22\\x5c\\x0d\\x0a\\x7f\\xff~"));
	group("escapes");
}

/* Every length is copied whole, and not a byte beside it. */
static void
test_copies(void)
{
	char text[100], store[120];

	for (unsigned i = 0; i < sizeof text; i++)
		text[i] = (char)('0' + i);
	for (unsigned n = 0; n < sizeof text; n++) {
		struct span from = exactly(text, n);
		struct buf to = { store, 0, 3, 3 + n, false };

		memset(store, '#', sizeof store);
		buf_span(&to, from);
		CHECK(!to.bad && to.w == 3 + n && !memcmp(store + 3, text, n) && store[2] == '#' && store[3 + n] == '#');
		give_back(from);
	}
	group("copies");
}

/* What does not fit leaves nothing, for every size; and bad stays. */
static void
test_full(void)
{
	for (unsigned size = 0; size < 12; size++) {
		buf_print(fresh(size), "%s-%u", "abcde", 12345u);
		CHECK(size >= 11 ? holds("abcde-12345") : b.bad && b.w == 0 && data[size] == '#');
		buf_html(fresh(size), SPAN("ab<c"));
		CHECK(size >= 8 ? holds("ab&#60;c") : b.bad && b.w == 0 && data[size] == '#');
	}
	buf_text(fresh(4), "abc");
	buf_text(&b, "de");
	CHECK(b.bad && b.w == 3);
	buf_char(&b, 'd');
	CHECK(b.bad && b.w == 3);
	buf_mem(fresh(0), NULL, 0);
	CHECK(holds(""));
	group("no room");
}

static void
test_take_pack(void)
{
	buf_text(fresh(8), "abcdef");
	buf_take(&b, 2);
	CHECK(b.r == 2 && holds("cdef") && buf_room(&b) == 2);
	buf_pack(&b);
	CHECK(b.r == 0 && holds("cdef") && buf_room(&b) == 4);
	buf_take(&b, 4);
	CHECK(b.r == 0 && b.w == 0);
	group("taking and packing");
}

int
main(void)
{
	test_spans();
	test_numbers();
	test_print();
	test_escapes();
	test_copies();
	test_full();
	test_take_pack();
	return unit_end();
}
