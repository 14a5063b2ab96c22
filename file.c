/* file.c - files under a root: index, variants, conditions, ranges
 *
 *   path -> "/x/"  an index below it, or a listing     -> 404, 403
 *        -> "/x"   a folder: 301 to "/x/"
 *                  a file, or its .br or .gz  -> conditions (304, 412) -> ranges (206, 416) -> head, body
 *
 * A small file leaves in one write with its head, read once for all who ask for it in one turn; a large one leaves by
 * sendfile, a range at a time.
 */
#include "httpd.h"

#include <string.h>
#include <unistd.h>

/* What is to be sent: the file, as which coding and type; vary: there are others to choose from. */
struct choice { struct cached *file; struct span coding, mime; bool vary; };

struct sending {                        /* the handler's state */
	struct cached *file;
	uint64_t size;                  /* of the whole representation, for Content-Range */
	off_t at;
	uint64_t left;                  /* of the range under way */
	unsigned n, next;
	bool parts;                     /* multipart/byteranges */
	uint32_t boundary;
	struct span mime;
	struct range ranges[RANGES_MAX];
};

enum { PART_HEAD = 512, TYPE_MOST = PART_HEAD - 150 };  /* bytes of the head of a part, and of the type that it names */

_Static_assert(sizeof (struct sending) <= HANDLER_STATE, "HANDLER_STATE is too small for files");

/* -- conditions: RFC 9110 13.2.2 ------------------------------------------------------------------------ */

static struct span
etag_of(const struct cached *f)
{
	return (struct span){ f->etag, f->etag_n };
}

static int
preconditions(const struct request *r, const struct cached *f)
{
	const struct span *k = r->known;
	int64_t date;

	if (k[F_IF_MATCH].p) {
		if (!etag_matches(k[F_IF_MATCH], etag_of(f), false))
			return 412;
	} else if (k[F_IF_UNMODIFIED_SINCE].p) {
		date = date_parse(k[F_IF_UNMODIFIED_SINCE]);
		if (date >= 0 && f->mtime > date)
			return 412;
	}
	if (k[F_IF_NONE_MATCH].p)
		return etag_matches(k[F_IF_NONE_MATCH], etag_of(f), true) ? 304 : 0;
	if (k[F_IF_MODIFIED_SINCE].p) {
		date = date_parse(k[F_IF_MODIFIED_SINCE]);
		if (date >= 0 && f->mtime <= date)
			return 304;
	}
	return 0;
}

/* If-Range (RFC 9110 13.1.5): the ranges are of this very representation.  A date proves that only when the file had
 * not changed for a second (8.8.2.2). */
static bool
range_is_of(const struct request *r, const struct cached *f)
{
	struct span s = r->known[F_IF_RANGE];

	if (!s.p)
		return true;
	if (s.n && s.p[0] == '"')       /* a weak one proves nothing, and is no date */
		return span_eq(s, etag_of(f));
	return date_parse(s) == f->mtime && f->mtime < wall - 1;
}

/* -- heads ------------------------------------------------------------------------------------------------ */

static void
validators(struct conn *c, const struct cached *f, bool vary)
{
	reply_field(c, "ETag: ", etag_of(f));
	if (f->mtime <= wall)           /* not later than Date (RFC 9110 8.8.2.1) */
		reply_field(c, "Last-Modified: ", (struct span){ f->modified, sizeof f->modified });
	if (vary)
		reply_field(c, "Vary: ", SPAN("Accept-Encoding"));
}

static void
content_range(struct buf *b, const struct range *r, uint64_t size)
{
	buf_print(b, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)r->from,
	    (unsigned long long)(r->from + r->size - 1), (unsigned long long)size);
}

/* The head of part i, or the closing delimiter when i is beyond the last. */
static void
part_head(struct buf *b, const struct sending *s, unsigned i)
{
	buf_print(b, "\r\n--cubhttpd%x", s->boundary);
	if (i == s->n) {
		buf_text(b, "--\r\n");
		return;
	}
	buf_print(b, "\r\nContent-Type: %.*s\r\n", (int)s->mime.n, s->mime.p);
	content_range(b, &s->ranges[i], s->size);
	buf_crlf(b);
}

static uint64_t
parts_length(const struct sending *s)
{
	static char store[PART_HEAD];
	uint64_t sum = 0;

	for (unsigned i = 0; i <= s->n; i++) {
		struct buf b = buf_on(store, sizeof store);

		part_head(&b, s, i);
		sum += b.w + (i < s->n ? s->ranges[i].size : 0);
	}
	return sum;
}

static void
length_and_type(struct conn *c, const struct sending *s)
{
	struct buf *out = &c->client.out;

	if (s->parts)
		buf_print(out, "Content-Type: multipart/byteranges; boundary=cubhttpd%x\r\n", s->boundary);
	else if (!reply_typed())
		reply_field(c, "Content-Type: ", s->mime);
	buf_length(out, s->parts ? parts_length(s) : s->ranges[0].size);
}

static void
fields(struct conn *c, const struct sending *s, int status, const struct choice *ch)
{
	length_and_type(c, s);
	if (status == 206 && !s->parts)
		content_range(&c->client.out, &s->ranges[0], s->size);
	if (ch->coding.n)
		reply_field(c, "Content-Encoding: ", ch->coding);
	if (CONFIG_RANGE)
		reply_field(c, "Accept-Ranges: ", SPAN("bytes"));
	validators(c, s->file, ch->vary);
}

/* The fields of a plain 200 are the same each time, so they are made once. */
static void
head(struct conn *c, const struct sending *s, int status, const struct choice *ch)
{
	struct buf *out = &c->client.out;
	bool plain = status == 200 && !ch->vary && !c->headers && !reply_typed();
	unsigned from;

	reply_start(c, c->errors ? c->status : status);
	from = out->w;
	if (plain && s->file->head_n) {
		buf_mem(out, s->file->head, s->file->head_n);
	} else {
		fields(c, s, status, ch);
		if (plain && out->w - from <= sizeof s->file->head) {
			s->file->head_n = out->w - from;
			memcpy(s->file->head, out->data + from, s->file->head_n);
		}
	}
	reply_end(c);
}

static int
not_modified(struct conn *c, const struct choice *ch)
{
	reply_start(c, 304);
	validators(c, ch->file, ch->vary);
	reply_end(c);
	return 0;
}

static int
not_satisfiable(struct conn *c, uint64_t size)
{
	reply_start(c, 416);
	buf_print(&c->client.out, "Content-Range: bytes */%llu\r\n", (unsigned long long)size);
	buf_length(&c->client.out, 0);
	reply_end(c);
	return 0;
}

/* -- sending ------------------------------------------------------------------------------------------------ */

/* Into the buffer, behind the head.  A short read means that the file is not what it was. */
static enum io
read_piece(struct conn *c, struct sending *s)
{
	struct buf *out = &c->client.out;
	unsigned n = s->left < buf_room(out) ? s->left : buf_room(out);
	ssize_t got;

	if (!n)
		return IO_WAIT;
	got = pread(s->file->fd, out->data + out->w, n, s->at);
	if (got <= 0)
		return IO_FAIL;
	out->w += got;
	s->at += got;
	s->left -= got;
	c->sent += got;
	return IO_MOVED;
}

static enum io
send_piece(struct conn *c, struct sending *s)
{
	off_t before = s->at;
	enum io io;

	c->client.more = true;
	if (buf_used(&c->client.out))
		return IO_WAIT;         /* the head goes first */
	c->client.more = false;
	io = stream_sendfile(&c->client, s->file->fd, &s->at, s->left);
	s->left -= s->at - before;
	c->sent += s->at - before;
	return io;
}

static enum io
next_part(struct conn *c, struct sending *s)
{
	if (s->parts && buf_room(&c->client.out) < PART_HEAD)
		return IO_WAIT;
	if (s->parts)
		part_head(&c->client.out, s, s->next);
	if (s->next == s->n) {
		s->parts = false;
		return IO_MOVED;
	}
	s->at = s->ranges[s->next].from;
	s->left = s->ranges[s->next++].size;
	return IO_MOVED;
}

/* What was promised cannot be sent any more. */
static enum io
shrank(struct conn *c, struct sending *s)
{
	c->why = "the file changed while it was sent";
	cache_drop(s->file);
	return IO_FAIL;
}

/* What finds room in the buffer is read into it, to leave with what is there.  Records of TLS are made of the file itself,
 * so there it is worth that only behind a head. */
static bool
goes_by_buffer(const struct conn *c, const struct sending *s)
{
	const struct buf *out = &c->client.out;
	bool fits = s->left <= buf_room(out);

	if (CONFIG_TLS && c->client.tls)
		return fits && buf_used(out);
	return fits || !CONFIG_SENDFILE;
}

static enum io
file_pull(struct conn *c)
{
	struct sending *s = STATE(c, sending);
	enum io io;

	if (!s->left)
		return s->next < s->n || s->parts ? next_part(c, s) : IO_DONE;
	io = goes_by_buffer(c, s) ? read_piece(c, s) : send_piece(c, s);
	return io == IO_FAIL && !c->client.dead ? shrank(c, s) : io;
}

static void
file_finish(struct conn *c)
{
	struct sending *s = STATE(c, sending);

	if (s->file)
		cache_release(s->file);
	s->file = NULL;
}

/* -- choosing --------------------------------------------------------------------------------------------- */

struct root *
file_root(const struct conn *c)
{
	return (struct root *)(c->alias ? &c->alias->root : &c->host->root);
}

/* For an alias what is behind its pattern. */
struct span
file_path(const struct conn *c, struct span path)
{
	const struct pattern *p = c->alias ? &c->alias->pattern : NULL;
	unsigned skip;

	if (!p || p->kind == MATCH_EXT)
		return path;
	skip = p->text.n - (p->kind == MATCH_BELOW);
	return path.n > skip ? (struct span){ path.p + skip, path.n - skip } : SPAN("/");
}

static const struct coding { struct span name, suffix; } codings[CODINGS] = {
	{ SPAN("br"), SPAN(".br") }, { SPAN("gzip"), SPAN(".gz") },
};

static bool
open_packed(struct conn *c, struct span path, unsigned coding, struct cached **out)
{
	static char store[PATH_STORE + 4];
	struct buf b = buf_on(store, sizeof store - 1);

	buf_span(&b, path);
	buf_span(&b, codings[coding].suffix);
	store[b.w] = '\0';
	if (b.bad || cache_open(file_root(c), c->host->links, (struct span){ store, b.w }, out))
		return false;
	if (!(*out)->folder)
		return true;
	cache_release(*out);
	return false;
}

/* A packed variant in place of the plain file, when there is one and the client takes it; ch->vary when there is one.
 * With no plain file, and no wish from the client, any variant will do (RFC 9110 12.5.3). */
static void
choose(struct conn *c, const struct request *r, struct span path, struct choice *ch)
{
	struct cached *plain = ch->file, *f;
	struct span wish = r->known[F_ACCEPT_ENCODING];
	bool any = !plain && !wish.p;

	for (unsigned i = 0; i < CODINGS; i++) {
		if (plain && plain->absent >> i & 1)
			continue;
		if (!open_packed(c, path, i, &f)) {
			if (plain)
				plain->absent |= 1u << i;
			continue;
		}
		ch->vary = true;
		if (ch->coding.n || !(any || coding_accepted(wish, codings[i].name))) {
			cache_release(f);
			continue;
		}
		ch->coding = codings[i].name;
		ch->file = f;
	}
	if (plain && ch->coding.n)
		cache_release(plain);
}

/* The whole file, or what Range asks for: how many ranges are in s, or 416. */
static int
ranges(const struct conn *c, const struct request *r, struct sending *s)
{
	struct span wish = r->known[F_RANGE];
	int n = 0;

	if (CONFIG_RANGE && wish.p && r->method == M_GET && !c->errors && range_is_of(r, s->file))
		n = range_parse(wish, s->size, s->ranges);
	if (n < 0)
		return 416;
	/* A backend's Content-Type leaves no room for multipart/byteranges, and the type of a file that it names, which
	 * each part repeats, is of the configuration in force. */
	if (n > 1 && (reply_typed() || c->conf != conf || s->mime.n > TYPE_MOST))
		n = 0;
	s->n = n;
	s->parts = n > 1;
	if (n)
		return 206;
	s->n = 1;
	s->ranges[0] = (struct range){ 0, s->size };
	return 200;
}

/* The last request on these buffers left the same body at the same place, and both had come before it was read: to read it
 * again would be the same.  What is there from now on is remembered for the next one: nobody writes to out until it has been
 * sent, and then not before another request begins. */
static bool
lies_there(const struct conn *c, const struct sending *s)
{
	struct lying *l = &c->lent->lying, next = { s->file->opened, turn_number, c->client.out.w, 1 };
	bool lies = !memcmp(l, &next, sizeof next);

	*l = next;
	l->age = c->up.done && !c->client.tls && !c->client.out.bad ? 0 : LYING_NONE;
	return lies;
}

/* A small file is read at once, and a byte more is asked for.  False: its size is not what it was when it was looked at;
 * so it is looked at again before anything has gone out. */
static bool
read_small(struct conn *c, struct sending *s)
{
	struct buf *out = &c->client.out;
	const struct range *all = &s->ranges[0];
	ssize_t got;

	if (c->head_only || s->parts || all->size >= buf_room(out) || all->from + all->size != s->size)
		return true;
	if (all->from || !lies_there(c, s)) {
		got = pread(s->file->fd, out->data + out->w, all->size + 1, all->from);
		if (got < 0 || (uint64_t)got != all->size)
			return false;
	}
	out->w += all->size;
	c->sent += all->size;
	s->next = s->n;
	return true;
}

static int
serve(struct conn *c, const struct request *r, struct choice *ch)
{
	struct sending *s = STATE(c, sending);
	unsigned begin = c->client.out.w;
	static uint32_t boundaries;
	int status;

	s->file = ch->file;
	status = c->errors ? 0 : preconditions(r, ch->file);
	if (status == 304)
		return not_modified(c, ch);
	if (status) {
		file_finish(c);
		return status;
	}
	s->size = ch->file->size;
	s->mime = ch->mime;
	status = ranges(c, r, s);
	if (status == 416)
		return not_satisfiable(c, s->size);
	if (s->parts)
		s->boundary = (uint32_t)wall * 2654435761u + ++boundaries;
	head(c, s, status, ch);
	if (c->head_only)
		s->n = s->parts = 0;
	if (read_small(c, s)) {
		if (s->next == s->n && !s->parts) {
			file_finish(c);         /* all is in client.out */
			c->handler = NULL;
		}
		return 0;
	}
	c->client.out.w = begin;
	c->begun = false;
	c->sent = 0;
	cache_drop(s->file);
	file_finish(c);
	return AGAIN;
}

/* Segments that begin with a dot are hidden, but for /.well-known/ (RFC 8615). */
bool
path_hidden(const struct host *h, struct span path)
{
	if (h->dotfiles)
		return false;
	if (span_starts(path, SPAN("/.well-known/")))
		path = (struct span){ path.p + 12, path.n - 12 };
	for (unsigned i = path.n ? path.n : 1; --i;)
		if (path.p[i] == '.' && path.p[i - 1] == '/')
			return true;
	return false;
}

/* -- folders ----------------------------------------------------------------------------------------------- */

static bool
exists(struct conn *c, struct span path)
{
	struct cached *f;
	bool found;

	if (cache_open(file_root(c), c->host->links, path, &f)) {
		for (unsigned i = 0; CONFIG_PRECOMPRESSED && i < CODINGS; i++)
			if (open_packed(c, path, i, &f)) {
				cache_release(f);
				return true;
			}
		return false;
	}
	found = !f->folder;
	cache_release(f);
	return found;
}

/* A method that no file answers.  It is asked only now that there is one, because another route or a fallback may be
 * in charge of what is none. */
static int
unsuited(struct conn *c, const struct request *r)
{
	return r->method == M_OPTIONS ? reply_options(c, SPAN("GET, HEAD, OPTIONS")) : 405;
}

/* An index becomes the path, and routes are asked again: index.php is not a file to be sent. */
static int
folder(struct conn *c, struct request *r)
{
	unsigned n = r->path.n;
	struct cached *f;
	bool found;
	int status;

	for (unsigned i = 0; i < c->host->nindex; i++) {
		struct span name = c->host->index[i];

		if (n + name.n >= sizeof r->store)
			return 414;
		memcpy(r->store + n, name.p, name.n);
		r->store[n + name.n] = '\0';
		r->path = (struct span){ r->store, n + name.n };
		r->plain = false;
		if (exists(c, file_path(c, r->path)))
			return AGAIN;
	}
	r->store[n] = '\0';
	r->path = (struct span){ r->store, n };
	status = cache_open(file_root(c), c->host->links, file_path(c, r->path), &f);
	if (status)
		return status;
	found = f->folder;
	cache_release(f);
	if (!found)
		return 404;
	if (r->method != M_GET && r->method != M_HEAD)
		return unsuited(c, r);
	if (!CONFIG_LISTING || !rule_find(c->host->filters, R_LISTING, r->path))
		return 403;
	c->handler = &dir_handler;
	c->word = dir_handler.name;
	return dir_handler.start(c, r);
}

static int
add_slash(struct conn *c, struct request *r)
{
	static char store[3 * PATH_STORE + CLIENT_IN];
	struct buf b = buf_on(store, sizeof store);

	buf_url(&b, r->path);
	buf_char(&b, '/');
	return reply_redirect(c, r, 301, &b);
}

/* -- the handler --------------------------------------------------------------------------------------------- */

static int
file_start(struct conn *c, struct request *r)
{
	struct sending *s = STATE(c, sending);
	struct span path = file_path(c, r->path);
	struct choice ch;
	int status;

	s->file = ch.file = NULL;
	s->left = s->n = s->next = s->parts = 0;
	ch.coding.n = ch.vary = 0;
	if (path_hidden(c->host, path))
		return 404;
	if (path.p[path.n - 1] == '/')
		return folder(c, r);
	status = cache_open(file_root(c), c->host->links, path, &ch.file);
	if (!status && ch.file->folder) {
		cache_release(ch.file);
		return add_slash(c, r);
	}
	if (status && (status != 404 || !CONFIG_PRECOMPRESSED))
		return status;
	ch.mime = status ? mime_type(path) : ch.file->mime;
	if (CONFIG_PRECOMPRESSED && (status ? mime_packable(ch.mime) : ch.file->absent != ALL_ABSENT))
		choose(c, r, path, &ch);
	if (!ch.file)
		return ch.vary ? 406 : 404;
	if (r->method != M_GET && r->method != M_HEAD) {
		cache_release(ch.file);
		return unsuited(c, r);
	}
	return serve(c, r, &ch);
}

const struct handler file_handler = { "file", file_start, NULL, file_pull, file_finish };
