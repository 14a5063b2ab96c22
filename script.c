/* script.c - which script a path means, and what it is called over there
 *
 *   /shop/cart.php/item/7   ->   SCRIPT_NAME /shop/cart.php   PATH_INFO /item/7
 */
#include "gateway.h"

/* What the first n bytes of the path are: 0 and whether it is a folder, or a status. */
static int
look(const struct conn *c, struct request *r, unsigned n, bool *folder)
{
	char kept = r->store[n];
	struct cached *f;
	int status;

	r->store[n] = '\0';
	status = cache_open(file_root(c), c->host->links, file_path(c, (struct span){ r->store, n }), &f);
	r->store[n] = kept;
	if (status)
		return status;
	*folder = f->folder;
	cache_release(f);
	return 0;
}

/* Where the script's part of the path ends: with the first segment that is a file, of those with the extension or, for a
 * pattern of a path, of those behind it.  What is no file is never handed on, whatever the program behind would make of
 * it.  PASS: only folders have such names. */
static int
find_script(const struct conn *c, struct request *r, unsigned *end)
{
	const struct pattern *p = &c->route->pattern;
	bool by_ext = p->kind == MATCH_EXT;
	int status = PASS;

	if (!c->route->remote && path_hidden(c->host, r->path))
		return 404;
	for (unsigned n = by_ext ? 1 : p->text.n; n <= r->path.n; n++) {
		bool folder = false;

		if ((n < r->path.n && r->path.p[n] != '/') || (by_ext && !span_ends((struct span){ r->path.p, n }, p->text)))
			continue;
		*end = n;
		if (c->route->remote)
			return 0;
		status = look(c, r, n, &folder);
		if (!status && !folder)
			return 0;
		if (status && (status != 404 || !by_ext))
			return status;
		status = status ? status : PASS;
	}
	return status;
}

/* SCRIPT_FILENAME and PATH_TRANSLATED in b. */
static void
name_files(const struct conn *c, struct script *s, struct span path, struct buf *b)
{
	const struct root *root = file_root(c);

	buf_text(b, c->route->remote ? c->route->remote : root->path);
	buf_span(b, c->route->remote ? path : file_path(c, path));
	s->file = (struct span){ b->data, b->w };
	buf_char(b, '\0');
	if (!s->info.p)
		return;
	buf_text(b, c->host->root.path);
	buf_span(b, s->info);
	s->translated = (struct span){ s->file.p + s->file.n + 1, b->w - s->file.n - 1 };
}

/* For backends a path pattern is an application mounted there, and no file is looked for. */
static int
split(struct conn *c, struct request *r, unsigned *end)
{
	const struct pattern *p = &c->route->pattern;

	if (p->kind == MATCH_EXT || c->route->kind == R_CGI)
		return find_script(c, r, end);
	*end = p->text.n - (p->kind == MATCH_BELOW);
	return 0;
}

int
script_find(struct conn *c, struct request *r, struct script *s)
{
	static char store[4 * PATH_STORE];
	struct buf b = buf_on(store, sizeof store - SLACK);
	unsigned end = 0;
	int status = split(c, r, &end);

	if (status)
		return status;
	s->name = (struct span){ r->path.p, end };
	s->info = end < r->path.n ? (struct span){ r->path.p + end, r->path.n - end } : (struct span){ NULL, 0 };
	s->translated = (struct span){ NULL, 0 };
	name_files(c, s, s->name, &b);
	return b.bad ? 414 : 0;
}
