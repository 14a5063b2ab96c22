/* verify.h - who the other side of a handshake is: its chain of certificates, looked at as it comes
 *
 *   `client-ca FILE` --> struct anchors --.
 *                                          > struct verifier --> proof, with the connection --> SSL_CLIENT_*
 *   the chain, from BearSSL's engine -----'  of a handshake
 */
#ifndef VERIFY_H
#define VERIFY_H

#include "cert.h"

enum { LEAF_MOST = 4096, LEAF_LONG };   /* bytes of a certificate that is looked into; it is longer, and not accepted */

struct anchors { size_t n; const br_x509_trust_anchor *all; };  /* authorities that are believed */

struct verifier {
	const br_x509_class *vtable;    /* first, as BearSSL wants it */
	br_x509_minimal_context minimal;
	const struct secure *secure;    /* what is asked of a backend; NULL: it is a client */
	struct span host;               /* whom a backend's certificate must be for */
	br_x509_pkey key;               /* a backend's, when no authority is asked about it */
	unsigned n;                     /* certificates so far */
	unsigned error;                 /* of the chain, once it has ended: 0, or one of BearSSL's */
	unsigned leaf_n;
	unsigned char leaf[LEAF_MOST];  /* the first of them */
};

/* The client of this handshake, the i-th of those under way, will be asked for a certificate, as `client-ca` says. */
void verify_client(unsigned i, br_ssl_server_context *);
/* What came of it, to be kept with the connection; 0 when the client has shown none. */
uint16_t verify_result(unsigned i);

/* What is there must be the backend of this name, by `ca` of the configuration or as the line of the route says. */
void verify_backend(unsigned i, br_ssl_client_context *, const struct conf *, const struct secure *, struct span host);
const char *verify_why(int error);      /* in words, of a backend's certificate */

#endif
