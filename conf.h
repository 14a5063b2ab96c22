/* conf.h - what a configuration says, once it has been read (words.h is how it is read) */
#ifndef CONF_H
#define CONF_H

#include "base.h"

/* -- words.c and conf.c, lines.c, rules.c, answers.c: the table of directives (see words.h) --------- */

enum timeout {
	T_HEAD, T_BODY, T_IDLE, T_SEND, T_CONNECT, T_BACKEND, T_KEEP, T_QUEUE, T_LINGER, T_STOP, T_TUNNEL,
	TIMEOUTS
};
/* In the order that words[] has their words in. */
enum links { LINKS_OWNER, LINKS_INSIDE, LINKS_ANY };
enum level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_target { TO_FILE, TO_STDERR, TO_SYSLOG, TO_NOWHERE };

struct pattern { enum { MATCH_BELOW, MATCH_PATH, MATCH_EXT } kind; struct span text; };  /* "/dir/" "/path" ".ext" */

struct root { const char *path; int fd; int64_t looked; };      /* opened at need, and anew after a second */

struct backend {
	struct addr addr;               /* size 0: none yet, of a name */
	const char *text;
	int64_t rests_until;
	bool silent;                    /* it rests because it did not answer at all: asking costs a timeout */
	unsigned busy;                  /* connections to it that are in use */
	unsigned turn;                  /* of the first of a line: whose turn it is */
	struct name *name;              /* that the address is of (resolve.h); NULL: it was written as a number */
	bool foreign;                   /* a client has named it */
	unsigned changes;               /* how often it became another one */
	struct spawned *own;            /* the process of ours that it is (spawn.h); NULL: another's */
	struct backend *next;
};

enum { ADDRESSES_MOST = 64 };           /* of backends, in a line; a name has NAME_ADDRS */
enum share { FOR_SCRIPTS, FOR_PROXY, SHARES };          /* of the places for connections to backends */
enum balance { IN_ORDER, IN_TURN, LEAST_BUSY, STICKY }; /* which of several backends is asked first */

struct resolver {
	unsigned n;
	struct addr server[RESOLVERS_MAX];
	const char *search;             /* domains, with blanks between them; NULL: none */
};

struct run {                            /* how a program is started: see child.h */
	const char *user;               /* as written; NULL: as we are */
	uid_t uid;
	gid_t gid;
	uint64_t memory;                /* bytes of address space, 0 for no limit */
	unsigned cpu, time;             /* seconds of the processor, and in all; 0 for no limit */
	unsigned nice;
	bool at_root;                   /* cgi: works in the root, not in its own folder */
	bool local;                     /* cgi: a path in Location is answered here */
};

enum rule_kind {
	R_FASTCGI, R_SCGI, R_CGI, R_PROXY, R_ALIAS, R_REDIRECT, R_REWRITE,      /* routes: the first that matches */
	R_FORWARD,
	R_ALLOW, R_AUTH, R_AUTHORIZATION,
	R_FALLBACK, R_HEADER, R_EXPIRES, R_HSTS, R_LIMIT_BODY, R_LISTING, R_ERROR       /* filters: all that match */
};

struct forward { struct net *to; unsigned nports; uint16_t port[FORWARD_PORTS]; };

/* What is asked of the certificate of a backend at the other end of https. */
struct secure {
	struct span name;               /* whom it must be for; empty: the host in its address */
	const unsigned char *pin;       /* SHA-256 of the very certificate; NULL: whatever `ca` vouches for */
	bool unchecked;
	const char *check;              /* the last two as written; NULL: neither */
};

struct rule {                           /* a route or a filter, in the order written */
	struct rule *next;
	enum rule_kind kind;
	struct pattern pattern;
	struct span name;               /* header: field name */
	struct span value;              /* header: value; redirect, rewrite, fallback, error: target; cgi: interpreter;
					 * proxy: path over there */
	uint64_t number;                /* limit: bytes; expires: seconds; redirect, error: status; proxy: enum balance */
	struct root root;               /* alias: its folder */
	struct backend *backends;       /* fastcgi, scgi, proxy: in the order written */
	struct secure *secure;          /* proxy: by https; NULL: in plain */
	const char *remote;             /* `remote DIR`: scripts are below DIR over there, not looked for here */
	struct rule *sendfile;          /* `sendfile DIR`: roots of files the backend may name, in their root */
	struct run *run;                /* cgi, fastcgi, scgi: how a program is started */
	struct spawn *spawn;            /* fastcgi, scgi: the program that stays (spawn.h); NULL: none */
	struct forward *forward;        /* forward: its ports and targets */
	struct net *nets;               /* allow, forward: in the order written */
	enum field_id field;            /* header: which, when it is one we know */
};

struct env { struct env *next; struct span name, value; };      /* a variable for programs */

struct host {
	struct host *next;
	struct span *names;             /* lower case, "*.example.org" too; the first host of all has none */
	unsigned nnames;
	struct root root;
	unsigned nindex;
	uint8_t links;                  /* enum links */
	uint8_t dotfiles;               /* they are shown */
	bool guarded;                   /* there are `allow` or `auth` lines among its filters */
	struct env *env;                /* its own; those of the first host count behind them */
	struct rule *routes, *filters;  /* its own, then those of the first host */
	struct span index[INDEX_MAX];
	struct credential *credentials;
};

struct stamp { uint64_t ino, size; int64_t s, ns; };    /* of a file as it was read */

struct identity;

struct credential {                     /* a `certificate` line */
	struct credential *next;
	const char *file, *key;         /* key is NULL when it is in the file too */
	struct identity *identity;      /* the last that was good; NULL: none yet */
	struct stamp seen[2];
	bool told;                      /* the log has what is wrong with them */
};

/* Bits: what comes on a connection before HTTP, or around it; the last, that whoever started us has the socket, too. */
enum { LISTEN_PROXIED = 1, LISTEN_TLS = 2, LISTEN_LEGACY = 4, LISTEN_HANDED = 8 };

struct listener { struct addr addr; const char *text; int fd; int64_t rests_until; uint8_t flags; };

struct type { struct type *next; struct span ext, mime; };

struct conf {                           /* one is in force; older ones live until their last request has ended */
	unsigned users;
	struct host *hosts;             /* the first is the default and holds what stands outside of `host` */
	unsigned nlisten;
	bool listen_default;            /* no `listen` was written */
	bool activated;                 /* and LISTEN_FDS took its place */
	unsigned clients, parked, scripts, proxied;
	unsigned sessions;              /* TLS sessions that can be resumed */
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
	struct resolver resolver;       /* n 0: the system's */
	struct rule *forwards;          /* who may use us as a proxy; the first that has the client */
	struct net *trust;              /* proxies that are believed what they say of clients */
	const char *state;              /* the folder for a certificate of our own */
	struct anchors *client_ca;      /* who vouches for clients, of verify.h */
	bool client_ca_optional;
	struct spawn *spawns;           /* programs that stay */
	struct anchors *ca;             /* who vouches for backends */
	bool https;                     /* there are backends that are spoken to by https */
	bool odd;                       /* a pattern is spelled oddly */
	struct type *types;             /* those of `types` files; the built-in ones are in mime.c */
	void *arena;
	struct listener listen[LISTEN_MAX];
};

extern struct conf *conf;               /* the one in force */

/* Read the command line, and the files it names; one user.  NULL after every mistake has been told: on stderr, or in the
 * log when there is a configuration in force. */
struct conf *conf_read(int argc, char **argv);
void conf_release(struct conf *);       /* one user less; the last one of a conf not in force frees it */
/* -h, -V, -t and --hash: true when there was one and the program is to end. */
bool conf_answers(int argc, char **argv, int *exit_status);
bool pattern_matches(const struct pattern *, struct span path);
/* The first of this kind from there on whose pattern matches; NULL: none. */
const struct rule *rule_find(const struct rule *, enum rule_kind, struct span path);
/* For what restricts: /dir itself is guarded like what is below /dir/. */
bool pattern_guards(const struct pattern *, struct span path);
bool pattern_covers(const struct pattern *all, const struct pattern *some);     /* guards whatever some does */
/* Are there other spellings by which vfat and its like know the same file: in small letters, without dots behind a name? */
bool spelled_oddly(struct span path);

#endif
