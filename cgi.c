/* cgi.c - handler: CGI (RFC 3875), a program for each request
 *
 *   variables, working folder ---.
 *   client.in --up--> peer.out --+--> program --> peer.in --answer.c--> response head
 *                       a pipe   |       |  a pipe          `--down--> client.out
 *                                |       `---> the error log, with the script's name
 *
 * A place is taken until its program has ended, not only until it has answered.  A place keeps the pipe for stderr:
 * what a script leaves running in the background may go on writing there.
 */
#include "gateway.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SETTLES = 200 };                 /* milliseconds from the end of the output until its status must be known */
enum { GATHERS = 5 };                   /* milliseconds that may pass until all of the output is there */
enum { WORDS_MOST = FIELDS_MAX + 156 }; /* of the environment */

enum { SPARE = 8 };                     /* descriptors that scripts leave for clients and files */

int cgi_descriptors = INT_MAX;
static unsigned pipes;                  /* places that have a pipe for stderr */

static struct peer *
peer_of(struct child *child)
{
	return (struct peer *)(void *)((char *)child - offsetof(struct peer, child));
}

/* -- the program's end -------------------------------------------------------------------------------- */

static void
cgi_ended(struct child *child)
{
	struct peer *p = peer_of(child);

	if (!p->conn) {
		peer_free(p);
		return;
	}
	p->s.in.size = PEER_IN;
	log_about = p->conn;
	if (WIFSIGNALED(child->status))
		log_line(LOG_WARN, "signal %d ended the script", WTERMSIG(child->status));
	p->s.readable = true;           /* what it has written before comes now, or never */
	conn_turn(p->conn);
}

/* After the answer: it lives on for too long.  Before: the first moment is over, or `time`; once the output has ended:
 * its status does not come. */
static void
cgi_late(struct child *child)
{
	struct peer *p = peer_of(child);

	if (!p->conn) {
		child_stop(child);
		return;
	}
	if (p->s.in.size)
		STATE(p->conn, gateway)->down.body.gathers = false;
	p->s.in.size = PEER_IN;
	p->s.readable = true;
	p->late = p->s.eof || (p->end && now >= p->end);
	child->due = p->end;
	conn_turn(p->conn);
}

/* -- stderr ------------------------------------------------------------------------------------------- */

unsigned
cgi_plan(struct pollfd *set)
{
	const struct peer *p;
	unsigned n = 0;

	for (unsigned i = 0; n < pipes && (p = peer_at(i)); i++)
		if (p->errors[0])
			set[n++] = (struct pollfd){ p->errors[0], POLLIN, 0 };
	return n;
}

void
cgi_take(const struct pollfd *set, unsigned n)
{
	struct peer *p;

	for (unsigned i = 0, k = 0; k < n && (p = peer_at(i)); i++)
		if (p->errors[0] && set[k].fd == p->errors[0] && set[k++].revents) {
			log_about = p->conn;
			child_tells(p->errors[0], (struct span){ p->script, p->script_n });
			log_about = NULL;
		}
}

/* -- the environment ---------------------------------------------------------------------------------- */

/* An end for the span, in the buffer. */
static const char *
put_text(struct buf *b, struct span s)
{
	const char *at = b->data + b->w;

	buf_span(b, s);
	buf_char(b, '\0');
	return at;
}

/* -- starting ----------------------------------------------------------------------------------------- */

static struct span
folder_of(struct span file)
{
	while (file.n > 1 && file.p[file.n - 1] != '/')
		file.n--;
	return file;
}

/* Why it does not run, as a status; missing: the file itself is not there. */
static int
refused(int error, const char *file, bool missing)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
		if (missing)
			return 404;     /* it has been deleted while it waited */
		log_line(LOG_ERROR, "%s cannot be started: its interpreter or its folder is missing", file);
		return 500;
	case EACCES:
		log_line(LOG_WARN, "%s may not be executed", file);
		return 403;
	case ENOEXEC:
		log_line(LOG_ERROR, "%s is no program: its first line says not what to run it with, as in #!/bin/sh", file);
		return 500;
	case EAGAIN:
	case EMFILE:
	case ENFILE:
	case ENOMEM:
	case ETXTBSY:
		log_line(LOG_WARN, "%s cannot be started now: %s", file, error_text(error));
		return 503;
	default:
		log_line(LOG_ERROR, "%s cannot be started: %s", file, error_text(error));
		return 500;
	}
}

static void
close_two(int fd[2])
{
	call_close(fd[0]);
	call_close(fd[1]);
}

/* Pipes, and the program at their other ends.  0, or an errno. */
static int
launch(struct conn *c, struct program *program, bool body)
{
	struct peer *p = c->peer;
	int in[2] = { -1, -1 }, out[2], error = 0;
	bool first = !p->errors[0];

	if (!child_errors(p->errors))
		return errno;
	pipes += first;
	if (call_pipe(out) < 0)
		return errno;
	/* The kernel gives the lowest number that is free. */
	if (out[1] >= cgi_descriptors - SPARE || (body && call_pipe(in) < 0)) {
		close_two(out);
		return EMFILE;
	}
	program->fd[0] = in[0];         /* without a body it stays ours, which is /dev/null */
	program->fd[1] = out[1];
	program->fd[2] = p->errors[1];
	if (!child_start(&p->child, program))
		error = errno;
	call_close(out[1]);
	if (body)
		call_close(in[0]);
	call_unblock(out[0]);
	if (body)
		call_unblock(in[1]);
	stream_pipes(&p->s, out[0], in[1]);
	return error;
}

/* Words and variables are built in the buffers of the place, which nothing else needs before the program runs. */
static int
run(struct conn *c, const struct request *r, const struct script *s, struct span folder)
{
	const struct rule *rule = c->route;
	struct buf *b = &c->peer->s.out;
	char **envp = (char **)(void *)c->peer->s.in.data, *argv[3] = { NULL };
	const char *file = s->file.p;
	struct program program = { .path = rule->value.p ? rule->value.p : file, .argv = argv, .envp = envp,
		.dir = rule->run->at_root ? c->host->root.path : put_text(b, folder), .run = rule->run };
	int error;

	_Static_assert(WORDS_MOST * sizeof (char *) <= PEER_IN, "PEER_IN is too small for pointers to variables");
	env_words = (struct env_words){ envp, envp + WORDS_MOST - 1 };
	argv[0] = (char *)(uintptr_t)program.path;
	argv[1] = rule->value.p ? (char *)(uintptr_t)file : NULL;
	cgi_variables(c, r, s, b, PAIRS_WORDS);
	if (r->framing == BODY_LENGTH)
		put_length(b, PAIRS_WORDS, r->length);
	if (b->bad || env_words.next == env_words.last)
		return 431;
	*env_words.next = NULL;
	error = launch(c, &program, !c->up.done);
	b->w = 0;
	return error ? refused(error, file, access(file, F_OK) < 0) : 0;
}

/* Without room nobody asks about the output, and a quick script is done before there is any.  One that is not has as
 * long again from its first output on, so that what it says in one go is passed on in one. */
static void
gather(struct conn *c)
{
	STATE(c, gateway)->down.body.gathers = true;
	c->peer->s.in.size = 0;
	c->peer->child.due = now + GATHERS;
}

/* "nph-": the script makes the whole response, its status line too, and it ends with the connection. */
static void
raw(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);

	g->headed = c->begun = c->until_close = true;
	g->down.put = raw_put;
	c->keep = false;
	c->status = 200;                /* for the log: what it really says is between it and the client */
}

static void
name_place(struct peer *p, struct span name)
{
	p->script_n = name.n < sizeof p->script ? name.n : sizeof p->script;
	copy(p->script, name.p + name.n - p->script_n, p->script_n);
}

static int
cgi_start(struct conn *c, struct request *r)
{
	struct script s;
	struct span folder, base;
	int status = script_find(c, r, &s);

	if (!status)
		status = gateway_take(c, &cgi_dialect);
	if (status)
		return status;
	c->peer->child.ended = cgi_ended;
	c->peer->child.late = cgi_late;
	c->peer->late = false;
	c->peer->end = 0;
	name_place(c->peer, s.name);
	folder = folder_of(s.file);
	base = (struct span){ s.file.p + folder.n, s.file.n - folder.n };
	status = run(c, r, &s, folder);
	if (status) {
		peer_release(c->peer);
		c->peer = NULL;
		return status;
	}
	c->peer->conn = c;
	c->up.put = raw_put;
	if (c->up.done)
		stream_shut(&c->peer->s);
	STATE(c, gateway)->sent = true; /* nothing can be said again */
	gather(c);
	c->hold = c->route->run->local && r->framing == BODY_NONE;
	if (c->route->run->time)
		c->peer->end = now + c->route->run->time * (int64_t)1000;
	if (span_starts(base, SPAN("nph-")))
		raw(c);
	return 0;
}

/* -- the exchange ------------------------------------------------------------------------------------- */

/* The end of the output is the end of the answer once it is known how the program has ended (body->at), so that one
 * that was killed cannot pass for one that was done. */
static enum io
cgi_next(struct body *body, struct buf *in)
{
	bool all = body->ended && body->at;

	if (body->gathers && !all && buf_used(in) < PEER_IN)
		return IO_WAIT;
	body->gathers = false;
	body->left = buf_used(in);
	return body->left ? IO_MOVED : all ? IO_DONE : IO_WAIT;
}

/* A script that is soon done needs no chunks. */
static bool
cgi_whole(const struct body *body, const struct buf *in)
{
	(void)in;
	return body->ended && body->at && !body->failed;
}

/* What is known of the end of one that runs; true when that is more than before. */
static bool
look_at_end(struct peer *p, struct body *body)
{
	bool at = body->at;

	if (!p->child.pid)
		return false;
	if (p->s.eof) {
		body->at = p->late;
		if (!p->child.due || p->child.due > now + SETTLES)
			p->child.due = now + SETTLES;
	} else if (body->gathers && buf_used(&p->s.in) && p->child.due == p->end) {
		p->child.due = now + GATHERS;
	}
	return body->at != at;
}

/* The head of the request once more, for path; false when it cannot be. */
static bool
ask_again(struct conn *c, struct request *r, struct span target)
{
	struct span path = span_cut(&target, '?');

	if (request_parse(r, c->client.in.data + c->client.in.r, c->held) || request_path(r, path) ||
	    (CONFIG_TRUST && c->vouched && trust_request(c, r)))
		return false;
	r->query = target;
	r->has_query = target.p > path.p + path.n;
	if (r->method != M_HEAD) {
		r->method = M_GET;
		r->name = method_name(M_GET);
	}
	return true;
}

/* With `location server` an answer that is a path and nothing else (RFC 3875 6.2.2) is replaced by what that path answers,
 * as soon as this script has given its place back, or later, when a guard of that path wants to be asked LATER.  Until
 * then the path lies in client.out, which holds nothing else yet. */
static bool
cgi_frame(struct conn *c, const struct answer *h, struct fields *fields, enum io *io)
{
	struct gateway *g = STATE(c, gateway);
	struct span path = value_at(fields->head, fields->f);

	if (!c->hold || !h->located || fields->n != 1 || !span_starts(path, SPAN("/")) || c->hops == DISPATCH_MAX ||
	    path.n > PATH_STORE)
		return true;
	memmove(c->client.out.data, path.p, path.n);
	g->gathered = path.n;
	g->elsewhere = true;
	stream_close(&c->peer->s);
	*io = IO_MOVED;
	return false;
}

static enum io
go_elsewhere(struct conn *c)
{
	static struct request r;
	struct gateway *g = STATE(c, gateway);
	unsigned n = g->gathered;
	int status;
	bool good;

	if (c->peer) {
		c->hops++;
		c->until_close = false;
		g->down.done = true;
		c->handler->finish(c);
	}
	good = ask_again(c, &r, (struct span){ c->client.out.data, n });
	if (c->conf != conf) {          /* routes are those in force: their configuration is the one to hold */
		conf_release(c->conf);
		c->conf = conf;
		conf->users++;
		c->host = host_find(r.host);
		c->route = c->challenge = NULL;
		c->headers = 0;
	}
	status = good ? dispatch(c, &r) : 502;
	if (status == LATER) {
		*g = (struct gateway){ .elsewhere = true, .gathered = n };      /* whoever was asked may have written there */
		c->handler = &cgi_handler;
		c->dozes = true;
		return IO_WAIT;
	}
	if (status)
		reply_status(c, &r, status < 0 ? 503 : status);
	if (!c->client.out.bad)
		return IO_MOVED;
	c->begun = false;               /* the head has no room, so none of it has gone */
	return IO_FAIL;
}

/* Neither side has anything to say, and the stdin of the script has got its end. */
static bool
quiet(const struct stream *s)
{
	return !s->readable && !s->eof && s->shut && !buf_used(&s->in);
}

static enum io
cgi_pull(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;
	enum io io;

	if (g->elsewhere && !(p && p->child.pid))
		return c->dozes ? IO_WAIT : go_elsewhere(c);
	if (p->child.pid && !p->late && quiet(&p->s))
		return IO_WAIT;
	if (p->late && !p->s.eof)
		return gateway_fail(c, 504, "the script ran for longer than its `time`");
	if (g->elsewhere)
		return IO_WAIT;
	if (!p->child.pid) {
		g->down.body.at = true;
		g->down.body.failed = WIFSIGNALED(p->child.status);
	}
	io = gateway_pull(c);
	if (g->elsewhere)
		return io;
	if (c->up.done && !buf_used(&p->s.out))
		stream_shut(&p->s);     /* the script's stdin ends after exactly the body */
	if (io == IO_WAIT && look_at_end(p, &g->down.body))
		io = IO_MOVED;
	if (io == IO_FAIL && g->down.body.failed)
		c->why = "a signal ended the script";
	if (io != IO_FAIL && g->headed && g->measured && g->down.moved == g->down.limit)
		io = IO_DONE;           /* it may go on without being waited for */
	g->down.done = io == IO_DONE;
	return io;
}

/* The place is free when the program has ended: by itself after a whole answer, else it is made to. */
static void
cgi_finish(struct conn *c)
{
	struct gateway *g = STATE(c, gateway);
	struct peer *p = c->peer;

	if (!p)
		return;
	c->peer = NULL;
	c->up.put = discard_put;
	p->conn = NULL;
	p->late = false;
	peer_close(p);
	if (!p->child.pid)
		peer_free(p);
	else if (g->down.done)
		p->child.due = now + conf->timeout[T_BACKEND];
	else
		child_stop(&p->child);
}

void
cgi_leave(void)
{
	struct peer *p;

	for (unsigned i = 0; (p = peer_at(i)); i++)
		if (p->conn)
			child_stop(&p->child);
}

const struct dialect cgi_dialect = {
	"cgi", .next = cgi_next, .put = raw_put, .share = FOR_SCRIPTS, .frame = cgi_frame, .whole = cgi_whole
};
const struct handler cgi_handler = { "cgi", cgi_start, gateway_push, cgi_pull, cgi_finish };
