/* scan.h - the bytes of heads: what each may be part of, and eight of them at a time
 *
 * For http.c alone, which is where every byte from the network is looked at first.
 */
#ifndef SCAN_H
#define SCAN_H

#include "base.h"

/* -- bytes ---------------------------------------------------------------------------------------- */

/* RFC 9110 5.6.2; no space, control or "#"; a host name; a target's bytes but for "?" */
enum { TOKEN = 1, TARGET = 2, HOST = 4, PATH = 8 };

static const uint8_t class[256] = {
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
	 0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
	 0, 11, 10,  1, 11, 11, 11, 11, 10, 10, 11, 11, 10, 15, 15, 10,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 10, 10, 10, 10, 10,  2,
	10, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 10, 10, 10, 11, 15,
	11, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15,
	15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 15, 10, 11, 10, 15,  0,
	10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
	10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
	10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
	10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10,
};

static bool
is(char c, unsigned what)
{
	return class[(unsigned char)c] & what;
}

/* -- eight bytes at a time ------------------------------------------------------------------------- */

static const uint64_t ones = ~(uint64_t)0 / 255;        /* times a byte: that byte eight times */
static const uint64_t tops = ~(uint64_t)0 / 255 << 7;

/* Eight bytes, the first one lowest. */
static inline uint64_t
first8(const char *p)
{
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(load8(p)) : load8(p);
}

/* Marks are the top bits of bytes.  The lowest one is true; those above it may be there for a carry alone. */
static inline uint64_t
mark_odd(uint64_t x, unsigned char below)       /* bytes below that one, DEL, and those above 127 */
{
	return (x - ones * below) | (x + ones);
}

static inline unsigned
lowest(uint64_t marks)
{
	return (unsigned)__builtin_ctzll(marks) >> 3;
}

/* The first byte that mark_odd marks; none is looked at beyond `last`, which lies sixteen bytes before the end.  May stop
 * too early, never too late: the caller goes on byte by byte. */
static INLINE const char *
skip_plain(const char *p, const char *last, unsigned char below)
{
	uint64_t stops;

	if (p <= last)
		do {
			stops = mark_odd(first8(p), below) & tops;
			if (stops)
				return p + lowest(stops);
			stops = mark_odd(first8(p + 8), below) & tops;
			if (stops)
				return p + 8 + lowest(stops);
		} while ((p += 16) <= last);
	return p;
}

/* The first byte that is no letter and no hyphen, in the same way, by eights. */
static INLINE const char *
skip_letters(const char *p, const char *last)
{
	uint64_t x, small, stops;

	if (p > last)
		return p;
	do {
		x = first8(p);
		small = x | ones * 0x20;
		stops = (ones * (0x7f + 'a') - small) | (small + ones * (0x7f - 'z'));
		stops = ((stops & ((x ^ ones * '-') + ones * 0x7f)) | x) & tops;
		if (stops)
			return p + lowest(stops);
	} while ((p += 8) <= last);
	return p;
}

static inline const char *
token_end(const char *p)
{
	while (is(*p, TOKEN))
		p++;
	return p;
}

/* The end of a field value, any control but HTAB: what is left of it when skip_plain is done. */
static __attribute__((noinline)) const char *
value_end(const char *p, const char *end)
{
	for (; p <= end - 8; p += 8) {
		uint64_t stops = mark_odd(first8(p), ' ') & tops;

		if (stops) {
			p += lowest(stops);
			break;
		}
	}
	while (p < end && (((unsigned char)*p >= ' ' && *p != 0x7f) || *p == '\t'))
		p++;
	return p;
}

#endif
