/* aes.h - AES-128 in counter mode, and GHASH, in the form that BearSSL asks for; only for amd64 */
#ifndef AES_H
#define AES_H

#include "base.h"

#include <bearssl.h>

bool aes_here(void);                    /* the processor has instructions for both */
extern const br_block_ctr_class aes_fast_class, aes_slow_class;
void ghash_fast(void *y, const void *h, const void *data, size_t n);
void ghash_slow(void *y, const void *h, const void *data, size_t n);

#endif
