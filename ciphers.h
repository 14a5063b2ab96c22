/* ciphers.h - ciphers in the form that BearSSL asks for, for processors where they can be smaller than its own */
#ifndef CIPHERS_H
#define CIPHERS_H

#include "base.h"

#include <bearssl.h>

/* -- aes.c: AES-128 in counter mode, and GHASH; only on amd64 ------------------------------------------------------- */

bool aes_here(void);                    /* the processor has instructions for both */
extern const br_block_ctr_class aes_fast_class, aes_slow_class;
void ghash_fast(void *y, const void *h, const void *data, size_t n);
void ghash_slow(void *y, const void *h, const void *data, size_t n);

/* -- poly1305.c: where there are numbers of 128 bits, their lowest byte first ---------------------------------------- */

void chapol(const void *key, const void *iv, void *data, size_t n, const void *aad, size_t aad_n, void *tag,
    br_chacha20_run, int encrypt);

#endif
