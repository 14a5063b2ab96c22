/* variables.c - the variables of RFC 3875 and what has become usual beside them
 *
 * One table names them; the dialects differ in how a pair is written.  Fields of the request follow as HTTP_*: not
 * Proxy (it would be HTTP_PROXY, which programs take for their own proxy), and none whose name has a byte beside
 * letters, digits and "-", because "_" would pass for "-" there.
 */
#include "auth.h"
#include "gateway.h"
#include "tls.h"

#include <arpa/inet.h>
#include <string.h>

enum variable {
	V_GATEWAY, V_SOFTWARE, V_SCHEME, V_HTTPS, V_ROOT, V_ADDR, V_PORT, V_PROTOCOL, V_REDIRECT, /* of the server */
	V_REMOTE, V_REMOTE_PORT,                                                                /* of the client */
	V_METHOD, V_URI, V_QUERY, V_SCRIPT, V_FILE, V_INFO, V_TRANSLATED, V_SERVER, V_TYPE,     /* of the request */
	V_USER, V_AUTH, V_LOGIN, V_PASSWORD,                                                    /* of who may ask */
	V_TLS, V_CIPHER, V_CLIENT_VERIFY, V_CLIENT_NAME, V_CLIENT_FINGERPRINT,                  /* of this very connection */
	VARIABLES
};

static const enum variable V_CLIENT = V_REMOTE, V_REQUEST = V_METHOD;   /* where the next kind begins */

static const struct span names[VARIABLES] = {
	[V_GATEWAY] = SPAN("GATEWAY_INTERFACE"), [V_SOFTWARE] = SPAN("SERVER_SOFTWARE"),
	[V_PROTOCOL] = SPAN("SERVER_PROTOCOL"), [V_METHOD] = SPAN("REQUEST_METHOD"), [V_URI] = SPAN("REQUEST_URI"),
	[V_QUERY] = SPAN("QUERY_STRING"), [V_SCRIPT] = SPAN("SCRIPT_NAME"), [V_FILE] = SPAN("SCRIPT_FILENAME"),
	[V_INFO] = SPAN("PATH_INFO"), [V_TRANSLATED] = SPAN("PATH_TRANSLATED"), [V_ROOT] = SPAN("DOCUMENT_ROOT"),
	[V_SCHEME] = SPAN("REQUEST_SCHEME"), [V_SERVER] = SPAN("SERVER_NAME"), [V_ADDR] = SPAN("SERVER_ADDR"),
	[V_PORT] = SPAN("SERVER_PORT"), [V_REMOTE] = SPAN("REMOTE_ADDR"), [V_REMOTE_PORT] = SPAN("REMOTE_PORT"),
	[V_REDIRECT] = SPAN("REDIRECT_STATUS"), [V_TYPE] = SPAN("CONTENT_TYPE"),
	[V_HTTPS] = SPAN("HTTPS"), [V_TLS] = SPAN("SSL_PROTOCOL"), [V_CIPHER] = SPAN("SSL_CIPHER"),
	[V_CLIENT_VERIFY] = SPAN("SSL_CLIENT_VERIFY"), [V_CLIENT_NAME] = SPAN("SSL_CLIENT_S_DN"),
	[V_CLIENT_FINGERPRINT] = SPAN("SSL_CLIENT_FINGERPRINT"),
	[V_USER] = SPAN("REMOTE_USER"), [V_AUTH] = SPAN("AUTH_TYPE"),
	[V_LOGIN] = SPAN("HTTP_AUTH_USER"), [V_PASSWORD] = SPAN("HTTP_AUTH_PASS"),
};

static struct span
ip_text(const struct from *f, char *store, size_t size)
{
	struct buf b = { store, 0, 0, size, false };

	if (f->family == AF_INET || f->family == AF_INET6)
		from_print(&b, f);
	return (struct span){ store, b.w };
}

/* The password that was right, for programs that are to see it. */
static struct span
password_text(const struct conn *c, const struct request *r)
{
	static char store[USER_MOST + PASSWORD_MOST + 4];
	struct buf b = { store, 0, 0, sizeof store, false };
	struct span user, password = { NULL, 0 };

	if (CONFIG_AUTH && c->credentials)
		auth_basic(r->known[F_AUTHORIZATION], &b, &user, &password);
	return password;
}

static struct span
number_text(unsigned n, char *store, size_t size)
{
	struct buf b = { store, 0, 0, size, false };

	buf_uint(&b, n);
	return (struct span){ store, b.w };
}

/* What the client's certificate has proved. */
static struct span
proof_value(enum variable v, const struct conn *c, char store[64])
{
	uint16_t proof = tls_proof(c->client.tls);

	return v == V_CLIENT_VERIFY ? proof_state(proof) : v == V_CLIENT_NAME ? proof_name(proof) :
	    proof_fingerprint(proof, store);
}

/* The value, p NULL when the variable is not to be set; store is room for one that has to be made. */
static struct span
value_of(enum variable v, struct conn *c, const struct request *r, const struct script *s, char *store, size_t size)
{
	switch (v) {
	case V_GATEWAY:
		return SPAN("CGI/1.1");
	case V_SOFTWARE:
		return SPAN("cubhttpd/" VERSION);
	case V_PROTOCOL:
		return r->minor ? SPAN("HTTP/1.1") : SPAN("HTTP/1.0");
	case V_METHOD:
		return r->name;
	case V_URI:
		return r->target;
	case V_QUERY:
		return r->query.p ? r->query : SPAN("");
	case V_SCRIPT:
		return s->name;
	case V_FILE:
		return s->file;
	case V_INFO:
		return s->info;
	case V_TRANSLATED:
		return s->translated;
	case V_ROOT:
		return span_of(c->route->remote ? c->route->remote : c->host->root.path);
	case V_SCHEME:
		return c->secure ? SPAN("https") : SPAN("http");
	case V_HTTPS:
		return c->secure ? SPAN("on") : (struct span){ NULL, 0 };
	case V_SERVER:
		return r->host.n ? r->host : ip_text(conn_local(c), store, size);
	case V_ADDR:
		return ip_text(conn_local(c), store, size);
	case V_PORT:
		return number_text(ntohs(conn_local(c)->port), store, size);
	case V_REMOTE:
		return ip_text(&c->from, store, size);
	case V_REMOTE_PORT:
		return number_text(ntohs(c->from.port), store, size);
	case V_CLIENT_VERIFY:
	case V_CLIENT_NAME:
	case V_CLIENT_FINGERPRINT:
		return CONFIG_VERIFY && c->client.tls && c->conf->client_ca ? proof_value(v, c, store) :
		    (struct span){ NULL, 0 };
	case V_REDIRECT:
		return c->errors ? number_text(c->status, store, size) : SPAN("200");
	case V_TYPE:
		return r->known[F_CONTENT_TYPE];
	case V_USER:
		return (struct span){ c->lent->user, c->lent->user_n };
	case V_AUTH:
		return SPAN("Basic");
	case V_LOGIN:
		return (struct span){ c->credentials ? c->lent->user : NULL, c->lent->user_n };
	case V_PASSWORD:
		return password_text(c, r);
	case V_TLS:
		return CONFIG_TLS ? tls_protocol(c->client.tls) : SPAN("");
	case V_CIPHER:
		return CONFIG_TLS ? tls_cipher(c->client.tls) : SPAN("");
	case VARIABLES:
		break;
	}
	return (struct span){ NULL, 0 };
}

static struct span
field_name(const struct request *r, const struct field *f)
{
	return (struct span){ r->head + f->name, f->name_n };
}

/* The target's authority goes before Host (RFC 9112 3.2.2), and the parser has put it there. */
static struct span
field_value(const struct request *r, const struct field *f)
{
	if (f->id == F_HOST)
		return r->known[F_HOST];
	return (struct span){ r->head + f->value, f->value_n };
}

/* Not for programs: what could be taken for something else, what has a variable of its own, the framing, which is
 * undone before they see the body, and the password, unless a line says so. */
static bool
withheld(const struct conn *c, enum field_id id)
{
	return id == F_PROXY || id == F_CONTENT_TYPE || id == F_CONTENT_LENGTH || id == F_TRANSFER_ENCODING ||
	    id == F_TRAILER || (id == F_AUTHORIZATION && !c->credentials);
}

/* What the server says of a password that it has checked: no client says that. */
static bool
is_ours(struct span name)
{
	return name.n == 9 && (span_eq_nocase(name, SPAN("Auth-User")) || span_eq_nocase(name, SPAN("Auth-Pass")));
}

/* Letters become capitals, hyphens underscores: 0x20 goes, and what then lacks 0x40 was a hyphen and gets 0x52. */
static void
shout(char *p, unsigned n)
{
	const uint64_t ones = ~(uint64_t)0 / 255;

	for (unsigned i = 0; i < n; i += 8) {
		uint64_t x = load8(p + i), hyphens = ~x & ones * 0x40;

		x = (x & ~(ones * 0x20)) | hyphens | hyphens >> 2 | hyphens >> 5;
		memcpy(p + i, &x, sizeof x);
	}
}

/* The same with digits among them; false when there is anything else. */
static bool
shout_each(char *p, unsigned n)
{
	for (; n; n--, p++) {
		char ch = lower(*p);

		if (ch >= 'a' && ch <= 'z')
			*p = ch - ('a' - 'A');
		else if (ch == '-')
			*p = '_';
		else if (ch < '0' || ch > '9')
			return false;
	}
	return true;
}

/* HTTP_ACCEPT_LANGUAGE for Accept-Language; the empty span for a field that programs must not see. */
static struct span
variable_name(const struct conn *c, const struct request *r, const struct field *f, char store[136])
{
	static const char prefix[8] = "   HTTP_";
	struct span name = field_name(r, f);

	if (withheld(c, f->id) || is_ours(name) || name.n > 120)
		return SPAN("");
	memcpy(store, prefix, 8);
	copy(store + 8, name.p, name.n);
	if (f->plain)
		shout(store + 8, name.n);
	else if (!shout_each(store + 8, name.n))
		return SPAN("");
	return (struct span){ store + 3, name.n + 5 };
}

/* What names that are the same have in common, as one of 64 bits. */
static uint64_t
mark(const struct field *f)
{
	return (uint64_t)1 << ((f->name_n + f->id) & 63);
}

/* The marks that come more than once: only a field with one of these may have been sent several times. */
static uint64_t
repeated(const struct request *r)
{
	uint64_t once = 0, again = 0;

	for (unsigned i = 0; i < r->nfields; i++) {
		again |= once & mark(&r->fields[i]);
		once |= mark(&r->fields[i]);
	}
	return again;
}

static bool
same_name(const struct request *r, const struct field *a, const struct field *b)
{
	return a->name_n == b->name_n && a->id == b->id && span_eq_nocase(field_name(r, a), field_name(r, b));
}

/* Field i; when it was sent several times the first one carries all values (RFC 3875 4.1.18), cookies by "; ". */
static struct span
joined(const struct request *r, unsigned i)
{
	static char store[CLIENT_IN];
	struct buf b = { store, 0, 0, sizeof store, false };
	const struct field *f = &r->fields[i];
	const char *separator = span_eq_nocase(field_name(r, f), SPAN("Cookie")) ? "; " : ", ";

	for (unsigned k = 0; k < i; k++)
		if (same_name(r, f, &r->fields[k]))
			return (struct span){ NULL, 0 };
	buf_span(&b, field_value(r, f));
	for (unsigned k = i + 1; k < r->nfields; k++) {
		if (!same_name(r, f, &r->fields[k]))
			continue;
		buf_text(&b, separator);
		buf_span(&b, field_value(r, &r->fields[k]));
	}
	return (struct span){ store, b.w };
}

typedef void put_variable(struct buf *, struct span name, struct span value);

static bool
env_in(const struct env *env, struct span name)
{
	while (env && !span_eq(env->name, name))
		env = env->next;
	return env;
}

bool
env_has(const struct conn *c, struct span name)
{
	return env_in(c->host->env, name) || env_in(c->conf->hosts->env, name);
}

static void
put_env(const struct conn *c, struct buf *to, put_variable *put)
{
	const struct env *first = c->conf->hosts->env;

	for (const struct env *env = c->host->env; env; env = env->next)
		put(to, env->name, env->value);
	for (const struct env *env = first; env && c->host != c->conf->hosts; env = env->next)
		if (!env_in(c->host->env, env->name))
			put(to, env->name, env->value);
}

static void
put_range(struct conn *c, const struct request *r, const struct script *s, struct buf *to, put_variable *put,
    enum variable from, enum variable end)
{
	bool env = c->host->env || c->conf->hosts->env;
	char store[128];

	for (enum variable v = from; v < end; v++) {
		struct span value = value_of(v, c, r, s, store, sizeof store);

		if (value.p && !(env && env_has(c, names[v])))
			put(to, names[v], value);
	}
	if (env && !from)
		put_env(c, to, put);
}

/* Variables that are the same for many requests are kept as they were last written, with what they were made from. */
struct key {                            /* compared as bytes: no padding */
	const struct rule *route;
	const struct host *host;
	put_variable *put;
	struct from from;
	uint16_t status;
	bool minor, secure;
};

_Static_assert(sizeof (struct key) == 3 * sizeof (void *) + sizeof (struct from) + 4, "struct key has padding");

static struct kept { struct key key; unsigned n; char text[1024]; } of_server, of_client;

void
cgi_flush(void)
{
	of_server.n = of_client.n = 0;
}

static struct span
as_bytes(const struct key *k)
{
	return (struct span){ (const char *)k, sizeof *k };
}

static void
put_kept(struct kept *k, const struct key *key, struct conn *c, const struct request *r, struct buf *to,
    enum variable from, enum variable end)
{
	struct buf b = { k->text, 0, 0, sizeof k->text, false };

	if (!k->n || !span_eq(as_bytes(&k->key), as_bytes(key))) {
		k->key = *key;
		put_range(c, r, NULL, &b, key->put, from, end);
		k->n = b.bad ? 0 : b.w;
	}
	if (k->n)
		buf_mem(to, k->text, k->n);
	else
		put_range(c, r, NULL, to, key->put, from, end);
}

static void
put_constant(struct conn *c, const struct request *r, struct buf *to, put_variable *put)
{
	const struct key server = { c->route, c->host, put, *conn_local(c), c->errors ? c->status : 0, r->minor, c->secure };
	const struct key client = { NULL, NULL, put, c->from, 0, 0, 0 };

	put_kept(&of_server, &server, c, r, to, 0, V_CLIENT);
	put_kept(&of_client, &client, c, r, to, V_CLIENT, V_REQUEST);
}

void
cgi_variables(struct conn *c, const struct request *r, const struct script *s, struct buf *to, put_variable *put)
{
	uint64_t again = repeated(r);
	char store[136];

	put_constant(c, r, to, put);
	put_range(c, r, s, to, put, V_REQUEST, c->lent->user_n ? V_TLS : V_USER);
	if (CONFIG_TLS && c->client.tls)
		put_range(c, r, s, to, put, V_TLS, VARIABLES);
	for (unsigned i = 0; i < r->nfields; i++) {
		const struct field *f = &r->fields[i];
		struct span name = variable_name(c, r, f, store), value;

		if (!name.n)
			continue;
		value = again & mark(f) ? joined(r, i) : field_value(r, f);
		if (value.p)
			put(to, name, value);
	}
}
