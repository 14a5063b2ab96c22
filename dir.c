/* dir.c - a folder's listing, in order, however long, without memory that grows
 *
 *   read the whole folder -> keep the BATCH names that come next after the last one shown -> print them -> again
 *
 * A long folder is read many times; nothing is ever sorted as a whole, and the kernel keeps it in memory anyway.
 */
#include "httpd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 256, NAME = 256, ROW_MOST = 6 * NAME + 3 * NAME + 200 };

struct listing {                        /* the handler's state */
	int fd;
	bool ended, last_folder;
	char last[NAME];                /* the last name shown, "" for none */
	uint64_t shown;
};

_Static_assert(sizeof (struct listing) <= HANDLER_STATE, "HANDLER_STATE is too small for listings");

struct entry { bool folder; char name[NAME]; };

/* One for all: whose listing it is of, and which row of that its first entry is. */
static struct { const struct listing *of; uint64_t first; unsigned n; struct entry e[BATCH]; } batch;

const struct folder_entry *
folder_next(int fd, long *left)
{
	static _Alignas(64) char store[8192];   /* the linker sorts: what is small and always used stays together */
	static const char *at;
	const struct folder_entry *entry;

	if (!*left) {
		at = store;
		*left = syscall(SYS_getdents64, fd, store, sizeof store);
	}
	if (*left <= 0)
		return NULL;
	entry = (const struct folder_entry *)(const void *)at;
	at += entry->size;
	*left -= entry->size;
	return entry;
}

/* Folders first, then by name, letters of either case together. */
static int
compare(bool folder_a, const char *a, bool folder_b, const char *b)
{
	unsigned i = 0;

	if (folder_a != folder_b)
		return folder_a ? -1 : 1;
	while (a[i] && lower(a[i]) == lower(b[i]))
		i++;
	if (lower(a[i]) != lower(b[i]))
		return (unsigned char)lower(a[i]) < (unsigned char)lower(b[i]) ? -1 : 1;
	return strcmp(a, b);
}

static bool
is_folder(int fd, const struct folder_entry *d)
{
	enum { TYPE_UNKNOWN = 0, TYPE_FOLDER = 4, TYPE_LINK = 10 };
	struct stat st;

	if (d->type != TYPE_UNKNOWN && d->type != TYPE_LINK)
		return d->type == TYPE_FOLDER;
	return call_stat(fd, d->name, 0, &st) == 0 && S_ISDIR(st.st_mode);
}

static void
consider(const struct listing *l, const char *name, bool folder)
{
	unsigned i = batch.n;

	if (l->shown && compare(folder, name, l->last_folder, l->last) <= 0)
		return;
	while (i && compare(folder, name, batch.e[i - 1].folder, batch.e[i - 1].name) < 0)
		i--;
	if (i == BATCH)
		return;
	if (batch.n < BATCH)
		batch.n++;
	memmove(&batch.e[i + 1], &batch.e[i], (batch.n - 1 - i) * sizeof *batch.e);
	batch.e[i].folder = folder;
	memcpy(batch.e[i].name, name, strlen(name) + 1);
}

/* Fill the batch with what comes next; false when the folder cannot be read. */
static bool
collect(const struct conn *c, const struct listing *l)
{
	const struct folder_entry *d;
	long left = 0;

	batch.of = l;
	batch.first = l->shown;
	batch.n = 0;
	if (syscall(SYS_lseek, l->fd, 0L, SEEK_SET) < 0)
		return false;
	while ((d = folder_next(l->fd, &left))) {
		if (d->name[0] == '.' && (!c->host->dotfiles || !d->name[1] || !strcmp(d->name, "..")))
			continue;
		if (strlen(d->name) < NAME)
			consider(l, d->name, is_folder(l->fd, d));
	}
	return left == 0;
}

/* -- the page ------------------------------------------------------------------------------------------ */

static void
print_size(struct buf *b, uint64_t n)
{
	static const char units[] = "BKMGTPE";
	unsigned u = 0, tenths = 0;

	for (; n >= 1000; u++) {
		tenths = n % 1024 * 10 / 1024;
		n /= 1024;
	}
	buf_uint(b, n);
	if (u && n < 10)
		buf_print(b, ".%u", tenths);
	buf_print(b, u ? " %cB" : " %c", units[u]);
}

static void
print_row(struct buf *b, int fd, const struct entry *e)
{
	char date[DATE_SIZE];
	struct stat st;
	bool known = call_stat(fd, e->name, 0, &st) == 0;

	buf_text(b, "<tr><td><a href=\"");
	buf_url(b, span_of(e->name));
	buf_text(b, e->folder ? "/\">" : "\">");
	buf_html(b, span_of(e->name));
	buf_text(b, e->folder ? "/</a><td>" : "</a><td>");
	if (known && !e->folder)
		print_size(b, st.st_size);
	buf_text(b, "<td>");
	if (known)
		buf_mem(b, date, date_write(date, "d b Y h:m", st.st_mtim.tv_sec) - date);
	buf_char(b, '\n');
}

/* Of a long path the end tells more than the beginning, and a page has room for no more of it. */
static void
print_top(struct buf *b, struct span path)
{
	enum { SHOWN = 512 };

	if (path.n > SHOWN)
		path = (struct span){ path.p + path.n - SHOWN, SHOWN };
	buf_text(b, "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\n<title>");
	buf_html(b, path);
	buf_text(b, "</title>\n<style>html{color-scheme:light dark}body{font:1rem/1.6 sans-serif;max-width:60rem;"
	    "margin:1rem auto;padding:0 1rem}table{width:100%;border-collapse:collapse}td{padding:.3rem .2rem;"
	    "border-top:1px solid #8884;overflow-wrap:anywhere}td+td{text-align:right;white-space:nowrap;"
	    "color:#888}@media(max-width:32rem){td:nth-child(3){display:none}}</style>\n<h1>");
	buf_html(b, path);
	buf_text(b, "</h1>\n<table>\n");
	if (path.n > 1)
		buf_text(b, "<tr><td><a href=\"../\">../</a><td><td>\n");
}

static bool
put(struct conn *c, const struct buf *b)
{
	unsigned (*to)(struct buf *, const char *, unsigned) = c->chunks ? chunked_put : raw_put;

	c->sent += b->w;
	return to(&c->client.out, b->data, b->w) == b->w;
}

static struct buf
page_buf(const struct conn *c)
{
	static char store[8192];
	unsigned room = buf_room(&c->client.out);

	room = room > 16 ? room - 16 : 0;
	return buf_on(store, room < sizeof store ? room : sizeof store);
}

static enum io
dir_pull(struct conn *c)
{
	struct listing *l = STATE(c, listing);
	struct buf b = page_buf(c);

	if (c->head_only || (l->ended && (!c->chunks || chunked_put(&c->client.out, NULL, 0))))
		return IO_DONE;
	if (l->ended || b.size < ROW_MOST)
		return IO_WAIT;
	if ((batch.of != l || l->shown - batch.first >= batch.n) && !collect(c, l))
		return IO_FAIL;
	for (unsigned i = l->shown - batch.first; i < batch.n && b.size - b.w >= ROW_MOST; i++) {
		print_row(&b, l->fd, &batch.e[i]);
		l->last_folder = batch.e[i].folder;
		memcpy(l->last, batch.e[i].name, NAME);
		l->shown++;
	}
	l->ended = !batch.n;
	if (l->ended)
		buf_text(&b, "</table>\n");
	return put(c, &b) ? IO_MOVED : IO_FAIL;
}

static int
dir_start(struct conn *c, struct request *r)
{
	struct listing *l = STATE(c, listing);
	struct span path = file_path(c, r->path);
	struct cached *f;
	struct buf b;
	int status = cache_open(file_root(c), c->host->links, path, &f);

	if (status)
		return status;
	l->fd = call_open(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	cache_release(f);
	if (l->fd < 0)
		return 503;
	l->ended = false;
	l->shown = 0;
	batch.of = NULL;
	c->until_close = !c->chunks;
	reply_start(c, 200);
	reply_field(c, "Content-Type: ", SPAN("text/html; charset=utf-8"));
	if (c->chunks)
		reply_field(c, "Transfer-Encoding: ", SPAN("chunked"));
	reply_end(c);
	b = page_buf(c);
	print_top(&b, r->path);
	if (!c->head_only && !put(c, &b))
		l->ended = true;
	return 0;
}

static void
dir_finish(struct conn *c)
{
	struct listing *l = STATE(c, listing);

	if (l->fd >= 0)
		call_close(l->fd);
	l->fd = -1;
}

const struct handler dir_handler = { "listing", dir_start, NULL, dir_pull, dir_finish };
