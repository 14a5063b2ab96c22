/* addr.c: ranges of addresses, and what is in them */
#include "unit.h"

#include <arpa/inet.h>

static struct from
from_text(const char *text)
{
	struct net n;

	CHECK(net_parse(&n, text));
	return (struct from){ .family = n.family, .ip = { 0 } , .port = 1 };
}

static bool
has(const char *range, const char *address)
{
	struct net net = { 0 }, one = { 0 };
	struct from f = from_text(address);

	CHECK(net_parse(&net, range) && net_parse(&one, address));
	memcpy(f.ip, one.ip, sizeof f.ip);
	return net_has(&net, &f);
}

static bool
refused(const char *text)
{
	struct net net = { 0 };

	return !net_parse(&net, text);
}

static void
test_ranges(void)
{
	CHECK(has("192.168.1.0/24", "192.168.1.255") && !has("192.168.1.0/24", "192.168.2.0"));
	CHECK(has("192.168.1.77/24", "192.168.1.1"));
	CHECK(has("10.0.0.0/9", "10.127.255.255") && !has("10.0.0.0/9", "10.128.0.0"));
	CHECK(has("192.0.2.1", "192.0.2.1") && !has("192.0.2.1", "192.0.2.0") && !has("192.0.2.1/32", "192.0.2.0"));
	CHECK(has("192.0.2.1/31", "192.0.2.0") && !has("192.0.2.1/31", "192.0.2.2"));
	CHECK(has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "::") && !has("0.0.0.0/0", "unix"));
	CHECK(has("fd00::/8", "fdff::1") && !has("fd00::/8", "fe00::1") && !has("fd00::/8", "253.0.0.1"));
	CHECK(has("2001:db8::1", "2001:db8::1") && !has("2001:db8::1", "2001:db8::"));
	CHECK(has("2001:db8::1/127", "2001:db8::") && has("::/0", "ffff::1") && !has("::/0", "192.0.2.1"));
	CHECK(has("*", "192.0.2.1") && has("*", "::1") && has("*", "unix"));
	CHECK(has("unix", "unix") && !has("unix", "127.0.0.1"));
	group("ranges");
}

/* A socket for both families shows an IPv4 client as what it is, so a range means the same written either way. */
static void
test_mapped(void)
{
	CHECK(has("::ffff:192.168.0.0/112", "192.168.1.1") && !has("::ffff:192.168.0.0/112", "192.169.1.1"));
	CHECK(has("::ffff:192.168.0.1", "192.168.0.1") && has("192.168.0.1", "::ffff:192.168.0.1"));
	CHECK(has("::ffff:0:0/96", "1.2.3.4") && !has("::ffff:0:0/96", "::1"));
	CHECK(refused("::ffff:0:0/95"));
	group("IPv4 within IPv6");
}

static void
test_refused(void)
{
	static const char *const bad[] = {
		"", "/", "/8", "10", "10.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8/8", "10.0.0.0/255.0.0.0",
		"::1/129", "::1/", "[::1]", "fd00:::/8", "example.org", "localhost", "*/8", "unix/8", "10.0.0.0/4294967304",
		"10.0.0.0 /8", "999.0.0.1", "::1%nosuch", "1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111:1111",
	};

	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		CHECK(refused(bad[i]));
	group("what is no range");
}

/* inet_pton(3) reads the same texts in the same way. */
static void
test_numbers(void)
{
	static const char *const texts[] = {
		"1.2.3.4", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3", "1.2.3.4.", ".1.2.3", "1..3.4", "01.2.3.4", "1.2.3.4 ",
		"::", "::1", "1::", "1::8", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8",
		"1:2:3:4:5:6:7:8::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", ":1", "1:", ":::", "1:::2", "1::2::3", "::12345", "::g",
		"::1.2.3.4", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.4:5", "ABCD::abcd",
		"", ":", "1", "0", "fe80::1%2",
	};

	for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
		unsigned char ours[16] = { 0 }, theirs[16] = { 0 };
		bool four = inet_pton(AF_INET, texts[i], theirs) == 1;

		CHECK(ip4_parse(span_of(texts[i]), ours) == four && (!four || !memcmp(ours, theirs, 4)));
		four = inet_pton(AF_INET6, texts[i], theirs) == 1;
		CHECK(ip6_parse(span_of(texts[i]), ours) == four && (!four || !memcmp(ours, theirs, 16)));
	}
	group("addresses as numbers");
}

int
main(void)
{
	test_numbers();
	test_ranges();
	test_mapped();
	test_refused();
	return unit_end();
}
