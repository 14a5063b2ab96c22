/* variables.c - the variables of RFC 3875 and what has become usual beside them
 *
 *   kept: of the server | kept: of the client | of this request | HTTP_* of its fields      each pair in the form of
 *                                                                                           the dialect
 *
 * One table names them.  Fields of the request follow as HTTP_*: not Proxy (it would be HTTP_PROXY, which programs take
 * for their own proxy), and none whose name has a byte beside letters, digits and "-", because "_" would pass for "-"
 * there.
 *
 * Most of a request to a backend is written here.  So the room is looked at once for each pair, and texts are copied by
 * sixteen bytes: whatever a request or a script points at has SLACK behind it, and so has the buffer.
 */
#include "auth.h"
#include "gateway.h"
#include "tls.h"

#include <string.h>

enum variable {
	V_GATEWAY, V_SOFTWARE, V_SCHEME, V_HTTPS, V_ROOT, V_ADDR, V_PORT, V_PROTOCOL, V_REDIRECT, /* of the server */
	V_REMOTE, V_REMOTE_PORT,                                                                /* of the client */
	V_METHOD, V_URI, V_QUERY, V_SCRIPT, V_FILE, V_INFO, V_TRANSLATED, V_SERVER, V_TYPE,     /* of the request */
	V_USER, V_AUTH, V_LOGIN, V_PASSWORD,                                                    /* of who may ask */
	V_TLS, V_CIPHER, V_CLIENT_VERIFY, V_CLIENT_NAME, V_CLIENT_FINGERPRINT,                  /* of this very connection */
	VARIABLES
};

#define NAME(literal) { sizeof (literal) - 1, literal }

static const struct name { unsigned char n; char text[23]; } names[VARIABLES] = {
	[V_GATEWAY] = NAME("GATEWAY_INTERFACE"), [V_SOFTWARE] = NAME("SERVER_SOFTWARE"),
	[V_PROTOCOL] = NAME("SERVER_PROTOCOL"), [V_METHOD] = NAME("REQUEST_METHOD"), [V_URI] = NAME("REQUEST_URI"),
	[V_QUERY] = NAME("QUERY_STRING"), [V_SCRIPT] = NAME("SCRIPT_NAME"), [V_FILE] = NAME("SCRIPT_FILENAME"),
	[V_INFO] = NAME("PATH_INFO"), [V_TRANSLATED] = NAME("PATH_TRANSLATED"), [V_ROOT] = NAME("DOCUMENT_ROOT"),
	[V_SCHEME] = NAME("REQUEST_SCHEME"), [V_SERVER] = NAME("SERVER_NAME"), [V_ADDR] = NAME("SERVER_ADDR"),
	[V_PORT] = NAME("SERVER_PORT"), [V_REMOTE] = NAME("REMOTE_ADDR"), [V_REMOTE_PORT] = NAME("REMOTE_PORT"),
	[V_REDIRECT] = NAME("REDIRECT_STATUS"), [V_TYPE] = NAME("CONTENT_TYPE"),
	[V_HTTPS] = NAME("HTTPS"), [V_TLS] = NAME("SSL_PROTOCOL"), [V_CIPHER] = NAME("SSL_CIPHER"),
	[V_CLIENT_VERIFY] = NAME("SSL_CLIENT_VERIFY"), [V_CLIENT_NAME] = NAME("SSL_CLIENT_S_DN"),
	[V_CLIENT_FINGERPRINT] = NAME("SSL_CLIENT_FINGERPRINT"),
	[V_USER] = NAME("REMOTE_USER"), [V_AUTH] = NAME("AUTH_TYPE"),
	[V_LOGIN] = NAME("HTTP_AUTH_USER"), [V_PASSWORD] = NAME("HTTP_AUTH_PASS"),
};

static inline struct span
name_of(enum variable v)
{
	return (struct span){ names[v].text, names[v].n };
}

struct env_words env_words;

/* -- pairs ------------------------------------------------------------------------------------------------ */

static __attribute__((noinline)) char *
put_size(char *at, unsigned n)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		*at++ = n >> shift;
	at[-4] |= (char)0x80;
	return at;
}

/* What stands before a pair. */
static INLINE char *
put_front(char *at, enum pairs form, unsigned name, unsigned value)
{
	if (form == PAIRS_SIZED) {
		if ((name | value) >= 128)
			return put_size(put_size(at, name), value);
		*at++ = name;
		*at++ = value;
	} else if (form == PAIRS_WORDS) {
		*env_words.next = at;
		env_words.next += env_words.next < env_words.last;
	}
	return at;
}

/* What stands behind name and value: nothing, where their sizes tell. */
#define MARK(form) ((form) == PAIRS_WORDS ? '=' : '\0')
#define MARK_SIZE(form) ((form) != PAIRS_SIZED)

enum { AROUND = 8 + 2 };                /* the most that is put around a name and a value */

void
put_pair(struct buf *to, enum pairs form, struct span name, struct span value)
{
	char *from = to->data + to->w, *at;

	if (name.n + value.n + AROUND > buf_room(to) || to->bad) {
		to->bad = true;
		return;
	}
	at = put_front(from, form, name.n, value.n);
	copy(at, name.p, name.n);
	at += name.n;
	*at = MARK(form);
	at += MARK_SIZE(form);
	copy(at, value.p, value.n);
	at += value.n;
	*at = '\0';
	at += MARK_SIZE(form);
	to->w += at - from;
}

/* -- lines of the configuration ---------------------------------------------------------------------------- */

static bool
env_in(const struct env *env, struct span name)
{
	while (env && !span_eq(env->name, name))
		env = env->next;
	return env;
}

/* It takes the place of ours. */
static bool
env_has(const struct conn *c, struct span name)
{
	return env_in(c->host->env, name) || env_in(c->conf->hosts->env, name);
}

static bool
has_env(const struct conn *c)
{
	return c->host->env || c->conf->hosts->env;
}

void
put_env(const struct host *host, const struct host *all, struct buf *to, enum pairs form)
{
	for (const struct env *env = host->env; env; env = env->next)
		put_pair(to, form, env->name, env->value);
	for (const struct env *env = host == all ? NULL : all->env; env; env = env->next)
		if (!env_in(host->env, env->name))
			put_pair(to, form, env->name, env->value);
	if (form == PAIRS_WORDS && !env_in(host->env, SPAN("PATH")) && !env_in(all->env, SPAN("PATH")))
		put_pair(to, form, SPAN("PATH"), SPAN("/usr/sbin:/usr/bin:/sbin:/bin"));
}

/* -- what seldom changes, and what seldom is there ------------------------------------------------------------ */

static struct span
ip_text(const struct from *f, char *store, size_t size)
{
	struct buf b = buf_on(store, size);

	if (f->family == AF_INET || f->family == AF_INET6)
		from_print(&b, f);
	return (struct span){ store, b.w };
}

/* SERVER_NAME for a client that names no host: our address, in brackets when it is of IPv6 (RFC 3875 4.1.14). */
static APART struct span
own_name(struct conn *c, char *store, size_t size)
{
	const struct from *local = conn_local(c);
	struct span ip = ip_text(local, store + 1, size - 2);

	if (local->family != AF_INET6)
		return ip;
	store[0] = '[';
	store[1 + ip.n] = ']';
	return (struct span){ store, ip.n + 2 };
}

/* The password that was right, for programs that are to see it. */
static struct span
password_text(const struct conn *c, const struct request *r)
{
	static char store[USER_MOST + PASSWORD_MOST + 4];
	struct buf b = buf_on(store, sizeof store);
	struct span user, password = { NULL, 0 };

	if (CONFIG_AUTH && c->credentials)
		auth_basic(r->known[F_AUTHORIZATION], &b, &user, &password);
	return password;
}

static struct span
number_text(uint64_t n, char *store, size_t size)
{
	struct buf b = buf_on(store, size);

	buf_uint(&b, n);
	return (struct span){ store, b.w };
}

void
put_length(struct buf *to, enum pairs form, uint64_t length)
{
	char digits[24];

	put_pair(to, form, SPAN("CONTENT_LENGTH"), number_text(length, digits, sizeof digits));
}

/* A run of the table; a value without p is not to be set. */
static void
put_values(const struct conn *c, struct buf *to, enum pairs form, enum variable v, const struct span *value, unsigned n)
{
	bool env = has_env(c);

	for (const struct span *end = value + n; value < end; value++, v++)
		if (value->p && !(env && env_has(c, name_of(v))))
			put_pair(to, form, name_of(v), *value);
}

static void
put_server(struct conn *c, const struct request *r, struct buf *to, enum pairs form)
{
	char address[64], port[8], status[8];
	const struct from *local = conn_local(c);
	const struct span none = { NULL, 0 }, value[] = {
		[V_GATEWAY] = SPAN("CGI/1.1"),
		[V_SOFTWARE] = SPAN("cubhttpd/" VERSION),
		[V_SCHEME] = c->secure ? SPAN("https") : SPAN("http"),
		[V_HTTPS] = c->secure ? SPAN("on") : none,
		[V_ROOT] = span_of(c->route->remote ? c->route->remote : c->host->root.path),
		[V_ADDR] = ip_text(local, address, sizeof address),
		[V_PORT] = number_text(net16(local->port), port, sizeof port),
		[V_PROTOCOL] = r->minor ? SPAN("HTTP/1.1") : SPAN("HTTP/1.0"),
		[V_REDIRECT] = c->errors ? number_text(c->status, status, sizeof status) : SPAN("200"),
	};

	put_values(c, to, form, 0, value, sizeof value / sizeof *value);
	put_env(c->host, c->conf->hosts, to, form);
}

static void
put_client(const struct conn *c, struct buf *to, enum pairs form)
{
	char address[64], port[8];
	const struct span value[] = {
		ip_text(&c->from, address, sizeof address), number_text(net16(c->from.port), port, sizeof port),
	};

	put_values(c, to, form, V_REMOTE, value, sizeof value / sizeof *value);
}

static __attribute__((noinline)) void
put_user(const struct conn *c, const struct request *r, struct buf *to, enum pairs form)
{
	const struct span none = { NULL, 0 }, user = { c->lent->user, c->lent->user_n };
	const struct span value[] = { user, SPAN("Basic"), c->credentials ? user : none, password_text(c, r) };

	put_values(c, to, form, V_USER, value, sizeof value / sizeof *value);
}

static __attribute__((noinline)) void
put_tls(const struct conn *c, struct buf *to, enum pairs form)
{
	const struct tls *t = c->client.tls;
	uint16_t proof = CONFIG_VERIFY && c->conf->client_ca ? tls_proof(t) : 0;
	bool asked = CONFIG_VERIFY && c->conf->client_ca;
	char store[64];
	const struct span none = { NULL, 0 }, value[] = { tls_protocol(t), tls_cipher(t),
		asked ? proof_state(proof) : none, asked ? proof_name(proof) : none,
		asked ? proof_fingerprint(proof, store) : none };

	put_values(c, to, form, V_TLS, value, sizeof value / sizeof *value);
}

/* Variables that are the same for many requests are kept as they were last written, first those of the server, then those
 * of the client, with what they were made from.  The text of words is not even copied: they are pointed at here. */
enum { KEPT_MOST = 32 };                /* words */

static struct {
	const struct rule *route;
	const struct host *host;
	struct from local, from;
	unsigned kind, server_n, n;     /* bytes; n is 0 when nothing is kept */
	char **server_end, **end;       /* words */
	char *word[KEPT_MOST], text[1536];
} kept;

void
cgi_flush(void)
{
	kept.n = 0;
}

static bool
same_from(const struct from *a, const struct from *b)
{
	const char *p = (const char *)a, *q = (const char *)b;

	_Static_assert(sizeof *a == 20, "struct from has another size");
	return load8(p) == load8(q) && load8(p + 8) == load8(q + 8) && load4(p + 16) == load4(q + 16);
}

/* What is not there as it has to be is made. */
static __attribute__((noinline)) void
keep(struct conn *c, const struct request *r, enum pairs form, unsigned kind, bool server)
{
	struct buf b = { kept.text, 0, kept.server_n, sizeof kept.text, false };
	struct env_words before = env_words;

	env_words = (struct env_words){ kept.server_end, kept.word + KEPT_MOST };
	if (!server) {
		env_words.next = kept.word;
		b.w = 0;
		kept.route = c->route;
		kept.host = c->host;
		kept.local = *conn_local(c);
		kept.kind = kind;
		put_server(c, r, &b, form);
		kept.server_n = b.w;
		kept.server_end = env_words.next;
	}
	kept.from = c->from;
	put_client(c, &b, form);
	kept.n = b.bad || env_words.next == env_words.last ? 0 : b.w;
	kept.end = env_words.next;
	env_words = before;
}

static void
put_constant(struct conn *c, const struct request *r, struct buf *to, enum pairs form)
{
	unsigned status = c->errors ? (unsigned)c->status : 0, kind = status << 8 | form << 2 | c->secure << 1 | r->minor, n;
	bool server = kept.n && kept.route == c->route && kept.host == c->host && kept.kind == kind &&
	    same_from(&kept.local, conn_local(c));

	if (!server || !same_from(&kept.from, &c->from))
		keep(c, r, form, kind, server);
	n = kept.end - kept.word;
	if (!kept.n || (form == PAIRS_WORDS && n > (size_t)(env_words.last - env_words.next))) {
		put_server(c, r, to, form);
		put_client(c, to, form);
	} else if (form == PAIRS_WORDS) {
		copy((char *)env_words.next, (const char *)kept.word, n * sizeof *kept.word);
		env_words.next += n;
	} else {
		buf_mem(to, kept.text, kept.n);
	}
}

/* -- of this request --------------------------------------------------------------------------------------------- */

/* None of these names has more than SLACK bytes. */
static __attribute__((noinline)) void
put_request(struct conn *c, const struct request *r, const struct script *s, struct buf *to, enum pairs form)
{
	char store[64], *at = to->data + to->w, *const last = to->data + to->size - AROUND - 2 * SLACK;
	const struct span value[] = { r->name, r->target, { r->query.n ? r->query.p : r->target.p, r->query.n }, s->name,
		s->file, s->info, s->translated, r->host.n ? r->host : own_name(c, store, sizeof store - SLACK),
		r->known[F_CONTENT_TYPE] }, *v = value;
	const char mark = MARK(form);
	const bool size = MARK_SIZE(form), env = has_env(c);

	_Static_assert(sizeof value / sizeof *value == V_USER - V_METHOD, "a variable has no value");
	for (const struct name *name = names + V_METHOD; name < names + V_USER; name++, v++) {
		if (!v->p || (env && env_has(c, (struct span){ name->text, name->n })))
			continue;
		if (last - at < (int)v->n) {
			to->bad = true;
			return;
		}
		at = put_front(at, form, name->n, v->n);
		memcpy(at, name->text, SLACK);
		at += name->n;
		*at = mark;
		at = copy_loose(at + size, v->p, v->n);
		*at = '\0';
		at += size;
	}
	to->w = (unsigned)(at - to->data);
}

/* -- of its fields ------------------------------------------------------------------------------------------------ */

/* The target's authority goes before Host (RFC 9112 3.2.2), and the parser has put it there. */
static INLINE struct span
field_value(const struct request *r, const struct field *f)
{
	return f->id == F_HOST ? r->known[F_HOST] : value_at(r->head, f);
}

/* Not for programs, as bits: what could be taken for something else, what has a variable of its own, the framing, which
 * is undone before they see the body, and the password, unless a line says so. */
static uint64_t
withheld(const struct conn *c)
{
	return 1ull << F_PROXY | 1ull << F_CONTENT_TYPE | 1ull << F_CONTENT_LENGTH | 1ull << F_TRANSFER_ENCODING |
	    1ull << F_TRAILER | (uint64_t)!c->credentials << F_AUTHORIZATION;
}

/* What the server says of a password that it has checked: no client says that. */
static __attribute__((noinline)) bool
is_ours(struct span name)
{
	return span_eq_nocase(name, SPAN("Auth-User")) || span_eq_nocase(name, SPAN("Auth-Pass"));
}

/* HTTP_ACCEPT_LANGUAGE for Accept-Language, eight letters at a time.  The name has letters and hyphens only: a letter has
 * the bit 0x40, and is a capital without 0x20; a hyphen has no 0x40, and is 0x0d without 0x20, which with 0x52 (0x40, 0x10
 * and 0x02 of it) is an underscore. */
static __attribute__((noinline)) void
put_plain(struct buf *to, enum pairs form, struct span name, struct span value)
{
	const uint64_t ones = ~(uint64_t)0 / 255;
	char *at = to->data + to->w, *end;

	if (name.n + value.n + sizeof "HTTP_" + AROUND + SLACK > buf_room(to)) {
		to->bad = true;
		return;
	}
	at = put_front(at, form, name.n + 5, value.n);
	memcpy(at, "HTTP_   ", 8);
	at += 5;
	end = at + name.n;
	do {
		uint64_t x = load8(name.p), hyphens = ~x & ones * 0x40;

		x = (x & ~(ones * 0x20)) | hyphens | hyphens >> 2 | hyphens >> 5;
		memcpy(at, &x, sizeof x);
		name.p += 8;
		at += 8;
	} while (at < end);
	*end = MARK(form);
	end = copy_loose(end + MARK_SIZE(form), value.p, value.n);
	*end = '\0';
	to->w = (unsigned)(end - to->data) + MARK_SIZE(form);
}

/* The same for a name with digits among them; with anything else it is not for programs. */
static __attribute__((noinline)) void
put_other(struct buf *to, enum pairs form, struct span name, struct span value)
{
	char store[5 + 128] = "HTTP_";
	unsigned n = 5;

	for (; name.n && n < sizeof store; name.n--, n++) {
		char ch = lower(*name.p++);

		if (ch >= 'a' && ch <= 'z')
			ch -= 'a' - 'A';
		else if (ch == '-')
			ch = '_';
		else if (ch < '0' || ch > '9')
			return;
		store[n] = ch;
	}
	if (!name.n)
		put_pair(to, form, (struct span){ store, n }, value);
}

/* What names that are the same have in common, as one of 64 bits. */
static uint64_t
mark(const struct field *f)
{
	return (uint64_t)1 << ((f->name_n + f->id) & 63);
}

/* The marks that come more than once: only a field with one of these may have been sent several times. */
static __attribute__((noinline)) uint64_t
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
	return a->name_n == b->name_n && a->id == b->id && span_eq_nocase(name_at(r->head, a), name_at(r->head, b));
}

/* A field; when it was sent several times the first one carries all values (RFC 3875 4.1.18), cookies by "; ", and the
 * others have none. */
static __attribute__((noinline)) struct span
joined(const struct request *r, const struct field *f)
{
	static char store[CLIENT_IN + SLACK];
	struct buf b = buf_on(store, CLIENT_IN);
	const char *separator = span_eq_nocase(name_at(r->head, f), SPAN("Cookie")) ? "; " : ", ";

	for (const struct field *other = r->fields; other < f; other++)
		if (same_name(r, f, other))
			return (struct span){ NULL, 0 };
	buf_span(&b, field_value(r, f));
	for (const struct field *other = f + 1; other < r->fields + r->nfields; other++) {
		if (!same_name(r, f, other))
			continue;
		buf_text(&b, separator);
		buf_span(&b, field_value(r, other));
	}
	return (struct span){ store, b.w };
}

static void
put_fields(const struct conn *c, const struct request *r, struct buf *to, enum pairs form)
{
	const uint64_t held = withheld(c);
	const struct field *next = r->fields, *end = next + r->nfields;
	uint64_t once = 0, again = 0;
	unsigned w = to->w;

	while (next < end) {
		const struct field *f = next++;
		struct span name = name_at(r->head, f), value = field_value(r, f);

		if (held >> f->id & 1 || (name.n == 9 && is_ours(name)))
			continue;
		if (once & mark(f) && !again) { /* from the beginning, now that they are looked for */
			again = repeated(r);
			to->w = w;
			next = r->fields;
			continue;
		}
		once |= mark(f);
		if (again & mark(f) && !(value = joined(r, f)).p)
			continue;
		if (f->plain)
			put_plain(to, form, name, value);
		else
			put_other(to, form, name, value);
	}
}

void
cgi_variables(struct conn *c, const struct request *r, const struct script *s, struct buf *to, enum pairs form)
{
	put_constant(c, r, to, form);
	put_request(c, r, s, to, form);
	if (c->lent->user_n)
		put_user(c, r, to, form);
	if (CONFIG_TLS && c->client.tls)
		put_tls(c, to, form);
	put_fields(c, r, to, form);
}
