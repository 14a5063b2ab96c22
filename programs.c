/* programs.c - `spawn` and what goes with it: the parts of a route whose backend is started here
 *
 *   fastcgi PATTERN spawn COMMAND [children N] [ready N] [idle SECONDS]
 *                                 `--> a backend for each
 */
#include "words.h"

#include "spawn.h"

#include <string.h>

enum { ARGUMENTS_MOST = 63, CHILDREN_MOST = 64, IDLE = 60, IDLE_MOST = 30 * 86400 };

static struct spawn *
spawn_of(struct rule *rule)
{
	if (!rule->spawn) {
		rule->spawn = keep(sizeof *rule->spawn);
		rule->spawn->most = 1;
		rule->spawn->idle = IDLE;
		rule->spawn->conf = reader.conf;
		rule->spawn->host = reader.host;
	}
	return rule->spawn;
}

/* The words of the command, which no shell will see. */
static char **
words_of(const char *text)
{
	char *word[ARGUMENTS_MOST + 1], **argv;
	struct span rest = span_of(keep_text(text)), s;
	unsigned n = 0;

	while (rest.n && n < ARGUMENTS_MOST) {
		s = span_cut(&rest, ' ');
		if (!s.n)
			continue;
		word[n] = (char *)(uintptr_t)s.p;
		word[n++][s.n] = '\0';
	}
	argv = keep((n + 1) * sizeof *argv);
	memcpy(argv, word, n * sizeof *argv);
	return argv;
}

bool
set_spawn(struct rule *rule, char *text)
{
	if (!CONFIG_SPAWN)
		return not_built("spawn", "CONFIG_SPAWN");
	spawn_of(rule)->argv = words_of(text);
	return *text == '/' || is_no(text, "program: its name begins with '/'");
}

bool
set_children(struct rule *rule, char *text)
{
	return take_count(text, 1, CHILDREN_MOST, &spawn_of(rule)->most);
}

bool
set_ready(struct rule *rule, char *text)
{
	return take_count(text, 0, CHILDREN_MOST, &spawn_of(rule)->least);
}

bool
set_idle(struct rule *rule, char *text)
{
	return take_count(text, 1, IDLE_MOST, &spawn_of(rule)->idle);
}

/* A backend for each process. */
static void
make_places(struct rule *rule)
{
	struct spawn *spawn = rule->spawn;
	struct backend **end = &rule->backends;

	spawn->place = keep(spawn->most * sizeof *spawn->place);
	for (unsigned i = 0; i < spawn->most; i++, end = &(*end)->next) {
		struct backend *b = keep(sizeof *b);

		b->text = spawn->argv[0];
		b->own = &spawn->place[i];
		b->own->by = spawn;
		b->own->backend = b;
		*end = b;
	}
	spawn->run = rule->run;
	spawn->next = reader.conf->spawns;
	reader.conf->spawns = spawn;
}

bool
programs_finish(const struct word *w, struct rule *rule)
{
	struct spawn *spawn = CONFIG_SPAWN ? rule->spawn : NULL;
	const struct run *run = rule->run;

	if (spawn ? !spawn->argv : run->user != NULL)
		return mistake("'children', 'ready', 'idle' and 'user' are about a program: 'spawn' is missing");
	if (!spawn == !rule->backends)
		return mistake("'%s' wants an address, or 'spawn' and a program, and not both", w->name);
	if (!spawn)
		return true;
	if (spawn->least > spawn->most)
		return mistake("%u of %u children cannot be ready", spawn->least, spawn->most);
	make_places(rule);
	return true;
}
