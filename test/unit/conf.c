/* conf.c - what reading a configuration leaves in the structures, and that it leaves nothing behind
 *
 * Run it under the address sanitizer: every configuration is read and released, and leaks are told at the end.
 */
#undef NDEBUG
#include "httpd.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char name[] = "/tmp/cubhttpd-unit-XXXXXX";

static struct conf *
read_text(const char *text, const char *option, const char *argument)
{
	char *argv[] = { "cubhttpd", "-f", name, (char *)(uintptr_t)option, (char *)(uintptr_t)argument, NULL };
	int fd = open(name, O_WRONLY | O_TRUNC), n = strlen(text);

	assert(write(fd, text, n) == n);
	close(fd);
	return conf_read(option ? 5 : 3, argv);
}

static bool
is(struct span s, const char *text)
{
	return span_eq(s, span_of(text));
}

/* Mistakes are told on stderr, which the tests of the program look at; here they would only be noise. */
static bool
refused(const char *text)
{
	int keep = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
	struct conf *cf;

	dup2(null, STDERR_FILENO);
	cf = read_text(text, NULL, NULL);
	dup2(keep, STDERR_FILENO);
	close(keep);
	close(null);
	if (cf)
		conf_release(cf);
	return !cf;
}

static void
defaults(void)
{
	struct conf *cf = read_text("root /srv\n", NULL, NULL);

	assert(cf && cf->nlisten == 1 && addr_port(&cf->listen[0].addr) == 8000 && cf->listen[0].fd == -1);
	assert(cf->listen[0].addr.u.any.sa_family == AF_INET6);
	assert(cf->clients == 64 && cf->parked == 1024 && cf->scripts == 16 && !cf->memory);
	assert(cf->timeout[T_HEAD] == 10000 && cf->timeout[T_STOP] == 10000);
	assert(cf->error_to == TO_STDERR && cf->level == LOG_INFO && cf->access_to == TO_NOWHERE);
	assert(!strcmp(cf->hosts->root.path, "/srv") && cf->hosts->root.fd == -1 && !cf->hosts->nnames);
	assert(cf->hosts->nindex == 1 && is(cf->hosts->index[0], "index.html"));
	assert(cf->hosts->links == LINKS_OWNER && !cf->hosts->dotfiles && !cf->hosts->next);
	conf_release(cf);
}

static void
hosts_inherit(void)
{
	struct conf *cf = read_text(
	    "host A.example *.B.example {\n\tredirect /x /y 301\n\theader / X one\n\tlinks any\n}\n"
	    "host c {\n root /c\n dotfiles show\n index a b\n}\n"
	    "root /srv\nindex index.php\nredirect /all /\nheader / X two\n", NULL, NULL);
	const struct host *first, *a, *c;

	assert(cf);
	first = cf->hosts;
	a = first->next;
	c = a->next;
	assert(a->nnames == 2 && is(a->names[0], "a.example") && is(a->names[1], "*.b.example"));
	assert(a->root.path == first->root.path && a->root.fd == -1 && a->links == LINKS_ANY && first->links == LINKS_OWNER);
	assert(a->nindex == 1 && is(a->index[0], "index.php") && c->nindex == 2 && c->dotfiles && !a->dotfiles);
	assert(a->routes->number == 301 && a->routes->next == first->routes && first->routes->number == 302);
	assert(is(a->filters->value, "one") && a->filters->next == first->filters && c->filters == first->filters);
	assert(!strcmp(c->root.path, "/c") && c->routes == first->routes && !c->next);
	conf_release(cf);
}

static void
rules(void)
{
	struct conf *cf = read_text(
	    "root /srv\n"
	    "fastcgi *.php unix:/run/php 9000 [::1]:9001 remote /far sendfile /one sendfile \"/two \\\"x\\\\\"\n"
	    "header /a/ cache-control \"max-age=1, x\"\n"
	    "limit / body 3k\nerror 404 /404.html\nexpires *.css 60\n", NULL, NULL);
	const struct rule *rule;

	assert(cf && (rule = cf->hosts->routes));
	assert(rule->kind == R_FASTCGI && rule->pattern.kind == MATCH_EXT && is(rule->pattern.text, ".php"));
	assert(rule->backends->addr.u.any.sa_family == AF_UNIX);
	assert(addr_port(&rule->backends->next->addr) == 9000 && !rule->backends->next->next->next);
	assert(rule->backends->next->addr.u.in4.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	assert(!strcmp(rule->remote, "/far") && !strcmp(rule->sendfile->root.path, "/one"));
	assert(!strcmp(rule->sendfile->next->root.path, "/two \"x\\") && rule->sendfile->root.fd == -1);
	rule = cf->hosts->filters;
	assert(rule->field == F_CACHE_CONTROL && is(rule->value, "max-age=1, x") && rule->pattern.kind == MATCH_BELOW);
	assert((rule = rule->next)->number == 3072 && rule->kind == R_LIMIT_BODY);
	assert((rule = rule->next)->number == 404 && is(rule->value, "/404.html"));
	assert((rule = rule->next)->number == 60 && !rule->next);
	conf_release(cf);
}

/* Whoever opens a root need not ask whether there is one. */
static void
no_root(void)
{
	struct conf *cf = read_text("redirect / /x\nhost a {\n}\nhost b {\nroot /b\n}\n", NULL, NULL);

	assert(cf && !strcmp(cf->hosts->root.path, "") && !strcmp(cf->hosts->next->root.path, ""));
	assert(!strcmp(cf->hosts->next->next->root.path, "/b"));
	conf_release(cf);
}

static void
command_line_wins(void)
{
	struct conf *cf = read_text("root /file\nlisten 1 2\ntimeout head 3\nredirect /b /file\n", "--root", "/line");

	assert(cf && !strcmp(cf->hosts->root.path, "/line") && cf->nlisten == 2 && cf->timeout[T_HEAD] == 3000);
	conf_release(cf);
	cf = read_text("root /file\nlisten 1 2\n", "--listen", "127.0.0.1:0");
	assert(cf && cf->nlisten == 1 && !strcmp(cf->hosts->root.path, "/file"));
	conf_release(cf);
}

/* A configuration that is no longer in force goes with its last user. */
static void
released_by_the_last(void)
{
	struct conf *old = read_text("root /old\n", NULL, NULL);

	assert(old->users == 1);        /* being in force */
	old->users += 2;                /* two requests */
	conf_release(old);              /* a new one is in force */
	conf_release(old);
	assert(old->users == 1 && !strcmp(old->hosts->root.path, "/old"));
	conf_release(old);
}

static bool
matches(const char *pattern, const char *path)
{
	struct pattern p = { MATCH_PATH, span_of(pattern) };

	if (pattern[0] == '.')
		p.kind = MATCH_EXT;
	else if (p.text.p[p.text.n - 1] == '/')
		p.kind = MATCH_BELOW;
	return pattern_matches(&p, span_of(path));
}

static void
patterns(void)
{
	assert(matches("/", "/") && matches("/", "/x") && matches("/a/", "/a/") && matches("/a/", "/a/b"));
	assert(!matches("/a/", "/a") && !matches("/a/", "/ab/"));
	assert(matches("/a", "/a") && matches("/a", "/a/b") && !matches("/a", "/ab") && !matches("/a", "/"));
	assert(matches(".php", "/x.php") && matches(".php", "/x.php/info") && matches(".php", "/a/b.php/c/d"));
	assert(!matches(".php", "/x.phps") && !matches(".php", "/php") && !matches(".php", "/") && !matches(".php", ""));
	assert(!matches(".php", "/x.php5/y") && matches(".php", "/.php"));
}

static void
address(const char *text, const char *any, const char *printed)
{
	char data[160];
	struct buf b = { .data = data, .size = sizeof data };
	struct addr a, again;

	if (!addr_parse(&a, text, any)) {
		assert(!printed);
		return;
	}
	addr_print(&b, &a);
	assert(printed && is((struct span){ b.data, b.w }, printed));
	buf_char(&b, '\0');
	assert(addr_parse(&again, b.data, any) && addr_same(&a, &again));
}

static void
addresses(void)
{
	address("80", "*", "*:80");
	address("*:80", "127.0.0.1", "*:80");
	address("80", "127.0.0.1", "127.0.0.1:80");
	address("localhost:80", "*", "127.0.0.1:80");
	address("0.0.0.0:80", "*", "0.0.0.0:80");
	address("192.0.2.1:65535", "*", "192.0.2.1:65535");
	address("[::1]:8080", "*", "[::1]:8080");
	address("[2001:DB8:0:0:1:0:0:1]:1", "*", "[2001:db8::1:0:0:1]:1");
	address("[1:0:3:4:5:6:7:8]:1", "*", "[1:0:3:4:5:6:7:8]:1");
	address("[1::]:1", "*", "[1::]:1");
	address("[fe80::1%lo]:1", "*", "[fe80::1%lo]:1");
	address("unix:/run/x y", "*", "unix:/run/x y");
	address("65536", "*", NULL);
	address("", "*", NULL);
	address("-1", "*", NULL);
	address(":80", "*", NULL);
	address("::1:80", "*", NULL);
	address("[::1]", "*", NULL);
	address("[::1:80", "*", NULL);
	address("[127.0.0.1]:80", "*", NULL);
	address("1.2.3:80", "*", NULL);
	address("1.2.3.4.5:80", "*", NULL);
	address("example.org:80", "*", NULL);
	address("unix:", "*", NULL);
	address("[fe80::1%nothere]:1", "*", NULL);
}

static void
refusals(void)
{
	static const char *const texts[] = {
		"", "listen 80", "root /a\nroot /b", "root", "root /a /b", "root /\nhost a {", "root /\n}",
		"root /\nhost a {\nhost b {\n}\n}", "root /\nhost a {\nlisten 80\n}", "root \"/", "root \"/\"x",
		"root /\nheader / A:B c", "root /\nheader / Transfer-Encoding chunked", "root /\nredirect /a /b 300",
		"root /\nredirect /a \"/b\tc\"", "root /\nalias // /x", "root /\nalias /a/../b /x", "root /\nalias a /x",
		"root /\nalias *.tar* /x", "root /\nlimit / body 8589934592g", "root /\nlimit / body 1x",
		"root /\nlimit / body 18446744073709551616", "root /\ntimeout head 1.2345", "root /\ntimeout head 86401",
		"fastcgi *.php 9000", "root /\nfastcgi / 0", "root /\nfastcgi / 9000 remote", "root /\nerror 399 /x",
		"root /\nhost a {\n}\nhost A {\n}", "root /\nhost a:80 {\n}", "root /\nhost \"\" {\n}", "root \001", "{", "}",
		"root /\nlisten 80 80", "root /\nuser 99999999999", "root /\ninclude /nonexistent",
		"root /\nindex a b c d e f g h i", "root /\nlog access stderr info", "root /\rindex x",
	};

	for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
		assert(refused(texts[i]));
}

int
main(void)
{
	close(mkstemp(name));
	defaults();
	hosts_inherit();
	rules();
	no_root();
	command_line_wins();
	released_by_the_last();
	patterns();
	addresses();
	refusals();
	unlink(name);
	return 0;
}
