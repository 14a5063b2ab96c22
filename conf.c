/* conf.c - the configuration from its beginning to its end: memory, mistakes, the command line, what is left to do
 *
 *   conf_read() --> command_line(), conf_file() --> finish() --> in force --> conf_release()
 *
 * Nothing here ends the program, because a running server reads its configuration again.  All mistakes are told in one
 * run.  Whatever is kept lies in an arena that goes when the last request under this configuration has ended.
 */
#include "resolve.h"
#include "tls.h"
#include "words.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct conf *conf;
struct reader reader;

/* -- memory ---------------------------------------------------------------------------------------- */

enum { CHUNK_SIZE = 4096, ALIGN = 8 };

struct chunk { struct chunk *next; size_t size; _Alignas(ALIGN) char data[]; };
struct box { struct conf conf; struct kept kept; };     /* the first piece of its own arena */

/* From the kernel, zeroed, without libc's allocator: nothing else here needs one. */
static void *
arena_take(struct arena *a, size_t n)
{
	struct chunk *chunk;
	size_t size;
	char *p;

	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (n <= a->left) {
		p = a->p;
		a->p += n;
		a->left -= n;
		return p;
	}
	size = (sizeof *chunk + n + CHUNK_SIZE - 1) / CHUNK_SIZE * CHUNK_SIZE;
	chunk = call_map(size, 0);
	if (!chunk)
		longjmp(reader.no_memory, 1);
	*chunk = (struct chunk){ a->chunks, size };
	a->chunks = chunk;
	size -= sizeof *chunk + n;
	if (size > a->left) {           /* what is left of one of them is used on */
		a->p = chunk->data + n;
		a->left = size;
	}
	return chunk->data;
}

/* The arena itself may lie in it. */
static void
arena_free(const struct arena *a)
{
	struct chunk *chunk, *next;

	for (chunk = a->chunks; chunk; chunk = next) {
		next = chunk->next;
		call_munmap(chunk, chunk->size);
	}
}

void *
keep(size_t n)
{
	return arena_take(&((struct kept *)reader.conf->arena)->arena, n);
}

void *
scratch(size_t n)
{
	return arena_take(reader.scratch, n);
}

char *
scratch_text(const char *before, size_t n, const char *text)
{
	size_t size = strlen(text) + 1;
	char *p = scratch(n + size);

	if (n)
		memcpy(p, before, n);
	memcpy(p + n, text, size);
	return p;
}

struct span
keep_span(struct span s)
{
	char *p = keep(s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	return (struct span){ p, s.n };
}

char *
keep_text(const char *text)
{
	size_t size = strlen(text) + 1;

	return memcpy(keep(size), text, size);
}

char *
keep_folder(const char *text)
{
	char here[PATH_STORE];
	long size;

	/* Not getcwd(3), which may ask malloc for the name. */
	if (*text == '/' || (size = syscall(SYS_getcwd, here, sizeof here)) < 0 || here[0] != '/')
		return keep_text(text);
	here[size - 1] = '/';
	return keep_text(scratch_text(here, size, text));
}

/* -- mistakes -------------------------------------------------------------------------------------- */

/* While a server runs, its log is where the operator looks. */
static void
tell(struct buf *b)
{
	if (conf) {
		log_line(LOG_ERROR, "%.*s", (int)b->w, b->data);
		return;
	}
	b->data[b->w++] = '\n';
	if (call_write(STDERR_FILENO, b->data, b->w) < 0)
		return;                 /* there is no one left to tell */
}

bool
mistake(const char *format, ...)
{
	char store[2 * LINE_SIZE];
	struct buf b = { .data = store, .size = sizeof store - 1 };
	va_list args;

	if (reader.mistakes++ > MISTAKES_MAX)
		return false;
	if (reader.mistakes > MISTAKES_MAX) {
		buf_print(&b, "%d mistakes: the rest is not told", MISTAKES_MAX);
	} else {
		if (reader.file)
			buf_print(&b, "%s:%u: ", reader.file, reader.line);
		else
			buf_text(&b, "command line: ");
		va_start(args, format);
		buf_vprint(&b, format, args);
		va_end(args);
	}
	tell(&b);
	return false;
}

bool
is_no(const char *text, const char *what)
{
	return mistake("'%s' is no %s", text, what);
}

bool
not_built(const char *word, const char *feature)
{
	return mistake("'%s' is not in this build (%s)", word, feature);
}

bool
too_many(int most, const char *what)
{
	return mistake("more than %d %s", most, what);
}

/* How many letters there are, of the longer one, between what both begin with and what both end with. */
static unsigned
differ(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);

	for (; *a && *a == *b; a++, b++)
		n--, m--;
	for (; n && m && a[n - 1] == b[m - 1]; m--)
		n--;
	return n > m ? n : m;
}

void
mistake_unknown(const char *text)
{
	unsigned nearest = (strlen(text) + 2) / 3 + 1, letters;
	const char *guess = NULL, *what = reader.file ? "word" : "option";

	for (const struct word *w = words; CONFIG_GUESS && w->name; w++) {
		letters = differ(text, w->name);
		if (letters < nearest) {
			nearest = letters;
			guess = w->name;
		}
	}
	if (guess)
		mistake("unknown %s '%s'; did you mean '%s'?", what, text, guess);
	else
		mistake("unknown %s '%s'", what, text);
}

const struct place *
place_of(const void *field)
{
	const struct place *p;

	for (p = reader.places; p && p->field != field; p = p->next)
		;
	return p;
}

void
remember(const void *field)
{
	struct place *p = scratch(sizeof *p);

	*p = (struct place){ reader.places, field, reader.file, reader.line };
	reader.places = p;
}

bool
once(const void *field, const char *what)
{
	const struct place *p = place_of(field);

	if (!p) {
		remember(field);
		return true;
	}
	if (reader.defaults || (!p->file && reader.file))
		reader.beaten = true;
	else if (p->file)
		mistake("'%s' is already set: %s:%u", what, p->file, p->line);
	else
		mistake("'%s' is already set: command line", what);
	return false;
}

/* -- the command line ------------------------------------------------------------------------------ */

/* -x, and how many arguments it took with it; those that conf_answers knows mean nothing here. */
static int
short_option(char **arg, int n, char **file)
{
	if (!strcmp(arg[0], "-f") && n > 1 && !*file) {
		*file = arg[1];
		return 2;
	}
	if (!strcmp(arg[0], "-f"))
		mistake(n > 1 ? "a second -f: one file can include others" : "-f FILE: the name is missing");
	else if (word_find(arg[0] + 1))
		mistake("unknown option '%s'; did you mean '-%s'?", arg[0], arg[0]);
	else if (strlen(arg[0]) != 2 || !find_char("thV", arg[0][1]))
		mistake("unknown option '%s'; -h shows what there is", arg[0]);
	return 1;
}

/* --word and its arguments, which end at the next that begins with "-". */
static int
long_option(char **arg, int n)
{
	int end = 1;

	while (end < n && arg[end][0] != '-')
		end++;
	if (end > WORDS_MAX)
		mistake("more than %d arguments to '%s'", WORDS_MAX, arg[0]);
	else
		apply(arg[0] + 2, arg + 1, end - 1, false);
	return end;
}

static void
command_line(int n, char **arg, char **file)
{
	bool options = true;

	for (int i = 0; i < n; i++)
		take_clean(arg[i]);
	for (int i = 0; i < n && !reader.mistakes;) {
		if (options && !strcmp(arg[i], "--")) {
			options = false;
			i++;
		} else if (options && arg[i][0] == '-') {
			i += arg[i][1] == '-' ? long_option(arg + i, n - i) : short_option(arg + i, n - i, file);
		} else {
			apply("root", &arg[i++], 1, false);
		}
	}
}

/* -- the end --------------------------------------------------------------------------------------- */

struct host *
new_host(void)
{
	struct host *host = keep(sizeof *host);

	host->root.fd = -1;
	return host;
}

static void
append(struct rule **to, struct rule *tail)
{
	while (*to)
		to = &(*to)->next;
	*to = tail;
}

/* What a host does not say itself, the first one says for it. */
static void
inherit(struct host *host)
{
	const struct host *first = reader.conf->hosts;

	if (!host->root.path)
		host->root.path = first->root.path;
	if (!host->nindex) {
		memcpy(host->index, first->index, sizeof host->index);
		host->nindex = first->nindex;
	}
	if (!place_of(&host->links))
		host->links = first->links;
	if (!place_of(&host->dotfiles))
		host->dotfiles = first->dotfiles;
	append(&host->routes, first->routes);
	append(&host->filters, first->filters);
}

/* What is told next is about the line of this rule. */
static void
stand_at(const void *rule)
{
	const struct place *p = place_of(rule);

	reader.file = p->file;
	reader.line = p->line;
}

/* Scripts that are files are looked for below the root, so there must be one. */
static void
check_scripts(const struct host *host)
{
	for (const struct rule *rule = host->routes; rule; rule = rule->next) {
		bool files = rule->kind == R_CGI || (rule->backends && rule->pattern.kind == MATCH_EXT);

		if (!files || rule->remote || host->root.path)
			continue;
		stand_at(rule);
		mistake("scripts '%s%.*s' are files below 'root', and there is no 'root'",
		    rule->pattern.kind == MATCH_EXT ? "*" : "", (int)rule->pattern.text.n, rule->pattern.text.p);
	}
}

/* A backend whose certificate nobody looks at has to be asked for in so many words. */
static void
check_secure(const struct host *host)
{
	for (const struct rule *rule = host->routes; rule && !reader.conf->ca; rule = rule->next) {
		if (!rule->secure || rule->secure->check)
			continue;
		stand_at(rule);
		mistake("whom to believe that this is the backend? 'ca FILE' names authorities, 'check SHA256' the "
		    "certificate itself, 'check nothing' anybody");
		return;
	}
}

/* A request remembers which lines set fields of its response by their places, in one word of bits. */
static void
check_filters(const struct host *host)
{
	unsigned n = 0;

	for (const struct rule *rule = host->filters; rule; rule = rule->next) {
		if (n++ < FILTERS_MAX || (rule->kind != R_HEADER && rule->kind != R_EXPIRES && rule->kind != R_HSTS))
			continue;
		stand_at(rule);
		mistake("'%s' comes too late: %d filters are before it, those outside of 'host' counted",
		    word_of_rule(rule->kind)->name, FILTERS_MAX);
		return;
	}
}

static bool
is_guard(const struct rule *rule)
{
	return rule->kind == R_ALLOW || rule->kind == R_AUTH;
}

/* The line before it that leaves nothing for it; those of the command line are meant to go before a file's. */
static const struct place *
covering(const struct host *host, const struct rule *rule)
{
	const struct place *own = place_of(rule), *p;

	for (const struct rule *before = host->filters; before != rule; before = before->next) {
		p = place_of(before);
		if (before->kind == rule->kind && pattern_covers(&before->pattern, &rule->pattern) && (p->file || !own->file))
			return p;
	}
	return NULL;
}

/* Of these the first that matches decides, so one that could never be asked is a mistake, and a dangerous one. */
static void
check_guards(struct host *host)
{
	const struct rule *end = host == reader.conf->hosts ? NULL : reader.conf->hosts->filters;
	const struct place *p;

	for (const struct rule *rule = host->filters; rule; rule = rule->next)
		host->guarded |= is_guard(rule);
	for (const struct rule *rule = host->filters; rule != end; rule = rule->next) {
		if (!is_guard(rule) || !(p = covering(host, rule)))
			continue;
		stand_at(rule);
		mistake("this line is never asked: '%s' of line %u goes before it and covers it",
		    word_of_rule(rule->kind)->name, p->line);
	}
}

static void
check_listeners(const struct conf *cf)
{
	for (const struct listener *l = cf->listen; l < cf->listen + cf->nlisten; l++) {
		if (!(l->flags & LISTEN_PROXIED) || cf->trust)
			continue;
		stand_at(l);
		mistake("'proxy-protocol' needs a line that says who may speak it: trust RANGE...");
	}
}

static void
read_defaults(void)
{
	reader.defaults = true;
	for (const char *line = defaults; *line; line = text_at(line, 1))
		conf_line(scratch_text("", 0, line));
}

static void
finish(const char *file)
{
	struct conf *cf = reader.conf;
	bool serves = false;

	cf->listen_default = !cf->nlisten;
	read_defaults();
	if (CONFIG_TRUST)
		check_listeners(cf);
	for (struct host *host = cf->hosts; host; host = host->next) {
		if (CONFIG_HTTPS)
			check_secure(host);     /* its own lines alone */
		if (CONFIG_HOSTS && host != cf->hosts)
			inherit(host);
		serves = serves || host->root.path || host->routes;
		if (CONFIG_GATEWAY && (host == cf->hosts || host->root.path != cf->hosts->root.path))
			check_scripts(host);
		if (CONFIG_FIELDS)
			check_filters(host);
		if (CONFIG_GUARDS)
			check_guards(host);
	}
	for (struct host *host = cf->hosts; host; host = host->next)
		if (!host->root.path)
			host->root.path = "";   /* a folder that is never found */
	if (!serves && !reader.mistakes) {
		reader.file = file;
		reader.line = 1;
		mistake("there is nothing to serve: neither 'root' nor a route");
	}
}

static void
new_conf(void)
{
	struct arena arena = { 0 };
	struct box *box = arena_take(&arena, sizeof *box);

	box->kept.arena = arena;
	box->kept.end = &box->kept.lines;
	box->conf.arena = &box->kept;
	box->conf.users = 1;            /* whoever asked for it, until it is released */
	reader.conf = &box->conf;
}

static void
read_everything(int argc, char **argv)
{
	char *file = NULL;

	reader.host = reader.conf->hosts = new_host();
	command_line(argc - 1, argv + 1, &file);
	if (file)
		conf_file(file);
	finish(file);
}

static bool
read_or_fail(int argc, char **argv)
{
	if (setjmp(reader.no_memory)) {
		reader.file = NULL;
		return mistake("no memory for the configuration");
	}
	new_conf();
	read_everything(argc, argv);
	return !reader.mistakes;
}

struct conf *
conf_read(int argc, char **argv)
{
	struct arena scratch_arena = { 0 };
	bool good;

	reader = (struct reader){ .scratch = &scratch_arena };
	good = read_or_fail(argc, argv);

	arena_free(&scratch_arena);
	if (!good && reader.conf)
		conf_release(reader.conf);
	return good ? reader.conf : NULL;
}

static void
close_root(const struct root *root)
{
	if (root->fd >= 0)
		call_close(root->fd);
}

void
conf_release(struct conf *cf)
{
	struct kept *kept = cf->arena;

	assert(cf->users);
	if (--cf->users)
		return;
	if (CONFIG_TLS)
		certificates_close(cf);
	for (struct host *host = cf->hosts; host; host = host->next) {
		close_root(&host->root);
		for (struct rule *rule = CONFIG_RULES ? host->routes : NULL; rule; rule = rule->next) {
			if (host != cf->hosts && rule == cf->hosts->routes)
				break;
			if (rule->kind == R_ALIAS)
				close_root(&rule->root);
			for (struct rule *x = rule->sendfile; x; x = x->next)
				close_root(&x->root);
			for (struct backend *b = CONFIG_RESOLVE ? rule->backends : NULL; b; b = b->next)
				if (b->name)
					name_forget(b->name);
		}
	}
	arena_free(&kept->arena);
}
