/* reply.c - statuses, response heads, error pages, redirects
 *
 *   reply_start   HTTP/1.1 200 OK, Server, Date, Connection
 *   (handler)     Content-Type, Content-Length, ...
 *   reply_end     what `header` and `expires` say, empty line
 */
#include "auth.h"

#include <string.h>

/* The most frequent first; and those that backends alone have.  An empty one at the end. */
static const char statuses[] =
	"200 OK\0" "304 Not Modified\0" "206 Partial Content\0" "404 Not Found\0" "302 Found\0"
	"301 Moved Permanently\0" "100 Continue\0" "101 Switching Protocols\0" "204 No Content\0" "303 See Other\0"
	"307 Temporary Redirect\0" "308 Permanent Redirect\0" "400 Bad Request\0" "401 Unauthorized\0"
	"403 Forbidden\0" "405 Method Not Allowed\0" "406 Not Acceptable\0" "407 Proxy Authentication Required\0"
	"408 Request Timeout\0" "411 Length Required\0" "412 Precondition Failed\0" "413 Content Too Large\0"
	"414 URI Too Long\0" "416 Range Not Satisfiable\0" "417 Expectation Failed\0" "421 Misdirected Request\0"
	"429 Too Many Requests\0" "431 Request Header Fields Too Large\0" "500 Internal Server Error\0"
	"501 Not Implemented\0" "502 Bad Gateway\0" "503 Service Unavailable\0" "504 Gateway Timeout\0"
	"505 HTTP Version Not Supported\0" "507 Insufficient Storage\0" "508 Loop Detected\0";
static const char others[] =
	"103 Early Hints\0" "201 Created\0" "202 Accepted\0" "203 Non-Authoritative Information\0"
	"205 Reset Content\0" "207 Multi-Status\0" "300 Multiple Choices\0" "402 Payment Required\0" "409 Conflict\0"
	"410 Gone\0" "415 Unsupported Media Type\0" "422 Unprocessable Content\0" "423 Locked\0"
	"424 Failed Dependency\0" "426 Upgrade Required\0" "428 Precondition Required\0"
	"451 Unavailable For Legal Reasons\0";

static struct span
find_status(const char *p, int status)
{
	for (; *p; p += strlen(p) + 1)
		if (100 * p[0] + 10 * p[1] + p[2] == 111 * '0' + status)
			return span_of(p + 4);
	return SPAN("");
}

struct span
status_text(int status)
{
	struct span s = find_status(statuses, status);

	return s.n || !CONFIG_GATEWAY ? s : find_status(others, status);
}

/* The lines that set fields of this response. */
static inline uint64_t
lines_of(const struct conn *c)
{
	return CONFIG_FIELDS ? c->headers : 0;
}

/* Caching is for what was found: a 404 must not stay for a year. */
static bool
applies(const struct conn *c, const struct rule *r)
{
	bool caching = r->kind == R_EXPIRES || r->field == F_CACHE_CONTROL || r->field == F_EXPIRES;

	return (r->kind == R_HEADER || r->kind == R_EXPIRES || r->kind == R_HSTS) && (!caching || c->status < 400);
}

static struct span
name_of(const struct rule *r)
{
	return r->kind == R_EXPIRES ? SPAN("Cache-Control") : r->kind == R_HSTS ? SPAN("Strict-Transport-Security") :
	    r->name;
}

/* A `header` or `expires` line sets this field itself. */
static bool
replaced(const struct conn *c, struct span name)
{
	uint64_t mask = lines_of(c);

	for (const struct rule *r = mask ? c->host->filters : NULL; r && mask; r = r->next, mask >>= 1)
		if (mask & 1 && applies(c, r) && span_eq_nocase(name, name_of(r)))
			return true;
	return false;
}

void
reply_line(struct conn *c, struct span name, struct span value)
{
	if (lines_of(c) && replaced(c, (struct span){ name.p, name.n - 2 }))
		return;
	buf_mem(&c->client.out, name.p, name.n);
	buf_span(&c->client.out, value);
	buf_crlf(&c->client.out);
}

enum { LINE = sizeof "HTTP/1.1 200 OK" - 1 };

/* The part of a head that is the same for a second, behind the most frequent status. */
static struct span
usual_head(void)
{
	static char text[] = "HTTP/1.1 200 OK\r\nServer: cubhttpd\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n";
	static int64_t made = -1;

	if (made != wall) {
		date_format(text + sizeof text - 1 - 2 - DATE_SIZE, wall);
		made = wall;
	}
	return (struct span){ text, sizeof text - 1 };
}

static void
status_line(struct conn *c, int status)
{
	struct buf *out = &c->client.out;
	struct span usual = usual_head();
	bool ok = status == 200;

	if (ok && !lines_of(c)) {
		buf_span(out, usual);
		return;
	}
	buf_mem(out, usual.p, ok ? LINE : sizeof "HTTP/1.1 " - 1);
	if (!ok) {
		buf_uint(out, status);
		buf_char(out, ' ');
		buf_span(out, status_text(status));
	}
	if (!lines_of(c)) {
		buf_mem(out, usual.p + LINE, usual.n - LINE);
		return;
	}
	buf_crlf(out);       /* a line of the host may say something else */
	reply_field(c, "Server: ", SPAN("cubhttpd"));
	reply_field(c, "Date: ", (struct span){ usual.p + usual.n - 2 - DATE_SIZE, DATE_SIZE });
}

void
reply_start(struct conn *c, int status)
{
	struct buf *out = &c->client.out;

	if (!c->drains && (!c->handler || !c->handler->push))
		c->keep = false;
	if (c->until_close)
		c->keep = false;
	c->status = status;
	c->begun = true;
	status_line(c, status);
	if (!c->keep)
		buf_text(out, "Connection: close\r\n");
	else if (!c->chunks)
		buf_text(out, "Connection: keep-alive\r\n");
	if (CONFIG_AUTH && c->challenge)
		auth_challenge(c);
}

/* -- what a backend says ------------------------------------------------------------------------------- */

/* Fields that are about one connection only (RFC 9110 7.6.1), or that are ours to set. */
static const uint64_t ours = 1ull << F_STATUS | 1ull << F_CONNECTION | 1ull << F_KEEP_ALIVE | 1ull << F_UPGRADE |
    1ull << F_TRANSFER_ENCODING | 1ull << F_TRAILER | 1ull << F_CONTENT_LENGTH | 1ull << F_SERVER | 1ull << F_DATE |
    1ull << F_X_SENDFILE;

static void
put_field(struct buf *out, struct span name, struct span value)
{
	char *at = buf_reserve(out, name.n + value.n + 4);

	if (!at)
		return;
	copy(at, name.p, name.n);
	at[name.n] = ':';
	at[name.n + 1] = ' ';
	copy(at + name.n + 2, value.p, value.n);
	at[name.n + 2 + value.n] = '\r';
	at[name.n + 3 + value.n] = '\n';
}

static void
put_mapped(struct buf *out, const struct conn *c, const struct fields *h, const struct field *f, map_place *map)
{
	struct span value = value_at(h->head, f);
	unsigned w;

	buf_span(out, name_at(h->head, f));
	buf_mem(out, ": ", 2);
	w = out->w;
	if (!map(c, f->id, value, out)) {
		out->w = w;
		buf_span(out, value);
	}
	buf_crlf(out);
}

/* Lines that stay together go together, as they are, unless one of them ends in LF alone, or `header` lines are to be
 * asked about each. */
static void
pass(struct buf *out, const struct conn *c, const struct fields *h, uint64_t withheld, map_place *map)
{
	const struct field *f = h->f, *end = f + h->n;
	const char *from = h->head + f->name;
	uint64_t apart = h->each || lines_of(c) ? ~(uint64_t)0 : withheld | (map ? place_ids : 0);

	for (; f < end; f++) {
		if (!(apart >> f->id & 1))
			continue;
		if (h->head + f->name > from)
			buf_mem(out, from, (unsigned)(h->head + f->name - from));
		from = h->head + f[1].name;
		if (withheld >> f->id & 1 || (lines_of(c) && replaced(c, name_at(h->head, f))))
			continue;
		if (map && place_ids >> f->id & 1)
			put_mapped(out, c, h, f, map);
		else
			put_field(out, name_at(h->head, f), value_at(h->head, f));
	}
	if (h->head + f->name > from)
		buf_mem(out, from, (unsigned)(h->head + f->name - from));
}

void
reply_pass(struct conn *c, const struct fields *h, bool length, map_place *map)
{
	pass(&c->client.out, c, h, length ? ours & ~(1ull << F_CONTENT_LENGTH) : ours, map);
}

static struct buf extra;                /* lines of a head; size 0: none */
static bool extra_type;                 /* Content-Type is one of them */

void
reply_extra(struct conn *c, const struct fields *h)
{
	static char store[CLIENT_OUT / 2];

	extra = buf_on(store, h ? sizeof store : 0);
	extra_type = h && h->ids >> F_CONTENT_TYPE & 1;
	if (h)
		pass(&extra, c, h, ours, NULL);
}

bool
reply_typed(void)
{
	return extra_type;
}

void
reply_end(struct conn *c)
{
	struct buf *out = &c->client.out;
	uint64_t mask = lines_of(c);

	if (extra.size) {
		buf_mem(out, extra.data, extra.w);
		out->bad |= extra.bad;
	}
	for (const struct rule *r = mask ? c->host->filters : NULL; r && mask; r = r->next, mask >>= 1) {
		if (!(mask & 1) || !applies(c, r))
			continue;
		if (r->kind != R_HEADER) {
			buf_span(out, name_of(r));
			buf_text(out, ": max-age=");
			buf_uint(out, r->number);
			buf_crlf(out);
		} else {
			put_field(out, r->name, r->value);
		}
	}
	buf_crlf(out);
}

/* -- whole answers ------------------------------------------------------------------------------------ */

/* Head and body of a short page; the page is made first, so that its length is known. */
static void
page(struct conn *c, int status, struct span location)
{
	static char store[512];
	struct buf b = buf_on(store, sizeof store);
	struct span text = status_text(status);

	buf_print(&b, "<!doctype html><html style=\"color-scheme:light dark\"><meta name=viewport content=width=device-width>"
	    "<title>%d %.*s</title>\n"
	    "<body style=\"font:1.2em sans-serif;max-width:30em;margin:15vh auto;padding:0 1em\"><h1>%d</h1><p>%.*s\n",
	    status, (int)text.n, text.p, status, (int)text.n, text.p);
	if (CONFIG_FORWARD && c->route && c->route->kind == R_FORWARD && c->why)
		buf_print(&b, "<p>%s\n", c->why);
	reply_start(c, status);
	if (location.n)
		reply_field(c, "Location: ", location);
	if (status == 405)
		reply_field(c, "Allow: ", SPAN("GET, HEAD, OPTIONS"));
	if (status == 406)
		reply_field(c, "Vary: ", SPAN("Accept-Encoding"));
	if (status == 503 || status == 429)
		reply_field(c, "Retry-After: ", SPAN("5"));
	reply_field(c, "Content-Type: ", SPAN("text/html; charset=utf-8"));
	buf_length(&c->client.out, b.w);
	reply_end(c);
	if (c->head_only)
		return;
	buf_mem(&c->client.out, store, b.w);
	c->sent += b.w;
}

static const struct rule *
error_rule(const struct conn *c, int status)
{
	const struct rule *r = c->host ? c->host->filters : NULL;

	while (r && (r->kind != R_ERROR || r->number != (uint64_t)status))
		r = r->next;
	return r;
}

/* The page of an `error` line is dispatched like a request of its own, but keeps the status. */
static bool
custom_page(struct conn *c, struct request *r, int status)
{
	const struct rule *rule = CONFIG_REWRITE && r && !c->errors ? error_rule(c, status) : NULL;

	c->errors = true;
	c->status = status;
	if (!rule || request_set_path(r, rule->value))
		return false;
	if (r->method != M_HEAD) {
		r->method = M_GET;
		r->name = method_name(M_GET);
	}
	return dispatch(c, r) == 0;
}

void
reply_status(struct conn *c, struct request *r, int status)
{
	c->handler = NULL;
	if (!custom_page(c, r, status)) {
		c->handler = NULL;
		page(c, status, SPAN(""));
	}
}

int
reply_redirect(struct conn *c, const struct request *r, int status, struct buf *to)
{
	if (r && r->has_query) {
		buf_char(to, '?');
		buf_span(to, r->query);
	}
	if (to->bad || to->w > CLIENT_OUT / 2)
		return 414;
	page(c, status, (struct span){ to->data, to->w });
	return 0;
}

int
reply_options(struct conn *c, struct span methods)
{
	reply_start(c, 204);
	reply_field(c, "Allow: ", methods);
	reply_end(c);
	return 0;
}

void
reply_continue(struct conn *c)
{
	if (c->continues && !c->begun && !buf_used(&c->client.in))
		buf_text(&c->client.out, "HTTP/1.1 100 Continue\r\n\r\n");
	c->continues = false;
}
