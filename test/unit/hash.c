/* hash.c: the same as crypt(3) and openssl passwd make, for every length of password and every kind */
#include "unit.h"

#include "../../auth.h"

static char store[512];

static struct span
made(const char *password, unsigned n, const char *setting)
{
	struct buf b = { store, 0, 0, sizeof store, false };
	struct span exact = exactly(password, n);

	CHECK(password_hash(&b, exact, span_of(setting)) && !b.bad);
	give_back(exact);
	return (struct span){ store, b.w };
}

static void
test_known(void)
{
	static const struct { const char *password, *setting, *hash; } t[] = {
		{ "Hello world!", "$6$saltstring",
		  "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1" },
		{ "Hello world!", "$6$rounds=10000$saltstringsaltstring", "$6$rounds=10000$saltstringsaltst$"
		  "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v." },
		{ "Hello world!", "$5$saltstring", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5" },
		{ "Hello world!", "$5$rounds=10000$saltstringsaltstring",
		  "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA" },
		{ "", "$6$x$", "$6$x$QSmr1Bx2g4O6BzKvdkgOcyU6H91X6I/XBv5pSalMhSPkwdH6Beo3F455xZJg0v//bxVK5F4OE5k1.0xuR26MK0" },
		{ "", "$5$x$", "$5$x$yHbtfs4Y8t6X1xcJemNX.4JQRfUTafA2qQenWGLBee2" },
		{ "", "$1$x$", "$1$x$fwjfZtMwarkdetsjiQreU1" },
		{ "password", "$1$0123456789$", "$1$01234567$b5lh2mHyD2PdJjFfALlEz1" },
		{ "password", "$apr1$01234567$", "$apr1$01234567$IXBaQywhAhc0d75ZbaSDp/" },
		{ "secret", "$2y$04$abcdefghijklmnopqrstuu", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW" },
		{ "secret", "$2a$04$abcdefghijklmnopqrstuu", "$2a$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW" },
		{ "secret", "$2b$05$abcdefghijklmnopqrstuu", "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a" },
		{ "s\303\244cret", "$2y$04$abcdefghijklmnopqrstuu",
		  "$2y$04$abcdefghijklmnopqrstuuHhfvEwMt91I5gXrc2KUN85rjfYlCqFy" },
		{ "", "$2b$05$abcdefghijklmnopqrstuu", "$2b$05$abcdefghijklmnopqrstuu0oImNDIy4flhldV9YqunRgBAePKmw7m" },
	};

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		CHECK(span_eq(made(t[i].password, strlen(t[i].password), t[i].setting), span_of(t[i].hash)));
		CHECK(span_eq(made(t[i].password, strlen(t[i].password), t[i].hash), span_of(t[i].hash)));
	}
	group("known hashes");
}

/* The ends of blocks lie elsewhere for each length: FNV-1a over the hashes of the first 1 to 128 letters. */
static void
test_lengths(void)
{
	static const char letters[] = "The quick brown fox jumps over the lazy dog. "
	    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog. ";
	static const struct { const char *setting; uint64_t sum; } t[] = {
		{ "$1$saltsalt$", 0xad43aeb723a935d6 }, { "$5$saltsalt$", 0xede72ea17a2b8b36 },
		{ "$6$saltsalt$", 0x6c2530cc6ab1bf89 }, { "$apr1$saltsalt$", 0xbcb344de57507096 },
		{ "$2b$04$abcdefghijklmnopqrstuu", 0xf3e4fce322fca512 },        /* alike from 72 on */
	};

	for (unsigned i = 0; i < sizeof t / sizeof *t; i++) {
		uint64_t sum = 0xcbf29ce484222325;

		for (unsigned n = 1; n <= 128; n++) {
			struct span hash = made(letters, n, t[i].setting);

			for (unsigned k = 0; k < hash.n; k++)
				sum = (sum ^ (unsigned char)hash.p[k]) * 0x100000001b3;
		}
		CHECK(sum == t[i].sum);
	}
	group("passwords of every length");
}

/* Slices make the same of it, and one that is given up leaves nothing behind. */
static void
test_slices(void)
{
	static const char *const settings[] = { "$5$x$", "$2y$05$abcdefghijklmnopqrstuu", "$1$x$", "$6$x$" };
	struct buf b = { store, 0, 0, sizeof store, false };
	char other[HASH_MOST];
	struct buf by_steps = { other, 0, 0, sizeof other, false };

	for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++) {
		unsigned slices = 1;

		b.w = by_steps.w = 0;
		CHECK(password_hash(&b, SPAN("secret"), span_of(settings[i])));
		hash_begin(SPAN("another"), span_of(settings[3 - i]));
		hash_work(0);
		hash_begin(SPAN("secret"), span_of(settings[i]));
		for (; !hash_work(0); slices++)
			;
		CHECK(hash_end(&by_steps) && slices > 32);
		CHECK(span_eq((struct span){ store, b.w }, (struct span){ other, by_steps.w }));
	}
	hash_begin(SPAN("secret"), span_of("$5$x$"));
	CHECK(!hash_end(NULL));
	group("slices");
}

static void
test_refused(void)
{
	static const char *const settings[] = { "", "$", "$6", "x", "*", "!", "$7$x$", "{SHA}x", "secret", "$2", "$2y$04$",
		"$2y$04$abcdefghijklmnopqrstu", "$2y$03$abcdefghijklmnopqrstuu", "$2y$32$abcdefghijklmnopqrstuu",
		"$2x$04$abcdefghijklmnopqrstuu", "$2y$4$abcdefghijklmnopqrstuuu", "$2y$04$abcdefghijk!mnopqrstuu" };
	struct buf b = { store, 0, 0, sizeof store, false }, small = { store, 0, 0, 20, false };
	char longer[PASSWORD_MOST + 1] = { 'a' };

	for (unsigned i = 0; i < sizeof settings / sizeof *settings; i++)
		CHECK(!password_hash(&b, SPAN("secret"), span_of(settings[i])));
	CHECK(!password_hash(&b, (struct span){ longer, sizeof longer }, SPAN("$5$x$")));
	CHECK(!password_hash(&small, SPAN("secret"), SPAN("$5$x$")));
	group("what is no hash");
}

int
main(void)
{
	test_known();
	test_lengths();
	test_slices();
	test_refused();
	return unit_end();
}
