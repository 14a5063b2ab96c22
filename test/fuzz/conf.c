/* Configurations: read, or refused with a sentence, and released without a trace. */
#include "fuzz.h"

#include <sys/mman.h>

__attribute__((weak)) void __sanitizer_set_report_fd(void *);

/* Mistakes are told on stderr: not to be seen here, but a sanitizer's report is.  And `include *` finds the descriptors
 * beside that of the configuration, of which none may wait for somebody to type. */
static void
silence(void)
{
	int report = dup(2), nowhere = open("/dev/null", O_RDWR);

	if (__sanitizer_set_report_fd)
		__sanitizer_set_report_fd((void *)(intptr_t)report);
	for (int fd = 0; fd < 3; fd++)
		dup2(nowhere, fd);
	close(nowhere);
}

static void
conf_holds(const struct conf *cf)
{
	HOLDS(cf->hosts && !cf->hosts->nnames && cf->nlisten <= LISTEN_MAX && cf->users == 1);
	for (const struct host *h = cf->hosts; h; h = h->next) {
		HOLDS(h->nindex <= INDEX_MAX && (h == cf->hosts || h->nnames));
		for (const struct rule *r = h->routes; r; r = r->next)
			HOLDS(r->kind <= R_REWRITE);
		for (const struct rule *r = h->filters; r; r = r->next)
			HOLDS(r->kind >= R_ALLOW && r->kind <= R_ERROR);
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static bool silent;
	char path[32], *words[] = { (char[]){ "cubhttpd" }, (char[]){ "-f" }, path, NULL };
	int fd = memfd_create("conf", MFD_CLOEXEC);
	struct conf *cf;

	if (!silent)
		silence();
	silent = true;
	HOLDS(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	sprintf(path, "/proc/self/fd/%d", fd);
	cf = memmem(data, n, "/dev/", 5) ? NULL : conf_read(3, words);  /* an include of what never ends */
	close(fd);
	if (cf) {
		conf_holds(cf);
		conf_release(cf);
	}
	return 0;
}
