/* Paths: the result keeps every promise, is a fixed point, and the fast way through a request agrees with it. */
#include "fuzz.h"

static struct request r, again;
static char text[PATH_STORE * 8];

static void
by_request(struct span path, int status)
{
	struct buf b = { text, 0, 0, sizeof text, false };
	unsigned seen = 0;
	int whole;

	for (unsigned i = 0; i < path.n; i++)
		if ((unsigned char)path.p[i] <= ' ' || strchr("#?\x7f", path.p[i]))
			return;
	if (!path.n || *path.p != '/')
		return;
	buf_text(&b, "GET ");
	buf_span(&b, path);
	buf_text(&b, "?/../%00 HTTP/1.0\r\n\r\n");
	if (b.bad)
		return;
	HOLDS(head_length(b.data, b.w, &seen) == b.w);
	whole = request_parse(&again, b.data, b.w);
	HOLDS(whole == status);
	HOLDS(whole || span_eq(again.path, r.path));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *copy = exactly(data, n);
	struct span path = { copy, (unsigned)n };
	struct buf b = { text, 0, 0, sizeof text, false };
	int status = request_path(&r, path);

	HOLDS(status == 0 || status == 400 || status == 414);
	by_request(path, status);
	if (!status) {
		path_holds(&r);
		buf_url(&b, r.path);
		HOLDS(!b.bad);
		status = request_path(&again, (struct span){ text, b.w });
		HOLDS(status == 414 ? b.w > PATH_STORE - 2 : !status && span_eq(again.path, r.path));
	}
	free(copy);
	return 0;
}
