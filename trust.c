/* trust.c - who the client is, by the word of those in front of us
 *
 *   client --> proxy --> here        a connection of `listen ... proxy-protocol` begins with a PROXY header
 *
 * The header is read to its last byte and no further: what follows may not be HTTP yet.
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
	*port = htons((uint16_t)n);
	return true;
}

/* PROXY TCP4 192.0.2.7 192.0.2.1 4711 80 CR LF, and UNKNOWN with anything behind it */
static int
proxy_v1(const char *p, unsigned n, struct from *from)
{
	const char *lf = memchr(p, '\n', n < V1_MOST ? n : V1_MOST);
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
