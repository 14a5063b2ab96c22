/* Keys and certificates: everything found lies inside, and names are looked for in whatever there is. */
#include "fuzz.h"

#include "../../der.h"

static const char *first;
static size_t size_all;

static void
inside(struct span s)
{
	HOLDS(!s.n || (s.p >= first && s.p + s.n <= first + size_all));
}

/* No control leaves it, whatever room there is. */
static void
subject(struct span name)
{
	char text[200];

	for (unsigned size = 0; size <= sizeof text; size += 50) {
		struct buf b = { text, 0, 0, size, false };

		name_print(&b, name);
		HOLDS(b.w <= size);
		for (unsigned i = 0; i < b.w; i++)
			HOLDS((unsigned char)text[i] >= ' ' && text[i] != 127);
	}
}

static void
read_as_both(struct span der)
{
	static const char *const hosts[] = { "", ".", "example.org", "a.example.org", "192.0.2.1", "2001:db8::1" };
	struct certificate c;
	struct private_key key;

	inside(der);
	if (private_key_parse(der, &key)) {
		HOLDS(key.kind != KEY_NONE);
		inside(key.x), inside(key.n), inside(key.e), inside(key.curve);
		for (unsigned i = 0; i < RSA_PARTS; i++)
			inside(key.parts[i]);
	}
	if (!certificate_parse(der, &c))
		return;
	HOLDS(c.key.kind != KEY_NONE && c.from >= 0 && c.until >= 0 && c.until <= 253402300799 + 86400);
	inside(c.der), inside(c.issuer), inside(c.subject), inside(c.names), inside(c.common_name);
	inside(c.key.point), inside(c.key.n), inside(c.key.e), inside(c.key.curve);
	for (unsigned i = 0; i < sizeof hosts / sizeof *hosts; i++)
		certificate_is_for(&c, span_of(hosts[i]));
	certificate_is_for(&c, c.common_name);
	subject(c.subject);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = exactly(data, size);
	struct span rest = { copy, (unsigned)size }, label, body;

	first = copy;
	size_all = size;
	read_as_both(rest);
	while (pem_next(&rest, &label, &body)) {
		inside(label);
		read_as_both(body);
	}
	free(copy);
	return 0;
}
