/* httpd.h - the map of the house: every structure and every door, by file
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
 * Calls go down this page, never up.  http.c and relay.c know no descriptors, stream.c knows no HTTP, handlers
 * know no poll, nobody but conn.c knows phases.
 */
#ifndef HTTPD_H
#define HTTPD_H

#include "config.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

#define VERSION "0.1"

/* -- buf.c: spans and buffers -------------------------------------------------------------------- */

struct span { const char *p; unsigned n; };             /* someone else's text, not ended by NUL */

#define SPAN(literal) ((struct span){ literal, sizeof (literal) - 1 })

bool span_eq(struct span, struct span);
bool span_eq_nocase(struct span, struct span);          /* ASCII letters only */
bool span_starts(struct span, struct span prefix);
bool span_ends(struct span, struct span suffix);
struct span span_of(const char *);                      /* of a C string; NULL is the empty span */
struct span span_trim(struct span);                     /* without spaces and tabs at both ends */
/* Cut the text before the first c off *rest and step over c; the last piece has no c behind it. */
struct span span_cut(struct span *rest, char c);
/* Decimal digits and nothing else; false when there are none, others, or too many for 63 bits. */
bool span_uint(struct span, uint64_t *);
int hex_digit(char);                                    /* 0 to 15, or -1 */
char lower(char);

/* r..w is to be read, w..size is free; linear, so that a head or a frame is contiguous.  An append that does not
 * fit writes nothing and sets bad, which stays: builders append freely and look once, at the end. */
struct buf {
	char *data;
	unsigned r, w, size;
	bool bad;
};

static inline unsigned buf_used(const struct buf *b) { return b->w - b->r; }
static inline unsigned buf_room(const struct buf *b) { return b->size - b->w; }

void buf_take(struct buf *, unsigned n);                /* forget the first n to be read; n <= buf_used() */
void buf_pack(struct buf *);                            /* gather the free room at the end; moves the bytes */
char *buf_reserve(struct buf *, unsigned n);             /* append n bytes that the caller writes; NULL: no room, and bad */
void buf_mem(struct buf *, const void *, unsigned n);
void buf_span(struct buf *, struct span);
void buf_text(struct buf *, const char *);
void buf_char(struct buf *, char);
void buf_uint(struct buf *, uint64_t);
void buf_hex(struct buf *, uint64_t);
/* The verbs %s %c %d %u %x %lu %llu %.*s %%, without width; the rest of printf is not here (10 KB and an FPU). */
void buf_print(struct buf *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprint(struct buf *, const char *format, va_list) __attribute__((format(printf, 2, 0)));
void buf_html(struct buf *, struct span);               /* with & < > " ' escaped */
void buf_url(struct buf *, struct span);                /* percent-encoded but for what a path may hold, "/" included */
void buf_log(struct buf *, struct span);                /* controls, quotes, backslashes and bytes over 126 as \xNN */

/* -- clock.c --------------------------------------------------------------------------------------- */

extern int64_t now, wall;               /* milliseconds of the monotonic clock; seconds since 1970 */
void clock_tick(void);                  /* once a turn */

/* -- http.c, fields.c: grammar only ------------------------------------------------------------------------ */

enum method {
	M_GET, M_HEAD, M_POST, M_PUT, M_DELETE, M_OPTIONS, M_PATCH, M_CONNECT, M_TRACE,
	M_COPY, M_LOCK, M_MKCOL, M_MOVE, M_PROPFIND, M_PROPPATCH, M_REPORT, M_SEARCH, M_UNLOCK, M_QUERY,
	METHODS
};

enum field_id {                         /* the fields that somebody here looks at; one table in http.c */
	F_OTHER, F_ACCEPT_ENCODING, F_AUTHORIZATION, F_CONNECTION, F_CONTENT_LENGTH, F_CONTENT_TYPE, F_EXPECT, F_HOST,
	F_IF_MATCH, F_IF_MODIFIED_SINCE, F_IF_NONE_MATCH, F_IF_RANGE, F_IF_UNMODIFIED_SINCE, F_PROXY, F_RANGE,
	F_REFERER, F_TRANSFER_ENCODING, F_UPGRADE, F_USER_AGENT,
	F_CACHE_CONTROL, F_DATE, F_EXPIRES, F_KEEP_ALIVE, F_LOCATION, F_SERVER, F_STATUS, F_TRAILER, F_X_SENDFILE,
	FIELDS
};

struct field { uint16_t name, name_n, value, value_n; uint8_t id; };    /* offsets from request.head */

enum framing { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

struct request {                        /* one in the whole program; its spans hold until start() returns */
	const char *head;
	unsigned size;                  /* of the head, its empty line included */
	enum method method;
	enum framing framing;
	uint64_t length;                /* of the body, when framing is BODY_LENGTH */
	unsigned char minor;            /* HTTP/1.minor */
	bool keep;                      /* the client would keep the connection */
	bool continues;                 /* Expect: 100-continue */
	bool star;                      /* OPTIONS * */
	bool has_query;
	struct span line;               /* the request line, for the log */
	struct span name;               /* the method as sent */
	struct span target;             /* as sent: path and query */
	struct span host;               /* without port */
	struct span path;               /* decoded, no dot segments, no double slashes; in store, ended by NUL */
	struct span query;              /* as sent, without "?" */
	struct span known[FIELDS];      /* last value of each; p is NULL when absent */
	struct field fields[FIELDS_MAX];
	unsigned nfields;
	char store[PATH_STORE];
};

/* 0 while a head has not all come to p, else bytes that begin with a whole one: request_parse says where it ends.
 * *seen is where the last call got to; 0 at first.  Ends at a bare LF too, so that it can be refused at once. */
unsigned head_length(const char *p, unsigned n, unsigned *seen);
/* Parse the head that p begins with (RFC 9112); size tells its length.  0, or the status to refuse it with; after that
 * nothing but line, minor and method is to be trusted, and the connection must be closed. */
int request_parse(struct request *, const char *p, unsigned n);
/* Decode and normalise path into request.store and set request.path: 0, 400 or 414.  Also for paths of our own. */
int request_path(struct request *, struct span path);
/* The next "name: value" line of a backend's head, which may end in LF or CRLF; false at its end.  name is empty for a
 * line that is no field. */
bool field_next(struct span *rest, struct span *name, struct span *value);
enum field_id field_find(struct span name);
extern const struct span method_names[METHODS];
/* True when the comma-separated list has this token, in any case; parameters after ";" are not looked at. */
bool list_has(struct span list, struct span token);
/* Accept-Encoding: may this coding be sent (RFC 9110 12.5.3)?  An absent field is no wish, so false. */
bool coding_accepted(struct span field, struct span coding);
/* If-Match and If-None-Match: does etag match one of the list, or "*"?  Weakly or strongly (RFC 9110 8.8.3.2). */
bool etag_matches(struct span list, struct span etag, bool weak);
/* An HTTP-date in one of its three forms (RFC 9110 5.6.7) as seconds since 1970; -1 when it is none. */
int64_t date_parse(struct span);
enum { DATE_SIZE = 29 };
void date_format(char to[DATE_SIZE], int64_t seconds);  /* IMF-fixdate, no NUL */
void date_log(struct buf *, int64_t seconds);           /* 10/Oct/2000:13:55:36 +0000 */

struct range { uint64_t from, size; };
/* Range (RFC 9110 14.2) for a representation of size bytes: how many ranges, 0 to ignore the field, -1 for 416. */
int range_parse(struct span, uint64_t size, struct range out[RANGES_MAX]);

/* -- relay.c: every body crosses here ------------------------------------------------------------- */

enum io {
	IO_WAIT,                        /* nothing can move until the other side reads or writes */
	IO_MOVED,                       /* something moved: call again */
	IO_DONE,                        /* the end has been passed on */
	IO_FAIL,                        /* broken: nothing after it can be trusted */
};

struct body {                           /* where a source stands in its framing */
	uint64_t left;                  /* payload bytes that lie ahead */
	uint32_t skip;                  /* bytes to step over: padding, an ending, a record for nobody */
	uint8_t at;                     /* the source's own place */
	uint8_t padding;                /* FastCGI: of the record under way */
	uint8_t failed;                 /* FastCGI: protocolStatus, 0 when the request was completed */
	bool ended;                     /* the stream has no more bytes to come (set by whoever reads it) */
};

struct relay {
	/* Step over framing at in->r.  IO_MOVED: body->left payload bytes lie ahead. */
	enum io (*next)(struct body *, struct buf *in);
	/* Frame up to n bytes of p and return how many went in, 0 for want of room.
	 * n == 0 writes the end mark: true when it fitted. */
	unsigned (*put)(struct buf *out, const char *p, unsigned n);
	struct body body;
	uint64_t moved;                 /* payload bytes so far */
	uint64_t limit;                 /* IO_FAIL with `over` set when more than these would move */
	bool over;
	bool done;                      /* the end mark has been put */
};

enum io relay(struct relay *, struct buf *in, struct buf *out);         /* one step */
enum io length_next(struct body *, struct buf *);       /* body.left set beforehand */
enum io chunked_next(struct body *, struct buf *);      /* RFC 9112 7.1; trailers are dropped */
enum io until_eof_next(struct body *, struct buf *);
unsigned raw_put(struct buf *, const char *, unsigned);
unsigned chunked_put(struct buf *, const char *, unsigned);
unsigned discard_put(struct buf *, const char *, unsigned);

/* -- addr.c: addresses as text --------------------------------------------------------------------- */

struct addr {
	socklen_t size;                 /* 0: none */
	union { struct sockaddr any; struct sockaddr_in in4; struct sockaddr_in6 in6; struct sockaddr_un un; } u;
};

/* "HOST:PORT", "[V6]:PORT", "PORT" or "unix:PATH"; HOST is a number, "localhost" or "*".  A bare PORT gets the host
 * `any`: "*" means all addresses, IPv6 with IPv4 in it.  False when the text is none of these. */
bool addr_parse(struct addr *, const char *text, const char *any);
void addr_print(struct buf *, const struct addr *, bool port);  /* the way addr_parse reads it */
bool addr_same(const struct addr *, const struct addr *);
unsigned addr_port(const struct addr *);                        /* 0 for unix */

struct from { uint16_t family, port; unsigned char ip[16]; };   /* an address in 20 bytes, network order */

struct from from_of(const struct addr *);       /* IPv4 within IPv6 becomes IPv4 */
void from_print(struct buf *, const struct from *);     /* without port; "unix" for a socket that has none */

/* -- stream.c: a descriptor with two buffers ------------------------------------------------------- */

struct stream {
	int fd;                         /* -1: none */
	bool readable, writable;        /* poll's word, until a call says otherwise */
	bool connecting;                /* connect() has not ended yet */
	bool more;                      /* more follows at once: let the kernel wait for it (MSG_MORE) */
	bool eof;                       /* the other side sends no more */
	bool shut;                      /* we send no more */
	bool dead;                      /* reset: neither direction works; errno is in error */
	int error;
	struct buf in, out;             /* data is NULL while no buffers are lent */
};

/* Write what is in out, then read into in: what the flags say is worth trying.  True when a byte or an end moved. */
bool stream_write(struct stream *);
bool stream_read(struct stream *);
/* From file fd at *at, up to n bytes, past the out buffer, which must be empty.  IO_MOVED, IO_WAIT, or IO_FAIL when
 * the file is shorter than that or the stream dead. */
enum io stream_sendfile(struct stream *, int fd, off_t *at, uint64_t n);
void stream_open(struct stream *, int fd);              /* takes the descriptor; the buffers are left alone */
void stream_close(struct stream *);
void stream_shut(struct stream *);                      /* no more writing */
/* A socket that is connected, or connecting; -1 with errno. */
int stream_dial(const struct addr *, bool *connecting);
/* A listening socket, close-on-exec, not blocking; -1 with errno. */
int stream_listen(const struct addr *);

/* -- words.c and conf.c, lines.c, rules.c, answers.c: the table of directives (see words.h) --------- */

enum timeout { T_HEAD, T_BODY, T_IDLE, T_SEND, T_CONNECT, T_BACKEND, T_KEEP, T_QUEUE, T_LINGER, T_STOP, TIMEOUTS };
extern const char *const timeout_names[TIMEOUTS];       /* "head", "body", ... the words of `timeout` */
enum links { LINKS_OWNER, LINKS_INSIDE, LINKS_ANY };
enum level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_target { TO_STDERR, TO_SYSLOG, TO_FILE, TO_NOWHERE };

struct pattern { enum { MATCH_BELOW, MATCH_PATH, MATCH_EXT } kind; struct span text; };  /* "/dir/" "/path" ".ext" */

struct root { const char *path; int fd; int64_t looked; };      /* opened at need, and anew after a second */

struct backend { struct addr addr; const char *text; int64_t rests_until; struct backend *next; };

enum rule_kind {
	R_FASTCGI, R_ALIAS, R_REDIRECT, R_REWRITE,                              /* routes: the first that matches */
	R_FALLBACK, R_HEADER, R_EXPIRES, R_LIMIT_BODY, R_LISTING, R_ERROR       /* filters: all that match */
};

struct rule {                           /* a route or a filter, in the order written */
	struct rule *next;
	enum rule_kind kind;
	struct pattern pattern;
	struct span name;               /* header: field name */
	struct span value;              /* header: value; redirect, rewrite, fallback, error: target; */
	uint64_t number;                /* limit: bytes; expires: seconds; redirect, error: status */
	struct root root;               /* alias: its folder */
	struct backend *backends;       /* fastcgi: in the order written */
	const char *remote;             /* fastcgi `remote DIR`: scripts are below DIR over there, not looked for here */
	struct rule *sendfile;          /* fastcgi `sendfile DIR`: roots of files the backend may name, in their root */
	enum field_id field;            /* header: which, when it is one we know */
};

struct host {
	struct host *next;
	struct span *names;             /* lower case, "*.example.org" too; the first host of all has none */
	unsigned nnames;
	struct root root;
	struct span index[INDEX_MAX];
	unsigned nindex;
	enum links links;
	bool dotfiles;
	struct rule *routes, *filters;  /* its own, then those of the first host */
	unsigned line;
};

struct listener { struct addr addr; const char *text; int fd; int64_t rests_until; bool inherited; };

struct type { struct type *next; struct span ext, mime; };

struct conf {                           /* one is in force; older ones live until their last request has ended */
	unsigned users;
	struct host *hosts;             /* the first is the default and holds what stands outside of `host` */
	struct listener listen[LISTEN_MAX];
	unsigned nlisten;
	bool listen_default;            /* no `listen` was written */
	bool activated;                 /* and LISTEN_FDS took its place */
	unsigned clients, parked, scripts;
	uint64_t memory;                /* ceiling in bytes, 0 for none */
	unsigned timeout[TIMEOUTS];     /* milliseconds */
	const char *spool;
	uint64_t spool_size;
	const char *user, *pid;
	uid_t uid;
	gid_t gid;
	enum log_target error_to, access_to;
	const char *error_log, *access_log;
	enum level level;
	struct type *types;             /* those of `types` files; the built-in ones are in mime.c */
	void *arena;
};

extern struct conf *conf;               /* the one in force */

/* Read the command line, and the files it names; one user.  NULL after every mistake has been told: on stderr, or in the
 * log when there is a configuration in force. */
struct conf *conf_read(int argc, char **argv);
void conf_release(struct conf *);       /* one user less; the last one of a conf not in force frees it */
/* -h, -V, -t and -H (the directive section of the manual): true when there was one and the program is to end. */
bool conf_answers(int argc, char **argv, int *exit_status);
bool pattern_matches(const struct pattern *, struct span path);

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
uint64_t pool_plan(const struct conf *, struct buf *print);     /* the sum in bytes; a line a pool, print may be NULL */

/* -- log.c ---------------------------------------------------------------------------------------- */

bool log_open(const struct conf *);     /* also on SIGHUP; false when a file cannot be opened: the old ones stay */
/* One line; `log_about` puts client and request before it while a connection is being worked on. */
void log_line(enum level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void log_backend(struct span text);     /* what a program wrote to its stderr: escaped, a line each */
void log_flush(void);                   /* the access lines of this turn */
struct conn;
extern struct conn *log_about;
void log_request(struct conn *, const struct request *);        /* keep what the access line needs of the head */
void log_access(struct conn *);

/* -- reply.c -------------------------------------------------------------------------------------- */

struct span status_text(int status);    /* "Not Found"; empty for one we do not know */
void reply_start(struct conn *, int status);            /* status line, Date, Server, Connection */
void reply_end(struct conn *);          /* the fields of `header` and `expires`, and the empty line */
#define reply_field(c, literal, ...) reply_line(c, SPAN(literal), __VA_ARGS__) /* ("Name: ", span) */
void reply_line(struct conn *, struct span name_colon_space, struct span value);
struct passed { enum field_id id; struct span name, value; };           /* a field of a backend's head */

/* Those of them that are not about the backend's connection, or ours to set, or replaced by a `header` line. */
void reply_pass(struct conn *, const struct passed *, unsigned n);
/* The same, kept for the response head that is made next in this very turn. */
void reply_extra(const struct passed *, unsigned n);
bool reply_typed(void);                 /* there is a Content-Type among them */
/* A whole answer: the `error` page of this status or a short page of our own.  Always returns 0. */
int reply_status(struct conn *, struct request *, int status);
int reply_redirect(struct conn *, struct request *, int status, struct span location);
void reply_continue(struct conn *);     /* 100 Continue, when the client waits for it */

/* -- route.c -------------------------------------------------------------------------------------- */

/* From a parsed request to a started handler.  0, or a status to answer with, or BUSY: ask again later. */
int dispatch(struct conn *, struct request *);
enum { AGAIN = -1, BUSY = -2, PASS = -3 };      /* from start(): path was changed; no place free; not mine */

struct handler {                        /* what answers a request */
	const char *name;
	int (*start)(struct conn *, struct request *);  /* 0, a status, or one of the words above */
	enum io (*push)(struct conn *); /* request body onward; NULL: it is read and dropped */
	enum io (*pull)(struct conn *); /* more of the answer into client.out, or past it; NULL: all is in out */
	void (*finish)(struct conn *);  /* let go of what start took; NULL: nothing */
};

extern const struct handler file_handler, dir_handler, fcgi_handler;
/* A path of our own, already normal: index, rewrite, fallback.  0, or 414. */
int request_set_path(struct request *, struct span path);

/* -- cache.c: files kept open --------------------------------------------------------------------- */

struct cached {                         /* a file or folder below a root, as it was within the last second */
	const struct root *root;
	uint32_t hash;
	uint32_t used;                  /* when, in the order of uses */
	int64_t looked;
	int fd;
	uint16_t users;
	uint8_t path_n;                 /* 0: not to be found again */
	bool folder, packable, absent_br, absent_gz;
	uint8_t etag_n;
	uint64_t size, ino, dev;
	int64_t mtime;
	uint32_t mtime_ns;
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
int root_open(struct root *);           /* its descriptor, valid in this turn; -1 with errno */
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

struct conn {
	enum phase phase;
	bool ready;                     /* poll or time has something for it in this turn */
	bool again;                     /* its turn ended with work left */
	bool keep;                      /* as the response head says */
	bool head_only;                 /* HEAD: no body in the response */
	bool chunks;                    /* HTTP/1.1: an unknown length goes out in chunks */
	bool continues;                 /* the client waits for 100 Continue */
	bool begun;                     /* the response head has been made */
	bool errors;                    /* an error page is being made: no second one */
	short status;                   /* of the response, 0 while there is none */
	unsigned seen;                  /* head_length's place */
	unsigned held;                  /* its size */
	unsigned ticket;                /* place in the queue for a backend, 0 when not in it */
	unsigned requests;
	bool watched;                   /* as in struct parked */
	bool over;                      /* to be closed when its turn ends */
	bool until_close;               /* the response body ends with the connection */
	bool retry;                     /* a place may be free: ask again */
	bool hold;                      /* keep the head at client.in until the request ends */
	bool parting;                   /* the client itself closes after this one */
	bool drains;                    /* the request body is short enough to be read when nobody wants it */
	uint64_t headers;               /* which `header` and `expires` lines apply: bit i for the i-th filter */
	int64_t since;                  /* when the phase began or bytes last moved, in ms */
	int64_t began;                  /* when the request began, for the log */
	uint64_t sent;                  /* bytes of the response body */
		const char *why;                /* it ends early, for the log */
	const char *word;               /* what answered, for the log */
	struct conf *conf;              /* of the request under way, and held by it */
	const struct host *host;
	const struct rule *route;
	const struct rule *alias;       /* its folder stands for the root; NULL: none */
	const struct handler *handler;
	struct peer *peer;
	struct relay up;                /* the request body */
	struct stream client;
	struct from from, local;        /* the client; our side once somebody asked (family 0: not yet) */
	struct lent *lent;              /* buffers and scratch while busy */
};

/* Page by page so that a small exchange touches three. */
struct lent {
	_Alignas(16) char state[HANDLER_STATE];
	uint16_t line_n, referer_n, agent_n;
	char log[CLIENT_LOG];           /* request line, Referer, User-Agent: what the access line needs of the head */
	char out[CLIENT_OUT], in[CLIENT_IN];
};

#define STATE(c, type) ((struct type *)(void *)(c)->lent->state)


/* conn.c's doors: httpd.c opens them once a turn. */
void conn_arrive(int fd, const struct addr *from);      /* takes the descriptor */
/* Fill the poll set and say how long poll may wait, in ms (-1: for ever).  Returns the descriptors in it. */
unsigned conn_plan(struct pollfd *set, int *wait);
void conn_run(const struct pollfd *set, unsigned n);    /* what poll said, and what time says */
unsigned conn_set_size(const struct conf *);            /* places that conn_plan may need */
bool conn_full(void);                   /* no room to accept into: the listening sockets rest */
void conn_stop(void);                   /* end the idle ones, and the others after their answer */
bool conn_none(void);                   /* nobody is there */
const struct from *conn_local(struct conn *);           /* our address on this connection */
extern struct pool set_pool, owner_pool;

/* -- slot.c: places for busy connections, and their buffers ----------------------------------------- */

struct conn *slot_take(void);           /* not cleared; parks the longest idle one when it must; NULL: all are busy */
void slot_free(struct conn *);
void slot_park(struct conn *);          /* an idle connection goes to sleep, its slot is free */
void slot_lend(struct conn *);          /* buffers, unless it has them */
void slot_give_back(struct conn *);
bool slot_idle(const struct conn *);    /* nothing has come of a next request */
struct conn *slot_at(unsigned i);       /* i < slot_count(); its phase may be FREE */
unsigned slot_count(void);
unsigned slots_used(void);
unsigned slots_left(void);              /* that slot_take would find */
extern struct pool conn_pool, lent_pool;

/* -- park.c: connections asleep ------------------------------------------------------------------ */

struct parked {                         /* all that is kept of an idle connection */
	int fd;
	uint32_t since;                 /* seconds of the monotonic clock */
	uint32_t requests;
	uint16_t next, prev;            /* oldest first; 0 is the end */
	struct from from;
	bool watched;                   /* known to the epoll descriptor, asleep there or not */
};

bool park_open(void);
/* Take over the descriptor of an idle connection; the oldest one is closed when there is no place. */
void park_put(const struct parked *);
bool park_drop_oldest(void);            /* false when there is none */
bool park_full(void);
unsigned park_count(void);
void park_expire(void);                 /* close those whose time is over */
int64_t park_due(void);                 /* when the next one's time is over, INT64_MAX for never */
unsigned park_plan(struct pollfd *set); /* what to poll for them: one descriptor, or each */
/* Up to `most` that have woken, by what poll said of park_plan's part of the set; each then belongs to the caller. */
unsigned park_wake(const struct pollfd *set, unsigned n, struct parked *out, unsigned most);
extern struct pool park_pool;

/* -- peer.c: connections to backends --------------------------------------------------------------- */

struct peer {                           /* one connection to a backend */
	struct stream s;
	struct backend *backend;        /* of the conf of the request under way, or of the one in force */
	int64_t since;
	unsigned served;                /* requests before this one */
	unsigned replay;                /* bytes at out.data that are all that was sent: may be sent again; 0: not */
	struct peer *next;              /* idle or free */
	struct peer_lent { char in[PEER_IN]; char out[PEER_OUT]; } *lent;
};

/* An idle connection to one of these, fd >= 0; else a place without one; NULL: all are in use.  With buffers. */
struct peer *peer_take(const struct backend *);
void peer_keep(struct peer *);          /* it is idle and whole: the next one may have it */
void peer_release(struct peer *);       /* closed, and the place is free */
bool peer_has_place(void);              /* a request that was told BUSY may ask again */
unsigned peer_idle_plan(struct pollfd *set, int64_t *due);
void peer_idle_run(const struct pollfd *set, unsigned n);
void peer_flush(void);                  /* close the idle ones, on reload and at the end */
extern struct pool peer_pool, peer_lent_pool;

/* -- cgi.c: the variables of RFC 3875 --------------------------------------------------------------- */

/* SCRIPT_NAME, PATH_INFO (p NULL: none), SCRIPT_FILENAME, PATH_TRANSLATED */
struct script { struct span name, info, file, translated; };

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

extern const struct dialect fcgi_dialect;

int gateway_start(struct conn *, struct request *, const struct script *, const struct dialect *);
enum io gateway_push(struct conn *);
enum io gateway_pull(struct conn *);
void gateway_finish(struct conn *);

#endif
