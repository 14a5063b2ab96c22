/* cert.c - certificates and keys: read with the configuration, chosen by name and kind */
#include "cert.h"

#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { PEM_MOST = 65536, CHAIN_MOST = 8, OBJECT_MOST = 8192 };

struct objects {                        /* of one or two files */
	struct reader *r;
	br_x509_certificate chain[CHAIN_MOST];
	unsigned chain_n;
	unsigned char key[OBJECT_MOST];
	unsigned key_n;
	unsigned char now[OBJECT_MOST];         /* the object being read */
	unsigned now_n;
	bool bad;
};

/* A certificate that cannot be used is told and passed over: nobody is to be locked out by one. */
static bool
refuse(const char *path, const char *why)
{
	log_line(LOG_ERROR, "%s: %s", path, why);
	return false;
}

static void
object_bytes(void *to, const void *p, size_t n)
{
	struct objects *o = to;

	if (n > sizeof o->now - o->now_n) {
		o->bad = true;
		return;
	}
	memcpy(o->now + o->now_n, p, n);
	o->now_n += n;
}

static void
object_end(struct objects *o, const char *name)
{
	if (!strcmp(name, "CERTIFICATE") && o->chain_n < CHAIN_MOST) {
		unsigned char *p = keep(o->r, o->now_n);

		memcpy(p, o->now, o->now_n);
		o->chain[o->chain_n++] = (br_x509_certificate){ p, o->now_n };
	} else if (strstr(name, "PRIVATE KEY")) {
		memcpy(o->key, o->now, o->now_n);
		o->key_n = o->now_n;
	}
	o->now_n = 0;
}

static void
decode(struct objects *o, const char *p, size_t n)
{
	br_pem_decoder_context pem;

	br_pem_decoder_init(&pem);
	while (n) {
		size_t k = br_pem_decoder_push(&pem, p, n);

		p += k;
		n -= k;
		switch (br_pem_decoder_event(&pem)) {
		case BR_PEM_BEGIN_OBJ:
			o->now_n = 0;
			br_pem_decoder_setdest(&pem, object_bytes, o);
			break;
		case BR_PEM_END_OBJ:
			object_end(o, br_pem_decoder_name(&pem));
			break;
		case BR_PEM_ERROR:
			o->bad = true;
			return;
		}
	}
}

static bool
read_file(struct reader *r, struct objects *o, const char *path)
{
	char *text = scratch(r, PEM_MOST + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, PEM_MOST);

	if (fd >= 0)
		close(fd);
	if (n < 0)
		return refuse(path, strerror(errno));
	text[n] = '\n';
	decode(o, text, n + 1);
	return !o->bad || refuse(path, "this is no certificate or key in PEM");
}

static void *
copied(struct reader *r, const void *p, size_t n)
{
	return memcpy(keep(r, n), p, n);
}

static bool
take_key(struct reader *r, const struct objects *o, struct identity *id)
{
	static br_skey_decoder_context key;
	const br_ec_private_key *ec;
	const br_rsa_private_key *rsa;

	br_skey_decoder_init(&key);
	br_skey_decoder_push(&key, o->key, o->key_n);
	id->type = br_skey_decoder_key_type(&key);
	if ((ec = br_skey_decoder_get_ec(&key))) {
		id->key.ec = *ec;
		id->key.ec.x = copied(r, ec->x, ec->xlen);
	} else if ((rsa = br_skey_decoder_get_rsa(&key))) {
		id->key.rsa = *rsa;
		id->key.rsa.p = copied(r, rsa->p, rsa->plen);
		id->key.rsa.q = copied(r, rsa->q, rsa->qlen);
		id->key.rsa.dp = copied(r, rsa->dp, rsa->dplen);
		id->key.rsa.dq = copied(r, rsa->dq, rsa->dqlen);
		id->key.rsa.iq = copied(r, rsa->iq, rsa->iqlen);
	}
	return id->type || refuse(id->key_file ? id->key_file : id->file, "there is no key that can be used");
}

void
certificate_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	struct identity *id = keep(r, sizeof *id), **end;
	struct objects *o = scratch(r, sizeof *o);

	(void)w;
	o->r = r;
	id->file = keep_text(r, arg[0]);
	id->key_file = n > 1 ? keep_text(r, arg[1]) : NULL;
	for (end = &r->host->identities; *end; end = &(*end)->next)
		;
	*end = id;
	if (!read_file(r, o, id->file) || (id->key_file && !read_file(r, o, id->key_file)) || !take_key(r, o, id))
		return;
	if (!o->chain_n) {
		id->type = 0;
		refuse(id->file, "there is no certificate in it");
		return;
	}
	id->chain = copied(r, o->chain, o->chain_n * sizeof *o->chain);
	id->chain_n = o->chain_n;
}

bool
certificate_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct identity *id = ((const struct host *)from)->identities;

	(void)w;
	while (id && i--)
		id = id->next;
	if (!id)
		return false;
	text_show(b, span_of(id->file));
	if (id->key_file)
		text_show(b, span_of(id->key_file));
	return true;
}

const struct identity *
certificate_for(struct span name, int types)
{
	for (const struct host *host = host_find(name);; host = conf->hosts) {
		for (const struct identity *id = host->identities; id; id = id->next)
			if (id->type & types)
				return id;
		if (host == conf->hosts)
			return NULL;
	}
}
