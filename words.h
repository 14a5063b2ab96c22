/* words.h - what the rooms of the configuration share: the row of a directive, and the reader at work
 *
 *  files --lines.c--.
 *                   +--> a row of words[] --scalars.c ...--> struct conf
 *  argv ---conf.c---+      `--> kept as it was written, for -t
 *  defaults[] ------'
 *
 * The pattern of a row's arguments is shown, checked and printed from: capitals stand for a value, small letters for
 * themselves, a|b for one of them; X... is one or more, [ ] may be missing, [ ]... may be repeated, { opens a block.
 * Neighbours in [ ] that begin with small letters are options: they stand in any order.
 */
#ifndef WORDS_H
#define WORDS_H

#include "httpd.h"

#include <setjmp.h>

enum {
	NUMBER_MAX = 1 << 30,
	LINE_SIZE = 8192,               /* bytes of a line */
	WORDS_MAX = 64,                 /* words of a line */
	PIECES_MAX = 24,                /* pieces of a pattern of arguments */
	INCLUDE_DEPTH = 8,
	INCLUDE_FILES = 256,
	FILE_SIZE = 4 << 20,            /* bytes of a file */
	MISTAKES_MAX = 200,             /* that are told */
};

struct word;

/* The arguments fit the word's pattern already. */
typedef void setter(const struct word *, char *const *arg, unsigned n);

enum section { G_SERVER, G_SITE, G_ROUTE, G_FILTER, GROUPS };     /* those of G_SERVER stand outside of `host` */

struct word {
	const char *name;               /* and behind it what word_text finds */
	setter *set;                    /* NULL: not in this build */
	unsigned char section;          /* enum section */
	unsigned char kind;             /* enum rule_kind, of a route or filter */
	unsigned short at;              /* of the value in struct conf or struct host */
	unsigned short min, max;        /* of a number, max 0 is NUMBER_MAX; a route has in min what rule.number begins as */
};

#define ALWAYS true                     /* of a word, or a part of one, that no feature is needed for */

/* -- words.c: the table of directives -------------------------------------------------------------- */

extern const struct word words[];       /* the last has no name */
extern const char defaults[];           /* lines that are read last and lose against others; an empty one ends them */
const char *text_at(const char *, unsigned i);          /* the i-th of texts that lie one behind the other */
enum word_text { W_NAME, W_ARGS, W_FEATURE, W_HELP };   /* a help is there with CONFIG_HELP alone */
const char *word_text(const struct word *, enum word_text);
const struct word *word_find(const char *name);
const struct word *word_of_rule(enum rule_kind);

/* -- scalars.c, directives.c: how they are set --------------------------------------------------------- */

setter nets_set, text_set, root_set, number_set, memory_set, timeout_set, spool_set, choice_set, index_set;
setter forward_set, listen_set, certificate_set, user_set, log_set, types_set, include_set, host_set, resolver_set;
setter ca_set, client_ca_set;           /* verify.c */
setter env_set;

/* -- rules.c, programs.c: routes and filters ------------------------------------------------------- */

setter rule_set;
typedef bool set_part(struct rule *, char *text);
set_part set_spawn, set_children, set_ready, set_idle;          /* programs.c */
bool programs_finish(const struct word *, struct rule *);       /* all parts are there; false after a mistake */

/* -- values.c: values out of text, false after a mistake -------------------------------------------- */

bool take_number(const char *text, uint64_t min, uint64_t max, uint64_t *to);
bool take_count(const char *text, unsigned min, unsigned max, unsigned *to);
bool take_size(const char *text, uint64_t *to);
bool take_name(const char *text);                       /* it is not empty */
bool take_clean(const char *text);                      /* for a response head: no controls (RFC 9110 5.5) */
bool take_path(const char *text);                       /* as requests have it once they are decoded */
bool take_pattern(const char *text, struct pattern *to);
bool take_net(const char *text, struct net **list);
/* The how-manyth of a|b|c it is; how many there are: none. */
unsigned choice_of(struct span choices, const char *text);
bool take_user(const char *text, uid_t *, gid_t *);     /* NAME[:GROUP], or numbers */

/* -- lines.c: the grammar -------------------------------------------------------------------------- */

/* What is in a file, for the time of reading, which may change it; p is NULL after a mistake. */
struct span file_text(const char *path);
/* Set what a word and its arguments say.  opens: there is a `{` behind them. */
void apply(const char *name, char *const *arg, unsigned n, bool opens);
/* The same for a line, which is changed. */
void conf_line(char *text);
/* The lines of a file, each with reader.file and reader.line set; false after a mistake when it cannot be read. */
bool file_lines(const char *path, void (*line)(char *text));
void conf_file(const char *path);
void include(const char *pattern);                      /* the configuration files that match */
bool text_clean(const char *);          /* no control characters */

/* -- conf.c: memory, mistakes, and what was set where ---------------------------------------------- */

struct place { struct place *next; const void *field; const char *file; unsigned line; };

struct account { struct span name; bool user, found; uint64_t id, group; };     /* being looked for */

struct reader {
	struct conf *conf;
	struct host *host;              /* that the words belong to */
	const char *file;               /* NULL: the command line */
	unsigned line;
	unsigned block;                 /* the line of the `{` that is open, 0 when none is */
	unsigned nested;                /* how many are open in that one, which is a mistake */
	unsigned mistakes, depth, files;
	bool defaults;                  /* what nobody has said is being read */
	bool beaten;                    /* the word just set had no effect of its own */
	struct source *source;          /* the files being read, innermost first */
	struct source *opened;          /* the one where `block` began, and must end */
	struct place *places;           /* what was set where */
	struct account account;
	struct arena *scratch;          /* gone when the reading ends */
	struct span key[WORDS_MAX];     /* which piece of the pattern each argument belongs to */
	jmp_buf no_memory;
};

extern struct reader reader;            /* one configuration is read at a time */

struct arena { struct chunk *chunks; char *p; size_t left; };
struct text { struct text *next; const char *text; };

struct kept {                           /* what a conf keeps besides its structure: conf.arena */
	struct arena arena;
	struct text *lines, **end;      /* those that took effect, for -t alone */
};

/* Memory is zeroed; when there is none the reading ends as a whole. */
void *keep(size_t n);
void *scratch(size_t n);                                /* until the reading ends */
char *keep_text(const char *);
/* The name of a folder from "/" on: backends are told it, and stand elsewhere. */
char *keep_folder(const char *);
char *scratch_text(const char *before, size_t n, const char *text);     /* n bytes, then text */
struct host *new_host(void);
struct span keep_span(struct span);

/* Tell "file:line: sentence" on stderr and count it; verbs as in buf_print.  False, to be passed on. */
bool mistake(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool is_no(const char *text, const char *what);         /* a mistake: "'text' is no WHAT" */
bool not_built(const char *word, const char *feature);  /* another: the word needs this CONFIG_ */
bool too_many(int most, const char *what);              /* another: "more than MOST WHAT" */
void mistake_unknown(const char *text);                 /* it is no word; and which one is near */

/* May this field be set here?  The first time, yes.  A value of the command line stays, in silence, whatever a file
 * says, and any value whatever the defaults say; anything else is a mistake. */
bool once(const void *field, const char *what);
void remember(const void *field);
const struct place *place_of(const void *field);

/* -- answers.c: -t ---------------------------------------------------------------------------------- */

/* Keep a line that took effect, to be shown when the reading has ended. */
void line_keep(const char *name, char *const *arg, unsigned n, bool opens);

#endif
