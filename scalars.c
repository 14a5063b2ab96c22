/* scalars.c - words whose arguments are plain values: text, numbers, times, one of several names */
#include "words.h"

enum { DAY = 86400 };

static void *
field_of(const struct word *w)
{
	return (w->section == G_SERVER ? (char *)reader.conf : (char *)reader.host) + w->at;
}

void
text_set(const struct word *w, char *const *arg, unsigned n)
{
	const char **to = field_of(w);

	(void)n;
	if (take_name(arg[0]) && once(to, w->name))
		*to = keep_text(arg[0]);
}

void
nets_set(const struct word *w, char *const *arg, unsigned n)
{
	struct net **list = field_of(w);

	for (unsigned i = 0; i < n; i++)
		take_net(arg[i], list);
}

void
root_set(const struct word *w, char *const *arg, unsigned n)
{
	const char **to = field_of(w);

	text_set(w, arg, n);
	if (*to && *to[0] != '/')
		*to = keep_folder(*to);
}

/* A second one, which may be missing, goes into the next field. */
void
number_set(const struct word *w, char *const *arg, unsigned n)
{
	unsigned *to = field_of(w), number;

	for (unsigned i = 0; i < n; i++) {
		if (!take_count(arg[i], i ? 0 : w->min, i ? 65535 : w->max, &number))
			return;
		if (once(to + i, w->name))
			to[i] = number;
		else if (!reader.defaults)
			return;
	}
}

void
memory_set(const struct word *w, char *const *arg, unsigned n)
{
	uint64_t size;

	(void)n;
	if (!take_size(arg[0], &size))
		return;
	if (!size)
		mistake("'memory 0' leaves nothing to run in");
	else if (once(&reader.conf->memory, w->name))
		reader.conf->memory = size;
}

/* Seconds with up to three decimals, as milliseconds. */
static bool
take_time(const char *text, unsigned *to)
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
	return mistake("'%s' is no time in seconds from 0.001 to %d", text, DAY);
}

void
timeout_set(const struct word *w, char *const *arg, unsigned n)
{
	unsigned *to = &reader.conf->timeout[choice_of(reader.key[0], arg[0])], ms;

	(void)w;
	(void)n;
	if (take_time(arg[1], &ms) && once(to, arg[0]))
		*to = ms;
}

void
spool_set(const struct word *w, char *const *arg, unsigned n)
{
	uint64_t size;

	(void)n;
	if (!take_name(arg[0]) || !take_size(arg[1], &size) || !once(&reader.conf->spool, w->name))
		return;
	reader.conf->spool = keep_text(arg[0]);
	reader.conf->spool_size = size;
}

void
choice_set(const struct word *w, char *const *arg, unsigned n)
{
	uint8_t *to = field_of(w);

	(void)n;
	if (once(to, w->name))
		*to = choice_of(reader.key[0], arg[0]);
}

void
index_set(const struct word *w, char *const *arg, unsigned n)
{
	struct host *host = reader.host;

	if (n > INDEX_MAX) {
		too_many(INDEX_MAX, "names in 'index'");
		return;
	}
	if (!once(host->index, w->name))
		return;
	for (host->nindex = 0; host->nindex < n; host->nindex++) {
		struct span name = span_of(arg[host->nindex]);

		if (!name.n || find_byte(name.p, '/', name.n) || !text_clean(name.p))
			is_no(name.p, "name of a file in a folder");
		host->index[host->nindex] = keep_span(name);
	}
}

