/* scalars.c - words whose arguments are plain values: text, numbers, times, one of several names */
#include "words.h"

#include <string.h>

enum { DAY = 86400 };

/* In the order of enum timeout, each with its seconds when nothing is said. */
static const char timeouts[] =
	"head\0" "10\0" "body\0" "30\0" "idle\0" "20\0" "send\0" "30\0" "connect\0" "5\0" "backend\0" "60\0"
	"keep\0" "5\0" "queue\0" "30\0" "linger\0" "2\0" "stop\0" "10\0" "tunnel\0" "600\0";

static const char *const link_names[] = { [LINKS_OWNER] = "owner", [LINKS_INSIDE] = "inside", [LINKS_ANY] = "any" };
static const char *const dotfile_names[] = { "hide", "show" };

static const char *
timeout_name(unsigned i)
{
	return i < TIMEOUTS ? text_at(timeouts, 2 * i) : NULL;
}

void
timeouts_default(struct reader *r)
{
	for (const char *name = timeouts, *seconds; *name; name = text_at(seconds, 1)) {
		seconds = text_at(name, 1);
		apply(r, "timeout", (char *[]){ (char *)(uintptr_t)name, (char *)(uintptr_t)seconds }, 2, false);
	}
}

unsigned
name_index(const char *text, const char *(*name)(unsigned))
{
	unsigned i;

	for (i = 0; name(i) && strcmp(name(i), text); i++)
		;
	return i;
}

static void *
field_of(const struct reader *r, const struct word *w)
{
	return (w->section == G_SERVER ? (char *)r->conf : (char *)r->host) + w->at;
}

void
text_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	const char **to = field_of(r, w);

	(void)n;
	if (!*arg[0])
		mistake(r, "the argument of '%s' is empty", w->name);
	else if (once(r, to, w->name))
		*to = keep_text(r, arg[0]);
}

void
nets_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	struct net **list = field_of(r, w);

	for (unsigned i = 0; i < n; i++)
		take_net(r, arg[i], list);
}

void
root_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	const char **to = field_of(r, w);

	text_set(r, w, arg, n);
	if (*to && *to[0] != '/')
		*to = keep_folder(r, *to);
}

void
number_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	unsigned *to = field_of(r, w);
	uint64_t number;

	(void)n;
	if (take_number(r, arg[0], w->min, w->max, &number) && once(r, to, w->name))
		*to = number;
}

void
clients_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	uint64_t clients, parked = 1024;

	if (!take_number(r, arg[0], w->min, w->max, &clients) || (n > 1 && !take_number(r, arg[1], 0, 65535, &parked)))
		return;
	if (!once(r, &r->conf->clients, w->name))
		return;
	r->conf->clients = clients;
	r->conf->parked = parked;
}

void
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

/* Seconds with up to three decimals, as milliseconds. */
static bool
take_time(struct reader *r, const char *text, unsigned *to)
{
	struct span part = span_of(text), whole = span_cut(&part, '.');
	bool point = find_char(text, '.');
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

void
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

void
spool_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	uint64_t size;

	(void)n;
	if (!take_dir(r, arg[0]) || !take_size(r, arg[1], &size) || !once(r, &r->conf->spool, w->name))
		return;
	r->conf->spool = keep_text(r, arg[0]);
	r->conf->spool_size = size;
}

void
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

void
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

