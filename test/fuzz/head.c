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

static void
backend_head(const char *p, unsigned n)
{
	struct span rest = { p, n }, name, value;

	while (field_next(&rest, &name, &value)) {
		inside(name, p, n);
		inside(value, p, n);
		HOLDS(!name.n || !memchr(value.p, '\r', value.n));
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = exactly(data, size), *head;
	unsigned seen = 0, n = head_length(copy, (unsigned)size, &seen);
	int status;

	HOLDS(n <= size && (n || seen == size));
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
