/* rules.c - routes and filters: their patterns, and the parts they are made of
 *
 *   redirect PATTERN TARGET [STATUS]        every part of a line has its row in parts[], which checks, keeps and
 *            \_____/ \____/  \____/         shows it; so a new rule is a row of words[] and nothing else
 */
#include "resolve.h"
#include "words.h"

#include <string.h>

enum { RUN_MOST = 30 * 86400 };         /* seconds that a program may be given */

/* -- parts of rules: what stands between the blanks ------------------------------------------------ */

static bool
set_pattern(struct rule *rule, char *text)
{
	if (!take_pattern(text, &rule->pattern))
		return false;
	reader.conf->odd |= spelled_oddly(rule->pattern.text);
	return true;
}

static const char one_of_a_kind[] =
    "the addresses of a line have one scheme and one path, and '%s' is not as the first";

/* One line speaks by https to all of its addresses, or to none. */
static bool
set_scheme(struct rule *rule, bool https, const char *text)
{
	if (https && !CONFIG_HTTPS)
		return not_built("https", "CONFIG_TLS_CLIENT");
	if (rule->backends && https != (rule->secure != NULL))
		return mistake(one_of_a_kind, text);
	if (https && !rule->secure)
		rule->secure = keep(sizeof *rule->secure);
	reader.conf->https |= https;
	return true;
}

/* Of http://HOST[:PORT][/PATH] the address alone; the path is kept for all addresses of the line. */
static char *
cut_url(struct rule *rule, char *text)
{
	struct span s = span_of(text), path = SPAN("");
	bool https = span_starts(s, SPAN("https://"));
	const char *slash, *end;
	char *address = text;

	if (!set_scheme(rule, https, text))
		return NULL;
	if (https || span_starts(s, SPAN("http://"))) {
		s = (struct span){ s.p + 7 + https, s.n - 7 - https };
		slash = find_byte(s.p, '/', s.n);
		if (slash) {
			path = (struct span){ slash, s.n - (unsigned)(slash - s.p) };
			s.n -= path.n;
			if (!take_path(slash))
				return NULL;
		}
		for (end = s.p + s.n; end > s.p && end[-1] >= '0' && end[-1] <= '9'; end--)
			;
		address = scratch_text(s.p, s.n, end > s.p && end[-1] == ':' ? "" : https ? ":443" : ":80");
	}
	if (rule->backends && !span_eq(rule->value, path)) {
		mistake(one_of_a_kind, text);
		return NULL;
	}
	rule->value = path;
	return address;
}

static struct backend *
keep_name(const struct name *parsed, const char *text)
{
	struct name *name = keep(sizeof *name);
	struct backend *backends = keep(NAME_ADDRS * sizeof *backends);

	*name = *parsed;
	name->host = keep_span(parsed->host);
	name_begin(name, backends, text);
	return backends;
}

#define ADDRESSES "address: those are HOST:PORT, [V6]:PORT, PORT and unix:PATH"

static bool
set_backend(struct rule *rule, char *text)
{
	struct backend *backend = keep(sizeof *backend), **end;
	const char *written = text;
	unsigned n = 0;
	struct name name;

	backend->text = text;
	if (rule->kind == R_PROXY && !(text = cut_url(rule, text)))
		return false;
	if (CONFIG_RESOLVE && !addr_parse(&backend->addr, text, "127.0.0.1") && name_parse(&name, text))
		backend = keep_name(&name, written);
	else if (!addr_parse(&backend->addr, text, "127.0.0.1") ||
	    (backend->addr.u.any.sa_family != AF_UNIX && !addr_port(&backend->addr)))
		return is_no(text, CONFIG_RESOLVE ? ADDRESSES : ADDRESSES ", without names in this build (CONFIG_RESOLVE)");
	for (end = &rule->backends; *end; end = &(*end)->next)
		n++;
	*end = backend;
	for (; backend; backend = backend->next)
		n++;
	return n <= ADDRESSES_MOST || mistake("a line has %d addresses at the most, and a name counts as %d",
	    ADDRESSES_MOST, NAME_ADDRS);
}

static const char about_certificates[] = "'%s' is about certificates: it needs https://";

/* The SHA-256 of the certificate, with or without colons, or `nothing`. */
static bool
set_check(struct rule *rule, char *text)
{
	unsigned char *pin = keep(32);
	unsigned n = 0;
	int digit;

	if (!rule->secure)
		return mistake(about_certificates, "check");
	rule->secure->check = text;
	rule->secure->unchecked = !strcmp(text, "nothing");
	if (rule->secure->unchecked)
		return true;
	for (const char *p = text; *p && n <= 64; p++) {
		digit = hex_digit(*p);
		if (digit >= 0 && n < 64)
			pin[n / 2] = pin[n / 2] << 4 | digit;
		n += digit >= 0 ? 1 : *p == ':' ? 0 : 65;
	}
	rule->secure->pin = pin;
	return n == 64 || mistake("'%s' is neither 'nothing' nor a SHA-256 of 64 hexadecimal digits", text);
}

static bool
set_secure_name(struct rule *rule, char *text)
{
	if (!rule->secure)
		return mistake(about_certificates, "name");
	rule->secure->name = span_of(text);
	return take_name(text);
}

#define BALANCES "in-turn|least-busy|sticky"

static bool
set_balance(struct rule *rule, char *text)
{
	rule->number = IN_TURN + choice_of(SPAN(BALANCES), text);
	return true;
}

bool
take_net(const char *text, struct net **end)
{
	struct net *net = keep(sizeof *net);

	if (!net_parse(net, text)) {
		return is_no(text, "range of addresses, such as 192.168.1.0/24, fd00::/8, 192.0.2.1, unix or *");
	}
	while (*end)
		end = &(*end)->next;
	*end = net;
	return true;
}

static bool
set_net(struct rule *rule, char *text)
{
	return take_net(text, &rule->nets);
}

static bool
set_value(struct rule *rule, char *text)
{
	rule->value = span_trim(span_of(text));
	return take_clean(text);
}

static bool
set_users(struct rule *rule, char *text)
{
	rule->value = SPAN("cubhttpd");
	rule->root.path = strcmp(text, "off") ? strcmp(text, "system") ? text : "" : NULL;
	return take_name(text);
}

/* It goes out between quotes (RFC 9110 5.6.4). */
static bool
set_realm(struct rule *rule, char *text)
{
	if (find_char(text, '"') || find_char(text, '\\'))
		return mistake("a realm has no quotes and backslashes in it");
	return set_value(rule, text);
}

static bool
set_remote(struct rule *rule, char *text)
{
	rule->remote = text;
	return take_name(text);
}

static bool
set_sendfile(struct rule *rule, char *text)
{
	struct rule *root = keep(sizeof *root), **end;

	root->kind = R_ALIAS;
	root->pattern = (struct pattern){ MATCH_BELOW, SPAN("/") };
	root->root = (struct root){ .path = keep_folder(text), .fd = -1 };
	for (end = &rule->sendfile; *end; end = &(*end)->next)
		;
	*end = root;
	return take_name(text);
}

static bool
set_root(struct rule *rule, char *text)
{
	rule->root.path = keep_folder(text);
	return take_name(text);
}

static bool
set_path(struct rule *rule, char *text)
{
	rule->value = span_of(text);
	return take_path(text);
}

static bool
set_target(struct rule *rule, char *text)
{
	rule->value = span_of(text);
	if (*text && !find_char(text, ' '))
		return take_clean(text);
	return is_no(text, "target: that is a path or a URL, without blanks");
}

/* None of the fields that say where a message ends. */
static bool
set_name(struct rule *rule, char *text)
{
	rule->name = line_name(scratch_text(text, strlen(text), ":"));
	if (!rule->name.n || text[rule->name.n])
		return is_no(text, "name of a field");
	rule->name.p = text;
	rule->field = field_find(rule->name);
	if (rule->field != F_CONTENT_LENGTH && rule->field != F_TRANSFER_ENCODING && rule->field != F_CONNECTION)
		return true;
	return mistake("'%s' is for the server alone to say", text);
}

static bool
set_count(struct rule *rule, char *text)
{
	const struct word *w = word_of_rule(rule->kind);

	return take_number(text, w->min, w->max ? w->max : NUMBER_MAX, &rule->number);
}

static bool
set_status(struct rule *rule, char *text)
{
	return span_uint(span_of(text), &rule->number);
}

static bool
set_body(struct rule *rule, char *text)
{
	return take_size(text, &rule->number);
}

/* How a program is started. */
static struct run *
run_of(struct rule *rule)
{
	if (!rule->run)
		rule->run = keep(sizeof *rule->run);
	return rule->run;
}

static bool
set_interpreter(struct rule *rule, char *text)
{
	rule->value = span_of(text);
	return *text == '/' || is_no(text, "program: its name begins with '/'");
}

static bool
set_folder(struct rule *rule, char *text)
{
	run_of(rule)->at_root = *text == 'r';
	return true;
}

static bool
set_location(struct rule *rule, char *text)
{
	run_of(rule)->local = *text == 's';
	return true;
}

static bool
set_account(struct rule *rule, char *text)
{
	struct run *run = run_of(rule);

	run->user = text;
	return take_user(text, &run->uid, &run->gid);
}

static bool
set_memory(struct rule *rule, char *text)
{
	return take_size(text, &run_of(rule)->memory);
}

static bool
set_cpu(struct rule *rule, char *text)
{
	return take_count(text, 1, RUN_MOST, &run_of(rule)->cpu);
}

static bool
set_time(struct rule *rule, char *text)
{
	return take_count(text, 1, RUN_MOST, &run_of(rule)->time);
}

static bool
set_nice(struct rule *rule, char *text)
{
	return take_count(text, 1, 19, &run_of(rule)->nice);
}

/* A part that only words of these features have; nobody comes to the row without them. */
#define WITH(features, set) (features) ? (set) : NULL

static const struct part {              /* the piece of a pattern of arguments, or the word before it */
	const char *piece;
	set_part *set;
} parts[] = {
	{ "PATTERN", WITH(ALWAYS, set_pattern) },
	{ "ADDR", WITH(CONFIG_GATEWAY, set_backend) },
	{ "RANGE", WITH(CONFIG_ALLOW, set_net) },
	{ "check", WITH(CONFIG_PROXY, set_check) },
	{ "name", WITH(CONFIG_PROXY, set_secure_name) },
	{ BALANCES, WITH(CONFIG_PROXY, set_balance) },
	{ "FILE|system|off", WITH(CONFIG_AUTH, set_users) },
	{ "REALM", WITH(CONFIG_AUTH, set_realm) },
	{ "remote", WITH(CONFIG_FCGI || CONFIG_SCGI, set_remote) },
	{ "sendfile", WITH(CONFIG_FCGI || CONFIG_SCGI, set_sendfile) },
	{ "DIR", WITH(CONFIG_REWRITE, set_root) },
	{ "PATH", WITH(CONFIG_REWRITE, set_path) },
	{ "TARGET", WITH(CONFIG_REWRITE, set_target) },
	{ "301|302|303|307|308", WITH(CONFIG_REWRITE, set_status) },
	{ "NAME", WITH(CONFIG_HEADER, set_name) },
	{ "VALUE", WITH(CONFIG_HEADER, set_value) },
	{ "SECONDS", WITH(CONFIG_FIELDS, set_count) },
	{ "CODE", WITH(CONFIG_REWRITE, set_count) },
	{ "body", WITH(CONFIG_GATEWAY, set_body) },
	{ "spawn", WITH(CONFIG_FCGI || CONFIG_SCGI, set_spawn) },
	{ "children", WITH(CONFIG_FCGI || CONFIG_SCGI, set_children) },
	{ "ready", WITH(CONFIG_FCGI || CONFIG_SCGI, set_ready) },
	{ "idle", WITH(CONFIG_FCGI || CONFIG_SCGI, set_idle) },
	{ "INTERPRETER", WITH(CONFIG_CGI, set_interpreter) },
	{ "folder", WITH(CONFIG_CGI, set_folder) },
	{ "location", WITH(CONFIG_CGI, set_location) },
	{ "user", WITH(CONFIG_CGI || CONFIG_FCGI || CONFIG_SCGI, set_account) },
	{ "memory", WITH(CONFIG_CGI, set_memory) },
	{ "cpu", WITH(CONFIG_CGI, set_cpu) },
	{ "time", WITH(CONFIG_CGI, set_time) },
	{ "nice", WITH(CONFIG_CGI, set_nice) },
};

static const struct part *
part_find(struct span piece)
{
	for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++)
		if (span_eq(span_of(parts[i].piece), piece))
			return &parts[i];
	return NULL;
}

void
rule_set(const struct word *w, char *const *arg, unsigned n)
{
	struct rule *rule = keep(sizeof *rule), **end = w->section == G_ROUTE ? &reader.host->routes : &reader.host->filters;
	const struct part *part;

	rule->kind = w->kind;
	rule->number = w->section == G_ROUTE ? w->min : 0;
	rule->pattern = (struct pattern){ MATCH_BELOW, SPAN("/") };
	rule->root.fd = -1;
	if ((CONFIG_CGI && rule->kind == R_CGI) || rule->kind == R_FASTCGI || rule->kind == R_SCGI)
		run_of(rule);
	for (unsigned i = 0; i < n; i++) {
		part = part_find(reader.key[i]);
		if (part && !part->set(rule, keep_text(arg[i])))
			return;
	}
	if ((rule->kind == R_FASTCGI || rule->kind == R_SCGI) && !programs_finish(w, rule))
		return;
	remember(rule);
	while (*end)
		end = &(*end)->next;
	*end = rule;
}

