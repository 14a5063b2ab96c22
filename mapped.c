/* mapped.c - what a server behind us says of places, said so that the client can go there
 *
 *   proxy /api/ http://127.0.0.1:8080/v1/
 *
 *   Location: http://127.0.0.1:8080/v1/x          -->   Location: /api/x
 *   Set-Cookie: a=b; Path=/v1; Domain=127.0.0.1   -->   Set-Cookie: a=b; Path=/api/
 *
 * An URL is one of ours when it names the server as the line does, or as the client called us.  Whatever else stands
 * there, other servers, relative references, paths that are not below the one of the line, is passed on as it is.
 */
#include "gateway.h"

/* Bytes of the http:// or https:// that it begins with; 0: neither. */
static unsigned
scheme_of(struct span url)
{
	return span_starts_nocase(url, SPAN("http://")) ? 7 : span_starts_nocase(url, SPAN("https://")) ? 8 : 0;
}

/* http://HOST:PORT/PATH or HOST:PORT, as an authority; the usual ports go without saying. */
static struct span
authority_of(struct span url)
{
	unsigned n = scheme_of(url), port;

	url = (struct span){ url.p + n, url.n - n };
	url = span_cut(&url, '/');
	port = span_ends(url, SPAN(":80")) ? 3 : span_ends(url, SPAN(":443")) ? 4 : 0;
	return (struct span){ url.p, url.n - port };
}

static struct span
host_of(struct span authority)
{
	struct span rest = authority;

	return authority.n && *authority.p == '[' ? authority : span_cut(&rest, ':');
}

static bool
is_backend(const struct conn *c, struct span name, struct span (*part)(struct span))
{
	for (const struct backend *b = c->route->backends; b; b = b->next)
		if (span_eq_nocase(part(authority_of(span_of(b->text))), name))
			return true;
	return false;
}

static struct span
whole(struct span authority)
{
	return authority;
}

static struct span
without_slash(struct span path)
{
	return path.n && path.p[path.n - 1] == '/' ? (struct span){ path.p, path.n - 1 } : path;
}

/* A path over there as the path here; false when it is not below that of the line. */
static bool
map_path(const struct conn *c, struct span path, struct buf *to)
{
	const struct pattern *p = &c->route->pattern;
	struct span there = without_slash(c->route->value), rest;

	if (!c->route->value.n || p->kind == MATCH_EXT) {
		buf_span(to, path);
		return true;
	}
	if (!span_starts(path, there))
		return false;
	rest = (struct span){ path.p + there.n, path.n - there.n };
	if (rest.n && *rest.p != '/' && *rest.p != '?' && *rest.p != '#')
		return false;
	buf_url(to, rest.n && *rest.p == '/' ? without_slash(p->text) : p->text);
	buf_span(to, rest);
	return true;
}

static bool
map_url(const struct conn *c, struct span url, struct buf *to)
{
	const struct gateway *g = STATE(c, gateway);
	struct span authority, host = authority_of((struct span){ g->host, g->host_n }), path = url;
	unsigned scheme = scheme_of(url), n = scheme;

	if (scheme == (c->route->secure ? 8 : 7)) {
		while (n < url.n && url.p[n] != '/' && url.p[n] != '?' && url.p[n] != '#')
			n++;
		authority = authority_of((struct span){ url.p + scheme, n - scheme });
		if (!(host.n && span_eq_nocase(authority, host)) && !is_backend(c, authority, whole))
			return false;
		path = (struct span){ url.p + n, url.n - n };
		if (!path.n || *path.p != '/')          /* and it need not be in one piece */
			return !path.n && map_path(c, SPAN("/"), to);
	}
	return path.n && *path.p == '/' && !span_starts(path, SPAN("//")) && map_path(c, path, to);
}

/* 5; url=/v1/x */
static bool
map_refresh(const struct conn *c, struct span value, struct buf *to)
{
	struct span url = value, seconds = span_cut(&url, ';');

	url = span_trim(url);
	if (!span_starts_nocase(url, SPAN("url=")))
		return false;
	url = span_trim((struct span){ url.p + 4, url.n - 4 });
	if (url.n > 2 && (*url.p == '"' || *url.p == '\'') && url.p[url.n - 1] == *url.p)
		url = (struct span){ url.p + 1, url.n - 2 };
	buf_span(to, seconds);
	buf_text(to, "; url=");
	return map_url(c, url, to);
}

/* A cookie with the Domain of the server behind us would be refused, as it comes from us.  Without Domain it is for the
 * host that sent it (RFC 6265 5.3). */
static bool
map_cookie(const struct conn *c, struct span value, struct buf *to)
{
	bool changed = false;

	buf_span(to, span_cut(&value, ';'));
	while (value.n) {
		struct span attribute = span_item(&value, ';'), rest = attribute, name = span_item(&rest, '=');
		unsigned w;

		rest = span_trim(rest);
		if (span_eq_nocase(name, SPAN("domain")) && is_backend(c, rest, host_of)) {
			changed = true;
			continue;
		}
		w = to->w;
		buf_text(to, "; Path=");
		if (span_eq_nocase(name, SPAN("path")) && rest.n && *rest.p == '/' && map_path(c, rest, to)) {
			changed = true;
			continue;
		}
		if (!to->bad)
			to->w = w + 2;
		buf_span(to, attribute);
	}
	return changed;
}

bool
mapped_place(const struct conn *c, enum field_id id, struct span value, struct buf *to)
{
	if (id == F_REFRESH)
		return map_refresh(c, value, to);
	return id == F_SET_COOKIE ? map_cookie(c, value, to) : map_url(c, value, to);
}
