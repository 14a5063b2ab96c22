/* fields.c - the grammar inside field values: lists, codings, entity tags, dates, ranges; and of paths
 *
 * All of it reads what strangers sent.  What is not understood is as if it were not there: RFC 9110 lets a server
 * ignore a condition, a range or a wish that is malformed, and a whole answer is never wrong.
 */
#include "base.h"

#include <string.h>

/* -- lists ---------------------------------------------------------------------------------------- */

bool
list_has(struct span list, struct span token)
{
	while (list.n) {
		struct span element = span_cut(&list, ',');

		if (span_eq_nocase(span_item(&element, ';'), token))
			return true;
	}
	return false;
}

/* weight = OWS ";" OWS "q=" qvalue (RFC 9110 12.4.2): is it above zero?  No weight is 1; a broken one is no wish. */
static bool
weight_positive(struct span weight)
{
	struct span q = span_trim(weight);
	bool positive;

	if (!q.n)
		return true;
	if (q.n < 3 || q.n > 7 || lower(q.p[0]) != 'q' || q.p[1] != '=' || (q.p[2] != '0' && q.p[2] != '1'))
		return false;
	if (q.n > 3 && q.p[3] != '.')
		return false;
	positive = q.p[2] == '1';
	for (unsigned i = 4; i < q.n; i++) {
		if (q.p[i] < '0' || q.p[i] > (q.p[2] == '1' ? '0' : '9'))
			return false;
		positive |= q.p[i] != '0';
	}
	return positive;
}

bool
coding_accepted(struct span field, struct span coding)
{
	bool others = field.p && span_eq(coding, SPAN("identity"));

	while (field.n) {
		struct span rest = span_cut(&field, ','), name = span_item(&rest, ';');

		if (span_eq_nocase(name, coding))
			return weight_positive(rest);
		if (span_eq(name, SPAN("*")))
			others = weight_positive(rest);
	}
	return others;
}

/* -- entity tags (RFC 9110 8.8.3) ------------------------------------------------------------------- */

/* Cut a leading W/ off; true when it was there. */
static bool
cut_weak(struct span *tag)
{
	if (!span_starts(*tag, SPAN("W/")))
		return false;
	*tag = (struct span){ tag->p + 2, tag->n - 2 };
	return true;
}

/* The quoted tag that begins the list, its quotes included; empty when there is none. */
static struct span
cut_tag(struct span *list)
{
	struct span tag = { list->p, 0 };
	const char *close = list->n && *list->p == '"' ? find_byte(list->p + 1, '"', list->n - 1) : NULL;

	if (close)
		tag.n = (unsigned)(close - tag.p) + 1;
	*list = (struct span){ list->p + tag.n, list->n - tag.n };
	return tag;
}

bool
etag_matches(struct span list, struct span etag, bool weak)
{
	bool is_weak = cut_weak(&etag);

	if (span_eq(span_trim(list), SPAN("*")))
		return true;
	for (list = span_trim(list); list.n; list = span_trim(list)) {
		bool other_weak = cut_weak(&list);
		struct span tag = cut_tag(&list);

		if (tag.n && span_eq(tag, etag) && (weak || (!is_weak && !other_weak)))
			return true;
		list = span_trim(list);
		if (list.n && *list.p != ',')
			return false;
		span_cut(&list, ',');
	}
	return false;
}

/* -- dates (RFC 9110 5.6.7) ------------------------------------------------------------------------- */

/* Dates are read and written by patterns, whose letters below stand for the parts of a struct civil, in its order: names of
 * three letters, and numbers of two digits, but four of Y; y is a year of this century or the last one.  In what is read *
 * is the rest of a long name of a day, and _ stands before a number that may have a blank in place of its first digit. */
static const char parts[] = "Ybdhmswy", imf[] = "w, d b Y h:m:s GMT";
enum { MONTH = 1, WEEKDAY = 6, SHORT_YEAR = 7 };

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";

enum { EPOCH = 719468 };                /* days from 0000-03-01 to 1970-01-01 */

/* Years are counted from March, so that the leap day is the last of its year and months need no table. */
int64_t
civil_seconds(const struct civil *c)
{
	unsigned year = c->year - (c->month < 3), month = (c->month + 9) % 12;
	unsigned days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + c->day - 1;

	return ((int64_t)days - EPOCH) * 86400 + c->hour * 3600 + c->minute * 60 + c->second;
}

struct civil
civil_of(int64_t seconds)
{
	const int64_t last = 253402300799;
	uint64_t t = (uint64_t)(seconds < 0 ? 0 : seconds > last ? last : seconds);
	uint32_t doe, yoe, doy, month;
	struct civil c;
	uint64_t era;

	c.second = uint_cut(&t, 60);
	c.minute = uint_cut(&t, 60);
	c.hour = uint_cut(&t, 24);
	era = t + EPOCH;
	doe = uint_cut(&era, 146097);
	yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	month = (5 * doy + 2) / 153;
	c.weekday = ((uint32_t)t + 4) % 7;
	c.day = doy - (153 * month + 2) / 5 + 1;
	c.month = month < 10 ? month + 3 : month - 9;
	c.year = yoe + (uint32_t)era * 400 + (c.month < 3);
	return c;
}

/* A name of three letters: 1 for the first in the row, 0 for none. */
static unsigned
name_index(const char *names, const char *p)
{
	for (unsigned i = 0; names[i]; i += 3)
		if (!memcmp(names + i, p, 3))
			return i / 3 + 1;
	return 0;
}

/* Step over n digits; false when there are others. */
static bool
cut_digits(struct span *s, unsigned n, unsigned *to)
{
	for (*to = 0; n; n--, s->n--) {
		unsigned digit = s->n ? (unsigned char)*s->p++ - '0' : 10;

		if (digit > 9)
			return false;
		*to = *to * 10 + digit;
	}
	return true;
}

static bool
cut_name(struct span *s, unsigned part, unsigned *to)
{
	*to = s->n >= 3 ? name_index(part == MONTH ? month_names : day_names, s->p) : 0;
	*s = (struct span){ s->p + 3, s->n - 3 };
	return *to;
}

/* Of Sunday what stands behind Sun. */
static bool
cut_day(struct span *s)
{
	unsigned n = 0;

	while (n < s->n && s->p[n] >= 'a' && s->p[n] <= 'z')
		n++;
	*s = (struct span){ s->p + n, s->n - n };
	return n >= 3 && !memcmp(s->p - 3, "day", 3);
}

static bool
read_date(struct span s, const char *pattern, struct civil *c)
{
	bool blank = false, good = s.n;

	for (; good && *pattern; pattern++) {
		const char *at = find_char(parts, *pattern);
		unsigned part = at ? (unsigned)(at - parts) : 0, *to = &c->year + part % SHORT_YEAR;

		if (*pattern == '*') {
			good = cut_day(&s);
		} else if (*pattern == '_') {
			blank = s.n && *s.p == ' ';
			s = (struct span){ s.p + blank, s.n - blank };
		} else if (!at) {
			good = s.n && *s.p == *pattern;
			s = (struct span){ s.p + 1, s.n - 1 };
		} else if (part == MONTH || part == WEEKDAY) {
			good = cut_name(&s, part, to);
		} else {
			good = cut_digits(&s, (part ? 2 : 4) - blank, to);
			blank = false;
		}
	}
	return good && !s.n;
}

/* A year of two digits that is more than fifty years ahead was in the last century. */
static bool
read_rfc850(struct span s, struct civil *c)
{
	unsigned this_year = civil_of(wall).year;

	if (!read_date(s, "w*, d-b-y h:m:s GMT", c))
		return false;
	c->year += this_year - this_year % 100;
	if (c->year > this_year + 50)
		c->year -= 100;
	return true;
}

int64_t
date_parse(struct span s)
{
	struct civil c, again;
	int64_t seconds;

	if (!read_date(s, imf, &c) && !read_date(s, "w b _d h:m:s Y", &c) && !read_rfc850(s, &c))
		return -1;
	if (c.hour > 23 || c.minute > 59 || c.second > 60 || !c.day || c.day > 31)
		return -1;
	if (c.year < 1970)
		return 0;
	c.second -= c.second == 60;     /* a leap second, which our clock does not know */
	seconds = civil_seconds(&c);
	again = civil_of(seconds);
	return again.day == c.day && again.month == c.month ? seconds : -1;     /* 31 Apr */
}

static char *
two(char *to, unsigned n)
{
	to[0] = (char)('0' + n / 10);
	to[1] = (char)('0' + n % 10);
	return to + 2;
}

char *
date_write(char *to, const char *pattern, int64_t seconds)
{
	struct civil c = civil_of(seconds);

	for (; *pattern; pattern++) {
		const char *at = find_char(parts, *pattern);
		unsigned part = at ? (unsigned)(at - parts) : 0, n = *(&c.year + part % SHORT_YEAR);

		if (!at) {
			*to++ = *pattern;
		} else if (part == MONTH || part == WEEKDAY) {
			memcpy(to, part == MONTH ? month_names + 3 * n - 3 : day_names + 3 * n, 3);
			to += 3;
		} else {
			if (!part)
				to = two(to, n / 100);
			to = two(to, n % 100);
		}
	}
	return to;
}

void
date_format(char to[DATE_SIZE], int64_t seconds)
{
	date_write(to, imf, seconds);
}

void
date_log(struct buf *b, int64_t seconds)
{
	static char line[26];
	static int64_t made = -1;

	if (made != seconds)
		date_write(line, "d/b/Y:h:m:s +0000", seconds);
	made = seconds;
	buf_mem(b, line, sizeof line);
}

/* -- ranges (RFC 9110 14.1.2) ----------------------------------------------------------------------- */

/* Cut digits off the front; too large a number is as good as the largest.  False when there are none. */
static bool
cut_number(struct span *s, uint64_t *to)
{
	unsigned n = 0;

	for (*to = 0; n < s->n && (unsigned char)(s->p[n] - '0') < 10; n++)
		*to = *to > (UINT64_MAX - 9) / 10 ? UINT64_MAX : *to * 10 + (unsigned)(s->p[n] - '0');
	*s = (struct span){ s->p + n, s->n - n };
	return n;
}

enum range_kind { MALFORMED, SATISFIABLE, UNSATISFIABLE };

/* first "-" [ last ], or "-" length of the end */
static enum range_kind
one_range(struct span s, uint64_t size, struct range *out)
{
	uint64_t first, last;
	bool from_start = cut_number(&s, &first), to_end;

	if (!s.n || *s.p != '-')
		return MALFORMED;
	s = (struct span){ s.p + 1, s.n - 1 };
	to_end = !cut_number(&s, &last);
	if (s.n || (!from_start && to_end))
		return MALFORMED;
	if (!from_start) {
		out->size = last < size ? last : size;
		out->from = size - out->size;
		if (last && !size)      /* satisfiable by the letter, but Content-Range cannot say "no bytes" */
			return MALFORMED;
		return last ? SATISFIABLE : UNSATISFIABLE;
	}
	if (!to_end && last < first)
		return MALFORMED;
	if (first >= size)
		return UNSATISFIABLE;
	out->from = first;
	out->size = to_end || last >= size ? size - first : last - first + 1;
	return SATISFIABLE;
}

int
range_parse(struct span s, uint64_t size, struct range out[RANGES_MAX])
{
	struct span unit = span_cut(&s, '=');
	uint64_t left = size;
	int n = 0, asked = 0;

	if (!span_eq_nocase(unit, SPAN("bytes")))
		return 0;
	while (s.n) {
		struct span spec = span_item(&s, ',');
		struct range range;
		enum range_kind kind;

		if (!spec.n)
			continue;
		kind = one_range(spec, size, &range);
		if (kind == MALFORMED || ++asked > RANGES_MAX)
			return 0;
		if (kind == UNSATISFIABLE)
			continue;
		if (range.size > left)  /* more than the whole in all is an attack (RFC 9110 17.15) */
			return 0;
		left -= range.size;
		out[n++] = range;
	}
	return n || !asked ? n : -1;
}

/* -- targets ------------------------------------------------------------------------------------------ */

bool
uri_split(struct span t, struct span *authority, struct span *path)
{
	struct span scheme = span_cut(&t, ':');
	unsigned n = 2;

	if (!span_eq_nocase(scheme, SPAN("http")) && !span_eq_nocase(scheme, SPAN("https")))
		return false;
	if (!span_starts(t, SPAN("//")))
		return false;
	while (n < t.n && t.p[n] != '/')
		n++;
	*authority = (struct span){ t.p + 2, n - 2 };
	*path = (struct span){ t.p + n, t.n - n };
	return true;
}

/* The segment from `from` to w has ended: dot segments go, and never above the root (RFC 3986 5.2.4). */
static unsigned
segment_end(const char *store, unsigned from, unsigned w)
{
	if (w - from > 2 || store[from] != '.')
		return w;
	if (w - from == 2 && store[from + 1] != '.')
		return w;
	if (w - from == 2 && from > 1)
		for (from--; store[from - 1] != '/'; from--)
			;
	return from;
}

int
request_path(struct request *r, struct span path)
{
	const char *p = path.p, *end = p + path.n;
	char *store = r->store;
	unsigned w = 1, from = 1;

	if (path.n > PATH_STORE - 2)    /* as sent; so nothing below needs to ask for room */
		return 414;
	for (store[0] = '/'; p < end; ) {
		char c = *p++;

		if (c == '%') {
			if (end - p < 2 || hex_digit(p[0]) < 0 || hex_digit(p[1]) < 0)
				return 400;
			c = (char)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
			p += 2;
		}
		if (!c)
			return 400;
		if (c == '/') {
			if (w > from)
				w = segment_end(store, from, w);
			if (store[w - 1] == '/') {
				from = w;
				continue;
			}
			from = w + 1;
		}
		store[w++] = c;
	}
	if (w > from)
		w = segment_end(store, from, w);
	store[w] = 0;
	r->path = (struct span){ store, w };
	r->plain = false;
	return 0;
}
