/* selfmade.c - a key and a certificate of our own, for the first boot and for the day when the others cannot be used
 *
 *   addresses of the machine, its name --wanted()--> names --certificate_write()--> DER --armour()--> PEM
 *
 * The certificate is its own issuer, and made so that it can be trusted as a root: CA:TRUE, because Chromium and the
 * stores of systems ask for that, with name constraints that let it vouch for nothing but its own names.
 *
 * DER is written from its end to its beginning: what an element is as long as is known when its head is written.
 */
#include "cert.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define EC_PUBLIC 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01
#define P256 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07

struct selfmade {
	unsigned char x[32], point[65];         /* the key, on P-256 */
	int64_t from, until;
	struct span names;                      /* as in struct certificate; the first is the common name */
};

enum { GENERAL_DNS = 0x82, GENERAL_ADDRESS = 0x87, CONTEXT_0 = 0xa0, CONTEXT_3 = 0xa3, NAME_MAX_DNS = 64 };

/* -- what it is for -------------------------------------------------------------------------------------- */

static bool
names_have(struct span names, unsigned tag, struct span value)
{
	struct span name;
	unsigned kind;

	while ((kind = der_next(&names, &name)))
		if (kind == tag && span_eq(name, value))
			return true;
	return false;
}

/* One GeneralName behind the others, unless it is there already. */
static void
name_add(struct buf *b, unsigned tag, struct span value)
{
	if (value.n && value.n < 0x80 && !names_have((struct span){ b->data, b->w }, tag, value)) {
		buf_char(b, (char)tag);
		buf_char(b, (char)value.n);
		buf_span(b, value);
	}
}

/* rtnetlink(7), whose headers not every libc finds: a message, an address in it, and attributes behind that. */
struct message { uint32_t size; uint16_t type, flags; uint32_t sequence, port; };
struct address { uint8_t family, prefix, flags, scope; uint32_t interface; };
struct attribute { uint16_t size, type; };
enum { GETADDR = 22, NEWADDR = 20, DONE = 3, ASK_ALL = 0x301, ADDRESS = 1, LOCAL = 2 };
enum { TEMPORARY = 0x01, DEPRECATED = 0x20, TENTATIVE = 0x40, PERMANENT = 0x80, SCOPE_LINK = 253 };

/* The address of a message; the local one of a link between two. */
static struct span
address_in(const char *p, unsigned n)
{
	struct span found = SPAN("");
	struct attribute a;

	for (; n >= sizeof a; p += (a.size + 3u) & ~3u, n -= (a.size + 3u) & ~3u) {
		memcpy(&a, p, sizeof a);
		if (a.size < sizeof a || ((a.size + 3u) & ~3u) > n)
			break;
		if (a.type == LOCAL || (a.type == ADDRESS && !found.n))
			found = (struct span){ p + sizeof a, a.size - (unsigned)sizeof a };
	}
	return found;
}

/* Take the addresses out of what the kernel sent; false when that was the end of them. */
static bool
addresses_take(struct buf *names, const char *p, unsigned n, bool lasting)
{
	struct message m;
	struct address a;

	for (; n >= sizeof m; p += (m.size + 3) & ~3u, n -= (m.size + 3) & ~3u) {
		memcpy(&m, p, sizeof m);
		if (m.type != NEWADDR || m.size < sizeof m + sizeof a || ((m.size + 3) & ~3u) > n)
			return false;
		memcpy(&a, p + sizeof m, sizeof a);
		if (!(a.flags & (TEMPORARY | DEPRECATED | TENTATIVE)) && a.scope != SCOPE_LINK &&
		    (!lasting || a.flags & PERMANENT))
			name_add(names, GENERAL_ADDRESS, address_in(p + sizeof m + sizeof a, m.size - sizeof m - sizeof a));
	}
	return true;
}

/* Those of a link alone are left out: nobody can write them into an address line without the name of an interface. */
static void
addresses_add(struct buf *names, bool lasting)
{
	const struct { struct message m; struct address a; } ask = {
		{ sizeof ask, GETADDR, ASK_ALL, 1, 0 }, { .family = AF_UNSPEC },
	};
	static char answer[8192];
	int fd = call_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0);
	ssize_t n;

	if (fd < 0)
		return;
	if (send(fd, &ask, sizeof ask, 0) == sizeof ask)
		while ((n = recv(fd, answer, sizeof answer, 0)) > 0 && addresses_take(names, answer, (unsigned)n, lasting))
			;
	call_close(fd);
}

/* As GeneralNames; `lasting` leaves out addresses that a provider gives and takes. */
static void
names_wanted(struct buf *names, bool lasting)
{
	struct utsname us;

	if (uname(&us) == 0 && strlen(us.nodename) <= NAME_MAX_DNS)
		name_add(names, GENERAL_DNS, span_of(us.nodename));
	name_add(names, GENERAL_DNS, SPAN("localhost"));
	addresses_add(names, lasting);
	name_add(names, GENERAL_ADDRESS, SPAN("\x7f\0\0\1"));   /* where the kernel would not say */
}

/* -- writing DER ----------------------------------------------------------------------------------------- */

struct writer { unsigned char *at, *floor; bool bad; };

static void
put(struct writer *w, const void *p, size_t n)
{
	w->bad = w->bad || n > (size_t)(w->at - w->floor);
	if (!w->bad && n)
		memcpy(w->at -= n, p, n);
}

/* All from here to `end` becomes the body of an element. */
static void
wrap(struct writer *w, unsigned tag, const unsigned char *end)
{
	size_t n = (size_t)(end - w->at);

	if (n > 0xff)
		put(w, (unsigned char[]){ tag, 0x82, n >> 8, n & 0xff }, 4);
	else if (n > 0x7f)
		put(w, (unsigned char[]){ tag, 0x81, n }, 3);
	else
		put(w, (unsigned char[]){ tag, n }, 2);
}

static void
put_element(struct writer *w, unsigned tag, const void *p, size_t n)
{
	const unsigned char *end = w->at;

	put(w, p, n);
	wrap(w, tag, end);
}

/* -- the certificate (RFC 5280 4.1) ------------------------------------------------------------------------ */

static const unsigned char ecdsa_sha256[] = {
	0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02,
};

static const unsigned char key_head[] = { 0x30, 0x59, 0x30, 0x13, EC_PUBLIC, P256, 0x03, 0x42, 0x00 };

/* basicConstraints: a CA, of certificates but not of other CAs; keyUsage: digitalSignature and keyCertSign; both critical.
 * extKeyUsage: serverAuth. */
static const unsigned char fixed_extensions[] = {
	0x30, 0x12, 0x06, 0x03, 0x55, 0x1d, 0x13, 0x01, 0x01, 0xff, 0x04, 0x08, 0x30, 0x06, 0x01, 0x01, 0xff, 0x02, 0x01, 0x00,
	0x30, 0x0e, 0x06, 0x03, 0x55, 0x1d, 0x0f, 0x01, 0x01, 0xff, 0x04, 0x04, 0x03, 0x02, 0x02, 0x84,
	0x30, 0x13, 0x06, 0x03, 0x55, 0x1d, 0x25, 0x04, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01,
};

static const unsigned char oid_names[] = { 0x06, 0x03, 0x55, 0x1d, 0x11 };
static const unsigned char oid_constraints[] = { 0x06, 0x03, 0x55, 0x1d, 0x1e };
static const unsigned char oid_key_id[] = { 0x06, 0x03, 0x55, 0x1d, 0x0e };
static const unsigned char oid_cn[] = { 0x06, 0x03, 0x55, 0x04, 0x03 };

/* The names as subtrees that it may vouch for: an address has its mask behind it (RFC 5280 4.2.1.10). */
static void
put_subtrees(struct writer *w, struct span names)
{
	static const unsigned char mask[16] = {
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	};
	const unsigned char *end;
	struct span name;
	unsigned tag;

	while ((tag = der_next(&names, &name))) {
		unsigned masked = tag == GENERAL_ADDRESS ? name.n : 0;

		end = w->at;
		put(w, mask, masked);
		put(w, name.p, name.n);
		wrap(w, tag, end);
		wrap(w, DER_SEQUENCE, end);
	}
}

/* What was put since end, as the value of an extension. */
static void
wrap_extension(struct writer *w, const unsigned char *end, const void *oid, size_t n)
{
	wrap(w, DER_OCTETS, end);
	put(w, oid, n);
	wrap(w, DER_SEQUENCE, end);
}

static void
put_extensions(struct writer *w, const struct selfmade *s)
{
	const unsigned char *all = w->at, *end = w->at;
	unsigned char id[32];

	put_element(w, DER_SEQUENCE, s->names.p, s->names.n);
	wrap_extension(w, end, oid_names, sizeof oid_names);
	end = w->at;
	put_subtrees(w, s->names);
	wrap(w, CONTEXT_0, end);
	wrap(w, DER_SEQUENCE, end);
	wrap_extension(w, end, oid_constraints, sizeof oid_constraints);
	end = w->at;
	sha256_sum(id, s->point, sizeof s->point);
	put_element(w, DER_OCTETS, id, 20);     /* RFC 7093 2 */
	wrap_extension(w, end, oid_key_id, sizeof oid_key_id);
	put(w, fixed_extensions, sizeof fixed_extensions);
	wrap(w, DER_SEQUENCE, all);
	wrap(w, CONTEXT_3, all);
}

/* CN: the first of the names. */
static void
put_name(struct writer *w, struct span names)
{
	const unsigned char *end = w->at;
	struct span name;

	der_next(&names, &name);
	put_element(w, DER_UTF8, name.p, name.n);
	put(w, oid_cn, sizeof oid_cn);
	wrap(w, DER_SEQUENCE, end);
	wrap(w, DER_SET, end);
	wrap(w, DER_SEQUENCE, end);
}

/* To 2049 the year has two digits (RFC 5280 4.1.2.5). */
static void
put_time(struct writer *w, int64_t seconds)
{
	struct civil c = civil_of(seconds);
	unsigned part[] = { c.year / 100, c.year % 100, c.month, c.day, c.hour, c.minute, c.second };
	unsigned skip = c.year < 2050;
	char text[15];

	for (unsigned i = 0; i < 7; i++) {
		text[2 * i] = (char)('0' + part[i] / 10);
		text[2 * i + 1] = (char)('0' + part[i] % 10);
	}
	text[14] = 'Z';
	put_element(w, skip ? DER_UTC_TIME : DER_TIME, text + 2 * skip, sizeof text - 2 * skip);
}

static void
put_body(struct writer *w, const struct selfmade *s)
{
	const unsigned char *all = w->at, *end;
	unsigned char serial[16];

	put_extensions(w, s);
	put(w, s->point, sizeof s->point);
	put(w, key_head, sizeof key_head);
	put_name(w, s->names);
	end = w->at;
	put_time(w, s->until);
	put_time(w, s->from);
	wrap(w, DER_SEQUENCE, end);
	put_name(w, s->names);
	put(w, ecdsa_sha256, sizeof ecdsa_sha256);
	random_bytes(serial, sizeof serial);
	serial[0] = (serial[0] & 0x3f) | 0x40;  /* positive, and of one length */
	put_element(w, DER_INTEGER, serial, sizeof serial);
	put(w, (unsigned char[]){ CONTEXT_0, 3, DER_INTEGER, 1, 2 }, 5);        /* v3 */
	wrap(w, DER_SEQUENCE, all);
}

static size_t
sign(const struct selfmade *s, const void *p, size_t n, unsigned char *to)
{
	br_ec_private_key key = { BR_EC_secp256r1, (unsigned char *)(uintptr_t)s->x, sizeof s->x };
	unsigned char hash[32];

	sha256_sum(hash, p, n);
	return br_ecdsa_i31_sign_asn1(&our_curves, sha256_class, hash, &key, to);
}

/* What is signed is written up to `end`, and then the signature is put behind that, where there is room for the longest. */
static struct span
certificate_write(const struct selfmade *s, unsigned char *store, unsigned size)
{
	enum { MOST = sizeof ecdsa_sha256 + 3 + 72 };
	unsigned char *end = store + size - MOST, *bits = end + sizeof ecdsa_sha256;
	struct writer w = { end, store, false };
	size_t n;

	put_body(&w, s);
	memcpy(end, ecdsa_sha256, sizeof ecdsa_sha256);
	n = sign(s, w.at, (size_t)(end - w.at), bits + 3);
	bits[0] = DER_BITS;
	bits[1] = 1 + n;
	bits[2] = 0;                    /* of the last byte no bit is unused */
	end = bits + 3 + n;
	wrap(&w, DER_SEQUENCE, end);
	return (struct span){ (char *)w.at, w.bad ? 0 : (unsigned)(end - w.at) };
}

/* -- PEM --------------------------------------------------------------------------------------------------- */

static void
base64(struct buf *b, struct span s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = (const unsigned char *)s.p;

	for (unsigned i = 0; i < s.n; i += 3) {
		unsigned left = s.n - i;
		unsigned bits = (unsigned)p[i] << 16 | (left > 1 ? p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);

		for (unsigned k = 0; k < 4; k++, bits <<= 6)
			buf_char(b, k <= left ? digits[bits >> 18 & 63] : '=');
		if (i % 48 == 45 || left <= 3)
			buf_char(b, '\n');
	}
}

static void
armour(struct buf *b, struct span label, struct span der)
{
	buf_print(b, "-----BEGIN %.*s-----\n", (int)label.n, label.p);
	base64(b, der);
	buf_print(b, "-----END %.*s-----\n", (int)label.n, label.p);
}

/* -- keys -------------------------------------------------------------------------------------------------- */

/* Any number from 1 to the order less one will do: what is above is drawn again. */
static void
key_make(struct selfmade *s)
{
	const unsigned char *order;
	size_t n;

	order = br_ec_p256_m31.order(BR_EC_secp256r1, &n);
	do
		random_bytes(s->x, sizeof s->x);
	while (memcmp(s->x, order, sizeof s->x) >= 0);
}

/* ECPrivateKey (RFC 5915 3) with curve and point, as openssl writes it. */
static void
key_print(struct buf *b, const struct selfmade *s)
{
	static const unsigned char head[] = { 0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20 };
	static const unsigned char middle[] = { 0xa0, 0x0a, P256, 0xa1, 0x44, 0x03, 0x42, 0x00 };
	char der[sizeof head + sizeof middle + sizeof s->x + sizeof s->point];
	struct buf d = { der, 0, 0, sizeof der, false };

	buf_mem(&d, head, sizeof head);
	buf_mem(&d, s->x, sizeof s->x);
	buf_mem(&d, middle, sizeof middle);
	buf_mem(&d, s->point, sizeof s->point);
	armour(b, SPAN("EC PRIVATE KEY"), (struct span){ der, d.w });
}

/* -- the folder -------------------------------------------------------------------------------------------- */

enum { DAY = 86400, LIFE = 397 * DAY, RENEW = 30 * DAY, STORE = 8192 };

static const char key_name[] = "key.pem", certificate_name[] = "certificate.pem";

static const char *
path_in(struct buf *b, const char *dir, const char *name)
{
	b->w = 0;
	buf_print(b, "%s/%s%c", dir, name, '\0');
	return b->bad ? "" : b->data;
}

/* Whole or not at all: another name, the disk, and only then the name that is looked for. */
static bool
file_write(const char *dir, const char *name, const struct conf *owner, struct span text)
{
	char store[2][PATH_STORE];
	struct buf b = { store[0], 0, 0, PATH_STORE, false }, c = { store[1], 0, 0, PATH_STORE, false };
	const char *path = path_in(&b, dir, name), *draft = path_in(&c, dir, ".new.pem");
	bool good;
	int fd;

	unlink(draft);
	fd = call_open(AT_FDCWD, draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	good = fd >= 0 && call_write(fd, text.p, text.n) == (ssize_t)text.n &&
	    (!owner || !owner->user || geteuid() || call_chown(fd, owner->uid, owner->gid) == 0) && fsync(fd) == 0 &&
	    rename(draft, path) == 0;
	if (!good) {
		log_line(LOG_WARN, "cannot write %s: %s", path, error_text(errno));
		unlink(draft);          /* half a key */
	}
	if (fd >= 0)
		call_close(fd);
	return good;
}

static void
folder_make(const char *dir, const struct conf *owner)
{
	if (mkdir(dir, 0700) == 0 && owner && owner->user && chown(dir, owner->uid, owner->gid) < 0)
		log_line(LOG_WARN, "%s stays with root: %s", dir, error_text(errno));
}

/* The key of the folder, if there is one that can be used; it may have come without a certificate. */
static bool
key_take(const char *path, struct selfmade *s)
{
	static char text[2048];
	int fd = call_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	ssize_t n = fd >= 0 ? call_read(fd, text, sizeof text) : -1;
	struct span rest = { text, n > 0 ? (unsigned)n : 0 }, label, body;
	struct private_key key;
	bool found = false;

	if (fd >= 0)
		call_close(fd);
	while (!found && pem_next(&rest, &label, &body))
		found = private_key_parse(body, &key) && key.kind == KEY_EC && key.x.n == sizeof s->x &&
		    span_eq(key.curve, oid_p256);
	if (found)
		memcpy(s->x, key.x.p, sizeof s->x);
	memset(text, 0, sizeof text);
	return found && br_ec_p256_m31.mulgen(s->point, s->x, sizeof s->x, BR_EC_secp256r1) == sizeof s->point;
}

/* -- when ---------------------------------------------------------------------------------------------------- */

/* A router without a battery begins in 1970, or where it was switched off.  As long as that is so the certificate has no
 * end that could be reached: it began before this program, and ends with the calendar. */
static bool
clock_right(void)
{
	return wall >= CLOCK_SINCE;
}

static void
times_choose(struct selfmade *s)
{
	s->from = (clock_right() ? wall : CLOCK_SINCE) / DAY * DAY - DAY;
	s->until = clock_right() ? s->from + LIFE - 1 : 253402300799;   /* RFC 5280 4.1.2.5: no well-defined end */
}

bool
selfmade_stale(const struct identity *id)
{
	return clock_right() && (id->leaf.until - wall < RENEW || id->leaf.from > wall ||
	    id->leaf.until - id->leaf.from > LIFE);
}

static bool
lacks_names(const struct identity *id)
{
	char store[1024];
	struct buf wanted = { store, 0, 0, sizeof store, false };
	struct span rest, name;
	unsigned tag;

	names_wanted(&wanted, true);
	rest = (struct span){ store, wanted.w };
	while ((tag = der_next(&rest, &name)))
		if (!names_have(id->leaf.names, tag, name))
			return true;
	return false;
}

static bool
good(const struct identity *id)
{
	return !selfmade_stale(id) && !lacks_names(id);
}

/* -- all of it ------------------------------------------------------------------------------------------------- */

static void
tell_made(const struct identity *id, const char *path)
{
	char text[100];
	struct buf b = { text, 0, 0, sizeof text, false };

	fingerprint(&b, id->leaf.der);
	log_line(LOG_INFO, "made a certificate: %s, SHA-256 %.*s", path, (int)b.w, text);
}

/* Where it cannot be written, `spare` says that none is better. */
static struct identity *
make(const char *dir, const struct conf *owner, bool has_key, bool spare, struct selfmade *s)
{
	static char names_store[1024], pem[STORE];
	static unsigned char der[STORE / 2];
	struct buf names = { names_store, 0, 0, sizeof names_store, false }, b = { pem, 0, 0, sizeof pem, false };
	struct span key, certificate;
	struct identity *id;
	const char *why;

	names_wanted(&names, false);
	times_choose(s);
	s->names = (struct span){ names_store, names.w };
	key_print(&b, s);
	key = (struct span){ pem, b.w };
	armour(&b, SPAN("CERTIFICATE"), certificate_write(s, der, sizeof der));
	certificate = (struct span){ pem + key.n, b.w - key.n };
	if (!has_key)
		folder_make(dir, owner);
	if (!((has_key || file_write(dir, key_name, owner, key)) &&
	    file_write(dir, certificate_name, owner, certificate)) && spare)
		return NULL;
	id = identity_of(certificate, key, &why);
	memset(pem, 0, key.n);
	if (!id)
		log_line(LOG_ERROR, "cannot make a certificate: %s", why);
	return id;
}

struct identity *
selfmade_open(const char *dir, const struct conf *owner, const struct identity *shown)
{
	char store[2][PATH_STORE];
	struct buf b = { store[0], 0, 0, PATH_STORE, false }, c = { store[1], 0, 0, PATH_STORE, false };
	const char *certificate = path_in(&b, dir, certificate_name), *key = path_in(&c, dir, key_name), *why;
	struct identity *id = identity_load(certificate, key, &why);
	struct selfmade s;
	bool has_key;

	if (id && owner && good(id))
		return id;
	if (id)
		identity_free(id);
	has_key = key_take(key, &s);
	if (!has_key)
		key_make(&s);
	br_ec_p256_m31.mulgen(s.point, s.x, sizeof s.x, BR_EC_secp256r1);
	id = make(dir, owner, has_key, !owner || (shown && good(shown)), &s);
	memset(&s, 0, sizeof s);
	if (id)
		tell_made(id, certificate);
	return id;
}

int
selfmade_command(const char *dir)
{
	if (dir && *dir == '-') {
		log_line(LOG_ERROR, "--make-certificate takes the name of a folder, and nothing else");
		return 1;
	}
	return selfmade_open(dir ? dir : STATE_DIR, NULL, NULL) ? 0 : 1;
}
