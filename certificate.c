/* certificate.c - certificates from their files to a handshake: reading, checking, choosing, and reading again
 *
 *   FILE, KEY --identity_load--> identity --certificate_for--> tls.c
 *      |                            ^
 *      `-- certificates_check: new? `-- a broken one leaves the last good one where it is, or our own
 *
 * Each identity lies in a mapping of its own, as the files were: chain and key point into that.  One that is replaced
 * is kept as long as a handshake that began with it may take.
 */
#include "cert.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MOST = 1 << 18, CERTIFICATES_MAX = 16, CHECK_EVERY = 2000, SETTLED = 2 };

int64_t certificates_due = INT64_MAX;

static struct identity *own, *retired;

/* -- reading --------------------------------------------------------------------------------------------- */

struct found { struct certificate all[CERTIFICATES_MAX]; unsigned n; struct private_key key; bool locked; };

static void
take_block(struct found *f, struct span label, struct span body)
{
	if (span_ends(label, SPAN("CERTIFICATE")) && f->n < CERTIFICATES_MAX)
		f->n += certificate_parse(body, &f->all[f->n]);
	if (span_ends(label, SPAN("PRIVATE KEY")) && !f->key.kind && !private_key_parse(body, &f->key))
		f->locked |= !body.n || span_starts(label, SPAN("ENCRYPTED"));
}

/* PEM, or one element of DER. */
static void
take_text(struct found *f, struct span text)
{
	struct span label, body;

	if (text.n && *text.p == DER_SEQUENCE) {
		take_block(f, SPAN("CERTIFICATE"), text);
		take_block(f, SPAN("PRIVATE KEY"), text);
		return;
	}
	while (pem_next(&text, &label, &body))
		take_block(f, label, body);
}

static bool
key_fits(const struct private_key *key, const struct public_key *public)
{
	unsigned char point[BR_EC_KBUF_PUB_MAX_SIZE];
	size_t n;

	if (key->kind != public->kind)
		return false;
	if (key->kind == KEY_RSA)
		return span_eq(key->n, public->n) && span_eq(key->e, public->e);
	if (!span_eq(public->curve, oid_p256) || key->x.n != 32)
		return false;
	n = br_ec_p256_m31.mulgen(point, (const unsigned char *)key->x.p, key->x.n, BR_EC_secp256r1);
	return span_eq(public->point, (struct span){ (const char *)point, (unsigned)n });
}

static unsigned char *
bytes(struct span s)
{
	return (unsigned char *)(uintptr_t)s.p;
}

static uint32_t
bits(struct span n)
{
	uint32_t count = n.n * 8;

	for (unsigned char top = n.n ? (unsigned char)*n.p : 0x80; !(top & 0x80); top <<= 1)
		count--;
	return count;
}

static void
key_set(struct identity *id, const struct private_key *k)
{
	const struct span *p = k->parts;

	id->type = k->kind == KEY_EC ? BR_KEYTYPE_EC : BR_KEYTYPE_RSA;
	if (k->kind == KEY_EC)
		id->key.ec = (br_ec_private_key){ BR_EC_secp256r1, bytes(k->x), k->x.n };
	else
		id->key.rsa = (br_rsa_private_key){ bits(k->n), bytes(p[0]), p[0].n, bytes(p[1]), p[1].n, bytes(p[2]), p[2].n,
		    bytes(p[3]), p[3].n, bytes(p[4]), p[4].n };
}

/* From the server's own to the one before the root, each issued by the next, in whatever order the file has them. */
static void
chain_set(struct identity *id, const struct found *f)
{
	const struct certificate *c = &id->leaf;

	id->chain_n = 0;
	while (c && id->chain_n < CHAIN_MAX) {
		const struct certificate *issuer = NULL;

		id->chain[id->chain_n++] = (br_x509_certificate){ bytes(c->der), c->der.n };
		for (unsigned i = 0; i < f->n && !issuer; i++)
			if (span_eq(f->all[i].subject, c->issuer) && !span_eq(f->all[i].subject, f->all[i].issuer))
				issuer = &f->all[i];
		c = issuer;
	}
}

/* Why these cannot be used; NULL, and id is set. */
static const char *
assemble(struct identity *id, const struct found *f)
{
	const struct certificate *leaf = f->all;

	if (!f->n)
		return "there is no certificate in it";
	if (!f->key.kind)
		return f->locked ? "the key is encrypted" : "there is no key for it: 'certificate FILE KEY' says where";
	if (f->key.kind == KEY_EC && (f->key.x.n != 32 || (f->key.curve.n && !span_eq(f->key.curve, oid_p256))))
		return "the key is on a curve other than P-256";
	if (f->key.kind == KEY_RSA && (bits(f->key.n) > 4096 || bits(f->key.n) < 1024))
		return "an RSA key has 1024 to 4096 bits";
	while (!key_fits(&f->key, &leaf->key))
		if (++leaf == f->all + f->n)
			return "key and certificate do not belong together";
	id->leaf = *leaf;
	key_set(id, &f->key);
	chain_set(id, f);
	return NULL;
}

static const char *
expired(const struct identity *id)
{
	static char text[48] = "it expired on ";

	if (id->leaf.until >= wall)
		return NULL;
	date_format(text + 14, id->leaf.until);
	return text;
}

/* Both texts lie in the mapping.  NULL with a reason, and the mapping is gone. */
static struct identity *
identity_from(struct identity *id, struct span certificates, struct span key, const char **why)
{
	struct found f;

	f.n = 0;
	f.key.kind = KEY_NONE;
	f.locked = false;
	take_text(&f, key);             /* first: it is what was named */
	take_text(&f, certificates);
	*why = assemble(id, &f);
	if (!*why)
		return id;
	identity_free(id);
	return NULL;
}

static struct identity *
identity_new(size_t n)
{
	size_t size = sizeof (struct identity) + n;
	struct identity *id = call_map(size, 0);

	if (!id)
		return NULL;
	id->size = size;
	return id;
}

void
identity_free(struct identity *id)
{
	memset(id->text, 0, id->size - sizeof *id);
	call_munmap(id, id->size);
}

struct identity *
identity_of(struct span certificates, struct span key, const char **why)
{
	struct identity *id = identity_new(certificates.n + key.n);

	*why = "no memory";
	if (!id)
		return NULL;
	memcpy(id->text, certificates.p, certificates.n);
	memcpy(id->text + certificates.n, key.p, key.n);
	return identity_from(id, (struct span){ id->text, certificates.n },
	    (struct span){ id->text + certificates.n, key.n }, why);
}

/* What a file looks like from outside.  A file that was changed within these seconds may change again without showing. */
static struct stamp
stamp_of(const struct stat *st)
{
	struct stamp s = { st->st_ino, (uint64_t)st->st_size, st->st_ctim.tv_sec, st->st_ctim.tv_nsec };

	if (s.s + SETTLED >= wall && s.s <= wall)
		s.ns = -1;
	return s;
}

static struct stamp
stamp_now(const char *path)
{
	struct stat st;

	return path && call_stat(AT_FDCWD, path, 0, &st) == 0 ? stamp_of(&st) : (struct stamp){ 0, 0, 0, 0 };
}

static bool
stamp_same(const struct stamp *a, const struct stamp *b)
{
	return a->ino == b->ino && a->size == b->size && a->s == b->s && a->ns == b->ns && a->ns >= 0;
}

/* A descriptor, its size in *size; -1 with a reason.  Nothing that is no file, or too long for one of these. */
static int
open_file(const char *path, size_t *size, const char **why)
{
	int fd = call_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	struct stat st;

	*why = NULL;
	if (fd < 0 || call_stat(fd, NULL, 0, &st) < 0)
		*why = error_text(errno);
	else if (!S_ISREG(st.st_mode))
		*why = "it is no file";
	else if (st.st_size > FILE_MOST)
		*why = "it is too long for a certificate";
	else
		*size = (size_t)st.st_size;
	if (!*why)
		return fd;
	if (fd >= 0)
		call_close(fd);
	return -1;
}

static struct span
read_file(int fd, char *to, size_t size)
{
	ssize_t n = call_read(fd, to, size);

	return (struct span){ to, n > 0 ? (unsigned)n : 0 };
}

struct identity *
identity_load(const char *file, const char *key, const char **why)
{
	size_t size[2] = { 0, 0 };
	int fd[2] = { open_file(file, &size[0], why), -1 };
	struct identity *id = NULL;
	struct span text[2];

	if (!*why && key)
		fd[1] = open_file(key, &size[1], why);
	if (!*why && !(id = identity_new(size[0] + size[1])))
		*why = "no memory";
	for (unsigned i = 0; i < 2; i++) {
		text[i] = id && fd[i] >= 0 ? read_file(fd[i], id->text + i * size[0], size[i]) : SPAN("");
		if (fd[i] >= 0)
			call_close(fd[i]);
	}
	return id ? identity_from(id, text[0], text[1], why) : NULL;
}

void
fingerprint(struct buf *b, struct span der)
{
	unsigned char hash[32];

	sha256_sum(hash, der.p, der.n);
	for (unsigned i = 0; i < sizeof hash; i++) {
		if (i)
			buf_char(b, ':');
		buf_char(b, "0123456789ABCDEF"[hash[i] >> 4]);
		buf_char(b, "0123456789ABCDEF"[hash[i] & 15]);
	}
}

/* -- the lines of a configuration ---------------------------------------------------------------------------- */

/* A handshake may still be at it. */
static void
retire(struct identity *id)
{
	if (!id)
		return;
	id->retired = now;
	id->next = retired;
	retired = id;
}

static void
free_retired(void)
{
	struct identity **at = &retired, *id;

	while ((id = *at)) {
		if (id->retired + conf->timeout[T_HEAD] + 1000 > now) {
			at = &id->next;
			continue;
		}
		*at = id->next;
		identity_free(id);
	}
}

/* Good, and not expired; else NULL with a reason. */
static struct identity *
load(const struct credential *c, const char **why)
{
	struct identity *id = identity_load(c->file, c->key, why);

	if (!id || !(*why = expired(id)))
		return id;
	identity_free(id);
	return NULL;
}

static bool
usable(const struct identity *id)
{
	return id && id->leaf.until >= wall;
}

/* Once for each fault. */
static void
tell(struct credential *c, const char *why)
{
	if (c->told)
		return;
	log_line(LOG_ERROR, "certificate %s%s%s: %s; %s", c->file, c->key ? " " : "", c->key ? c->key : "", why,
	    usable(c->identity) ? "the last good one stays in use" : "the server's own takes its place");
	c->told = true;
}

/* Read it, and tell what is wrong.  A pair of files that is being replaced is wrong for a moment: that is not told before
 * it has settled. */
static void
refresh(struct credential *c, bool patient)
{
	const char *why;
	struct identity *id;

	c->seen[0] = stamp_now(c->file);
	c->seen[1] = stamp_now(c->key);
	id = load(c, &why);
	if (id) {
		retire(c->identity);
		c->identity = id;
		c->told = false;
	} else if (!patient || (c->seen[0].ns >= 0 && c->seen[1].ns >= 0)) {
		tell(c, why);
	}
}

/* Is there a line whose certificate cannot be used, or none at all? */
static bool
own_wanted(const struct conf *cf)
{
	bool any = false;

	for (const struct host *h = cf->hosts; h; h = h->next) {
		for (const struct credential *c = h->credentials; c; c = c->next) {
			if (!usable(c->identity))
				return true;
			any = true;
		}
	}
	return !any;
}

static void
own_open(const struct conf *cf)
{
	struct identity *id = selfmade_open(cf->state ? cf->state : STATE_DIR, cf, own);

	if (!id)
		return;
	retire(own);
	own = id;
}

/* The same files in another configuration, which has not been asked for them yet. */
static struct credential *
find_same(const struct conf *cf, const struct credential *as)
{
	for (const struct host *h = cf ? cf->hosts : NULL; h; h = h->next)
		for (struct credential *c = h->credentials; c; c = c->next)
			if (c->identity && !strcmp(c->file, as->file) && !strcmp(c->key ? c->key : "", as->key ? as->key : ""))
				return c;
	return NULL;
}

static void
open_one(struct credential *c, const struct conf *old)
{
	struct credential *same = find_same(old, c);

	if (same) {
		c->identity = same->identity;
		same->identity = NULL;
	}
	refresh(c, false);
}

/* Does anybody listen who shows one? */
static bool
used(const struct conf *cf)
{
	for (unsigned i = 0; i < cf->nlisten; i++)
		if (cf->listen[i].flags & LISTEN_TLS)
			return true;
	return false;
}

void
certificates_open(struct conf *cf, const struct conf *old)
{
	certificates_due = used(cf) ? now + CHECK_EVERY : INT64_MAX;
	if (!used(cf))
		return;
	for (struct host *h = cf->hosts; h; h = h->next)
		for (struct credential *c = h->credentials; c; c = c->next)
			open_one(c, old);
	if (own_wanted(cf))
		own_open(cf);
}

void
certificates_close(struct conf *cf)
{
	for (struct host *h = cf->hosts; h; h = h->next) {
		for (struct credential *c = h->credentials; c; c = c->next) {
			retire(c->identity);
			c->identity = NULL;
		}
	}
}

/* Our own is made when it is wanted, and again when its time is nearly over. */
void
certificates_check(void)
{
	certificates_due = now + CHECK_EVERY;
	for (struct host *h = conf->hosts; h; h = h->next) {
		for (struct credential *c = h->credentials; c; c = c->next) {
			struct stamp s[2] = { stamp_now(c->file), stamp_now(c->key) };

			if (!stamp_same(&s[0], &c->seen[0]) || (c->key && !stamp_same(&s[1], &c->seen[1])))
				refresh(c, true);
			if (c->identity && !usable(c->identity))
				tell(c, expired(c->identity));
		}
	}
	if (own_wanted(conf) && (!own || selfmade_stale(own)))
		own_open(conf);
	free_retired();
}

void
certificate_warn(const struct credential *c, struct buf *to)
{
	const char *why;
	struct identity *id = load(c, &why);

	if (id)
		identity_free(id);
	else
		buf_print(to, "warning: certificate %s%s%s: %s\n", c->file, c->key ? " " : "", c->key ? c->key : "", why);
}

/* -- choosing ---------------------------------------------------------------------------------------------------- */

/* What the client can check comes first, then what stands in the block of its host, then what speaks for the name. */
static unsigned
score(const struct identity *id, bool host, struct span name, int types)
{
	if (!usable(id))
		return 0;
	return 1 + (id->type & types ? 8 : 0) + (host ? 4 : 0) + (certificate_is_for(&id->leaf, name) ? 2 : 0);
}

/* Of those that are equally good the first, in the order of the configuration. */
const struct identity *
certificate_for(struct span name, int types)
{
	const struct host *host = host_find(name);
	const struct identity *best = own;
	unsigned most = own ? score(own, false, name, types) : 0, points;

	for (const struct host *h = conf->hosts; h; h = h->next) {
		for (const struct credential *c = h->credentials; c; c = c->next) {
			points = score(c->identity, h == host && h != conf->hosts, name, types);
			if (points > most || (points == most && best == own && points)) {
				most = points;
				best = c->identity;
			}
		}
	}
	return best;
}
