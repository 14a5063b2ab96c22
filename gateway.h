/* gateway.h - the way to programs and servers behind this one
 *
 *   client.in --up--> peer.out ==> backend ==> peer.in --answer.c--> response head
 *                                                     `---- down --> client.out
 *
 * A dialect says how a head and a body are written for the other side, and how its answer is read; gateway.c does the
 * rest.  Everybody else sees a handler, and peer.c's descriptors in the poll set.
 */
#ifndef GATEWAY_H
#define GATEWAY_H

#include "child.h"
#include "httpd.h"

/* -- peer.c: connections to backends --------------------------------------------------------------- */

struct peer {                           /* one connection to a backend */
	struct stream s;
	struct backend *backend;        /* of the conf of the request under way, or of the one in force */
	int64_t since;
	unsigned served;                /* requests before this one */
	unsigned replay;                /* bytes at out.data that are all that was sent: may be sent again; 0: not */
	struct peer *next;              /* idle or free */
	struct child child;             /* cgi: the program at its other end */
	struct conn *conn;              /* cgi: who waits for it; NULL: nobody any more */
	bool late;                      /* cgi: its time was over once */
	int errors[2];                  /* cgi: the pipe for stderr, kept; 0: none yet */
	unsigned script_n;
	char script[64];                /* cgi: its name, or the end of it */
	struct peer_lent { char in[PEER_IN]; char out[PEER_OUT]; } *lent;
};

/* An idle connection to one of these, fd >= 0; else a place without one; NULL: all are in use.  With buffers. */
struct peer *peer_take(const struct backend *);
void peer_keep(struct peer *);          /* it is idle and whole: the next one may have it */
void peer_release(struct peer *);       /* closed, and the place is free */
void peer_close(struct peer *);         /* the same, but the place stays taken until peer_free */
void peer_free(struct peer *);
struct peer *peer_at(unsigned i);       /* the i-th place, free or not; NULL: so many were never used */
bool peer_has_place(void);              /* a request that was told BUSY may ask again */
unsigned peer_idle_plan(struct pollfd *set, int64_t *due);
void peer_idle_run(const struct pollfd *set, unsigned n);
void peer_flush(void);                  /* close the idle ones, on reload and at the end */
extern struct pool peer_pool, peer_lent_pool;

/* -- script.c, variables.c: which script, and the variables of RFC 3875 -------------------------------- */

/* SCRIPT_NAME, PATH_INFO (p NULL: none), SCRIPT_FILENAME, PATH_TRANSLATED */
struct script { struct span name, info, file, translated; };

/* What the path means by c's route; the spans hold until start() returns.  0, a status, or PASS: not a script. */
int script_find(struct conn *, struct request *, struct script *);
void cgi_variables(struct conn *, const struct request *, const struct script *, struct buf *to,
    void (*put)(struct buf *, struct span name, struct span value));
void cgi_flush(void);                   /* forget what was kept for a configuration that is no longer in force */

/* -- gateway.c: what all backends share ------------------------------------------------------------- */

struct dialect {                        /* how gateway.c speaks to the other side */
	const char *name;
	/* All of the head but the length of the body; to->bad when it does not fit. */
	void (*head)(struct conn *, const struct request *, const struct script *, struct buf *to);
	void (*length)(struct buf *to, bool body, uint64_t length);     /* the end of the head */
	enum io (*next)(struct body *, struct buf *);
	unsigned (*put)(struct buf *, const char *, unsigned);
};

extern const struct dialect fcgi_dialect, scgi_dialect, cgi_dialect;

struct gateway {                        /* the handler's state */
	const struct dialect *dialect;
	struct relay down;
	uint64_t tried;                 /* bit i: the i-th address was dialled in vain */
	unsigned seen, gathered;        /* of a head that comes in pieces: they lie at client.out */
	bool headed;                    /* the response head has been passed on */
	bool sent;                      /* a byte has gone to this connection */
	bool measured;                  /* the length of the response is known: down.limit */
	bool unreachable;               /* no address is left to try */
	bool spooling, spooled;
	int spool;
	off_t spool_at;
};

_Static_assert(sizeof (struct gateway) <= HANDLER_STATE, "HANDLER_STATE is too small for gateways");

/* Take a place, and begin an exchange in this dialect.  0, or BUSY. */
int gateway_take(struct conn *, const struct dialect *);
int gateway_start(struct conn *, struct request *, const struct script *, const struct dialect *);
enum io gateway_push(struct conn *);
enum io gateway_pull(struct conn *);
void gateway_finish(struct conn *);

/* -- cgi.c: a program for each request --------------------------------------------------------------- */

unsigned cgi_plan(struct pollfd *set);  /* what scripts write to stderr, one for each place that had one */
void cgi_take(const struct pollfd *set, unsigned n);
void cgi_leave(void);                   /* the server ends: so do those whose answer has not */

/* -- answer.c: the head of the answer ---------------------------------------------------------------- */

/* IO_MOVED once it has been passed on (headed), or when more of it was gathered.  Without c->peer after that, somebody
 * else answers. */
enum io answer_head(struct conn *);

/* -- spool.c: a request body without a length -------------------------------------------------------- */

int spool_open(const char *dir);        /* a descriptor of a file without a name; -1 with errno */
enum io spool_in(struct conn *);        /* of client.in into the file */
bool spool_out(struct conn *);          /* of the file to the backend, as there is room; true when something moved */

#endif
