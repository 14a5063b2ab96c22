/* child.h - programs that this server starts: scripts, backends of its own, resolvers
 *
 *   child_start() --> runs --> ended(): its status is known, its process is gone
 *                      `--> late(): `due` has passed; child_stop() asks its whole group to end, and then makes it
 *
 * Whoever starts one keeps its struct child until ended() has been called.
 */
#ifndef CHILD_H
#define CHILD_H

#include "conf.h"

struct child {
	pid_t pid;                      /* of the process and its group; 0: none, or it has ended */
	int status;                     /* as of wait(2), once it has ended */
	int64_t due;                    /* when late() is called, on the clock of `now`; 0: never */
	void (*ended)(struct child *);
	void (*late)(struct child *);   /* may be NULL while due is 0 */
	bool stopping;
	bool resident;                  /* ends when the server does, however that ends */
	struct child *next;
};

struct program {                        /* what to start, and how */
	const char *path;               /* executed as it stands: PATH is not searched */
	char *const *argv, *const *envp;
	const char *dir;                /* the folder to work in; NULL: ours */
	int fd[3];                      /* become 0, 1 and 2, and nothing else of ours is there; -1: the same as ours */
	const struct run *run;          /* limits and account; NULL: as we are */
};

/* Start it in a group of its own, without our terminal, with signals as a program expects them.  False with errno, also
 * that of execve(2): nothing runs. */
bool child_start(struct child *, const struct program *);
/* Ask the group of one that still runs to end (SIGTERM), and make it (SIGKILL) when it has not after a moment, or when
 * its first process has ended and others have not. */
void child_stop(struct child *);
void child_leave(void);                 /* the server ends: so do residents, and who was asked to is waited for */
void child_reap(void);                  /* after SIGCHLD: ended() of those that have */
int64_t child_due(void);                /* when the next one's time is over, INT64_MAX for never */
void child_expire(void);                /* late() of those whose time is over */

/* The pipe for their stderr, which is made once and kept: 0 is read here, 1 is theirs; zeros: none yet.  False with
 * errno. */
bool child_errors(int fd[2]);
void child_tells(int fd, struct span who);      /* some of what is in it goes to the log */

#endif
