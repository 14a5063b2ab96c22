/* fields.c - the grammar inside field values: lists, codings, entity tags, dates, ranges; and of paths
 *
 * All of it reads what strangers sent.  What is not understood is as if it were not there: RFC 9110 lets a server
 * ignore a condition, a range or a wish that is malformed, and a whole answer is never wrong.
 */
#include "httpd.h"

#include <string.h>

/* -- lists ---------------------------------------------------------------------------------------- */

bool
list_has(struct span list, struct span token)
{
	while (list.n) {
		struct span element = span_cut(&list, ',');

		if (span_eq_nocase(span_trim(span_cut(&element, ';')), token))
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
		struct span rest = span_cut(&field, ','), name = span_trim(span_cut(&rest, ';'));

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
	const char *close = list->n && *list->p == '"' ? memchr(list->p + 1, '"', list->n - 1) : NULL;

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

static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char day_names[] = "SunMonTueWedThuFriSat";
static const char *const long_days[] = {
	"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
};

enum { DAY = 86400, EPOCH = 719468 };   /* days from 0000-03-01 to 1970-01-01 */

/* Years are counted from March, so that the leap day is the last of its year and months need no table. */
int64_t
civil_seconds(const struct civil *c)
{
	unsigned year = c->year - (c->month < 3), month = (c->month + 9) % 12;
	unsigned days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + c->day - 1;

	return ((int64_t)days - EPOCH) * DAY + c->hour * 3600 + c->minute * 60 + c->second;
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

static bool
digits(struct span s, unsigned at, unsigned n, unsigned *to)
{
	for (*to = 0; n--; at++) {
		if ((unsigned char)(s.p[at] - '0') > 9)
			return false;
		*to = *to * 10 + (unsigned)(s.p[at] - '0');
	}
	return true;
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

static bool
parse_time(struct span s, unsigned at, struct civil *c)
{
	return digits(s, at, 2, &c->hour) && s.p[at + 2] == ':' && digits(s, at + 3, 2, &c->minute) &&
	    s.p[at + 5] == ':' && digits(s, at + 6, 2, &c->second);
}

/* Sun, 06 Nov 1994 08:49:37 GMT */
static bool
parse_imf(struct span s, struct civil *c)
{
	return s.n == DATE_SIZE && name_index(day_names, s.p) && s.p[3] == ',' && s.p[4] == ' ' &&
	    digits(s, 5, 2, &c->day) && s.p[7] == ' ' && (c->month = name_index(month_names, s.p + 8)) &&
	    s.p[11] == ' ' && digits(s, 12, 4, &c->year) && s.p[16] == ' ' && parse_time(s, 17, c) &&
	    span_ends(s, SPAN(" GMT"));
}

/* Sun Nov  6 08:49:37 1994 */
static bool
parse_asctime(struct span s, struct civil *c)
{
	return s.n == 24 && name_index(day_names, s.p) && s.p[3] == ' ' &&
	    (c->month = name_index(month_names, s.p + 4)) && s.p[7] == ' ' &&
	    (s.p[8] == ' ' ? digits(s, 9, 1, &c->day) : digits(s, 8, 2, &c->day)) && s.p[10] == ' ' &&
	    parse_time(s, 11, c) && s.p[19] == ' ' && digits(s, 20, 4, &c->year);
}

/* Sunday, 06-Nov-94 08:49:37 GMT: a year more than fifty years ahead was in the last century. */
static bool
parse_rfc850(struct span s, struct civil *c)
{
	struct span day = span_cut(&s, ',');
	unsigned i = 0, this_year = civil_of(wall).year;

	while (i < 7 && !span_eq(day, span_of(long_days[i])))
		i++;
	if (i == 7 || s.n != 23 || s.p[0] != ' ' || !digits(s, 1, 2, &c->day) || s.p[3] != '-' ||
	    !(c->month = name_index(month_names, s.p + 4)) || s.p[7] != '-' || !digits(s, 8, 2, &c->year) ||
	    s.p[10] != ' ' || !parse_time(s, 11, c) || !span_ends(s, SPAN(" GMT")))
		return false;
	c->year += this_year - this_year % 100;
	if (c->year > this_year + 50)
		c->year -= 100;
	return true;
}

int64_t
date_parse(struct span s)
{
	struct civil c = { .day = 0 }, again;
	int64_t seconds;

	if (!parse_imf(s, &c) && !parse_asctime(s, &c) && !parse_rfc850(s, &c))
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

static char *
text(char *to, const char *p, unsigned n)
{
	memcpy(to, p, n);
	return to + n;
}

static char *
clock_text(char *to, const struct civil *c)
{
	to = two(to, c->hour);
	*to++ = ':';
	to = two(to, c->minute);
	*to++ = ':';
	return two(to, c->second);
}

void
date_format(char to[DATE_SIZE], int64_t seconds)
{
	struct civil c = civil_of(seconds);

	to = text(to, day_names + 3 * c.weekday, 3);
	to = text(to, ", ", 2);
	to = two(to, c.day);
	*to++ = ' ';
	to = text(to, month_names + 3 * (c.month - 1), 3);
	*to++ = ' ';
	to = two(to, c.year / 100);
	to = two(to, c.year % 100);
	*to++ = ' ';
	to = clock_text(to, &c);
	text(to, " GMT", 4);
}

void
date_log(struct buf *b, int64_t seconds)
{
	struct civil c = civil_of(seconds);
	char line[26], *to = two(line, c.day);

	*to++ = '/';
	to = text(to, month_names + 3 * (c.month - 1), 3);
	*to++ = '/';
	to = two(to, c.year / 100);
	to = two(to, c.year % 100);
	*to++ = ':';
	to = clock_text(to, &c);
	text(to, " +0000", 6);
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
		struct span spec = span_trim(span_cut(&s, ','));
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
