/* auth.h - who may: passwords, and the hashes they are kept as
 *
 *   route.c --guard--> auth_check() --remembered?--> yes
 *                           |
 *                           `--> login_of_file() --> hash_begin(), hash_work() ... --> yes, or no in a while
 */
#ifndef AUTH_H
#define AUTH_H

#include "httpd.h"

/* -- hash.c: what is kept in place of passwords ---------------------------------------------------------- */

enum {
	PASSWORD_MOST = 128,            /* bytes of a password */
	HASH_MOST = 160,                /* of its hash, with everything before it */
};

/* What a new hash begins with: the best kind, and a salt of its own.  False when the kernel gives no random numbers. */
bool hash_setting(struct buf *to);
/* Append what crypt(3) makes of a password with the kind, rounds and salt that `setting` begins with, which may be a
 * hash.  False when this build does not know the kind, or the password is too long. */
bool password_hash(struct buf *to, struct span password, struct span setting);
/* The same in pieces, one hash at a time.  The setting has to hold until the end; whoever begins another forgets it. */
void hash_begin(struct span password, struct span setting);
bool hash_work(int64_t until);          /* by clock_now(), or a moment longer; true when there is no more to do */
bool hash_end(struct buf *to);          /* as password_hash; to NULL: nobody wants it any more */

/* -- bcrypt.c: $2y$ ------------------------------------------------------------------------------------------ */

bool bcrypt_begin(struct span password, struct span setting);   /* false when it is malformed */
bool bcrypt_step(void);                 /* a millisecond at the most on what is slow; false when it was the last */
void bcrypt_end(struct buf *to, struct span setting);           /* to may be NULL */

/* -- users.c: where users and their hashes are kept ------------------------------------------------------ */

struct login {
	bool found;                     /* and may come in, if the password is right */
	struct span hash;               /* empty: no password is right */
	char decoy[HASH_MOST];          /* the first hash of the file, to be worked out for users who have none */
	unsigned decoy_n;
	struct span rest;               /* users.c's: of the line */
	char store[TEXT_LINE];
};

/* False, with a line in the log, when the file cannot be read.  No password is right for an account of the system that
 * is locked, has expired, or has no password or no shell. */
bool login_of_file(const char *path, struct span user, struct login *);
bool login_of_system(const char *passwd, const char *shadow, struct span user, struct login *);

/* -- auth.c: who may ask --------------------------------------------------------------------------------- */

/* Holds what an Authorization or Proxy-Authorization field says against an `auth` line.  0, and the user in c->lent; the
 * status `refusal`, and a challenge that goes out with it; LATER, and when in c->since; 429, 500 or 503. */
int auth_check(struct conn *, const struct rule *, struct span credentials, int refusal);
void auth_challenge(struct conn *);     /* the field that goes with a refusal */
void auth_flush(void);                  /* forget whose password was right, and whose wrong, on reload */
/* "Basic" and base64 of "user:password" into to, and where both are in it; false for anything else. */
bool auth_basic(struct span field, struct buf *to, struct span *user, struct span *password);

#endif
