/* der.h - PEM, DER, and what is to be found in a key and in a certificate
 *
 * der.c knows no files and no library: it finds things in bytes, and what it finds points into these.
 */
#ifndef DER_H
#define DER_H

#include "base.h"

enum der_tag {                          /* X.690 8.1.2 */
	DER_BOOLEAN = 0x01, DER_INTEGER = 0x02, DER_BITS = 0x03, DER_OCTETS = 0x04, DER_OID = 0x06, DER_UTF8 = 0x0c, DER_PRINTABLE = 0x13, DER_IA5 = 0x16,
	DER_UTC_TIME = 0x17, DER_TIME = 0x18, DER_SEQUENCE = 0x30, DER_SET = 0x31,
};

/* Take the element that *rest begins with, and say what tag it has: 0 when it is broken. */
unsigned der_next(struct span *rest, struct span *body);
bool der_take(struct span *rest, unsigned tag, struct span *body);      /* the same, when it has this tag */

/* The next "-----BEGIN label-----" of *text and what it holds, which is decoded where it stands.  False when there is no
 * other.  One that is broken has an empty body. */
bool pem_next(struct span *text, struct span *label, struct span *body);

enum key_kind { KEY_NONE, KEY_EC, KEY_RSA };

struct public_key {
	enum key_kind kind;
	struct span curve, point;       /* EC: the name of the curve as an OID, and the point */
	struct span n, e;               /* RSA, without leading zeros */
};

enum { RSA_PARTS = 5 };                 /* p, q, d mod p-1, d mod q-1, 1/q mod p */

struct private_key {
	enum key_kind kind;
	struct span curve, x;           /* EC; the curve is empty when the key does not name it */
	struct span n, e, parts[RSA_PARTS];
};

struct certificate {
	struct span der, issuer, subject;       /* whole elements */
	struct public_key key;
	int64_t from, until;            /* seconds since 1970 */
	struct span names;              /* what subjectAltName holds, one GeneralName after the other; may be empty */
	struct span common_name;        /* may be empty */
};

/* RFC 5280 4.1; false when it is none, or has a key of another kind. */
bool certificate_parse(struct span der, struct certificate *);
/* SEC 1, PKCS #1 or PKCS #8; false when it is none of them. */
bool private_key_parse(struct span der, struct private_key *);
/* Does it speak for this host: a name in lower case, or an address as text (RFC 6125 6.4)? */
bool certificate_is_for(const struct certificate *, struct span host);
/* A Name as text, the most specific part first: CN=Joe,O=Example (RFC 4514). */
void name_print(struct buf *, struct span name);
extern const struct span oid_p256, oid_ec, oid_common_name, oid_alt_names;      /* for those who write them */

#endif
