/* scalars.c - words whose arguments are plain values: text, numbers, times, one of several names */
#include "words.h"

#include <string.h>

enum { DAY = 86400 };

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
	if (take_name(r, arg[0]) && once(r, to, w->name))
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

/* A second one, which may be missing, goes into the next field. */
void
number_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	unsigned *to = field_of(r, w), number;

	for (unsigned i = 0; i < n; i++) {
		if (!take_count(r, arg[i], i ? 0 : w->min, i ? 65535 : w->max, &number))
			return;
		if (once(r, to + i, w->name))
			to[i] = number;
		else if (!r->defaults)
			return;
	}
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
	unsigned *to = &r->conf->timeout[choice_of(r->key[0], arg[0])], ms;

	(void)w;
	(void)n;
	if (take_time(r, arg[1], &ms) && once(r, to, arg[0]))
		*to = ms;
}

void
spool_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	uint64_t size;

	(void)n;
	if (!take_name(r, arg[0]) || !take_size(r, arg[1], &size) || !once(r, &r->conf->spool, w->name))
		return;
	r->conf->spool = keep_text(r, arg[0]);
	r->conf->spool_size = size;
}

void
choice_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	uint8_t *to = field_of(r, w);

	(void)n;
	if (once(r, to, w->name))
		*to = choice_of(r->key[0], arg[0]);
}

void
index_set(struct reader *r, const struct word *w, char *const *arg, unsigned n)
{
	struct host *host = r->host;

	if (n > INDEX_MAX) {
		too_many(r, INDEX_MAX, "names in 'index'");
		return;
	}
	if (!once(r, host->index, w->name))
		return;
	for (host->nindex = 0; host->nindex < n; host->nindex++) {
		struct span name = span_of(arg[host->nindex]);

		if (!name.n || find_byte(name.p, '/', name.n) || !text_clean(name.p))
			is_no(r, name.p, "name of a file in a folder");
		host->index[host->nindex] = keep_span(r, name);
	}
}

