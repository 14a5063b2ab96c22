/* scgi.c - SCGI 1: the head as one netstring, then the body; the answer ends with the connection
 *
 *   "617:" "CONTENT_LENGTH" 0 "5" 0 "SCGI" 0 "1" 0 "REQUEST_METHOD" 0 "POST" 0 ... "," hello      ->
 *   <-   Status: ... head and body, up to the end of the connection
 *
 * What stands first is known last, when the body has to be spooled: the variables leave a gap before them, which its
 * beginning is written into once the length is there.
 */
#include "gateway.h"

enum { GAP = 48 };                      /* "65535:", CONTENT_LENGTH and its NUL, twenty digits and theirs */

static void
scgi_head(struct conn *c, const struct request *r, const struct script *s, struct buf *to)
{
	buf_reserve(to, GAP);
	put_pair(to, PAIRS_ENDED, SPAN("SCGI"), SPAN("1"));
	cgi_variables(c, r, s, to, PAIRS_ENDED);
}

/* The buffer then begins where the head does, so that it can be said again from there. */
static void
scgi_length(struct buf *to, bool body, uint64_t length)
{
	char digits[24], store[GAP];
	struct buf value = { digits, 0, 0, sizeof digits, false }, front = { store, 0, 0, sizeof store, false };
	const struct span name = SPAN("CONTENT_LENGTH");
	unsigned unused;

	buf_uint(&value, body ? length : 0);
	buf_uint(&front, to->w - GAP + name.n + 1 + value.w + 1);
	buf_char(&front, ':');
	put_pair(&front, PAIRS_ENDED, name, (struct span){ digits, value.w });
	buf_char(to, ',');
	if (to->bad)
		return;
	unused = GAP - front.w;
	copy(to->data + unused, store, front.w);
	to->data += unused;
	to->size -= unused;
	to->w -= unused;
}

const struct dialect scgi_dialect = {
	"scgi", scgi_head, scgi_length, until_eof_next, raw_put, .share = FOR_SCRIPTS, .whole = until_eof_whole,
};

static int
scgi_start(struct conn *c, struct request *r)
{
	struct script s;
	int status = script_find(c, r, &s);

	return status ? status : gateway_start(c, r, &s, &scgi_dialect);
}

const struct handler scgi_handler = { "scgi", scgi_start, gateway_push, gateway_pull, gateway_finish };
