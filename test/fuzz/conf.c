/* Configurations: read, or refused with a sentence, and released without a trace. */
#include "fuzz.h"

#include <stdlib.h>

__attribute__((weak)) void __sanitizer_set_report_fd(void *);

/* Mistakes are told on stderr: not to be seen here, but a sanitizer's report is. */
static void
silence(void)
{
	int report = dup(2), nowhere = open("/dev/null", O_WRONLY);

	if (__sanitizer_set_report_fd)
		__sanitizer_set_report_fd((void *)(intptr_t)report);
	dup2(nowhere, 2);
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

/* A folder of its own: `include *` is not to find /proc/self/fd, where pipes wait for somebody to write. */
static char folder[] = "/tmp/cubhttpd-fuzz.XXXXXX", path[sizeof folder + 5];

static void
leave(void)
{
	unlink(path);
	rmdir(folder);
}

static void
begin(void)
{
	silence();
	HOLDS(mkdtemp(folder) && atexit(leave) == 0);
	sprintf(path, "%s/conf", folder);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *words[] = { (char[]){ "cubhttpd" }, (char[]){ "-f" }, path, NULL };
	struct conf *cf;
	int fd;

	if (!*path)
		begin();
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	HOLDS(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	cf = memmem(data, n, "/dev/", 5) ? NULL : conf_read(3, words);  /* an include of what never ends */
	close(fd);
	if (cf) {
		conf_holds(cf);
		conf_release(cf);
	}
	return 0;
}
