/* trust.c - who the client is, by the word of those in front of us
 *
 *   client --> proxy --> proxy --> here      a connection of `listen ... proxy-protocol` begins with a PROXY header
 *   [ spoofed, client, proxy ]  proxy        X-Forwarded-For and Forwarded: each hop writes to the right of what it got
 *              `------- read from here, as far as they are of `trust`
 *
 * A PROXY header is about a connection, the fields are about one request: a kept connection of a proxy carries many
 * clients.  Whoever is not trusted has no word in this, whatever it sends.
 */
#include "httpd.h"

#include <string.h>

/* -- the PROXY protocol (haproxy's proxy-protocol.txt) -------------------------------------------------- */

enum { V1_MOST = 107, V2_HEAD = 16, V2_MOST = 4096 };

/* As far as they go, both begin alike. */
static bool
begins(const char *p, unsigned n, struct span with)
{
	return !memcmp(p, with.p, n < with.n ? n : with.n);
}

static bool
text_port(struct span text, uint16_t *port)
{
	uint64_t n;

	if (!span_uint(text, &n) || n > 65535)
		return false;
	*port = net16((uint16_t)n);
	return true;
}

/* PROXY TCP4 192.0.2.7 192.0.2.1 4711 80 CR LF, and UNKNOWN with anything behind it */
static int
proxy_v1(const char *p, unsigned n, struct from *from)
{
	const char *lf = find_byte(p, '\n', n < V1_MOST ? n : V1_MOST);
	struct span rest = { p + 6, lf ? (unsigned)(lf - p) - 7 : 0 }, family, client, server;
	struct from f, to;

	if (!lf)
		return n < V1_MOST ? 0 : -1;
	if (lf < p + 7 || lf[-1] != '\r')
		return -1;
	family = span_cut(&rest, ' ');
	if (span_eq(family, SPAN("UNKNOWN")))
		return (int)(lf - p) + 1;
	client = span_cut(&rest, ' ');
	server = span_cut(&rest, ' ');
	if (!span_eq(family, SPAN("TCP4")) && !span_eq(family, SPAN("TCP6")))
		return -1;
	if (!from_parse(&f, client) || !from_parse(&to, server) || !text_port(span_cut(&rest, ' '), &f.port) ||
	    !text_port(rest, &to.port))
		return -1;
	*from = f;
	return (int)(lf - p) + 1;
}

/* Signature, version and command, family, length of the rest: addresses, then fields that nobody here asks for. */
static int
proxy_v2(const unsigned char *p, unsigned n, struct from *from)
{
	static const struct { uint8_t family, size; } known[] = { { 0x11, 12 }, { 0x21, 36 }, { 0x31, 216 } };
	const unsigned char *addresses = p + V2_HEAD;
	unsigned length;

	if (n > 12 && p[12] != 0x20 && p[12] != 0x21)
		return -1;
	if (n < V2_HEAD)
		return 0;
	length = (unsigned)p[14] << 8 | p[15];
	if (length > V2_MOST - V2_HEAD)
		return -1;
	if (n < V2_HEAD + length)
		return 0;
	for (unsigned i = 0; p[12] == 0x21 && i < sizeof known / sizeof *known; i++)
		if (p[13] == known[i].family && length < known[i].size)
			return -1;
	if (p[12] == 0x21 && p[13] == 0x11)
		*from = from_ip(AF_INET, addresses, addresses + 8);
	if (p[12] == 0x21 && p[13] == 0x21)
		*from = from_ip(AF_INET6, addresses, addresses + 32);
	if (p[12] == 0x21 && p[13] == 0x31)
		*from = (struct from){ .family = AF_UNIX };
	return (int)(V2_HEAD + length);
}

int
proxy_header(const char *p, unsigned n, struct from *from)
{
	static const struct span v1 = SPAN("PROXY "), v2 = SPAN("\r\n\r\n\0\r\nQUIT\n");

	if (n && begins(p, n, v1))
		return proxy_v1(p, n, from);
	if (begins(p, n, v2))
		return proxy_v2((const unsigned char *)p, n, from);
	return -1;
}

/* What follows the header stays with the kernel: it may not be HTTP yet. */
bool
trust_step(struct conn *c)
{
	struct buf *in = &c->client.in;
	unsigned have, ready;
	int length;

	if (!c->client.readable)
		return false;
	if (!c->lent)
		c->since = now;
	slot_lend(c);
	if (!net_has(conf->trust, &c->from)) {
		log_line(LOG_WARN, "not one of `trust`, so no PROXY header is taken from it");
		c->over = true;
		return false;
	}
	have = buf_used(in);
	ready = stream_peek(&c->client);
	c->over = c->client.eof;
	if (!ready)
		return false;
	length = proxy_header(in->data, have + ready, &c->from);
	if (length < 0) {
		log_line(LOG_WARN, "no PROXY header, but something else");
		c->over = true;
		return false;
	}
	if (!stream_read_most(&c->client, length ? (unsigned)length - have : ready))
		return false;
	if (length) {
		buf_take(in, (unsigned)length);
		c->before &= ~LISTEN_PROXIED;
	}
	return true;
}

/* -- Forwarded (RFC 7239) and X-Forwarded-For, -Proto and -Host ------------------------------------------ */

enum { HOPS_MAX = 32, FORWARDED = 0, X_FOR, X_PROTO, X_HOST, KINDS };

static const struct span kinds[KINDS] = {
	[FORWARDED] = SPAN("Forwarded"), [X_FOR] = SPAN("X-Forwarded-For"), [X_PROTO] = SPAN("X-Forwarded-Proto"),
	[X_HOST] = SPAN("X-Forwarded-Host"),
};

struct hop { struct span from, proto, host; };          /* what one proxy says of whom it serves */

/* What the fields of one kind said, those that were read last: the last of their hops, in the order written. */
static struct { unsigned n; struct hop hop[HOPS_MAX]; } list;

static struct hop *
add(void)
{
	if (list.n == HOPS_MAX)
		memmove(list.hop, list.hop + 1, --list.n * sizeof *list.hop);
	list.hop[list.n] = (struct hop){ .from = { NULL, 0 } };
	return &list.hop[list.n++];
}

/* Strictly: what a client leaves open must not swallow what the next proxy writes behind it. */
static bool
cut_name(struct span *rest, struct span *name)
{
	unsigned n = 0;

	while (n < rest->n && lower(rest->p[n]) >= 'a' && lower(rest->p[n]) <= 'z')
		n++;
	if (!n || n == rest->n || rest->p[n] != '=')
		return false;
	*name = (struct span){ rest->p, n };
	*rest = (struct span){ rest->p + n + 1, rest->n - n - 1 };
	return true;
}

/* A value up to ";" or ",", or in quotes; false when a quotation has no end, or something follows it. */
static bool
cut_value(struct span *rest, struct span *value)
{
	const char *p = rest->p, *end = p + rest->n;
	bool quoted = p < end && *p == '"';

	*value = (struct span){ p + quoted, 0 };
	for (p += quoted; p < end && (quoted ? *p != '"' : *p != ';' && *p != ','); p++)
		if (*p == (quoted ? '\\' : '"'))
			return false;           /* nothing that belongs here needs an escape */
	value->n = (unsigned)(p - value->p);
	if (quoted && p++ == end)
		return false;
	*value = span_trim(*value);
	*rest = span_trim((struct span){ p, (unsigned)(end - p) });
	return !rest->n || *rest->p == ';' || *rest->p == ',';
}

/* for=192.0.2.43;proto=https, for="[2001:db8::1]:4711";host="example.org" */
static bool
read_forwarded(struct span rest)
{
	struct hop *hop = NULL;

	while ((rest = span_trim(rest)).n) {
		struct span name, value;
		bool next = *rest.p == ',';

		if (!next && *rest.p != ';') {
			if (!cut_name(&rest, &name) || !cut_value(&rest, &value))
				return false;
			hop = hop ? hop : add();
			if (span_eq_nocase(name, SPAN("for")))
				hop->from = value;
			if (span_eq_nocase(name, SPAN("proto")))
				hop->proto = value;
			if (span_eq_nocase(name, SPAN("host")))
				hop->host = value;
			continue;
		}
		if (next)
			hop = NULL;
		rest = (struct span){ rest.p + 1, rest.n - 1 };
	}
	return true;
}

/* Of all fields of this name, as one list (RFC 9110 5.2). */
static bool
read_fields(const struct request *r, unsigned kind)
{
	list.n = 0;
	for (const struct field *f = r->fields; f < r->fields + r->nfields; f++) {
		struct span rest = value_at(r->head, f);

		if (f->id != F_OTHER || !span_eq_nocase(name_at(r->head, f), kinds[kind]))
			continue;
		if (kind == FORWARDED && !read_forwarded(rest))
			return false;
		while (kind != FORWARDED && rest.n) {
			struct span one = span_item(&rest, ',');

			if (one.n)
				add()->from = one;
		}
	}
	return true;
}

struct told { bool any; struct from from; struct span proto, host; };

/* From the right, as long as whoever speaks is trusted: each names the one before it.  Returns where that ends. */
static unsigned
walk(struct from *from)
{
	unsigned i = list.n;

	while (i && net_has(conf->trust, from)) {
		if (!from_parse(from, list.hop[--i].from)) {
			*from = (struct from){ .family = AF_UNSPEC };   /* not told: nobody */
			break;
		}
	}
	return i;
}

static bool
tell_forwarded(const struct request *r, const struct from *peer, struct told *t)
{
	unsigned i;

	*t = (struct told){ .from = *peer };
	if (!read_fields(r, FORWARDED))
		return false;
	t->any = list.n;
	i = walk(&t->from);
	if (i < list.n) {
		t->proto = list.hop[i].proto;
		t->host = list.hop[i].host;
	}
	return true;
}

/* Proto and host often are one for all hops, of the proxy that set them; else they stand like the addresses. */
static struct span
beside(const struct request *r, unsigned kind, unsigned from_right, bool *any)
{
	read_fields(r, kind);
	*any |= list.n;
	if (!list.n)
		return (struct span){ NULL, 0 };
	return list.hop[from_right < list.n ? list.n - 1 - from_right : 0].from;
}

static void
tell_x(const struct request *r, const struct from *peer, struct told *t)
{
	unsigned i;

	*t = (struct told){ .from = *peer };
	read_fields(r, X_FOR);
	t->any = list.n;
	i = walk(&t->from);
	i = i < list.n ? list.n - 1 - i : 0;
	t->proto = beside(r, X_PROTO, i, &t->any);
	t->host = beside(r, X_HOST, i, &t->any);
}

static bool
differ(struct span a, struct span b)
{
	return a.n && b.n && !span_eq_nocase(a, b);
}

/* A proxy may write one of the two and pass the other on as its client sent it: which one is not for us to guess. */
static bool
agree(const struct told *a, const struct told *b)
{
	return from_same(&a->from, &b->from) && !differ(a->proto, b->proto) && !differ(a->host, b->host);
}

int
trust_request(struct conn *c, struct request *r)
{
	struct told forwarded, x;
	struct from peer;

	if (c->vouched)         /* it was asked before, under another configuration maybe */
		trust_forget(c);
	peer = c->from;
	c->vouched = net_has(conf->trust, &peer);
	if (!c->vouched)
		return 0;
	c->hop = peer;
	c->why = "what proxies say of the client cannot be understood";
	if (!tell_forwarded(r, &peer, &forwarded))
		return 400;
	tell_x(r, &peer, &x);
	if (forwarded.any && x.any && !agree(&forwarded, &x))
		return 400;
	if (!x.any)
		x = forwarded;
	if (!x.host.n && forwarded.any)
		x.host = forwarded.host;
	if (!x.proto.n && forwarded.any)
		x.proto = forwarded.proto;
	if (x.host.n && !request_set_host(r, x.host))
		return 400;
	c->why = NULL;
	c->from = x.from;
	if (x.proto.n)
		c->secure = span_eq_nocase(x.proto, SPAN("https"));
	return 0;
}

void
trust_forget(struct conn *c)
{
	c->from = c->hop;
	c->vouched = false;
	c->secure = c->client.tls;
}
