/* users.c: which lines of which files let somebody in */
#include "unit.h"

#include "../../auth.h"

#include <sys/mman.h>
#include <unistd.h>

#define HASH "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA"
#define DAY(n) (wall = (n) * (int64_t)86400)

static struct login login;

static const char *
file(const char *text, char path[32])
{
	int fd = memfd_create("users", 0);

	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return path;
}

/* What bob's hash is by a file of users. */
static bool
is(const char *text, const char *hash)
{
	char path[32];

	CHECK(login_of_file(file(text, path), SPAN("bob"), &login));
	close(atoi(path + 14));
	return span_eq(login.hash, span_of(hash));
}

/* May bob come in, by his lines of passwd and shadow? */
static bool
opens(const char *passwd, const char *shadow)
{
	char one[32], two[32];

	CHECK(login_of_system(file(passwd, one), file(shadow, two), SPAN("bob"), &login));
	close(atoi(one + 14));
	close(atoi(two + 14));
	CHECK(!login.hash.n || span_eq(login.hash, SPAN(HASH)));
	return login.hash.n;
}

static void
test_files(void)
{
	CHECK(is("bob:" HASH "\n", HASH) && is("bob:" HASH, HASH) && is("bob:" HASH "\r\n", HASH));
	CHECK(is("ann:x\n\n#bob:no\nbob:" HASH ":more:\nbob:second\n", HASH));
	CHECK(is("", "") && is("\n", "") && is("bob\n", "") && is("bob:\n", "") && is("bob:!" HASH "\n", ""));
	CHECK(is("bob:*\n", "") && is("Bob:" HASH "\n", "") && is("xbob:" HASH "\nbobx:" HASH "\n", ""));
	CHECK(is("bob:{PLAIN}a:b\n", "{PLAIN}a:b"));
	CHECK(is("ann:" HASH "\n", "") && !login.found && span_eq((struct span){ login.decoy, login.decoy_n }, SPAN(HASH)));
	CHECK(!login_of_file("/nonexistent", SPAN("bob"), &login));
	group("files of users");
}

static void
test_lines_that_are_too_long(void)
{
	static char text[5000];

	for (unsigned n = TEXT_LINE - 8; n < TEXT_LINE + 8; n++) {
		memset(text, 'x', n);
		strcpy(text + n, "\nbob:" HASH "\n");
		CHECK(is(text, HASH));
	}
	memset(text, 'x', sizeof text);
	strcpy(text + 3000, "\nbob:" HASH "\n");
	CHECK(is(text, HASH));
	strcpy(text, "bob:" HASH);
	memset(text + strlen(text), 'x', 2000);
	strcpy(text + 2000, "\n");
	CHECK(is(text, ""));
	group("lines that are too long");
}

static void
test_system(void)
{
	static const char user[] = "bob:x:1:1:Bob:/home:/bin/sh\n", shadow[] = "bob:" HASH ":19000:0:99999:7:::\n";

	DAY(20000);
	CHECK(opens(user, shadow) && opens("bob:x:1:1:::\n", shadow) && opens("bob:" HASH ":1:1:::/bin/ash\n", ""));
	CHECK(!opens("bob:x:1:1:::/sbin/nologin\n", shadow) && !opens("bob:x:1:1:::/bin/false\n", shadow));
	CHECK(!opens(user, "") && !opens("", shadow) && !opens("ann:x:1:1:::\n", shadow) && !opens("bob::1:1:::\n", shadow));
	CHECK(!opens("bob:*:1:1:::\n", shadow) && !opens("bob:!" HASH ":1:1:::\n", shadow));
	CHECK(!opens(user, "bob::19000:0:99999:7:::\n") && !opens(user, "bob:!" HASH ":19000:0:99999:7:::\n"));
	CHECK(!opens(user, "bob:*:::::::\n") && !opens(user, "ann:" HASH ":::::::\n"));
	group("accounts of the system");
}

static void
test_expiry(void)
{
	static const char user[] = "bob:x:1:1:Bob:/home:/bin/sh\n", ends[] = "bob:" HASH ":19000:0:99999:7::20000:\n",
	    aged[] = "bob:" HASH ":19000:0:30:7:::\n", fresh[] = "bob:" HASH ":0:0:30:7:::\n";

	DAY(19999);
	CHECK(opens(user, ends) && !opens(user, aged));
	DAY(20000);
	CHECK(!opens(user, ends));
	DAY(19030);
	CHECK(opens(user, aged));
	DAY(19031);
	CHECK(!opens(user, aged));
	DAY(0);                         /* a clock that was never set */
	CHECK(opens(user, ends) && opens(user, aged));
	DAY(20000);                     /* 0 is what routers have there: never changed */
	CHECK(opens(user, fresh) && opens(user, "bob:" HASH "\n") && opens(user, "bob:" HASH ":::::::\n"));
	group("accounts that expire");
}

int
main(void)
{
	static const struct conf silent = { .error_to = TO_NOWHERE, .access_to = TO_NOWHERE };

	CHECK(log_open(&silent));
	test_files();
	test_lines_that_are_too_long();
	test_system();
	test_expiry();
	return unit_end();
}
