/* cert.h - certificates and their keys, as tls.c shows them to clients
 *
 *   FILE, KEY --der.c--> what they say --certificate.c--> struct identity --> a handshake in tls.c
 *   state DIR <-- selfmade.c, where there is none
 */
#ifndef CERT_H
#define CERT_H

#include "der.h"
#include "tls.h"

#include <bearssl.h>

/* -- certificate.c ------------------------------------------------------------------------------------------ */

enum { CHAIN_MAX = 8 };

/* What a server proves itself with: the beginning of a mapping of its own, where the files lie behind it. */
struct identity {
	struct identity *next;          /* among those that are out of use */
	int64_t retired;
	size_t size;                    /* of the mapping */
	struct certificate leaf;
	int type;                       /* BR_KEYTYPE_EC or BR_KEYTYPE_RSA */
	union { br_ec_private_key ec; br_rsa_private_key rsa; } key;
	size_t chain_n;
	br_x509_certificate chain[CHAIN_MAX];   /* the server's own first */
	char text[];
};

/* For a client that asks for `name` (lower case; empty when it names none) and can check keys of `types`
 * (BR_KEYTYPE_EC | BR_KEYTYPE_RSA).  It holds as long as a handshake may take (`timeout head`); NULL when there is none. */
const struct identity *certificate_for(struct span name, int types);

/* NULL with a reason, which holds until the next call. */
struct identity *identity_load(const char *file, const char *key, const char **why);
struct identity *identity_of(struct span certificates, struct span key, const char **why);
void identity_free(struct identity *);
void fingerprint(struct buf *, struct span der);        /* SHA-256 as AB:CD:... */

/* -- selfmade.c --------------------------------------------------------------------------------------------- */

/* The one in this folder, or made anew, with the same key where there is one: when it is missing or broken, when it ends
 * soon, or when it lacks a lasting name.  What cannot be written is used from memory, unless the one that is `shown` by now
 * (NULL: none) is still good: then NULL.  The files belong to the user of this configuration; without one a new certificate
 * is asked for, in files. */
struct identity *selfmade_open(const char *dir, const struct conf *owner, const struct identity *shown);
bool selfmade_stale(const struct identity *);   /* time to make another, by the clock */

/* -- sha2.c, prf.c ------------------------------------------------------------------------------------------ */

extern const br_hash_class *const sha256_class, *const sha384_class, *const sha512_class;
void sha256_sum(unsigned char to[32], const void *, size_t n);
void tls12_prf(void *to, size_t size, const void *secret, size_t secret_n, const char *label, size_t n,
    const br_tls_prf_seed_chunk *);     /* by SHA-256 */
void random_bytes(void *to, unsigned n);        /* up to 256; waits until the kernel has them */

/* -- offer.c ------------------------------------------------------------------------------------------------ */

extern const br_ec_impl our_curves;         /* X25519 and P-256, for keys and for signing */

#endif
