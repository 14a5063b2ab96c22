/* actors.h - what the clients and backends of conn.c do, act by act, between the server's turns */
#ifndef ACTORS_H
#define ACTORS_H

/* -- acts: true when it is done, false to try again later ------------------------------------------------- */

static unsigned
number(struct span s, unsigned most)
{
	unsigned n = 0;

	for (unsigned i = 0; i < s.n; i++)
		if (s.p[i] >= '0' && s.p[i] <= '9' && n <= most)
			n = n * 10 + s.p[i] - '0';
	return n < most ? n : most;
}

static bool
say(struct actor *a, struct span text, const char *end)
{
	if (end_room(a->end) < text.n + strlen(end))
		return false;
	end_say(a->end, text.p, text.n);
	end_say(a->end, end, strlen(end));
	tainted |= a->backend;
	return true;
}

static bool
say_filler(struct actor *a, unsigned n)
{
	static const char filler[1024] = "filler";

	for (;;) {
		unsigned k = n - a->more, room = end_room(a->end);

		k = k < room ? k : room;
		k = k < sizeof filler ? k : sizeof filler;
		end_say(a->end, filler, k);
		a->more += k;
		if (a->more == n)
			break;
		if (!k)
			return false;
	}
	a->more = 0;
	return true;
}

static struct conf *
configured(void)
{
	static char *argv[] = {
		"conn", "--root", root, "--clients", "4", "8", "--scripts", "2", "--log", "errors", "off", "--spool", root, "60k",
		"--fastcgi", "*.php", "unix:/a", "unix:/b", "sendfile", root, "--fastcgi", "/app/", "127.0.0.1:9",
		"--limit", "/app/", "body", "40k", "--listing", "/sub/", "--error", "502", "/x.php", "--error", "404", "/a.txt",
		"--error", "413", "/mid.bin", "--header", "/", "X-Server", "here", "--redirect", "/r", "/a.txt", "301",
		"--expires", "/a.txt", "60", "--fallback", "/wp/", "/x.php", "--auth", "/app/in", users, "--listen", "1",
		NULL
	};
	struct conf *cf = conf_read(sizeof argv / sizeof *argv - 1, argv);

	HOLDS(cf);
	return cf;
}

/* As httpd.c does. */
static void
reload(void)
{
	struct conf *old = conf;

	cache_flush();
	peer_forget(NULL);
	auth_flush();
	conf = configured();
	conf_release(old);
}

static bool
client_act(struct actor *a, char act, struct span arg)
{
	switch (act) {
	case 'x':
		return say_filler(a, number(arg, 300000));
	case 'l':
		return a->lasts = true;
	case 'q':
		return a->nanswered >= number(arg, RECORDS);
	case 'g':
		reload();
		return true;
	}
	return true;
}

static bool
backend_body(struct actor *a, unsigned n)
{
	if (a->r.mark < 0)
		actor_head(a, false, 0);
	do
		a->more += answer_body(a, n - a->more);
	while (a->more < n && end_room(a->end) > 16);
	if (a->more < n)
		return false;
	a->more = 0;
	return true;
}

static bool
backend_act(struct actor *a, char act, struct span arg)
{
	if (act == 'd')
		return a->end->deaf = true;
	if (!strchr("itymoOeXE", act))
		return true;
	if (!a->r.asked || end_room(a->end) < (act == 'y' ? QUEUE - 8 : PATH_MAX + 400 + arg.n))
		return false;
	if (strchr("ymX", act) && a->r.mark >= 0)
		return true;            /* the head has been said */
	switch (act) {
	case 'i':
		return a->r.all;
	case 't':
		a->status = 200 + number(arg, 399);
		break;
	case 'y':
		answer_padding(a, number(arg, 200));
		break;
	case 'm':
		actor_head(a, true, number(arg, 200000));
		break;
	case 'o':
		return backend_body(a, number(arg, 200000));
	case 'O':
		tainted = true;
		say_record(a->end, STDOUT, arg.p, arg.n);
		break;
	case 'e':
		say_record(a->end, STDERR, arg.p, arg.n);
		break;
	case 'X':
		answer_hand_over(a, arg);
		break;
	case 'E':
		answer_end(a, number(arg, 255));
		break;
	}
	return true;
}

static bool
do_act(struct actor *a, char act, struct span arg)
{
	switch (act) {
	case '"':
		return say(a, arg, "\r\n");
	case '=':
		return say(a, arg, "");
	case 'n':
		return say(a, SPAN(""), "\n");
	case 'w':
		a->wake = now + number(arg, 200000);
		return true;
	case 'h':
		a->end->fin = true;
		moves++;
		return true;
	case 'k':
		end_reset(a->end);
		return a->killed = true;
	case 's':
		a->stalled = true;
		a->end->room = number(arg, ROOM);
		return true;
	case 'u':
		a->stalled = false;
		a->end->room = ROOM;
		return true;
	}
	return a->backend ? backend_act(a, act, arg) : client_act(a, act, arg);
}

/* -- actors ------------------------------------------------------------------------------------------------ */

static bool
act_next(struct actor *a)
{
	struct span rest = a->script, line = span_cut(&rest, '\n');
	char act = line.n ? *line.p : ' ';

	line = line.n ? (struct span){ line.p + 1, line.n - 1 } : line;
	if (!strchr("\"=", act))
		line = span_trim(line);
	if (!do_act(a, act, line))
		return false;
	a->script = rest;
	busy_until = now;
	return true;
}

/* What a backend does that was told nothing else. */
static bool
behave(struct actor *a)
{
	struct backend_request *r = &a->r;

	if (!a->backend || !r->asked || !r->all || r->mark >= 0 || a->killed || a->end->fin || end_room(a->end) < 1000)
		return false;
	actor_head(a, false, 0);
	answer_body(a, 300);
	answer_end(a, 0);
	return true;
}

static void
actor_leave(struct actor *a)
{
	a->fin = true;
	a->hard = a->end->hard || a->end->reset;
	a->over = true;
	if (a->backend)
		a->end->used = false;
	a->end = NULL;
}

static void
act(struct actor *a)
{
	if (!a->end)
		return;
	if (a->end->closed) {
		actor_leave(a);
		return;
	}
	if (a->end->connecting)
		return;
	if (!a->stalled)
		a->end->room = ROOM;
	while (!a->killed && a->wake <= now && a->script.n && nmarks < MARKS - 2)
		if (!act_next(a))
			break;
	a->over = a->killed || !a->script.n;
	if (a->over)
		behave(a);
	if (a->over && !a->backend && !a->lasts && !a->stalled && a->end->shut && !a->end->fin)
		a->end->fin = ++moves;
}

static void
client_arrive(struct actor *a)
{
	if (a->backend || a->end || a->over || a->wake > now)
		return;
	a->end = end_new(false);
	if (!a->end)
		return;
	a->end->waiting = true;
	a->end->actor = (int)(a - actors);
	moves++;
}

static void
act_all(void)
{
	for (unsigned i = 0; i < nactors; i++) {
		client_arrive(&actors[i]);
		act(&actors[i]);
	}
}

static void
take(struct end *e, const char *p, unsigned n)
{
	struct actor *a = &actors[e->actor];

	if (a->backend) {
		backend_take(&a->r, p, n);
		return;
	}
	if (n > GOT - a->ngot) {        /* more than it can hold: as if it read no more */
		n = GOT - a->ngot;
		a->stalled = true;
		e->room = 0;
		a->killed = true;
		end_reset(e);
	}
	memcpy(got[e->actor] + a->ngot, p, n);
	a->ngot += n;
}

static int
dialled(struct end *e)
{
	static const struct actor fresh = { .backend = true, .status = 200 };
	unsigned i = 0;
	struct actor *a;

	while (i < nactors && !(actors[i].backend && !actors[i].end && !actors[i].over))
		i++;
	if (i == ACTORS) {
		for (i = 0; i < ACTORS && !(actors[i].backend && actors[i].over && !actors[i].end); i++)
			;
		if (i == ACTORS)
			return ECONNREFUSED;
	}
	a = &actors[i];
	if (i == nactors || a->over) {
		memcpy(a, &fresh, offsetof(struct actor, answered));
		nactors += i == nactors;
	}
	dialled_n++;
	memset(&a->r, 0, offsetof(struct backend_request, params));
	a->r.mark = -1;
	if (a->how == 'r' || a->how == 'a') {
		a->over = true;
		busy_until = now;
		return a->how == 'r' ? ECONNREFUSED : EAGAIN;
	}
	e->actor = (int)i;
	a->end = e;
	a->wake = now;
	e->connecting = a->how == 'n' || a->how == 'i' || a->how == 'j';
	return e->connecting ? EINPROGRESS : 0;
}

/* A connection in progress ends with the next turn. */
static void
connect_all(void)
{
	for (unsigned i = 0; i < nactors; i++) {
		struct actor *a = &actors[i];

		if (!a->end || !a->end->connecting || a->how == 'n')
			continue;
		a->end->connecting = false;
		a->end->connect_error = a->how == 'j' ? ECONNREFUSED : 0;
		if (a->how == 'j')
			a->end->fin = a->end->deaf = a->killed = true;
		moves++;
	}
}

void __real_log_access(struct conn *);
void __wrap_log_access(struct conn *);

/* One request is over, as the server sees it. */
void
__wrap_log_access(struct conn *c)
{
	unsigned who = ntohs(c->from.port) - PORT_FIRST;
	struct actor *a;

	HOLDS(who < nactors && !actors[who].backend);
	a = &actors[who];
	if (a->nanswered == RECORDS) {
		a->killed = true;
		end_reset(a->end);
		return;
	}
	a->answered[a->nanswered++] = (struct answered){ c->begun, c->head_only, c->why, c->until_close, c->status };
	__real_log_access(c);
}

#endif
