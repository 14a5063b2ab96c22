/* proxy.c - HTTP to another server: requests, built anew from what was understood of them
 *
 *   GET /api/a?b HTTP/1.1                    GET /v1/a?b HTTP/1.1          the route's pattern becomes its path
 *   Host: example.org                        Host: example.org             as the client has it
 *   Connection: close, X-Hop          -->    Accept: text/html
 *   X-Hop: 1                                 X-Forwarded-For: 192.0.2.1 ...
 *   Accept: text/html                        Via: 1.1 cubhttpd
 *   Forwarded: for=me
 *
 * What is about one connection stays here (RFC 9110 7.6.1).  We alone say where a message ends, and who the client is.
 * upstream.c reads the answers, tunnel.c takes over when both sides switch to another protocol.
 */
#include "forward.h"
#include "resolve.h"

#include <string.h>

/* -- the target ------------------------------------------------------------------------------------------- */

/* The target as sent, from where it stands for the path behind its first n bytes, without the query; p is NULL when the
 * path is not simply the target decoded, but has lost dot segments or slashes, or was rewritten. */
static struct span
sent_behind(const struct request *r, unsigned n)
{
	struct span sent = { r->target.p, r->target.n - (r->has_query ? r->query.n + 1 : 0) };
	unsigned at = 0, cut = 0, i;

	if (r->plain)
		return (struct span){ sent.p + n, sent.n - n };
	for (i = 0; i < r->path.n && at < sent.n; i++) {
		char c = sent.p[at];

		cut = i == n ? at : cut;
		if (c == '%') {
			c = (char)(hex_digit(sent.p[at + 1]) << 4 | hex_digit(sent.p[at + 2]));
			at += 2;
		}
		at++;
		if (c != r->path.p[i])
			return (struct span){ NULL, 0 };
	}
	if (i < r->path.n || at < sent.n)
		return (struct span){ NULL, 0 };
	cut = i == n ? at : cut;
	return (struct span){ sent.p + cut, sent.n - cut };
}

/* As it was sent where that can be read in one way only, else as it was understood. */
static void
put_target(const struct conn *c, const struct request *r, struct buf *to)
{
	const struct pattern *p = &c->route->pattern;
	struct span there = c->route->value, rest;
	unsigned skip = 0;

	if (there.n && p->kind != MATCH_EXT)
		skip = p->text.n - (p->kind == MATCH_BELOW);
	if (there.n && there.p[there.n - 1] == '/' && skip < r->path.n)
		skip++;
	buf_url(to, there);
	rest = sent_behind(r, skip);
	if (rest.p)
		buf_span(to, rest);
	else
		buf_url(to, (struct span){ r->path.p + skip, r->path.n - skip });
	if (r->has_query) {
		buf_char(to, '?');
		buf_span(to, r->query);
	}
}

/* -- fields ------------------------------------------------------------------------------------------------- */

/* A line with Connection that names more than what becomes of the connection itself. */
static bool
names_fields(const struct request *r)
{
	for (unsigned i = 0; r->known[F_CONNECTION].p && i < r->nfields; i++)
		if (r->fields[i].id == F_CONNECTION && !span_eq_nocase(value_at(r->head, &r->fields[i]), SPAN("keep-alive")) &&
		    !span_eq_nocase(value_at(r->head, &r->fields[i]), SPAN("close")))
			return true;
	return false;
}

static bool
connection_has(const struct request *r, struct span token)
{
	for (unsigned i = 0; i < r->nfields; i++)
		if (r->fields[i].id == F_CONNECTION && list_has(value_at(r->head, &r->fields[i]), token))
			return true;
	return false;
}

/* Of one connection, said anew, or never taken from a client: Proxy would be HTTP_PROXY to a program over there. */
static const uint64_t withheld = 1ull << F_CONNECTION | 1ull << F_CONTENT_LENGTH | 1ull << F_EXPECT | 1ull << F_HOST |
    1ull << F_KEEP_ALIVE | 1ull << F_PROXY | 1ull << F_TRANSFER_ENCODING | 1ull << F_UPGRADE;

/* Fields without an id of their own that stay here: who the client is by his own account, and two of one connection.  Also
 * with "_" for "-": to programs over there, whose variables have that for both (RFC 3875 4.1.18), they are the same. */
static bool
withheld_name(struct span sent)
{
	static const struct span names[] = { SPAN("TE"), SPAN("Forwarded"), SPAN("X-Real-IP"), SPAN("Proxy-Connection"),
		SPAN("Proxy-Authorization") };
	char store[24];                 /* longer than the longest */
	struct span name = { store, sent.n < sizeof store ? sent.n : sizeof store };

	for (unsigned i = 0; i < name.n; i++)
		store[i] = sent.p[i] == '_' ? '-' : sent.p[i];
	if (span_starts_nocase(name, SPAN("X-Forwarded-")))
		return true;
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		if (span_eq_nocase(name, names[i]))
			return true;
	return false;
}

static bool
may_be_withheld(char first)
{
	return first == 'T' || first == 'F' || first == 'X' || first == 'P' || first >= 'a';
}

/* Fields that stay together go together, and with the request line when that stays, too: between two that are withheld
 * there is nothing that was not understood, and each line ends in CRLF. */
static void
put_fields(const struct conn *c, const struct request *r, struct buf *to, bool line, bool host)
{
	const struct field *f = r->fields, *end = f + r->nfields;
	const char *last = r->head + r->size - 2, *from = line ? r->line.p : f < end ? r->head + f->name : last;
	uint64_t leave = host ? withheld & ~(1ull << F_HOST) : withheld;
	bool named = names_fields(r);

	if (c->lent->user_n && !c->credentials && c->route->kind != R_FORWARD)
		leave |= 1ull << F_AUTHORIZATION;       /* a password for this server */
	for (; f < end; f++) {
		struct span name = name_at(r->head, f);

		if (!(leave >> f->id & 1) && !(f->id == F_OTHER && may_be_withheld(*name.p) && withheld_name(name)) &&
		    !(named && f->id != F_HOST && connection_has(r, name)))
			continue;
		buf_mem(to, from, name.p - from);
		from = f + 1 < end ? r->head + f[1].name : last;
		if (f->id == F_OTHER && span_eq_nocase(name, SPAN("TE")) && list_has(value_at(r->head, f), SPAN("trailers")))
			buf_span(to, SPAN("Connection: TE\r\nTE: trailers\r\n"));
	}
	buf_mem(to, from, last - from);
}

/* -- who asks ---------------------------------------------------------------------------------------------------- */

static void
put_address(struct buf *to, const struct from *f)
{
	if (f->family == AF_INET || f->family == AF_INET6)
		from_print(to, f);
	else
		buf_span(to, SPAN("unknown"));        /* RFC 7239 6.2 */
}

static void
put_client(struct buf *to, const struct from *f, bool secure, struct span host)
{
	bool v6 = f->family == AF_INET6;

	buf_text(to, "X-Forwarded-For: ");
	put_address(to, f);
	buf_print(to, "\r\nX-Forwarded-Proto: http%s\r\nForwarded: proto=http%s;for=", secure ? "s" : "", secure ? "s" : "");
	buf_text(to, v6 ? "\"[" : "");
	put_address(to, f);
	buf_text(to, v6 ? "]\"" : "");
	if (host.n)
		buf_print(to, ";host=\"%.*s\"\r\nX-Forwarded-Host: %.*s", (int)host.n, host.p, (int)host.n, host.p);
	buf_text(to, "\r\nVia: 1.1 cubhttpd\r\n");
}

struct asker { struct from from; uint32_t secure, host_n; };            /* compared as bytes: no padding */

static struct span
bytes_of(const struct asker *a)
{
	return (struct span){ (const char *)a, sizeof *a };
}

/* The client as we know it, or as a proxy that is trusted has told.  The text is kept as it was last written: most
 * requests come from the client that asked before, for the same host. */
static void
put_forwarded(const struct conn *c, const struct request *r, struct buf *to)
{
	static struct asker kept;
	static char kept_host[HOST_MOST], store[256 + 2 * HOST_MOST];
	static struct buf text = { store, 0, 0, sizeof store, false };
	struct span host = r->known[F_HOST];
	struct asker asker = { c->from, c->secure, host.n };

	if (host.n > HOST_MOST) {
		put_client(to, &c->from, asker.secure, host);
		return;
	}
	if (!text.w || !span_eq(bytes_of(&kept), bytes_of(&asker)) || !span_eq((struct span){ kept_host, host.n }, host)) {
		kept = asker;
		copy(kept_host, host.p, host.n);
		text.w = 0;
		put_client(&text, &c->from, asker.secure, host);
	}
	buf_mem(to, text.data, text.w);
}

/* Out into the world it goes as it is, and nobody there is told for whom. */
static void
put_forward(const struct conn *c, const struct request *r, struct buf *to)
{
	buf_span(to, r->name);
	buf_char(to, ' ');
	buf_span(to, r->target);
	if (r->has_query && r->target.n == 1) { /* http://host?query: between the two nothing was written */
		buf_char(to, '?');
		buf_span(to, r->query);
	}
	buf_text(to, " HTTP/1.1\r\nHost: ");
	buf_span(to, r->known[F_HOST]);
	buf_text(to, "\r\nVia: 1.1 ");
	buf_span(to, forward_pseudonym());
	buf_crlf(to);
	put_fields(c, r, to, false, false);
}

/* -- the head ------------------------------------------------------------------------------------------------------ */

/* A client of HTTP/1.0 may have named no host. */
static void
put_host(const struct conn *c, const struct request *r, struct buf *to)
{
	buf_text(to, "Host: ");
	if (r->known[F_HOST].n)
		buf_span(to, r->known[F_HOST]);
	else if (c->route->backends->name)
		buf_span(to, c->route->backends->name->host);
	else
		addr_print(to, &c->route->backends->addr);
	buf_crlf(to);
}

/* The field that was sent is what counts: no URL, and no proxy that is trusted, has named another host. */
static bool
host_stays(const struct conn *c, const struct request *r)
{
	return r->known[F_HOST].n && r->form == FORM_ORIGIN && !c->vouched;
}

/* The request line says, letter by letter, what is asked over there. */
static bool
line_stays(const struct conn *c, const struct request *r)
{
	return r->plain && !c->route->value.n && r->minor && r->line.p[r->line.n - 1] == '1' && r->name.p == r->line.p;
}

/* The client would switch to another protocol, and so may the backend.  Not to HTTP/2, whose requests would all pass
 * behind the back of routes and filters. */
static void
put_upgrade(struct conn *c, const struct request *r, struct buf *to)
{
	struct gateway *g = STATE(c, gateway);
	struct span protocols = r->known[F_UPGRADE];

	if (!protocols.n || protocols.n > UPGRADE_MOST || !r->minor || r->framing != BODY_NONE ||
	    !connection_has(r, SPAN("upgrade")) || list_has(protocols, SPAN("h2c")))
		return;
	memcpy(g->upgrade, protocols.p, protocols.n);
	g->upgrade_n = protocols.n;
	buf_span(to, SPAN("Connection: Upgrade\r\nUpgrade: "));
	buf_span(to, protocols);
	buf_crlf(to);
}

/* Those that mean the same when they are said twice (RFC 9110 9.2.2). */
static bool
idempotent(enum method m)
{
	return m != M_POST && m != M_PATCH && m != M_LOCK && m != M_CONNECT;
}

static void
proxy_head(struct conn *c, const struct request *r, const struct script *s, struct buf *to)
{
	struct gateway *g = STATE(c, gateway);
	bool host = host_stays(c, r), line = host && line_stays(c, r);

	(void)s;
	g->again = idempotent(r->method);
	g->host_n = r->known[F_HOST].n <= HOST_MOST ? r->known[F_HOST].n : 0;
	copy(g->host, r->known[F_HOST].p, g->host_n);
	if (CONFIG_FORWARD && c->route->kind == R_FORWARD) {
		put_forward(c, r, to);
	} else {
		if (!line) {
			buf_span(to, r->name);
			buf_char(to, ' ');
			put_target(c, r, to);
			buf_text(to, " HTTP/1.1\r\n");
		}
		if (!host)
			put_host(c, r, to);
		put_fields(c, r, to, line, host);
		put_forwarded(c, r, to);
	}
	put_upgrade(c, r, to);
	if (r->continues)
		buf_text(to, "Expect: 100-continue\r\n");
	if (r->framing == BODY_CHUNKED)
		buf_text(to, "Transfer-Encoding: chunked\r\n");
}

static void
proxy_length(struct buf *to, bool body, uint64_t length)
{
	if (body)
		buf_length(to, length);
	buf_crlf(to);
}

const struct dialect proxy_dialect = {
	"proxy", proxy_head, proxy_length, until_eof_next, raw_put, .put_chunks = chunked_put, .share = FOR_PROXY,
	.once = true, .line = upstream_line, .heed = upstream_heed, .frame = upstream_frame,
};

static int
proxy_start(struct conn *c, struct request *r)
{
	return gateway_start(c, r, NULL, &proxy_dialect);
}

const struct handler proxy_handler = { "proxy", proxy_start, gateway_push, gateway_pull, gateway_finish };
