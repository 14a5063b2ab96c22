/* answers.h - what must hold of all that a client of conn.c received: well-framed responses, one for each request that
 * the server counted, of which only the last may be cut; no byte of one in another; none that looks whole and is not */
#ifndef ANSWERS_H
#define ANSWERS_H

struct heard {
	int status;
	bool measured, chunked, closes, ranged, parts;
	uint64_t length, from, to, of;
	int mark;                       /* of a backend's, else -1 */
	unsigned file;                  /* its size, 0 for none */
};

/* The text before the next CRLF; false when it has not all come. */
static bool
cut_line(struct span *rest, struct span *line)
{
	for (unsigned i = 0; i + 1 < rest->n; i++) {
		HOLDS(rest->p[i] != '\n' && rest->p[i]);
		HOLDS(rest->p[i] != '\r' || rest->p[i + 1] == '\n');
		if (rest->p[i] != '\r')
			continue;
		*line = (struct span){ rest->p, i };
		*rest = (struct span){ rest->p + i + 2, rest->n - i - 2 };
		return true;
	}
	return false;
}

static uint64_t
hex(struct span s)
{
	uint64_t n = 0;

	HOLDS(s.n && s.n < 16);
	for (unsigned i = 0; i < s.n; i++) {
		HOLDS(hex_digit(s.p[i]) >= 0);
		n = n << 4 | (unsigned)hex_digit(s.p[i]);
	}
	return n;
}

static void
content_range(struct heard *a, struct span value)
{
	struct span word = span_cut(&value, ' '), from, to;

	HOLDS(span_eq(word, SPAN("bytes")));
	to = span_cut(&value, '/');
	HOLDS(span_uint(value, &a->of));
	if (span_eq(to, SPAN("*")))
		return;
	from = span_cut(&to, '-');
	HOLDS(span_uint(from, &a->from) && span_uint(to, &a->to) && a->from <= a->to && a->to < a->of);
	a->ranged = true;
}

static void
read_field(struct heard *a, struct span name, struct span value)
{
	uint64_t n = 0;

	if (span_eq_nocase(name, SPAN("Content-Length"))) {
		HOLDS(!a->measured && !a->chunked && span_uint(value, &a->length));
		a->measured = true;
	}
	if (span_eq_nocase(name, SPAN("Transfer-Encoding"))) {
		HOLDS(!a->measured && !a->chunked && span_eq(value, SPAN("chunked")));
		a->chunked = true;
	}
	if (span_eq_nocase(name, SPAN("Connection")))
		a->closes |= span_eq(value, SPAN("close"));
	if (tainted)
		return;
	if (span_eq_nocase(name, SPAN("X-Mark"))) {
		HOLDS(a->mark < 0 && span_uint(value, &n) && n < nmarks);
		a->mark = n;
	}
	if (span_eq_nocase(name, SPAN("Content-Range")))
		content_range(a, value);
	if (span_eq_nocase(name, SPAN("Content-Type")))
		a->parts = span_starts(value, SPAN("multipart/byteranges"));
	if (span_eq_nocase(name, SPAN("ETag"))) {
		HOLDS(!a->file && value.n > 2 && *value.p == '"');
		value = (struct span){ value.p + 1, value.n - 1 };
		a->file = hex(span_cut(&value, '-'));
	}
}

/* False when the head has not all come. */
static bool
read_answer(struct span *rest, struct heard *a)
{
	struct span line, name;
	uint64_t status;

	*a = (struct heard){ .mark = -1 };
	if (!cut_line(rest, &line))
		return false;
	HOLDS(span_starts(line, SPAN("HTTP/1.1 ")) && line.n >= 13 && line.p[12] == ' ');
	HOLDS(span_uint((struct span){ line.p + 9, 3 }, &status) && status >= 100 && status < 600);
	a->status = status;
	while (cut_line(rest, &line)) {
		if (!line.n)
			return true;
		HOLDS(memchr(line.p, ':', line.n));
		name = span_cut(&line, ':');
		HOLDS(name.n && *name.p != ' ' && *name.p != '\t');
		read_field(a, name, span_trim(line));
	}
	return false;
}

/* Chunks out of *rest, the payload into to; false when the last one has not all come. */
static bool
unchunk(struct span *rest, char *to, unsigned *n)
{
	struct span line;

	for (*n = 0; cut_line(rest, &line);) {
		uint64_t size = hex(line);
		unsigned k = size < rest->n ? size : rest->n;

		if (k)
			memcpy(to + *n, rest->p, k);
		*n += k;
		if (k < size || rest->n - k < 2)
			return false;
		HOLDS(rest->p[k] == '\r' && rest->p[k + 1] == '\n');
		*rest = (struct span){ rest->p + k + 2, rest->n - k - 2 };
		if (!size)
			return true;
	}
	return false;
}

static void
check_bytes(const struct heard *a, const char *p, unsigned n)
{
	if (a->mark >= 0) {
		HOLDS(n <= marks[a->mark].said);
		for (unsigned i = 0; i < n; i++)
			HOLDS(p[i] == mark_byte(a->mark, i));
	} else if (a->file && !a->parts) {
		uint64_t from = a->ranged ? a->from : 0;

		HOLDS(!a->ranged || (a->status == 206 && a->of == a->file && a->length == a->to - a->from + 1));
		for (unsigned i = 0; i < n; i++)
			HOLDS(p[i] == file_byte(a->file, from + i));
	}
}

/* A response that looks whole is whole. */
static void
check_whole(const struct heard *a, unsigned n)
{
	if (a->mark >= 0) {
		const struct mark *m = &marks[a->mark];

		HOLDS(m->ended || (m->measured && m->said >= m->length));
		HOLDS(n == (m->measured && m->length < m->said ? m->length : m->said));
	} else if (a->file && !a->ranged && !a->parts && a->status != 416) {
		HOLDS(n == a->file);
	}
}

/* The body of a: true when it looks whole; its end is the connection's when nothing else says. */
static bool
check_body(struct span *rest, const struct heard *a, const struct answered *told, bool closed)
{
	static char store[GOT];
	bool none = told->head_only || a->status == 204 || a->status == 304, whole;
	const char *p = rest->p;
	unsigned n;

	if (none)
		return true;
	if (a->chunked) {
		whole = unchunk(rest, store, &n);
		p = store;
	} else {
		n = a->measured && a->length < rest->n ? a->length : rest->n;
		whole = a->measured ? n == a->length : closed;
		*rest = (struct span){ rest->p + n, rest->n - n };
	}
	check_bytes(a, p, n);
	if (whole)
		check_whole(a, n);
	return whole;
}

static bool
next_answer(struct span *rest, const struct actor *a, unsigned i)
{
	const struct answered *told = &a->answered[i];
	bool last = i + 1 == a->nanswered, whole;
	struct heard answer;

	while (span_starts(*rest, SPAN("HTTP/1.1 100 Continue\r\n\r\n")))
		*rest = (struct span){ rest->p + 25, rest->n - 25 };
	whole = read_answer(rest, &answer);
	if (whole) {
		HOLDS(answer.status == told->status && answer.status >= 200);
		HOLDS(answer.mark < 0 || marks[answer.mark].client == (int)(a - actors));
		whole = check_body(rest, &answer, told, a->fin && !a->hard);
		HOLDS(!answer.closes || last);
	}
	HOLDS(whole || last || a->ngot == GOT);
	HOLDS(whole || told->failed || a->killed || (a->hard && told->until_close));
	return whole;
}

static void
check_client(const struct actor *a, const char *p)
{
	struct span rest = { p, a->ngot };

	for (unsigned i = 0; i < a->nanswered && rest.n; i++) {
		HOLDS(a->answered[i].begun || i + 1 == a->nanswered);
		if (!next_answer(&rest, a, i))
			return;
	}
	HOLDS(!rest.n || span_starts(SPAN("HTTP/1.1 100 Continue\r\n\r\n"), rest));
}

#endif
