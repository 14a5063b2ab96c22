/* Passwords from the network, and files of users: what is taken keeps its promises, and a file's lines mean what they
 * mean with everything in the file that the server makes of them.  The first byte says which. */
#include "../../auth.h"
#include "fuzz.h"

#include <sys/mman.h>

static bool
clean(struct span s)
{
	for (unsigned i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 127)
			return false;
	return true;
}

static void
field(struct span text)
{
	char store[USER_MOST + PASSWORD_MOST + 4];
	struct buf b = { store, 0, 0, sizeof store, false };
	struct span user, password;

	if (!auth_basic(text, &b, &user, &password))
		return;
	HOLDS(user.n && user.n <= USER_MOST && password.n <= PASSWORD_MOST && clean(user) && clean(password));
	HOLDS(user.p == store && !memchr(user.p, ':', user.n) && password.p == user.p + user.n + 1);
	HOLDS(!b.bad && b.w == user.n + 1 + password.n);
	HOLDS(text.n >= 6 + b.w * 4 / 3);
}

/* The first line that begins with "bob:", as the simplest reader would find it. */
static bool
has_bob(const char *p, size_t n)
{
	const char *end = p + n, *lf;

	for (; p < end; p = lf + 1) {
		lf = memchr(p, '\n', end - p);
		lf = lf ? lf : end;
		if (lf - p >= 4 && lf - p < TEXT_LINE - 1 && !memcmp(p, "bob:", 4))
			return true;
		if (lf - p == 3 && !memcmp(p, "bob", 3))
			return true;
	}
	return false;
}

static void
file(const char *p, size_t n)
{
	static struct login a;
	int fd = memfd_create("users", MFD_CLOEXEC);
	char path[32];

	HOLDS(fd >= 0 && write(fd, p, n) == (ssize_t)n);
	sprintf(path, "/proc/self/fd/%d", fd);
	HOLDS(login_of_file(path, SPAN("bob"), &a));
	HOLDS(a.decoy_n <= HASH_MOST && a.hash.n < TEXT_LINE && (!a.hash.n || (a.hash.p[0] != '!' && a.hash.p[0] != '*')));
	HOLDS(a.found || !a.hash.n);
	HOLDS(!has_bob(p, n) || a.found || memchr(p, '\r', n));
	HOLDS(login_of_system(path, path, SPAN("bob"), &a));
	HOLDS(a.found || !a.hash.n);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const struct conf silent = { .error_to = TO_NOWHERE, .access_to = TO_NOWHERE };
	static bool opened;
	char *copy;

	if (!opened)
		opened = log_open(&silent);
	if (!n)
		return 0;
	copy = exactly(data + 1, n - 1);
	wall = 20000 * 86400;
	if (*data % 2)
		field((struct span){ copy, (unsigned)n - 1 });
	else
		file(copy, n - 1);
	free(copy);
	return 0;
}
