/* https.c - our side of a handshake with a backend: who it has to be, and what is offered to it
 *
 *   gateway.c dials --tls_dial--> a place with an engine, its ClientHello ready --handshake.c--> keys, as for a client
 *
 * Nothing of the request is sent before the certificate was found in order.
 */
#include "handshake.h"
#include "verify.h"


/* https://HOST:PORT/PATH, as it was written. */
static struct span
host_of(struct span url)
{
	struct span rest = { url.p + 8, url.n - 8 }, host = span_cut(&rest, '/');

	if (host.n && *host.p == '[') {
		host.p++, host.n--;
		return span_cut(&host, ']');
	}
	return span_cut(&host, ':');
}

/* RFC 6066 3: only names are asked for, and no address is one. */
static const char *
asked_for(struct span host, char store[256])
{
	unsigned char address[16];

	if (host.n > 255)
		return NULL;
	memcpy(store, host.p, host.n);
	store[host.n] = '\0';
	return ip4_parse(host, address) || ip6_parse(host, address) ? NULL : store;
}

void
tls_dial(struct stream *s, const struct conf *cf, const struct secure *secure, struct span url)
{
	struct span host = secure->name.n ? secure->name : host_of(url);
	char store[256];
	struct place *p;

	s->tls = tls_new(false);
	s->tls->backend = true;
	p = place_for(s);
	br_ssl_client_zero(&p->client);
	engine_setup(p);
	verify_backend(p - (struct place *)(void *)tls_place_pool.at, &p->client, cf, secure, host);
	if (!br_ssl_client_reset(&p->client, asked_for(host, store), 0))
		s->dead = true;
}
