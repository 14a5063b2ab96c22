/* answers.c - what the program says about itself: -h, -V, -t, all from the one table of directives */
#include "auth.h"
#include "tls.h"
#include "words.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char *const section_titles[GROUPS] = {
	[G_SERVER] = "The server", [G_SITE] = "Sites", [G_ROUTE] = "Routes", [G_FILTER] = "Filters",
};

static const char *const section_texts[GROUPS] = {
	[G_SERVER] = "these stand outside of host",
	[G_SITE] = "outside of host they are for all hosts that do not say otherwise",
	[G_ROUTE] = "the first that matches answers; where none does, files are served",
	[G_FILTER] = "every one that matches applies, before the route",
};

/* -- output ---------------------------------------------------------------------------------------- */

static char page[2 * LINE_SIZE];
static struct buf out = { .data = page, .size = sizeof page };

static void
flush(int fd)
{
	ssize_t n;

	while (buf_used(&out) && (n = call_write(fd, out.data + out.r, buf_used(&out))) > 0)
		buf_take(&out, n);
	out = (struct buf){ .data = page, .size = sizeof page };
}

/* A line has ended: what is left of the page may be too short for the next. */
static void
end_line(void)
{
	buf_char(&out, '\n');
	flush(STDOUT_FILENO);
}

static void
line(const char *text)
{
	buf_text(&out, text);
	end_line();
}

/* -- -h -------------------------------------------------------------------------------------------- */

static const char usage[] =
    "usage: cubhttpd DIR                      serve DIR on port 8000\n"
    "       cubhttpd [-t] -f FILE [DIR] [--WORD ARGUMENT...]...\n"
    "       cubhttpd --make-certificate [DIR] | --hash USER\n"
    "       cubhttpd -h | -V\n";

static void
help(void)
{
	enum { COLUMN = 32 };

	buf_text(&out, usage);
	if (!CONFIG_HELP) {
		line("cubhttpd(8) and cubhttpd.conf(5) tell the rest.");
		return;
	}
	line("\n  -f FILE   the configuration\n"
	     "  -t        check it; print what memory it takes, and all that is in force\n"
	     "  -h        this help\n"
	     "  -V        version, features and limits\n"
	     "  --hash    ask for a password and print a line for a file of `auth`\n\n"
	     "The words of the configuration are options too, and go before what the file says:\n"
	     "  cubhttpd /www --listen 80 --user nobody --fastcgi '*.php' unix:/run/php/php-fpm.sock");
	for (unsigned g = 0; g < GROUPS; g++) {
		buf_print(&out, "\n%s: %s\n", section_titles[g], section_texts[g]);
		for (const struct word *w = words; w->name; w++) {
			unsigned n = 3 + strlen(w->name) + strlen(word_text(w, W_ARGS));

			if (w->section != g || !w->set)
				continue;
			buf_print(&out, "  %s %s", w->name, word_text(w, W_ARGS));
			if (n >= COLUMN)
				end_line();
			for (n = n < COLUMN ? n : 0; n < COLUMN; n++)
				buf_char(&out, ' ');
			line(word_text(w, W_HELP));
		}
	}
	line("\nADDR is HOST:PORT, [V6]:PORT, PORT or unix:PATH.  PATTERN is /dir/, /path or *.ext.\n"
	     "SIZE is 500, 64k, 1m or 2g.  cubhttpd(8) and cubhttpd.conf(5) tell the rest.");
}

/* -- -V -------------------------------------------------------------------------------------------- */

#define AS_TEXT(value) #value
#define ENTRY(name) #name " " AS_TEXT(name) "\n"
#define VALUE(name) AS_TEXT(name)
#define FEATURE(name) #name " " VALUE(CONFIG_##name) "\0"
static const char build[] =                     /* each begins with CONFIG_; an empty one at the end */
	FEATURE(FCGI) FEATURE(SCGI) FEATURE(SPAWN) FEATURE(CGI) FEATURE(PROXY) FEATURE(LISTING) FEATURE(HOSTS)
	FEATURE(REWRITE) FEATURE(HEADER) FEATURE(TYPES) FEATURE(INCLUDE) FEATURE(ACTIVATION) FEATURE(GUESS)
	FEATURE(ALLOW) FEATURE(RANGE) FEATURE(PRECOMPRESSED) FEATURE(AUTH) FEATURE(APR1) FEATURE(BCRYPT)
	FEATURE(CRYPT) FEATURE(ACCESS_LOG) FEATURE(SYSLOG) FEATURE(USER_NAMES) FEATURE(EPOLL) FEATURE(TLS)
	FEATURE(SENDFILE) FEATURE(TRUST) FEATURE(RESOLVE) FEATURE(CHECKS) FEATURE(CLIENT_CERTS) FEATURE(TLS_CLIENT)
	FEATURE(TLS_LEGACY) FEATURE(FORWARD) FEATURE(HELP) FEATURE(SHOW);

static const char limits[] =
	ENTRY(CLIENT_IN) ENTRY(CLIENT_OUT) ENTRY(CLIENT_LOG) ENTRY(HANDLER_STATE) ENTRY(PEER_IN) ENTRY(PEER_OUT)
	ENTRY(USER_MOST)
	ENTRY(FIELDS_MAX) ENTRY(RANGES_MAX) ENTRY(PATH_STORE) ENTRY(FILTERS_MAX) ENTRY(CACHE_FILES)
	ENTRY(BACKEND_RESTS) ENTRY(CACHE_NAME) ENTRY(INDEX_MAX)
	ENTRY(DISPATCH_MAX) ENTRY(STEPS_MAX) ENTRY(ACCEPTS_MAX) ENTRY(LISTEN_MAX) ENTRY(PARK_AFTER)
	ENTRY(HANDSHAKES_MAX) ENTRY(HANDSHAKES_TURN) ENTRY(LINGER_BODY) ENTRY(CLOCK_SINCE)
	ENTRY(RESOLVERS_MAX) ENTRY(QUERIES_MAX) ENTRY(FORWARD_PORTS);

static void
version(void)
{
	line("cubhttpd " VERSION);
	for (const char *p = build; *p; p += strlen(p) + 1)
		buf_print(&out, "CONFIG_%s\n", p);
	if (CONFIG_HELP)
		buf_text(&out, limits);
	flush(STDOUT_FILENO);
}

/* -- -t -------------------------------------------------------------------------------------------- */

static bool shows;                      /* lines are kept */

/* A blank, and the text in quotes where it needs them. */
static void
text_show(struct span s)
{
	bool quotes = !s.n || s.p[0] == '#' || find_byte(s.p, ' ', s.n) || find_byte(s.p, '\t', s.n) ||
	    find_byte(s.p, '"', s.n) || (s.n == 1 && (s.p[0] == '{' || s.p[0] == '}'));

	buf_text(&out, quotes ? " \"" : " ");
	for (unsigned i = 0; i < s.n; i++) {
		if (quotes && (s.p[i] == '"' || s.p[i] == '\\'))
			buf_char(&out, '\\');
		buf_char(&out, s.p[i]);
	}
	if (quotes)
		buf_char(&out, '"');
}

void
line_keep(const char *name, char *const *arg, unsigned n, bool opens)
{
	struct kept *kept = reader.conf->arena;
	struct text *text;

	if (!shows || reader.mistakes)
		return;
	buf_text(&out, reader.block && !opens ? "\t" : "");
	buf_text(&out, name);
	for (unsigned i = 0; i < n; i++)
		text_show(span_of(arg[i]));
	buf_text(&out, opens ? " {" : "");
	text = keep(sizeof *text);
	text->text = keep_span((struct span){ page, out.w }).p;
	out.w = out.bad = 0;
	*kept->end = text;
	kept->end = &text->next;
}

/* A folder may come later, with the disk it is on, so this is no mistake. */
static void
warn_missing(const char *path, int rights)
{
	if (!*path || access(path, rights) == 0)
		return;
	buf_print(&out, "warning: %s: %s\n", path, error_text(errno));
	flush(STDERR_FILENO);
}

/* The same for the files of users, and as whoever asks now. */
static void
warn_unreadable(const struct host *host)
{
	for (const struct rule *rule = CONFIG_AUTH ? host->filters : NULL; rule; rule = rule->next)
		if (rule->kind == R_AUTH && rule->root.path && *rule->root.path)
			warn_missing(rule->root.path, R_OK);
}

static void
warn(const struct conf *cf)
{
	for (const struct host *host = cf->hosts; host; host = host->next) {
		if (host == cf->hosts || host->root.path != cf->hosts->root.path)
			warn_missing(host->root.path, R_OK | X_OK);
		if (host == cf->hosts || host->filters != cf->hosts->filters)
			warn_unreadable(host);
		for (const struct rule *rule = CONFIG_REWRITE ? host->routes : NULL; rule; rule = rule->next) {
			if (host != cf->hosts && rule == cf->hosts->routes)
				break;
			if (rule->kind == R_ALIAS)
				warn_missing(rule->root.path, R_OK | X_OK);
		}
		for (const struct credential *c = host->credentials; CONFIG_TLS && c; c = c->next) {
			certificate_warn(c, &out);
			flush(STDERR_FILENO);
		}
	}
}

static int
check(int argc, char **argv)
{
	struct conf *cf;
	bool fits;

	shows = true;
	cf = conf_read(argc, argv);
	if (!cf)
		return 1;
	fits = pool_plan(cf, &out);
	flush(STDOUT_FILENO);
	warn(cf);
	for (const struct text *p = CONFIG_SHOW ? ((struct kept *)cf->arena)->lines : NULL; p; p = p->next)
		line(p->text);
	conf_release(cf);
	return fits ? 0 : 1;
}

/* -- --hash ---------------------------------------------------------------------------------------- */

static bool
is_terminal(struct termios *t)
{
	return call_ioctl(STDIN_FILENO, TCGETS, t) == 0;
}

/* A line of stdin, without its end; not shown while it is typed.  Whoever leaves has a terminal that shows again: the
 * key that would interrupt is read like any other, and ends the line. */
static bool
ask(const char *question, char *to, unsigned size, unsigned *n)
{
	struct termios t, quiet;
	bool terminal = is_terminal(&t);
	ssize_t k = 1;

	quiet = t;
	quiet.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
	if (terminal) {
		call_ioctl(STDIN_FILENO, TCSETSF, &quiet);
		buf_text(&out, question);
		flush(STDERR_FILENO);
	}
	for (*n = 0; *n < size && (k = call_read(STDIN_FILENO, to + *n, 1)) == 1 && to[*n] != '\n'; ++*n)
		if (terminal && (cc_t)to[*n] == t.c_cc[VINTR]) {
			k = -1;
			break;
		}
	if (terminal) {
		call_ioctl(STDIN_FILENO, TCSETSF, &t);
		buf_char(&out, '\n');
		flush(STDERR_FILENO);
	}
	return k >= 0;
}

static bool
typed(const char *p, unsigned n)
{
	while (n && (unsigned char)p[n - 1] >= ' ' && p[n - 1] != 127)
		n--;
	return !n;
}

/* What is wrong with the password, or NULL when the line has been made. */
static const char *
hash_line(const char *user)
{
	static char password[PASSWORD_MOST + 1], again[PASSWORD_MOST + 1], store[32];
	struct buf setting = buf_on(store, sizeof store);
	struct termios t;
	unsigned n, m;

	if (!*user || strlen(user) > USER_MOST || find_char(user, ':') || *user == '#' || !text_clean(user))
		return "a name has 1 to 64 bytes, no colon and does not begin with #";
	if (!ask("password: ", password, sizeof password, &n) || !n)
		return "there is no password";
	if (n > PASSWORD_MOST || !typed(password, n))
		return "a password has up to 128 bytes and no control characters";
	if (is_terminal(&t) && (!ask("again: ", again, sizeof again, &m) || m != n || memcmp(password, again, n)))
		return "the two differ";
	buf_print(&out, "%s:", user);
	if (!hash_setting(&setting) || !password_hash(&out, (struct span){ password, n }, (struct span){ store, setting.w }))
		return "there is no chance for a salt";
	end_line();
	return NULL;
}

static int
make_hash(const char *user)
{
	const char *mistake = user ? hash_line(user) : "--hash USER: the name is missing";

	if (!mistake)
		return 0;
	out.w = out.r = 0;
	buf_print(&out, "%s\n", mistake);
	flush(STDERR_FILENO);
	return 1;
}

bool
conf_answers(int argc, char **argv, int *exit_status)
{
	*exit_status = 0;
	if (argc < 2) {
		buf_text(&out, usage);
		flush(STDERR_FILENO);
		*exit_status = 2;
		return true;
	}
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help"))
			return help(), true;
		if (!strcmp(argv[i], "-V") || !strcmp(argv[i], "--version"))
			return version(), true;
		if (CONFIG_TLS && !strcmp(argv[i], "--make-certificate"))
			return *exit_status = selfmade_command(argv[i + 1]), true;
		if (!strcmp(argv[i], "-t"))
			return *exit_status = check(argc, argv), true;
		if (CONFIG_AUTH && !strcmp(argv[i], "--hash"))
			return *exit_status = make_hash(argv[i + 1]), true;
	}
	return false;
}
