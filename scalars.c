/* scalars.c - words whose arguments are plain values: text, numbers, times, one of several names */
#include "words.h"

#include <string.h>

enum { DAY = 86400 };

const char *const timeout_names[TIMEOUTS] = {
	[T_HEAD] = "head", [T_BODY] = "body", [T_IDLE] = "idle", [T_SEND] = "send", [T_CONNECT] = "connect",
	[T_BACKEND] = "backend", [T_KEEP] = "keep", [T_QUEUE] = "queue", [T_LINGER] = "linger", [T_STOP] = "stop",
	[T_TUNNEL] = "tunnel",
};

static const char *const link_names[] = { [LINKS_OWNER] = "owner", [LINKS_INSIDE] = "inside", [LINKS_ANY] = "any" };
static const char *const dotfile_names[] = { "hide", "show" };

static const char *
timeout_name(unsigned i)
{
	return i < TIMEOUTS ? timeout_names[i] : NULL;
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
		take_net(r, keep_text(r, arg[i]), list);
}

bool
nets_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	struct net *list = *(struct net *const *)(const void *)((const char *)from + w->at);

	net_show(b, list);
	return list && !i;
}

void
root_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	const char **to = field_of(r, w);

	text_set(r, w, arg, n);
	if (*to && *to[0] != '/')
		*to = keep_folder(r, *to);
}

bool
text_field_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const char *text = *(const char *const *)((const char *)from + w->at);

	if (i || !text || !*text)
		return false;
	text_show(b, span_of(text));
	return true;
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

bool
number_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	if (!i)
		buf_print(b, " %u", *(const unsigned *)((const char *)from + w->at));
	return !i;
}

void
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

bool
clients_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct conf *cf = from;

	(void)w;
	if (!i)
		buf_print(b, " %u %u", cf->clients, cf->parked);
	return !i;
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

bool
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

bool
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

bool
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

bool
choice_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct host *host = from;

	if (!i)
		buf_print(b, " %s", w->at == offsetof(struct host, links) ? link_names[host->links] :
		    dotfile_names[host->dotfiles]);
	return !i;
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

bool
index_show(struct buf *b, const struct word *w, const void *from, unsigned i)
{
	const struct host *host = from;

	(void)w;
	for (unsigned j = 0; !i && j < host->nindex; j++)
		text_show(b, host->index[j]);
	return !i && host->nindex;
}
