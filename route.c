/* route.c - from a request to the handler that answers it
 *
 *   host -> filters (what they say applies to the path the client asked for)
 *        -> guards (for that path, and for each that it becomes)
 *        -> routes in the order written: the first that matches answers
 *             redirect  answers; rewrite  changes the path and starts again
 *        -> nothing there (404)?  `fallback` gives another path, once
 */
#include "auth.h"
#include "forward.h"

#include <string.h>

static bool
name_matches(struct span name, struct span host)
{
	if (name.n > 2 && name.p[0] == '*' && name.p[1] == '.')
		return host.n > name.n - 1 && span_eq_nocase((struct span){ host.p + host.n - (name.n - 1), name.n - 1 },
		    (struct span){ name.p + 1, name.n - 1 });
	return span_eq_nocase(name, host);
}

const struct host *
host_find(struct span name)
{
	const struct host *wild = NULL;

	if (name.n && name.p[name.n - 1] == '.')
		name.n--;
	for (const struct host *h = CONFIG_HOSTS ? conf->hosts->next : NULL; h; h = h->next)
		for (unsigned i = 0; i < h->nnames; i++) {
			if (!name_matches(h->names[i], name))
				continue;
			if (h->names[i].p[0] != '*')
				return h;
			wild = wild ? wild : h;
		}
	return wild ? wild : conf->hosts;
}

/* Which filters apply: remembered by their place, because paths do not outlive the start of an exchange. */
static int
filter(struct conn *c, const struct request *r)
{
	const struct rule *f = CONFIG_RULES ? c->host->filters : NULL;
	bool limited = false;

	for (unsigned i = 0; f; f = f->next, i++) {
		if (f->kind == R_ERROR || f->kind == R_FALLBACK || !pattern_matches(&f->pattern, r->path))
			continue;
		if ((f->kind == R_HEADER || f->kind == R_EXPIRES || (f->kind == R_HSTS && c->secure)) && i < FILTERS_MAX)
			c->headers |= (uint64_t)1 << i;
		if (f->kind == R_AUTHORIZATION)
			c->credentials = true;
		if (f->kind != R_LIMIT_BODY || limited)
			continue;
		limited = true;         /* the host's own lines come before those of all hosts */
		c->up.limit = f->number;
	}
	if (r->framing == BODY_LENGTH && r->length > c->up.limit)
		return 413;
	return 0;
}

int
request_set_path(struct request *r, struct span path)
{
	if (path.n >= sizeof r->store)
		return 414;
	memmove(r->store, path.p, path.n);
	r->store[path.n] = '\0';
	r->path = (struct span){ r->store, path.n };
	r->plain = false;
	return 0;
}

/* Most lines are not meant, and one byte tells: the one where the pattern ends. */
static const struct rule *
find(const struct rule *from, struct span path)
{
	for (; from; from = from->next) {
		const struct pattern *p = &from->pattern;
		unsigned n = p->text.n - (p->kind == MATCH_BELOW);

		if (path.n >= n && (p->kind == MATCH_EXT || !path.p[n] || path.p[n] == '/') && pattern_matches(p, path))
			break;
	}
	return from;
}

/* What of the path is behind the pattern, with its slash. */
static struct span
rest(const struct pattern *p, struct span path)
{
	unsigned n = p->text.n;

	if (p->kind == MATCH_EXT)
		return SPAN("");
	if (p->kind == MATCH_BELOW)
		n--;
	return (struct span){ path.p + n, path.n - n };
}

/* TARGET, and the rest of the path behind it unless the pattern was an extension. */
static void
target(struct buf *b, const struct rule *rule, const struct request *r, bool encode)
{
	struct span more = rest(&rule->pattern, r->path);

	buf_span(b, rule->value);
	if (more.n && rule->value.n && rule->value.p[rule->value.n - 1] == '/')
		more = (struct span){ more.p + 1, more.n - 1 };
	if (encode)
		buf_url(b, more);
	else
		buf_span(b, more);
}

/* The same path by https, on the port that TLS is spoken on here.  Not for those who come by https already, nor for
 * what an authority asks by http before it gives out a certificate (RFC 8555 8.3). */
static int
to_https(struct buf *b, const struct conn *c, const struct request *r)
{
	const struct listener *l = conf->listen, *end = l + conf->nlisten;
	struct addr a = { .size = sizeof a.u };

	if (c->secure || span_starts(r->path, SPAN("/.well-known/acme-challenge/")))
		return PASS;
	if (!r->host.n)
		return 400;
	while (l < end && (!(l->flags & LISTEN_TLS) || l->addr.u.any.sa_family == AF_UNIX))
		l++;
	buf_text(b, "https://");
	buf_span(b, r->host);
	if (l < end && call_getsockname(l->fd, &a.u.any, &a.size) == 0 && addr_port(&a) != 443)
		buf_print(b, ":%u", addr_port(&a));
	buf_url(b, r->path);
	return 0;
}

static int
redirect(struct conn *c, struct request *r, const struct rule *rule)
{
	static char store[2 * CLIENT_IN];
	struct buf b = buf_on(store, sizeof store);
	int status = 0;

	if (CONFIG_TLS && span_eq(rule->value, SPAN("https:")))
		status = to_https(&b, c, r);
	else
		target(&b, rule, r, true);
	return status ? status : reply_redirect(c, r, rule->number, &b);
}

static int
rewrite(struct request *r, const struct rule *rule)
{
	static char store[PATH_STORE];
	struct buf b = buf_on(store, sizeof store);
	int status;

	target(&b, rule, r, false);
	if (b.bad)
		return 414;
	status = request_set_path(r, (struct span){ store, b.w });
	return status ? status : AGAIN;
}

static int
start(struct conn *c, struct request *r, const struct handler *h)
{
	c->handler = h;
	c->word = h->name;
	return h->start(c, r);
}

static int
follow(struct conn *c, struct request *r, const struct rule *rule)
{
	c->route = rule;
	if (!CONFIG_RULES || !rule)
		return start(c, r, &file_handler);
	switch (rule->kind) {
	case R_REDIRECT:
		c->word = "redirect";
		return CONFIG_REWRITE ? redirect(c, r, rule) : 501;
	case R_REWRITE:
		return CONFIG_REWRITE ? rewrite(r, rule) : 501;
	case R_CGI:
		return CONFIG_CGI ? start(c, r, &cgi_handler) : 501;
	case R_FASTCGI:
		return CONFIG_FCGI ? start(c, r, &fcgi_handler) : 501;
	case R_SCGI:
		return CONFIG_SCGI ? start(c, r, &scgi_handler) : 501;
	case R_PROXY:
		return CONFIG_PROXY ? start(c, r, &proxy_handler) : 501;
	case R_ALIAS:
		return start(c, r, &file_handler);
	case R_FORWARD:
	case R_ALLOW:
	case R_AUTH:
	case R_AUTHORIZATION:
	case R_FALLBACK:
	case R_HEADER:
	case R_EXPIRES:
	case R_HSTS:
	case R_LIMIT_BODY:
	case R_LISTING:
	case R_ERROR:
		break;
	}
	return 500;
}

/* The spelling that stands for all those by which vfat and its like know a file: in any case, with dots behind its names.
 * A slash follows it at `to`, which has a byte more than the text. */
static struct span
fold(struct span text, char *to)
{
	unsigned n = 0;

	for (unsigned i = 0; i <= text.n; i++) {
		char c = i < text.n ? lower(text.p[i]) : '/';

		while (c == '/' && n && to[n - 1] == '.')
			n--;
		to[n++] = c;
	}
	return (struct span){ to, n - 1 };
}

/* Does the pattern match, or guard, a path that has been folded, when it is folded as well? */
static bool
alike(const struct pattern *p, struct span folded)
{
	static char store[PATH_STORE + 1];
	struct pattern like = { p->kind, { store, 0 } };

	if (p->text.n > PATH_STORE)
		return false;
	like.text = fold(p->text, store);
	return pattern_guards(&like, folded);
}

/* It makes a difference how path and patterns are spelled; mostly it does not. */
static bool
spelling_matters(const struct conn *c, const struct request *r)
{
	return c->conf->odd || spelled_oddly(r->path);
}

static struct span
folded_path(const struct request *r)
{
	static char store[PATH_STORE + 1];

	return fold(r->path, store);
}

/* The first that matches, those of the host before those of all hosts. */
static const struct rule *
guard_find(const struct conn *c, enum rule_kind kind, struct span path, bool folded)
{
	const struct rule *f = c->host->filters;

	while (f && (f->kind != kind || !(folded ? alike : pattern_guards)(&f->pattern, path)))
		f = f->next;
	return f;
}

/* May this client have what is at the path?  Asked for each path that a request passes through, the first and those of
 * indexes, rewrites and fallbacks; not for the page of an error.  The line that is meant has to let it in, and the one that
 * would be if spelling did not matter: it does not on every file system. */
static int
guard(struct conn *c, const struct request *r)
{
	const struct rule *asked = NULL;
	int status = 0, looks = spelling_matters(c, r) ? 2 : 1;

	for (int folded = 0; folded < looks && !status; folded++) {
		struct span path = folded ? folded_path(r) : r->path;
		const struct rule *allow = CONFIG_ALLOW ? guard_find(c, R_ALLOW, path, folded) : NULL;
		const struct rule *auth = CONFIG_AUTH ? guard_find(c, R_AUTH, path, folded) : NULL;

		if (allow && !net_has(allow->nets, &c->from)) {
			c->why = "the address is not allowed here";
			return 403;
		}
		if (auth && auth->root.path && auth != asked)
			status = auth_check(c, auth, r->known[F_AUTHORIZATION], 401);
		asked = auth;
	}
	return status;
}

/* Would a script answer if spelling did not matter?  Then its source may be what is there, and it is not sent. */
static bool
is_script_in_disguise(const struct conn *c, const struct request *r)
{
	const struct rule *rule = c->host->routes;
	struct span path;

	if (!rule || !spelling_matters(c, r))
		return false;
	path = folded_path(r);
	while (rule && !alike(&rule->pattern, path))
		rule = rule->next;
	return rule && rule->kind <= R_CGI;
}

/* The routes in their order, until one does not say that the path is not its own. */
static int
try_routes(struct conn *c, struct request *r)
{
	const struct rule *rule = CONFIG_RULES ? find(c->host->routes, r->path) : NULL;
	int status;

	c->alias = CONFIG_REWRITE && rule ? rule_find(rule, R_ALIAS, r->path) : NULL;
	if (CONFIG_CHILDREN && (!rule || rule->kind == R_ALIAS) && is_script_in_disguise(c, r))
		return 404;
	while ((status = follow(c, r, rule)) == PASS && CONFIG_RULES)
		rule = find(rule->next, r->path);
	return status;
}

/* OPTIONS * is about the server, not about anything on it (RFC 9110 9.3.7). */
static int
options_star(struct conn *c)
{
	c->word = "options";
	return reply_options(c, SPAN("GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS"));
}

int
dispatch(struct conn *c, struct request *r)
{
	bool fell = false;
	int status = 0;

	if (!c->errors) {
		c->host = host_find(r->host);
		if (r->star)
			return options_star(c);
		if (CONFIG_FORWARD && conf->forwards && r->form != FORM_ORIGIN && (status = forward(c, r)) != PASS)
			return status;
		if (r->method == M_CONNECT)
			return 405;
		status = filter(c, r);
	}
	if (status)
		return status;
	for (unsigned i = 0; i < DISPATCH_MAX; i++) {
		const struct rule *f;

		status = CONFIG_GUARDS && c->host->guarded && !c->errors ? guard(c, r) : 0;
		if (!status)
			status = try_routes(c, r);
		if (CONFIG_REWRITE && status == 404 && !fell && (f = rule_find(c->host->filters, R_FALLBACK, r->path))) {
			fell = true;
			status = request_set_path(r, f->value);
			if (!status)
				status = AGAIN;
		}
		if (status != AGAIN)
			return status;
	}
	log_line(LOG_ERROR, "the path, or the file, is never the same");
	return 500;
}
