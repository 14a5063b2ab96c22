/* http.c - the grammar of a request head (RFC 9112) and of paths
 *
 *   GET /a%20b/../c?q=1 HTTP/1.1 CR LF         name      method, the span as sent
 *   Host: example.org:80 CR LF                 target    /a%20b/../c?q=1
 *   Range: bytes=0- CR LF                      path      /c, in store
 *   CR LF                                      known[]   spans into the head, by field_id
 *
 * One pass, no copies but the path.  A head always ends in LF, and LF stops every loop here: that is why none of
 * them asks for its end.  What could be read in two ways is refused, for the next server may read the other one.
 */
#include "httpd.h"

#include <string.h>

/* -- the names we know ---------------------------------------------------------------------------- */

#define NAME(literal) { literal, sizeof (literal) - 1 }

const struct span method_names[METHODS] = {
	[M_GET] = NAME("GET"), [M_HEAD] = NAME("HEAD"), [M_POST] = NAME("POST"), [M_PUT] = NAME("PUT"),
	[M_DELETE] = NAME("DELETE"), [M_OPTIONS] = NAME("OPTIONS"), [M_PATCH] = NAME("PATCH"),
	[M_CONNECT] = NAME("CONNECT"), [M_TRACE] = NAME("TRACE"), [M_COPY] = NAME("COPY"), [M_LOCK] = NAME("LOCK"),
	[M_MKCOL] = NAME("MKCOL"), [M_MOVE] = NAME("MOVE"), [M_PROPFIND] = NAME("PROPFIND"),
	[M_PROPPATCH] = NAME("PROPPATCH"), [M_REPORT] = NAME("REPORT"), [M_SEARCH] = NAME("SEARCH"),
	[M_UNLOCK] = NAME("UNLOCK"), [M_QUERY] = NAME("QUERY"),
};

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
	X(F_CACHE_CONTROL, "Cache-Control", 'c', 'l') \
	X(F_DATE, "Date", 'd', 'e') \
	X(F_EXPIRES, "Expires", 'e', 's') \
	X(F_KEEP_ALIVE, "Keep-Alive", 'k', 'e') \
	X(F_LOCATION, "Location", 'l', 'n') \
	X(F_SERVER, "Server", 's', 'r') \
	X(F_STATUS, "Status", 's', 's') \
	X(F_TRAILER, "Trailer", 't', 'r') \
	X(F_X_SENDFILE, "X-Sendfile", 'x', 'e')

#define PLACE(length, first, last) ((30 * (length) + (last) - (first)) & 63)
#define AS_NAME(id, literal, first, last) [id] = NAME(literal),
#define AS_PLACE(id, literal, first, last) [PLACE(sizeof (literal) - 1, first, last)] = id,

static const struct span field_names[FIELDS] = { FIELD_TABLE(AS_NAME) };
static const uint8_t field_places[64] = { FIELD_TABLE(AS_PLACE) };

static inline enum field_id
find(struct span name)
{
	unsigned id = field_places[PLACE(name.n, name.p[0] | 0x20u, name.p[name.n - 1] | 0x20u)];

	return name.n == field_names[id].n && span_eq_nocase(name, field_names[id]) ? id : F_OTHER;
}

enum field_id
field_find(struct span name)
{
	return name.n ? find(name) : F_OTHER;
}

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

static const uint64_t ones = ~(uint64_t)0 / 255;        /* times a byte: that byte eight times */

/* Eight bytes, the first one lowest. */
static inline uint64_t
load8(const char *p)
{
	uint64_t x;

	memcpy(&x, p, 8);
	return __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? __builtin_bswap64(x) : x;
}

/* The top bit of each byte that is c; also of some bytes above such a one. */
static inline uint64_t
marks(uint64_t x, unsigned char c)
{
	x ^= ones * c;
	return (x - ones) & ~x;
}

/* A byte below `below`, DEL, a or b, looked for eight bytes at a time and not beyond `last`, which lies eight bytes
 * before the end.  May stop too early, never too late: the caller goes on byte by byte. */
static inline __attribute__((always_inline)) const char *
scan(const char *p, const char *last, unsigned char below, unsigned char a, unsigned char b)
{
	for (; p <= last; p += 8) {
		uint64_t x = load8(p), stops = ((x - ones * below) | (x + ones)) & ~x;

		if (a)
			stops |= marks(x, a);
		if (b)
			stops |= marks(x, b);
		stops &= ones << 7;
		if (stops)
			return p + (__builtin_ctzll(stops) >> 3);
	}
	return p;
}

/* The end of a field value: any control but HTAB. */
static const char *
value_end(const char *p, const char *last)
{
	for (;;) {
		p = scan(p, last, ' ', 0, 0);
		while ((unsigned char)*p >= ' ' && *p != 0x7f)
			p++;
		if (*p != '\t')
			return p;
		p++;
	}
}

/* The end of a token: letters and hyphens by eights, then the rarer ones singly. */
static const char *
token_end(const char *p, const char *last)
{
	for (; p <= last; p += 8) {
		uint64_t x = load8(p), low = x & ones * 0x7f, letter = low | ones * 0x20, others;

		letter = (letter + ones * (0x80 - 'a')) & ~(letter + ones * (0x7f - 'z'));
		others = (~letter & ((low ^ ones * '-') + ones * 0x7f)) | x;
		others &= ones << 7;
		if (others) {
			p += __builtin_ctzll(others) >> 3;
			break;
		}
	}
	while (is(*p, TOKEN))
		p++;
	return p;
}

/* -- where a head ends ---------------------------------------------------------------------------- */

/* Empty lines before the request line are stepped over, but not for ever (RFC 9112 2.2). */
static unsigned
leading(const char *p, unsigned n)
{
	unsigned at = 0;

	while (at < 4 && n - at >= 2 && p[at] == '\r' && p[at + 1] == '\n')
		at += 2;
	return at;
}

static bool
empty_line(const char *lf)
{
	return lf[0] == '\n' && lf[-1] == '\r' && lf[-2] == '\n' && lf[-3] == '\r';
}

/* Of n bytes that end in an empty line: the first one may still lie before another request, or before a body.  It is
 * four bytes long, so one look at every fourth byte cannot miss it.  Bare LFs are not looked for behind the first line. */
static unsigned
first_empty_line(const char *p, unsigned n)
{
	const unsigned char *at = (const unsigned char *)p + 3, *last = (const unsigned char *)p + n - 3;

	for (; at <= last; at += 4) {
		const char *lf;

		while (at + 16 <= last && at[0] > '\r' && at[4] > '\r' && at[8] > '\r' && at[12] > '\r')
			at += 16;
		if (*at > '\r')
			continue;
		lf = (const char *)at + (*at != '\n');
		if (empty_line(lf))
			return (unsigned)(lf - p) + 1;
		if (empty_line(lf + 2))
			return (unsigned)(lf - p) + 3;
	}
	return n;
}

unsigned
head_length(const char *p, unsigned n, unsigned *seen)
{
	unsigned first = leading(p, n), at = *seen > first ? *seen : first;
	const char *lf;

	if (n >= first + 4 && empty_line(p + n - 1)) {
		lf = memchr(p + first, '\n', n - first);
		return lf > p && lf[-1] == '\r' ? first + first_empty_line(p + first, n - first) : (unsigned)(lf - p) + 1;
	}
	for (; at < n && (lf = memchr(p + at, '\n', n - at)); at = (unsigned)(lf - p) + 1) {
		unsigned line = (unsigned)(lf - p);

		if (!line || lf[-1] != '\r' || line == first + 1 || (line > first + 1 && lf[-2] == '\n'))
			return line + 1;
	}
	*seen = n;
	return 0;
}

/* -- the path ------------------------------------------------------------------------------------- */

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

/* Nothing to decode, to merge or to remove; may look at eight bytes behind the path. */
static bool
plain_path(struct span path)
{
	uint64_t odd = 0;

	for (unsigned i = 0; i < path.n && !odd; i += 8) {
		uint64_t x = load8(path.p + i), next = load8(path.p + i + 1);

		odd = (marks(x, '%') | (marks(x, '/') & marks(next | ones, '/'))) & ones << 7;  /* "//" and "/." */
	}
	return !odd;
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
	return 0;
}

/* The path of a target, which lies in the head: at least a version and two line ends follow it. */
static int
parse_path(struct request *r, struct span path)
{
	if (!path.n || path.n > PATH_STORE - 2 || !plain_path(path))
		return request_path(r, path);
	memcpy(r->store, path.p, path.n);
	r->store[path.n] = 0;
	r->path = (struct span){ r->store, path.n };
	return 0;
}

/* -- the request line ------------------------------------------------------------------------------ */

/* host [ ":" port ] (RFC 3986 3.2 without user information), with a byte behind it that ends a host name */
static bool
authority(struct span a, struct span *host, bool needs_port)
{
	unsigned n = 0, port;

	if (a.n && a.p[0] == '[') {
		for (n = 1; n < a.n && (hex_digit(a.p[n]) >= 0 || a.p[n] == ':' || a.p[n] == '.'); n++)
			;
		if (n < 3 || n == a.n || a.p[n++] != ']')
			return false;
	} else {
		while (is(a.p[n], HOST))
			n++;
	}
	*host = (struct span){ a.p, n };
	if (n == a.n)
		return !needs_port;
	if (a.p[n++] != ':' || a.n - n > 5 || (needs_port && n == a.n))
		return false;
	for (port = n; port < a.n && (unsigned char)(a.p[port] - '0') < 10; port++)
		;
	return port == a.n;
}

/* http://authority, which takes the place of Host (RFC 9112 3.2.2); what follows it is the target. */
static int
absolute(struct request *r, const char **path_end)
{
	static const char root[] = "/ HTTP/1.1\r\n\r\n";       /* long enough for plain_path */
	struct span t = r->target, scheme = span_cut(&t, ':'), a;
	unsigned n = 2;

	if (!span_eq_nocase(scheme, SPAN("http")) && !span_eq_nocase(scheme, SPAN("https")))
		return 400;
	if (!span_starts(t, SPAN("//")))
		return 400;
	while (n < t.n && t.p[n] != '/' && t.p[n] != '?')
		n++;
	a = (struct span){ t.p + 2, n - 2 };
	if (!a.n || !authority(a, &r->host, false) || !r->host.n)
		return 400;
	r->target = (struct span){ t.p + n, t.n - n };
	if (n < t.n)
		return 0;
	r->target = (struct span){ root, 1 };
	*path_end = root + 1;
	return 0;
}

/* The four forms of RFC 9112 3.2.  path_end: where the path of a target with a path ends. */
static int
parse_target(struct request *r, const char *path_end)
{
	const char *end;
	int status;

	if (r->method == M_CONNECT)
		return authority(r->target, &r->host, true) && r->host.n ? 0 : 400;
	if (r->target.n == 1 && *r->target.p == '*') {
		r->star = true;
		return r->method == M_OPTIONS ? 0 : 400;
	}
	if (*r->target.p != '/' && (status = absolute(r, &path_end)))
		return status;
	end = r->target.p + r->target.n;
	if (path_end < end) {
		r->has_query = true;
		r->query = (struct span){ path_end + 1, (unsigned)(end - path_end) - 1 };
		end = path_end;
	}
	return parse_path(r, (struct span){ r->target.p, (unsigned)(end - r->target.p) });
}

/* HTTP/1.x and the end of the line: both digits are single ones (RFC 9112 2.3). */
static int
parse_version(struct request *r, const char *p, const char *end)
{
	unsigned major, minor;

	if (end - p < 10 || p[8] != '\r' || p[9] != '\n')
		return 400;
	if (load8(p) != load8("HTTP/1.1")) {
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
	enum method m = 0;

	while (m < METHODS && (*name.p != *method_names[m].p || !span_eq(name, method_names[m])))
		m++;
	return m;
}

static int
parse_line(struct request *r, const char **at, const char *end)
{
	const char *line = *at, *last = end - 8, *p = line, *path_end;
	int status;

	while (is(*p, TOKEN))
		p++;
	r->name = (struct span){ line, (unsigned)(p - line) };
	if (!r->name.n || *p++ != ' ')
		return 400;
	r->target.p = p;
	for (p = scan(p, last, '!', '?', '#'); is(*p, PATH); p++)
		;
	path_end = p;
	if (*p == '?')
		for (p = scan(p, last, '!', '#', 0); is(*p, TARGET); p++)
			;
	r->target.n = (unsigned)(p - r->target.p);
	if (!r->target.n || *p++ != ' ')
		return 400;
	status = parse_version(r, p, end);
	if (status)
		return status;
	*at = p + 10;
	r->line = (struct span){ line, (unsigned)(p + 8 - line) };
	r->method = method_find(r->name);
	return r->method == METHODS ? 501 : parse_target(r, path_end);
}

/* -- fields --------------------------------------------------------------------------------------- */

static int
on_host(struct request *r, struct span value)
{
	struct span host;

	if (r->known[F_HOST].p || !authority(value, &host, false))
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
	coding = span_trim(span_cut(&value, ','));
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

static int (*const on_field[FIELDS])(struct request *, struct span) = {
	[F_HOST] = on_host,
	[F_CONTENT_LENGTH] = on_length,
	[F_TRANSFER_ENCODING] = on_transfer,
	[F_CONNECTION] = on_connection,
	[F_EXPECT] = on_expect,
};

static int
keep_known(struct request *r, enum field_id id, struct span value)
{
	int status = on_field[id] ? on_field[id](r, value) : 0;

	r->known[id] = value;
	return status;
}

/* field-name ":" OWS value OWS CRLF: nothing before the colon, no folding (RFC 9112 5.1, 5.2). */
static int
parse_fields(struct request *r, const char **at, const char *end)
{
	const char *head = r->head, *p = *at, *last = end - 8;
	struct field *f = r->fields;
	int status = 0;

	for (; !status && p < end && *p != '\r'; f++) {
		const char *name = p, *value, *stop;
		unsigned n;
		enum field_id id;

		p = token_end(p, last);
		n = (unsigned)(p - name);
		if (!n || *p++ != ':')
			return 400;
		while (*p == ' ' || *p == '\t')
			p++;
		value = p;
		stop = p = value_end(p, last);
		if (*p++ != '\r' || *p++ != '\n')
			return 400;
		while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t'))
			stop--;
		if (f == r->fields + FIELDS_MAX)
			return 431;
		id = find((struct span){ name, n });
		f->name = (uint16_t)(name - head);
		f->name_n = (uint16_t)n;
		f->value = (uint16_t)(value - head);
		f->value_n = (uint16_t)(stop - value);
		f->id = id;
		if (id)
			status = keep_known(r, id, (struct span){ value, (unsigned)(stop - value) });
	}
	r->nfields = (unsigned)(f - r->fields);
	*at = p + 2;
	if (status)
		return status;
	return end - p >= 2 && p[1] == '\n' ? 0 : 400;
}

/* -- a whole head ---------------------------------------------------------------------------------- */

static void
forget(struct request *r, const char *head)
{
	const struct span none = { NULL, 0 };

	r->head = head;
	r->size = r->nfields = 0;
	r->method = METHODS;
	r->framing = BODY_NONE;
	r->length = 0;
	r->minor = 0;
	r->keep = r->continues = r->star = r->has_query = r->internal = false;
	r->line = r->name = r->target = r->host = r->query = none;
	r->store[0] = 0;
	r->path = (struct span){ r->store, 0 };
	memset(r->known, 0, sizeof r->known);
}

/* For the log, of a request that is refused: the line as far as it is one. */
static struct span
first_line(const char *p, const char *end)
{
	struct span rest = { p, (unsigned)(end - p) }, line = span_cut(&rest, '\n');

	return line.n && line.p[line.n - 1] == '\r' ? (struct span){ line.p, line.n - 1 } : line;
}

enum { SHORTEST = sizeof "X / HTTP/1.0\r\n\r\n" - 1 };   /* a request; so there are always eight bytes to load */

int
request_parse(struct request *r, const char *p, unsigned n)
{
	const char *end = p + n, *at = p + leading(p, n);
	int status;

	forget(r, p);
	if (end - at < SHORTEST || end[-1] != '\n')
		return 400;
	if (n > UINT16_MAX)
		return 431;
	status = parse_line(r, &at, end);
	if (!r->line.p)
		r->line = first_line(at, end);
	if (!status)
		status = parse_fields(r, &at, end);
	if (!status && r->minor && !r->known[F_HOST].p)
		status = 400;
	if (r->framing == BODY_NONE || (r->framing == BODY_LENGTH && !r->length))
		r->continues = false;
	r->size = (unsigned)(at - p);
	return status;
}

/* -- a backend's head ------------------------------------------------------------------------------ */

bool
field_next(struct span *rest, struct span *name, struct span *value)
{
	struct span line = span_cut(rest, '\n');
	unsigned n = 0;

	if (line.n && line.p[line.n - 1] == '\r')
		line.n--;
	*name = *value = (struct span){ line.p, 0 };
	if (!line.n)
		return false;
	while (n < line.n && is(line.p[n], TOKEN))
		n++;
	if (!n || n == line.n || line.p[n] != ':')
		return true;
	*value = span_trim((struct span){ line.p + n + 1, line.n - n - 1 });
	for (unsigned i = 0; i < value->n; i++)
		if (((unsigned char)value->p[i] < 0x20 && value->p[i] != '\t') || value->p[i] == 0x7f)
			return true;
	name->n = n;
	return true;
}
