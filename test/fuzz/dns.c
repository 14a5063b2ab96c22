/* Answers of a resolver: whatever it says, within bounds; and what is not an answer to our question is none. */
#include "fuzz.h"
#include "../../resolve.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char question[DNS_QUESTION], *copy;
	unsigned size = dns_question(question, 0x1234, SPAN("nas.lan"), n & 1 ? DNS_A : DNS_AAAA);
	struct found f;
	enum dns said;

	if (!n)
		return 0;
	copy = exactly(data, n);
	said = dns_answer(copy, (unsigned)n, question, size, &f);
	HOLDS(f.n <= NAME_ADDRS && (said == DNS_FOUND) == (f.n > 0));
	HOLDS(said == DNS_OTHER || (n >= size && !memcmp(copy, question, 2) && copy[2] & 0x80));
	for (unsigned i = 0; i < f.n; i++)
		HOLDS(f.ip[i].family == AF_INET || f.ip[i].family == AF_INET6);
	free(copy);
	return 0;
}
