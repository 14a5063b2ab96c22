/* httpd.h - the map of the house: every structure and every door, by file; base.h is its ground floor,
 *           gateway.h leads out to programs behind it
 *
 *  accept -> stream_read -> request_parse -> dispatch -> handler->start
 *  httpd.c   stream.c       http.c           route.c     file.c dir.c gateway.c
 *                                                           | 0, or a status -> reply.c
 *                                                           v
 *                    ,------- push: client.in -relay-> peer.out ---------> backend
 *  client <-stream_write                                                     |
 *                    `------- pull: client.out <-relay- peer.in <-stream_read'
 *                                                           | done
 *                                                           v
 *                                       handler->finish -> FLUSH -> log -> HEAD or LINGER
 *
 * A request goes down this page and back.  Handlers know no poll; nobody but conn.c changes a phase.
 */
#ifndef HTTPD_H
#define HTTPD_H

#include "base.h"
#include "conf.h"

#define VERSION "0.1"

/* -- pool.c: all memory, decided before the first accept -------------------------------------------- */

struct pool {                           /* each room that needs memory while running has one */
	const char *name;
	size_t size;                    /* of one piece */
	unsigned (*count)(const struct conf *);
	char *at;
	unsigned n;
};

/* Map what the configuration says; false with a line in the log when it cannot be had or is above `memory`. */
bool pool_map(const struct conf *);
/* The sum in bytes, 0 with that line when it is above; a line a pool, print may be NULL. */
uint64_t pool_plan(const struct conf *, struct buf *print);

/* -- log.c ---------------------------------------------------------------------------------------- */

bool log_open(const struct conf *);     /* also on SIGHUP; false when a file cannot be opened: the old ones stay */
/* One line; `log_about` puts client and request before it while a connection is being worked on. */
void log_line(enum level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_backend(struct span who, struct span text);    /* what it wrote to its stderr: escaped, a line each */
void log_flush(void);                   /* the access lines of this turn */
extern struct conn *log_about;
void log_request(struct conn *, const struct request *);        /* keep what the access line needs of the head */
void log_access(struct conn *);

/* -- reply.c -------------------------------------------------------------------------------------- */

struct span status_text(int status);    /* "Not Found"; empty for one we do not know */
void reply_start(struct conn *, int status);            /* status line, Date, Server, Connection */
void reply_end(struct conn *);          /* the fields of `header` and `expires`, and the empty line */
#define reply_field(c, literal, ...) reply_line(c, SPAN(literal), __VA_ARGS__) /* ("Name: ", span) */
void reply_line(struct conn *, struct span name_colon_space, struct span value);
/* A value of one of these said anew; false: it goes as it is, whatever was written. */
typedef bool map_place(const struct conn *, enum field_id, struct span value, struct buf *to);
static const uint64_t place_ids =
    1ull << F_LOCATION | 1ull << F_CONTENT_LOCATION | 1ull << F_REFRESH | 1ull << F_SET_COOKIE;

/* The fields of a backend's head that are not about its connection, or ours to set, or replaced by a `header` line; its
 * Content-Length only when it is asked for.  map may be NULL. */
void reply_pass(struct conn *, const struct fields *, bool length, map_place *map);
/* The same, in each response head that is made from here on, until NULL is said in the same turn. */
void reply_extra(struct conn *, const struct fields *);
bool reply_typed(void);                 /* there is a Content-Type among them */
/* A whole answer: the `error` page of this status, if there is a request (r may be NULL), or a short page of our own. */
void reply_status(struct conn *, struct request *r, int status);
/* A redirect to what `to` holds, and the query of r (NULL: none).  0, or 414 when it does not fit. */
int reply_redirect(struct conn *, const struct request *r, int status, struct buf *to);
int reply_options(struct conn *, struct span methods);  /* 204, and these are allowed; 0 */
void reply_continue(struct conn *);     /* 100 Continue, when the client waits for it */

/* -- route.c -------------------------------------------------------------------------------------- */

/* From a parsed request to a started handler.  0, or a status to answer with, or BUSY or LATER: ask again. */
int dispatch(struct conn *, struct request *);
/* From start(): path was changed; no place free; not mine.  From dispatch(): not before c->since. */
enum { AGAIN = -1, BUSY = -2, PASS = -3, LATER = -4 };

struct handler {                        /* what answers a request */
	const char *name;
	int (*start)(struct conn *, struct request *);  /* 0, a status, or one of the words above */
	enum io (*push)(struct conn *); /* request body onward; NULL: it is read and dropped */
	enum io (*pull)(struct conn *); /* more of the answer into client.out, or past it; NULL: all is in out */
	void (*finish)(struct conn *);  /* let go of what start took; NULL: nothing */
};

extern const struct handler file_handler, dir_handler, fcgi_handler, scgi_handler, cgi_handler, proxy_handler;
const struct host *host_find(struct span name);         /* the default host when nothing has this name */
/* A path of our own, already normal: index, rewrite, fallback.  0, or 414. */
int request_set_path(struct request *, struct span path);

/* -- trust.c: who the client is, by the word of those in front of us ---------------------------------- */

/* A PROXY header, version 1 or 2, at p: its length, and *from unless it tells of nobody; 0 while it has not all come, and
 * then all n bytes are of it; -1: it is none. */
int proxy_header(const char *p, unsigned n, struct from *from);
/* The step of a connection that begins with one; true when something moved.  What follows the header stays unread. */
bool trust_step(struct conn *);
/* Where `trust` has whoever is connected, the client of this request is the one that Forwarded or X-Forwarded-For names:
 * its address (of no family when it is not told), scheme and host.  0, or 400. */
int trust_request(struct conn *, struct request *);
void trust_forget(struct conn *);       /* the request of one that is vouched for is over */

/* -- cache.c: files kept open --------------------------------------------------------------------- */

enum { CODINGS = 2, ALL_ABSENT = (1 << CODINGS) - 1 };

struct cached {                         /* a file or folder below a root, as it was within the last second */
	const struct root *root;
	uint32_t hash;
	uint32_t used, opened;          /* when, in the order of uses */
	int64_t looked;
	int fd;
	uint16_t users;
	uint8_t path_n;                 /* 0: not to be found again */
	bool folder;
	uint8_t absent;                 /* bit i: there is no variant of it in the i-th of file.c's codings */
	uint8_t etag_n;
	uint64_t size, ino, dev;
	int64_t mtime, changed;         /* the latter is its ctime */
	uint32_t changed_ns;
	struct span mime;
	char modified[DATE_SIZE], etag[38];     /* Last-Modified; ETag, quotes included */
	uint16_t head_n;                /* file.c's: the fields of its plain 200, once they were made */
	char head[232];
	char path[CACHE_NAME];
};

/* The file at path (begins with "/", ended by NUL, no dot segments) below root, by the link policy: 0 and a pin on *out,
 * or 403, 404, 414, 503.  Only files and folders are found. */
int cache_open(struct root *, enum links, struct span path, struct cached **out);
void cache_release(struct cached *);    /* one pin less */
void cache_drop(struct cached *);       /* it has changed: look anew the next time */
void cache_flush(void);                 /* all of them, on reload */
extern struct pool cache_pool;
struct span mime_type(struct span path);        /* mime.c: by the extension, of `types` first */
bool mime_packable(struct span mime);   /* worth compressing, so name.gz may be beside it */

/* -- file.c, dir.c -------------------------------------------------------------------------------- */

/* The root that c's route serves from, and the path below it; the path keeps its NUL. */
struct root *file_root(const struct conn *);
struct span file_path(const struct conn *, struct span path);
bool path_hidden(const struct host *, struct span path);        /* has a segment that begins with a dot */
struct folder_entry { uint64_t ino; int64_t off; uint16_t size; uint8_t type; char name[]; };  /* of getdents64(2) */
/* What is in folder fd, one after the other; one folder at a time.  *left is 0 before the first.  NULL leaves it 0 at the
 * end, and below that, with errno, when the folder cannot be read. */
const struct folder_entry *folder_next(int fd, long *left);

/* -- conn.c --------------------------------------------------------------------------------------- */

enum phase { FREE, HEAD, EXCHANGE, FLUSH, LINGER };

struct conn {                           /* what most code names comes first: a short offset is a short instruction */
	enum phase phase;
	bool ready;                     /* poll or time has something for it in this turn */
	bool again;                     /* its turn ended with work left */
	bool over;                      /* to be closed when its turn ends */
	bool dozes;                     /* nothing is done before `since`: then its head, or a local path, is read again */
	bool begun;                     /* the response head has been made */
	bool errors;                    /* an error page is being made: no second one */
	bool until_close;               /* the response body ends with the connection */
	bool hold;                      /* keep the head at client.in until the request ends */
	bool tunnel;                    /* both directions are bytes for their own sake */
	bool credentials;               /* programs see the Authorization field */
	short status;                   /* of the response, 0 while there is none */
	bool keep;                      /* as the response head says */
	bool head_only;                 /* HEAD: no body in the response */
	bool chunks;                    /* HTTP/1.1: an unknown length goes out in chunks */
	bool continues;                 /* the client waits for 100 Continue */
	bool drains;                    /* the request body is short enough to be read when nobody wants it */
	bool parting;                   /* the client itself closes after this one */
	bool retry;                     /* a place may be free: ask again */
	uint8_t hops;                   /* paths that scripts named as its answer */
	struct stream client;
	struct peer *peer;
	const char *why;                /* it ends early, for the log */
	const struct rule *route;
	const struct host *host;
	struct lent *lent;              /* buffers and scratch while busy */
	const struct handler *handler;
	int64_t since;                  /* when the phase began or bytes last moved, in ms */
	const struct rule *alias;       /* its folder stands for the root; NULL: none */
	unsigned seen;                  /* bytes at client.in that head_length has looked at */
	unsigned held;                  /* bytes of the head that `hold` keeps there; 0: none */
	unsigned ticket;                /* place in the queue for a backend, 0 when not in it */
	enum share share;               /* for which of the places */
	const struct spawn *awaits;     /* the program all of whose processes were in use; NULL: it did not ask for one */
	unsigned requests;              /* so far */
	bool watched;                   /* as in struct parked */
	uint8_t before;                 /* as there */
	bool vouched;                   /* by one of `trust`, which is at hop: from is the client that it tells of */
	bool secure;                    /* the scheme of the client is https */
	bool refused;                   /* when it stops dozing: its password was wrong */
	struct relay up;                /* the request body */
	uint64_t headers;               /* which `header` and `expires` lines apply: bit i for the i-th filter */
	int64_t began;                  /* when the request began, for the log */
	uint64_t sent;                  /* bytes of the response body */
	const char *word;               /* what answered, for the log */
	struct conf *conf;              /* of the request under way, and held by it */
	const struct rule *challenge;   /* the `auth` line that refuses; NULL: none does */
	struct from hop;                /* while vouched */
	struct from from, local;        /* the client; our side once somebody asked (family 0: not yet) */
};

struct lent {                           /* while busy: all but client.out, see slot.c */
	_Alignas(16) char state[HANDLER_STATE];
	struct lying {                  /* file.c's: the body of a file that may still be in out */
		uint32_t file, turn;    /* its `opened`; when it was read */
		uint32_t at, age;       /* where; requests that have begun on these buffers since, LYING_NONE: it is gone */
	} lying;
	uint16_t line_n, referer_n, agent_n;
	uint8_t user_n;
	char user[USER_MOST];           /* whose password was right; none: user_n is 0 */
	char log[CLIENT_LOG];           /* request line, Referer, User-Agent: what the access line needs of the head */
	char in[CLIENT_IN], slack[SLACK];       /* heads have SLACK */
};

enum { LYING_NONE = 2 };
#define STATE(c, type) ((struct type *)(void *)(c)->lent->state)

struct parked;
struct conn *conn_open(const struct parked *);          /* a slot for it, in HEAD; NULL: all are busy */
void conn_turn(struct conn *);          /* step it until nothing moves; it may be FREE after that */
int64_t conn_due(const struct conn *);  /* when its time is over */
void conn_on_time(struct conn *);       /* its time is over */
void conn_arrive(int fd, const struct addr *from, uint8_t flags);       /* takes the descriptor; flags: the listener's */
bool conn_full(void);                   /* no room to accept into: the listening sockets rest */
void conn_stop(void);                   /* end the idle ones, and the others after their answer */
bool conn_none(void);                   /* nobody is there */
const struct from *conn_local(struct conn *);           /* our address on this connection */

/* -- queue.c: who waits for a place --------------------------------------------------------------------- */

bool queue_lets(const struct conn *);   /* it may take a place: nobody comes before it, and its address has not its part */
bool queue_join(struct conn *);         /* it waits, if it does not already; false: too many do */
void queue_leave(struct conn *);
void queue_forget(void);                /* of what program they wait for: it may be gone */
void queue_serve(void);                 /* those that may go on, the longest waiting first */

/* -- polls.c: whom poll is asked about, and who gets what it said ------------------------------------- */

/* Fill the set, and make *due no later than the first time that is over.  Returns the descriptors in it. */
unsigned polls_make(struct pollfd *set, int64_t *due);
/* Step those of whom poll told something, `told` descriptors at most of which these n are a part, and those whose time is
 * over.  Returns how many of the told ones were not found here. */
unsigned polls_take(const struct pollfd *set, unsigned n, unsigned told);
bool polls_park_waits(void);            /* sleepers were not asked about in this turn, for want of places */
unsigned polls_size(const struct conf *);               /* places that polls_make may need, and httpd.c before it */
extern struct pool set_pool, owner_pool;

/* -- slot.c: places for busy connections, and their buffers ----------------------------------------- */

struct conn *slot_take(void);           /* not cleared; parks the longest idle one when it must; NULL: all are busy */
void slot_free(struct conn *);
void slot_park(struct conn *);          /* an idle connection goes to sleep, its slot is free */
bool slot_park_oldest(void);            /* the one that has been idle the longest; false: none is */
void slot_lend(struct conn *);          /* buffers, unless it has them */
void slot_give_back(struct conn *);
/* Nothing has come of a next request. */
static INLINE bool slot_idle(const struct conn *c) { return c->phase == HEAD && !c->lent; }
struct conn *slot_at(unsigned i);       /* i < slot_count(); its phase may be FREE */
unsigned slot_count(void);
unsigned slots_used(void);
unsigned slots_left(void);              /* that slot_take would find */
extern struct pool conn_pool, lent_pool;

/* -- park.c: connections asleep ------------------------------------------------------------------ */

enum { PARK_BITS = 10 };                /* of milliseconds: about a second */

struct parked {                         /* all that is kept of an idle connection */
	int fd;
	uint32_t since;                 /* of the monotonic clock, without its PARK_BITS */
	uint32_t requests;
	uint16_t next, prev;            /* oldest first; 0 is the end */
	struct from from;
	bool watched;                   /* known to the epoll descriptor, asleep there or not */
	uint8_t before;                 /* what must still come before HTTP: LISTEN_ bits */
	uint16_t tls;                   /* number of its struct tls, 0: plain */
};

bool park_open(void);
void park_put(const struct parked *);   /* takes its descriptor; the oldest one is closed when there is no place */
bool park_drop_oldest(void);            /* false when there is none */
bool park_full(void);
unsigned park_count(void);
void park_expire(void);                 /* close those whose time is over */
int64_t park_due(void);                 /* when the next one's time is over, INT64_MAX for never */
unsigned park_plan(struct pollfd *set); /* what to poll for them: one descriptor, or each */
/* Up to `most` that have woken, by what poll said of park_plan's part of the set; each then belongs to the caller. */
unsigned park_wake(const struct pollfd *set, unsigned n, struct parked *out, unsigned most);
extern struct pool park_pool;

#endif
