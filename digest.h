/* digest.h - MD5 and SHA-2, for passwords and for TLS */
#ifndef DIGEST_H
#define DIGEST_H

#include "base.h"

enum { DIGEST_MOST = 64, DIGEST_BLOCK = 128 };

struct algorithm {
	void (*mix)(uint64_t state[8], const unsigned char *block);
	const uint64_t *start;          /* of the state: for words of 32 bits their upper halves */
	uint8_t block, size;            /* bytes of a block, of the result */
	uint8_t word;                   /* bytes of a word */
	bool little;                    /* words begin with their lowest byte */
};

extern const struct algorithm md5, sha256, sha384, sha512;

struct digest {
	const void *owner;              /* whoever needs to know it again: sha2.c */
	uint64_t n;                     /* bytes so far */
	uint64_t state[8];
	unsigned char block[DIGEST_BLOCK];
};

void digest_begin(struct digest *, const struct algorithm *);
void digest_add(struct digest *, const struct algorithm *, const void *, size_t n);
/* size bytes, which may lie where what was added last lies. */
void digest_end(struct digest *, const struct algorithm *, unsigned char *to);
/* The first n bytes of the state between two blocks, and going on from there after n bytes. */
void digest_state(const struct digest *, const struct algorithm *, unsigned char *to, unsigned n);
void digest_go_on(struct digest *, const struct algorithm *, const unsigned char *state, uint64_t n);

#endif
