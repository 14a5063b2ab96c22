/* resolve.c - names become addresses, while everything else goes on
 *
 *   wanted ─▶ /etc/hosts ─▶ a question for each family ─▶ answers ─▶ addresses, for as long as they hold
 *                 ▲              │ no answer: the next server, the next round; no such name: the next `search`
 *                 `── again, when they hold no more and are wanted; after a failure later and later
 *
 * Libc's resolver would wait, allocate, and weigh 20 KB.  What a router needs is less: its own dnsmasq, asked over UDP,
 * from a port and with an id that cannot be guessed.  Old addresses stay in force until there are new ones: a resolver
 * that is down must not take the backends with it.
 */
#include "resolve.h"

#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>

enum {
	PATIENCE = 1500,                /* ms for an answer */
	ROUNDS = 2,                     /* how often each server is asked */
	HOLDS_LEAST = 5, HOLDS_MOST = 3600,     /* seconds that addresses are believed, whatever their resolver says */
	HOLDS_FILE = 10,                /* seconds, when they are from /etc/hosts */
	AGAIN_MOST = 60,                /* seconds to the next try after failures */
	FAMILIES = 2,
};

static const uint16_t families[FAMILIES] = { DNS_A, DNS_AAAA };

struct query {                          /* a name that is being asked for, at one server */
	struct name *name;              /* NULL: free */
	int fd;
	uint8_t server, round, suffix;
	bool got[FAMILIES];
	bool refused;                   /* this server does not want to say */
	struct found found[FAMILIES];
	unsigned size[FAMILIES];
	int64_t due;
	char question[FAMILIES][DNS_QUESTION];
};

static struct query queries[QUERIES_MAX];
static struct name *asked;              /* those that wait for a query to be free, too */

/* -- text ------------------------------------------------------------------------------------------------ */

static bool
host_char(char c)
{
	return (lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

/* Its last label is no number, or a mistyped address would be asked for. */
bool
name_host(struct span host)
{
	bool letters = false;

	if (host.n && host.p[host.n - 1] == '.')
		host.n--;
	if (!host.n || host.n > NAME_MOST)
		return false;
	for (unsigned i = 0; i < host.n; i++) {
		if (!host_char(host.p[i]) || (host.p[i] == '.' && (!i || host.p[i - 1] == '.')))
			return false;
		letters = host.p[i] != '.' && (letters || host.p[i] < '0' || host.p[i] > '9');
	}
	return letters;
}

bool
name_parse(struct name *name, const char *text)
{
	struct span port = span_of(text), host = span_cut(&port, ':');
	uint64_t n;

	*name = (struct name){ .host = host };
	if (!name_host(host) || !span_uint(port, &n) || !n || n > 65535)
		return false;
	name->port = net16((uint16_t)n);
	return true;
}

/* Of a file: up to a blank, or what a comment begins with. */
static struct span
cut_word(struct span *rest)
{
	unsigned n = 0, blanks = 0;
	struct span word;

	while (blanks < rest->n && (unsigned char)rest->p[blanks] <= ' ')
		blanks++;
	*rest = (struct span){ rest->p + blanks, rest->n - blanks };
	while (n < rest->n && (unsigned char)rest->p[n] > ' ' && rest->p[n] != '#')
		n++;
	word = (struct span){ rest->p, n };
	if (n < rest->n && rest->p[n] == '#')
		rest->n = n;
	*rest = (struct span){ rest->p + n, rest->n - n };
	return word;
}

/* -- whom to ask ------------------------------------------------------------------------------------------- */

static struct resolver system_resolver;         /* as /etc/resolv.conf has it */
static char system_search[256];

static void
resolv_line(struct resolver *r, struct span rest)
{
	struct span word = cut_word(&rest);
	struct buf b = buf_on(system_search, sizeof system_search - 1);
	struct from f;

	if (span_eq(word, SPAN("nameserver")) && r->n < RESOLVERS_MAX && from_parse(&f, cut_word(&rest)))
		r->server[r->n++] = addr_of(&f, net16(53));
	if (span_eq(word, SPAN("search")) || span_eq(word, SPAN("domain"))) {
		buf_span(&b, span_trim(rest));
		system_search[b.w] = '\0';
	}
}

/* What the configuration says, or the system; without both the machine itself, as everywhere. */
static const struct resolver *
resolver(void)
{
	static const struct from self = { AF_INET, 0, { 127, 0, 0, 1 } };
	struct resolver *r = &system_resolver;
	struct span line;

	if (conf->resolver.n)
		return &conf->resolver;
	r->n = 0;
	r->search = system_search;
	system_search[0] = '\0';
	for (text_open("/etc/resolv.conf"); text_line(&line);)
		resolv_line(r, line);
	if (!r->n)
		r->server[r->n++] = addr_of(&self, net16(53));
	return r;
}

/* The name with the suffix-th domain of `search` behind it, and after the last of these alone; one that has dots stands
 * for itself.  False when there are no more. */
static bool
full_name(const struct name *name, unsigned suffix, struct buf *to)
{
	struct span host = name->host, rest = SPAN(""), domain;

	if (host.p[host.n - 1] == '.')
		host.n--;
	else if (!find_byte(host.p, '.', host.n))
		rest = span_of(resolver()->search);
	domain = cut_word(&rest);
	for (; suffix && domain.n; suffix--)
		domain = cut_word(&rest);
	buf_span(to, host);
	if (domain.n)
		buf_char(to, '.');
	buf_span(to, domain);
	return !suffix;
}

/* -- what comes of it ------------------------------------------------------------------------------------------ */

static void
empty(struct backend *b)
{
	b->addr.size = 0;
	b->changes++;
	b->silent = true;
	b->rests_until = INT64_MAX;
}

void
name_begin(struct name *name, struct backend *b, const char *text)
{
	name->backends = b;
	for (unsigned i = 0; i < NAME_ADDRS; i++) {
		b[i].name = name;
		b[i].text = text;
		b[i].next = i + 1 < NAME_ADDRS ? &b[i + 1] : NULL;
		empty(&b[i]);
	}
}

static void
leave(struct name *name)
{
	struct name **at = &asked;

	while (*at && *at != name)
		at = &(*at)->next;
	if (*at)
		*at = name->next;
	name->asking = false;
}

/* An address that was known already keeps its place, and with it its connections and its rest. */
static void
take_addresses(struct name *name, struct addr *a, unsigned n)
{
	struct backend *b = name->backends;

	for (unsigned i = 0; i < NAME_ADDRS; i++) {
		unsigned k = 0;

		while (k < n && !(a[k].size && b[i].addr.size && addr_same(&a[k], &b[i].addr)))
			k++;
		if (k < n) {
			a[k].size = 0;
		} else if (b[i].addr.size) {
			peer_forget(&b[i]);
			empty(&b[i]);
		}
	}
	for (unsigned i = 0, k = 0; i < NAME_ADDRS; i++) {
		while (k < n && !a[k].size)
			k++;
		if (k < n && !b[i].addr.size) {
			b[i].addr = a[k++];
			b[i].rests_until = 0;
			b[i].silent = false;
		}
	}
}

/* found has FAMILIES.  These take turns, IPv4 first: where one does not work the other is tried next. */
static void
settle(struct name *name, const struct found *found)
{
	uint32_t ttl = HOLDS_MOST;
	struct addr a[NAME_ADDRS];
	unsigned n = 0;

	for (unsigned i = 0; i < NAME_ADDRS; i++)
		for (unsigned f = 0; f < FAMILIES; f++)
			if (i < found[f].n && n < NAME_ADDRS)
				a[n++] = addr_of(&found[f].ip[i], name->port);
	take_addresses(name, a, n);
	for (unsigned f = 0; f < FAMILIES; f++)
		if (found[f].n && found[f].ttl < ttl)
			ttl = found[f].ttl;
	name->until = now + (ttl > HOLDS_LEAST ? ttl : HOLDS_LEAST) * (int64_t)1000;
	name->failures = 0;
	name->failed = false;
	leave(name);
}

static void
give_up(struct name *name, const char *why)
{
	unsigned seconds = name->failures < 6 ? 1u << name->failures : AGAIN_MOST;

	if (!name->failed)
		log_line(name->backends->foreign ? LOG_DEBUG : LOG_WARN, "%.*s cannot be resolved: %s", (int)name->host.n,
		    name->host.p, why);
	name->failed = true;
	name->failures += name->failures < 6;
	name->until = now + (seconds < AGAIN_MOST ? seconds : AGAIN_MOST) * 1000;
	leave(name);
}

/* -- asking ------------------------------------------------------------------------------------------------------ */

static void
end(struct query *q)
{
	if (q->fd >= 0)
		call_close(q->fd);
	q->fd = -1;
	q->name = NULL;
}

/* Ids that nobody can guess, like the port, which the kernel chooses. */
static uint16_t
random_id(void)
{
	uint16_t id;

	if (call_getrandom(&id, sizeof id, GRND_NONBLOCK) != sizeof id)
		id = (uint16_t)((uintptr_t)&id >> 4 ^ (uint64_t)now * 40503);
	return id;
}

static bool
send_questions(struct query *q, const struct addr *server)
{
	q->fd = call_socket(server->u.any.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (q->fd < 0 || call_connect(q->fd, &server->u.any, server->size) < 0)
		return false;
	for (unsigned f = 0; f < FAMILIES; f++)
		if (!q->got[f] && send(q->fd, q->question[f], q->size[f], MSG_NOSIGNAL) < 0)
			return false;
	return true;
}

/* Ask the server at q->server, or the next one that can be asked. */
static void
ask(struct query *q)
{
	const struct resolver *r = resolver();

	for (; q->round < ROUNDS; q->round++, q->server = 0)
		for (; q->server < r->n; q->server++) {
			if (q->fd >= 0)
				call_close(q->fd);
			if (send_questions(q, &r->server[q->server])) {
				q->due = now + PATIENCE;
				return;
			}
		}
	give_up(q->name, "no resolver answers");
	end(q);
}

/* The name as it is to be asked for next. */
static void
pose(struct query *q)
{
	char store[NAME_MOST + 1];
	struct buf b = buf_on(store, sizeof store);

	q->server = q->round = 0;
	q->got[0] = q->got[1] = q->refused = false;
	q->found[0].n = q->found[1].n = 0;
	if (!full_name(q->name, q->suffix, &b)) {
		give_up(q->name, "there is no such name");
		end(q);
		return;
	}
	for (unsigned f = 0; f < FAMILIES; f++)
		q->size[f] = b.bad ? 0 : dns_question(q->question[f], random_id(), (struct span){ store, b.w }, families[f]);
	if (q->size[0]) {
		ask(q);
		return;
	}
	q->suffix++;
	pose(q);
}

/* Is it a name of this file?  Then that is all there is to know. */
static bool
in_hosts(struct name *name)
{
	struct span host = name->host, line, word;
	struct found found[FAMILIES] = { { .ttl = HOLDS_FILE } };       /* both in one: the file has its order */
	struct from f;

	if (host.p[host.n - 1] == '.')
		host.n--;
	for (text_open("/etc/hosts"); text_line(&line);) {
		if (!from_parse(&f, cut_word(&line)))
			continue;
		while (found->n < NAME_ADDRS && (word = cut_word(&line)).n)
			if (span_eq_nocase(word, host))
				found->ip[found->n++] = f;
	}
	if (found->n)
		settle(name, found);
	return found->n;
}

static bool
has_query(const struct name *name)
{
	for (unsigned i = 0; i < QUERIES_MAX; i++)
		if (queries[i].name == name)
			return true;
	return false;
}

/* The first that waits for it. */
static void
begin_query(struct query *q)
{
	struct name *name = asked;

	while (name && has_query(name))
		name = name->next;
	if (!name)
		return;
	q->name = name;
	q->fd = -1;
	q->suffix = 0;
	pose(q);
}

void
name_want(struct name *name)
{
	struct name **at = &asked;

	if (name->asking || name->until > now || in_hosts(name))
		return;
	while (*at)
		at = &(*at)->next;
	*at = name;
	name->next = NULL;
	name->asking = true;
	for (unsigned i = 0; i < QUERIES_MAX && !has_query(name) && name->asking; i++)
		if (!queries[i].name)
			begin_query(&queries[i]);
}

void
name_forget(struct name *name)
{
	for (unsigned i = 0; i < QUERIES_MAX; i++)
		if (queries[i].name == name)
			end(&queries[i]);
	leave(name);
}

bool
names_asking(const struct backend *b)
{
	for (; b; b = b->next)
		if (b->name && b->name->asking)
			return true;
	return false;
}

void
resolve_all(const struct conf *cf)
{
	for (const struct host *host = cf->hosts; host; host = host->next)
		for (const struct rule *rule = host->routes; rule; rule = rule->next)
			for (const struct backend *b = rule->backends; b; b = b->next)
				if (b->name)
					name_want(b->name);
}

/* -- answers ------------------------------------------------------------------------------------------------------- */

/* All is known that will be. */
static void
conclude(struct query *q)
{
	if (q->found[0].n || q->found[1].n) {
		settle(q->name, q->found);
		end(q);
		return;
	}
	q->suffix++;
	pose(q);
}

static void
next_server(struct query *q)
{
	if (q->found[0].n || q->found[1].n) {   /* one family is known, and nobody tells of the other */
		conclude(q);
		return;
	}
	for (unsigned f = 0; f < FAMILIES; f++)
		q->got[f] = false;
	q->refused = false;
	q->server++;
	ask(q);
}

static void
read_answer(struct query *q)
{
	char store[1232];
	ssize_t n;

	while (q->name && (n = recv(q->fd, store, sizeof store, 0)) != -1) {
		enum dns said = DNS_OTHER;
		struct found found;
		unsigned f;

		for (f = 0; f < FAMILIES && said == DNS_OTHER; f++)
			if (!q->got[f])
				said = dns_answer(store, (unsigned)n, q->question[f], q->size[f], &found);
		if (said == DNS_OTHER)
			continue;
		q->got[f - 1] = true;
		q->found[f - 1] = found;
		q->refused |= said == DNS_FAILED;
		if (!q->got[0] || !q->got[1])
			continue;
		if (q->refused)
			next_server(q);
		else
			conclude(q);
		return;
	}
	if (q->name && errno != EAGAIN && errno != EINTR)
		next_server(q);         /* nobody listens there */
}

unsigned
resolve_plan(struct pollfd *set, int64_t *due)
{
	unsigned n = 0;

	if (!asked)
		return 0;
	for (unsigned i = 0; i < QUERIES_MAX; i++) {
		if (!queries[i].name)
			continue;
		set[n++] = (struct pollfd){ queries[i].fd, POLLIN, 0 };
		*due = queries[i].due < *due ? queries[i].due : *due;
	}
	return n;
}

bool
resolve_run(const struct pollfd *set, unsigned n)
{
	bool settled = false;

	for (unsigned i = 0, k = 0; i < QUERIES_MAX && k < n; i++) {
		struct query *q = &queries[i];
		const struct name *name = q->name;

		if (!name || q->fd != set[k].fd)
			continue;
		if (set[k++].revents)
			read_answer(q);
		else if (q->due <= now)
			next_server(q);
		settled |= q->name != name;
		if (!q->name)
			begin_query(q);
	}
	return settled;
}
