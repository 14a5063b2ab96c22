/* A whole connection: the server's rooms between clients and backends that do what the input says, over the sockets of
 * fake.h, in a time that jumps to whatever happens next.  The input is text, an act a line:
 *
 *   f SEED KINDS   what may go wrong (fake.h)            c WAIT  another client, whose acts follow
 *   b HOW          another backend, whose acts follow; the next one dialled: HOW is r refused, i in progress,
 *                  j in progress and then refused, n neither ever, a no place in its queue
 *   either:        "TEXT  say it, and CRLF    =TEXT  say it    n  say LF    w MS  wait    h  send no more
 *                  k  reset    s N  read N bytes more and then none    u  read again
 *   client:        x N   say N bytes of body    q N  wait until N requests have been answered    g  reload
 *                  l     do not close when the server does
 *   backend:       i     wait for the end of the request body           d  read no more
 *                  t N   the status of the next head    m N  a head with the length N    o N  N bytes of body
 *                  O TEXT  a record of text     e TEXT  to the log      X NAME  hand over a file
 *                  E N   the end, with this protocolStatus
 *
 * A backend without acts, or behind its last answer, answers as it should.  What must hold: see answers.h, and here
 * the end: everything ends in bounded time, and nothing stays taken.
 */
#include "fake.h"

#include <limits.h>
#include <sys/stat.h>

enum { ACTORS = 24, MARKS = 256, GOT = 1 << 18, RECORDS = 128, START = 1000000000, TURNS_MOST = 200000, SPINS_MOST = 100 };

struct answered { bool begun, head_only, failed, until_close; short status; };

struct backend_request {                /* what the server says to a backend: the records under way */
	unsigned char head[8];
	unsigned head_n, left, padding, params_n;
	bool begun, asked, all;         /* BEGIN_REQUEST, the end of PARAMS, the end of STDIN have come */
	bool late;                      /* the answer has ended before STDIN did */
	uint64_t stdin_n, length;
	int client, mark;               /* the mark of the answer under way, -1 before its head */
	char params[QUEUE];
};

struct actor {
	bool backend, over, stalled, lasts;
	struct span script;             /* the acts that lie ahead */
	int64_t wake;
	struct end *end;
	char how;                       /* backend: how it takes a connection */
	short status;                   /* backend: of the next head */
	bool killed, fin, hard;         /* client: reset by itself; closed by the server, with a reset */
	unsigned nanswered, ngot, more; /* more: bytes of an act that did not find room */
	struct answered answered[RECORDS];
	struct backend_request r;
};

/* A backend's answer, by the number it has in its head: what may come out at the client. */
struct mark { int client; bool measured, ended; uint64_t length, said; };

static struct actor actors[ACTORS];
static unsigned nactors, dialled_n;
static struct mark marks[MARKS];
static unsigned nmarks;
static bool tainted;                    /* a backend says things of its own */
static char got[ACTORS][GOT];
static char root[PATH_MAX];
static int64_t busy_until;              /* when the last act is done */

static const struct { const char *name; unsigned size; } files[] = {
	{ "index.html", 100 }, { "a.txt", 3001 }, { "a.txt.gz", 701 }, { "big.bin", 70003 }, { "x.php", 1 }, { "gz.css.gz", 50 },
	{ "mid.bin", 16300 },
};

enum { FILES = sizeof files / sizeof *files };

static char
file_byte(unsigned size, uint64_t at)
{
	return 'a' + (size + at * 7 + (at >> 8)) % 26;
}

static char
mark_byte(unsigned mark, uint64_t at)
{
	return 'A' + (mark * 5 + at * 3 + (at >> 7)) % 26;
}

#include "answers.h"

/* -- backends ---------------------------------------------------------------------------------------- */

static void
say_record(struct end *e, unsigned type, const char *p, unsigned n)
{
	const unsigned char head[8] = { 1, type, 0, 1, n >> 8, n & 255, 0, 0 };

	end_say(e, head, sizeof head);
	end_say(e, p, n);
}

/* REMOTE_PORT tells the client; CONTENT_LENGTH what STDIN has to be. */
static void
read_params(struct backend_request *r)
{
	const unsigned char *p = (const unsigned char *)r->params, *end = p + r->params_n;
	uint64_t port = 0;

	r->length = 0;
	while (p < end) {
		unsigned n[2];
		struct span name, value;

		for (unsigned i = 0; i < 2; i++) {
			HOLDS(end - p >= (*p & 0x80 ? 4 : 1));
			n[i] = *p & 0x80 ? (*p & 0x7fu) << 24 | p[1] << 16 | p[2] << 8 | p[3] : *p;
			p += *p & 0x80 ? 4 : 1;
		}
		HOLDS((size_t)(end - p) >= (size_t)n[0] + n[1]);
		name = (struct span){ (const char *)p, n[0] };
		value = (struct span){ (const char *)p + n[0], n[1] };
		p += n[0] + n[1];
		if (span_eq(name, SPAN("REMOTE_PORT")))
			HOLDS(span_uint(value, &port));
		if (span_eq(name, SPAN("CONTENT_LENGTH")))
			HOLDS(span_uint(value, &r->length));
		HOLDS(!span_eq(name, SPAN("HTTP_PROXY")));
	}
	HOLDS(port >= PORT_FIRST && port < PORT_FIRST + nactors && !actors[port - PORT_FIRST].backend);
	r->client = port - PORT_FIRST;
	r->asked = true;
	r->mark = -1;
}

enum { BEGIN = 1, END = 3, PARAMS, STDIN, STDOUT, STDERR };

/* A record has come whole, or its head when it is STDIN. */
static void
take_record(struct backend_request *r)
{
	unsigned type = r->head[1], n = r->head[4] << 8 | r->head[5];

	HOLDS(r->head[0] == 1 && r->head[2] == 0 && r->head[3] == 1);
	HOLDS(type == BEGIN || type == PARAMS || type == STDIN);
	HOLDS(type != BEGIN || (n == 8 && !r->begun && !r->late));
	HOLDS(type != PARAMS || (r->begun && !r->asked));
	HOLDS(type != STDIN || r->late || (r->asked && !r->all));
	if (type == BEGIN) {
		r->begun = true;
		r->params_n = r->stdin_n = 0;
	}
	if (type == PARAMS && !n)
		read_params(r);
	if (type != STDIN)
		return;
	r->stdin_n += n;
	HOLDS(r->stdin_n <= r->length);
	if (n)
		return;
	HOLDS(r->stdin_n == r->length);
	r->all = !r->late;
	r->late = false;
}

static void
backend_take(struct backend_request *r, const char *p, unsigned n)
{
	while (n || (r->head_n == sizeof r->head && !r->left)) {
		bool params = r->head[1] == PARAMS;
		unsigned k;

		if (r->head_n < sizeof r->head) {
			r->head[r->head_n++] = *p++;
			n--;
			if (r->head_n < sizeof r->head)
				continue;
			take_record(r);
			r->left = (r->head[4] << 8 | r->head[5]) + r->head[6];
			HOLDS(!r->head[6]);
			continue;
		}
		k = n < r->left ? n : r->left;
		if (params) {
			HOLDS(r->params_n + k <= sizeof r->params);
			memcpy(r->params + r->params_n, p, k);
			r->params_n += k;
		}
		p += k;
		n -= k;
		r->left -= k;
		if (!r->left)
			r->head_n = 0;
	}
}

static void
answer_head(struct actor *a, bool measured, uint64_t length)
{
	char text[200];
	int n;

	HOLDS(nmarks < MARKS);
	a->r.mark = nmarks++;
	marks[a->r.mark] = (struct mark){ a->r.client, measured, false, length, 0 };
	n = snprintf(text, sizeof text, "Status: %d\r\nContent-Type: text/x\r\nX-Mark: %d\r\n", a->status, a->r.mark);
	if (measured)
		n += snprintf(text + n, sizeof text - n, "Content-Length: %llu\n", (unsigned long long)length);
	n += snprintf(text + n, sizeof text - n, "\r\n");
	a->status = 200;
	say_record(a->end, STDOUT, text, n);
}

/* Up to n bytes of body, as many as find room; how many went. */
static unsigned
answer_body(struct actor *a, unsigned n)
{
	static char store[QUEUE];
	struct mark *m = &marks[a->r.mark];
	unsigned room = end_room(a->end);

	if (room < 16)
		return 0;
	n = n < room - 16 ? n : room - 16;
	for (unsigned i = 0; i < n; i++)
		store[i] = mark_byte(a->r.mark, m->said + i);
	m->said += n;
	if (n)
		say_record(a->end, STDOUT, store, n);
	return n;
}

static void
answer_end(struct actor *a, unsigned status)
{
	const char body[8] = { 0, 0, 0, 0, (char)status, 0, 0, 0 };
	struct backend_request *r = &a->r;

	say_record(a->end, END, body, sizeof body);
	if (r->mark >= 0)
		marks[r->mark].ended = !(status & 255);
	r->late = !r->all;
	r->begun = r->asked = r->all = false;
	r->mark = -1;
}

static void
answer_hand_over(struct actor *a, struct span name)
{
	char text[PATH_MAX + 300];
	int n = snprintf(text, sizeof text, "Content-Type: text/x\r\nX-Sendfile: %s/%.*s\r\n\r\n", root,
	    (int)(name.n < 100 ? name.n : 100), name.p);

	say_record(a->end, STDOUT, text, n);
}

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
		cache_flush();
		gateway_flush();
		return true;
	}
	return true;
}

static bool
backend_body(struct actor *a, unsigned n)
{
	if (a->r.mark < 0)
		answer_head(a, false, 0);
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
	if (!strchr("itmoOeXE", act))
		return true;
	if (!a->r.asked || end_room(a->end) < PATH_MAX + 400 + arg.n)
		return false;
	if (strchr("mX", act) && a->r.mark >= 0)
		return true;            /* the head has been said */
	switch (act) {
	case 'i':
		return a->r.all;
	case 't':
		a->status = 200 + number(arg, 399);
		break;
	case 'm':
		answer_head(a, true, number(arg, 200000));
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
	answer_head(a, false, 0);
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

/* -- the input ------------------------------------------------------------------------------------------- */

static void
read_odds(struct span line)
{
	struct span rest = span_trim(line), seed = span_cut(&rest, ' ');

	odds.state = number(seed, INT_MAX) * 2654435761u | 1;
	odds.kinds = number(rest, 4095);
}

static struct actor *
add_actor(bool backend, struct span arg)
{
	struct actor *a = &actors[nactors++];

	memset(a, 0, offsetof(struct actor, answered));
	memset(&a->r, 0, offsetof(struct backend_request, params));
	a->backend = backend;
	a->how = arg.n ? *arg.p : 'y';
	a->status = 200;
	a->wake = now + (backend ? 0 : number(arg, 100000));
	return a;
}

static void
read_input(struct span rest)
{
	struct actor *a = NULL;

	while (rest.n) {
		struct span line = span_cut(&rest, '\n'), arg;

		arg = line.n ? span_trim((struct span){ line.p + 1, line.n - 1 }) : line;
		if (line.n && *line.p == 'f')
			read_odds(arg);
		if (line.n && (*line.p == 'c' || *line.p == 'b') && nactors < ACTORS - 8) {
			a = add_actor(*line.p == 'b', arg);
			a->script.p = rest.p;
		} else if (a) {
			a->script.n += line.n + (rest.n > 0);
		}
	}
}

/* -- the run ----------------------------------------------------------------------------------------------- */

static struct pollfd *
poll_set(void)
{
	return (struct pollfd *)(void *)set_pool.at;
}

/* When something happens by itself, INT64_MAX for never. */
static int64_t
next_act(void)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < nactors; i++) {
		const struct actor *a = &actors[i];

		if (a->over || a->wake <= now || (a->backend && !a->end))
			continue;
		next = a->wake < next ? a->wake : next;
	}
	return next;
}

static bool
acts_over(void)
{
	for (unsigned i = 0; i < nactors; i++)
		if (!actors[i].over && !(actors[i].backend && !actors[i].end) &&
		    (actors[i].wake > now || (!actors[i].end && !actors[i].backend)))
			return false;
	return !any_waits();
}

/* Before time goes on: nobody sleeps beside bytes that could move. */
static void
check_stuck(void)
{
	const struct conn *c = (const struct conn *)(void *)conn_pool.at;

	for (unsigned i = 0; i < conn_pool.n; i++, c++) {
		const struct stream *p;

		if (c->phase == FREE)
			continue;
		HOLDS(!buf_used(&c->client.out) || !c->client.out.data || !end_of(c->client.fd)->room);
		p = c->peer ? &c->peer->s : NULL;
		if ((c->up.next == chunked_next && !c->up.done) || (p && (p->fd < 0 || p->connecting)))
			p = NULL;       /* the body goes to the spool, and its head waits */
		if (p && !p->shut && buf_used(&p->out))
			HOLDS(!end_of(p->fd)->room);
		if (p && !p->eof && !buf_used(&p->in) && !buf_used(&c->client.out))
			HOLDS(end_of(p->fd)->r == end_of(p->fd)->w);
		if (c->phase == HEAD && !c->ticket)
			HOLDS(end_of(c->client.fd)->r == end_of(c->client.fd)->w);
	}
	HOLDS(!any_waits() || conn_full() || conf->listen[0].rests_until > now);
}

/* One turn of httpd.c's loop; false when nothing will ever happen again. */
static bool
turn(void)
{
	struct pollfd *set = poll_set();
	bool accepts = !conn_full() && conf->listen[0].rests_until <= now, ready;
	int64_t next = next_act();
	int wait;
	unsigned n = conn_plan(set, &wait);

	HOLDS(n <= conn_set_size(conf));
	HOLDS(wait >= -1);
	ready = fake_poll(set, n);
	ready |= accepts && any_waits();
	if (!ready && wait) {
		check_stuck();
		if (wait > 0 && next > now + wait)
			next = now + wait;
		if (any_waits() && conf->listen[0].rests_until > now && next > conf->listen[0].rests_until)
			next = conf->listen[0].rests_until;
		if (next == INT64_MAX)
			return false;
		now = next;
		wall = 1790000000 + (now - START) / 1000;
		moves++;
	} else if (ready && fault(POLL_INTERRUPT, 4)) {
		for (unsigned i = 0; i < n; i++)
			set[i].revents = 0;
		accepts = false;
	}
	conn_run(set, n);
	if (accepts && any_waits())
		conn_accept(&conf->listen[0], 0);
	log_flush();
	return true;
}

static int64_t
patience(void)
{
	int64_t sum = 0, requests = 2;

	for (unsigned i = 0; i < TIMEOUTS; i++)
		sum += conf->timeout[i];
	for (unsigned i = 0; i < nactors; i++)
		requests += actors[i].backend ? 0 : 2 + actors[i].nanswered;
	return sum * requests;
}

static void
run(void)
{
	unsigned long seen = moves;
	unsigned spins = 0, turns = 0;

	for (;;) {
		act_all();
		if (conn_none() && acts_over())
			break;
		HOLDS(turns++ < TURNS_MOST);
		HOLDS(now <= busy_until + patience() || !acts_over());
		if (!turn())
			break;
		connect_all();
		spins = moves == seen ? spins + 1 : 0;
		HOLDS(spins < SPINS_MOST);
		seen = moves;
	}
	HOLDS(conn_none());
}

/* -- afterwards -------------------------------------------------------------------------------------------- */

static void
check_free(void)
{
	const struct conn *c = (const struct conn *)(void *)conn_pool.at;
	const struct cached *f = (const struct cached *)(void *)cache_pool.at;

	gateway_flush();
	for (unsigned i = 0; i < ENDS; i++)
		HOLDS(!ends[i].open);
	for (unsigned i = 0; i < conn_pool.n; i++)
		HOLDS(c[i].phase == FREE && !c[i].lent);
	for (unsigned i = 0; i < cache_pool.n; i++)
		HOLDS(!f[i].users);
	HOLDS(!park_count() && gateway_has_place() && conf->users == 1);
}

static void
begin(struct span input)
{
	for (unsigned i = 0; i < ENDS; i++)
		ends[i].used = ends[i].open = false;
	nactors = dialled_n = nmarks = 0;
	tainted = false;
	odds.kinds = 0;
	odds.state = 1;
	now = busy_until = START;
	wall = 1790000000;
	conf->listen[0].rests_until = 0;
	for (struct rule *rule = conf->hosts->routes; rule; rule = rule->next)
		for (struct backend *b = rule->backends; b; b = b->next)
			b->rests_until = 0;
	read_input(input);
	for (unsigned i = 0; i < nactors; i++)
		busy_until = actors[i].wake > busy_until ? actors[i].wake : busy_until;
}

/* What each client heard, for whoever looks into what was found. */
static void
show(void)
{
	for (unsigned i = 0; i < nactors; i++) {
		const struct actor *a = &actors[i];

		if (a->backend)
			continue;
		fprintf(stderr, "== client %u%s%s, %u bytes:\n%.*s\n", i, a->killed ? ", killed" : "", a->hard ? ", reset" : "",
		    a->ngot, (int)a->ngot, got[i]);
		for (unsigned k = 0; k < a->nanswered; k++)
			fprintf(stderr, "-- %d%s\n", a->answered[k].status, a->answered[k].failed ? " failed" : "");
	}
	fprintf(stderr, "== %lld ms, %u dialled, %u marks\n", (long long)(now - START), dialled_n, nmarks);
}

static void
end(void)
{
	run();
	if (getenv("CONN_SHOW"))
		show();
	for (unsigned i = 0; i < nactors; i++)
		if (!actors[i].backend)
			check_client(&actors[i], got[i]);
	check_free();
}

/* All places at once, each with an answer: none has been lost.  Four clients busy with two backends, eight asleep. */
static void
check_places(void)
{
	static const char probe[] =
	    "b\nw 50\nb\nw 50\n"
	    "c\n\"GET /x.php HTTP/1.0\n\"\nc\n\"GET /x.php HTTP/1.0\n\"\nc\n=G\nw 10\n\"ET /a.txt HTTP/1.0\n\"\n"
	    "c\n=G\nw 10\n\"ET /a.txt HTTP/1.0\n\"\n";

	begin(SPAN(probe));
	end();
	HOLDS(dialled_n == 2 && now <= START + 200);
	for (unsigned i = 2; i < 6; i++)
		HOLDS(actors[i].nanswered == 1 && actors[i].answered[0].status == 200 && !actors[i].answered[0].failed);
}

/* -- once -------------------------------------------------------------------------------------------------- */

static void
make_file(const char *name, unsigned size)
{
	static char text[1 << 17];
	const struct timespec times[2] = { { 1700000000, 0 }, { 1700000000, 0 } };
	char path[PATH_MAX + 64];
	int fd;

	snprintf(path, sizeof path, "%s/%s", root, name);
	for (unsigned i = 0; i < size; i++)
		text[i] = file_byte(size, i);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	HOLDS(fd >= 0 && write(fd, text, size) == (ssize_t)size && futimens(fd, times) == 0);
	close(fd);
}

static void
remove_root(void)
{
	char path[PATH_MAX + 64];

	for (unsigned i = 0; i < FILES; i++) {
		snprintf(path, sizeof path, "%s/%s", root, files[i].name);
		unlink(path);
	}
	snprintf(path, sizeof path, "%s/sub", root);
	rmdir(path);
	rmdir(root);
}

static void
make_root(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX + 64];

	snprintf(root, sizeof root, "%s/fuzz-conn.XXXXXX", tmp ? tmp : "/tmp");
	HOLDS(mkdtemp(root));
	atexit(remove_root);
	for (unsigned i = 0; i < FILES; i++)
		make_file(files[i].name, files[i].size);
	snprintf(path, sizeof path, "%s/sub", root);
	HOLDS(mkdir(path, 0755) == 0);
}

static void
set_up(void)
{
	static char *argv[] = {
		"conn", "--root", root, "--clients", "4", "8", "--scripts", "2", "--log", "errors", "off", "--spool", root, "60k",
		"--fastcgi", "*.php", "unix:/a", "unix:/b", "sendfile", root, "--fastcgi", "/app/", "127.0.0.1:9",
		"--limit", "/app/", "body", "40k", "--listing", "/sub/", "--error", "502", "/x.php", "--error", "404", "/a.txt",
		"--error", "413", "/mid.bin", "--header", "/", "X-Server", "here", "--redirect", "/r", "/a.txt", "301",
		"--fallback", "/wp/", "/x.php", "--listen", "1", NULL
	};

	make_root();
	now = START;
	conf = conf_read(sizeof argv / sizeof *argv - 1, argv);
	HOLDS(conf && log_open(conf) && pool_map(conf) && park_open());
	conf->listen[0].fd = LISTEN_FD;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy;

	if (!conf)
		set_up();
	if (size > 1 << 14)
		return 0;
	copy = exactly(data, size);
	begin((struct span){ copy, (unsigned)size });
	end();
	check_places();
	free(copy);
	return 0;
}
