/* http.c - the grammar of a request head (RFC 9112)
 *
 *   GET /a%20b/../c?q=1 HTTP/1.1 CR LF         name      method, the span as sent
 *   Host: example.org:80 CR LF                 target    /a%20b/../c?q=1
 *   Range: bytes=0- CR LF                      path      /c, in store
 *   CR LF                                      known[]   spans into the head, by field_id
 *
 * One pass, eight bytes at a time where there are many, no copies but the path.  A head ends in an empty line, and its
 * CR stops every loop here: that is why few of them ask for its end.  What could be read in two ways is refused, for the
 * next server may read the other one.
 */
#include "scan.h"

#include <string.h>

/* -- the names we know ---------------------------------------------------------------------------- */

#define NAME(literal) { literal, sizeof (literal) - 1 }

/* Each behind its length, without pointers to them, which would weigh more.  GET comes first, and has SLACK: requests of
 * our own point at it. */
static const char methods[] = "\3GET" "\4HEAD" "\4POST" "\3PUT" "\6DELETE" "\7OPTIONS" "\5PATCH" "\7CONNECT" "\5TRACE"
	"\4COPY" "\4LOCK" "\5MKCOL" "\4MOVE" "\10PROPFIND" "\11PROPPATCH" "\6REPORT" "\6SEARCH" "\6UNLOCK" "\5QUERY";

struct span
method_name(enum method m)
{
	const char *p = methods;

	for (; m; m--)
		p += 1 + *p;
	return (struct span){ p + 1, (unsigned)*p };
}

/* With first and last letter, of which a place without collisions is made; two fields at one place do not compile
 * (-Woverride-init), and test/unit/http.c finds every name. */
#define FIELD_TABLE(X) \
	X(F_ACCEPT_ENCODING, "Accept-Encoding", 'a', 'g') \
	X(F_AUTHORIZATION, "Authorization", 'a', 'n') \
	X(F_CONNECTION, "Connection", 'c', 'n') \
	X(F_CONTENT_LENGTH, "Content-Length", 'c', 'h') \
	X(F_CONTENT_TYPE, "Content-Type", 'c', 'e') \
	X(F_EXPECT, "Expect", 'e', 't') \
	X(F_HOST, "Host", 'h', 't') \
	X(F_IF_MATCH, "If-Match", 'i', 'h') \
	X(F_IF_MODIFIED_SINCE, "If-Modified-Since", 'i', 'e') \
	X(F_IF_NONE_MATCH, "If-None-Match", 'i', 'h') \
	X(F_IF_RANGE, "If-Range", 'i', 'e') \
	X(F_IF_UNMODIFIED_SINCE, "If-Unmodified-Since", 'i', 'e') \
	X(F_PROXY, "Proxy", 'p', 'y') \
	X(F_RANGE, "Range", 'r', 'e') \
	X(F_REFERER, "Referer", 'r', 'r') \
	X(F_TRANSFER_ENCODING, "Transfer-Encoding", 't', 'g') \
	X(F_UPGRADE, "Upgrade", 'u', 'e') \
	X(F_USER_AGENT, "User-Agent", 'u', 't') \
	X(F_CONTENT_LOCATION, "Content-Location", 'c', 'n') \
	X(F_REFRESH, "Refresh", 'r', 'h') \
	X(F_SET_COOKIE, "Set-Cookie", 's', 'e') \
	X(F_CACHE_CONTROL, "Cache-Control", 'c', 'l') \
	X(F_DATE, "Date", 'd', 'e') \
	X(F_EXPIRES, "Expires", 'e', 's') \
	X(F_KEEP_ALIVE, "Keep-Alive", 'k', 'e') \
	X(F_LOCATION, "Location", 'l', 'n') \
	X(F_SERVER, "Server", 's', 'r') \
	X(F_STATUS, "Status", 's', 's') \
	X(F_TRAILER, "Trailer", 't', 'r') \
	X(F_X_SENDFILE, "X-Sendfile", 'x', 'e')

/* Four times 0x20 is no difference, so case is none. */
#define PLACE(length, first, last) ((9 * (length) + 4 * ((last) - (first))) & 127)
#define AS_NAME(id, literal, first, last) [id] = NAME(literal),
#define AS_PLACE(id, literal, first, last) [PLACE(sizeof (literal) - 1, first, last)] = id,

static const struct span field_names[FIELDS] = { FIELD_TABLE(AS_NAME) };
static const uint8_t field_places[128] = { FIELD_TABLE(AS_PLACE) };

/* -- finding a field ------------------------------------------------------------------------------- */

/* Ours has letters and hyphens only: where it has a letter (0x40), the other one's 0x20 may be anything. */
static INLINE bool
differ(uint64_t other, uint64_t ours)
{
	return (other ^ ours) & ~(ours >> 1 & ones * 0x20);
}

static INLINE bool
same_name(const char *p, const char *ours, unsigned n)
{
	unsigned last = n - 8;

	if (n < 8)              /* the shortest has four */
		return !differ(load4(p), load4(ours)) && !differ(load4(p + n - 4), load4(ours + n - 4));
	for (unsigned i = 0; i < last; i += 8)
		if (differ(first8(p + i), first8(ours + i)))
			return false;
	return !differ(first8(p + last), first8(ours + last));    /* may look at some bytes again */
}

static INLINE enum field_id
find(const char *p, unsigned n)
{
	unsigned id = field_places[PLACE(n, (unsigned char)p[0], (unsigned char)p[n - 1])];

	return n == field_names[id].n && same_name(p, field_names[id].p, n) ? id : F_OTHER;
}

enum field_id
field_find(struct span name)
{
	return name.n ? find(name.p, name.n) : F_OTHER;
}

/* -- where a head ends ---------------------------------------------------------------------------- */

/* Empty lines before the request line are stepped over, but not for ever (RFC 9112 2.2). */
static inline unsigned
leading(const char *p, unsigned n)
{
	unsigned at = 0;

	while (at < 4 && n - at >= 2 && p[at] == '\r' && p[at + 1] == '\n')
		at += 2;
	return at;
}

static inline bool
empty_line(const char *lf)
{
	return load4(lf - 3) == load4("\r\n\r\n");
}

unsigned
head_length(const char *p, unsigned n, unsigned *seen)
{
	unsigned first, at;
	const char *lf;

	if (n > 4 && empty_line(p + n - 1))
		return n;
	first = leading(p, n);
	at = *seen > first ? *seen : first;
	for (; at < n && (lf = find_byte(p + at, '\n', n - at)); at = (unsigned)(lf - p) + 1) {
		unsigned line = (unsigned)(lf - p);

		if (!line || lf[-1] != '\r' || line == first + 1 || (line > first + 1 && lf[-2] == '\n'))
			return line + 1;
	}
	*seen = n;
	return 0;
}

/* -- the request line ------------------------------------------------------------------------------ */

/* From p, where a target begins, to the end of its path.  The path of "/path" is copied on the way, and is the request's
 * unless something in it is to be decoded, merged or removed.  Eight bytes are looked at together, and beside each the one
 * behind it: a '.' whose lowest bit is set is a '/', so one comparison finds "//" and "/.". */
static inline const char *
parse_path(struct request *r, const char *p, const char *end)
{
	const char *from = p, *last = end - p > PATH_STORE ? p + PATH_STORE - 16 : end - 16;
	char *to = r->store;

	if (*p == '/' && p <= last)
		do {
			uint64_t x = first8(p), next = first8(p + 1) | ones;
			uint64_t twos = ((x ^ ones * '/') | (next ^ ones * '/')) - ones;
			uint64_t stops = (mark_odd(x, '%' + 1) | ((x ^ ones * '?') - ones)) & tops;

			memcpy(to, p, 8);
			twos &= tops;
			if (stops)
				twos &= stops ^ (stops - 1);
			if (twos)
				break;
			if (!stops)
				continue;
			p += lowest(stops);
			if (*p != ' ' && *p != '?')
				break;
			r->path.n = (unsigned)(p - from);
			r->store[r->path.n] = 0;
			r->plain = true;
			return p;
		} while (to += 8, (p += 8) <= last);
	while (is(*p, PATH))
		p++;
	return p;
}

/* The end of an IPv6 address in brackets; NULL when it is none. */
static __attribute__((noinline)) const char *
bracket_end(const char *p, const char *end)
{
	const char *from = p++;

	while (p < end && (hex_digit(*p) >= 0 || *p == ':' || *p == '.'))
		p++;
	return p - from > 2 && p < end && *p == ']' ? p + 1 : NULL;
}

/* A colon and at most five digits. */
static bool
is_port(const char *p, const char *end)
{
	if (*p++ != ':' || end - p > 5)
		return false;
	while (p < end && (unsigned char)(*p - '0') < 10)
		p++;
	return p == end;
}

/* host [ ":" port ] (RFC 3986 3.2 without user information), with a byte behind it that ends a host name */
static INLINE bool
authority(struct span a, struct span *host)
{
	const char *p = a.p - 1, *end = a.p + a.n;

	do
		p++;
	while (is(*p, HOST));
	if (p < end && *a.p == '[')
		p = bracket_end(a.p, end);
	if (!p || (p < end && !is_port(p, end)))
		return false;
	*host = (struct span){ a.p, (unsigned)(p - a.p) };
	return true;
}

/* The four forms of RFC 9112 3.2; of the first one this is left over: a path that is not plain.  An authority takes the
 * place of Host (3.2.2), as `asked`. */
static int
parse_target(struct request *r, const char *path_end, struct span *asked)
{
	const char *end = r->target.p + r->target.n;
	struct span path = { r->target.p, (unsigned)(path_end - r->target.p) };

	if (r->target.n == 1 && *path.p == '*' && r->method != M_CONNECT) {
		r->star = true;
		return r->method == M_OPTIONS ? 0 : 400;
	}
	if (*path.p == '/' && r->method != M_CONNECT)
		return request_path(r, path);
	*asked = r->target;
	if (r->method != M_CONNECT && !uri_split(path, asked, &path))
		return 400;
	r->form = r->target.n > 4 && lower(r->target.p[4]) == 's' ? FORM_HTTPS : FORM_HTTP;
	if (!authority(*asked, &r->host) || !r->host.n)
		return 400;
	if (r->method == M_CONNECT)
		return asked->n > r->host.n + 1 ? 0 : 400;
	r->target = (struct span){ path.p, (unsigned)(end - path.p) };
	if (!path.n)            /* and there is none in the head to point at; with SLACK */
		r->target = path = (struct span){ "/               ", 1 };
	return request_path(r, path);
}

/* HTTP/1.x and the end of the line: both digits are single ones (RFC 9112 2.3). */
static int
parse_version(struct request *r, const char *p, const char *end)
{
	unsigned major, minor;

	if (end - p < 10 || load2(p + 8) != load2("\r\n"))
		return 400;
	if (first8(p) != first8("HTTP/1.1")) {
		major = (unsigned)p[5] - '0';
		minor = (unsigned)p[7] - '0';
		if (!span_eq((struct span){ p, 5 }, SPAN("HTTP/")) || p[6] != '.' || major > 9 || minor > 9)
			return 400;
		r->minor = r->keep = minor > 0;
		return major == 1 ? 0 : 505;
	}
	r->minor = r->keep = true;
	return 0;
}

static enum method
method_find(struct span name)
{
	const char *p = methods;
	enum method m = 0;

	for (; m < METHODS && (*name.p != p[1] || !span_eq(name, (struct span){ p + 1, (unsigned)*p })); m++)
		p += 1 + *p;
	return m;
}

/* The end of the method. */
static inline const char *
parse_method(struct request *r, const char *line)
{
	const char *p = line + 3;

	r->method = M_GET;
	if (load4(line) != load4("GET ")) {
		p = token_end(line);
		r->method = p > line ? method_find((struct span){ line, (unsigned)(p - line) }) : METHODS;
	}
	r->name = (struct span){ line, (unsigned)(p - line) };
	return p;
}

static int
parse_line(struct request *r, const char **at, const char *end, struct span *asked)
{
	const char *line = *at, *p = parse_method(r, line), *path_end;
	int status;

	if (p == line || *p++ != ' ')
		return 400;
	r->target.p = p;
	p = path_end = parse_path(r, p, end);
	if (*p == '?') {
		for (p = skip_plain(p + 1, end - 16, '#' + 1); is(*p, TARGET); p++)
			;
		r->has_query = true;
		r->query = (struct span){ path_end + 1, (unsigned)(p - path_end) - 1 };
	}
	r->target.n = (unsigned)(p - r->target.p);
	if (!r->target.n || *p++ != ' ')
		return 400;
	status = parse_version(r, p, end);
	if (status)
		return status;
	*at = p + 10;
	r->line = (struct span){ line, (unsigned)(p + 8 - line) };
	if (r->method == METHODS)
		return 501;
	return r->path.n && r->method != M_CONNECT ? 0 : parse_target(r, path_end, asked);
}

/* -- fields --------------------------------------------------------------------------------------- */

static int
on_host(struct request *r, struct span value)
{
	struct span host;

	if (r->known[F_HOST].p || !authority(value, &host))
		return 400;
	if (!r->host.p)
		r->host = host;
	return 0;
}

/* Two lengths, even equal ones, and a length beside chunks are how requests are smuggled (RFC 9112 6.3). */
static int
on_length(struct request *r, struct span value)
{
	if (r->framing != BODY_NONE || !value.n)
		return 400;
	for (unsigned i = 0; i < value.n; i++)
		if ((unsigned char)(value.p[i] - '0') > 9)
			return 400;
	r->framing = BODY_LENGTH;
	return span_uint(value, &r->length) ? 0 : 413;
}

/* Only "chunked", once, and in HTTP/1.1 (RFC 9112 6.1). */
static int
on_transfer(struct request *r, struct span value)
{
	struct span coding;

	if (r->framing != BODY_NONE || !r->minor)
		return 400;
	r->framing = BODY_CHUNKED;
	if (span_eq_nocase(value, SPAN("chunked")))
		return 0;
	coding = span_item(&value, ',');
	return !coding.n || span_eq_nocase(coding, SPAN("chunked")) ? 400 : 501;
}

/* Close wins over all else, wherever it stands; HTTP/1.0 must ask for more than one request each time. */
static int
on_connection(struct request *r, struct span value)
{
	bool first = !r->known[F_CONNECTION].p;

	if (r->minor && span_eq_nocase(value, SPAN("keep-alive")))
		return 0;
	if (list_has(value, SPAN("close")))
		r->keep = false;
	else if (!r->minor)
		r->keep = (first || r->keep) && list_has(value, SPAN("keep-alive"));
	return 0;
}

static int
on_expect(struct request *r, struct span value)
{
	r->continues = r->minor;
	return span_eq_nocase(value, SPAN("100-continue")) ? 0 : 417;
}

/* Of two, another server might take the other. */
static int
on_authorization(struct request *r, struct span value)
{
	(void)value;
	return r->known[F_AUTHORIZATION].p ? 400 : 0;
}

static int (*const on_field[FIELDS])(struct request *, struct span) = {
	[F_HOST] = on_host,
	[F_CONTENT_LENGTH] = on_length,
	[F_TRANSFER_ENCODING] = on_transfer,
	[F_CONNECTION] = on_connection,
	[F_EXPECT] = on_expect,
	[F_AUTHORIZATION] = on_authorization,
};

/* field-name ":" OWS value OWS CRLF: nothing before the colon, no folding (RFC 9112 5.1, 5.2).  Gives back where the next
 * line begins; NULL: it is none.  Of a request the head ends in an empty line, so no line is the last one.  An answer may
 * break off, and then what lies behind its end is taken for more of it, at most FIELDS_AHEAD bytes; a line of it may end in LF
 * alone (*bare). */
static INLINE const char *
read_field(struct field *f, struct span *said, const char *head, const char *name, const char *end, bool *bare)
{
	const char *p = skip_letters(name, bare ? end : end - 8), *value = p + 2, *next;

	f->plain = load2(p) == load2(": ");
	if (!f->plain) {
		while ((!bare || p < end) && is(*p, TOKEN))
			p++;
		if (*p != ':')
			return NULL;
		value = p + 1;
	}
	if (p == name)
		return NULL;
	f->name = (uint16_t)(name - head);
	f->name_n = (uint16_t)(p - name);
	f->id = find(name, (unsigned)(p - name));
	if ((unsigned char)*value <= ' ')
		while ((!bare || value < end) && (*value == ' ' || *value == '\t'))
			value++;
	p = skip_plain(value, bare ? end : end - 16, ' ');
	if (load2(p) != load2("\r\n"))
		p = value_end(p, end);
	next = p + 2;
	if (load2(p) != load2("\r\n")) {
		if (!bare || *p != '\n')
			return NULL;
		next = p + 1;
		*bare = true;
	}
	if ((unsigned char)p[-1] <= ' ')
		while (p > value && (p[-1] == ' ' || p[-1] == '\t'))
			p--;
	*said = (struct span){ value, (unsigned)(p - value) };
	f->value = (uint16_t)(value - head);
	f->value_n = (uint16_t)said->n;
	return next;
}

static inline int
parse_field(struct request *r, struct field *f, const char **at, const char *end)
{
	struct span known;
	int status;

	*at = read_field(f, &known, r->head, *at, end, NULL);
	if (!*at)
		return 400;
	if (f->id == F_OTHER)
		return 0;
	status = on_field[f->id] ? on_field[f->id](r, known) : 0;
	r->known[f->id] = known;
	return status;
}

static int
parse_fields(struct request *r, const char **at, const char *end)
{
	const char *p = *at;
	struct field *f = r->fields;
	int status = 0;

	while (*p != '\r') {
		status = f < r->fields + FIELDS_MAX ? parse_field(r, f++, &p, end) : 431;
		if (status)
			break;
	}
	r->nfields = (unsigned)(f - r->fields);
	if (!status && p[1] != '\n')
		status = 400;
	if (!status)
		*at = p + 2;
	return status;
}

/* -- a whole head ---------------------------------------------------------------------------------- */

/* The fields of the last request (none at first: all zeros) say which known ones are set; its target may have set the host. */
static void
forget(struct request *r, const char *head)
{
	const struct span none = { NULL, 0 };
	const struct field *f = r->fields + r->nfields;

	if (f > r->fields)
		do
			r->known[(--f)->id] = none;
		while (f > r->fields);
	r->known[F_HOST] = none;
	r->head = head;
	r->size = r->nfields = 0;
	r->method = METHODS;
	r->framing = BODY_NONE;
	r->length = 0;
	r->minor = 0;
	r->keep = r->continues = r->star = r->has_query = r->plain = false;
	r->form = FORM_ORIGIN;
	r->line = r->name = r->target = r->host = r->query = none;
	r->store[0] = 0;
	r->path = (struct span){ r->store, 0 };
}

/* For the log, of a request that is refused: the line as far as it is one. */
static struct span
first_line(const char *p, const char *end)
{
	struct span rest = { p, (unsigned)(end - p) }, line = span_cut(&rest, '\n');

	return line.n && line.p[line.n - 1] == '\r' ? (struct span){ line.p, line.n - 1 } : line;
}

enum { SHORTEST = sizeof "X / HTTP/1.0\r\n\r\n" - 1 };   /* a request; so there are always sixteen bytes to load */

int
request_parse(struct request *r, const char *p, unsigned n)
{
	const char *end = p + n, *at = n && *p == '\r' ? p + leading(p, n) : p;
	struct span asked = { NULL, 0 };
	int status = 400;

	forget(r, p);
	if (n > UINT16_MAX)
		return 431;
	if (end - at >= SHORTEST && empty_line(end - 1))
		status = parse_line(r, &at, end, &asked);
	if (!r->line.p)
		r->line = first_line(at, end);
	if (!status)
		status = parse_fields(r, &at, end);
	if (!status && r->minor && !r->known[F_HOST].p)
		status = 400;
	if (asked.p)
		r->known[F_HOST] = asked;
	if (r->framing == BODY_NONE || (r->framing == BODY_LENGTH && !r->length))
		r->continues = false;
	r->size = (unsigned)(at - p);
	return status;
}

bool
request_set_host(struct request *r, struct span value)
{
	struct span host;

	if (!authority(value, &host) || !host.n)
		return false;
	r->host = host;
	r->known[F_HOST] = value;
	return true;
}

/* -- a backend's head ------------------------------------------------------------------------------ */

bool
fields_read(struct fields *h, struct span *rest)
{
	const char *head = rest->p, *p = head, *end = p + rest->n;
	struct field *f = h->f;
	struct span value;

	_Static_assert(FIELDS <= 64, "a word of bits for fields is too short");
	h->head = head;
	h->ids = 0;
	h->each = false;
	for (; p < end && *p != '\r' && *p != '\n'; f++) {
		p = f < h->f + FIELDS_MAX ? read_field(f, &value, head, p, end, &h->each) : NULL;
		if (!p)
			return false;
		h->ids |= (uint64_t)1 << f->id;
	}
	h->n = (unsigned)(f - h->f);
	f->name = (uint16_t)(p - head);
	if (p < end && *p == '\r')
		p++;
	if (p >= end || *p++ != '\n')
		return false;
	*rest = (struct span){ p, (unsigned)(end - p) };
	return true;
}

struct span
line_name(const char *line)
{
	const char *p = token_end(line);

	return (struct span){ line, *p == ':' ? (unsigned)(p - line) : 0 };
}
