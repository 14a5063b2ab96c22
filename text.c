/* text.c - files of the system, a line at a time: passwords, names of hosts, whom to ask for others
 *
 * Not by stdio, which weighs more than all who read them.
 */
#include "base.h"

#include <fcntl.h>

static char store[TEXT_LINE];
static struct buf b;
static int fd = -1;                     /* -1: no file is being read */
static bool too_long;                   /* the line at hand: what it began with is gone */

bool
text_open(const char *path)
{
	b = buf_on(store, sizeof store);
	too_long = false;
	fd = call_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
	return fd >= 0;
}

/* More of the line at hand; false at the end of the file. */
static bool
fill(void)
{
	ssize_t n;

	buf_pack(&b);
	if (!buf_room(&b)) {
		too_long = true;
		b.w = 0;
	}
	n = call_read(fd, b.data + b.w, buf_room(&b));
	b.w += n > 0 ? n : 0;
	return n > 0;
}

bool
text_line(struct span *line)
{
	while (fd >= 0) {
		const char *lf = find_byte(b.data + b.r, '\n', buf_used(&b));
		bool whole = !too_long;

		if (!lf && fill())
			continue;
		if (!buf_used(&b)) {
			call_close(fd);
			fd = -1;
			wipe(store, sizeof store);      /* they may have been hashes of passwords */
			break;
		}
		*line = (struct span){ b.data + b.r, lf ? (unsigned)(lf - b.data) - b.r : buf_used(&b) };
		b.r += line->n + (lf != NULL);
		if (line->n && line->p[line->n - 1] == '\r')
			line->n--;
		too_long = false;
		if (whole)
			return true;
	}
	return false;
}
