/* directives.c - words with a mind of their own: addresses, accounts, logs, media types, hosts */
#include "words.h"

#include <string.h>

/* What may stand behind the addresses, and is for all of them. */
static const struct { const char *word, *lacks; uint8_t flag; } listen_options[] = {
	{ "tls", CONFIG_TLS ? NULL : "CONFIG_TLS", LISTEN_TLS },
	{ "legacy", CONFIG_LEGACY ? NULL : "CONFIG_TLS_LEGACY", LISTEN_TLS | LISTEN_LEGACY },
	{ "proxy-protocol", CONFIG_TRUST ? NULL : "CONFIG_TRUST", LISTEN_PROXIED },
};
enum { LISTEN_OPTIONS = sizeof listen_options / sizeof *listen_options };

static uint8_t
listen_option(const char *text)
{
	unsigned i = 0;

	while (strcmp(listen_options[i].word, text))    /* it fits the pattern, so it is one of them */
		i++;
	if (listen_options[i].lacks)
		not_built(text, listen_options[i].lacks);
	return listen_options[i].flag;
}

static void
listen_one(const char *text, uint8_t flags)
{
	struct conf *cf = reader.conf;
	struct listener *l = &cf->listen[cf->nlisten];

	if (cf->nlisten == LISTEN_MAX) {
		too_many(LISTEN_MAX, "addresses to listen on");
		return;
	}
	if (!addr_parse(&l->addr, text, "*")) {
		is_no(text, "address to listen on: those are PORT, V4:PORT, [V6]:PORT, localhost:PORT and unix:PATH");
		return;
	}
	for (unsigned i = 0; i < cf->nlisten; i++)
		if (addr_same(&cf->listen[i].addr, &l->addr) &&
		    (addr_port(&l->addr) || l->addr.u.any.sa_family == AF_UNIX) &&
		    !once(&cf->listen[i], cf->listen[i].text))
			return;
	l->text = keep_text(text);
	l->fd = -1;
	l->flags = flags;
	cf->nlisten++;
	remember(l);
}

/* The addresses of the command line take the place of those in files. */
void
listen_set(const struct word *w, char *const *arg, unsigned n)
{
	const struct place *first = place_of(&reader.conf->listen[0]);
	uint8_t flags = 0;

	(void)w;
	reader.beaten = first && (reader.defaults || (!first->file && reader.file));
	if (reader.beaten)
		return;
	for (; n && !reader.key[n - 1].n; n--)      /* words of their own stand at the end */
		flags |= listen_option(arg[n - 1]);
	for (unsigned i = 0; i < n; i++)
		listen_one(arg[i], flags);
}

void
certificate_set(const struct word *w, char *const *arg, unsigned n)
{
	struct credential **end, *c;

	for (end = &reader.host->credentials; *end; end = &(*end)->next)
		if (!strcmp((*end)->file, arg[0]) && !once(*end, w->name))
			return;
	c = keep(sizeof *c);
	c->file = keep_text(arg[0]);
	c->key = n > 1 ? keep_text(arg[1]) : NULL;
	remember(c);
	*end = c;
}

static bool
forward_part(struct rule *rule, struct span key, char *text)
{
	struct forward *f = rule->forward;
	uint64_t port;

	if (span_eq(key, SPAN("RANGE")))
		return take_net(text, &rule->nets);
	if (span_eq(key, SPAN("to")))
		return take_net(text, &f->to);
	if (span_eq(key, SPAN("auth"))) {
		rule->root.path = keep_folder(text);
		return CONFIG_AUTH || not_built("auth", "CONFIG_AUTH");
	}
	if (!span_eq(key, SPAN("port")))
		return true;
	if (f->nports == FORWARD_PORTS)
		return too_many(FORWARD_PORTS, "ports");
	if (!take_number(text, 1, 65535, &port))
		return false;
	f->port[f->nports++] = (uint16_t)port;
	return true;
}

void
forward_set(const struct word *w, char *const *arg, unsigned n)
{
	struct rule *rule = keep(sizeof *rule), **end = &reader.conf->forwards;

	rule->kind = R_FORWARD;
	rule->pattern = (struct pattern){ MATCH_BELOW, SPAN("/") };
	rule->value = SPAN("cubhttpd");
	rule->root.fd = -1;
	rule->forward = keep(sizeof *rule->forward);
	for (unsigned i = 0; i < n; i++)
		if (!forward_part(rule, reader.key[i], arg[i]))
			return;
	(void)w;
	while (*end)
		end = &(*end)->next;
	*end = rule;
}

static void
resolver_add(struct resolver *to, const char *text)
{
	struct from f;

	if (!from_parse(&f, span_of(text)))
		is_no(text, "address of a resolver, such as 192.0.2.1 or [2001:db8::1]:5353");
	else if (to->n == RESOLVERS_MAX)
		too_many(RESOLVERS_MAX, "resolvers");
	else
		to->server[to->n++] = addr_of(&f, f.port ? f.port : net16(53));
}

void
resolver_set(const struct word *w, char *const *arg, unsigned n)
{
	struct resolver *to = &reader.conf->resolver;
	char *search = "";

	if (!once(to, w->name))
		return;
	for (unsigned i = 0; i < n; i++) {
		if (span_eq(reader.key[i], SPAN("ADDR")))
			resolver_add(to, arg[i]);
		else if (reader.key[i].n)
			search = scratch_text(scratch_text(search, strlen(search), " "), strlen(search) + 1, arg[i]);
	}
	to->search = keep_text(search);
}

/* A line of /etc/passwd or /etc/group: name:password:number:..., and for a user the number of its group. */
static void
account_line(char *text)
{
	struct account *a = &reader.account;
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
account_find(const char *name, bool user)
{
	struct account *a = &reader.account;

	*a = (struct account){ .name = span_of(name), .user = user };
	a->found = span_uint(a->name, &a->id) && a->id < UINT32_MAX;
	a->group = a->id;
	if (!a->found && CONFIG_USER_NAMES && a->name.n)
		file_lines(user ? "/etc/passwd" : "/etc/group", account_line);
	if (!a->found)
		mistake("there is no %s '%s'%s", user ? "user" : "group", name, CONFIG_USER_NAMES ? "" :
		    "; only numbers are known to this build (CONFIG_USER_NAMES)");
	return a->found;
}

bool
take_user(const char *text, uid_t *uid, gid_t *gid)
{
	char *name = scratch_text("", 0, text), *colon = find_char(name, ':');

	if (colon)
		*colon++ = '\0';
	if (!account_find(name, true))
		return false;
	*uid = reader.account.id;
	if (colon && !account_find(colon, false))
		return false;
	*gid = colon ? reader.account.id : reader.account.group;
	return true;
}

void
user_set(const struct word *w, char *const *arg, unsigned n)
{
	uid_t uid;
	gid_t gid;

	(void)n;
	if (!take_user(arg[0], &uid, &gid) || !once(&reader.conf->user, w->name))
		return;
	reader.conf->user = keep_text(arg[0]);
	reader.conf->uid = uid;
	reader.conf->gid = gid;
}

void
log_set(const struct word *w, char *const *arg, unsigned n)
{
	struct conf *cf = reader.conf;
	bool errors = arg[0][0] == 'e';
	enum log_target to = choice_of(reader.key[1], arg[1]);

	(void)w;
	if (to > TO_NOWHERE)
		to = TO_FILE;
	if (to == TO_FILE && arg[1][0] != '/')
		is_no(arg[1], "place to log to: those are stderr, syslog, off and /path");
	else if (to == TO_SYSLOG && !CONFIG_SYSLOG)
		not_built("syslog", "CONFIG_SYSLOG");
	else if (!errors && n > 2)
		mistake("a level is for 'log errors'");
	else if (!errors && to != TO_NOWHERE && !CONFIG_ACCESS_LOG)
		not_built("log access", "CONFIG_ACCESS_LOG");
	else if (once(errors ? &cf->error_to : &cf->access_to, errors ? "log errors" : "log access")) {
		*(errors ? &cf->error_to : &cf->access_to) = to;
		*(errors ? &cf->error_log : &cf->access_log) = keep_text(arg[1]);
		if (errors)
			cf->level = n > 2 ? choice_of(reader.key[2], arg[2]) : LOG_INFO;
	}
}

/* A line in the form of /etc/mime.types: a type, then its extensions, or none. */
static void
types_line(char *text)
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
			if (!find_byte(word.p, '/', word.n)) {
				mistake("'%.*s' is no media type, such as text/html", (int)word.n, word.p);
				return;
			}
			mime = keep_span(word);
		} else if (word.n) {
			type = keep(sizeof *type);
			*type = (struct type){ reader.conf->types, keep_span(word), mime };
			for (p = (char *)(uintptr_t)type->ext.p; *p; p++)
				*p = lower(*p);
			reader.conf->types = type;
		}
	}
}

void
types_set(const struct word *w, char *const *arg, unsigned n)
{
	(void)w;
	(void)n;
	file_lines(arg[0], types_line);
}

/* The names that shells know. */
static bool
is_variable(const char *name)
{
	const char *p = name;

	while ((lower(*p) >= 'a' && lower(*p) <= 'z') || *p == '_' || (p > name && *p >= '0' && *p <= '9'))
		p++;
	return p > name && !*p;
}

void
env_set(const struct word *w, char *const *arg, unsigned n)
{
	struct env *env = keep(sizeof *env), **end;

	(void)w;
	(void)n;
	if (!is_variable(arg[0])) {
		is_no(arg[0], "name of a variable: those have letters, digits and '_'");
		return;
	}
	env->name = span_of(keep_text(arg[0]));
	env->value = span_of(keep_text(arg[1]));
	for (end = &reader.host->env; *end; end = &(*end)->next)
		if (span_eq((*end)->name, env->name) && !once((*end)->name.p, arg[0]))
			return;
	remember(env->name.p);
	*end = env;
}

void
include_set(const struct word *w, char *const *arg, unsigned n)
{
	(void)w;
	(void)n;
	include(arg[0]);
	reader.beaten = true;               /* its lines stand for it */
}

/* A name, "*.example.org", a number or [v6]; without port. */
static bool
host_name(char *name)
{
	bool six = name[0] == '[' && name[strlen(name) - 1] == ']', good = name[0];

	for (char *p = name; *p; p++) {
		*p = lower(*p);
		good = good && ((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || find_char("-._", *p) ||
		    (*p == '*' && p == name && p[1] == '.' && p[2]) || (six && find_char("[]:", *p)));
	}
	if (!good)
		is_no(name, "name of a host, such as example.org, *.example.org, 192.0.2.1 or [2001:db8::1]");
	return good;
}

static bool
host_is_new(struct span name)
{
	for (const struct host *host = reader.conf->hosts; host; host = host->next)
		for (unsigned i = 0; i < host->nnames; i++)
			if (span_eq(host->names[i], name))
				return once(host->names[i].p, name.p);
	return true;
}

/* reader.host is the block that has just been opened. */
void
host_set(const struct word *w, char *const *arg, unsigned n)
{
	struct host *host = reader.host, **end;

	(void)w;
	host->names = keep(n * sizeof *host->names);
	for (end = &reader.conf->hosts; *end; end = &(*end)->next)
		;
	if (reader.conf->hosts != host)
		*end = host;
	for (unsigned i = 0; i < n; i++) {
		struct span name;

		if (!host_name(arg[i]) || !host_is_new(span_of(arg[i])))
			continue;
		name = keep_span(span_of(arg[i]));
		remember(name.p);
		host->names[host->nnames++] = name;
	}
}
