/* config.h - what is built in, and the fixed limits
 *
 * Every CONFIG_ word is 0 or 1 and is used as an ordinary C expression; no other file has a conditional.  Say
 * -DCONFIG_FCGI=0 on the command line, or put your choices into an untracked local.h, which is read first.
 * The number behind each is what it adds to the static musl build for amd64, in bytes; test/sizes --all writes it.
 */
#ifndef CONFIG_H
#define CONFIG_H

#if defined __has_include
#if __has_include("local.h")
#include "local.h"
#endif
#endif

/* -- features ------------------------------------------------------------------------------------ */

/* FastCGI: php-fpm and its like, on unix and TCP sockets. 1,550, and 21,660 for what all backends share */
#ifndef CONFIG_FCGI
#define CONFIG_FCGI 1
#endif

/* SCGI: rtorrent, uwsgi and their like. 510, and what all backends share */
#ifndef CONFIG_SCGI
#define CONFIG_SCGI 1
#endif

/* CGI: a program is started for each request. 4,290 */
#ifndef CONFIG_CGI
#define CONFIG_CGI 1
#endif

/* HTTP: a proxy in front of other servers. 12,690 with https to them, and what all backends share */
#ifndef CONFIG_PROXY
#define CONFIG_PROXY 1
#endif

/* `spawn`: FastCGI and SCGI programs that the server starts, keeps and ends. 3,020 */
#ifndef CONFIG_SPAWN
#define CONFIG_SPAWN 1
#endif

/* Directory listings, for the patterns that a `listing` line names. 2,830 */
#ifndef CONFIG_LISTING
#define CONFIG_LISTING 1
#endif

/* `host`: sites of their own, by the name that is asked for. 1,740 */
#ifndef CONFIG_HOSTS
#define CONFIG_HOSTS 1
#endif

/* `alias`, `redirect`, `rewrite`, `fallback` and `error`: paths that something else answers. 1,490 */
#ifndef CONFIG_REWRITE
#define CONFIG_REWRITE 1
#endif

/* `header` and `expires`: fields for responses. 340 */
#ifndef CONFIG_HEADER
#define CONFIG_HEADER 1
#endif

/* `types`: media types by extension out of a file, besides the built-in ones. 460 */
#ifndef CONFIG_TYPES
#define CONFIG_TYPES 1
#endif

/* `include`: configurations of several files. 820 */
#ifndef CONFIG_INCLUDE
#define CONFIG_INCLUDE 1
#endif

/* Listening sockets that another program has opened and hands over, as systemd does (LISTEN_FDS). 700 */
#ifndef CONFIG_ACTIVATION
#define CONFIG_ACTIVATION 1
#endif

/* A mistake that is a misspelt word is told with the one that was meant, or with the feature that a build lacks. 260 */
#ifndef CONFIG_GUESS
#define CONFIG_GUESS 1
#endif

/* `allow`: who may ask, by address. 210 */
#ifndef CONFIG_ALLOW
#define CONFIG_ALLOW 1
#endif

/* `auth`: who may ask, by password. 10,370 */
#ifndef CONFIG_AUTH
#define CONFIG_AUTH 1
#endif

/* Passwords kept as MD5, $1$ and htpasswd's $apr1$. 640 */
#ifndef CONFIG_APR1
#define CONFIG_APR1 1
#endif

/* Passwords kept as bcrypt, $2y$ of `htpasswd -B`. 1,470 */
#ifndef CONFIG_BCRYPT
#define CONFIG_BCRYPT 1
#endif

/* Other hashes of passwords are left to crypt(3), when libc.so has one or `make CRYPT=1` brings it. 190 */
#ifndef CONFIG_CRYPT
#define CONFIG_CRYPT 1
#endif

/* Ranges: resumed downloads, seeking in films. 1,100 */
#ifndef CONFIG_RANGE
#define CONFIG_RANGE 1
#endif

/* name.gz and name.br served in place of name to those who accept them. 1,070 */
#ifndef CONFIG_PRECOMPRESSED
#define CONFIG_PRECOMPRESSED 1
#endif

/* The access log in the combined format. 540 */
#ifndef CONFIG_ACCESS_LOG
#define CONFIG_ACCESS_LOG 1
#endif

/* Logging to the system's log daemon. 390 */
#ifndef CONFIG_SYSLOG
#define CONFIG_SYSLOG 1
#endif

/* `trust`: clients as proxies in front tell of them, by X-Forwarded-For, Forwarded and the PROXY protocol. 3,730 */
#ifndef CONFIG_TRUST
#define CONFIG_TRUST 1
#endif

/* Names in the addresses of backends, looked up while running in /etc/hosts and by DNS. 5,220 */
#ifndef CONFIG_RESOLVE
#define CONFIG_RESOLVE 1
#endif

/* `forward`: a proxy for clients of this network, by CONNECT and by URL. 3,700 */
#ifndef CONFIG_FORWARD
#define CONFIG_FORWARD 1
#endif

/* Names of users and groups for `user`; without it only numbers are understood. 180 */
#ifndef CONFIG_USER_NAMES
#define CONFIG_USER_NAMES 1
#endif

/* Sleeping connections stand behind one epoll descriptor in the poll set; without it each is polled. 20 */
#ifndef CONFIG_EPOLL
#define CONFIG_EPOLL 1
#endif

/* TLS by BearSSL: `listen ... tls` and certificates.  93,690, and without its headers at hand this is 0. */
#ifndef CONFIG_TLS
#if defined __has_include
#if __has_include(<bearssl.h>)
#define CONFIG_TLS 1
#endif
#endif
#endif
#ifndef CONFIG_TLS
#define CONFIG_TLS 0
#endif

/* Certificates of clients: `client-ca`, and what it proved as SSL_CLIENT_* for programs. 2,540 */
#ifndef CONFIG_CLIENT_CERTS
#define CONFIG_CLIENT_CERTS 1
#endif

/* Older TLS: `listen ... tls legacy`, with AES in CBC and key exchange by RSA, for devices that know nothing newer.
 * 14,150, so it has to be asked for. */
#ifndef CONFIG_TLS_LEGACY
#define CONFIG_TLS_LEGACY 0
#endif

/* HTTPS to other servers: `proxy PATTERN https://...`, their certificates checked. 10,510 */
#ifndef CONFIG_TLS_CLIENT
#define CONFIG_TLS_CLIENT 1
#endif

/* -h tells of every word in a sentence, and -V of limits; without it -h names the manual. 3,340 */
#ifndef CONFIG_HELP
#define CONFIG_HELP 1
#endif

/* -t prints all that is in force, as lines of a configuration, besides the memory plan and what is wrong. 530 */
#ifndef CONFIG_SHOW
#define CONFIG_SHOW 1
#endif

/* Large files leave by sendfile; without it they are read and written. 130 */
#ifndef CONFIG_SENDFILE
#define CONFIG_SENDFILE 1
#endif

/* Invariants checked before each poll, and heads overwritten once nobody may look at them: for tests. */
#ifndef CONFIG_CHECKS
#define CONFIG_CHECKS 0
#endif

/* -- limits, in bytes or pieces -------------------------------------------------------------------- */

#define CLIENT_IN       8192    /* a request head must fit: long cookies are 4 KB */
#define CLIENT_OUT      13312   /* a response head, and a small file with it in one write; see struct lent */
#define USER_MOST       64      /* the name of a user, with `auth` */
#define CLIENT_LOG      640     /* a line of the access log, kept from head to end */
#define HANDLER_STATE   512     /* scratch of the handler in charge */
#define PEER_IN         16384   /* a backend's head must fit; more makes fewer reads of large answers */
#define PEER_OUT        16384   /* a request head as CGI variables: CLIENT_IN and their names */
#define FIELDS_MAX      100     /* fields of a request head */
#define RANGES_MAX      8       /* ranges in one request; with more the whole file is sent */
#define PATH_STORE      4096    /* a decoded path with what an index adds to it */
#define FILTERS_MAX     64      /* `header` and `expires` lines that can apply to one host */
#define CACHE_FILES     32      /* files kept open, besides one for each busy client */
#define BACKEND_RESTS   5000    /* milliseconds a backend is left alone after it could not be reached */
#define CACHE_NAME      152     /* a file's path below its root, to be kept open */
#define INDEX_MAX       8       /* names in an `index` line */
#define DISPATCH_MAX    10      /* rewrites, indexes and fallbacks that one request may pass through */
#define STEPS_MAX       16      /* steps of one connection before another has its turn */
#define ACCEPTS_MAX     8       /* connections taken in one turn from one listening socket */
#define LISTEN_MAX      16      /* listening sockets */
#define RESOLVERS_MAX   3       /* servers that are asked for names, one after the other */
#define FORWARD_PORTS   8       /* ports of a `forward` line */
#define QUERIES_MAX     8       /* names that are asked for at once */
#define PARK_AFTER      1000    /* milliseconds an idle connection keeps its place before it is parked */
#define HANDSHAKES_MAX  16      /* TLS handshakes under way at once; more wait, or take the place of a long one */
#define HANDSHAKES_TURN 2       /* steps of handshakes in a turn of the loop: each may take 20 ms of a small processor */
#define LINGER_BODY     65536   /* bytes of an unwanted body that are read to save the connection */
#define STATE_DIR       "/etc/cubhttpd" /* where the server keeps the key and certificate that it makes itself */
#define CLOCK_SINCE     1767225600      /* 2026-01-01: a clock that says less has not been set yet */

/* -- what old headers lack ------------------------------------------------------------------------- */

#include <sys/syscall.h>
#ifndef SYS_close_range
#define SYS_close_range -1              /* no such call: what was open before us goes on to programs */
#endif
#define CLOSE_ON_EXEC   0x4             /* for it */

#ifndef SYS_openat2
#define SYS_openat2     -1              /* no such call: paths are walked step by step */
#endif

#ifdef SYS_setresuid32                  /* where the plain ones know only 16 bits of an id */
#define CALL_SETGROUPS  SYS_setgroups32
#define CALL_SETRESGID  SYS_setresgid32
#define CALL_SETRESUID  SYS_setresuid32
#define CALL_SETUID     SYS_setuid32
#define CALL_FCHOWN     SYS_fchown32
#else
#define CALL_SETGROUPS  SYS_setgroups
#define CALL_SETRESGID  SYS_setresgid
#define CALL_SETRESUID  SYS_setresuid
#define CALL_SETUID     SYS_setuid
#define CALL_FCHOWN     SYS_fchown
#endif

#ifdef SYS_mmap2                        /* counts its offset in pages; that is 0 here */
#define CALL_MMAP       SYS_mmap2
#else
#define CALL_MMAP       SYS_mmap
#endif

#if defined SYS_newfstatat && defined __LP64__
#define CALL_FSTATAT    SYS_newfstatat
#else
#define CALL_FSTATAT    -1              /* its times have 32 bits: libc knows a way */
#endif

/* -- what the processor surely has, so that the linker may drop the code for those that lack it ------------------- */

#ifdef __x86_64__
#define SURELY_SSE2     true
#define MOSTLY_AES      true            /* what stands in for its instructions had better be small than fast */
#else
#define SURELY_SSE2     false
#define MOSTLY_AES      false
#endif
#ifdef __SIZEOF_INT128__
#define SURELY_INT128   true
#else
#define SURELY_INT128   false
#endif

/* Of a function that is worth being repeated wherever it is used: not where it is flash that is short. */
#ifdef __LP64__
#define INLINE          inline __attribute__((always_inline))
#else
#define INLINE          inline
#endif

/* -- what follows from them ------------------------------------------------------------------------ */

#define CONFIG_HTTPS    (CONFIG_TLS && CONFIG_PROXY && CONFIG_TLS_CLIENT)       /* backends may be asked by https */
#define CONFIG_LEGACY   (CONFIG_TLS && CONFIG_TLS_LEGACY)       /* older TLS may be asked for */
#define CONFIG_VERIFY   (CONFIG_TLS && CONFIG_CLIENT_CERTS)     /* chains of others are looked at */
#define CONFIG_GATEWAY  (CONFIG_FCGI || CONFIG_SCGI || CONFIG_CGI || CONFIG_PROXY || CONFIG_FORWARD)      /* some kind of backend is built in */
#define CONFIG_FIELDS   (CONFIG_HEADER || CONFIG_TLS)   /* lines set fields of responses */
#define CONFIG_GUARDS   (CONFIG_ALLOW || CONFIG_AUTH)   /* lines say who may ask */
#define CONFIG_RULES    (CONFIG_GATEWAY || CONFIG_REWRITE || CONFIG_FIELDS || CONFIG_GUARDS || CONFIG_LISTING)  /* lines have patterns */
#define CONFIG_CHILDREN (CONFIG_FCGI || CONFIG_SCGI || CONFIG_CGI)      /* programs are started */

#if CONFIG_FCGI != 0 && CONFIG_FCGI != 1
#error "CONFIG_FCGI is 0 or 1"
#endif

#if CONFIG_PROXY != 0 && CONFIG_PROXY != 1
#error "CONFIG_PROXY is 0 or 1"
#endif

#endif
