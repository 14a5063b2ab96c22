/* pool.c - all memory, decided before the first accept
 *
 * Each room that needs memory while running has a struct pool; here they are counted, compared with the ceiling and
 * mapped in one piece.  The kernel gives pages as they are touched, so what is never used costs nothing.
 */
#include "forward.h"
#include "tls.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static struct pool *const pools[] = {   /* the first begins on a page */
	&lent_pool, &conn_pool, &park_pool, CONFIG_GATEWAY ? &peer_pool : NULL, CONFIG_GATEWAY ? &peer_lent_pool : NULL,
	CONFIG_FORWARD ? &target_pool : NULL,
	&cache_pool, &set_pool, &owner_pool,
	CONFIG_TLS ? &tls_pool : NULL, CONFIG_TLS ? &tls_place_pool : NULL, CONFIG_TLS ? &tls_pending_pool : NULL,
	CONFIG_TLS ? &tls_session_pool : NULL, CONFIG_LEGACY ? &tls_legacy_pool : NULL,
	CONFIG_VERIFY || CONFIG_HTTPS ? &verifier_pool : NULL, CONFIG_VERIFY ? &proof_pool : NULL,
};

enum { POOLS = sizeof pools / sizeof *pools, LINE = 16 };

/* Each pool begins on a line of the processor's cache. */
static uint64_t
bytes(const struct pool *p, const struct conf *cf)
{
	return ((uint64_t)p->size * p->count(cf) + LINE - 1) / LINE * LINE;
}

/* Buffers that are there once for all connections; the linker knows where they begin and end. */
static uint64_t
shared(void)
{
	extern char edata[], end[];

	return (uintptr_t)end - (uintptr_t)edata;
}

uint64_t
pool_plan(const struct conf *cf, struct buf *print)
{
	uint64_t sum = shared();

	if (print)
		buf_print(print, "# shared buffers: %llu\n", (unsigned long long)sum);

	for (unsigned i = 0; i < POOLS; i++) {
		if (!pools[i])
			continue;
		sum += bytes(pools[i], cf);
		if (print)
			buf_print(print, "# %s: %u of %lu bytes, %llu\n", pools[i]->name, pools[i]->count(cf),
			    (unsigned long)pools[i]->size, (unsigned long long)bytes(pools[i], cf));
	}
	if (print)
		buf_print(print, "# in all %llu bytes at the most\n", (unsigned long long)sum);
	if (!cf->memory || sum <= cf->memory)
		return sum;
	log_line(LOG_ERROR, "the memory plan of %llu bytes is above 'memory': lower 'clients' or 'scripts'",
	    (unsigned long long)sum);
	return 0;
}

bool
pool_map(const struct conf *cf)
{
	uint64_t sum = pool_plan(cf, NULL);
	char *at;

	if (!sum)
		return false;
	sum -= shared();
	at = sum > SIZE_MAX / 2 ? NULL : call_map(sum, MAP_NORESERVE);
	if (!at) {
		log_line(LOG_ERROR, "no memory for %llu bytes of pools: %s", (unsigned long long)sum, error_text(errno));
		return false;
	}
	for (unsigned i = 0; i < POOLS; i++) {
		if (!pools[i])
			continue;
		pools[i]->at = at;
		pools[i]->n = pools[i]->count(cf);
		at += bytes(pools[i], cf);
	}
	return true;
}
