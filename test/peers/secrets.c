/* secrets.c - does the time that something takes tell of a secret?
 *
 * Under valgrind, whose memcheck tells of every branch and every address that depends on bytes that were never set: the
 * secrets are declared to be such bytes.  What may be known in the end, right or wrong, is declared to be known.
 *
 *  secrets same    the comparison of passwords; includes auth.c for it
 *  secrets leaky   the same with memcmp: valgrind has to complain, or the test proves nothing
 *  secrets cbc     a record of AES in CBC, whose padding or MAC is wrong, by BearSSL's classes
 */
#include "../../auth.c"

#include <stdio.h>
#include <valgrind/memcheck.h>
#include <bearssl.h>

static void
hide(void *p, size_t n)
{
	(void)VALGRIND_MAKE_MEM_UNDEFINED(p, n);
}

static void
show(void *p, size_t n)
{
	(void)VALGRIND_MAKE_MEM_DEFINED(p, n);
}

static int
compare(bool leaky)
{
	static const char *const pairs[][2] = { { "secret", "secret" }, { "secret", "secreT" }, { "Secret", "secret" }, { "secret", "longer secret" } };
	unsigned right = 0;

	for (unsigned i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		char a[32], b[32];
		struct span given = { a, (unsigned)strlen(pairs[i][0]) }, kept = { b, (unsigned)strlen(pairs[i][1]) };
		volatile bool is;

		memcpy(a, pairs[i][0], given.n);
		memcpy(b, pairs[i][1], kept.n);
		hide(a, sizeof a);
		hide(b, sizeof b);
		is = leaky ? given.n == kept.n && !memcmp(a, b, given.n) : same(given, kept);
		show((void *)&is, sizeof is);
		right += is;
	}
	return right == 1 ? 0 : 1;
}

/* A record that we have made, with one byte of it changed: its padding (-1), its MAC or its text; `at` from its end. */
static int
record(const br_block_cbcdec_class *dec, unsigned plain, int at)
{
	static const unsigned char key[16] = { 1 }, mac[20] = { 2 };
	unsigned char bytes[2048], *p;
	size_t n = plain;
	br_sslrec_out_cbc_context out;
	br_sslrec_in_cbc_context in;

	br_sslrec_out_cbc_vtable.init(&out.vtable, &br_aes_ct_cbcenc_vtable, key, 16, &br_sha1_vtable, mac, 20, 20, NULL);
	br_sslrec_in_cbc_vtable.init(&in.vtable, dec, key, 16, &br_sha1_vtable, mac, 20, 20, NULL);
	memset(bytes, 'x', sizeof bytes);
	p = out.vtable->inner.encrypt((const br_sslrec_out_class **)(void *)&out.vtable, 23, 0x0302, bytes + 100, &n);
	p += 5;
	n -= 5;
	if (at)
		p[n - at] ^= 1;
	hide(((br_aes_ct_cbcdec_keys *)(void *)&in.bc)->skey, sizeof ((br_aes_ct_cbcdec_keys *)(void *)&in.bc)->skey);
	p = in.vtable->inner.decrypt((const br_sslrec_in_class **)(void *)&in.vtable, 23, 0x0302, p, &n);
	show(&p, sizeof p);
	return (p != NULL) != (at == 0);
}

int
main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "cbc")) {
		int bad = 0;

		for (unsigned plain = 1; plain < 300; plain += 41)
			for (int at = 0; at < 34; at += 11)
				bad |= record(&br_aes_ct_cbcdec_vtable, plain, at);
		return bad;
	}
	return compare(argc > 1 && !strcmp(argv[1], "leaky"));
}
