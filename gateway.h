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
	struct backend *backend;        /* of the conf of the request under way, or of the one in force; NULL: none yet */
	enum share share;               /* which of the places it takes */
	int64_t since;
	unsigned served;                /* requests before this one */
	unsigned changes;               /* backend->changes, when it was dialled */
	unsigned replay;                /* bytes at out.data that are all that was sent: may be sent again; 0: not */
	struct peer *next;              /* idle or free */
	struct from from;               /* who asked for what it does */
	struct child child;             /* cgi: the program at its other end */
	struct conn *conn;              /* cgi: who waits for it; NULL: nobody any more */
	int64_t end;                    /* cgi: when its `time` is over; 0: never */
	bool late;                      /* cgi: it is over, or how the program ended was not known in time */
	int errors[2];                  /* cgi: the pipe for stderr, kept; 0: none yet */
	unsigned script_n;
	char script[64];                /* cgi: its name, or the end of it */
	struct peer_lent { char in[PEER_IN]; char out[PEER_OUT]; } *lent;
};

/* An idle connection to it, fd >= 0; else a place without one; NULL: all of these are in use.  With buffers. */
struct peer *peer_take(struct backend *, enum share);
void peer_turn_to(struct peer *, struct backend *);     /* it has just been dialled */
void peer_keep(struct peer *);          /* it is idle and whole: the next one may have it */
void peer_release(struct peer *);       /* closed, and the place is free */
void peer_close(struct peer *);         /* the same, but the place stays taken until peer_free */
void peer_free(struct peer *);
struct peer *peer_at(unsigned i);       /* the i-th place, free or not; NULL: so many were never used */
bool peer_has_place(enum share);        /* a request that was told BUSY may ask again */
unsigned peers_busy(enum share);        /* places of this share that are taken */
unsigned peer_idle_plan(struct pollfd *set, int64_t *due);
void peer_idle_run(const struct pollfd *set, unsigned n);
void peer_forget(const struct backend *);       /* close the idle ones to it, whose address has changed; NULL: all */
extern struct pool peer_pool, peer_lent_pool;

/* -- script.c, variables.c: which script, and the variables of RFC 3875 -------------------------------- */

/* SCRIPT_NAME, PATH_INFO (p NULL: none), SCRIPT_FILENAME, PATH_TRANSLATED */
struct script { struct span name, info, file, translated; };

/* What the path means by c's route.  The spans hold until start() returns and have SLACK; file is ended by NUL.  0, a
 * status, or PASS: not a script. */
int script_find(struct conn *, struct request *, struct script *);

enum pairs {                            /* how a name and its value are written */
	PAIRS_SIZED,                    /* FastCGI: their sizes first */
	PAIRS_ENDED,                    /* SCGI: a NUL behind each */
	PAIRS_WORDS,                    /* CGI: NAME=value and NUL, as in environ(7), where env_words says */
};
extern struct env_words {               /* where the pointers to words go */
	char **next, **last;            /* the same: there were too many */
} env_words;

void put_pair(struct buf *, enum pairs, struct span name, struct span value);
void put_length(struct buf *, enum pairs, uint64_t length);     /* CONTENT_LENGTH */
void cgi_variables(struct conn *, const struct request *, const struct script *, struct buf *to, enum pairs);
/* The `env` lines of a host, and those for all that it does not say anew; a program that is started has a PATH, too. */
void put_env(const struct host *, const struct host *all, struct buf *to, enum pairs);
void cgi_flush(void);                   /* forget what was kept for a configuration that is no longer in force */

/* -- gateway.c: what all backends share ------------------------------------------------------------- */

struct answer {                         /* what the head of an answer says */
	int status;
	bool located;                   /* has a Location */
	bool measured;                  /* has a Content-Length */
	uint64_t length;
	struct span sendfile;
	/* of HTTP alone */
	unsigned minor;                 /* HTTP/1.minor */
	bool chunked;
	struct span upgrade;
	bool close, keep, names;        /* Connection says so, or names fields */
};

struct dialect {                        /* how gateway.c speaks to the other side */
	const char *name;
	/* All of the head but the length of the body; to->bad when it does not fit. */
	void (*head)(struct conn *, const struct request *, const struct script *, struct buf *to);
	void (*length)(struct buf *to, bool body, uint64_t length);     /* the end of the head; of the request without one */
	enum io (*next)(struct body *, struct buf *);
	unsigned (*put)(struct buf *, const char *, unsigned);
	unsigned (*put_chunks)(struct buf *, const char *, unsigned);   /* of no known length; NULL: through the spool */
	enum share share;
	bool once;                      /* what a backend may have seen is not said again, but for idempotent methods */
	/* Where the answer has not the form of CGI: its first line, cut off; what a field means beyond Location,
	 * Content-Length and X-Sendfile (false: it cannot be); and how the body ends, or an interim response, for which
	 * *io is the result and the final head is still to come. */
	bool (*line)(struct span *text, struct answer *);
	bool (*heed)(struct answer *, enum field_id, struct span value);
	bool (*frame)(struct conn *, const struct answer *, struct fields *, enum io *io);
	/* All of the answer has come, and ends with body->left more bytes at in->r; NULL: that cannot be told. */
	bool (*whole)(const struct body *, const struct buf *in);
};

extern const struct dialect fcgi_dialect, scgi_dialect, cgi_dialect, proxy_dialect;

enum {
	UPGRADE_MOST = 32,              /* bytes of an Upgrade field that is passed on */
	HOST_MOST = 96,                 /* of a Host that is kept */
};

struct gateway {                        /* the handler's state */
	const struct dialect *dialect;
	struct relay down;
	uint64_t tried;                 /* bit i: the i-th address from `first` on was dialled (ADDRESSES_MOST) */
	struct backend *first;          /* the address that was chosen; the others follow it */
	unsigned seen, gathered;        /* of a head that comes in pieces: they lie at client.out */
	bool headed;                    /* the response head has been passed on */
	bool sent;                      /* a byte has gone to this connection */
	bool measured;                  /* the length of the response is known: down.limit */
	bool whole;                     /* and all of it is here */
	bool elsewhere;                 /* cgi: another path answers, see cgi.c */
	bool refused;                   /* one that may not be reached was among them */
	bool again;                     /* the request may be said again although a backend may have seen it */
	bool closes;                    /* the connection cannot be kept after this answer */
	bool naming;                    /* a name has to be resolved first */
	bool ending;                    /* a process of ours has to end first */
	bool spooling, spooled;         /* the request body goes into the spool; it is in it, and comes out again */
	int spool;                      /* a descriptor; -1: none */
	off_t spool_at;                 /* what lies before it has come out */
	uint8_t untold;                 /* interim responses that a client of HTTP/1.0 is not told of: 255 are enough */
	uint8_t upgrade_n;              /* the protocols that the client would switch to: a 101 names one of them */
	uint8_t host_n;                 /* its Host, when it is not too long */
	_Alignas(8) char upgrade[UPGRADE_MOST]; /* from here on all is as it was: nothing is cleared */
	char host[HOST_MOST];
};

_Static_assert(sizeof (struct gateway) <= HANDLER_STATE, "HANDLER_STATE is too small for gateways");

/* Take a place, and begin an exchange in this dialect.  0, or BUSY. */
int gateway_take(struct conn *, const struct dialect *);
int gateway_start(struct conn *, struct request *, const struct script *, const struct dialect *);
bool gateway_dial(struct conn *);       /* the next address, or wait for one; false: none is left (gateway_fail) */
/* The exchange has failed: the status to answer with where no response has begun, and why, for the log.  IO_FAIL. */
enum io gateway_fail(struct conn *, int status, const char *why);
/* For who says nothing before it is connected: IO_DONE then; IO_FAIL when no address is left. */
enum io gateway_connect(struct conn *);
enum io gateway_push(struct conn *);
enum io gateway_pull(struct conn *);
void gateway_finish(struct conn *);

/* -- cgi.c: a program for each request --------------------------------------------------------------- */

extern int cgi_descriptors;             /* that this process may have */
unsigned cgi_plan(struct pollfd *set);  /* what scripts write to stderr, one for each place that had one */
void cgi_take(const struct pollfd *set, unsigned n);
void cgi_leave(void);                   /* the server ends: so do those whose answer has not */

/* -- answer.c: the head of the answer ---------------------------------------------------------------- */

/* IO_MOVED once it has been passed on (headed), or when more of it was gathered; IO_DONE when the body went with it.  If
 * c->peer is NULL after that, somebody else answers. */
enum io answer_head(struct conn *);

/* -- upstream.c: answers in HTTP ---------------------------------------------------------------------- */

bool upstream_line(struct span *text, struct answer *);
bool upstream_heed(struct answer *, enum field_id, struct span value);
bool upstream_frame(struct conn *, const struct answer *, struct fields *, enum io *io);

/* -- mapped.c: what answers say of places over there --------------------------------------------------------- */

/* Location, Content-Location, Refresh and Set-Cookie are made to mean what the client can reach. */
map_place mapped_place;

/* -- tunnel.c: bytes for their own sake, both ways ------------------------------------------------------- */

/* From here on what comes from the client goes to c->peer, which is connected, and the other way round, until both have
 * ended; each end is passed on as it comes.  What is to be said to the client first lies in client.out.  c->lent->state
 * is a struct gateway. */
void tunnel_begin(struct conn *);

/* -- spool.c: a request body without a length -------------------------------------------------------- */

int spool_open(const char *dir);        /* a descriptor of a file without a name; -1 with errno */
enum io spool_in(struct conn *);        /* of client.in into the file */
bool spool_out(struct conn *);          /* of the file to the backend, as there is room; true when something moved */

#endif
