/* forward.h - the way out, for clients that use this server as their proxy */
#ifndef FORWARD_H
#define FORWARD_H

#include "gateway.h"

/* A CONNECT, or a request for a URL: PASS when this client may not, or the URL is one of ours; else as dispatch(). */
int forward(struct conn *, struct request *);
/* May a client of this route, which is one of ours, go to this address? */
bool forward_lets(const struct rule *route, const struct addr *);
struct span forward_pseudonym(void);    /* our name in Via */
extern const struct handler connect_handler;
extern struct pool target_pool;

#endif
