/* words.c - the directives: one table, and how each is set and shown
 *
 * A new scalar is a row with a setter and a shower that exist already.  A new route or filter is a row whose pattern of
 * arguments names its parts; a part that no other rule has is a row of parts[].
 */
#include "words.h"

#include <string.h>

enum { NUMBER_MAX = 1 << 30, DAY = 86400 };

const char *const timeout_names[TIMEOUTS] = {
	[T_HEAD] = "head", [T_BODY] = "body", [T_IDLE] = "idle", [T_SEND] = "send", [T_CONNECT] = "connect",
	[T_BACKEND] = "backend", [T_KEEP] = "keep", [T_QUEUE] = "queue", [T_LINGER] = "linger", [T_STOP] = "stop",
};

static const char *const level_names[] = {
	[LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug",
};
enum { LEVELS = sizeof level_names / sizeof *level_names };

static const char *const link_names[] = { [LINKS_OWNER] = "owner", [LINKS_INSIDE] = "inside", [LINKS_ANY] = "any" };
static const char *const dotfile_names[] = { "hide", "show" };

static const char *const target_names[] = {
	[TO_STDERR] = "stderr", [TO_SYSLOG] = "syslog", [TO_FILE] = "/path", [TO_NOWHERE] = "off",
};
enum { TARGETS = sizeof target_names / sizeof *target_names };

static const char *
timeout_name(unsigned i)
{
	return i < TIMEOUTS ? timeout_names[i] : NULL;
}

static const char *
level_name(unsigned i)
{
	return i < LEVELS ? level_names[i] : NULL;
}

static const char *
target_name(unsigned i)
{
	return i < TARGETS ? target_names[i] : NULL;
}

static unsigned
name_index(const char *text, const char *(*name)(unsigned))
{
	unsigned i;

	for (i = 0; name(i) && strcmp(name(i), text); i++)
		;
	return i;
}

/* -- scalars --------------------------------------------------------------------------------------- */

static void *
field_of(const struct reader *r, const struct word *w)
{
	return (w->section == G_SERVER ? (char *)r->conf : (char *)r->host) + w->at;
}

static void
text_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	const char **to = field_of(r, w);

	(void)n;
	if (!*arg[0])
		mistake(r, "the argument of '%s' is empty", w->name);
	else if (once(r, to, w->name))
		*to = keep_text(r, arg[0]);
}

static void
root_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	const char **to = field_of(r, w);

	text_set(r, w, arg, n);
	if (*to && *to[0] != '/')
		*to = keep_folder(r, *to);
}

static bool
text_field_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const char *text = *(const char *const *)((const char *)from + w->at);

	if (i || !text || !*text)
		return false;
	text_show(b, span_of(text));
	return true;
}

static void
number_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	unsigned *to = field_of(r, w);
	uint64_t number;

	(void)n;
	if (take_number(r, arg[0], w->min, w->max, &number) && once(r, to, w->name))
		*to = number;
}

static bool
number_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	if (!i)
		buf_print(b, " %u", *(const unsigned *)((const char *)from + w->at));
	return !i;
}

static void
clients_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	uint64_t clients, parked = r->conf->parked;

	if (!take_number(r, arg[0], w->min, w->max, &clients) || (n > 1 && !take_number(r, arg[1], 0, 65535, &parked)))
		return;
	if (!once(r, &r->conf->clients, w->name))
		return;
	r->conf->clients = clients;
	r->conf->parked = parked;
}

static bool
clients_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct conf *cf = from;

	(void)w;
	if (!i)
		buf_print(b, " %u %u", cf->clients, cf->parked);
	return !i;
}

static void
memory_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	uint64_t size;

	(void)n;
	if (!take_size(r, arg[0], &size))
		return;
	if (!size)
		mistake(r, "'memory 0' leaves nothing to run in");
	else if (once(r, &r->conf->memory, w->name))
		r->conf->memory = size;
}

static bool
memory_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct conf *cf = from;

	(void)w;
	if (!i && cf->memory)
		size_show(b, cf->memory);
	return !i && cf->memory;
}

/* Seconds with up to three decimals, as milliseconds. */
static bool
take_time(struct reader *r, const char *text, unsigned *to)
{
	struct span part = span_of(text), whole = span_cut(&part, '.');
	bool point = strchr(text, '.');
	uint64_t seconds, ms = 0;

	if (span_uint(whole, &seconds) && seconds <= DAY && (!point || (part.n <= 3 && span_uint(part, &ms)))) {
		for (unsigned i = part.n; ms && i < 3; i++)
			ms *= 10;
		*to = seconds * 1000 + ms;
		if (*to)
			return true;
	}
	return mistake(r, "'%s' is no time in seconds from 0.001 to %d", text, DAY);
}

static void
timeout_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	unsigned i = name_index(arg[0], timeout_name), ms;

	(void)w;
	(void)n;
	if (i == TIMEOUTS)
		mistake_unknown(r, "timeout", arg[0], timeout_name);
	else if (take_time(r, arg[1], &ms) && once(r, &r->conf->timeout[i], arg[0]))
		r->conf->timeout[i] = ms;
}

static bool
timeout_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct conf *cf = from;
	unsigned ms;

	(void)w;
	if (i == TIMEOUTS)
		return false;
	buf_print(b, " %s %u", timeout_names[i], cf->timeout[i] / 1000);
	ms = cf->timeout[i] % 1000;
	if (ms)
		buf_print(b, ".%u%u%u", ms / 100, ms / 10 % 10, ms % 10);
	return true;
}

static void
spool_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	uint64_t size;

	(void)n;
	if (!take_dir(r, arg[0]) || !take_size(r, arg[1], &size) || !once(r, &r->conf->spool, w->name))
		return;
	r->conf->spool = keep_text(r, arg[0]);
	r->conf->spool_size = size;
}

static bool
spool_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct conf *cf = from;

	(void)w;
	if (i || !cf->spool)
		return false;
	text_show(b, span_of(cf->spool));
	size_show(b, cf->spool_size);
	return true;
}

static void
choice_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	bool links = w->at == offsetof(struct host, links);
	const char *const *name = links ? link_names : dotfile_names;
	unsigned i = 0;

	(void)n;
	if (!once(r, field_of(r, w), w->name))
		return;
	while (strcmp(name[i], arg[0]))         /* it fits the pattern, so it is one of them */
		i++;
	if (links)
		r->host->links = i;
	else
		r->host->dotfiles = i;
}

static bool
choice_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct host *host = from;

	if (!i)
		buf_print(b, " %s", w->at == offsetof(struct host, links) ? link_names[host->links] :
		    dotfile_names[host->dotfiles]);
	return !i;
}

static void
index_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	struct host *host = r->host;

	if (n > INDEX_MAX) {
		mistake(r, "more than %d names in 'index'", INDEX_MAX);
		return;
	}
	if (!once(r, host->index, w->name))
		return;
	for (host->nindex = 0; host->nindex < n; host->nindex++) {
		struct span name = span_of(arg[host->nindex]);

		if (!name.n || memchr(name.p, '/', name.n) || !text_clean(name.p))
			mistake(r, "'%s' is no name of a file in a folder", name.p);
		host->index[host->nindex] = keep_span(r, name);
	}
}

static bool
index_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct host *host = from;

	(void)w;
	for (unsigned j = 0; !i && j < host->nindex; j++)
		text_show(b, host->index[j]);
	return !i && host->nindex;
}

/* -- words with a mind of their own ---------------------------------------------------------------- */

static void
listen_one(struct reader *r, const char *text)
{
	struct conf *cf = r->conf;
	struct listener *l = &cf->listen[cf->nlisten];

	if (cf->nlisten == LISTEN_MAX) {
		mistake(r, "more than %d addresses to listen on", LISTEN_MAX);
		return;
	}
	if (!addr_parse(&l->addr, text, "*")) {
		mistake(r, "'%s' is no address to listen on: those are PORT, HOST:PORT, [V6]:PORT and unix:PATH; HOST is "
		    "a number, 'localhost' or '*'", text);
		return;
	}
	for (unsigned i = 0; i < cf->nlisten; i++)
		if (addr_same(&cf->listen[i].addr, &l->addr) &&
		    (addr_port(&l->addr) || l->addr.u.any.sa_family == AF_UNIX) &&
		    !once(r, &cf->listen[i], cf->listen[i].text))
			return;
	l->text = keep_text(r, text);
	l->fd = -1;
	cf->nlisten++;
	remember(r, l);
}

/* The addresses of the command line take the place of those in files. */
static void
listen_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	const struct place *first = place_of(r, &r->conf->listen[0]);

	(void)w;
	if (first && !first->file && r->file)
		return;
	for (unsigned i = 0; i < n; i++)
		listen_one(r, arg[i]);
}

static bool
listen_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct conf *cf = from;

	(void)w;
	if (i < cf->nlisten)
		text_show(b, span_of(cf->listen[i].text));
	return i < cf->nlisten;
}

/* A line of /etc/passwd or /etc/group: name:password:number:..., and for a user the number of its group. */
static void
account_line(struct reader *r, char *text)
{
	struct account *a = r->account;
	struct span rest = span_of(text);
	uint64_t id, group = 0;

	if (a->found || !span_eq(span_cut(&rest, ':'), a->name))
		return;
	span_cut(&rest, ':');
	if (!span_uint(span_cut(&rest, ':'), &id) || (a->user && !span_uint(span_cut(&rest, ':'), &group)))
		return;
	*a = (struct account){ a->name, a->user, true, id, group };
}

/* By name or number.  The files are read here because getpwnam(3) brings 15 KB of stdio, and in a static program
 * reads nothing else.  A number stands for the group of the same number too. */
static bool
account_find(struct reader *r, struct account *a, const char *name, bool user)
{
	*a = (struct account){ .name = span_of(name), .user = user };
	a->found = span_uint(a->name, &a->id) && a->id < UINT32_MAX;
	a->group = a->id;
	r->account = a;
	if (!a->found && CONFIG_USER_NAMES && a->name.n)
		file_lines(r, user ? "/etc/passwd" : "/etc/group", account_line);
	if (!a->found)
		mistake(r, "there is no %s '%s'%s", user ? "user" : "group", name, CONFIG_USER_NAMES ? "" :
		    "; only numbers are known to this build (CONFIG_USER_NAMES)");
	return a->found;
}

static void
user_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	char *name = scratch_text(r, "", 0, arg[0]), *colon = strchr(name, ':');
	struct account user, group;

	(void)n;
	if (colon)
		*colon++ = '\0';
	if (!account_find(r, &user, name, true) || (colon && !account_find(r, &group, colon, false)) ||
	    !once(r, &r->conf->user, w->name))
		return;
	r->conf->user = keep_text(r, arg[0]);
	r->conf->uid = user.id;
	r->conf->gid = colon ? group.id : user.group;
}

static bool
take_target(struct reader *r, const char *text, enum log_target *to)
{
	unsigned target = text[0] == '/' ? TO_FILE : name_index(text, target_name);

	if (target == TARGETS)
		return mistake(r, "'%s' is no place to log to: those are stderr, syslog, off and /path", text);
	if (target == TO_SYSLOG && !CONFIG_SYSLOG)
		return mistake(r, "'syslog' is not in this build (CONFIG_SYSLOG)");
	*to = target;
	return true;
}

static void
access_set(struct reader *r, const char *text, enum log_target to)
{
	if (to != TO_NOWHERE && !CONFIG_ACCESS_LOG) {
		mistake(r, "'log access' is not in this build (CONFIG_ACCESS_LOG)");
	} else if (once(r, &r->conf->access_to, "log access")) {
		r->conf->access_to = to;
		r->conf->access_log = to == TO_FILE ? keep_text(r, text) : NULL;
	}
}

static void
log_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	bool errors = !strcmp(arg[0], "errors");
	unsigned level = n > 2 ? name_index(arg[2], level_name) : LOG_INFO;
	enum log_target to = TO_NOWHERE;

	(void)w;
	if (level == LEVELS)
		mistake_unknown(r, "level", arg[2], level_name);
	else if (!errors && n > 2)
		mistake(r, "a level is for 'log errors'");
	else if (!take_target(r, arg[1], &to))
		return;
	else if (!errors)
		access_set(r, arg[1], to);
	else if (once(r, &r->conf->error_to, "log errors")) {
		r->conf->error_to = to;
		r->conf->error_log = to == TO_FILE ? keep_text(r, arg[1]) : NULL;
		r->conf->level = level;
	}
}

static bool
log_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct conf *cf = from;
	enum log_target to = i ? cf->access_to : cf->error_to;

	(void)w;
	if (i > 1)
		return false;
	buf_text(b, i ? " access" : " errors");
	text_show(b, to == TO_FILE ? span_of(i ? cf->access_log : cf->error_log) : span_of(target_names[to]));
	if (!i)
		buf_print(b, " %s", level_names[cf->level]);
	return true;
}

/* A line in the form of /etc/mime.types: a type, then its extensions, or none. */
static void
types_line(struct reader *r, char *text)
{
	struct span rest = span_of(text), word, mime = { 0 };
	struct type *type;
	char *p;

	for (p = text; *p; p++)
		*p = *p == '\t' ? ' ' : *p;
	while (rest.n) {
		word = span_cut(&rest, ' ');
		if (word.n && word.p[0] == '#')
			return;
		if (word.n && !mime.n) {
			if (!memchr(word.p, '/', word.n)) {
				mistake(r, "'%.*s' is no media type, such as text/html", (int)word.n, word.p);
				return;
			}
			mime = keep_span(r, word);
		} else if (word.n) {
			type = keep(r, sizeof *type);
			*type = (struct type){ r->conf->types, keep_span(r, word), mime };
			for (p = (char *)(uintptr_t)type->ext.p; *p; p++)
				*p = lower(*p);
			r->conf->types = type;
		}
	}
}

static void
types_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	struct kept *kept = r->conf->arena;
	struct text **end, *file = keep(r, sizeof *file);

	(void)w;
	(void)n;
	if (!file_lines(r, arg[0], types_line))
		return;
	file->text = keep_text(r, arg[0]);
	for (end = &kept->types; *end; end = &(*end)->next)
		;
	*end = file;
}

static bool
types_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct kept *kept = ((const struct conf *)from)->arena;
	const struct text *file = kept->types;

	(void)w;
	while (file && i--)
		file = file->next;
	if (file)
		text_show(b, span_of(file->text));
	return file;
}

static void
include_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	(void)w;
	(void)n;
	include(r, arg[0]);
}

/* A name, "*.example.org", a number or [v6]; without port. */
static bool
host_name(struct reader *r, char *name)
{
	bool six = name[0] == '[' && name[strlen(name) - 1] == ']', good = name[0];

	for (char *p = name; *p; p++) {
		*p = lower(*p);
		good = good && ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || strchr("-._", *p) ||
		    (*p == '*' && p == name && p[1] == '.' && p[2]) || (six && strchr("[]:", *p)));
	}
	if (!good)
		mistake(r, "'%s' is no name of a host, such as example.org, *.example.org, 192.0.2.1 or [2001:db8::1]",
		    name);
	return good;
}

static bool
host_is_new(struct reader *r, struct span name)
{
	for (const struct host *host = r->conf->hosts; host; host = host->next)
		for (unsigned i = 0; i < host->nnames; i++)
			if (span_eq(host->names[i], name))
				return once(r, host->names[i].p, name.p);
	return true;
}

/* r->host is the block that has just been opened. */
static void
host_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	struct host *host = r->host, **end;

	(void)w;
	host->names = keep(r, n * sizeof *host->names);
	for (end = &r->conf->hosts; *end; end = &(*end)->next)
		;
	if (r->conf->hosts != host)
		*end = host;
	for (unsigned i = 0; i < n; i++) {
		struct span name = keep_span(r, span_of(arg[i]));

		if (!host_name(r, (char *)(uintptr_t)name.p) || !host_is_new(r, name))
			continue;
		remember(r, name.p);
		host->names[host->nnames++] = name;
	}
}

/* -- the table ------------------------------------------------------------------------------------- */

#define SERVER(field) G_SERVER, .at = offsetof(struct conf, field)
#define SITE(field) G_SITE, .at = offsetof(struct host, field)
#define ROUTE(of) G_ROUTE, .show = rule_show, .kind = of
#define FILTER(of) G_FILTER, .show = rule_show, .kind = of

const struct word words[] = {
	{ "listen", "ADDR...", SERVER(listen), .set = listen_set, .show = listen_show,
	  .help = "where to take connections; port 8000 of all addresses when nothing is said" },
	{ "user", "NAME[:GROUP]", SERVER(user), .set = user_set, .show = text_field_show,
	  .help = "who to be once the addresses are bound, by name or number" },
	{ "pid", "FILE", SERVER(pid), .set = text_set, .show = text_field_show,
	  .help = "where to write the process number" },
	{ "types", "FILE", G_SERVER, .set = types_set, .show = types_show,
	  .help = "media types by extension, in the form of /etc/mime.types, before the built-in ones" },
	{ "log", "errors|access TARGET [LEVEL]", G_SERVER, .set = log_set, .show = log_show,
	  .help = "stderr, syslog, off or a file; errors up to a level: error, warn, info or debug" },
	{ "clients", "BUSY [IDLE]", SERVER(clients), .set = clients_set, .show = clients_show, .min = 1, .max = 4096,
	  .help = "requests under way at once, and idle connections kept beside them; 64 and 1024" },
	{ "scripts", "N", SERVER(scripts), .set = number_set, .show = number_show, .min = 1, .max = 4096,
	  .help = "connections to backends at once, which others wait for; 16" },
	{ "memory", "SIZE", SERVER(memory), .set = memory_set, .show = memory_show,
	  .help = "the most that pools and shared buffers may take; a plan above it does not start" },
	{ "timeout", "NAME SECONDS", G_SERVER, .set = timeout_set, .show = timeout_show,
	  .help = "how long to wait: head, body, idle, send, connect, backend, keep, queue, linger or stop" },
	{ "spool", "DIR SIZE", SERVER(spool), .set = spool_set, .show = spool_show,
	  .help = "a folder for request bodies whose length is not known beforehand, and how long each may be" },
	{ "host", "NAME... {", G_SERVER, .set = host_set,
	  .help = "what follows up to a line with } is for these names; *.example.org for all below it" },

	{ "include", "FILE", G_SITE, .set = include_set,
	  .help = "read this file here, or all that match, as in conf.d/*.conf" },
	{ "root", "DIR", SITE(root.path), .set = root_set, .show = text_field_show,
	  .help = "the folder whose files are served" },
	{ "index", "NAME...", SITE(index), .set = index_set, .show = index_show,
	  .help = "the files that answer for their folder, the first that exists; index.html" },
	{ "links", "owner|inside|any", SITE(links), .set = choice_set, .show = choice_show,
	  .help = "symbolic links: those that lead to a file of their owner, those that stay below the root, or any" },
	{ "dotfiles", "show|hide", SITE(dotfiles), .set = choice_set, .show = choice_show,
	  .help = "names that begin with a dot; hidden when nothing is said, all but /.well-known/" },

	{ "fastcgi", "PATTERN ADDR... [remote DIR] [sendfile DIR]...", ROUTE(R_FASTCGI),
	  .set = CONFIG_FCGI ? rule_set : NULL, .feature = "CONFIG_FCGI",
	  .help = "ask a FastCGI program, the next address when one does not answer" },
	{ "alias", "PATTERN DIR", ROUTE(R_ALIAS), .set = rule_set,
	  .help = "serve files of another folder" },
	{ "redirect", "PATTERN TARGET [STATUS]", ROUTE(R_REDIRECT), .set = rule_set, .initial = 302,
	  .help = "send the client elsewhere, with 301, 302, 303, 307 or 308" },
	{ "rewrite", "PATTERN PATH", ROUTE(R_REWRITE), .set = rule_set,
	  .help = "answer as if PATH had been asked for" },

	{ "fallback", "PATTERN PATH", FILTER(R_FALLBACK), .set = rule_set,
	  .help = "answer with PATH what no file answers" },
	{ "header", "PATTERN NAME VALUE", FILTER(R_HEADER), .set = rule_set,
	  .help = "a field for the response, in place of one of that name" },
	{ "expires", "PATTERN SECONDS", FILTER(R_EXPIRES), .set = rule_set, .max = NUMBER_MAX,
	  .help = "how long caches may keep the response" },
	{ "limit", "PATTERN body SIZE", FILTER(R_LIMIT_BODY), .set = rule_set,
	  .help = "refuse request bodies above SIZE" },
	{ "listing", "PATTERN", FILTER(R_LISTING), .set = CONFIG_LISTING ? rule_set : NULL, .feature = "CONFIG_LISTING",
	  .help = "list folders that have no index" },
	{ "error", "CODE PATH", FILTER(R_ERROR), .set = rule_set, .min = 400, .max = 599,
	  .help = "the page that goes out with a status of 400 to 599" },
	{ 0 },
};

const struct word *
word_find(const char *name)
{
	const struct word *w;

	for (w = words; w->name; w++)
		if (!strcmp(w->name, name))
			return w;
	return NULL;
}

const char *
word_name(unsigned i)
{
	return words[i].name;
}

const struct word *
word_of_rule(enum rule_kind kind)
{
	const struct word *w = words;

	while (w->show != rule_show || w->kind != kind)
		w++;
	return w;
}
