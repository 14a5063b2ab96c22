/* The edge between records and stream.c: two connections take turns at the buffers that all share, with a client each that
 * has the keys.  The input says who does what: records of data, of other kinds, damaged ones, bytes that are none; reads,
 * echoes, files and writes of the server; reads of the client.  Every byte carries its place, so that none can be lost,
 * doubled or given to the other.  An input that begins with an odd byte is a handshake instead: bytes as they come, in cuts. */
#include "fuzz.h"

#include "../../handshake.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIR = 2, RAW_MOST = 1 << 16, FILE_MOST = 1 << 20 };

static struct side {
	struct stream s;
	int client;
	br_sslrec_chapol_context seal, open;    /* the client's */
	unsigned sent, read, said, back;        /* plain bytes: by the client, by the server, by it, back at the client */
	bool broken;                            /* something came that ends it */
	unsigned empty;                         /* records that say nothing: too many of them do, too */
	unsigned char raw[RAW_MOST];
	unsigned raw_n;
	char in[CLIENT_IN], out[CLIENT_OUT];
} sides[PAIR];

static struct host host;
static struct conf cf = { .hosts = &host, .error_to = TO_NOWHERE, .access_to = TO_NOWHERE };

static char byte_at(const struct side *x, unsigned i) { return (char)(i * 31 + (i >> 8) * 7 + (x == sides ? 0 : 101)); }

static void
memory(void)
{
	static _Alignas(16) unsigned char connections[8 * 1024], places[2 * sizeof (struct place)], pendings[5 * 17000];

	tls_pool.at = (char *)connections;
	tls_pool.n = sizeof connections / tls_pool.size;
	tls_place_pool.at = (char *)places;
	tls_place_pool.n = 2;
	tls_pending_pool.at = (char *)pendings;
	tls_pending_pool.n = 5;
}

static void
begin(struct side *x, bool keys)
{
	static const unsigned char key[32] = { 1 }, iv[12] = { 2 };
	struct tls *t;
	int pair[2], size = 4096;

	memset(x, 0, sizeof *x);
	HOLDS(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
	stream_open(&x->s, pair[0]);
	x->client = pair[1];
	x->s.in = (struct buf){ x->in, 0, 0, sizeof x->in, false };
	x->s.out = (struct buf){ x->out, 0, 0, sizeof x->out, false };
	x->s.tls = t = tls_new(false);
	if (!keys)
		return;
	t->state = OPEN;
	t->version = BR_TLS12;
	t->most = PLAIN_MOST;
	br_sslrec_in_chapol_vtable.init(&t->in.chapol.vtable.in, br_chacha20_ct_run, br_poly1305_ctmul_run, key, iv);
	br_sslrec_out_chapol_vtable.init(&t->out.chapol.vtable.out, br_chacha20_ct_run, br_poly1305_ctmul_run, key, iv);
	br_sslrec_out_chapol_vtable.init(&x->seal.vtable.out, br_chacha20_ct_run, br_poly1305_ctmul_run, key, iv);
	br_sslrec_in_chapol_vtable.init(&x->open.vtable.in, br_chacha20_ct_run, br_poly1305_ctmul_run, key, iv);
}

static void
end(struct side *x)
{
	stream_close(&x->s);
	close(x->client);
}

/* Of the client; false when the socket had no room for all of it, which is the end of this connection. */
static void
put(struct side *x, const void *p, size_t n)
{
	if (send(x->client, p, n, MSG_NOSIGNAL) != (ssize_t)n)
		x->broken = true;
}

static void
client_sends(struct side *x, int type, unsigned n, int damage)
{
	static unsigned char store[HEADER + PLAIN_MOST + 64];
	const br_sslrec_out_class **out = (const br_sslrec_out_class **)&x->seal.vtable.out;
	size_t from = HEADER, to = sizeof store, size = n;
	unsigned char *record;

	if (x->broken || (!n && ++x->empty > VAIN_MOST))
		return;
	(*out)->max_plaintext(out, &from, &to);
	for (unsigned i = 0; i < n; i++)
		store[from + i] = byte_at(x, x->sent + i);
	record = (*out)->encrypt(out, type, BR_TLS12, store + from, &size);
	if (type == DATA && damage < 0)
		x->sent += n;
	else
		x->broken = true;       /* or it may go on: no promises are left */
	if (damage >= 0)
		record[damage % size] ^= 1 + damage % 255;
	put(x, record, size);
}

/* For each byte in stream.in one goes to stream.out, as far as there is room. */
static void
echo(struct side *x, unsigned most)
{
	struct buf *in = &x->s.in, *out = &x->s.out;
	unsigned n = buf_used(in) < buf_room(out) ? buf_used(in) : buf_room(out);

	n = n < most ? n : most;
	if (x->s.broken)
		return;
	for (unsigned i = 0; i < n; i++)
		HOLDS(in->data[in->r + i] == byte_at(x, x->read + i));
	x->read += n;
	for (unsigned i = 0; i < n; i++)
		buf_char(out, byte_at(x, x->said++));
	HOLDS(!out->bad);
	buf_take(in, n);
	buf_pack(in);
}

/* A file that holds at each place what has to be said there. */
static int
file_of(const struct side *x)
{
	static int files[PAIR];
	int *fd = &files[x - sides];
	char piece[1024];

	if (*fd)
		return *fd;
	*fd = memfd_create("said", 0);
	for (unsigned i = 0; i < FILE_MOST; i++) {
		piece[i % sizeof piece] = byte_at(x, i);
		if (i % sizeof piece == sizeof piece - 1)
			HOLDS(write(*fd, piece, sizeof piece) == sizeof piece);
	}
	return *fd;
}

static void
send_file(struct side *x, unsigned n)
{
	off_t at = x->said;
	enum io io;

	x->s.writable = !x->s.dead;
	if (!n || x->s.broken || x->s.dead || buf_used(&x->s.out) || x->said + n > FILE_MOST)
		return;
	io = stream_sendfile(&x->s, file_of(x), &at, n);
	HOLDS((io == IO_MOVED) == (at > x->said) && at <= x->said + n);
	x->said = at;
}

static void
client_reads(struct side *x)
{
	ssize_t got = recv(x->client, x->raw + x->raw_n, sizeof x->raw - x->raw_n, 0);
	const br_sslrec_in_class **open = (const br_sslrec_in_class **)&x->open.vtable.in;

	x->raw_n += got > 0 ? got : 0;
	while (x->raw_n >= HEADER) {
		size_t n = x->raw[3] << 8 | x->raw[4], size = HEADER + n;
		const unsigned char *plain;

		HOLDS((*open)->check_length(open, n));
		if (x->raw_n < size)
			return;
		plain = (*open)->decrypt(open, x->raw[0], BR_TLS12, x->raw + HEADER, &n);
		HOLDS(plain && (x->raw[0] == DATA || x->raw[0] == ALERT));
		for (unsigned i = 0; x->raw[0] == DATA && i < n; i++)
			HOLDS((char)plain[i] == byte_at(x, x->back + i));
		x->back += x->raw[0] == DATA ? n : 0;
		x->raw_n -= size;
		memmove(x->raw, x->raw + size, x->raw_n);
	}
}

static void
serve(struct side *x, unsigned most)
{
	tls_turn();
	x->s.readable = x->s.writable = !x->s.dead;
	stream_read(&x->s);
	echo(x, most);
	stream_write(&x->s);
	HOLDS(x->s.sealed <= buf_used(&x->s.out) && x->s.in.w <= x->s.in.size && x->s.out.w <= x->s.out.size);
}

static void
act(struct side *x, unsigned what, unsigned n, const uint8_t *rest, size_t left)
{
	switch (what) {
	case 0:
	case 1:
		client_sends(x, DATA, n * 64, -1);
		break;
	case 2:
		client_sends(x, n & 1 ? ALERT : 20 + n % 6, n % 5, -1);
		break;
	case 3:
		client_sends(x, DATA, n, n * 7);
		break;
	case 4:
		x->broken = true;
		put(x, rest, left < n ? left : n);
		break;
	case 5:
		client_reads(x);
		break;
	case 6:
		send_file(x, n * 250);
		break;
	default:
		serve(x, 1 + n * 40);
	}
}

static void
records(const uint8_t *data, size_t size)
{
	for (unsigned i = 0; i < PAIR; i++)
		begin(&sides[i], true);
	for (size_t i = 0; i + 1 < size; i += 2)
		act(&sides[data[i] & 1], data[i] >> 1 & 7, data[i + 1], data + i + 2, size - i - 2);
	for (unsigned turn = 0, idle = 0; turn < 400 && idle < 20; turn++) {
		unsigned before = sides[0].back + sides[1].back;

		for (unsigned i = 0; i < PAIR; i++) {
			serve(&sides[i], CLIENT_IN);
			client_reads(&sides[i]);
		}
		idle = sides[0].back + sides[1].back == before ? idle + 1 : 0;
	}
	for (unsigned i = 0; i < PAIR; i++) {
		HOLDS(sides[i].broken || (sides[i].read == sides[i].sent && sides[i].back == sides[i].said));
		HOLDS(sides[i].back <= sides[i].said);
		end(&sides[i]);
	}
}

static void
hello(const uint8_t *data, size_t size)
{
	struct side *x = sides;
	unsigned cut = 1 + data[0] * 4;

	begin(x, false);
	for (size_t i = 1; i < size && !x->s.dead && !x->broken; i += cut) {
		put(x, data + i, size - i < cut ? size - i : cut);
		for (unsigned k = 0; k < 3; k++) {
			tls_turn();
			x->s.readable = x->s.writable = true;
			stream_read(&x->s);
			while (recv(x->client, x->raw, sizeof x->raw, 0) > 0)
				;
			x->s.in.w = x->s.in.r = 0;
			if (!x->s.tls)
				break;          /* it was plain HTTP */
		}
	}
	end(x);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size > 20000)
		return 0;
	memory();
	log_open(&cf);                          /* to nowhere */
	conf = &cf;
	if (data[0] & 1)
		hello(data, size);
	else
		records(data + 1, size - 1);
	return 0;
}
