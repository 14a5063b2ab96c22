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

/* Written from its end to its beginning.  The buffer then begins where the head does, so that it can be said again from
 * there. */
static void
scgi_length(struct buf *to, bool body, uint64_t length)
{
	static const char name[] = "CONTENT_LENGTH";
	char *const end = to->data + GAP, *at;

	if (to->bad)
		return;
	at = end - 1;
	*at = '\0';
	at = uint_before(at, body ? length : 0) - sizeof name;
	memcpy(at, name, sizeof name);
	*--at = ':';
	at = uint_before(at, to->w - (unsigned)(at + 1 - to->data));
	to->w -= (unsigned)(at - to->data);
	to->size -= (unsigned)(at - to->data);
	to->data = at;
	buf_char(to, ',');
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
