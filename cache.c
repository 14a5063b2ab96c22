/* cache.c - files kept open, so that one asked for often costs no open and no close, and an fstat a turn
 *
 *   hash of the path -> a set of WAYS places -> the one with this root and path, looked at within a second
 *
 * Whoever uses a file pins its place; a place without pins may be taken for another file, the least lately used of
 * its set first.  The link policy is kept on the descriptor that was opened, never on a name looked at before.
 */
#include "httpd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAYS = 4, FRESH = 1000, LINKS_MOST = 16 };

enum { RESOLVE_WITHOUT_LINKS = 0x02 | 0x04 };   /* RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS */
struct how { uint64_t flags, mode, resolve; };  /* struct open_how of linux/openat2.h, which old headers lack */

enum { OPEN_FLAGS = O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY };

static unsigned
places(const struct conf *cf)
{
	return (cf->clients + CACHE_FILES + WAYS - 1) / WAYS * WAYS;
}

struct pool cache_pool = { "files kept open", sizeof (struct cached), places, NULL, 0 };

static uint32_t uses;

static struct cached *
place(unsigned i)
{
	return (struct cached *)(void *)cache_pool.at + i;
}

/* -- opening by policy --------------------------------------------------------------------------------- */

/* Its descriptor, valid in this turn; -1 with errno, and once a line in the log: the folder may be on a disk that comes
 * later. */
static int
root_open(struct root *r)
{
	int fd, error;

	if (r->fd >= 0 && now - r->looked < FRESH)
		return r->fd;
	fd = call_open(AT_FDCWD, r->path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0 && (r->fd >= 0 || !r->looked)) {
		error = errno;
		log_line(LOG_WARN, "%s: %s", r->path, error_text(error));
		errno = error;
	}
	if (r->fd >= 0)
		call_close(r->fd);
	r->fd = fd;
	r->looked = now;
	return fd;
}

/* The kernel's own name of what fd is; it must lie below the root's. */
static bool
is_inside(int fd, int root)
{
	char name[2][PATH_MAX], link[32];
	const int fds[2] = { fd, root };
	ssize_t n[2];

	for (int i = 0; i < 2; i++) {
		struct buf b = buf_on(link, sizeof link - 1);

		buf_print(&b, "/proc/self/fd/%d", fds[i]);
		link[b.w] = '\0';
		n[i] = syscall(SYS_readlinkat, AT_FDCWD, link, name[i], PATH_MAX);
		if (n[i] <= 0 || n[i] == PATH_MAX)
			return false;
	}
	if (n[1] == 1)
		return true;
	return n[0] >= n[1] && !memcmp(name[0], name[1], n[1]) && (n[0] == n[1] || name[0][n[1]] == '/');
}

static int
fail_with(int fd, int error)
{
	if (fd >= 0)
		call_close(fd);
	errno = error;
	return -1;
}

struct walk { char path[PATH_MAX]; uid_t owners[LINKS_MOST]; unsigned links; };

/* Put what the link leads to before the rest of the path. */
static bool
follow(struct walk *w, int link, const char *rest, uid_t owner)
{
	char target[PATH_MAX];
	size_t more = strlen(rest);
	ssize_t n = syscall(SYS_readlinkat, link, "", target, sizeof target);

	if (n <= 0 || w->links == LINKS_MOST || (size_t)n + more + 2 > sizeof w->path) {
		errno = ELOOP;
		return false;
	}
	memmove(w->path + n + 1, rest, more + 1);
	memcpy(w->path, target, n);
	w->path[n] = '/';
	w->owners[w->links++] = owner;
	return true;
}

/* A link is followed when it belongs to root or to the owner of what the path leads to in the end. */
static bool
owners_allow(const struct walk *w, int fd)
{
	struct stat st;

	if (call_stat(fd, NULL, 0, &st) < 0)
		return false;
	for (unsigned i = 0; i < w->links; i++)
		if (w->owners[i] != 0 && w->owners[i] != st.st_uid)
			return false;
	return true;
}

/* The link at `dir`/`name` stands for what it leads to; false with errno when it cannot. */
static bool
follow_link(struct walk *w, int *dir, int link, const char *rest, uid_t owner)
{
	if (!follow(w, link, rest, owner))
		return false;
	if (w->path[0] != '/')
		return true;
	call_close(*dir);
	*dir = call_open(AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0);
	return *dir >= 0;
}

/* The first component of the path at *rest, ended by NUL; *rest is what follows it and its slashes. */
static const char *
cut_component(char **rest)
{
	char *name = *rest, *p;

	while (*name == '/')
		name++;
	for (p = name; *p && *p != '/'; p++)
		;
	while (*p == '/')
		*p++ = '\0';
	*rest = p;
	return *name ? name : ".";
}

/* Step by step, each component opened as itself, so that a link is seen by the descriptor it was read from. */
static int
walk(struct walk *w, int root)
{
	int dir = call_open(root, ".", O_PATH | O_CLOEXEC, 0), next;
	char *rest = w->path;
	struct stat st;

	while (dir >= 0) {
		const char *name = cut_component(&rest);

		next = call_open(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0);
		if (next < 0 || call_stat(next, NULL, 0, &st) < 0)
			return fail_with(dir, errno);
		if (S_ISLNK(st.st_mode)) {
			bool followed = follow_link(w, &dir, next, rest, st.st_uid);

			call_close(next);
			if (!followed)
				return fail_with(dir, errno);
			rest = w->path;
			continue;
		}
		if (!*rest) {
			call_close(next);
			next = call_open(dir, name, OPEN_FLAGS | O_NOFOLLOW, 0);
			call_close(dir);
			return next;
		}
		call_close(dir);
		dir = next;
	}
	return dir;
}

static int
open_by_owner(int root, const char *path)
{
	static struct walk w;
	int fd;

	w.links = 0;
	memcpy(w.path, path, strlen(path) + 1);
	fd = walk(&w, root);
	if (fd < 0)
		return -1;
	if (!owners_allow(&w, fd))
		return fail_with(fd, EACCES);
	return fd;
}

/* path is below root, without its first slash; -1 with errno. */
static int
open_below(int root, enum links links, const char *path)
{
	struct how how = { OPEN_FLAGS, 0, RESOLVE_WITHOUT_LINKS };
	int fd = -1;

	if (links != LINKS_ANY) {
		fd = syscall(SYS_openat2, root, path, &how, sizeof how);
		if (fd >= 0 || (errno != ELOOP && errno != ENOSYS && errno != EPERM))
			return fd;
	}
	if (links == LINKS_OWNER)
		return open_by_owner(root, path);
	fd = call_open(root, path, OPEN_FLAGS, 0);
	if (fd >= 0 && links == LINKS_INSIDE && !is_inside(fd, root))
		return fail_with(fd, EACCES);
	return fd;
}

static int
status_of(int error)
{
	switch (error) {
	case EACCES:
	case EPERM:
	case ELOOP:
		return 403;
	case ENAMETOOLONG:
		return 414;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return 503;
	default:
		return 404;
	}
}

/* -- places ------------------------------------------------------------------------------------------------ */

/* FNV-1a, but four bytes at a time; the last fold brings all of them down to where a set is chosen. */
static uint32_t
hash_of(struct span path)
{
	uint32_t h = 2166136261u;

	for (; path.n >= 4; path.p += 4, path.n -= 4)
		h = (h ^ load4(path.p)) * 16777619u;
	while (path.n)
		h = (h ^ (unsigned char)path.p[--path.n]) * 16777619u;
	return h ^ h >> 16;
}

static void
empty(struct cached *f)
{
	if (f->users || !f->root)
		return;
	call_close(f->fd);
	f->root = NULL;
	f->path_n = 0;
}

void
cache_release(struct cached *f)
{
	f->users--;
	if (!f->path_n)
		empty(f);
}

void
cache_drop(struct cached *f)
{
	f->path_n = 0;
	empty(f);
}

void
cache_flush(void)
{
	for (unsigned i = 0; i < cache_pool.n; i++)
		if (place(i)->root)
			cache_drop(place(i));
}

/* Its ctime follows all that happens to a file: another owner or mode, too, by which we may not have it any more. */
static bool
same_file(const struct cached *f, const struct stat *st)
{
	return f->ino == st->st_ino && f->dev == st->st_dev && f->size == (uint64_t)st->st_size &&
	    f->changed == st->st_ctim.tv_sec && f->changed_ns == (uint32_t)st->st_ctim.tv_nsec;
}

static const char *
below(struct span path)
{
	return path.n > 1 ? path.p + 1 : ".";
}

/* From now on, where there may be any. */
static void
look_for_variants(struct cached *f)
{
	f->absent = mime_packable(f->mime) ? 0 : ALL_ABSENT;
}

/* Once a second a name is looked up again: it may stand for another file by now. */
static bool
still_there(struct cached *f, struct root *root, struct span path)
{
	struct stat st;

	if (now - f->looked < FRESH)
		return true;
	if (call_stat(root_open(root), below(path), 0, &st) < 0 || !same_file(f, &st))
		return false;
	f->looked = now;
	look_for_variants(f);
	return true;
}

static struct cached *
set_of(uint32_t hash)
{
	return place(hash % (cache_pool.n / WAYS) * WAYS);
}

static struct cached *
find(const struct root *root, struct span path, uint32_t hash)
{
	struct cached *f = set_of(hash);

	for (unsigned i = 0; i < WAYS; i++, f++)
		if (f->hash == hash && f->root == root && span_eq((struct span){ f->path, f->path_n }, path))
			return f;
	return NULL;
}

/* The least lately used place without pins: of the set if it can be, else of all (it is not found again there). */
static struct cached *
victim(uint32_t hash, bool *found_again)
{
	struct cached *f = set_of(hash), *best = NULL;

	for (unsigned i = 0; i < WAYS; i++)
		if (!f[i].users && (!best || !f[i].root || (best->root && f[i].used < best->used)))
			best = &f[i];
	*found_again = best;
	for (unsigned i = 0; !best && i < cache_pool.n; i++)
		if (!place(i)->users)
			best = place(i);
	return best;
}

static void
describe(struct cached *f, const struct stat *st, struct span path)
{
	struct buf b = buf_on(f->etag, sizeof f->etag);

	f->folder = S_ISDIR(st->st_mode);
	f->size = st->st_size;
	f->ino = st->st_ino;
	f->dev = st->st_dev;
	f->mtime = st->st_mtim.tv_sec;
	f->changed = st->st_ctim.tv_sec;
	f->changed_ns = st->st_ctim.tv_nsec;
	f->head_n = 0;
	f->opened = ++uses;
	f->mime = mime_type(path);
	look_for_variants(f);
	date_format(f->modified, f->mtime);
	buf_char(&b, '"');
	buf_hex(&b, f->size);
	buf_char(&b, '-');
	buf_hex(&b, f->mtime);
	buf_hex(&b, (uint32_t)st->st_mtim.tv_nsec);
	buf_char(&b, '"');
	f->etag_n = b.w;
}

static int
fill(struct cached *f, int fd, struct root *root, struct span path, uint32_t hash)
{
	struct stat st;

	if (call_stat(fd, NULL, 0, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))) {
		call_close(fd);
		return 404;
	}
	f->root = root;
	f->hash = hash;
	f->fd = fd;
	f->looked = now;
	f->path_n = path.n <= CACHE_NAME ? path.n : 0;
	memcpy(f->path, path.p, f->path_n);
	describe(f, &st, path);
	return 0;
}

/* One that is not kept: 0 and its place. */
APART static int
open_new(struct root *root, enum links links, struct span path, uint32_t hash, struct cached **out)
{
	int dir = root_open(root), fd = dir < 0 ? -1 : open_below(dir, links, below(path)), status;
	struct cached *f;
	bool found_again;

	if (fd < 0)
		return status_of(errno);
	f = victim(hash, &found_again);
	if (!f) {
		call_close(fd);
		return 503;
	}
	empty(f);
	status = fill(f, fd, root, path, hash);
	if (!status && !found_again)
		f->path_n = 0;
	*out = f;
	return status;
}

int
cache_open(struct root *root, enum links links, struct span path, struct cached **out)
{
	uint32_t hash = hash_of(path) ^ links;  /* what one host may have another one may not */
	struct cached *f = find(root, path, hash);
	int status;

	if (f && !still_there(f, root, path)) {
		cache_drop(f);
		f = NULL;
	}
	if (!f && (status = open_new(root, links, path, hash, &f)))
		return status;
	f->users++;
	f->used = ++uses;
	*out = f;
	return 0;
}
