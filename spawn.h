/* spawn.h - programs that stay: FastCGI and SCGI backends that this server starts, keeps and ends
 *
 *   a line of the configuration: struct spawn --.--> struct spawned, one process --> backend of the route
 *                                               `--> struct spawned ...
 *
 * Each process has a socket of its own and is one backend with one connection, so that none waits behind another that
 * is idle.
 */
#ifndef SPAWN_H
#define SPAWN_H

#include "child.h"

struct spawned {                        /* a place for one process */
	struct child child;
	struct spawn *by;
	struct backend *backend;
	int at;                         /* its socket, to dial: nothing is left in a folder */
	bool answered;                  /* a request, since it was started */
	unsigned failures;              /* how often in a row it ended without having done so */
	int64_t used;                   /* when a request took it last */
};

struct spawn {
	char **argv;
	const struct run *run;
	unsigned most, least;           /* processes at once; those that are kept when nobody asks */
	unsigned idle;                  /* seconds until one of the others ends */
	const struct host *host;        /* that the line belongs to, with its `env` */
	struct conf *conf;              /* held by each process that runs */
	struct spawned *place;          /* most of them */
	struct spawn *next;
};

/* The process for a request: one that runs, or one that may be started, or one that rests, when all end as soon as they
 * are started.  NULL: all are in use, or about to end. */
struct backend *spawn_choose(const struct spawn *);
bool spawn_ready(struct backend *);     /* it runs, or is started now: may be dialled */
bool spawn_ends(const struct backend *);        /* wait: it is ending, and will be told by `again` of the connection */
/* It has hung up, which means that it is ending, or it does not listen: it is made to end.  False when it has. */
bool spawn_end(struct backend *);
void spawn_keep(void);                  /* start those that are to be there always */
int64_t spawn_due(void);                /* when that is to be asked again, INT64_MAX for never */
void spawn_drop(const struct conf *);   /* end those of a configuration that is no longer in force, as they get free */
unsigned spawn_plan(struct pollfd *);   /* what they write to stderr: one descriptor, or none */
void spawn_take(const struct pollfd *, unsigned n);
unsigned spawn_most(const struct conf *);       /* processes */

#endif
