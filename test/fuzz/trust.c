/* Who the client is: whatever it writes into the fields itself, a proxy that is trusted has the last word.
 *
 * The input is what the client sent, and the proxy appends what it sees; its first byte says which field, and how. */
#include "fuzz.h"

static struct request r;

static void
append(struct buf *b, unsigned how, struct span text)
{
	static const struct { const char *name, *last; } fields[] = {
		{ "Forwarded: ", ", for=203.0.113.9" }, { "Forwarded: ", ",for=\"203.0.113.9:80\";by=\"10.0.0.1\"" },
		{ "Forwarded: ", ";proto=http, proto=https;for=\"203.0.113.9\"" },
		{ "Forwarded: ", "\r\nForwarded: for=203.0.113.9" }, { "X-Forwarded-For: ", ", 203.0.113.9" },
		{ "X-Forwarded-For: ", "\r\nX-Forwarded-For: 203.0.113.9:4711" },
		{ "X-Forwarded-Proto: ", "\r\nX-Forwarded-For: 203.0.113.9" }, { "X-Forwarded-Host: ",
		"\r\nForwarded: for=203.0.113.9" },
	};
	unsigned n = sizeof fields / sizeof *fields;

	buf_text(b, "GET / HTTP/1.1\r\nHost: a\r\n");
	buf_text(b, fields[how % n].name);
	buf_span(b, text);
	buf_text(b, fields[how % n].last);
	buf_text(b, "\r\n\r\n");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static char head[CLIENT_IN];
	static struct net trust = { .family = AF_INET, .bits = 8, .ip = { 10 } };
	static struct conf cf = { .trust = &trust };
	static const struct from proxy = { AF_INET, 0, { 10, 0, 0, 1 } };
	const unsigned char want[16] = { 203, 0, 113, 9 };
	struct conn c = { .from = proxy };
	struct buf b = { head, 0, 0, sizeof head, false };
	unsigned seen = 0;
	int status;

	if (n < 2 || n > 2000 || memchr(data + 1, '\r', n - 1) || memchr(data + 1, '\n', n - 1))
		return 0;
	append(&b, data[0], (struct span){ (const char *)data + 1, (unsigned)n - 1 });
	if (b.bad || head_length(head, b.w, &seen) != b.w || request_parse(&r, head, b.w))
		return 0;
	conf = &cf;
	for (unsigned twice = 0; twice < 2; twice++) {  /* it may have to wait in between */
		status = trust_request(&c, &r);
		HOLDS(status == 0 || status == 400);
		HOLDS(c.vouched);
		HOLDS(status || (c.from.family == AF_INET && !memcmp(c.from.ip, want, sizeof want)));
	}
	trust_forget(&c);
	HOLDS(!memcmp(&c.from, &proxy, sizeof proxy) && !c.vouched && !c.secure);
	conf = NULL;
	return 0;
}
