/* dns.c: questions as they go out, and answers of every kind, whole and cut anywhere */
#include "unit.h"
#include "../../resolve.h"

static char question[DNS_QUESTION];
static unsigned size;

static unsigned
ask(const char *name, unsigned type)
{
	struct span copy = exactly(name, strlen(name));

	size = dns_question(question, 0x1234, copy, type);
	give_back(copy);
	return size;
}

static enum dns
answer(const char *p, size_t n, struct found *f)
{
	struct span copy = exactly(p, n);
	enum dns said = dns_answer(copy.p, copy.n, question, size, f);

	give_back(copy);
	return said;
}

static void
questions(void)
{
	static const char want[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\3nas\3lan\0\0\x1c\0\1";
	char label[65], longest[300];

	CHECK(ask("nas.lan", DNS_AAAA) == sizeof want - 1 && !memcmp(question, want, size));
	memset(label, 'a', 64);
	label[64] = '\0';
	CHECK(!ask(label, DNS_A));
	label[63] = '\0';
	CHECK(ask(label, DNS_A) == 12 + 64 + 1 + 4);
	CHECK(!ask("", DNS_A) && !ask(".", DNS_A) && !ask("a..b", DNS_A) && !ask(".a", DNS_A));
	memset(longest, 'a', sizeof longest);
	for (unsigned i = 50; i < 250; i += 50)
		longest[i] = '.';
	longest[253] = '\0';
	CHECK(ask(longest, DNS_A) == DNS_QUESTION);
	memcpy(longest + 253, "a", 2);
	CHECK(!ask(longest, DNS_A));
	group("questions");
}

#define HEAD "\x12\x34\x81\x80\0\1\0"
#define QUESTION "\0\0\0\0\3nas\3lan\0\0\1\0\1"
#define ADDRESS "\xc0\x0c\0\1\0\1\0\0\1\0\0\4"

static void
answers(void)
{
	static const char two[] = HEAD "\2" QUESTION ADDRESS "\1\2\3\4" "\3NAS\3lan\0\0\1\0\1\0\0\0\x10\0\4\5\6\7\x8";
	static const char alias[] = HEAD "\2" QUESTION "\xc0\x0c\0\5\0\1\0\0\0\5\0\2\xc0\x10" ADDRESS "\1\2\3\4";
	static const char six[] = HEAD "\1" QUESTION "\xc0\x0c\0\x1c\0\1\0\0\1\0\0\x10" "0123456789abcdef";
	static const char wrong[] = HEAD "\1" QUESTION "\xc0\x0c\0\1\0\1\0\0\1\0\0\5" "\1\2\3\4\5";
	static const char none[] = HEAD "\0" QUESTION;
	char p[sizeof two];
	struct found f;

	ask("nas.lan", DNS_A);
	CHECK(answer(two, sizeof two - 1, &f) == DNS_FOUND && f.n == 2 && f.ttl == 16);
	CHECK(f.ip[0].family == AF_INET && !memcmp(f.ip[1].ip, "\5\6\7\x8", 4));
	CHECK(answer(alias, sizeof alias - 1, &f) == DNS_FOUND && f.n == 1 && f.ttl == 5);
	CHECK(answer(six, sizeof six - 1, &f) == DNS_NONE && answer(none, sizeof none - 1, &f) == DNS_NONE);
	CHECK(answer(wrong, sizeof wrong - 1, &f) == DNS_NONE);
	for (size_t i = 0; i < sizeof two - 1; i++) {
		enum dns want = i < size ? DNS_OTHER : i < size + 16 ? DNS_FAILED : DNS_FOUND;

		CHECK(answer(two, i, &f) == want && f.n == (want == DNS_FOUND));
	}
	for (unsigned i = 0; i < size; i++) {   /* every byte before the answers matters,
	    but for counts and some bits */
		memcpy(p, two, sizeof p);
		p[i] ^= 1;
		if (i != 2 && i != 3 && (i < 6 || i > 11))
			CHECK(answer(p, sizeof p - 1, &f) == DNS_OTHER);
	}
	memcpy(p, two, sizeof p);
	p[3] = (char)0x83;
	CHECK(answer(p, sizeof p - 1, &f) == DNS_NONE && !f.n);
	p[3] = (char)0x82;
	CHECK(answer(p, sizeof p - 1, &f) == DNS_FAILED);
	memcpy(p, none, sizeof none);
	p[2] = (char)0x83;
	CHECK(answer(p, sizeof none - 1, &f) == DNS_FAILED);
	group("answers");
}

static void
names(void)
{
	static const char *const good[] = { "a:1", "nas.lan:80", "a-b_c.d9:65535", "nas.:80", "3com.net:80",
	    "1.2.3.x4:9" };
	static const char *const bad[] = { "a", "a:", ":80", "a:0", "a:65536", "a:80x", "a b:80", "1.2.3:80",
	    "1.2.3.4.5:80",
		".a:80", "a..b:80", "a/b:80", "a:80:90", ".:80", "" };
	struct name n;

	for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
		CHECK(name_parse(&n, good[i]));
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		if (!CHECK(!name_parse(&n, bad[i])))
			printf("%s\n", bad[i]);
	group("names");
}

int
main(void)
{
	questions();
	answers();
	names();
	return unit_end();
}
