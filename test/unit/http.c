/* http.c, fields.c: the request head by the page of cases, then tables for what is inside of values */
#include "unit.h"

#include <ctype.h>

static struct request r;

static int
parse(const char *text, unsigned n)
{
	struct span copy = exactly(text, n);
	unsigned seen = 0, length = head_length(copy.p, copy.n, &seen);
	int status = length ? request_parse(&r, copy.p, length) : -1;

	give_back(copy);
	return status;
}

static int
parse_text(const char *text)
{
	return parse(text, (unsigned)strlen(text));
}

/* -- test/cases/heads.md ---------------------------------------------------------------------------- */

static char page[1 << 16];
static unsigned page_n;

static bool
read_page(const char *name)
{
	FILE *f = fopen(name, "rb");

	if (!f)
		return false;
	page_n = (unsigned)fread(page, 1, sizeof page, f);
	fclose(f);
	return page_n && page_n < sizeof page;
}

/* "\r" "\n" "\t" "\\" "\xNN", and "*N" before a character for N of it, as the page writes them; the end of a line is CRLF. */
static unsigned
unescape(struct span line, char *to, bool *ended)
{
	char *start = to;

	*ended = true;
	for (unsigned i = 0; i < line.n; i++) {
		char c = line.p[i];

		if (c == '\\' && i + 1 < line.n) {
			c = line.p[++i];
			if (c == 'x') {
				*to++ = (char)(hex_digit(line.p[i + 1]) << 4 | hex_digit(line.p[i + 2]));
				i += 2;
				continue;
			}
			if (c == '-' && i + 1 == line.n) {
				*ended = false;         /* no CRLF after this line */
				break;
			}
			if (c == '{') {
				unsigned n = 0;

				for (i++; isdigit((unsigned char)line.p[i]); i++)
					n = n * 10 + (unsigned)(line.p[i] - '0');
				memset(to, line.p[i], n);
				to += n;
				i++;
				continue;
			}
			c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c == '0' ? '\0' : c;
		}
		*to++ = c;
	}
	if (*ended)
		*to++ = '\r', *to++ = '\n';
	return (unsigned)(to - start);
}

static struct span
actual(struct span key)
{
	static char number[24];
	struct buf b = { number, 0, 0, sizeof number, false };
	static const char *const framings[] = { "none", "length", "chunked" };

	if (span_eq(key, SPAN("method")))
		return r.method < METHODS ? method_name(r.method) : SPAN("?");
	if (span_eq(key, SPAN("path")))
		return r.path;
	if (span_eq(key, SPAN("query")))
		return r.has_query ? r.query : SPAN("-");
	if (span_eq(key, SPAN("target")))
		return r.target;
	if (span_eq(key, SPAN("host")))
		return r.host;
	if (span_eq(key, SPAN("line")))
		return r.line;
	if (span_eq(key, SPAN("body")))
		return span_of(framings[r.framing]);
	if (span_eq(key, SPAN("keep")))
		return r.keep ? SPAN("yes") : SPAN("no");
	if (span_eq(key, SPAN("continues")))
		return r.continues ? SPAN("yes") : SPAN("no");
	if (span_eq(key, SPAN("star")))
		return r.star ? SPAN("yes") : SPAN("no");
	if (span_eq(key, SPAN("minor")))
		buf_uint(&b, r.minor);
	else if (span_eq(key, SPAN("length")))
		buf_uint(&b, r.length);
	else if (span_eq(key, SPAN("size")))
		buf_uint(&b, r.size);
	else if (span_eq(key, SPAN("fields")))
		buf_uint(&b, r.nfields);
	else if (span_starts(key, SPAN("field ")))
		return r.known[field_find((struct span){ key.p + 6, key.n - 6 })];
	else
		CHECK(!"a key of the page");
	return (struct span){ number, b.w };
}

/* One case: lines in the fence are the head, lines "* key: value" below it what must come of it. */
static void
run_case(struct span title, const char *head, unsigned n, struct span expect)
{
	struct span copy = exactly(head, n);
	unsigned seen = 0, length = head_length(copy.p, copy.n, &seen), cut_seen = 0, cut = 0;
	int status = length ? request_parse(&r, copy.p, length) : -1;

	for (unsigned i = 0; i <= n && !cut; i++)
		cut = head_length(copy.p, i, &cut_seen);
	while (expect.n) {
		struct span value = span_cut(&expect, '\n'), key = span_cut(&value, ':');
		uint64_t want;
		char plain[200];
		bool ended;

		key = span_trim((struct span){ key.p + 2, key.n - 2 });
		value = span_trim(value);
		value = (struct span){ plain, unescape(value, plain, &ended) - 2 };
		if (span_eq(key, SPAN("status"))) {
			if (!CHECK(span_uint(value, &want) && status == (int)want))
				printf("   %.*s: %d\n", (int)title.n, title.p, status);
		} else if (!CHECK(span_eq(actual(key), value))) {
			printf("   %.*s: %.*s is \"%.*s\"\n", (int)title.n, title.p, (int)key.n, key.p,
			    (int)actual(key).n, actual(key).p);
		}
	}
	if (!status)            /* byte by byte, a head ends where the parser says that it ends */
		CHECK(cut == r.size && r.size <= length);
	give_back(copy);
}

static void
test_page(void)
{
	struct span rest = { page, page_n }, title = { NULL, 0 };
	static char head[1 << 16];
	unsigned cases = 0;

	while (rest.n) {
		struct span line = span_cut(&rest, '\n'), expect;
		unsigned n = 0;
		bool ended;

		if (span_starts(line, SPAN("## ")))
			title = line;
		if (!span_eq(line, SPAN("```")))
			continue;
		while (rest.n && !span_eq(line = span_cut(&rest, '\n'), SPAN("```")))
			n += unescape(line, head + n, &ended);
		expect = (struct span){ rest.p, 0 };
		while (rest.n && *rest.p == '*')
			expect.n += span_cut(&rest, '\n').n + 1;
		run_case(title, head, n, expect);
		cases++;
	}
	CHECK(cases > 60);
	group("the page of heads");
}

/* -- names ------------------------------------------------------------------------------------------ */

static void
test_names(void)
{
	static const char *const names[FIELDS] = {
		[F_ACCEPT_ENCODING] = "accept-encoding", [F_AUTHORIZATION] = "AUTHORIZATION",
		[F_CONNECTION] = "connection", [F_CONTENT_LENGTH] = "Content-length", [F_CONTENT_TYPE] = "content-Type",
		[F_EXPECT] = "expect", [F_HOST] = "hOST", [F_IF_MATCH] = "if-match",
		[F_IF_MODIFIED_SINCE] = "if-modified-since", [F_IF_NONE_MATCH] = "if-none-match",
		[F_IF_RANGE] = "if-range", [F_IF_UNMODIFIED_SINCE] = "if-unmodified-since", [F_PROXY] = "proxy",
		[F_RANGE] = "range", [F_REFERER] = "referer", [F_TRANSFER_ENCODING] = "transfer-encoding",
		[F_UPGRADE] = "upgrade", [F_USER_AGENT] = "user-agent", [F_CACHE_CONTROL] = "cache-control",
		[F_DATE] = "date", [F_EXPIRES] = "expires", [F_KEEP_ALIVE] = "keep-alive", [F_LOCATION] = "location",
		[F_SERVER] = "server", [F_STATUS] = "status", [F_CONTENT_LOCATION] = "content-location",
		[F_REFRESH] = "refresh", [F_SET_COOKIE] = "set-cookie", [F_TRAILER] = "trailer",
		[F_X_SENDFILE] = "x-sendfile",
	};

	for (unsigned id = 1; id < FIELDS; id++)
		CHECK(field_find(span_of(names[id])) == id);
	CHECK(field_find(SPAN("")) == F_OTHER);
	CHECK(field_find(SPAN("Hosts")) == F_OTHER);
	CHECK(field_find(SPAN("Hoot")) == F_OTHER);
	CHECK(field_find(SPAN("Content_Length")) == F_OTHER);
	CHECK(field_find(SPAN("If-ModifiedASince")) == F_OTHER);
	for (unsigned id = 1; id < FIELDS; id++)        /* one bit is another, and it is none of ours unless it is the case */
		for (unsigned bit = 0; bit < 8 * strlen(names[id]); bit++) {
			struct span copy = exactly(names[id], strlen(names[id]));
			char *c = (char *)(uintptr_t)copy.p + bit / 8;

			*c ^= (char)(1 << bit % 8);
			CHECK(field_find(copy) == (bit % 8 == 5 && isalpha((unsigned char)*c) ? id : F_OTHER));
			give_back(copy);
		}
	for (unsigned m = 0; m < METHODS; m++)
		CHECK(method_name(m).n > 2);
	group("names of fields and methods");
}

/* Every byte in every place of a short head: either refused, or it stands where such a byte may stand. */
static void
test_bytes(void)
{
	static const char good[] = "GET /a?b HTTP/1.1\r\nHost: h\r\nX-Y: some value\r\n\r\n";
	char head[sizeof good];

	for (unsigned at = 0; at < sizeof good - 1; at++)
		for (unsigned c = 0; c < 256; c++) {
			unsigned seen = 0, n;

			memcpy(head, good, sizeof good);
			head[at] = (char)c;
			n = head_length(head, sizeof good - 1, &seen);
			if (!n || request_parse(&r, head, n) || r.size != sizeof good - 1)
				continue;
			if (c < ' ' || c == 127)
				CHECK(good[at] == (char)c || (c == '\t' && at > 23));
			CHECK(r.path.p[0] == '/' && !r.path.p[r.path.n]);
		}
	for (unsigned n = 0; n < 40; n++)       /* a control anywhere in a value, by the way of eight bytes and of one */
		for (unsigned at = 0; at < n; at++)
			for (unsigned c = 0; c < 256; c++) {
				char *p = head;
				char text[128] = "GET / HTTP/1.0\r\nX:";
				unsigned start = (unsigned)strlen(text);

				memset(text + start, 0xff, n);
				text[start + at] = (char)c;
				memcpy(text + start + n, "\r\n\r\n", 4);
				p = text;
				CHECK(!request_parse(&r, p, start + n + 4) == (c == '\t' || (c >= ' ' && c != 127)));
			}
	for (unsigned n = 1; n < 20; n++)       /* and in a name: tokens only */
		for (unsigned at = 0; at < n; at++)
			for (unsigned c = 1; c < 256; c++) {
				char text[128] = "GET / HTTP/1.0\r\n";
				unsigned start = (unsigned)strlen(text);

				if (c == ':')
					continue;
				memset(text + start, n % 2 ? 'x' : '-', n);
				text[start + at] = (char)c;
				memcpy(text + start + n, ": vvvvvvvvvvvvvvvvv\r\n\r\n", 24);
				CHECK(!request_parse(&r, text, start + n + 23) == (isalnum((int)c) || strchr("!#$%&'*+-.^_`|~", (int)c)));
			}
	group("bytes where they may not stand");
}

static void
test_limits(void)
{
	static char head[70000];
	unsigned n;

	for (unsigned fields = FIELDS_MAX - 1; fields <= FIELDS_MAX + 1; fields++) {
		n = (unsigned)sprintf(head, "GET / HTTP/1.0\r\n");
		for (unsigned i = 0; i < fields; i++)
			n += (unsigned)sprintf(head + n, "A: b\r\n");
		n += (unsigned)sprintf(head + n, "\r\n");
		CHECK(parse(head, n) == (fields <= FIELDS_MAX ? 0 : 431));
	}
	n = (unsigned)sprintf(head, "GET / HTTP/1.0\r\nA: ");
	memset(head + n, 'a', 66000);
	memcpy(head + n + 66000, "\r\n\r\n", 4);
	CHECK(parse(head, n + 66004) == 431);
	for (unsigned length = PATH_STORE - 4; length < PATH_STORE + 4; length++) {
		head[0] = '/';
		memset(head + 1, 'a', length - 1);
		CHECK(request_path(&r, (struct span){ head, length }) == (length <= PATH_STORE - 2 ? 0 : 414));
	}
	group("limits");
}

/* Whatever lies behind a head, and however it came, the end of the first one is found: by request_parse, if not before. */
static void
test_ends(void)
{
	static const char *const behind[] = {
		"", "x", "\r\n", "\r\n\r\n", "\n", "\r", "GET / HTTP/1.0\r\n\r\n", "a\r\n\r\nb", "\r\n\r\n\r\n\r\n", "x\r\n\r\n",
	};
	char text[200];

	for (unsigned pad = 0; pad < 9; pad++)
		for (unsigned i = 0; i < sizeof behind / sizeof *behind; i++) {
			unsigned n = (unsigned)sprintf(text, "GET /%.*s HTTP/1.0\r\nA: b\r\n\r\n", (int)pad, "aaaaaaaaaaaa");
			unsigned all = n + (unsigned)sprintf(text + n, "%s", behind[i]);
			struct span copy = exactly(text, all);

			for (unsigned from = 0; from < all; from++) {
				unsigned seen = 0, early = head_length(copy.p, from, &seen);
				unsigned length = early ? early : head_length(copy.p, all, &seen);

				CHECK(from < n ? !early : early >= n && early <= from);
				CHECK(length >= n && !request_parse(&r, copy.p, length) && r.size == n);
			}
			give_back(copy);
		}
	for (unsigned n = 0; n <= 8; n += 2) {  /* nothing but empty lines: a third one is too many */
		struct span copy = exactly("\r\n\r\n\r\n\r\n", n);
		unsigned seen = 0, length = head_length(copy.p, copy.n, &seen);

		CHECK(n > 4 ? length && request_parse(&r, copy.p, length) == 400 : !length && seen == n);
		give_back(copy);
	}
	group("where a head ends");
}

/* What one request knew, the next one does not: nor after one that was refused in the middle. */
static void
test_forgets(void)
{
	static const char *const heads[] = {
		"GET /%41?q HTTP/1.1\r\nHost: h\r\nRange: bytes=0-0\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\r\n",
		"GET http://h:8/ HTTP/1.0\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: h\r\nReferer: x\r\nTransfer-Encoding: chunked\r\nExpect: y\r\nCookie: c\r\n\r\n",
		"GET /a HTTP/1.1\r\nUser-Agent: x\r\nHost: h\r\nHost: h\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: h\r\nIf-Match: *\r\nIf-Range : x\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: h\r\nIf-None-Match: *\r\nX: \x01\r\n\r\n",
		"GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n",
		"OPTIONS * HTTP/1.0\r\nAuthorization: a\r\n\r\n",
		"CONNECT a:1 HTTP/1.0\r\nUpgrade: a\r\n\r\n",
	};
	unsigned known = 0;

	for (unsigned i = 0; i < sizeof heads / sizeof *heads; i++) {
		parse_text(heads[i]);
		CHECK(!parse_text("GET / HTTP/1.0\r\nDate: d\r\n\r\n") && span_eq(r.path, SPAN("/")));
		for (unsigned id = 1; id < FIELDS; id++)
			known += r.known[id].p || r.known[id].n;
		CHECK(r.nfields == 1 && !r.host.p && !r.has_query && !r.star && !r.keep && !r.continues && !r.length);
	}
	CHECK(known == sizeof heads / sizeof *heads);
	group("what is forgotten");
}

/* -- paths ------------------------------------------------------------------------------------------ */

static const struct { const char *from, *to; } paths[] = {
	{ "/", "/" }, { "/a", "/a" }, { "/a/", "/a/" }, { "/a/b.c", "/a/b.c" }, { "//", "/" }, { "//a//b//", "/a/b/" },
	{ "/.", "/" }, { "/..", "/" }, { "/./", "/" }, { "/../", "/" }, { "/a/.", "/a/" }, { "/a/..", "/" },
	{ "/a/../", "/" }, { "/a/b/../c", "/a/c" }, { "/a/b/../../../c", "/c" }, { "/a/./b", "/a/b" },
	{ "/...", "/..." }, { "/.a", "/.a" }, { "/..a", "/..a" }, { "/a..", "/a.." }, { "/a.", "/a." },
	{ "/%2e%2e/%2E%2e/etc", "/etc" }, { "/a%2fb", "/a/b" }, { "/a%2F%2e%2E%2Fb", "/b" }, { "/a%2f%2fb", "/a/b" },
	{ "/%41%62%7a", "/Abz" }, { "/a%20b", "/a b" }, { "/%252e%252e/x", "/%2e%2e/x" }, { "/a\\..\\b", "/a\\..\\b" },
	{ "/%5c..%5c", "/\\..\\" }, { "/\xc3\xa4", "/\xc3\xa4" }, { "/%c3%a4", "/\xc3\xa4" }, { "", "/" }, { "a/b", "/a/b" },
	{ "../a", "/a" }, { "/a/b/c/../../d/./../e/", "/a/e/" }, { "/.../..", "/" }, { "/a/.../..", "/a/" },
	{ "/%", NULL }, { "/%4", NULL }, { "/%zz", NULL }, { "/%4g", NULL }, { "/%00", NULL }, { "/a%00.html", NULL },
	{ "/a%", NULL }, { "/%%41", NULL }, { "/%u0041", NULL },
};

static void
test_paths(void)
{
	char head[200];

	for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
		struct span from = exactly(paths[i].from, strlen(paths[i].from)), to = span_of(paths[i].to);
		int status = request_path(&r, from);

		if (!CHECK(status == (paths[i].to ? 0 : 400) && (status || (span_eq(r.path, to) && !r.store[to.n]))))
			printf("   %s: %d %.*s\n", paths[i].from, status, (int)r.path.n, r.path.p);
		if (from.n && *from.p == '/') {         /* and the same by the fast way */
			sprintf(head, "GET %s?/../%% HTTP/1.0\r\n\r\n", paths[i].from);
			CHECK(parse_text(head) == status && (status || span_eq(r.path, to)));
		}
		if (!status) {                          /* in place: what an index or a rewrite does */
			memmove(r.store, r.path.p, r.path.n);
			CHECK(strchr(r.store, '%') || (!request_path(&r, r.path) && span_eq(r.path, to)));
		}
		give_back(from);
	}
	group("paths");
}

/* -- values ----------------------------------------------------------------------------------------- */

static void
test_lists(void)
{
	CHECK(list_has(SPAN("close"), SPAN("close")));
	CHECK(list_has(SPAN(" a ,\tClose;x=1 , b"), SPAN("close")));
	CHECK(list_has(SPAN(",,close"), SPAN("close")));
	CHECK(!list_has(SPAN("closed"), SPAN("close")));
	CHECK(!list_has(SPAN("not close"), SPAN("close")));
	CHECK(!list_has(SPAN(""), SPAN("close")));
	CHECK(!list_has((struct span){ NULL, 0 }, SPAN("close")));
	group("lists");
}

static void
test_codings(void)
{
	static const struct { const char *field, *coding; bool accepted; } t[] = {
		{ "gzip", "gzip", true }, { "GZIP", "gzip", true }, { "gzip, br", "br", true }, { "gzip", "br", false },
		{ "gzip;q=0", "gzip", false }, { "gzip;q=0.000", "gzip", false }, { "gzip;q=0.001", "gzip", true },
		{ "gzip; q=1.000", "gzip", true }, { "gzip ;Q=0.5", "gzip", true }, { "gzip;q=1.001", "gzip", false },
		{ "gzip;q=", "gzip", false }, { "gzip;q=2", "gzip", false }, { "gzip;q=0.0001", "gzip", false },
		{ "gzip;q=x", "gzip", false }, { "*", "br", true }, { "*;q=0", "br", false }, { "*, br;q=0", "br", false },
		{ "br;q=0, *", "br", false }, { "*;q=0, br", "br", true }, { "", "gzip", false }, { NULL, "gzip", false },
		{ "gzip", "identity", true }, { "identity;q=0", "identity", false }, { "*;q=0", "identity", false },
		{ "*;q=0, identity", "identity", true }, { "gzipp", "gzip", false }, { "x gzip", "gzip", false },
	};

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++)
		if (!CHECK(coding_accepted(span_of(t[i].field), span_of(t[i].coding)) == t[i].accepted))
			printf("   %s: %s\n", t[i].field, t[i].coding);
	group("codings");
}

static void
test_etags(void)
{
	static const struct { const char *list, *etag; bool strong, weak; } t[] = {
		{ "\"a\"", "\"a\"", true, true }, { "W/\"a\"", "\"a\"", false, true }, { "\"a\"", "W/\"a\"", false, true },
		{ "W/\"a\"", "W/\"a\"", false, true }, { "\"a\"", "\"b\"", false, false }, { "*", "\"a\"", true, true },
		{ " * ", "\"a\"", true, true }, { "\"x\", \"a\"", "\"a\"", true, true }, { "\"x,\"a\"", "\"a\"", false, false },
		{ "\"b,\\\" , \"a\"", "\"a\"", true, true }, { "\"b, \", \"a\"", "\"a\"", true, true },
		{ "\"b\",,\t\"a\"", "\"a\"", true, true }, { "\"b\" \"a\"", "\"a\"", false, false }, { "a", "a", false, false },
		{ "\"a", "\"a\"", false, false }, { "w/\"a\"", "\"a\"", false, false }, { "", "\"a\"", false, false },
		{ "\"A\"", "\"a\"", false, false }, { "\"\"", "\"\"", true, true },
	};

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		struct span list = exactly(t[i].list, strlen(t[i].list));

		if (!CHECK(etag_matches(list, span_of(t[i].etag), false) == t[i].strong) ||
		    !CHECK(etag_matches(list, span_of(t[i].etag), true) == t[i].weak))
			printf("   %s: %s\n", t[i].list, t[i].etag);
		give_back(list);
	}
	group("entity tags");
}

static void
test_dates(void)
{
	static const struct { const char *text; int64_t seconds; } t[] = {
		{ "Sun, 06 Nov 1994 08:49:37 GMT", 784111777 }, { "Sunday, 06-Nov-94 08:49:37 GMT", 784111777 },
		{ "Sun Nov  6 08:49:37 1994", 784111777 }, { "Sun Nov 16 08:49:37 1994", 784975777 },
		{ "Thu, 01 Jan 1970 00:00:00 GMT", 0 }, { "Tue, 29 Feb 2000 23:59:59 GMT", 951868799 },
		{ "Fri, 31 Dec 9999 23:59:59 GMT", 253402300799 }, { "Wed, 31 Dec 1969 23:59:59 GMT", 0 },
		{ "Sat, 31 Dec 2016 23:59:60 GMT", 1483228799 }, { "Friday, 06-Nov-73 00:00:00 GMT", 3277152000 },
		{ "Friday, 06-Nov-74 00:00:00 GMT", 152928000 }, { "Thu, 29 Feb 2001 00:00:00 GMT", -1 },
		{ "Mon, 29 Feb 2100 00:00:00 GMT", -1 }, { "Sun, 31 Apr 2000 00:00:00 GMT", -1 },
		{ "Sun, 00 Nov 1994 08:49:37 GMT", -1 }, { "Sun, 32 Nov 1994 08:49:37 GMT", -1 },
		{ "Sun, 06 Nov 1994 24:49:37 GMT", -1 }, { "Sun, 06 Nov 1994 08:60:37 GMT", -1 },
		{ "Sun, 06 Nov 1994 08:49:61 GMT", -1 }, { "Sun, 6 Nov 1994 08:49:37 GMT", -1 },
		{ "Sun, 06 Nov 1994 08:49:37 UTC", -1 }, { "Sun, 06 Nov 1994 08:49:37 GMT ", -1 },
		{ "sun, 06 nov 1994 08:49:37 GMT", -1 }, { "Xxx, 06 Nov 1994 08:49:37 GMT", -1 },
		{ "Sun, 06 Novx1994 08:49:37 GMT", -1 }, { "Sund, 06-Nov-94 08:49:37 GMT", -1 },
		{ "Sun Nov  6 08:49:37 199", -1 }, { "784111777", -1 }, { "", -1 }, { "Sun, 06 Nov 19 4 08:49:37 GMT", -1 },
	};
	char text[DATE_SIZE], log[26];
	struct buf b = { log, 0, 0, sizeof log, false };
	int64_t s;

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		struct span date = exactly(t[i].text, strlen(t[i].text));

		if (!CHECK(date_parse(date) == t[i].seconds))
			printf("   %s: %lld\n", t[i].text, (long long)date_parse(date));
		give_back(date);
	}
	CHECK(date_parse((struct span){ NULL, 0 }) == -1);
	for (s = 0; s < 253402300800; s += 86399 * 7 + 13) {
		char libc[40];
		time_t moment = (time_t)s;

		date_format(text, s);
		strftime(libc, sizeof libc, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&moment));
		CHECK(!memcmp(text, libc, DATE_SIZE) && date_parse((struct span){ text, DATE_SIZE }) == s);
	}
	date_format(text, -5);
	CHECK(!memcmp(text, "Thu, 01 Jan 1970 00:00:00 GMT", DATE_SIZE));
	date_format(text, INT64_MAX);
	CHECK(!memcmp(text, "Fri, 31 Dec 9999 23:59:59 GMT", DATE_SIZE));
	date_log(&b, 971186136);
	CHECK(!b.bad && span_eq((struct span){ log, b.w }, SPAN("10/Oct/2000:13:55:36 +0000")));
	group("dates");
}

static void
test_ranges(void)
{
	static const struct { const char *text; uint64_t size; int n; struct range want[2]; } t[] = {
		{ "bytes=0-0", 10, 1, { { 0, 1 } } }, { "bytes=0-9", 10, 1, { { 0, 10 } } },
		{ "bytes=2-", 10, 1, { { 2, 8 } } }, { "bytes=-3", 10, 1, { { 7, 3 } } }, { "bytes=-30", 10, 1, { { 0, 10 } } },
		{ "bytes=5-99", 10, 1, { { 5, 5 } } }, { "BYTES=5-99", 10, 1, { { 5, 5 } } },
		{ "bytes=0-1, 4-5", 10, 2, { { 0, 2 }, { 4, 2 } } }, { "bytes= 0-1 ,\t-2", 10, 2, { { 0, 2 }, { 8, 2 } } },
		{ "bytes=0-1,20-", 10, 1, { { 0, 2 } } }, { "bytes=10-", 10, -1, { { 0, 0 } } }, { "bytes=-0", 10, -1, { { 0, 0 } } },
		{ "bytes=10-12,-0", 10, -1, { { 0, 0 } } }, { "bytes=0-", 0, -1, { { 0, 0 } } }, { "bytes=-1", 0, 0, { { 0, 0 } } },
		{ "bytes=5-4", 10, 0, { { 0, 0 } } }, { "bytes=a-", 10, 0, { { 0, 0 } } }, { "bytes=-", 10, 0, { { 0, 0 } } },
		{ "bytes=", 10, 0, { { 0, 0 } } }, { "bytes=,", 10, 0, { { 0, 0 } } }, { "bytes", 10, 0, { { 0, 0 } } },
		{ "bytes=1", 10, 0, { { 0, 0 } } }, { "bytes=1-2x", 10, 0, { { 0, 0 } } }, { "bytes=1 - 2", 10, 0, { { 0, 0 } } },
		{ "bytes=--1", 10, 0, { { 0, 0 } } }, { "bytes=1--2", 10, 0, { { 0, 0 } } }, { "bytes=+1-2", 10, 0, { { 0, 0 } } },
		{ "bytes =0-1", 10, 0, { { 0, 0 } } }, { "lines=0-1", 10, 0, { { 0, 0 } } }, { "", 10, 0, { { 0, 0 } } },
		{ "bytes=0-1,x", 10, 0, { { 0, 0 } } }, { "bytes=0-,0-,0-", 10, 0, { { 0, 0 } } },
		{ "bytes=0-18446744073709551616", 10, 1, { { 0, 10 } } }, { "bytes=18446744073709551616-", 10, -1, { { 0, 0 } } },
		{ "bytes=-99999999999999999999999", 10, 1, { { 0, 10 } } },
		{ "bytes=9223372036854775806-9223372036854775807", INT64_MAX, 1, { { INT64_MAX - 1, 1 } } },
		{ "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7", 10, 8, { { 0, 1 }, { 1, 1 } } },
		{ "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8", 10, 0, { { 0, 0 } } },
	};

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		struct span text = exactly(t[i].text, strlen(t[i].text));
		struct range out[RANGES_MAX];
		int n = range_parse(text, t[i].size, out);

		if (!CHECK(n == t[i].n))
			printf("   %s: %d\n", t[i].text, n);
		for (int k = 0; k < n && k < 2 && n == t[i].n; k++)
			CHECK(out[k].from == t[i].want[k].from && out[k].size == t[i].want[k].size);
		give_back(text);
	}
	group("ranges");
}

/* The fields of a head in a block of its own, with what may be looked at behind it; -1: it is none, or not all there. */
static int
fields_of(const char *text, unsigned n, const char *behind, struct fields *h, struct span *rest)
{
	static char store[1 << 16];
	struct span copy;

	memcpy(store, text, n);
	for (unsigned i = 0; i < FIELDS_AHEAD; i++)
		store[n + i] = behind[i % strlen(behind)];
	copy = exactly(store, n + FIELDS_AHEAD);
	*rest = (struct span){ copy.p, n };
	return fields_read(h, rest) ? (int)h->n : -1;
}

static void
test_backend_heads(void)
{
	static const char *const behind[] = { "\r\n", "x", ": ", " ", "\n" };
	static const struct { const char *text; int n; bool bare; const char *value; } t[] = {
		{ "\r\nrest", 0, false, NULL }, { "\nrest", 0, false, NULL }, { "", -1, false, NULL }, { "\r", -1, false, NULL },
		{ "A: b\r\n\r\n", 1, false, "b" }, { "A:b\n\n", 1, true, "b" }, { "A: b\r\n\nrest", 1, false, "b" },
		{ "A: \t b c \t\r\n\r\n", 1, false, "b c" }, { "A:\r\n\r\n", 1, false, "" }, { "A: \r\n\r\n", 1, false, "" },
		{ "A:\n\n", 1, true, "" }, { "Status: 404 Not\r\nA:b\nLast-Modified: now\r\n\r\n", 3, true, "now" },
		{ "X_y.z1: \xc3\xa4\r\n\r\n", 1, false, "\xc3\xa4" }, { "A: b", -1, false, NULL }, { "A: b\r", -1, false, NULL },
		{ "A: b\r\n", -1, false, NULL }, { "A: b\r\n\r", -1, false, NULL }, { "A", -1, false, NULL }, { "A:", -1, false, NULL },
		{ "A: b\r\nContent-Type: text/html", -1, false, NULL }, { "A: b\r\nContent-Type", -1, false, NULL },
		{ "no field\r\n\r\n", -1, false, NULL }, { "B c: d\r\n\r\n", -1, false, NULL }, { ": e\r\n\r\n", -1, false, NULL },
		{ "A : b\r\n\r\n", -1, false, NULL }, { "A: b\r\n folded\r\n\r\n", -1, false, NULL }, { "D: a\rb\r\n\r\n", -1, false, NULL },
		{ "F: \x01\r\n\r\n", -1, false, NULL }, { "A: bbbbbbbbbbbbbbbbbbbbbbbb\x7f\r\n\r\n", -1, false, NULL },
		{ "\rX: y\r\n\r\n", -1, false, NULL }, { "\r\r\n", -1, false, NULL }, { "A: b\r\n\rX", -1, false, NULL },
		{ "A: b\r\r\n\r\n", -1, false, NULL }, { "A\r\n\r\n", -1, false, NULL },
	};
	static struct fields h;
	struct span rest;

	for (unsigned i = 0; i < sizeof t / sizeof *t * 5; i++) {
		const char *text = t[i / 5].text;
		unsigned n = (unsigned)strlen(text);
		int got = fields_of(text, n, behind[i % 5], &h, &rest);

		if (!CHECK(got == t[i / 5].n))
			printf("   \"%s\": %d\n", text, got);
		if (got >= 0)
			CHECK(h.each == t[i / 5].bare && span_eq((struct span){ rest.p, rest.n }, span_of(strstr(text, "rest"))));
		if (got > 0)
			CHECK(span_eq(value_at(h.head, &h.f[got - 1]), span_of(t[i / 5].value)));
		free((void *)(uintptr_t)h.head);
	}
	group("a backend's head");
}

/* Each line ends where the next one begins, the ids are told, one field too many is refused, and no cut passes for a head. */
static void
test_backend_lines(void)
{
	static const char head[] = "Date: now\r\nX-Long-Name-Of-A-Field: and its value\r\nContent-Length: 5\r\nA:b\r\n\r\nhello";
	static struct fields h;
	static char many[(FIELDS_MAX + 1) * 6 + 2];
	struct span rest;

	CHECK(fields_of(head, sizeof head - 1, "x", &h, &rest) == 4 && span_eq(rest, SPAN("hello")) && !h.each);
	CHECK(h.ids == (1ull << F_DATE | 1ull << F_CONTENT_LENGTH | 1ull << F_OTHER));
	for (unsigned i = 0; i < 4; i++)
		CHECK(!memcmp(h.head + h.f[i + 1].name - 2, "\r\n", 2));
	CHECK(h.f[2].id == F_CONTENT_LENGTH && span_eq(name_at(h.head, &h.f[1]), SPAN("X-Long-Name-Of-A-Field")));
	CHECK(!memcmp(h.head + h.f[4].name, "\r\nhello", 7));
	free((void *)(uintptr_t)h.head);
	for (unsigned cut = 0; cut < sizeof head - 6; cut++) {
		CHECK(fields_of(head, cut, head + cut, &h, &rest) < 0);
		free((void *)(uintptr_t)h.head);
	}
	for (unsigned n = FIELDS_MAX; n <= FIELDS_MAX + 1; n++) {
		for (unsigned i = 0; i < n; i++)
			memcpy(many + 6 * i, "A: b\r\n", 6);
		memcpy(many + 6 * n, "\r\n", 2);
		CHECK(fields_of(many, 6 * n + 2, "x", &h, &rest) == (n > FIELDS_MAX ? -1 : (int)n));
		free((void *)(uintptr_t)h.head);
	}
	CHECK(span_eq(line_name("A-b1: c\r\n"), SPAN("A-b1")) && !line_name("A b: c\r\n").n && !line_name(": c\r\n").n && !line_name("\r\n").n);
	group("the lines of a backend's head");
}

int
main(int argc, char **argv)
{
	wall = 1700000000;      /* 14 Nov 2023 */
	if (!CHECK(read_page(argc > 1 ? argv[1] : "test/cases/heads.md")))
		printf("the page of cases is not there: run this from the top, or name the page\n");
	test_page();
	test_names();
	test_bytes();
	test_limits();
	test_ends();
	test_forgets();
	test_paths();
	test_lists();
	test_codings();
	test_etags();
	test_dates();
	test_ranges();
	test_backend_heads();
	test_backend_lines();
	return unit_end();
}
