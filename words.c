/* words.c - the directives: one table
 *
 * A new scalar is a row with a setter that exists already, and a line of defaults[] (scalars.c; directives.c has those
 * with a mind of their own).  A new route or filter is a row whose pattern of arguments names its parts; a part that no
 * other rule has is a row of parts[] in rules.c.
 */
#include "words.h"

#include <string.h>

#define SERVER(field) .section = G_SERVER, .at = offsetof(struct conf, field)
#define SITE(field) .section = G_SITE, .at = offsetof(struct host, field)
#define ROUTE(of) .section = G_ROUTE, .kind = of
#define FILTER(of) .section = G_FILTER, .kind = of

/* How it is set where `in` holds, and then its texts, packed: name, arguments, `in` where it does not hold, help, each
 * ended by NUL.  Of what is not in it a build knows no more than the name, or nothing. */
#define WORD(in, setting, word, args, help) \
	.set = (in) ? (setting) : NULL, .name = !(in) ? CONFIG_GUESS ? word "\0\0" #in : "" \
	    : CONFIG_HELP ? word "\0" args "\0\0" help : word "\0" args

#define BACKENDS "PATTERN [ADDR]... [spawn COMMAND] [children N] [ready N] [idle SECONDS] [user NAME] " \
	"[remote DIR] [sendfile DIR]..."

const struct word words[] = {
	{ SERVER(listen), WORD(ALWAYS, listen_set, "listen", "ADDR... [tls] [legacy] [proxy-protocol]",
	    "where to take connections, with tls encrypted ones; 8000") },
	{ SERVER(trust), WORD(CONFIG_TRUST, nets_set, "trust", "RANGE...",
	    "proxies that are believed what they say of their clients") },
	{ SERVER(forwards), WORD(CONFIG_FORWARD, forward_set, "forward",
	    "RANGE... [port N]... [to RANGE]... [auth FILE]",
	    "be a proxy into the world for these clients") },
	{ SERVER(resolver), WORD(CONFIG_RESOLVE, resolver_set, "resolver", "ADDR... [search NAME]...",
	    "whom to ask for names, in place of /etc/resolv.conf") },
	{ SERVER(user), WORD(ALWAYS, user_set, "user", "NAME[:GROUP]",
	    "who to be once the addresses are bound") },
	{ SERVER(pid), WORD(ALWAYS, text_set, "pid", "FILE",
	    "where to write the process number") },
	{ .section = G_SERVER, WORD(CONFIG_TYPES, types_set, "types", "FILE",
	    "media types by extension, as in /etc/mime.types") },
	{ .section = G_SERVER, WORD(ALWAYS, log_set, "log",
	    "errors|access FILE|stderr|syslog|off [error|warn|info|debug]",
	    "where to tell of errors, up to info by default, and of requests") },
	{ SERVER(clients), .min = 1, .max = 4096, WORD(ALWAYS, number_set, "clients", "BUSY [IDLE]",
	    "requests at once, and idle connections beside them; 64 and 1024") },
	{ SERVER(scripts), .min = 1, .max = 4096, WORD(CONFIG_GATEWAY, number_set, "scripts", "N",
	    "programs and connections to backends at once; 16") },
	{ SERVER(proxied), .min = 1, .max = 4096, WORD(CONFIG_PROXY || CONFIG_FORWARD, number_set,
	    "proxied", "N",
	    "the same for servers behind proxy lines; 32") },
	{ SERVER(sessions), .min = 0, .max = 65535, WORD(CONFIG_TLS, number_set, "sessions", "N",
	    "TLS sessions kept for clients that come again; 64") },
	{ SERVER(memory), WORD(ALWAYS, memory_set, "memory", "SIZE",
	    "the most that pools and shared buffers may take") },
	{ .section = G_SERVER, WORD(ALWAYS, timeout_set, "timeout",
	    "head|body|idle|send|connect|backend|keep|queue|linger|stop|tunnel SECONDS", "how long to wait") },
	{ SERVER(spool), WORD(CONFIG_FCGI || CONFIG_SCGI, spool_set, "spool", "DIR SIZE",
	    "a folder for request bodies of unknown length, each up to SIZE") },
	{ SERVER(ca), WORD(CONFIG_TLS && CONFIG_PROXY && CONFIG_TLS_CLIENT, ca_set, "ca", "FILE",
	    "the authorities that vouch for backends at https, in PEM") },
	{ SERVER(client_ca), WORD(CONFIG_TLS && CONFIG_CLIENT_CERTS, client_ca_set, "client-ca",
	    "FILE [required|optional]",
	    "ask clients for a certificate of one of these authorities") },
	{ SERVER(state), WORD(CONFIG_TLS, text_set, "state", "DIR",
	    "the folder for certificates of our own making; " STATE_DIR) },
	{ .section = G_SERVER, WORD(CONFIG_HOSTS, host_set, "host", "NAME... {",
	    "what follows up to } is for these names") },

	{ .section = G_SITE, WORD(CONFIG_INCLUDE, include_set, "include", "FILE",
	    "read this file here, or all that match") },
	{ SITE(root.path), WORD(ALWAYS, root_set, "root", "DIR",
	    "the folder whose files are served") },
	{ SITE(credentials), WORD(CONFIG_TLS, certificate_set, "certificate", "FILE [KEY]",
	    "a certificate with its chain, and its key") },
	{ SITE(index), WORD(ALWAYS, index_set, "index", "NAME...",
	    "the files that answer for their folder; index.html") },
	{ SITE(links), WORD(ALWAYS, choice_set, "links", "owner|inside|any",
	    "which symbolic links are followed") },
	{ SITE(dotfiles), WORD(ALWAYS, choice_set, "dotfiles", "hide|show",
	    "names that begin with a dot, but for /.well-known/; hide") },

	{ SITE(env), WORD(CONFIG_GATEWAY, env_set, "env", "NAME VALUE",
	    "a variable for programs") },

	{ ROUTE(R_FASTCGI), WORD(CONFIG_FCGI, rule_set, "fastcgi", BACKENDS,
	    "ask a FastCGI program") },
	{ ROUTE(R_SCGI), WORD(CONFIG_SCGI, rule_set, "scgi", BACKENDS,
	    "ask an SCGI program") },
	{ ROUTE(R_CGI), WORD(CONFIG_CGI, rule_set, "cgi",
	    "PATTERN [INTERPRETER] [folder root|script] [location client|server] [user NAME] [memory SIZE] [cpu SECONDS]"
	    " [time SECONDS] [nice N]",
	    "run a program for each request: the file itself, or an interpreter with it") },
	{ ROUTE(R_PROXY), .min = IN_TURN, WORD(CONFIG_PROXY, rule_set, "proxy",
	    "PATTERN ADDR... [check HOW] [name NAME] [in-turn|least-busy|sticky]",
	    "ask another web server, or one of several") },
	{ ROUTE(R_ALIAS), WORD(CONFIG_REWRITE, rule_set, "alias", "PATTERN DIR",
	    "serve files of another folder") },
	{ ROUTE(R_REDIRECT), .min = 302, WORD(CONFIG_REWRITE, rule_set, "redirect",
	    "PATTERN TARGET [301|302|303|307|308]", "send the client elsewhere; 302") },
	{ ROUTE(R_REWRITE), WORD(CONFIG_REWRITE, rule_set, "rewrite", "PATTERN PATH",
	    "answer as if PATH had been asked for") },

	{ FILTER(R_ALLOW), WORD(CONFIG_ALLOW, rule_set, "allow", "PATTERN RANGE...",
	    "who may ask, by address; the others get 403") },
	{ FILTER(R_AUTH), WORD(CONFIG_AUTH, rule_set, "auth", "PATTERN FILE|system|off [REALM]",
	    "who may ask, by password; the others get 401") },
	{ FILTER(R_AUTHORIZATION), WORD(CONFIG_GATEWAY, rule_set, "authorization", "PATTERN",
	    "let programs see the field with the password") },
	{ FILTER(R_FALLBACK), WORD(CONFIG_REWRITE, rule_set, "fallback", "PATTERN PATH",
	    "answer with PATH what no file answers") },
	{ FILTER(R_HEADER), WORD(CONFIG_HEADER, rule_set, "header", "PATTERN NAME VALUE",
	    "a field for the response") },
	{ FILTER(R_EXPIRES), WORD(CONFIG_HEADER, rule_set, "expires", "PATTERN SECONDS",
	    "how long caches may keep the response") },
	{ FILTER(R_HSTS), WORD(CONFIG_TLS, rule_set, "hsts", "PATTERN SECONDS",
	    "tell browsers to come by https alone") },
	{ FILTER(R_LIMIT_BODY), WORD(CONFIG_GATEWAY, rule_set, "limit", "PATTERN body SIZE",
	    "refuse request bodies above SIZE") },
	{ FILTER(R_LISTING), WORD(CONFIG_LISTING, rule_set, "listing", "PATTERN",
	    "list folders that have no index") },
	{ FILTER(R_ERROR), .min = 400, .max = 599, WORD(CONFIG_REWRITE, rule_set, "error", "CODE PATH",
	    "the page for a status of 400 to 599") },
	{ 0 },
};

const char defaults[] =
	"listen 8000\0" "clients 64 1024\0" "scripts 16\0" "proxied 32\0" "sessions 64\0"
	"log errors stderr\0" "log access off\0"
	"timeout head 10\0" "timeout body 30\0" "timeout idle 20\0" "timeout send 30\0" "timeout connect 5\0"
	"timeout backend 60\0" "timeout keep 5\0" "timeout queue 30\0" "timeout linger 2\0" "timeout stop 10\0"
	"timeout tunnel 600\0"
	"index index.html\0" "links owner\0" "dotfiles hide\0";

const struct word *
word_find(const char *name)
{
	const struct word *w;

	for (w = words; w->name; w++)
		if (!strcmp(w->name, name) && (CONFIG_GUESS || w->set))
			return w;
	return NULL;
}

const char *
text_at(const char *p, unsigned i)
{
	for (; i; i--)
		p += strlen(p) + 1;
	return p;
}

const char *
word_text(const struct word *w, enum word_text which)
{
	return text_at(w->name, which);
}

const struct word *
word_of_rule(enum rule_kind kind)
{
	const struct word *w = words;

	while (w->section < G_ROUTE || w->kind != kind)
		w++;
	return w;
}
