/* Request heads: spans lie inside, values are clean, what is accepted is so in every cut and whatever follows it. */
#include "fuzz.h"

static struct request r, again;

static void
inside(struct span s, const char *p, unsigned n)
{
	HOLDS(!s.p || (s.p >= p && s.n <= n && (size_t)(s.p - p) <= n - s.n));
}

static void
values(struct span v)
{
	struct range ranges[RANGES_MAX];
	uint64_t sizes[] = { 0, 1, 1000, INT64_MAX };
	int64_t date = date_parse(v);
	char text[DATE_SIZE];

	for (unsigned i = 0; i < v.n; i++)
		HOLDS((unsigned char)v.p[i] >= ' ' ? v.p[i] != 0x7f : v.p[i] == '\t');
	HOLDS(span_trim(v).n == v.n);
	list_has(v, SPAN("close"));
	coding_accepted(v, SPAN("gzip"));
	HOLDS(!etag_matches(v, SPAN("\"a\""), false) || etag_matches(v, SPAN("\"a\""), true));
	HOLDS(date >= -1 && date < 253402300800);
	if (date >= 0) {
		date_format(text, date);
		HOLDS(date_parse((struct span){ text, DATE_SIZE }) == date);
	}
	for (unsigned s = 0; s < 4; s++) {
		int count = range_parse(v, sizes[s], ranges);

		HOLDS(count >= -1 && count <= RANGES_MAX);
		for (int i = 0; i < count; i++)
			HOLDS(ranges[i].size && ranges[i].from < sizes[s] && ranges[i].size <= sizes[s] - ranges[i].from);
	}
}

static void
fields(const char *p, unsigned n)
{
	HOLDS(r.nfields <= FIELDS_MAX);
	for (unsigned i = 0; i < r.nfields; i++) {
		const struct field *f = r.fields + i;

		HOLDS(f->name_n && f->name + f->name_n < f->value + 1u && f->value + f->value_n < n);
		HOLDS(field_find((struct span){ p + f->name, f->name_n }) == f->id);
		HOLDS(f->id == F_OTHER || r.known[f->id].p);
		values((struct span){ p + f->value, f->value_n });
	}
	for (unsigned id = 1; id < FIELDS; id++)
		inside(r.known[id], p, n);
}

static void
accepted(const char *p, unsigned n)
{
	char *more = malloc(n + 4);
	unsigned seen = 0, cut = 0;

	HOLDS(r.method < METHODS && r.minor <= 1 && r.target.n);
	inside(r.line, p, n);
	inside(r.name, p, n);
	inside(r.host, p, n);
	inside(r.query, p, n);
	fields(p, n);
	if (r.method != M_CONNECT && !r.star)
		path_holds(&r);
	for (unsigned i = 0; i <= n && !cut; i++)
		cut = head_length(p, i, &seen);
	HOLDS(cut == n);
	HOLDS(more);
	memcpy(more, p, n);
	memcpy(more + n, "\r\n\r\n", 4);
	seen = 0;
	HOLDS(head_length(more, n + 4, &seen) >= n);
	HOLDS(request_parse(&again, more, n + 4) == 0 && again.size == n && again.nfields == r.nfields && again.framing == r.framing &&
	    again.length == r.length && again.keep == r.keep && span_eq(again.path, r.path));
	free(more);
}

/* The same field by field, as slowly as can be: how many there are, -1 for a head that is none or not all there. */
static int
lines_of(const char *p, unsigned n, unsigned *size)
{
	struct span rest = { p, n };
	int count = 0;

	while (rest.n) {
		struct span line = span_cut(&rest, '\n'), name;

		if (line.p + line.n == p + n)
			return -1;              /* no LF */
		if (line.n && line.p[line.n - 1] == '\r')
			line.n--;
		*size = (unsigned)(rest.p - p);
		if (!line.n)
			return count;
		for (unsigned i = 0; i < line.n; i++)
			if (((unsigned char)line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
				return -1;
		if (!memchr(line.p, ':', line.n))
			return -1;
		name = span_cut(&line, ':');
		for (unsigned i = 0; i < name.n; i++)
			if (!strchr("!#$%&'*+-.^_`|~", name.p[i]) && (unsigned char)((name.p[i] | 0x20) - 'a') > 25 &&
			    (unsigned char)(name.p[i] - '0') > 9)
				return -1;
		if (!name.n || count++ == FIELDS_MAX)
			return -1;
	}
	return -1;
}

/* What is behind the head changes nothing, whatever it is. */
static void
backend_head(const char *p, unsigned n)
{
	static struct fields h;
	char *more = malloc(n + FIELDS_AHEAD);
	unsigned size = 0;
	int count = lines_of(p, n, &size);

	HOLDS(more && n < 60000);
	for (unsigned i = 0; i < 3; i++) {
		struct span rest = { more, n };

		memset(more, "\r\nx"[i], n + FIELDS_AHEAD);
		memcpy(more, p, n);
		memcpy(more + n, "\r\n\r\n", i ? 4 : 0);
		HOLDS(fields_read(&h, &rest) == (count >= 0));
		if (count < 0)
			continue;
		HOLDS(h.n == (unsigned)count && rest.p == more + size && rest.n == n - size);
		for (unsigned k = 0; k < h.n; k++) {
			struct span name = name_at(h.head, &h.f[k]), value = value_at(h.head, &h.f[k]);

			HOLDS(name.n && value.p > name.p + name.n - 1 && value.p + value.n < h.head + h.f[k + 1].name);
			HOLDS(h.f[k].id == field_find(name) && h.ids >> h.f[k].id & 1);
			HOLDS(h.head[h.f[k + 1].name - 1] == '\n' && (h.each || h.head[h.f[k + 1].name - 2] == '\r'));
			HOLDS(span_trim(value).n == value.n && !memchr(value.p, '\r', value.n));
		}
	}
	free(more);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = exactly(data, size), *head;
	unsigned seen = 0, n = head_length(copy, (unsigned)size, &seen);
	int status;

	HOLDS(n <= size && (n || seen == size));
	if (size < 60000)
		backend_head(copy, (unsigned)size);
	values((struct span){ NULL, 0 });
	head = exactly(copy, n);
	free(copy);
	if (n) {
		status = request_parse(&r, head, n);
		HOLDS(!status || (status >= 400 && status < 600));
		HOLDS(status || (r.size && r.size <= n));
		if (!status)
			accepted(head, r.size);
		else
			inside(r.line, head, n);
	}
	free(head);
	return 0;
}
