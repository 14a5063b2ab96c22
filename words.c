/* words.c - the directives: one table
 *
 * A new scalar is a row with a setter and a shower that exist already (scalars.c; directives.c has those with a mind of
 * their own).  A new route or filter is a row whose pattern of arguments names its parts; a part that no other rule has
 * is a row of parts[] in rules.c.
 */
#include "words.h"

#include <string.h>

enum { NUMBER_MAX = 1 << 30 };

#define SERVER(field) G_SERVER, .at = offsetof(struct conf, field)
#define SITE(field) G_SITE, .at = offsetof(struct host, field)
#define ROUTE(of) G_ROUTE, .show = rule_show, .kind = of
#define FILTER(of) G_FILTER, .show = rule_show, .kind = of

#define BACKENDS "PATTERN [ADDR]... [spawn COMMAND] [children N] [ready N] [idle SECONDS] [user NAME] " \
	"[remote DIR] [sendfile DIR]..."

const struct word words[] = {
	{ "listen", "ADDR... [tls] [proxy-protocol]", SERVER(listen), .set = listen_set, .show = listen_show,
	  .help = "where to take connections, with tls encrypted ones; port 8000 of all addresses by default" },
	{ "trust", "RANGE...", SERVER(trust), .set = CONFIG_TRUST ? nets_set : NULL, .show = nets_show,
	  .feature = "CONFIG_TRUST",
	  .help = "proxies in front of this server, which are believed what they say of their clients" },
	{ "forward", "RANGE... [port N]... [to RANGE]... [auth FILE]", SERVER(forwards),
	  .set = CONFIG_FORWARD ? forward_set : NULL, .show = CONFIG_FORWARD ? forward_show : NULL,
	  .feature = "CONFIG_FORWARD",
	  .help = "be a proxy into the world for these clients, by CONNECT to port 443 and by URL" },
	{ "resolver", "ADDR... [search NAME]...", SERVER(resolver), .set = CONFIG_RESOLVE ? resolver_set : NULL,
	  .show = CONFIG_RESOLVE ? resolver_show : NULL, .feature = "CONFIG_RESOLVE",
	  .help = "whom to ask for names, and domains for those without dots, in place of /etc/resolv.conf" },
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
	  .help = "programs and connections to backends at once, which others wait for; 16" },
	{ "proxied", "N", SERVER(proxied), .set = CONFIG_PROXY || CONFIG_FORWARD ? number_set : NULL,
	  .show = CONFIG_PROXY || CONFIG_FORWARD ? number_show : NULL, .min = 1, .max = 4096, .feature = "CONFIG_PROXY",
	  .help = "the same for servers behind a proxy line, whose requests and tunnels have places of their own; 32" },
	{ "sessions", "N", SERVER(sessions), .set = CONFIG_TLS ? number_set : NULL,
	  .show = CONFIG_TLS ? number_show : NULL, .min = 0, .max = 65535, .feature = "CONFIG_TLS",
	  .help = "TLS sessions kept for clients that come again, who then need no handshake in full; 64" },
	{ "memory", "SIZE", SERVER(memory), .set = memory_set, .show = memory_show,
	  .help = "the most that pools and shared buffers may take; a plan above it does not start" },
	{ "timeout", "NAME SECONDS", G_SERVER, .set = timeout_set, .show = timeout_show,
	  .help = "how long to wait: head, body, idle, send, connect, backend, keep, queue, linger, stop or tunnel" },
	{ "spool", "DIR SIZE", SERVER(spool), .set = spool_set, .show = spool_show,
	  .help = "a folder for request bodies whose length is not known beforehand, and how long each may be" },
	{ "ca", "FILE", SERVER(ca), .set = CONFIG_HTTPS ? ca_set : NULL, .show = CONFIG_HTTPS ? ca_show : NULL,
	  .feature = "CONFIG_TLS_CLIENT",
	  .help = "the authorities that vouch for backends at https, in PEM" },
	{ "client-ca", "FILE [required|optional]", SERVER(client_ca), .set = CONFIG_VERIFY ? client_ca_set : NULL,
	  .show = CONFIG_VERIFY ? client_ca_show : NULL, .feature = "CONFIG_CLIENT_CERTS",
	  .help = "ask clients for a certificate that one of these authorities has issued" },
	{ "state", "DIR", SERVER(state), .set = CONFIG_TLS ? text_set : NULL, .show = text_field_show,
	  .feature = "CONFIG_TLS",
	  .help = "the folder where the server keeps the certificate that it makes itself; " STATE_DIR },
	{ "host", "NAME... {", G_SERVER, .set = host_set,
	  .help = "what follows up to a line with } is for these names; *.example.org for all below it" },

	{ "include", "FILE", G_SITE, .set = include_set,
	  .help = "read this file here, or all that match, as in conf.d/*.conf" },
	{ "root", "DIR", SITE(root.path), .set = root_set, .show = text_field_show,
	  .help = "the folder whose files are served" },
	{ "certificate", "FILE [KEY]", SITE(credentials), .set = CONFIG_TLS ? certificate_set : NULL,
	  .show = certificate_show, .feature = "CONFIG_TLS",
	  .help = "a certificate, the chain behind it, and its key; the first that suits a client is shown to it" },
	{ "index", "NAME...", SITE(index), .set = index_set, .show = index_show,
	  .help = "the files that answer for their folder, the first that exists; index.html" },
	{ "links", "owner|inside|any", SITE(links), .set = choice_set, .show = choice_show,
	  .help = "symbolic links: those that lead to a file of their owner, those that stay below the root, or any" },
	{ "dotfiles", "show|hide", SITE(dotfiles), .set = choice_set, .show = choice_show,
	  .help = "names that begin with a dot; hidden when nothing is said, all but /.well-known/" },

	{ "env", "NAME VALUE", SITE(env), .set = CONFIG_GATEWAY ? env_set : NULL, .show = CONFIG_GATEWAY ? env_show : NULL,
	  .feature = "CONFIG_GATEWAY",
	  .help = "a variable for programs, in place of one of that name" },

	{ "fastcgi", BACKENDS, ROUTE(R_FASTCGI),
	  .set = CONFIG_FCGI ? rule_set : NULL, .feature = "CONFIG_FCGI",
	  .help = "ask a FastCGI program, the next address when one does not answer" },
	{ "scgi", BACKENDS, ROUTE(R_SCGI),
	  .set = CONFIG_SCGI ? rule_set : NULL, .feature = "CONFIG_SCGI",
	  .help = "ask an SCGI program, the next address when one does not answer" },
	{ "cgi", "PATTERN [INTERPRETER] [folder WHICH] [location WHO] [user NAME] [memory SIZE] [cpu SECONDS] "
	  "[time SECONDS] [nice N]", ROUTE(R_CGI), .set = CONFIG_CGI ? rule_set : NULL, .feature = "CONFIG_GATEWAY",
	  .help = "run a program for each request: the file itself, or an interpreter with it" },
	{ "proxy", "PATTERN ADDR... [check HOW] [name NAME] [in-turn|least-busy|sticky]", ROUTE(R_PROXY),
	  .set = CONFIG_PROXY ? rule_set : NULL, .initial = IN_TURN, .feature = "CONFIG_PROXY",
	  .help = "ask another web server, or one of several; http://HOST:PORT/PATH/ maps to a path over there" },
	{ "alias", "PATTERN DIR", ROUTE(R_ALIAS), .set = rule_set,
	  .help = "serve files of another folder" },
	{ "redirect", "PATTERN TARGET [STATUS]", ROUTE(R_REDIRECT), .set = rule_set, .initial = 302,
	  .help = "send the client elsewhere, with 301, 302, 303, 307 or 308" },
	{ "rewrite", "PATTERN PATH", ROUTE(R_REWRITE), .set = rule_set,
	  .help = "answer as if PATH had been asked for" },

	{ "allow", "PATTERN RANGE...", FILTER(R_ALLOW), .set = CONFIG_ALLOW ? rule_set : NULL, .feature = "CONFIG_ALLOW",
	  .help = "who may ask, by address; the others get 403" },
	{ "auth", "PATTERN FILE|system|off [REALM]", FILTER(R_AUTH), .set = CONFIG_AUTH ? rule_set : NULL,
	  .feature = "CONFIG_AUTH",
	  .help = "who may ask, by password: users of a file, or accounts of the system; the others get 401" },
	{ "authorization", "PATTERN", FILTER(R_AUTHORIZATION), .set = rule_set,
	  .help = "let programs see the field with the password" },
	{ "fallback", "PATTERN PATH", FILTER(R_FALLBACK), .set = rule_set,
	  .help = "answer with PATH what no file answers" },
	{ "header", "PATTERN NAME VALUE", FILTER(R_HEADER), .set = rule_set,
	  .help = "a field for the response, in place of one of that name" },
	{ "expires", "PATTERN SECONDS", FILTER(R_EXPIRES), .set = rule_set, .max = NUMBER_MAX,
	  .help = "how long caches may keep the response" },
	{ "hsts", "PATTERN SECONDS", FILTER(R_HSTS), .set = CONFIG_TLS ? rule_set : NULL, .max = NUMBER_MAX,
	  .feature = "CONFIG_TLS",
	  .help = "tell browsers, over TLS, to come by https alone for so long" },
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
