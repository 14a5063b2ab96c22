/* trust.c and addresses from the network: PROXY headers of both versions, whole and in every beginning */
#include "unit.h"

#include <arpa/inet.h>

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

static int
header(const char *p, size_t n, struct from *f)
{
	struct span copy = exactly(p, n);
	int length;

	memset(f, 0, sizeof *f);
	length = proxy_header(copy.p, copy.n, f);
	give_back(copy);
	return length;
}

static const char *
shown(const struct from *f)
{
	static char store[80];
	struct buf b = { store, 0, 0, sizeof store - 1, false };

	from_print(&b, f);
	buf_print(&b, " %u", ntohs(f->port));
	store[b.w] = '\0';
	return store;
}

/* It is taken whole, also with bytes behind it, and all that it begins with is asked to go on. */
static void
good(const char *p, size_t n, const char *want)
{
	char more[4096 + 8] = { 0 };
	struct from f;

	memcpy(more, p, n);
	memcpy(more + n, "GET", 3);
	CHECK(header(more, n, &f) == (int)n);
	CHECK(want ? !strcmp(shown(&f), want) : !f.family);
	CHECK(header(more, n + 3, &f) == (int)n);
	for (size_t i = 0; i < n; i++)
		CHECK(header(p, i, &f) == 0 && !f.family);
}

static void
bad(const char *p, size_t n)
{
	struct from f;

	if (!CHECK(header(p, n, &f) == -1 && !f.family))
		printf("%.*s\n", (int)n, p);
}

static void
text(void)
{
	static const char *const refused[] = {
		"GET / HTTP/1.1\r\n", "P\r", "PROXY  TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
		"PROXY TCP4 1.2.3 5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.4 5.6.7.8 65536 2\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 -1 2\r\n",
		"PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
		"PROXY TCP4 1.2.3.4 x 1 2\r\n", "PROXY \r\n", "PROXY \n", "PROXY UNKNOWNX\r\n", "\r\n\r\nX", "\n",
	};
	static char endless[108];

	good("PROXY TCP4 1.2.3.4 5.6.7.8 4711 80\r\n", 36, "1.2.3.4 4711");
	good("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n", 36, "2001:db8::1 65535");
	good("PROXY TCP6 ::ffff:9.8.7.6 ::1 65535 0\r\n", 39, "9.8.7.6 65535");
	good("PROXY UNKNOWN\r\n", 15, NULL);
	good("PROXY UNKNOWN some thing else\r\n", 31, NULL);
	for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
		bad(refused[i], strlen(refused[i]));
	memset(endless, 'x', sizeof endless);
	memcpy(endless, "PROXY UNKNOWN ", 14);
	bad(endless, 107);
	bad(endless, 108);
	group("PROXY, version 1");
}

static size_t
binary(char to[512], int command, int family, unsigned length, const char *addresses, size_t n)
{
	memset(to, 'z', 512);
	memcpy(to, signature, 12);
	to[12] = (char)command;
	to[13] = (char)family;
	to[14] = (char)(length >> 8);
	to[15] = (char)length;
	memcpy(to + 16, addresses, n);
	return 16 + length;
}

static void
bytes(void)
{
	static const char in4[] = "\1\2\3\4\5\6\7\x8\x12\x67\0\x50";
	static const char in6[] = "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1" "0123456789abcdef" "\x12\x67\0\x50";
	char p[512];

	good(p, binary(p, 0x21, 0x11, 12, in4, 12), "1.2.3.4 4711");
	good(p, binary(p, 0x21, 0x11, 300, in4, 12), "1.2.3.4 4711");
	good(p, binary(p, 0x21, 0x21, 36, in6, 36), "2001:db8::1 4711");
	good(p, binary(p, 0x21, 0x31, 216, in4, 12), "unix 0");
	good(p, binary(p, 0x20, 0x11, 12, in4, 12), NULL);
	good(p, binary(p, 0x20, 0, 0, in4, 0), NULL);
	good(p, binary(p, 0x21, 0, 0, in4, 0), NULL);
	good(p, binary(p, 0x21, 0x12, 12, in4, 12), NULL);
	bad(p, binary(p, 0x21, 0x11, 11, in4, 11));
	bad(p, binary(p, 0x21, 0x21, 35, in6, 35));
	bad(p, binary(p, 0x22, 0x11, 12, in4, 12));
	bad(p, binary(p, 0x11, 0x11, 12, in4, 12));
	binary(p, 0x21, 0x11, 0xffff, in4, 12);
	bad(p, 16);
	binary(p, 0x21, 0x11, 12, in4, 12);
	p[11] = 'x';
	bad(p, 12);
	group("PROXY, version 2");
}

static void
addresses(void)
{
	static const struct { const char *text, *want; } cases[] = {
		{ "192.0.2.7", "192.0.2.7 0" }, { "192.0.2.7:80", "192.0.2.7 80" }, { "192.0.2.7:_x", "192.0.2.7 0" },
		{ "2001:db8::1", "2001:db8::1 0" }, { "[2001:db8::1]", "2001:db8::1 0" }, { "[2001:DB8::1]:443",
		"2001:db8::1 443" },
		{ "::ffff:1.2.3.4", "1.2.3.4 0" }, { "", NULL }, { "unknown", NULL }, { "_hidden", NULL },
		{ "1.2.3.4:65536", NULL },
		{ "[2001:db8::1", NULL }, { "[::1]x", NULL }, { "[::1]:x", NULL }, { "[1.2.3.4]", NULL }, { "1.2.3",
		NULL },
		{ "fe80::1%eth0", NULL }, { "[]", NULL }, { "[", NULL }, { ":80", NULL }, { "localhost", NULL },
		{ "1.2.3.4:80:90", NULL },
		{ "0000000000000000000000000000000000000000000000000000000000000000000000000000", NULL },
	};
	struct from f;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct span copy = exactly(cases[i].text, strlen(cases[i].text));
		bool got = from_parse(&f, copy);

		if (!CHECK(got == (cases[i].want != NULL) && (!got || !strcmp(shown(&f), cases[i].want))))
			printf("%s\n", cases[i].text);
		give_back(copy);
	}
	group("addresses from the network");
}

int
main(void)
{
	text();
	bytes();
	addresses();
	return unit_end();
}
