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
 *                  y N   N lines of a head to come
 *                  O TEXT  a record of text     e TEXT  to the log      X NAME  hand over a file
 *                  E N   the end, with this protocolStatus
 *
 * A backend without acts, or behind its last answer, answers as it should.  What must hold: see answers.h, and here
 * the end: everything ends in bounded time, and nothing stays taken.
 */
#include "../../auth.h"
#include "../../gateway.h"
#include "fake.h"

#include <limits.h>
#include <sys/stat.h>

enum { ACTORS = 24, MARKS = 256, GOT = 1 << 18, RECORDS = 128 };
enum { START = 1000000000, TURNS_MOST = 200000, SPINS_MOST = 100 };

struct answered { bool begun, head_only, failed, until_close; short status; };

struct backend_request {                /* what the server says to a backend: the records under way */
	unsigned char head[8];
	unsigned head_n, left, params_n;
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
static char root[PATH_MAX], users[PATH_MAX + 16];      /* users: of /app/in */
static int64_t busy_until;              /* when the last act is done */

static const struct { const char *name; unsigned size; } files[] = {
	{ "index.html", 100 }, { "a.txt", 3001 }, { "a.txt.gz", 701 }, { "big.bin", 70003 }, { "mid.bin", 16300 },
	{ "x.php", 1 }, { "gz.css.gz", 50 },
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
#include "backend.h"
#include "actors.h"

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
		if (c->phase == HEAD && !c->ticket && !c->dozes)
			HOLDS(end_of(c->client.fd)->r == end_of(c->client.fd)->w);
	}
	HOLDS(!any_waits() || conn_full());
}

/* Without descriptors the oldest sleeper goes, as in httpd.c. */
static void
accept_all(void)
{
	for (unsigned i = 0; i < ACCEPTS_MAX && !conn_full() && any_waits(); i++) {
		struct addr a;
		int fd = fake_accept(&a);

		if (fd >= 0)
			conn_arrive(fd, &a, 0);
		else
			park_drop_oldest();
	}
}

/* One turn of httpd.c's loop; false when nothing will ever happen again. */
static bool
turn(void)
{
	struct pollfd *set = poll_set();
	bool accepts = !conn_full(), ready;
	int64_t next = next_act(), due = INT64_MAX;
	unsigned n = polls_make(set, &due), told;

	HOLDS(n <= polls_size(conf));
	told = fake_poll(set, n);
	ready = told || (accepts && any_waits());
	if (!ready && due > now) {
		check_stuck();
		next = due < next ? due : next;
		if (next == INT64_MAX)
			return false;
		now = next;
		wall = 1790000000 + (now - START) / 1000;
		moves++;
	} else if (ready && fault(POLL_INTERRUPT, 4)) {
		for (unsigned i = 0; i < n; i++)
			set[i].revents = 0;
		told = 0;
		accepts = false;
	}
	polls_take(set, n, told);
	if (accepts && any_waits())
		accept_all();
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

	peer_forget(NULL);
	for (unsigned i = 0; i < ENDS; i++)
		HOLDS(!ends[i].open);
	for (unsigned i = 0; i < conn_pool.n; i++)
		HOLDS(c[i].phase == FREE && !c[i].lent);
	for (unsigned i = 0; i < cache_pool.n; i++)
		HOLDS(!f[i].users);
	HOLDS(!park_count() && peer_has_place(FOR_SCRIPTS) && conf->users == 1);
}

static void
begin(struct span input)
{
	for (unsigned i = 0; i < ENDS; i++)
		ends[i].used = ends[i].open = false;
	held.told = false;
	nactors = dialled_n = nmarks = 0;
	tainted = false;
	odds.kinds = 0;
	odds.state = 1;
	now = busy_until = START;
	wall = 1790000000;
	for (struct rule *rule = conf->hosts->routes; rule; rule = rule->next)
		for (struct backend *b = rule->backends; b; b = b->next)
			b->rests_until = 0;
	auth_flush();
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
	unlink(users);
	snprintf(path, sizeof path, "%s/sub", root);
	rmdir(path);
	rmdir(root);
}

static void
make_root(void)
{
	const char *tmp = getenv("TMPDIR");
	char path[PATH_MAX + 64];
	int fd;

	snprintf(root, sizeof root, "%s/fuzz-conn.XXXXXX", tmp ? tmp : "/tmp");
	HOLDS(mkdtemp(root));
	atexit(remove_root);
	for (unsigned i = 0; i < FILES; i++)
		make_file(files[i].name, files[i].size);
	snprintf(path, sizeof path, "%s/sub", root);
	HOLDS(mkdir(path, 0755) == 0);
	snprintf(users, sizeof users, "%s/.users", root);
	fd = open(users, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	HOLDS(fd >= 0 && write(fd, "a:{PLAIN}b\n", 11) == 11);
	close(fd);
}

static void
set_up(void)
{
	make_root();
	now = START;
	conf = configured();
	HOLDS(log_open(conf) && pool_map(conf) && park_open());
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
