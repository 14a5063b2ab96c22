/* base.h - the ground floor: bytes, time, grammar, bodies, addresses, sockets
 *
 * Nothing here knows of configurations, connections or handlers.  http.c and relay.c know no descriptors, stream.c
 * knows no HTTP.
 */
#ifndef BASE_H
#define BASE_H

#include "config.h"

#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>
#include <time.h>

/* Of a function that is seldom called: whoever calls it seldom does not save registers for it each time. */
#define APART __attribute__((noinline))

/* -- buf.c: spans and buffers -------------------------------------------------------------------- */

struct span { const char *p; unsigned n; };             /* someone else's text, not ended by NUL */

#define SPAN(literal) ((struct span){ literal, sizeof (literal) - 1 })

bool span_eq(struct span, struct span);
bool span_eq_nocase(struct span, struct span);          /* ASCII letters only */
bool span_starts(struct span, struct span prefix);
bool span_starts_nocase(struct span, struct span prefix);
bool span_ends(struct span, struct span suffix);
struct span span_of(const char *);                      /* of a C string; NULL is the empty span */
struct span span_trim(struct span);                     /* without spaces and tabs at both ends */
/* Cut the text before the first c off *rest and step over c; the last piece has no c behind it. */
struct span span_cut(struct span *rest, char c);
struct span span_item(struct span *rest, char c);       /* the same, trimmed */
/* Decimal digits and nothing else; false when there are none, others, or too many for 63 bits. */
bool span_uint(struct span, uint64_t *);
char *find_char(const char *, char);                    /* as strchr, but never the NUL */
char *find_byte(const char *, char, size_t n);          /* as memchr */
char *find_last(const char *, char);                    /* as strrchr, but never the NUL */
int hex_digit(char);                                    /* 0 to 15, or -1 */
int base64_digit(char);                                 /* 0 to 63, or -1 (RFC 4648 4) */
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

/* Append n bytes that the caller writes; NULL: no room, and bad.  Nothing follows what is lost, so that what is there
 * stays a prefix. */
static inline char *
buf_reserve(struct buf *b, unsigned n)
{
	char *at = b->data + b->w;

	if (n > buf_room(b) || b->bad) {
		b->bad = true;
		return NULL;
	}
	b->w += n;
	return at;
}

/* As memcpy.  Texts here are short: what compilers and libraries make of one costs more than the work. */
void copy(char *to, const char *p, unsigned n);

enum { SLACK = 16 };                    /* bytes behind a text that may be read, or written, although they are not of it */

/* The same where both have SLACK; the end of what was written. */
static inline char *
copy_loose(char *to, const char *p, unsigned n)
{
	char *end = to + n;

	do {
		memcpy(to, p, SLACK);
		p += SLACK;
		to += SLACK;
	} while (to < end);
	return end;
}

struct buf buf_on(char *data, unsigned size);          /* an empty one */
void buf_take(struct buf *, unsigned n);                /* forget the first n to be read; n <= buf_used() */
void buf_pack(struct buf *);                            /* gather the free room at the end; moves the bytes */
void buf_mem(struct buf *, const void *, unsigned n);
void buf_span(struct buf *, struct span);
void buf_text(struct buf *, const char *);
void buf_char(struct buf *, char);
void buf_crlf(struct buf *);
void buf_uint(struct buf *, uint64_t);
/* Divide *n by less than 2^24, and give back what is left over.  Where a long has 32 bits compilers bring 1 KB for it. */
uint32_t uint_cut(uint64_t *n, uint32_t by);
char *uint_before(char *end, uint64_t);                 /* its digits, so that they end there; where they begin */
void buf_length(struct buf *, uint64_t);                /* a line of a head: Content-Length */
void buf_hex(struct buf *, uint64_t);
/* The verbs %s %c %d %u %x %lu %llu %.*s %%, without width; the rest of printf is not here (10 KB and an FPU). */
void buf_print(struct buf *, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_vprint(struct buf *, const char *format, va_list) __attribute__((format(printf, 2, 0)));
void buf_html(struct buf *, struct span);               /* with & < > " ' escaped */
void buf_url(struct buf *, struct span);                /* percent-encoded but for what a path may hold, "/" included */
void buf_log(struct buf *, struct span);                /* controls, quotes, backslashes and bytes over 126 as \xNN */

/* For secrets: no compiler finds out that nobody reads what it writes.  Not every C library has explicit_bzero(3). */
static inline void wipe(void *p, size_t n) { memset(p, 0, n); __asm__ volatile ("" : : "r" (p) : "memory"); }

/* From the order of the network, or into it: htons(3) is a call where libc has no macro for it. */
static inline uint16_t
net16(uint16_t x)
{
	return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap16(x) : x;
}

/* Bytes as a word, wherever they lie: texts here are short, and a call of libc's memcmp costs more than the work. */
static inline uint16_t load2(const char *p) { uint16_t x; memcpy(&x, p, sizeof x); return x; }
static inline uint32_t load4(const char *p) { uint32_t x; memcpy(&x, p, sizeof x); return x; }
static inline uint64_t load8(const char *p) { uint64_t x; memcpy(&x, p, sizeof x); return x; }

/* -- errors.c -------------------------------------------------------------------------------------- */

const char *error_text(int number);     /* of an errno; "error N" for one that nobody expects, until the next call */

/* -- calls.c: as libc has them, in short -------------------------------------------------------------- */

struct stat;
int call_open(int dir, const char *path, int flags, int mode);
int call_pipe(int fd[2]);               /* close-on-exec */
int call_chown(int fd, uid_t, gid_t);
int call_stat(int dir, const char *path, int flags, struct stat *);     /* path NULL: of the descriptor */
void *call_map(size_t n, int flags);    /* zeroed pages; NULL with errno */
void call_default(int signal);
int call_close(int fd);                 /* leaves errno as it was, unless it fails */
ssize_t call_read(int fd, void *, size_t);
ssize_t call_write(int fd, const void *, size_t);
void call_munmap(void *, size_t);
int call_ioctl(int fd, unsigned request, void *about);
void call_unblock(int fd);
ssize_t call_getrandom(void *, size_t, unsigned flags);
int call_waitpid(int pid, int *status, int options);
int call_waitid(int type, int id, siginfo_t *, int options);
/* A set of signals as the kernel has it; the usual ones are all in the first word. */
struct signals { unsigned long bits[_NSIG / 8 / sizeof (long)]; };
#define SIGNAL(number) (1ul << ((number) - 1))
void call_sigwait(const struct signals *, long ms);     /* for one of these, and no longer than that */
int call_socket(int family, int type, int protocol);
int call_connect(int fd, const struct sockaddr *, socklen_t);
int call_bind(int fd, const struct sockaddr *, socklen_t);
int call_listen(int fd, int most);
int call_shutdown(int fd, int how);
int call_getsockname(int fd, struct sockaddr *, socklen_t *);
int call_getsockopt(int fd, int level, int name, void *, socklen_t *);
int call_setsockopt(int fd, int level, int name, const void *, socklen_t);
struct epoll_event;
int call_epoll_create1(int flags);
int call_epoll_ctl(int epoll, int what, int fd, struct epoll_event *);
int call_epoll_wait(int epoll, struct epoll_event *, int most, int ms);

/* -- text.c: files of the system, a line at a time; one file at a time ------------------------------------- */

enum { TEXT_LINE = 1024 };              /* bytes of a line with its end; longer ones are passed over */

bool text_open(const char *path);       /* to be read to its end; false with errno: there are no lines */
/* The next one, without its end, LF or CRLF; it holds until the next call.  False when there are no more: the file is
 * closed by then. */
bool text_line(struct span *);

/* -- clock.c --------------------------------------------------------------------------------------- */

extern uint32_t turn_number;            /* one more each time that poll has told who is ready, and with each arrival */
extern int64_t now, wall;               /* milliseconds of the monotonic clock; seconds since 1970 */
void clock_tick(void);                  /* once a turn */
int64_t clock_now(void);                /* what now would be, for what takes long within a turn */

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
	F_CACHE_CONTROL, F_DATE, F_EXPIRES, F_KEEP_ALIVE, F_LOCATION, F_SERVER, F_STATUS,
	F_CONTENT_LOCATION, F_REFRESH, F_SET_COOKIE, F_TRAILER, F_X_SENDFILE,
	FIELDS
};

struct field {                          /* offsets from request.head */
	uint16_t name, name_n, value, value_n;
	uint8_t id;
	bool plain;                     /* its name has letters and hyphens only, and ": " follows it */
};

static inline struct span name_at(const char *head, const struct field *f)
{
	return (struct span){ head + f->name, f->name_n };
}

static inline struct span value_at(const char *head, const struct field *f)
{
	return (struct span){ head + f->value, f->value_n };
}

struct fields {                         /* those of a backend's head, line by line: each ends where the next one begins */
	const char *head;
	unsigned n;
	bool each;                      /* its lines must not go together as they are: one ends in LF alone, or is to be left out */
	uint64_t ids;                   /* bit i: there is one with id i */
	struct field f[FIELDS_MAX + 1]; /* f[n].name is the empty line */
};

enum { FIELDS_AHEAD = 24 };

enum form { FORM_ORIGIN, FORM_HTTP, FORM_HTTPS };       /* of the target: a path, or a URL with this scheme */
enum framing { BODY_NONE, BODY_LENGTH, BODY_CHUNKED };

struct request {                        /* one in the whole program; its spans hold until start() returns, and have SLACK */
	const char *head;
	unsigned size;                  /* of the head, its empty line included */
	enum method method;
	enum framing framing;
	uint64_t length;                /* of the body, when framing is BODY_LENGTH */
	unsigned char minor;            /* HTTP/1.minor */
	bool keep;                      /* the client would keep the connection */
	bool continues;                 /* Expect: 100-continue */
	bool star;                      /* OPTIONS * */
	uint8_t form;                   /* enum form */
	bool has_query;
	bool plain;                     /* the path is that of the target, letter by letter */
	struct span line;               /* the request line, for the log */
	struct span name;               /* the method as sent */
	struct span target;             /* as sent: path and query */
	struct span host;               /* without port */
	struct span path;               /* decoded, no dot segments, no double slashes; in store, ended by NUL */
	struct span query;              /* as sent, without "?" */
	struct span known[FIELDS];      /* last value of each; p is NULL when absent */
	struct field fields[FIELDS_MAX];
	unsigned nfields;
	char store[PATH_STORE], slack[SLACK];
};

/* 0 while a head has not all come to p, else bytes that begin with a whole one: request_parse says where it ends.
 * *seen is where the last call got to; 0 at first.  Ends at a bare LF too, so that it can be refused at once. */
unsigned head_length(const char *p, unsigned n, unsigned *seen);
/* Parse the head that p begins with (RFC 9112); size tells its length.  0, or the status to refuse it with; after that
 * nothing but line, minor and method is to be trusted, and the connection must be closed. */
int request_parse(struct request *, const char *p, unsigned n);
/* http://authority/path, or https; false when it is none. */
bool uri_split(struct span, struct span *authority, struct span *path);
/* Decode and normalise path into request.store and set request.path: 0, 400 or 414.  Also for paths of our own. */
int request_path(struct request *, struct span path);
/* This authority takes the place of Host; false when it is none.  The byte behind it is looked at. */
bool request_set_host(struct request *, struct span authority);
/* The fields of a backend's head up to its empty line, and *rest is what follows; lines end in LF or CRLF.  False when one
 * of them is no field, or that line has not come.  FIELDS_AHEAD bytes behind *rest may be looked at, and mean nothing. */
bool fields_read(struct fields *, struct span *rest);
struct span line_name(const char *line);        /* that a line begins with, which has an end; empty: it is no field */
enum field_id field_find(struct span name);
struct span method_name(enum method);
/* True when the comma-separated list has this token, in any case; parameters after ";" are not looked at. */
bool list_has(struct span list, struct span token);
/* Accept-Encoding: may this coding be sent (RFC 9110 12.5.3)?  An absent field is no wish, so false. */
bool coding_accepted(struct span field, struct span coding);
/* If-Match and If-None-Match: does etag match one of the list, or "*"?  Weakly or strongly (RFC 9110 8.8.3.2). */
bool etag_matches(struct span list, struct span etag, bool weak);
/* An HTTP-date in one of its three forms (RFC 9110 5.6.7) as seconds since 1970; -1 when it is none. */
int64_t date_parse(struct span);
struct civil { unsigned year, month, day, hour, minute, second, weekday; };     /* month and day from 1 */
int64_t civil_seconds(const struct civil *);    /* since 1970 */
struct civil civil_of(int64_t seconds);         /* of a moment from 1970 to 9999; others become the nearest of these */
enum { DATE_SIZE = 29 };
void date_format(char to[DATE_SIZE], int64_t seconds);  /* IMF-fixdate, no NUL */
/* By a pattern, see there; gives back its end, without NUL. */
char *date_write(char *to, const char *pattern, int64_t seconds);
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
	bool gathers;                   /* CGI: what comes in the first moment may be all of the answer */
	bool ended;                     /* the stream has no more bytes to come (set by whoever reads it) */
	bool trails;                    /* chunks: trailers are for the sink, if it has chunks, too */
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
enum io chunked_next(struct body *, struct buf *);      /* RFC 9112 7.1; trailers are dropped, or see body.trails */
enum io until_eof_next(struct body *, struct buf *);
bool until_eof_whole(const struct body *, const struct buf *);  /* its end is there: no more than `left` is to come */
unsigned raw_put(struct buf *, const char *, unsigned);
unsigned chunked_put(struct buf *, const char *, unsigned);
unsigned discard_put(struct buf *, const char *, unsigned);

/* -- addr.c: addresses as text, and ranges of them --------------------------------------------------- */

struct addr {
	socklen_t size;                 /* 0: none */
	union { struct sockaddr any; struct sockaddr_in in4; struct sockaddr_in6 in6; struct sockaddr_un un; } u;
};

/* "HOST:PORT", "[V6]:PORT", "PORT" or "unix:PATH"; HOST is a number, "localhost" or "*".  A bare PORT gets the host
 * `any`: "*" means all addresses, IPv6 with IPv4 in it.  False when the text is none of these. */
bool addr_parse(struct addr *, const char *text, const char *any);
void addr_print(struct buf *, const struct addr *);             /* the way addr_parse reads it */
bool addr_same(const struct addr *, const struct addr *);
unsigned addr_port(const struct addr *);                        /* 0 for unix */

bool ip4_parse(struct span, void *to);  /* four bytes; no leading zeros */
bool ip6_parse(struct span, void *to);  /* sixteen */

struct from { uint16_t family, port; unsigned char ip[16]; };   /* an address in 20 bytes, network order */

struct from from_of(const struct addr *);       /* IPv4 within IPv6 becomes IPv4 */
struct from from_ip(int family, const void *ip, const void *port);      /* the same, of bytes in network order */
bool from_same(const struct from *, const struct from *);       /* but for the port */
struct addr addr_of(const struct from *, uint16_t port);        /* of IPv4 or IPv6; the port in network order */
/* "192.0.2.7", "2001:db8::1" or "[2001:db8::1]", and a port with ":" behind all but the second. */
bool from_parse(struct from *, struct span text);
void from_print(struct buf *, const struct from *);     /* without port; "unix" for a socket that has none, "unknown" */

struct net { struct net *next; uint16_t family; uint8_t bits; unsigned char ip[16]; };

/* "192.168.1.0/24", "fd00::/8", "192.0.2.1"; "unix" for clients of unix sockets, "*" for everybody.  What stands behind
 * the bits does not matter.  next is left alone. */
bool net_parse(struct net *, const char *text);
bool net_has(const struct net *, const struct from *);  /* one of the list has it */

/* -- stream.c: a descriptor with two buffers ------------------------------------------------------- */

struct stream {
	int fd;                         /* -1: none */
	bool readable, writable;        /* poll's word, until a call says otherwise */
	bool connecting;                /* connect() has not ended yet */
	bool more;                      /* more follows at once: let the kernel wait for it (MSG_MORE) */
	bool eof;                       /* the other side sends no more */
	bool hung_up;                   /* poll says that it has closed both ways: what can be read now is the last */
	bool shut;                      /* we send no more */
	bool dead;                      /* reset: neither direction works; errno is in error */
	bool broken;                    /* TLS has failed and said so: what still comes is read and dropped */
	bool later;                     /* there is work that has to wait for the next turn */
	bool crowded;                   /* or, of TLS, for the end of another handshake */
	bool misplaced;                 /* plain HTTP where TLS was to be */
	uint16_t sealed;                /* bytes at the beginning of out that are the rest of a record */
	bool pipes;                     /* fd is a pipe that is read, and `to` is one that is written; -1: none */
	int to;
	int error;
	struct tls *tls;                /* NULL: plain */
	struct buf in, out;             /* data is NULL while no buffers are lent */
};

/* Write what is in out, read into in: what the flags say is worth trying.  True when a byte or an end moved. */
bool stream_flush(struct stream *);
bool stream_fill(struct stream *);

/* Most of the times that a step asks, there is nothing to do: that much is seen without a call. */
static INLINE bool
stream_write(struct stream *s)
{
	return s->out.w != s->out.r && s->writable && stream_flush(s);
}

static INLINE bool
stream_read(struct stream *s)
{
	return (s->readable || s->tls) && stream_fill(s);
}

/* Bytes that lie ready, put at in.w but left to be read; and a read of no more than `most`. */
unsigned stream_peek(struct stream *);
bool stream_read_most(struct stream *, unsigned most);
/* The calls alone, for tls.c: how many bytes were moved; the flags say why not more. */
unsigned stream_send(struct stream *, const void *, size_t n);
unsigned stream_recv(struct stream *, void *, size_t n);
/* From file fd at *at, up to n bytes, past the out buffer, which must be empty.  IO_MOVED, IO_WAIT, or IO_FAIL when
 * the file is shorter than that or the stream dead. */
enum io stream_sendfile(struct stream *, int fd, off_t *at, uint64_t n);
void stream_open(struct stream *, int fd);              /* takes the descriptor; the buffers are left alone */
void stream_close(struct stream *);                     /* TLS says good-bye before it */
void stream_shut(struct stream *);                      /* no more writing */
void stream_pipes(struct stream *, int fd, int to);     /* the same for two pipes */
/* True once connect() has ended; false while it has not, or when it failed, and then the stream is dead. */
bool stream_connected(struct stream *);
/* Milliseconds since TCP last sent new bytes and heard of it; without TCP more than can be. */
int64_t stream_quiet(const struct stream *);
/* A socket that is connected, or connecting; -1 with errno. */
int stream_dial(const struct addr *, bool *connecting);
/* A listening socket, close-on-exec, not blocking; -1 with errno. */
int stream_listen(const struct addr *);

#endif
