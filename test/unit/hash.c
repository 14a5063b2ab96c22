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

static void
test_refused(void)
{
	static const char *const settings[] = { "", "$", "$6", "x", "*", "!", "$7$x$", "{SHA}x", "secret" };
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
	test_refused();
	return unit_end();
}
