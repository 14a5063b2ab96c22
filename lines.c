/* lines.c - the configuration's grammar: files, their lines, the words in them, and what fits a pattern of arguments
 *
 *   include --> file_read() --> each_line() --> split() --> apply() --> set() of a row of words[]
 */
#include "words.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* -- arguments ------------------------------------------------------------------------------------- */

struct piece {                          /* of a pattern of arguments */
	struct span text;
	bool starts, ends;              /* first, last in [ ] */
	bool repeats;                   /* when it ends [ ], all of that */
	bool literal;                   /* stands for itself */
	bool names;                     /* and leaves no choice: what follows is called by it */
	unsigned from, to;              /* the first and last piece of its [ ] */
};

static unsigned
pieces_of(const char *args, struct piece to[PIECES_MAX])
{
	struct span rest = span_of(args), s;
	unsigned n = 0, from = 0;
	bool open = false;
	struct piece *p;

	while (n < PIECES_MAX && (s = span_cut(&rest, ' ')).n) {
		p = &to[n];
		*p = (struct piece){ .from = n, .to = n };
		p->starts = s.p[0] == '[';
		p->repeats = span_ends(s, SPAN("..."));
		s = (struct span){ s.p + p->starts, s.n - p->starts - 3 * p->repeats };
		open = open || p->starts;
		p->ends = open && s.p[s.n - 1] == ']';
		open = open && !p->ends;
		p->text = (struct span){ s.p, s.n - p->ends };
		p->literal = s.p[0] < 'A' || s.p[0] > 'Z';
		p->names = p->literal && !find_byte(s.p, '|', s.n);
		from = p->starts ? n : from;
		for (unsigned i = from; p->ends && i <= n; i++)
			to[i].from = from, to[i].to = n;
		n++;
	}
	return n;
}

/* Is arg something that may stand for this piece?  A value may be anything. */
static bool
suits(const struct piece *p, const char *arg)
{
	struct span choices = p->text;

	while (p->literal && choices.n)
		if (span_eq(span_cut(&choices, '|'), span_of(arg)))
			return true;
	return !p->literal;
}

/* Does arg begin something that comes after the piece that is being repeated? */
static bool
begins_later(const struct piece *p, unsigned left, const char *arg)
{
	for (; left; p++, left--)
		if (p->literal && suits(p, arg))
			return true;
	return false;
}

/* Where the options begin that piece i is among: neighbours in [ ] that begin with a word of their own. */
static unsigned
first_option(const struct piece *piece, unsigned i)
{
	while (i && piece[i - 1].ends && piece[piece[i - 1].from].literal)
		i = piece[i - 1].from;
	return i;
}

/* Do the arguments fit the pattern?  Options may stand in any order.  key[] then tells which piece each belongs to: the
 * one it stands for, or the word before it, as in `body SIZE`; none for a word that leaves no choice. */
static bool
fits(const char *args, char *const *arg, unsigned n, bool opens, struct span *key)
{
	struct piece piece[PIECES_MAX], *p;
	unsigned pieces = pieces_of(args, piece), at = 0;
	uint32_t said = 0;              /* of the options that do not repeat, a bit each */

	_Static_assert(PIECES_MAX <= 32, "there are more pieces than bits");
	for (unsigned i = 0; i < pieces; i++) {
		p = &piece[i];
		if (span_eq(p->text, SPAN("{")))
			return at == n && opens;
		if (p->starts && (at == n || said >> i & 1 || !suits(p, arg[at]) ||
		    (!p->literal && begins_later(p + 1, pieces - i - 1, arg[at])))) {
			i = p->to;
			continue;
		}
		do {
			if (at == n || !suits(p, arg[at]))
				return false;
			key[at++] = p->names ? SPAN("") : i && p[-1].names ? p[-1].text : p->text;
		} while (p->repeats && !p->ends && at < n && !begins_later(p + 1, pieces - i - 1, arg[at]));
		if (p->ends && piece[p->from].literal) {
			said |= (uint32_t)!p->repeats << p->from;
			i = first_option(piece, p->from) - 1;
		} else if (p->repeats && p->ends) {
			i = p->from - 1;
		}
	}
	return at == n && !opens;
}

void
apply(const char *name, char *const *arg, unsigned n, bool opens)
{
	const struct word *w = word_find(name);

	reader.beaten = reader.defaults && (!w || !w->set);
	if (reader.beaten)
		return;
	if (!w)
		mistake_unknown(name);
	else if (!w->set)
		not_built(name, word_text(w, W_FEATURE));
	else if (reader.block && !opens && w->section == G_SERVER)
		mistake("'%s' is for the whole server: it stands outside of 'host'", name);
	else if (!fits(word_text(w, W_ARGS), arg, n, opens, reader.key))
		mistake("'%s' is written: %s%s %s", name, reader.file ? "" : "--", name, word_text(w, W_ARGS));
	else
		w->set(w, arg, n);
	if (CONFIG_SHOW && !reader.beaten)
		line_keep(name, arg, n, opens);
}

bool
text_clean(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

/* -- lines ----------------------------------------------------------------------------------------- */

enum brace { NO_BRACE, OPENS, CLOSES };

/* The text between quotes, which \ makes literal; p is behind the first.  Returns what follows the last, or NULL. */
static char *
unquote(char *p)
{
	char *to = p;

	for (; *p != '"'; p++) {
		if (*p == '\\' && (p[1] == '"' || p[1] == '\\'))
			p++;
		if (!*p)
			return NULL;
		*to++ = *p;
	}
	p++;
	*to = '\0';
	return p;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A brace that stands alone, without quotes, is none of the words; where no word has a block it is like any other. */
static enum brace
brace_at(const char *p)
{
	if (!CONFIG_HOSTS || (*p != '{' && *p != '}') || (p[1] && !is_blank(p[1])))
		return NO_BRACE;
	return *p == '{' ? OPENS : CLOSES;
}

/* Cut the word at *at out of its line; NULL after a mistake. */
static char *
word_at(char **at)
{
	char *p = *at, *end;

	if (*p == '"') {
		end = unquote(++p);
		if (!end || (*end && !is_blank(*end))) {
			mistake(end ? "a blank is missing after '\"'" : "a closing '\"' is missing");
			return NULL;
		}
	} else {
		for (end = p; *end && !is_blank(*end); end++)
			;
	}
	*at = *end ? end + 1 : end;
	*end = '\0';
	return p;
}

/* Cut a line into words; -1 after a mistake. */
static int
split(char *text, char *word[WORDS_MAX], enum brace *brace)
{
	int n = 0;

	*brace = NO_BRACE;
	for (;;) {
		while (is_blank(*text))
			text++;
		if (!*text || *text == '#')
			return n;
		if (*brace) {
			mistake(*brace == OPENS ? "'{' ends its line" : "'}' stands on a line of its own");
			return -1;
		}
		*brace = brace_at(text);
		if (*brace) {
			text++;
			continue;
		}
		if (n == WORDS_MAX) {
			too_many(WORDS_MAX, "words in a line");
			return -1;
		}
		word[n] = word_at(&text);
		if (!word[n++])
			return -1;
	}
}

static void
block_end(void)
{
	if (reader.nested) {
		reader.nested--;
		return;
	}
	if (!reader.block || reader.opened != reader.source) {
		mistake("'}' without '{'");
		return;
	}
	reader.block = 0;
	reader.host = reader.conf->hosts;
	if (CONFIG_SHOW)
		line_keep("}", NULL, 0, false);
}

/* The block of a misspelt word is read as well, for the mistakes in it, into a host that nobody will find. */
static bool
block_begin(void)
{
	if (reader.block) {
		mistake("'{' within the '{' of line %u", reader.block);
		reader.nested++;
		return false;
	}
	reader.host = new_host();
	reader.block = reader.line;
	reader.opened = reader.source;
	return true;
}

void
conf_line(char *text)
{
	char *word[WORDS_MAX];
	enum brace brace;
	int n;

	if (strlen(text) > LINE_SIZE) {
		too_many(LINE_SIZE, "bytes in a line");
		return;
	}
	n = split(text, word, &brace);
	if (brace == CLOSES && n)
		mistake("'}' stands on a line of its own");
	if (CONFIG_HOSTS && brace == CLOSES)
		block_end();
	if (CONFIG_HOSTS && brace == OPENS && !block_begin())
		return;
	if (brace == OPENS && !n)
		mistake("a word is missing before '{'");
	if (n > 0 && brace != CLOSES)
		apply(word[0], word + 1, n - 1, brace == OPENS);
}

/* -- files ----------------------------------------------------------------------------------------- */

struct source { struct source *outer; dev_t dev; ino_t ino; };

/* Is this file being read already? */
static bool
within_itself(const struct stat *st)
{
	const struct source *s;

	for (s = reader.source; s && (s->dev != st->st_dev || s->ino != st->st_ino); s = s->outer)
		;
	return s;
}

/* What is in fd, into the scratch arena, with room for a byte behind it; -1 with errno. */
static ssize_t
read_all(int fd, const struct stat *st, char **text)
{
	size_t room = st->st_size < CLIENT_OUT ? CLIENT_OUT : (size_t)st->st_size + 1, n = 0;
	ssize_t got;

	if (st->st_size >= FILE_SIZE)
		return errno = EFBIG, -1;
	*text = scratch(room + 1);
	while ((got = call_read(fd, *text + n, room - n)) > 0)
		n += got;
	if (got == 0 && n == room)
		return errno = EFBIG, -1;
	return got < 0 ? -1 : (ssize_t)n;
}

/* A byte that no text has means that this is no configuration, and one mistake is enough to say so. */
static bool
is_text(const char *p, size_t n)
{
	unsigned line = 1;

	for (; n; p++, n--) {
		unsigned char c = *p;

		line += c == '\n';
		if ((c < ' ' && c != '\n' && c != '\t' && c != '\r') || c == 127) {
			reader.line = line;
			return mistake("this is no text: there is a byte 0x%x", c);
		}
	}
	return true;
}

static void
each_line(char *p, size_t size, void (*line)(char *))
{
	char *end = p + size, *lf;

	*end = '\0';
	for (reader.line = 1; p < end; p = lf + 1, reader.line++) {
		lf = find_byte(p, '\n', end - p);
		if (!lf)
			lf = end;
		*lf = '\0';
		if (lf > p && lf[-1] == '\r')
			lf[-1] = '\0';
		if (find_char(p, '\r'))
			mistake("there is a carriage return in the middle of this line");
		else
			line(p);
	}
}

/* Open and read before reader.file changes: when it fails, the line that names the file is where the mistake is. */
static ssize_t
file_read(const char *path, struct source *source, char **text)
{
	int fd = call_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0), error;
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && call_stat(fd, NULL, 0, &st) == 0) {
		*source = (struct source){ reader.source, st.st_dev, st.st_ino };
		errno = within_itself(&st) ? ELOOP : S_ISDIR(st.st_mode) ? EISDIR : 0;
		n = errno ? -1 : read_all(fd, &st, text);
	}
	error = errno;
	if (fd >= 0)
		call_close(fd);
	if (n < 0 && error == ELOOP)
		mistake("%s includes itself", path);
	else if (n < 0)
		mistake("%s: %s", path, error_text(error));
	return n;
}

struct span
file_text(const char *path)
{
	struct source source;
	char *text = NULL;
	ssize_t n = file_read(path, &source, &text);

	return n < 0 ? (struct span){ NULL, 0 } : (struct span){ text, (unsigned)n };
}

bool
file_lines(const char *path, void (*line)(char *))
{
	const char *outer_file = reader.file;
	unsigned outer_line = reader.line;
	struct source source;
	char *text = NULL;
	ssize_t n;
	bool good;

	n = file_read(path, &source, &text);
	if (n < 0)
		return false;
	reader.file = scratch_text("", 0, path);
	reader.source = &source;
	good = is_text(text, n);
	if (good)
		each_line(text, n, line);
	reader.source = source.outer;
	reader.file = outer_file;
	reader.line = outer_line;
	return good;
}

/* A block ends in the file where it began. */
void
conf_file(const char *path)
{
	unsigned block = reader.block, nested = reader.nested;
	struct host *host = reader.host;
	const char *file = reader.file;
	unsigned line = reader.line;

	file_lines(path, conf_line);
	if (CONFIG_HOSTS && reader.block && !block) {
		reader.file = path;
		reader.line = reader.block;
		mistake("this '{' is never closed");
		reader.file = file;
		reader.line = line;
	}
	reader.block = block;
	reader.nested = nested;
	reader.host = host;
}

/* Relative to the folder of the file that includes it. */
static const char *
beside(const char *path)
{
	const char *slash = reader.file && path[0] != '/' ? find_last(reader.file, '/') : NULL;

	return scratch_text(reader.file, slash ? slash + 1 - reader.file : 0, path);
}

/* "*" is any text, "?" any letter.  The one star that may still take more is where to go back to. */
static bool
like(const char *pattern, const char *name)
{
	const char *star = NULL, *from = name;

	while (*name) {
		if (*pattern == '*') {
			star = ++pattern;
			from = name;
		} else if (*pattern == *name || *pattern == '?') {
			pattern++;
			name++;
		} else if (star) {
			pattern = star;
			name = ++from;
		} else {
			return false;
		}
	}
	while (*pattern == '*')
		pattern++;
	return !*pattern;
}

struct entry { struct entry *next; const char *path; };

static void
entry_add(struct entry **list, const char *path)
{
	struct entry *entry = scratch(sizeof *entry);

	while (*list && strcmp((*list)->path, path) < 0)
		list = &(*list)->next;
	*entry = (struct entry){ *list, path };
	*list = entry;
}

/* The files in a folder that match, in the order of their names: glob(3) would do the same, and weigh 30 KB.  An empty
 * folder of additions is no mistake, and neither is one that is not there. */
static struct entry *
matching(const char *pattern, const char *file)
{
	const char *folder = file == pattern ? "." : scratch_text(pattern, file - pattern, "");
	int fd = call_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	const struct folder_entry *d;
	struct entry *list = NULL;
	long left = fd < 0 ? -1 : 0;

	while (left >= 0 && (d = folder_next(fd, &left)))
		if (d->name[0] != '.' && like(file, d->name))
			entry_add(&list, scratch_text(pattern, file - pattern, d->name));
	if (left < 0 && errno != ENOENT)
		mistake("%s: %s", pattern, error_text(errno));
	if (fd >= 0)
		call_close(fd);
	return list;
}

void
include(const char *pattern)
{
	struct entry one = { .path = pattern = beside(pattern) }, *entry = &one;
	const char *slash = find_last(pattern, '/'), *file = slash ? slash + 1 : pattern;

	if (find_char(file, '*') || find_char(file, '?'))
		entry = matching(pattern, file);
	if (reader.depth == INCLUDE_DEPTH) {
		mistake("files that include each other, more than %d deep", INCLUDE_DEPTH);
		return;
	}
	for (reader.depth++; entry; entry = entry->next) {
		if (reader.files++ < INCLUDE_FILES)
			conf_file(entry->path);
		else if (reader.files == INCLUDE_FILES + 1)
			too_many(INCLUDE_FILES, "files");
	}
	reader.depth--;
}
