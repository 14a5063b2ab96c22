/* dns.c - the grammar of a question about a name, and of its answer (RFC 1035 4)
 *
 *   | id | bits | 1 0 0 0 |  3 n a s 3 l a n 0  type class | name type class ttl length data | ...
 *   `--- head, 12 bytes --'`-- question, which an answer ---'`-- answers: addresses, and names on
 *                              repeats to the letter              the way to them
 *
 * An answer is taken when it has our id and repeats our question; the rest of it is the resolver's word.
 */
#include "resolve.h"

#include <string.h>

enum { HEAD = 12, CLASS_IN = 1, NO_SUCH_NAME = 3, LABEL_MOST = 63 };

static unsigned
two(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static char *
put_two(char *to, unsigned n)
{
	*to++ = (char)(n >> 8);
	*to++ = (char)n;
	return to;
}

unsigned
dns_question(char to[DNS_QUESTION], uint16_t id, struct span name, unsigned type)
{
	char *at = put_two(to, id), *start = to;

	if (!name.n || name.n > NAME_MOST)
		return 0;
	memcpy(at, "\1\0\0\1\0\0\0\0\0\0", 10);         /* recursion desired, one question */
	for (at += 10; name.n; at += (unsigned char)at[-1]) {
		struct span label = span_cut(&name, '.');

		if (!label.n || label.n > LABEL_MOST)
			return 0;
		*at++ = (char)label.n;
		memcpy(at, label.p, label.n);
	}
	*at++ = 0;
	return (unsigned)(put_two(put_two(at, type), CLASS_IN) - start);
}

/* Where the name at `at` ends, n when it does not: labels, and a pointer at their end (4.1.4). */
static unsigned
name_end(const unsigned char *p, unsigned n, unsigned at)
{
	while (at < n && p[at] && p[at] < 0xc0)
		at += 1 + p[at];
	if (at >= n)
		return n;
	return p[at] ? at + 2 : at + 1;
}

static void
keep_address(struct found *f, unsigned type, const unsigned char *data, unsigned length)
{
	static const unsigned char no_port[2];
	bool six = type == DNS_AAAA;

	if ((type == DNS_A ? length == 4 : six && length == 16) && f->n < NAME_ADDRS)
		f->ip[f->n++] = from_ip(six ? AF_INET6 : AF_INET, data, no_port);
}

static bool
read_answers(const unsigned char *p, unsigned n, unsigned at, unsigned wanted, struct found *f)
{
	for (unsigned left = two(p + 6); left; left--) {
		unsigned type, length;
		uint32_t ttl;

		at = name_end(p, n, at);
		if (at + 10 > n)
			return false;
		type = two(p + at);
		ttl = (uint32_t)two(p + at + 4) << 16 | two(p + at + 6);
		length = two(p + at + 8);
		at += 10;
		if (length > n - at)
			return false;
		if (type == wanted)
			keep_address(f, type, p + at, length);
		f->ttl = ttl < f->ttl ? ttl : f->ttl;
		at += length;
	}
	return true;
}

enum dns
dns_answer(const char *answer, unsigned n, const char *question, unsigned question_n, struct found *f)
{
	const unsigned char *p = (const unsigned char *)answer;
	bool truncated, whole;

	*f = (struct found){ .ttl = UINT32_MAX };
	if (n < question_n || memcmp(answer, question, 2) || !(p[2] & 0x80) || p[2] & 0x78 || two(p + 4) != 1)
		return DNS_OTHER;
	if (!span_eq_nocase((struct span){ answer + HEAD, question_n - HEAD },
	    (struct span){ question + HEAD, question_n - HEAD }))
		return DNS_OTHER;
	if ((p[3] & 15) == NO_SUCH_NAME)
		return DNS_NONE;
	if (p[3] & 15)
		return DNS_FAILED;
	truncated = p[2] & 2;           /* what there is of it will do */
	whole = read_answers(p, n, question_n, two((const unsigned char *)question + question_n - 4), f);
	if (f->n)
		return DNS_FOUND;
	return whole && !truncated ? DNS_NONE : DNS_FAILED;
}
