/* resolve.h - names of other servers, and how they become addresses
 *
 *   struct name --name_want--> /etc/hosts, or a question to the resolver --> its backends have addresses
 *
 * Nobody waits for an answer but the requests that need it: the loop goes on.  A name is as many backends in a row as it
 * may have addresses; those that stand for none rest for ever, so whoever chooses among backends passes them over.
 */
#ifndef RESOLVE_H
#define RESOLVE_H

#include "conf.h"

enum { NAME_MOST = 253, NAME_ADDRS = 4 };

struct name {
	struct name *next;              /* being asked for, in the order of asking */
	struct span host;               /* without port */
	uint16_t port;                  /* network order */
	bool asking;
	bool failed;                    /* the last time; what was known before stays in force */
	uint8_t failures;               /* in a row */
	int64_t until;                  /* when to ask again */
	struct backend *backends;       /* NAME_ADDRS of them */
};

/* -- resolve.c ------------------------------------------------------------------------------------- */

bool name_host(struct span);            /* it may be the name of a host */
/* "HOST:PORT" where HOST is a name: true, with host and port set. */
bool name_parse(struct name *, const char *text);
void name_begin(struct name *, struct backend *, const char *text);     /* NAME_ADDRS, cleared, become its own */
void name_want(struct name *);          /* it is going to be used: ask for it, if the time has come */
void name_forget(struct name *);        /* nobody wants to know any more */
bool names_asking(const struct backend *);      /* one of this row is being asked for */
void resolve_all(const struct conf *);  /* every name in it, at the start */
unsigned resolve_plan(struct pollfd *set, int64_t *due);        /* at most QUERIES_MAX */
bool resolve_run(const struct pollfd *set, unsigned n);         /* true: some name has been settled, well or not */

/* -- dns.c: grammar only ----------------------------------------------------------------------------- */

enum { DNS_A = 1, DNS_AAAA = 28, DNS_QUESTION = 12 + NAME_MOST + 2 + 4 };
enum dns { DNS_OTHER, DNS_FAILED, DNS_NONE, DNS_FOUND };
struct found { unsigned n; uint32_t ttl; struct from ip[NAME_ADDRS]; };

/* The bytes of a question; 0 when it is no name. */
unsigned dns_question(char to[DNS_QUESTION], uint16_t id, struct span name, unsigned type);
/* DNS_OTHER: not to this question.  DNS_FAILED: another server may know.  DNS_NONE: no such name or address. */
enum dns dns_answer(const char *, unsigned n, const char *question, unsigned question_n, struct found *);

#endif
