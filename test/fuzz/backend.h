/* backend.h - the backends of conn.c: what the server says to them must be FastCGI to the letter; what they answer has
 * a mark in its head, and a body by which every byte can be told. */
#ifndef BACKEND_H
#define BACKEND_H

static void
say_record(struct end *e, unsigned type, const char *p, unsigned n)
{
	const unsigned char head[8] = { 1, type, 0, 1, n >> 8, n & 255, 0, 0 };

	end_say(e, head, sizeof head);
	end_say(e, p, n);
}

/* REMOTE_PORT tells the client; CONTENT_LENGTH what STDIN has to be. */
static void
read_params(struct backend_request *r)
{
	const unsigned char *p = (const unsigned char *)r->params, *end = p + r->params_n;
	uint64_t port = 0;

	r->length = 0;
	while (p < end) {
		unsigned n[2];
		struct span name, value;

		for (unsigned i = 0; i < 2; i++) {
			HOLDS(end - p >= (*p & 0x80 ? 4 : 1));
			n[i] = *p & 0x80 ? (*p & 0x7fu) << 24 | p[1] << 16 | p[2] << 8 | p[3] : *p;
			p += *p & 0x80 ? 4 : 1;
		}
		HOLDS((size_t)(end - p) >= (size_t)n[0] + n[1]);
		name = (struct span){ (const char *)p, n[0] };
		value = (struct span){ (const char *)p + n[0], n[1] };
		p += n[0] + n[1];
		if (span_eq(name, SPAN("REMOTE_PORT")))
			HOLDS(span_uint(value, &port));
		if (span_eq(name, SPAN("CONTENT_LENGTH")))
			HOLDS(span_uint(value, &r->length));
		HOLDS(!span_eq(name, SPAN("HTTP_PROXY")));
	}
	HOLDS(port >= PORT_FIRST && port < PORT_FIRST + nactors && !actors[port - PORT_FIRST].backend);
	r->client = port - PORT_FIRST;
	r->asked = true;
	r->mark = -1;
}

enum { BEGIN = 1, END = 3, PARAMS, STDIN, STDOUT, STDERR };

/* A record has come whole, or its head when it is STDIN. */
static void
take_record(struct backend_request *r)
{
	unsigned type = r->head[1], n = r->head[4] << 8 | r->head[5];

	HOLDS(r->head[0] == 1 && r->head[2] == 0 && r->head[3] == 1);
	HOLDS(type == BEGIN || type == PARAMS || type == STDIN);
	HOLDS(type != BEGIN || (n == 8 && !r->begun && !r->late));
	HOLDS(type != PARAMS || (r->begun && !r->asked));
	HOLDS(type != STDIN || r->late || (r->asked && !r->all));
	if (type == BEGIN) {
		r->begun = true;
		r->params_n = r->stdin_n = 0;
	}
	if (type == PARAMS && !n)
		read_params(r);
	if (type != STDIN)
		return;
	r->stdin_n += n;
	HOLDS(r->stdin_n <= r->length);
	if (n)
		return;
	HOLDS(r->stdin_n == r->length);
	r->all = !r->late;
	r->late = false;
}

static void
backend_take(struct backend_request *r, const char *p, unsigned n)
{
	while (n || (r->head_n == sizeof r->head && !r->left)) {
		bool params = r->head[1] == PARAMS;
		unsigned k;

		if (r->head_n < sizeof r->head) {
			r->head[r->head_n++] = *p++;
			n--;
			if (r->head_n < sizeof r->head)
				continue;
			take_record(r);
			r->left = (r->head[4] << 8 | r->head[5]) + r->head[6];
			HOLDS(!r->head[6]);
			continue;
		}
		k = n < r->left ? n : r->left;
		if (params) {
			HOLDS(r->params_n + k <= sizeof r->params);
			memcpy(r->params + r->params_n, p, k);
			r->params_n += k;
		}
		p += k;
		n -= k;
		r->left -= k;
		if (!r->left)
			r->head_n = 0;
	}
}

static void
actor_head(struct actor *a, bool measured, uint64_t length)
{
	char text[200];
	int n;

	HOLDS(nmarks < MARKS);
	a->r.mark = nmarks++;
	marks[a->r.mark] = (struct mark){ a->r.client, measured, false, length, 0 };
	n = snprintf(text, sizeof text, "Status: %d\r\nContent-Type: text/x\r\nX-Mark: %d\r\n", a->status, a->r.mark);
	if (measured)
		n += snprintf(text + n, sizeof text - n, "Content-Length: %llu\n", (unsigned long long)length);
	n += snprintf(text + n, sizeof text - n, "\r\n");
	a->status = 200;
	say_record(a->end, STDOUT, text, n);
}

/* Up to n bytes of body, as many as find room; how many went. */
static unsigned
answer_body(struct actor *a, unsigned n)
{
	static char store[QUEUE];
	struct mark *m = &marks[a->r.mark];
	unsigned room = end_room(a->end);

	if (room < 16)
		return 0;
	n = n < room - 16 ? n : room - 16;
	for (unsigned i = 0; i < n; i++)
		store[i] = mark_byte(a->r.mark, m->said + i);
	m->said += n;
	if (n)
		say_record(a->end, STDOUT, store, n);
	return n;
}

static void
answer_end(struct actor *a, unsigned status)
{
	const char body[8] = { 0, 0, 0, 0, (char)status, 0, 0, 0 };
	struct backend_request *r = &a->r;

	say_record(a->end, END, body, sizeof body);
	if (r->mark >= 0)
		marks[r->mark].ended = !(status & 255);
	r->late = !r->all;
	r->begun = r->asked = r->all = false;
	r->mark = -1;
}

static void
answer_hand_over(struct actor *a, struct span name)
{
	char text[PATH_MAX + 300];
	int n = snprintf(text, sizeof text, "Content-Type: text/x\r\nX-Sendfile: %s/%.*s\r\n\r\n", root,
	    (int)(name.n < 100 ? name.n : 100), name.p);

	say_record(a->end, STDOUT, text, n);
}

/* Lines of a head that is not whole yet. */
static void
answer_padding(struct actor *a, unsigned n)
{
	static const char line[] = "X-Padding: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n";

	while (n--)
		say_record(a->end, STDOUT, line, sizeof line - 1);
}

#endif
