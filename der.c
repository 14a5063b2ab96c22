/* der.c - what PEM and DER files say: elements, keys, certificates
 *
 *   certificate: SEQUENCE {                                         RFC 5280 4.1
 *       SEQUENCE { [0] version, serial, algorithm, issuer, SEQUENCE { from, until }, subject,
 *                  SEQUENCE { SEQUENCE { algorithm, curve }, key }, [1], [2], [3] { SEQUENCE OF extension } },
 *       algorithm, signature }
 *
 * An element is a tag, a length and a body.  Everything found is a span of the text it was found in.
 */
#include "der.h"


#define OID(...) { (const char[]){ __VA_ARGS__ }, sizeof ((const char[]){ __VA_ARGS__ }) }

const struct span oid_p256 = OID(0x2a, (char)0x86, 0x48, (char)0xce, 0x3d, 3, 1, 7);
const struct span oid_ec = OID(0x2a, (char)0x86, 0x48, (char)0xce, 0x3d, 2, 1);
const struct span oid_common_name = OID(0x55, 4, 3);
const struct span oid_alt_names = OID(0x55, 0x1d, 0x11);
static const struct span oid_rsa = OID(0x2a, (char)0x86, 0x48, (char)0x86, (char)0xf7, 0x0d, 1, 1, 1);

enum {                                  /* context tags: constructed ones carry 0x20 */
	VERSION_0 = 0xa0, PARAMETERS_0 = 0xa0, EXTENSIONS_3 = 0xa3, DNS_NAME_2 = 0x82, ADDRESS_7 = 0x87,
};

/* -- elements -------------------------------------------------------------------------------------------- */

unsigned
der_next(struct span *rest, struct span *body)
{
	const unsigned char *p = (const unsigned char *)rest->p;
	unsigned n = rest->n, at = 2, size;

	if (n < 2 || (p[0] & 0x1f) == 0x1f)     /* tags of several bytes are in nothing that is read here */
		return 0;
	size = p[1];
	if (size & 0x80) {
		unsigned bytes = size & 0x7f;

		if (!bytes || bytes > 3 || bytes > n - at)
			return 0;
		for (size = 0; bytes; bytes--)
			size = size << 8 | p[at++];
	}
	if (size > n - at)
		return 0;
	*body = (struct span){ rest->p + at, size };
	*rest = (struct span){ rest->p + at + size, n - at - size };
	return p[0];
}

bool
der_take(struct span *rest, unsigned tag, struct span *body)
{
	struct span left = *rest;

	if (der_next(&left, body) != tag)
		return false;
	*rest = left;
	return true;
}

/* A whole number, without the zeros it begins with; none of ours is negative. */
static bool
take_unsigned(struct span *rest, struct span *to)
{
	if (!der_take(rest, DER_INTEGER, to) || !to->n || *to->p & 0x80)
		return false;
	while (to->n && !*to->p)
		to->p++, to->n--;
	return true;
}

/* The bytes of a BIT STRING, all of whose bits are used. */
static bool
take_bits(struct span *rest, struct span *to)
{
	if (!der_take(rest, DER_BITS, to) || !to->n || *to->p)
		return false;
	to->p++, to->n--;
	return true;
}

/* -- PEM (RFC 7468) -------------------------------------------------------------------------------------- */

/* Step behind the first `mark` in *text; false when there is none. */
static bool
seek(struct span *text, struct span mark)
{
	for (; text->n >= mark.n; text->p++, text->n--) {
		if (!span_starts(*text, mark))
			continue;
		text->p += mark.n;
		text->n -= mark.n;
		return true;
	}
	return false;
}

/* Decode to where it stands.  Empty when there is something else in it: an encrypted key has fields of a head. */
static struct span
base64(struct span text)
{
	char *start = (char *)(uintptr_t)text.p, *to = start;
	unsigned bits = 0, held = 0, ends = 0;

	for (unsigned i = 0; i < text.n; i++) {
		char c = text.p[i];
		int digit = base64_digit(c);

		if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
			continue;
		ends += c == '=';
		if (digit < 0 ? c != '=' : ends)
			return (struct span){ text.p, 0 };
		if (digit < 0)
			continue;
		bits = bits << 6 | (unsigned)digit;
		held += 6;
		if (held >= 8)
			*to++ = (char)(bits >> (held -= 8));
	}
	return (struct span){ text.p, held >= 6 || ends > 2 ? 0 : (unsigned)(to - start) };
}

bool
pem_next(struct span *text, struct span *label, struct span *body)
{
	struct span rest;

	if (!seek(text, SPAN("-----BEGIN ")))
		return false;
	rest = *label = *text;
	if (!seek(&rest, SPAN("-----")))
		return false;
	label->n = (unsigned)(rest.p - label->p) - 5;
	*body = *text = rest;
	if (!seek(text, SPAN("-----END ")))
		return false;
	body->n = (unsigned)(text->p - body->p) - 9;
	*body = base64(*body);
	return true;
}

/* -- keys ------------------------------------------------------------------------------------------------ */

/* AlgorithmIdentifier: what kind of key, and for EC the curve (RFC 5480 2.1). */
static enum key_kind
take_algorithm(struct span *rest, struct span *curve)
{
	struct span algorithm, oid;

	*curve = SPAN("");
	if (!der_take(rest, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid))
		return KEY_NONE;
	if (span_eq(oid, oid_rsa))
		return KEY_RSA;
	return span_eq(oid, oid_ec) && der_take(&algorithm, DER_OID, curve) ? KEY_EC : KEY_NONE;
}

/* ECPrivateKey (RFC 5915 3), without its leading INTEGER 1 */
static bool
ec_parse(struct span fields, struct private_key *key)
{
	struct span parameters;

	if (!der_take(&fields, DER_OCTETS, &key->x) || !key->x.n)
		return false;
	if (der_take(&fields, PARAMETERS_0, &parameters) && !der_take(&parameters, DER_OID, &key->curve))
		return false;
	key->kind = KEY_EC;
	return true;
}

/* RSAPrivateKey (RFC 8017 A.1.2), without its leading INTEGER 0 */
static bool
rsa_parse(struct span fields, struct private_key *key)
{
	struct span d;

	if (!take_unsigned(&fields, &key->n) || !take_unsigned(&fields, &key->e) || !take_unsigned(&fields, &d))
		return false;
	for (unsigned i = 0; i < RSA_PARTS; i++)
		if (!take_unsigned(&fields, &key->parts[i]))
			return false;
	key->kind = KEY_RSA;
	return true;
}

/* All three begin with a number: SEC 1 with 1 and octets, PKCS #1 with 0 and a number, PKCS #8 (RFC 5958 2) with 0 or 1
 * and the algorithm, behind which one of the others is wrapped. */
bool
private_key_parse(struct span der, struct private_key *key)
{
	struct span fields, version, inner;
	enum key_kind kind;

	*key = (struct private_key){ .kind = KEY_NONE };
	if (!der_take(&der, DER_SEQUENCE, &fields) || !der_take(&fields, DER_INTEGER, &version) || !fields.n)
		return false;
	if (*fields.p == DER_OCTETS)
		return ec_parse(fields, key);
	if (*fields.p == DER_INTEGER)
		return rsa_parse(fields, key);
	kind = take_algorithm(&fields, &key->curve);
	if (!der_take(&fields, DER_OCTETS, &inner) || !der_take(&inner, DER_SEQUENCE, &fields) ||
	    !der_take(&fields, DER_INTEGER, &version))
		return false;
	if (kind == KEY_EC)
		return ec_parse(fields, key);
	return kind == KEY_RSA && rsa_parse(fields, key);
}

/* SubjectPublicKeyInfo */
static bool
public_key_parse(struct span fields, struct public_key *key)
{
	struct span numbers;

	key->kind = take_algorithm(&fields, &key->curve);
	if (!take_bits(&fields, &key->point))
		return false;
	if (key->kind != KEY_RSA)
		return key->kind == KEY_EC;
	return der_take(&key->point, DER_SEQUENCE, &numbers) && take_unsigned(&numbers, &key->n) &&
	    take_unsigned(&numbers, &key->e);
}

/* -- certificates ---------------------------------------------------------------------------------------- */

static bool
two_digits(const char *p, unsigned *to)
{
	unsigned tens = (unsigned char)p[0] - '0', ones = (unsigned char)p[1] - '0';

	*to = tens * 10 + ones;
	return tens <= 9 && ones <= 9;
}

/* YYMMDDHHMMSSZ to 2049, and YYYYMMDDHHMMSSZ (RFC 5280 4.1.2.5) */
static bool
take_time(struct span *rest, int64_t *to)
{
	unsigned part[7], n = 0, tag;
	struct span text;
	struct civil c;

	tag = der_next(rest, &text);
	if ((tag != DER_UTC_TIME || text.n != 13) && (tag != DER_TIME || text.n != 15))
		return false;
	for (unsigned i = 0; i + 1 < text.n; i += 2)
		if (!two_digits(text.p + i, &part[n++]))
			return false;
	c = (struct civil){ 0, part[n - 5], part[n - 4], part[n - 3], part[n - 2], part[n - 1], 0 };
	c.year = n == 7 ? part[0] * 100 + part[1] : part[0] + (part[0] < 50 ? 2000 : 1900);
	if (text.p[text.n - 1] != 'Z' || !c.month || c.month > 12 || !c.day || c.day > 31)
		return false;
	*to = c.year < 1970 ? 0 : civil_seconds(&c);
	return true;
}

/* The last one stands for the subject, as the most specific. */
static struct span
common_name(struct span subject)
{
	struct span found = SPAN(""), sets = SPAN(""), set, pair, oid, value;

	der_take(&subject, DER_SEQUENCE, &sets);
	while (der_take(&sets, DER_SET, &set))
		if (der_take(&set, DER_SEQUENCE, &pair) && der_take(&pair, DER_OID, &oid) &&
		    span_eq(oid, oid_common_name) && der_next(&pair, &value))
			found = value;
	return found;
}

static struct span
alt_names(struct span rest)
{
	struct span none = SPAN(""), list, extension, oid, value, names;

	if (!der_take(&rest, EXTENSIONS_3, &list) || !der_take(&list, DER_SEQUENCE, &rest))
		return none;
	while (der_take(&rest, DER_SEQUENCE, &extension)) {
		if (!der_take(&extension, DER_OID, &oid) || !span_eq(oid, oid_alt_names))
			continue;
		der_take(&extension, DER_BOOLEAN, &value);
		if (der_take(&extension, DER_OCTETS, &value) && der_take(&value, DER_SEQUENCE, &names))
			return names;
	}
	return none;
}

/* A Name, with its tag and length. */
static bool
take_name(struct span *rest, struct span *to)
{
	struct span body;

	*to = *rest;
	if (!der_take(rest, DER_SEQUENCE, &body))
		return false;
	to->n -= rest->n;
	return true;
}

static bool
validity_parse(struct span times, struct certificate *c)
{
	return take_time(&times, &c->from) && take_time(&times, &c->until);
}

bool
certificate_parse(struct span der, struct certificate *c)
{
	struct span rest = der, fields, x;

	*c = (struct certificate){ .until = 0 };
	if (!der_take(&rest, DER_SEQUENCE, &fields))
		return false;
	c->der = (struct span){ der.p, der.n - rest.n };
	if (!der_take(&fields, DER_SEQUENCE, &rest))
		return false;
	der_take(&rest, VERSION_0, &x);
	if (!der_take(&rest, DER_INTEGER, &x) || !der_take(&rest, DER_SEQUENCE, &x) ||
	    !take_name(&rest, &c->issuer) || !der_take(&rest, DER_SEQUENCE, &x) || !validity_parse(x, c) ||
	    !take_name(&rest, &c->subject) || !der_take(&rest, DER_SEQUENCE, &x) ||
	    !public_key_parse(x, &c->key))
		return false;
	c->common_name = common_name(c->subject);
	while (rest.n && *rest.p != (char)EXTENSIONS_3 && der_next(&rest, &x))
		;
	c->names = alt_names(rest);
	return true;
}

/* -- names ----------------------------------------------------------------------------------------------- */

/* A star stands for one label, the first (RFC 6125 6.4.3). */
static bool
name_matches(struct span pattern, struct span host)
{
	if (span_starts(pattern, SPAN("*."))) {
		span_cut(&host, '.');
		pattern.p += 2;
		pattern.n -= 2;
	}
	return host.n && span_eq_nocase(pattern, host);
}

/* The bytes of an address that is written as text: 4, 16, or 0 for a name. */
static unsigned
address_of(struct span host, char to[16])
{
	return ip4_parse(host, to) ? 4 : ip6_parse(host, to) ? 16 : 0;
}

bool
certificate_is_for(const struct certificate *c, struct span host)
{
	struct span rest = c->names, name;
	char bytes[16];
	unsigned tag, n = address_of(host, bytes);

	if (host.n && host.p[host.n - 1] == '.')        /* the root, which names of certificates leave out */
		host.n--;
	while ((tag = der_next(&rest, &name))) {
		if (tag == ADDRESS_7 && n && span_eq(name, (struct span){ bytes, n }))
			return true;
		if (tag == DNS_NAME_2 && !n && name_matches(name, host))
			return true;
	}
	return !c->names.n && !n && name_matches(c->common_name, host);
}

/* -- names of subjects ------------------------------------------------------------------------------------- */

static const struct { struct span oid; const char *name; } attributes[] = {
	{ { "\x55\4\3", 3 }, "CN" }, { { "\x55\4\6", 3 }, "C" }, { { "\x55\4\7", 3 }, "L" }, { { "\x55\4\x8", 3 }, "ST" },
	{ { "\x55\4\x9", 3 }, "street" }, { { "\x55\4\xa", 3 }, "O" }, { { "\x55\4\xb", 3 }, "OU" },
	{ { "\x55\4\5", 3 }, "serialNumber" }, { { "\x2a\x86\x48\x86\xf7\x0d\1\x9\1", 9 }, "emailAddress" },
	{ { "\x09\x92\x26\x89\x93\xf2\x2c\x64\1\x19", 10 }, "DC" }, { { "\x09\x92\x26\x89\x93\xf2\x2c\x64\1\1", 10 }, "UID" },
};

/* 1.2.840...: the first byte holds two numbers (X.690 8.19.4). */
static void
oid_print(struct buf *b, struct span oid)
{
	unsigned n = 0, first = 1;

	for (unsigned i = 0; i < oid.n; i++) {
		n = n << 7 | (oid.p[i] & 0x7f);
		if (oid.p[i] & 0x80)
			continue;
		if (first)
			buf_print(b, "%u.%u", n / 40 > 2 ? 2 : n / 40, n / 40 > 2 ? n - 80 : n % 40);
		else
			buf_print(b, ".%u", n);
		n = first = 0;
	}
}

static void
hex_print(struct buf *b, struct span s)
{
	for (unsigned i = 0; i < s.n; i++) {
		buf_char(b, "0123456789ABCDEF"[(unsigned char)s.p[i] >> 4]);
		buf_char(b, "0123456789ABCDEF"[s.p[i] & 15]);
	}
}

/* RFC 4514 2.4; controls as \XX too, so that no name can end a line. */
static void
value_print(struct buf *b, struct span s)
{
	for (unsigned i = 0; i < s.n; i++) {
		unsigned char c = s.p[i];

		if (c < ' ' || c == 127) {
			buf_char(b, '\\');
			hex_print(b, (struct span){ s.p + i, 1 });
			continue;
		}
		if (find_char(",+\"\\<>;=", c) || (c == '#' && !i) || (c == ' ' && (!i || i + 1 == s.n)))
			buf_char(b, '\\');
		buf_char(b, c);
	}
}

/* One AttributeTypeAndValue.  Strings of one byte a letter, or UTF-8, are text, the others what they are made of. */
static void
attribute_print(struct buf *b, struct span pair)
{
	struct span oid, value, whole;
	unsigned i, tag;

	if (!der_take(&pair, DER_OID, &oid))
		return;
	for (i = 0; i < sizeof attributes / sizeof *attributes && !span_eq(attributes[i].oid, oid); i++)
		;
	if (i < sizeof attributes / sizeof *attributes)
		buf_text(b, attributes[i].name);
	else
		oid_print(b, oid);
	buf_char(b, '=');
	whole = pair;
	tag = der_next(&pair, &value);
	if (tag == DER_UTF8 || tag == DER_PRINTABLE || tag == DER_IA5) {
		value_print(b, value);
	} else {
		buf_char(b, '#');
		hex_print(b, (struct span){ whole.p, whole.n - pair.n });
	}
}

/* Up to the element that begins at `end`, from the last to the first: a list has no way back, so it is walked anew. */
void
name_print(struct buf *b, struct span name)
{
	struct span sets, rest, set, pair;
	const char *end;

	if (!der_take(&name, DER_SEQUENCE, &sets))
		return;
	for (end = sets.p + sets.n; end > sets.p; end = set.p) {
		const char *head = sets.p;

		rest = sets;
		while (der_take(&rest, DER_SET, &set) && rest.p < end)
			head = rest.p;
		if (rest.p != end)
			return;
		if (end < sets.p + sets.n)
			buf_char(b, ',');
		for (rest = set; der_take(&rest, DER_SEQUENCE, &pair); ) {
			attribute_print(b, pair);
			if (rest.n)
				buf_char(b, '+');
		}
		set.p = head;
	}
}
