/* users.c - where users and their hashes are kept: files in the form of htpasswd, and the accounts of the system
 *
 *   bob:$6$salt$hash                     htpasswd
 *   bob:x:1000:1000::/home/bob:/bin/sh   /etc/passwd, with x for: see there
 *   bob:$6$salt$hash:19700:0:99999:7:::  /etc/shadow
 *
 * They are read anew each time: getspnam(3) brings stdio along, and in a static program knows no more.
 */
#include "auth.h"

#include <errno.h>
#include <string.h>

static void
take_line(struct login *a, struct span line, struct span user)
{
	struct span name, rest, hash;

	if (!line.n || line.p[0] == '#')
		return;
	name = span_cut(&line, ':');
	rest = line;
	hash = span_cut(&rest, ':');
	if (!a->decoy_n && hash.n && hash.p[0] == '$' && hash.n <= HASH_MOST) {
		memcpy(a->decoy, hash.p, hash.n);
		a->decoy_n = hash.n;
	}
	if (a->found || !span_eq(name, user))
		return;
	a->found = true;
	if (line.n)
		memcpy(a->store, line.p, line.n);
	a->rest = (struct span){ a->store, line.n };
}

/* The line of this user.  The whole file is read, whoever it is. */
static bool
look(const char *path, struct span user, struct login *a)
{
	struct span line;

	a->found = false;
	a->rest = a->hash = SPAN("");
	if (!text_open(path)) {
		log_line(LOG_ERROR, "cannot read %s: %s", path, error_text(errno));
		return false;
	}
	while (text_line(&line))
		take_line(a, line, user);
	return true;
}

/* What stands for a password, up to the next colon; empty for what no password can be right for. */
static void
take_hash(struct login *a)
{
	a->hash = span_cut(&a->rest, ':');
	if (a->hash.n && find_char("!*", a->hash.p[0]))
		a->hash.n = 0;
}

bool
login_of_file(const char *path, struct span user, struct login *a)
{
	a->decoy_n = 0;
	if (!look(path, user, a))
		return false;
	if (span_starts(a->rest, SPAN("{PLAIN}")))
		a->hash = a->rest;      /* colons and all */
	else
		take_hash(a);
	return true;
}

/* No shell to log in with: an account of the system, and nobody's. */
static bool
has_shell(struct span passwd)
{
	for (unsigned i = 0; i < 4; i++)
		span_cut(&passwd, ':');         /* number, group, name, home */
	return !span_ends(passwd, SPAN("/nologin")) && !span_ends(passwd, SPAN("/false"));
}

/* shadow(5): ...:changed:min:max:warn:inactive:expires:, in days.  A machine whose clock was never set has 0. */
static bool
has_expired(struct span shadow)
{
	uint64_t day[6] = { 0 }, today = (uint64_t)wall;
	bool there[6];

	uint_cut(&today, 86400);
	for (unsigned i = 0; i < 6; i++)
		there[i] = span_uint(span_cut(&shadow, ':'), &day[i]);
	return (there[5] && today >= day[5]) || (there[0] && day[0] && there[2] && today > day[0] + day[2]);
}

bool
login_of_system(const char *passwd, const char *shadow, struct span user, struct login *a)
{
	bool good;

	a->decoy_n = 0;
	if (!look(passwd, user, a))
		return false;
	take_hash(a);
	good = a->found && has_shell(a->rest);
	if (!a->found || span_eq(a->hash, SPAN("x"))) {
		if (look(shadow, user, a))
			take_hash(a);
		good = good && a->found && !has_expired(a->rest);
	}
	a->found = good;
	if (!good)
		a->hash.n = 0;
	return true;
}
