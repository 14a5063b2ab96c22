/* tls.h - encrypted connections: what the others see of tls.c, without BearSSL's headers
 *
 *   stream.in  <- tls_read  <- records <- recv
 *   stream.out -> tls_write -> records -> send
 *
 * A stream with `tls` is read and written through here; everybody above it sees plain bytes.
 */
#ifndef TLS_H
#define TLS_H

#include "httpd.h"

/* Look at the library and the processor; false, with a line in the log, when this is not the BearSSL it was built for. */
bool tls_open(void);
bool tls_fits(const struct conf *);     /* on reload: the memory for what it says is there; else a line in the log */
void tls_turn(void);                    /* a turn of the loop begins: handshakes have their share again */
/* For a connection that nothing was read from; there is always one.  Legacy: older versions and suites will do. */
struct tls *tls_new(bool legacy);
uint16_t tls_number(struct tls *);      /* of one that is not busy, for whoever has 16 bits to keep; never 0 */
struct tls *tls_at(uint16_t number);
int64_t tls_due(void);                  /* when those who are `crowded` may have a place */

/* The same contracts as stream_read and stream_write, for a stream that has a `tls` and is connected. */
bool tls_read(struct stream *);
bool tls_write(struct stream *);
enum io tls_sendfile(struct stream *, int fd, off_t *at, uint64_t n);   /* as stream_sendfile */
void tls_shut(struct stream *);         /* say close_notify, as well as that can be done now */
void tls_close(struct stream *);        /* that, unless the stream is dead, and the end of stream.tls */
void tls_hang_up(uint16_t number, int fd);      /* the same for a sleeper; the descriptor is left open */
/* A handshake or a record is under way, or plain bytes found no room: the connection is not idle. */
bool tls_busy(const struct tls *);
struct span tls_protocol(const struct tls *);   /* "TLSv1.2", or older */
struct span tls_cipher(const struct tls *);     /* "ECDHE-ECDSA-CHACHA20-POLY1305" */
extern struct pool tls_pool, tls_place_pool, tls_pending_pool, tls_session_pool,
    tls_legacy_pool;

/* The stream is to speak TLS, as a client, to the backend of this URL; nothing is sent before it has proved to be that, by
 * what is asked of it. */
void tls_dial(struct stream *, const struct conf *, const struct secure *, struct span url);
uint16_t tls_proof(const struct tls *); /* what the client has proved; 0: nothing */

/* -- verify.c: certificates of clients -------------------------------------------------------------------- */

struct span proof_state(uint16_t);      /* NONE, SUCCESS or FAILED:why */
struct span proof_name(uint16_t);       /* CN=Joe,O=Example; p is NULL when nothing was proved */
struct span proof_fingerprint(uint16_t, char store[64]);        /* SHA-256 of the certificate, in hex; p as above */
void proof_free(uint16_t);
extern struct pool verifier_pool, proof_pool;

/* -- certificate.c, selfmade.c: what a server proves itself with (see cert.h) ------------------------------------ */

/* Read what the lines of cf name; what cannot be used is told, and the one of `old` stays in its place.  Where there is
 * none at all, one is made. */
void certificates_open(struct conf *cf, const struct conf *old);
void certificates_close(struct conf *); /* nobody asks by this configuration again */
void certificates_check(void);          /* have files changed, has time passed? */
extern int64_t certificates_due;        /* when that is to be asked again; INT64_MAX: never */
void certificate_warn(const struct credential *, struct buf *to);       /* for -t: what is wrong with it, if anything */
int selfmade_command(const char *dir);  /* --make-certificate, in `state` when dir is NULL; the exit status */

#endif
