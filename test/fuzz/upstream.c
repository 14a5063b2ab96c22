/* Answers of HTTP servers, heads and bodies: whatever the cut, the same answer to the client or the same refusal, and what
 * goes on is HTTP by the letter.  The first byte of the input is the cut, the second says what was asked. */
#include "fuzz.h"
#include "gateway.h"

enum { SIZE_MOST = 60000 };

struct told { enum io io; bool tunnel, keeps; unsigned status, n, taken; char bytes[1 << 18]; };

static struct conn conn;
static struct peer peer;
static struct lent lent;
static char client_out[CLIENT_OUT];
static struct peer_lent peer_lent;

/* As gateway_start leaves it. */
static void
begin(unsigned char asked)
{
	static struct backend backend = { .text = "http://10.0.0.1:8080/v1/" };
	static const struct rule rule = { .kind = R_PROXY, .pattern = { MATCH_BELOW, SPAN("/api/") }, .value = SPAN("/v1/"),
		.backends = &backend };
	static const struct host host;
	struct gateway *g;

	memset(&conn, 0, sizeof conn);
	memset(&peer, 0, sizeof peer);
	conn.lent = &lent;
	conn.peer = &peer;
	conn.route = &rule;
	conn.host = &host;
	conn.handler = &proxy_handler;
	conn.phase = EXCHANGE;
	conn.keep = true;
	conn.chunks = asked & 1;
	conn.head_only = asked & 2;
	conn.up.done = true;
	conn.client = (struct stream){ .fd = -1, .in = { lent.in, 0, 0, sizeof lent.in, false },
		.out = { client_out, 0, 0, sizeof client_out, false } };
	peer.s = (struct stream){ .fd = -1, .in = { peer_lent.in, 0, 0, sizeof peer_lent.in, false },
		.out = { peer_lent.out, 0, 0, sizeof peer_lent.out, false } };
	peer.backend = &backend;
	g = STATE(&conn, gateway);
	memset(g, 0, sizeof *g);
	g->dialect = &proxy_dialect;
	g->spool = -1;
	g->down = (struct relay){ .next = until_eof_next, .limit = UINT64_MAX };
	g->upgrade_n = asked & 4 ? 4 : 0;
	memcpy(g->upgrade, "echo", 4);
	g->host_n = 4;
	memcpy(g->host, "test", 4);
}

static void
drain(struct told *to)
{
	struct buf *out = &conn.client.out;

	HOLDS(to->n + buf_used(out) <= sizeof to->bytes && !out->bad);
	memcpy(to->bytes + to->n, out->data + out->r, buf_used(out));
	to->n += buf_used(out);
	buf_take(out, buf_used(out));
}

static enum io
step(struct told *to)
{
	struct gateway *g = STATE(&conn, gateway);
	enum io io;

	drain(to);
	if (conn.tunnel)
		return IO_DONE;
	io = g->headed ? relay(&g->down, &peer.s.in, &conn.client.out) : answer_head(&conn);
	if (io == IO_WAIT && buf_used(&conn.client.out))
		io = IO_MOVED;
	return io;
}

static void
answer(const char *p, unsigned n, unsigned cut, unsigned char asked, struct told *to)
{
	struct buf *in = &peer.s.in;
	enum io io = IO_WAIT;
	unsigned at = 0;

	begin(asked);
	*to = (struct told){ .io = IO_WAIT };
	do {
		unsigned k = n - at < cut ? n - at : cut;

		if (in->r && buf_room(in) < k)
			buf_pack(in);
		k = k < buf_room(in) ? k : buf_room(in);
		buf_mem(in, p + at, k);
		at += k;
		STATE(&conn, gateway)->down.body.ended = at == n;
		while ((io = step(to)) == IO_MOVED)
			;
		HOLDS(k || io != IO_WAIT || at < n);
	} while (io == IO_WAIT);
	drain(to);
	to->io = io;
	to->tunnel = conn.tunnel;
	to->status = conn.status;
	to->taken = at - buf_used(in);
	to->keeps = io == IO_DONE && !STATE(&conn, gateway)->closes;
}

/* Each head that goes on, interim ones too, has a status line, fields and an empty line, and nothing else. */
static void
check_heads(const struct told *t)
{
	struct span rest = { t->bytes, t->n }, line;
	unsigned status;

	do {
		unsigned lengths = 0, codings = 0;

		line = span_cut(&rest, '\n');
		HOLDS(line.n >= 14 && span_starts(line, SPAN("HTTP/1.1 ")) && line.p[line.n - 1] == '\r');
		status = (line.p[9] - '0') * 100 + (line.p[10] - '0') * 10 + line.p[11] - '0';
		while ((line = span_cut(&rest, '\n')).n > 1) {
			struct span value = { line.p, line.n - 1 }, name = span_cut(&value, ':');

			HOLDS(line.p[line.n - 1] == '\r' && name.n && name.n < line.n - 1);
			for (unsigned i = 0; i < line.n - 1; i++)
				HOLDS((unsigned char)line.p[i] >= ' ' ? line.p[i] != 0x7f : line.p[i] == '\t');
			lengths += field_find(name) == F_CONTENT_LENGTH;
			codings += field_find(name) == F_TRANSFER_ENCODING;
			HOLDS(field_find(name) != F_KEEP_ALIVE && field_find(name) != F_TRAILER);
		}
		HOLDS(line.n == 1 && *line.p == '\r');
		HOLDS(lengths + codings <= 1 && (status >= 200 || !(lengths + codings)));
	} while (status < 200 && status != 101 && rest.n);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct conf silent = { .error_to = TO_NOWHERE, .access_to = TO_NOWHERE };
	static struct told whole, cut;
	static bool opened;
	char *copy;

	if (!opened)
		opened = log_open(&silent);
	if (size < 2 || size > SIZE_MOST)
		return 0;
	copy = exactly(data + 2, size - 2);
	answer(copy, (unsigned)size - 2, PEER_IN, data[1], &whole);
	answer(copy, (unsigned)size - 2, 1 + data[0] % 64, data[1], &cut);
	HOLDS(whole.io == cut.io && whole.status == cut.status && whole.tunnel == cut.tunnel && whole.keeps == cut.keeps);
	HOLDS(whole.io != IO_DONE || whole.taken == cut.taken);
	if (whole.n)
		check_heads(&whole);
	free(copy);
	return 0;
}
