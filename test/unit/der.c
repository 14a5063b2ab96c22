/* der.c: keys and certificates that openssl made, in every form, cut at every byte, and names that match or do not
 *
 * The files are test/cases/pem/; `make` there tells how they came to be.
 */
#include "unit.h"

#include "../../der.h"

#include <fcntl.h>
#include <unistd.h>

static char file[8192];

static struct span
load(const char *name)
{
	char path[64] = "test/cases/pem/";
	ssize_t n;
	int fd;

	strcat(path, name);
	fd = open(path, O_RDONLY);
	n = read(fd, file, sizeof file);
	if (!CHECK(n > 0))
		exit(EXIT_FAILURE);
	close(fd);
	return exactly(file, (size_t)n);
}

/* The first block whose label ends so. */
static struct span
block(struct span text, const char *kind)
{
	struct span label, body;

	while (pem_next(&text, &label, &body))
		if (span_ends(label, span_of(kind)))
			return body;
	return SPAN("");
}

static struct span
load_block(const char *name, const char *kind, struct span *whole)
{
	*whole = load(name);
	return strstr(name, ".der") ? *whole : block(*whole, kind);
}

static bool
same_key(const struct private_key *a, const struct private_key *b)
{
	for (unsigned i = 0; i < RSA_PARTS; i++)
		if (!span_eq(a->parts[i], b->parts[i]))
			return false;
	return a->kind == b->kind && span_eq(a->curve, b->curve) && span_eq(a->x, b->x) && span_eq(a->n, b->n) &&
	    span_eq(a->e, b->e);
}

/* Every form of a key says the same. */
static void
test_keys(void)
{
	static const char *const files[2][5] = {
		{ "ec-sec1.pem", "ec-sec1.der", "ec-pkcs8.pem", "ec-pkcs8.der", "mixed.pem" },
		{ "rsa-pkcs1.pem", "rsa-pkcs1.der", "rsa-pkcs8.pem" },
	};

	for (unsigned k = 0; k < 2; k++) {
		struct span whole, first = load_block(files[k][0], "PRIVATE KEY", &whole);
		struct private_key key, other;

		CHECK(private_key_parse(first, &key) && key.kind == (k ? KEY_RSA : KEY_EC));
		if (k)
			CHECK(key.n.n == 256 && span_eq(key.e, SPAN("\1\0\1")) && key.parts[0].n == 128);
		else
			CHECK(key.x.n == 32 && span_eq(key.curve, oid_p256));
		for (unsigned i = 1; i < 5 && files[k][i]; i++) {
			struct span more, body = load_block(files[k][i], "PRIVATE KEY", &more);

			CHECK(private_key_parse(body, &other) && same_key(&key, &other));
			give_back(more);
		}
		give_back(whole);
	}
}

static void
test_what_is_no_key(void)
{
	static const char *const files[] = { "encrypted-pkcs8.pem", "encrypted-sec1.pem", "ec.der", "ec.pem" };
	struct private_key key;

	for (unsigned i = 0; i < 4; i++) {
		struct span whole, body = load_block(files[i], "", &whole);

		CHECK(!private_key_parse(body, &key) && key.kind == KEY_NONE);
		give_back(whole);
	}
}

static void
test_certificates(void)
{
	struct span whole, ec = load_block("ec.pem", "CERTIFICATE", &whole), other, rsa, more, key;
	struct certificate c, d;
	struct private_key rsa_key;

	CHECK(certificate_parse(ec, &c) && c.key.kind == KEY_EC && span_eq(c.key.curve, oid_p256));
	CHECK(c.key.point.n == 65 && *c.key.point.p == 4 && c.der.n == ec.n && span_eq(c.common_name, SPAN("ec.example")));
	CHECK(c.from == 1577934245 && c.until == 2524607999);   /* UTCTime */
	for (unsigned i = 0; i < 2; i++) {
		other = load_block(i ? "ec.der" : "ec-crlf.pem", "CERTIFICATE", &more);
		CHECK(certificate_parse(other, &d) && span_eq(d.der, c.der));
		give_back(more);
	}
	rsa = load_block("rsa.pem", "CERTIFICATE", &more);
	CHECK(certificate_parse(rsa, &d) && d.key.kind == KEY_RSA && d.until == 2524608000);    /* GeneralizedTime */
	CHECK(span_eq(d.issuer, c.issuer) && !span_eq(d.issuer, d.subject) && !d.names.n);
	other = load_block("rsa-pkcs1.pem", "KEY", &key);
	CHECK(private_key_parse(other, &rsa_key) && span_eq(rsa_key.n, d.key.n) && span_eq(rsa_key.e, d.key.e));
	give_back(key);
	give_back(more);
	other = load_block("p384.pem", "CERTIFICATE", &more);
	CHECK(certificate_parse(other, &d) && !span_eq(d.key.curve, oid_p256) && d.key.point.n == 97);
	give_back(more);
	other = load_block("ec-pkcs8.der", "", &more);
	CHECK(!certificate_parse(other, &d));
	give_back(more);
	give_back(whole);
}

static void
test_names(void)
{
	static const char *const good[] = { "example.org", "a.example.org", "A.EXAMPLE.org", "example.org.", "192.0.2.1",
		"2001:db8::1", "2001:DB8:0::1" };
	static const char *const bad[] = { "", ".", "org", "a.b.example.org", ".example.org.x", "ec.example", "192.0.2.2",
		"192.0.2.1.", "::192.0.2.1", "root@example.org", "*.a.example.org", "xexample.org" };
	struct span whole, der = load_block("ec.pem", "CERTIFICATE", &whole), more;
	struct certificate c;

	CHECK(certificate_parse(der, &c));
	for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
		CHECK(certificate_is_for(&c, span_of(good[i])) || !printf("%s\n", good[i]));
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(!certificate_is_for(&c, span_of(bad[i])) || !printf("%s\n", bad[i]));
	CHECK(!certificate_is_for(&c, SPAN("example.org\0.evil")));
	der = load_block("rsa.pem", "CERTIFICATE", &more);      /* it has nothing but a common name */
	CHECK(certificate_parse(der, &c) && certificate_is_for(&c, SPAN("www.rsa.example")));
	CHECK(!certificate_is_for(&c, SPAN("rsa.example")) && !certificate_is_for(&c, SPAN("192.0.2.1")));
	give_back(more);
	give_back(whole);
}

/* Subjects as text: order, escapes, sets of several, and what is no text. */
static void
test_subjects(void)
{
	static const struct { const char *der; unsigned n; const char *text; } cases[] = {
		{ "\x30\x00", 2, "" },
		{ "\x30\x0e\x31\x0c\x30\x0a\6\3\x55\4\3\x0c\3Joe", 16, "CN=Joe" },
		{ "\x30\x1a\x31\x0a\x30\x08\6\3\x55\4\xa\x13\1A\x31\x0c\x30\x0a\6\3\x55\4\3\x0c\3Joe", 28, "CN=Joe,O=A" },
		{ "\x30\x16\x31\x14\x30\x08\6\3\x55\4\xa\x13\1A\x30\x08\6\3\x55\4\xb\x13\1B", 24, "O=A+OU=B" },
		{ "\x30\x12\x31\x10\x30\x0e\6\3\x55\4\3\x0c\7 ,\n#\"=\\", 20, "CN=\\ \\,\\0A#\\\"\\=\\\\" },
		{ "\x30\x0d\x31\x0b\x30\x09\6\3\x55\4\3\x1e\2\0J", 15, "CN=#1E02004A" },
		{ "\x30\x0d\x31\x0b\x30\x09\6\4\x2a\x86\x48\1\x13\1x", 15, "1.2.840.1=x" },
		{ "\x30\x04\x31\x7f\x30\x00", 6, "" },
	};
	char text[64];

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct span der = exactly(cases[i].der, cases[i].n);
		struct buf b = { text, 0, 0, sizeof text, false };

		name_print(&b, der);
		CHECK(span_eq((struct span){ text, b.w }, span_of(cases[i].text)) || !printf("%.*s\n", (int)b.w, text));
		give_back(der);
	}
}

/* What is cut short at any byte is refused or says less; it is never read past its end. */
static void
test_cuts(void)
{
	static const char *const files[] = { "ec.der", "rsa-pkcs1.der", "ec-pkcs8.der", "ec-sec1.der", "mixed.pem" };
	struct certificate c;
	struct private_key key;

	for (unsigned i = 0; i < 5; i++) {
		struct span whole = load(files[i]);

		for (unsigned n = 0; n < whole.n; n++) {
			struct span cut = exactly(whole.p, n), rest = cut, label, body;

			CHECK(!certificate_parse(cut, &c) && !private_key_parse(cut, &key));
			while (pem_next(&rest, &label, &body))
				CHECK(body.p >= cut.p && body.p + body.n <= cut.p + cut.n);
			give_back(cut);
		}
		give_back(whole);
	}
}

static void
test_pem(void)
{
	static const struct { const char *text, *label, *body; } cases[] = {
		{ "-----BEGIN X-----\nYWJj\n-----END X-----\n", "X", "abc" },
		{ "text\n-----BEGIN X-----\r\nYW\r\nJj\r\n-----END X-----", "X", "abc" },
		{ "-----BEGIN A B-----\nYWI=\n-----END A B-----\n", "A B", "ab" },
		{ "-----BEGIN X-----YQ==-----END X-----", "X", "a" },
		{ "-----BEGIN X-----\n-----END X-----", "X", "" },
		{ "-----BEGIN X-----\nYQ==YQ==\n-----END X-----", "X", "" },
		{ "-----BEGIN X-----\nY\n-----END X-----", "X", "" },
		{ "-----BEGIN X-----\nY===\n-----END X-----", "X", "" },
		{ "-----BEGIN X-----\nYW-Jj\n-----END X-----", "X", "" },
		{ "-----BEGIN X-----\nYWJj\n", NULL, NULL },
		{ "-----BEGIN X----\nYWJj\n-----END X-----\n", NULL, NULL },
		{ "-----BEGIN X", NULL, NULL },
		{ "", NULL, NULL },
	};

	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct span text = exactly(cases[i].text, strlen(cases[i].text)), rest = text, label, body;
		bool found = pem_next(&rest, &label, &body);

		if (CHECK(found == (cases[i].label != NULL)) && found)
			CHECK(span_eq(label, span_of(cases[i].label)) && span_eq(body, span_of(cases[i].body)));
		give_back(text);
	}
}

static void
test_elements(void)
{
	struct span body, rest = SPAN("\x30\x82\x00\x01x\x02\x01\x05");

	CHECK(der_take(&rest, DER_SEQUENCE, &body) && span_eq(body, SPAN("x")));
	CHECK(!der_take(&rest, DER_OCTETS, &body) && rest.n == 3);
	CHECK(der_next(&rest, &body) == DER_INTEGER && !rest.n && !der_next(&rest, &body));
	for (unsigned i = 0; i < 5; i++) {      /* several bytes of tag, no length, an endless one, too long, beyond */
		static const char *const broken[] = { "\x1f\x81\x01\x01x", "\x30", "\x30\x80xx", "\x30\x84\x01\x01\x01\x01",
			"\x30\x02x" };

		rest = span_of(broken[i]);
		CHECK(!der_next(&rest, &body));
	}
}

int
main(void)
{
	test_elements();
	group("elements");
	test_pem();
	group("PEM");
	test_keys();
	test_what_is_no_key();
	group("keys");
	test_certificates();
	group("certificates");
	test_names();
	group("names");
	test_subjects();
	group("subjects");
	test_cuts();
	group("files that are cut short");
	return unit_end();
}
