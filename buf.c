/* buf.c - spans, buffers, bounded printing
 *
 *    0        r            w         size
 *    |  gone  |  to be read  |  free  |
 *
 * Nothing here allocates, and nothing here is ever cut short: what does not fit leaves no trace but `bad`.
 */
#include "base.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

/* -- spans --------------------------------------------------------------------------------------- */

char
lower(char c)
{
	return (unsigned char)(c - 'A') < 26 ? (char)(c | 0x20) : c;
}

char *
find_char(const char *text, char c)
{
	for (; *text; text++)
		if (*text == c)
			return (char *)(uintptr_t)text;
	return NULL;
}

char *
find_byte(const char *p, char c, size_t n)
{
	for (; n; n--, p++)
		if (*p == c)
			return (char *)(uintptr_t)p;
	return NULL;
}

int
base64_digit(char c)
{
	if ((unsigned char)(lower(c) - 'a') < 26)
		return lower(c) - 'a' + (c == lower(c) ? 26 : 0);
	if ((unsigned char)(c - '0') < 10)
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

char *
find_last(const char *text, char c)
{
	const char *found = NULL;

	for (; *text; text++)
		if (*text == c)
			found = text;
	return (char *)(uintptr_t)found;
}

int
hex_digit(char c)
{
	if ((unsigned char)(c - '0') < 10)
		return c - '0';
	c |= 0x20;
	return (unsigned char)(c - 'a') < 6 ? c - 'a' + 10 : -1;
}

/* Texts here are short: a call of the C library's memcmp, memchr or memcpy costs more than the work.  The last bytes of
 * what is longer than a word are looked at, or moved, with some of those before them once again. */
static inline bool
same(const char *a, const char *b, unsigned n)
{
	if (n >= 8) {
		const char *last = a + n - 8;

		for (; a < last; a += 8, b += 8)
			if (load8(a) != load8(b))
				return false;
		return load8(last) == load8(b - (a - last));
	}
	if (n >= 4)
		return load4(a) == load4(b) && load4(a + n - 4) == load4(b + n - 4);
	while (n && a[n - 1] == b[n - 1])
		n--;
	return !n;
}

bool
span_eq(struct span a, struct span b)
{
	return a.n == b.n && same(a.p, b.p, a.n);
}

/* They differ in nothing but the 0x20 of letters. */
static inline bool
same_letters(uint64_t x, uint64_t y)
{
	const uint64_t ones = ~(uint64_t)0 / 255;
	uint64_t low = (x | ones * 0x20) & ones * 0x7f;
	uint64_t letters = (low + ones * (0x80 - 'a')) & ~(low + ones * (0x7f - 'z')) & ~x & ones * 0x80;

	return !((x ^ y) & ~(letters >> 2));
}

bool
span_eq_nocase(struct span a, struct span b)
{
	unsigned n = a.n;

	if (n != b.n)
		return false;
	for (; n >= 8; n -= 8, a.p += 8, b.p += 8)
		if (load8(a.p) != load8(b.p) && !same_letters(load8(a.p), load8(b.p)))
			return false;
	if (n >= 4 && !same_letters(load4(a.p), load4(b.p)))
		return false;
	for (unsigned i = n & 4; i < n; i++)
		if (a.p[i] != b.p[i] && lower(a.p[i]) != lower(b.p[i]))
			return false;
	return true;
}

bool
span_starts(struct span s, struct span prefix)
{
	return s.n >= prefix.n && same(s.p, prefix.p, prefix.n);
}

bool
span_starts_nocase(struct span s, struct span prefix)
{
	return s.n >= prefix.n && span_eq_nocase((struct span){ s.p, prefix.n }, prefix);
}

bool
span_ends(struct span s, struct span suffix)
{
	return s.n >= suffix.n && (!suffix.n || same(s.p + (s.n - suffix.n), suffix.p, suffix.n));
}

struct span
span_of(const char *text)
{
	return (struct span){ text, text ? (unsigned)strlen(text) : 0 };
}

struct span
span_trim(struct span s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t'))
		s.p++, s.n--;
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

struct span
span_cut(struct span *rest, char c)
{
	struct span piece = *rest;
	const char *p = piece.p, *end;

	if (!piece.n)
		return piece;
	for (end = p + piece.n; p < end && *p != c; p++)
		;
	piece.n = (unsigned)(p - piece.p);
	if (p < end)
		p++;
	*rest = (struct span){ p, (unsigned)(end - p) };
	return piece;
}

struct span
span_item(struct span *rest, char c)
{
	return span_trim(span_cut(rest, c));
}

bool
span_uint(struct span s, uint64_t *to)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < s.n; i++) {
		unsigned digit = (unsigned char)s.p[i] - '0';

		if (digit > 9 || sum > INT64_MAX / 10)
			return false;
		sum = sum * 10 + digit;
		if (sum > INT64_MAX)
			return false;
	}
	*to = sum;
	return s.n;
}

/* -- buffers ------------------------------------------------------------------------------------- */

APART struct buf
buf_on(char *data, unsigned size)
{
	return (struct buf){ data, 0, 0, size, false };
}

void
buf_take(struct buf *b, unsigned n)
{
	assert(n <= buf_used(b));
	b->r += n;
	if (b->r == b->w)
		b->r = b->w = 0;
}

void
buf_pack(struct buf *b)
{
	if (!b->r)
		return;
	memmove(b->data, b->data + b->r, buf_used(b));
	b->w -= b->r;
	b->r = 0;
}

/* The first and the last so many of n bytes, which are at most twice as many. */
static INLINE void
ends(unsigned size, char *to, const char *p, unsigned n)
{
	memcpy(to, p, size);
	memcpy(to + n - size, p + n - size, size);
}

static INLINE void
copy_short(char *to, const char *p, unsigned n)
{
	enum { LONG = 1024 };           /* from here on the processor knows better */
	if (n >= 32) {
		const char *last = p + n - 32;
		char *end = to + n - 32;

		if (n >= LONG) {
			memcpy(to, p, n);
			return;
		}
		do
			memcpy(to, p, 32);
		while (to += 32, (p += 32) < last);
		memcpy(end, last, 32);
	} else if (n >= 8) {
		if (n >= 16)
			ends(16, to, p, n);
		else
			ends(8, to, p, n);
	} else if (n >= 4) {
		ends(4, to, p, n);
	} else if (n) {
		to[0] = p[0];
		to[n / 2] = p[n / 2];
		to[n - 1] = p[n - 1];
	}
}

void
copy(char *to, const char *p, unsigned n)
{
	copy_short(to, p, n);
}

/* All in one: no function is called more often. */
__attribute__((flatten)) void
buf_mem(struct buf *b, const void *p, unsigned n)
{
	char *to = buf_reserve(b, n);

	if (to)
		copy_short(to, p, n);
}

void
buf_span(struct buf *b, struct span s)
{
	buf_mem(b, s.p, s.n);
}

void
buf_text(struct buf *b, const char *text)
{
	buf_mem(b, text, (unsigned)strlen(text));
}

void
buf_char(struct buf *b, char c)
{
	char *to = buf_reserve(b, 1);

	if (to)
		*to = c;
}

uint32_t
uint_cut(uint64_t *n, uint32_t by)
{
	uint64_t all = *n;
	uint32_t rest = 0;

	if (sizeof (long) == sizeof all) {
		*n = all / by;
		return (uint32_t)(all % by);
	}
	for (unsigned i = 0; i < sizeof all; i++) {     /* bytes go out in front, and those of the result come in behind */
		rest = rest << 8 | (uint32_t)(all >> 56);
		all = all << 8 | rest / by;
		rest %= by;
	}
	*n = all;
	return rest;
}

void
buf_crlf(struct buf *b)
{
	char *to = buf_reserve(b, 2);

	if (to)
		memcpy(to, "\r\n", 2);
}

char *
uint_before(char *p, uint64_t n)
{
	uint32_t low;

	while (n > UINT32_MAX)          /* few turns */
		*--p = (char)('0' + uint_cut(&n, 10));
	low = (uint32_t)n;
	do
		*--p = (char)('0' + low % 10);
	while (low /= 10);
	return p;
}

void
buf_uint(struct buf *b, uint64_t n)
{
	char text[20], *end = text + sizeof text, *p = uint_before(end, n);

	buf_mem(b, p, (unsigned)(end - p));
}

void
buf_length(struct buf *b, uint64_t n)
{
	enum { NAME = sizeof "Content-Length: " - 1 };
	char text[NAME + 20 + 2], *end = text + sizeof text, *p = uint_before(end - 2, n) - NAME;

	memcpy(p, "Content-Length: ", NAME);
	memcpy(end - 2, "\r\n", 2);
	buf_mem(b, p, (unsigned)(end - p));
}

void
buf_hex(struct buf *b, uint64_t n)
{
	char text[16], *p = text + sizeof text;

	do
		*--p = "0123456789abcdef"[n & 15];
	while (n >>= 4);
	buf_mem(b, p, (unsigned)(text + sizeof text - p));
}

/* -- printing ------------------------------------------------------------------------------------ */

static void
print_int(struct buf *b, int n)
{
	if (n < 0)
		buf_char(b, '-');
	buf_uint(b, n < 0 ? -(uint64_t)n : (uint64_t)n);
}

/* The verb at *format, which is stepped over. */
static void
print_verb(struct buf *b, const char **format, va_list *args)
{
	const char *f = *format;
	unsigned n;

	switch (*f++) {
	case '%': buf_char(b, '%'); break;
	case 's': buf_text(b, va_arg(*args, const char *)); break;
	case 'c': buf_char(b, (char)va_arg(*args, int)); break;
	case 'd': print_int(b, va_arg(*args, int)); break;
	case 'u': buf_uint(b, va_arg(*args, unsigned)); break;
	case 'x': buf_hex(b, va_arg(*args, unsigned)); break;
	case 'l':
		if (*f == 'l' && f[1] == 'u')
			buf_uint(b, va_arg(*args, unsigned long long)), f += 2;
		else if (*f == 'u')
			buf_uint(b, va_arg(*args, unsigned long)), f++;
		else
			assert(!"a verb of buf_print");
		break;
	case '.':
		assert(f[0] == '*' && f[1] == 's');
		n = (unsigned)va_arg(*args, int);
		buf_mem(b, va_arg(*args, const char *), n);
		f += 2;
		break;
	default:
		assert(!"a verb of buf_print");
	}
	*format = f;
}

void
buf_vprint(struct buf *b, const char *format, va_list outer)
{
	unsigned from = b->w;
	va_list args;

	va_copy(args, outer);
	while (*format) {
		unsigned n = 0;

		while (format[n] && format[n] != '%')
			n++;

		buf_mem(b, format, n);
		format += n;
		if (*format)
			format++, print_verb(b, &format, &args);
	}
	va_end(args);
	if (b->bad)
		b->w = from;
}

void
buf_print(struct buf *b, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	buf_vprint(b, format, args);
	va_end(args);
}

/* -- escaping ------------------------------------------------------------------------------------ */

/* A bit for each ASCII byte that may stand as it is. */
struct plain { uint32_t bits[4]; bool high; };

static const struct plain plain_html = { { 0xffffffff, 0xafffff3b, 0xffffffff, 0xffffffff }, true };
/* Of what RFC 3986 3.3 lets a segment hold, without ' and & (a link needs no second escaping in HTML) and without
 * the colon (a name with one would be read as a scheme). */
static const struct plain plain_url = { { 0, 0x2bffff12, 0x87ffffff, 0x47fffffe }, false };
static const struct plain plain_log = { { 0, 0xfffffffb, 0xefffffff, 0x7fffffff }, false };

static bool
is_plain(const struct plain *plain, unsigned char c)
{
	return c > 127 ? plain->high : plain->bits[c >> 5] >> (c & 31) & 1;
}

/* Copy what is plain, a run at a time, and call `escape` for each byte that is not. */
static void
copy_escaped(struct buf *b, struct span s, const struct plain *plain, void (*escape)(struct buf *, unsigned char))
{
	unsigned from = b->w, i = 0, run;

	while (i < s.n) {
		for (run = i; i < s.n && is_plain(plain, (unsigned char)s.p[i]); i++)
			;
		buf_mem(b, s.p + run, i - run);
		if (i < s.n)
			escape(b, (unsigned char)s.p[i++]);
	}
	if (b->bad)
		b->w = from;
}

static void
escape_html(struct buf *b, unsigned char c)
{
	buf_print(b, "&#%d;", c);       /* works in attributes as well as in text */
}

static void
escape_hex(struct buf *b, unsigned char c, const char *before, const char *digits)
{
	buf_text(b, before);
	buf_char(b, digits[c >> 4]);
	buf_char(b, digits[c & 15]);
}

static void
escape_url(struct buf *b, unsigned char c)
{
	escape_hex(b, c, "%", "0123456789ABCDEF");
}

static void
escape_log(struct buf *b, unsigned char c)
{
	escape_hex(b, c, "\\x", "0123456789abcdef");
}

void
buf_html(struct buf *b, struct span s)
{
	copy_escaped(b, s, &plain_html, escape_html);
}

void
buf_url(struct buf *b, struct span s)
{
	copy_escaped(b, s, &plain_url, escape_url);
}

void
buf_log(struct buf *b, struct span s)
{
	copy_escaped(b, s, &plain_log, escape_log);
}
