/* handshake.h - what tls.c and handshake.c share: a connection, and the two buffers of all of them
 *
 *   recv -> input -> handshake.c (BearSSL's engine) -> output -> send
 *                 -> tls.c (records)  <-> plain bytes
 */
#ifndef HANDSHAKE_H
#define HANDSHAKE_H

#include "tls.h"

#include "cert.h"

enum {
	HEADER = 5,                     /* of a record: type, version, length */
	PLAIN_MOST = 16384,             /* RFC 5246 6.2.1 */
	INPUT_MOST = HEADER + PLAIN_MOST + 325,         /* with what any cipher adds */
	ENGINE_IN = 512 + 325, ENGINE_OUT = 512 + 85,   /* the least BearSSL takes: its messages may be longer */
	TAG = 16,
	OVERHEAD = HEADER + 8 + TAG,    /* of a sealed record: header, nonce, tag */
	FILE_RECORD = 4096, FILE_RECORDS = 8,           /* plain bytes in a record of a file, and records in a call */
	OUTPUT_MOST = FILE_RECORDS * (FILE_RECORD + OVERHEAD),
	LEGACY_OVERHEAD = 37 + 5 + 20 + 16,     /* TLS 1.0, the most: a record for the first byte; header, MAC, padding */
	CHANGE_CIPHER = 20, ALERT = 21, HANDSHAKE = 22, DATA = 23,      /* types of records */
	WARNING = 1, FATAL = 2,
	PLACE_KEPT = 1000,              /* milliseconds that a handshake has its place for certain */
	VAIN_MOST = 32,                 /* openssl has as many */
	SESSIONS_LOOKED = 64,           /* for one, however many are kept */
};

enum state { NEW, GREETING, OPEN, CLOSED, FAILED };     /* CLOSED: we said close_notify */

struct legacy {                         /* beside struct tls when the suite is one of AES in CBC, which take twice as much */
	union { const br_sslrec_in_class *class; br_sslrec_in_cbc_context cbc; } in;
	union { const br_sslrec_out_class *class; br_sslrec_out_cbc_context cbc; } out;
	unsigned char spill[LEGACY_OVERHEAD];
};

struct tls {                            /* all that is kept of a connection between two events */
	union {
		const br_sslrec_in_class *class;
		br_sslrec_gcm_context gcm;
		br_sslrec_chapol_context chapol;
	} in;
	union {
		const br_sslrec_out_class *class;
		br_sslrec_gcm_context gcm;
		br_sslrec_chapol_context chapol;
	} out;
	struct place *place;            /* while GREETING */
	uint8_t state;
	bool backend;                   /* the other side is the server */
	bool cut;                       /* a backend that ended without saying so: what came may not be all */
	bool fin;                       /* the other side sends no more, but not all has been passed on */
	bool legacy : 1;                /* older versions and suites will do */
	bool cbc : 1;                   /* the keys are in its struct legacy */
	uint8_t vain;                   /* records in a row that brought nothing */
	uint16_t next;                  /* of the free ones; while a handshake waits for a step, its number in the queue */
	uint16_t pending;               /* what was put aside; 0: nothing */
	uint16_t version, suite;
	uint16_t proof;                 /* what the client's certificate has proved */
	uint16_t most;                  /* plain bytes in a record that we send */
	uint8_t spill_n;                 /* what of a sealed record found no room in stream.out goes before it */
	unsigned char spill[OVERHEAD];
};

struct place {                          /* a handshake under way */
	struct tls *tls;                /* NULL: free */
	int fd;
	int64_t since;
	uint32_t name;                  /* a hash of what the client asked for */
	struct conf *conf;              /* whose `client-ca` the client is asked by; held */
	const br_ssl_server_policy_class *policy;       /* offer.c's, what BearSSL asks it by */
	const struct identity *identity;        /* what the client is shown */
	union { br_ssl_server_context server; br_ssl_client_context client; };  /* the engine is the first part of both */
	unsigned char in[ENGINE_IN], out[ENGINE_OUT];
};

struct session {                        /* what a client that comes again need not agree upon anew */
	uint32_t used;                  /* when, in the order of uses; 0: never */
	uint16_t version, suite;
	unsigned char key[32], master[48];
};

extern struct input {                   /* of `owner`: plain bytes not passed on yet, then bytes as received */
	struct tls *owner;
	unsigned plain, plain_n, raw, raw_n;
	unsigned char bytes[INPUT_MOST];
} input;

extern struct output { unsigned from, n; unsigned char bytes[OUTPUT_MOST]; } output;

struct legacy *legacy_of(const struct tls *);   /* of one that is `legacy` */

static inline unsigned
uint16_at(const unsigned char *p)
{
	return net16(load2((const char *)p));
}

/* -- tls.c ------------------------------------------------------------------------------------------------- */

/* Send n bytes; what the kernel would not take of them stays in stream.out, in the place of the `plain` bytes that they
 * were made of, which are then used up. */
void send_or_keep(struct stream *, const unsigned char *, unsigned n, unsigned plain);
/* It cannot go on: an alert and a line in the log say why, and what still comes is read and dropped. */
void tls_fail(struct stream *, unsigned alert, const char *why);
void tls_refused(struct stream *, unsigned alert);      /* the client has said that it cannot go on */
void tls_broken(struct stream *);       /* what still comes from a client is read; a backend is given up */
const char *other_side(const struct tls *);     /* "client" or "backend" */

/* -- handshake.c ------------------------------------------------------------------------------------------- */

/* Go on with what has come; false when nothing came of it.  Once both sides are done, keys are in tls and it is OPEN. */
bool handshake(struct stream *);
void place_free(struct tls *);          /* unless it has none */
struct place *place_for(struct stream *);       /* one for its tls, which is GREETING from now on */
unsigned tls_client_places(void);       /* how many of the places, the first ones, are for clients */
const char *alert_name(unsigned code);
extern bool tls_https;                  /* the pools have room for backends at https */

/* -- offer.c ----------------------------------------------------------------------------------------------- */

void engine_setup(struct place *);      /* what both sides of a handshake offer */
extern const br_ssl_server_policy_class policy_class;   /* what a server answers, for a place's `policy` */
struct place *place_around(const br_ssl_server_context *);
const char *suite_name(unsigned id, bool legacy);       /* NULL: not one of ours */

#endif
