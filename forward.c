/* forward.c - handler: out into the world, for clients that may (RFC 9110 3.7, 9.3.6)
 *
 *   GET http://host/x  --> a target --> name, addresses --> may that be? --> gateway.c and proxy.c, as to a backend
 *   CONNECT host:443   -->    "     -->      "                  "        --> dialled, 200, tunnel.c
 *
 * Whether a client may go there is asked of the address that is about to be dialled, and of nothing else: names are
 * anybody's to point where he likes, and to point elsewhere a moment later.
 */
#include "auth.h"
#include "forward.h"
#include "resolve.h"

#include <string.h>
#include <sys/random.h>
#include <unistd.h>

struct target {                         /* where some clients of one line want to go */
	struct rule route;              /* the line, with these backends */
	const struct rule *rule;        /* the line itself; NULL: never used */
	struct name name;
	struct backend backends[NAME_ADDRS];
	uint32_t used;                  /* in the order of uses */
	char text[NAME_MOST + 8];       /* HOST:PORT and NUL */
};

static unsigned
places(const struct conf *cf)
{
	return cf->forwards ? cf->proxied : 0;
}

struct pool target_pool = { "forward targets", sizeof (struct target), places, NULL, 0 };

/* -- may that be? ----------------------------------------------------------------------------------------- */

/* Not of the world: this machine, private networks, links, carriers' own, groups, and ways to write any of these as
 * another address (RFC 6890, 6052, 3056, 4380).  ::/8 has the unspecified and loopback addresses and both of NAT64. */
static bool
is_special(const struct from *f)
{
	static const struct { uint8_t family, bits, ip[4]; } ranges[] = {
		{ AF_INET, 8, { 0 } }, { AF_INET, 8, { 10 } }, { AF_INET, 10, { 100, 64 } }, { AF_INET, 8, { 127 } },
		{ AF_INET, 16, { 169, 254 } }, { AF_INET, 12, { 172, 16 } }, { AF_INET, 24, { 192, 0, 0 } },
		{ AF_INET, 16, { 192, 168 } }, { AF_INET, 15, { 198, 18 } }, { AF_INET, 3, { 224 } },
		{ AF_INET6, 8, { 0 } }, { AF_INET6, 8, { 1 } }, { AF_INET6, 32, { 0x20, 1 } }, { AF_INET6, 16, { 0x20, 2 } },
		{ AF_INET6, 7, { 0xfc } }, { AF_INET6, 9, { 0xfe, 0x80 } }, { AF_INET6, 8, { 0xff } },
	};

	for (unsigned i = 0; i < sizeof ranges / sizeof *ranges; i++) {
		struct net net = { .family = ranges[i].family, .bits = ranges[i].bits };

		memcpy(net.ip, ranges[i].ip, sizeof ranges[i].ip);
		if (net_has(&net, f))
			return true;
	}
	return false;
}

/* An address of this machine, whatever it looks like: what is sent there comes from there. */
static bool
is_here(const struct addr *a)
{
	int fd = call_socket(a->u.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct addr from = { .size = sizeof from.u };
	struct from there = from_of(a), here;
	bool same = false;

	if (fd >= 0 && call_connect(fd, &a->u.any, a->size) == 0 && call_getsockname(fd, &from.u.any, &from.size) == 0) {
		here = from_of(&from);
		same = from_same(&here, &there);
	}
	if (fd >= 0)
		call_close(fd);
	return same;
}

bool
forward_lets(const struct rule *route, const struct addr *a)
{
	struct from f = from_of(a);

	return net_has(route->forward->to, &f) || (!is_special(&f) && !is_here(a));
}

/* Tunnels only to the ports of the line; HTTP also to those where no other protocol is at home. */
static bool
port_allowed(const struct rule *rule, unsigned port, bool tunnel)
{
	const struct forward *f = rule->forward;

	for (unsigned i = 0; i < f->nports; i++)
		if (f->port[i] == port)
			return true;
	return tunnel ? !f->nports && port == 443 : port == 80 || port >= 1024;
}

/* -- targets --------------------------------------------------------------------------------------------------- */

static bool
in_use(const struct target *t)
{
	for (unsigned i = 0; i < slot_count(); i++)
		if (slot_at(i)->phase != FREE && slot_at(i)->conf && slot_at(i)->route == &t->route)
			return true;
	return false;
}

/* text is HOST:PORT, of which the host has n bytes. */
static void
target_begin(struct target *t, const struct rule *rule, struct span text, unsigned n, uint16_t port)
{
	struct span host = { t->text, n };
	struct from f;

	if (t->rule)
		name_forget(&t->name);
	memset(t, 0, sizeof *t);
	memcpy(t->text, text.p, text.n);
	t->rule = rule;
	t->backends[0].text = t->text;
	if (from_parse(&f, host)) {
		t->backends[0].addr = addr_of(&f, net16(port));
	} else {
		t->name = (struct name){ .host = host, .port = net16(port) };
		name_begin(&t->name, t->backends, t->text);
	}
	for (struct backend *b = t->backends; b; b = b->next)
		b->foreign = true;
}

/* The one for this client's line, or one that nobody uses, the longest first; NULL: all are in use. */
static struct target *
target_find(const struct rule *rule, struct span host, uint16_t port)
{
	static uint32_t uses;
	static char store[NAME_MOST + 7];
	struct buf text = buf_on(store, sizeof store);
	struct target *t = (void *)target_pool.at, *const end = t + target_pool.n, *oldest = NULL;

	buf_print(&text, "%.*s:%u", (int)host.n, host.p, port);
	for (; t < end; t++) {
		if (t->rule == rule && span_eq_nocase(span_of(t->text), (struct span){ store, text.w }))
			break;
		if ((!oldest || t->used < oldest->used) && !in_use(t))
			oldest = t;
	}
	if (t == end) {
		t = oldest;
		if (!t)
			return NULL;
		target_begin(t, rule, (struct span){ store, text.w }, host.n, port);
	}
	t->used = ++uses;
	t->route = *rule;
	t->route.number = IN_ORDER;
	t->route.backends = t->backends;
	return t;
}

/* -- what is asked for ------------------------------------------------------------------------------------------- */

static const struct rule *
rule_for(const struct conn *c)
{
	const struct rule *rule = conf->forwards;

	while (rule && !net_has(rule->nets, &c->from))
		rule = rule->next;
	return rule;
}

static struct span
field_of(const struct request *r, struct span name)
{
	for (const struct field *f = r->fields; f < r->fields + r->nfields; f++)
		if (span_eq_nocase(name_at(r->head, f), name))
			return value_at(r->head, f);
	return (struct span){ NULL, 0 };
}

/* Not "cubhttpd" alone: another one may well be on the way. */
struct span
forward_pseudonym(void)
{
	static char text[] = "cubhttpd-xxxxxxxxxxxxxxxx";
	static struct buf b = { text, 0, 9, sizeof text, false };
	uint64_t id = (uint64_t)now;

	if (b.w == 9) {
		if (call_getrandom(&id, sizeof id, GRND_NONBLOCK) < 0)
			id ^= (uint64_t)getpid() << 32;
		buf_hex(&b, id);
	}
	return (struct span){ text, b.w };
}

static bool
was_here(const struct request *r)
{
	struct span me = forward_pseudonym();

	for (const struct field *f = r->fields; f < r->fields + r->nfields; f++) {
		struct span value = value_at(r->head, f);

		if (!span_eq_nocase(name_at(r->head, f), SPAN("Via")))
			continue;
		for (; value.n >= me.n; value.p++, value.n--)
			if (span_starts(value, me))
				return true;
	}
	return false;
}

/* The port behind the host; 80 goes without saying, but not for CONNECT. */
static unsigned
port_of(const struct request *r)
{
	struct span authority = r->known[F_HOST];
	uint64_t port;

	if (authority.n <= r->host.n + 1)
		return 80;
	authority = (struct span){ authority.p + r->host.n + 1, authority.n - r->host.n - 1 };
	return span_uint(authority, &port) && port < 65536 ? (unsigned)port : 0;
}

/* A URL of one of our sites, by its name, or by the address and port that were connected to, is answered like a path. */
static bool
is_ours(struct conn *c, const struct request *r)
{
	const struct from *local = conn_local(c);
	struct from f;

	return c->host != conf->hosts || (from_parse(&f, r->host) && from_same(&f, local) &&
	    port_of(r) == net16(local->port));
}

static int
refuse(struct conn *c, int status, const char *why)
{
	c->why = why;
	return status;
}

static int
may(struct conn *c, const struct request *r, const struct rule *rule)
{
	bool tunnel = r->method == M_CONNECT;
	struct from f;
	int status = 0;

	if (CONFIG_AUTH && rule->root.path)
		status = auth_check(c, rule, field_of(r, SPAN("Proxy-Authorization")), 407);
	if (status)
		return status;
	if (tunnel && r->framing != BODY_NONE)
		return refuse(c, 400, "a CONNECT with a body");
	if (r->form == FORM_HTTPS)
		return refuse(c, 501, "https is reached by CONNECT");
	if (!port_of(r) || !port_allowed(rule, port_of(r), tunnel))
		return refuse(c, 403, "this port may not be reached");
	if (was_here(r))
		return refuse(c, 508, "the request has come round to here again");
	if (!from_parse(&f, r->host) && (!CONFIG_RESOLVE || !name_host(r->host)))
		return refuse(c, 400, "the host is neither a name nor an address");
	return 0;
}

int
forward(struct conn *c, struct request *r)
{
	const struct rule *rule = rule_for(c);
	struct target *t;
	int status;

	if (!rule || (r->method != M_CONNECT && is_ours(c, r)))
		return PASS;
	c->word = "forward";
	c->route = rule;
	status = may(c, r, rule);
	if (status)
		return status;
	t = target_find(rule, r->host, (uint16_t)port_of(r));
	if (!t)
		return BUSY;
	c->route = &t->route;
	c->handler = r->method == M_CONNECT ? &connect_handler : &proxy_handler;
	return c->handler->start(c, r);
}

/* -- CONNECT ------------------------------------------------------------------------------------------------------- */

static const struct dialect connect_dialect = { .name = "connect", .next = until_eof_next, .share = FOR_PROXY };

static int
connect_start(struct conn *c, struct request *r)
{
	int status = gateway_take(c, &connect_dialect);

	(void)r;
	if (!status && !gateway_dial(c)) {
		status = c->status;
		gateway_finish(c);
	}
	return status;
}

/* What the client sent behind its request lies in client.in, and goes first. */
static enum io
connect_pull(struct conn *c)
{
	enum io io = gateway_connect(c);

	if (io != IO_DONE)
		return io;
	buf_text(&c->client.out, "HTTP/1.1 200 Connection established\r\n\r\n");
	c->status = 200;
	c->begun = true;
	tunnel_begin(c);
	return IO_MOVED;
}

const struct handler connect_handler = { "connect", connect_start, NULL, connect_pull, gateway_finish };
