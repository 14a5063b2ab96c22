/* cert.h - certificates and their keys, as tls.c shows them to clients */
#ifndef CERT_H
#define CERT_H

#include "httpd.h"

#include <bearssl.h>

/* What a server proves itself with. */
struct identity {
	struct identity *next;          /* of the same host, in the order written */
	const char *file, *key_file;    /* key_file: NULL when both are in one file */
	const br_x509_certificate *chain;       /* the server's own first */
	size_t chain_n;
	int type;                       /* BR_KEYTYPE_EC or BR_KEYTYPE_RSA */
	union { br_ec_private_key ec; br_rsa_private_key rsa; } key;
};

/* For a client that asks for `name` (lower case; empty when it names none) and can check keys of `types`
 * (BR_KEYTYPE_EC | BR_KEYTYPE_RSA).  It holds until the next turn of the loop; NULL when there is none. */
const struct identity *certificate_for(struct span name, int types);

#endif
