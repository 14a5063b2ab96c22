/* addr.c - addresses as text, and ranges of them
 *
 * Names are not looked up here: that takes time (resolve.c).  Printing is our own because inet_ntop of some C libraries
 * brings the whole of printf with it.
 */
#include "base.h"

#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

static bool
unix_parse(struct addr *a, const char *path)
{
	size_t n = strlen(path);

	if (!n || n >= sizeof a->u.un.sun_path)
		return false;
	a->u.un.sun_family = AF_UNIX;
	memcpy(a->u.un.sun_path, path, n + 1);
	a->size = offsetof(struct sockaddr_un, sun_path) + n + 1;
	return true;
}

/* Ask the kernel about a network interface: if_nametoindex(3) and if_indextoname(3) do the same in 500 bytes more. */
static bool
interface(unsigned long question, struct ifreq *about)
{
	int fd = call_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool known = fd >= 0 && call_ioctl(fd, question, about) == 0;

	if (fd >= 0)
		call_close(fd);
	return known;
}

static bool
zone_parse(struct span name, uint32_t *zone)
{
	struct ifreq about = { 0 };
	uint64_t number;

	if (name.n < sizeof about.ifr_name)
		memcpy(about.ifr_name, name.p, name.n);
	if (interface(SIOCGIFINDEX, &about))
		*zone = about.ifr_ifindex;
	else if (span_uint(name, &number))
		*zone = number;
	else
		return false;
	return true;
}

bool
ip4_parse(struct span text, void *to)
{
	unsigned char *ip = to;
	const char *end = text.p + text.n;
	struct span part;
	uint64_t n;

	for (unsigned i = 0; i < 4; i++) {
		part = span_cut(&text, '.');
		if (!span_uint(part, &n) || n > 255 || (part.n > 1 && *part.p == '0') || (part.p + part.n == end) != (i == 3))
			return false;
		*ip++ = n;
	}
	return true;
}

/* A group of up to four digits, or two of them as an IPv4 address; 0: it is none. */
static unsigned
group_parse(struct span part, unsigned char *ip, unsigned left)
{
	unsigned value = 0;

	if (left > 1 && ip4_parse(part, ip))
		return 2;
	if (!left || !part.n || part.n > 4)
		return 0;
	for (unsigned i = 0; i < part.n; i++) {
		if (hex_digit(part.p[i]) < 0)
			return 0;
		value = value << 4 | (unsigned)hex_digit(part.p[i]);
	}
	ip[0] = value >> 8;
	ip[1] = value;
	return 1;
}

/* RFC 4291 2.2.  Where "::" is, the groups behind it move to the end. */
bool
ip6_parse(struct span text, void *to)
{
	enum { GROUPS_6 = 8, NO_GAP };
	unsigned char *ip = to;
	unsigned n = 0, gap = NO_GAP, k, after;
	struct span part;

	memset(ip, 0, 16);
	if (span_starts(text, SPAN("::")))
		text = (struct span){ text.p + 1, text.n - 1 };
	else if (!text.n || *text.p == ':')
		return false;
	while (text.n) {
		if (*text.p == ':') {
			if (gap != NO_GAP)
				return false;
			gap = n;
			text = (struct span){ text.p + 1, text.n - 1 };
			continue;
		}
		part = span_cut(&text, ':');
		k = group_parse(part, ip + 2 * n, GROUPS_6 - n);
		if (!k || (text.p > part.p + part.n && (k == 2 || !text.n)))
			return false;
		n += k;
	}
	if (gap == NO_GAP)
		return n == GROUPS_6;
	after = 2 * (n - gap);
	memmove(ip + 16 - after, ip + 2 * gap, after);
	memset(ip + 2 * gap, 0, 16 - 2 * n);
	return n < GROUPS_6;
}

/* A number of either family; an IPv6 address that is of a link has a zone (RFC 4007 11): fe80::1%eth0 */
static bool
ip_parse(struct addr *a, struct span host, uint16_t port)
{
	struct span zone = host;

	memset(a, 0, sizeof *a);
	a->u.in4.sin_port = port;
	if (!find_byte(host.p, ':', host.n)) {
		a->size = sizeof a->u.in4;
		a->u.any.sa_family = AF_INET;
		return ip4_parse(host, &a->u.in4.sin_addr);
	}
	host = span_cut(&zone, '%');
	a->size = sizeof a->u.in6;
	a->u.any.sa_family = AF_INET6;
	return ip6_parse(host, &a->u.in6.sin6_addr) &&
	    (zone.p == host.p + host.n || zone_parse(zone, &a->u.in6.sin6_scope_id));
}

/* IPv6 in brackets, and nothing else there. */
static bool
host_parse(struct addr *a, struct span host, uint16_t port)
{
	bool six = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';

	if (six)
		host = (struct span){ host.p + 1, host.n - 2 };
	else if (span_eq(host, SPAN("*")))
		host = SPAN("::"), six = true;
	else if (span_eq(host, SPAN("localhost")))
		host = SPAN("127.0.0.1");
	return ip_parse(a, host, port) && (a->u.any.sa_family == AF_INET6) == six;
}

bool
addr_parse(struct addr *a, const char *text, const char *any)
{
	const char *colon = find_last(text, ':');
	struct span host = colon ? (struct span){ text, (unsigned)(colon - text) } : span_of(any);
	uint64_t port;

	memset(a, 0, sizeof *a);
	if (span_starts(span_of(text), SPAN("unix:")))
		return unix_parse(a, text + 5);
	if (!span_uint(span_of(colon ? colon + 1 : text), &port) || port > 65535)
		return false;
	return host_parse(a, host, net16(port));
}

static void
in4_print(struct buf *b, const unsigned char ip[4])
{
	for (unsigned i = 0; i < 4; i++) {
		if (i)
			buf_char(b, '.');
		buf_uint(b, ip[i]);
	}
}

/* Where the longest run of two or more zero groups begins, and its length: that run is "::" (RFC 5952 4.2). */
static unsigned
zero_run(const unsigned char ip[16], unsigned *length)
{
	unsigned best = 0, i, n;

	*length = 1;
	for (i = 0; i < 8; i += n + 1) {
		for (n = 0; i + n < 8 && !ip[2 * (i + n)] && !ip[2 * (i + n) + 1]; n++)
			;
		if (n > *length) {
			*length = n;
			best = i;
		}
	}
	return best;
}

static void
in6_print(struct buf *b, const unsigned char ip[16])
{
	unsigned length, run = zero_run(ip, &length), i;

	for (i = 0; i < 8; i++) {
		if (length > 1 && i == run) {
			buf_text(b, "::");
			i += length - 1;
			continue;
		}
		if (i && !(length > 1 && i == run + length))
			buf_char(b, ':');
		buf_hex(b, (unsigned)ip[2 * i] << 8 | ip[2 * i + 1]);
	}
}

static void
zone_print(struct buf *b, unsigned zone)
{
	struct ifreq about = { .ifr_ifindex = (int)zone };

	if (zone && interface(SIOCGIFNAME, &about))
		buf_print(b, "%%%s", about.ifr_name);
	else if (zone)
		buf_print(b, "%%%u", zone);
}

/* IPv4 within IPv6 is shown as what it is. */
void
addr_print(struct buf *b, const struct addr *a)
{
	struct from f = from_of(a);
	bool six = f.family == AF_INET6;

	if (f.family == AF_UNIX) {
		buf_text(b, "unix:");
		if (a->size > offsetof(struct sockaddr_un, sun_path))
			buf_text(b, a->u.un.sun_path);
		return;
	}
	if (six && IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr)) {
		buf_char(b, '*');
	} else {
		buf_text(b, six ? "[" : "");
		from_print(b, &f);
		if (six)
			zone_print(b, a->u.in6.sin6_scope_id);
		buf_text(b, six ? "]" : "");
	}
	buf_print(b, ":%u", addr_port(a));
}

/* Ours begin as zeros, and the kernel leaves nothing in what has no meaning. */
bool
addr_same(const struct addr *a, const struct addr *b)
{
	return a->size == b->size && !memcmp(&a->u, &b->u, a->size);
}

/* Both families have it in one place. */
unsigned
addr_port(const struct addr *a)
{
	return a->u.any.sa_family == AF_UNIX ? 0 : net16(a->u.in4.sin_port);
}

struct from
from_ip(int family, const void *ip, const void *port)
{
	static const unsigned char mapped[12] = { [10] = 0xff, 0xff };
	struct from f = { (uint16_t)family, 0, { 0 } };

	memcpy(&f.port, port, 2);
	memcpy(f.ip, ip, family == AF_INET ? 4 : 16);
	if (family == AF_INET6 && !memcmp(ip, mapped, 12)) {
		memset(f.ip, 0, 16);
		memcpy(f.ip, (const char *)ip + 12, 4);
		f.family = AF_INET;
	}
	return f;
}

struct from
from_of(const struct addr *a)
{
	if (a->u.any.sa_family == AF_INET6)
		return from_ip(AF_INET6, &a->u.in6.sin6_addr, &a->u.in6.sin6_port);
	if (a->u.any.sa_family == AF_INET)
		return from_ip(AF_INET, &a->u.in4.sin_addr, &a->u.in4.sin_port);
	return (struct from){ .family = a->u.any.sa_family };
}

bool
from_same(const struct from *a, const struct from *b)
{
	return a->family == b->family && !memcmp(a->ip, b->ip, sizeof a->ip);
}

struct addr
addr_of(const struct from *f, uint16_t port)
{
	struct addr a = { .size = sizeof a.u.in4 };

	_Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port), "ports lie apart");
	a.u.any.sa_family = f->family;
	a.u.in4.sin_port = port;
	if (f->family == AF_INET6) {
		a.size = sizeof a.u.in6;
		memcpy(&a.u.in6.sin6_addr, f->ip, 16);
	} else {
		memcpy(&a.u.in4.sin_addr, f->ip, 4);
	}
	return a;
}

/* The port behind an address: none, a number, or one that is not told (RFC 7239 6.3). */
static bool
from_port(struct from *f, struct span text)
{
	uint64_t port = 0;

	if (text.n && *text.p == '_')
		return true;
	if (text.n && (!span_uint(text, &port) || port > 65535))
		return false;
	f->port = net16((uint16_t)port);
	return true;
}

bool
from_parse(struct from *f, struct span text)
{
	struct span rest = text, part;
	struct addr a;
	bool six;

	if (!text.n)
		return false;
	six = *text.p == '[';
	if (six) {
		rest = (struct span){ text.p + 1, text.n - 1 };
		part = span_cut(&rest, ']');
		if (rest.p[-1] != ']' || (rest.n && *rest.p != ':'))
			return false;
		span_cut(&rest, ':');
	} else {
		part = span_cut(&rest, ':');
		if (rest.n && find_byte(rest.p, ':', rest.n))
			part = text, rest.n = 0;
	}
	if (find_byte(part.p, '%', part.n) || !ip_parse(&a, part, 0) || (six && a.u.any.sa_family != AF_INET6))
		return false;
	*f = from_of(&a);
	return from_port(f, rest);
}

void
from_print(struct buf *b, const struct from *f)
{
	if (f->family == AF_INET)
		in4_print(b, f->ip);
	else if (f->family == AF_INET6)
		in6_print(b, f->ip);
	else
		buf_text(b, f->family == AF_UNIX ? "unix" : "unknown");
}

/* IPv4 within IPv6 counts its bits from the beginning of the IPv6 address. */
static bool
net_of(struct net *net, struct span host, struct span bits, bool slash)
{
	unsigned most, skip;
	struct from f;
	struct addr a;
	uint64_t n;

	if (!ip_parse(&a, host, 0))
		return false;
	f = from_of(&a);
	most = a.u.any.sa_family == AF_INET ? 32 : 128;
	skip = most == 128 && f.family == AF_INET ? 96 : 0;
	n = most;
	if (slash && !span_uint(bits, &n))
		return false;
	net->family = f.family;
	net->bits = n - skip;
	memcpy(net->ip, f.ip, sizeof net->ip);
	return n <= most && n >= skip;
}

bool
net_parse(struct net *net, const char *text)
{
	struct span bits = span_of(text), host = span_cut(&bits, '/');

	net->bits = 0;
	net->family = strcmp(text, "unix") ? AF_UNSPEC : AF_UNIX;
	if (net->family || !strcmp(text, "*"))
		return true;
	return net_of(net, host, bits, text[host.n]);
}

static bool
same_bits(const unsigned char *a, const unsigned char *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	return !memcmp(a, b, whole) && (!rest || !((a[whole] ^ b[whole]) >> (8 - rest)));
}

bool
net_has(const struct net *net, const struct from *f)
{
	for (; net; net = net->next)
		if (net->family == AF_UNSPEC || (net->family == f->family && same_bits(net->ip, f->ip, net->bits)))
			return true;
	return false;
}
