/* values.c - the values of the configuration: numbers, sizes, paths, patterns; read and compared */
#include "words.h"

bool
take_number(const char *text, uint64_t min, uint64_t max, uint64_t *to)
{
	if (span_uint(span_of(text), to) && *to >= min && *to <= max)
		return true;
	return mistake("'%s' is no number from %llu to %llu", text, (unsigned long long)min, (unsigned long long)max);
}

bool
take_count(const char *text, unsigned min, unsigned max, unsigned *to)
{
	uint64_t n;

	if (!take_number(text, min, max, &n))
		return false;
	*to = n;
	return true;
}

unsigned
choice_of(struct span choices, const char *text)
{
	unsigned i = 0;

	while (choices.n && !span_eq(span_cut(&choices, '|'), span_of(text)))
		i++;
	return i;
}

/* 500, 64k, 1m, 2g */
bool
take_size(const char *text, uint64_t *to)
{
	struct span s = span_of(text);
	const char *unit = s.n ? find_char("kmg", lower(s.p[s.n - 1])) : NULL;
	unsigned shift = unit ? 10 * (unsigned)(unit - "kmg" + 1) : 0;

	s.n -= shift != 0;
	if (span_uint(s, to) && *to <= (uint64_t)INT64_MAX >> shift) {
		*to <<= shift;
		return true;
	}
	return is_no(text, "size, such as 500, 64k, 1m or 2g");
}

bool
take_name(const char *text)
{
	return *text || is_no(text, "name");
}

bool
take_clean(const char *text)
{
	if (text_clean(text))
		return true;
	return mistake("there is a control character in '%s'", text);
}

bool
take_path(const char *text)
{
	bool good = *text == '/' && text_clean(text) && !find_char(text, '?');
	const char *end;

	for (const char *p = text; good && (p = find_char(p, '/'));) {
		end = ++p;
		end += *end == '.';
		end += end > p && *end == '.';
		good = *end ? *end != '/' : end == p;
	}
	return good || is_no(text, "path: it begins with '/', without '//', '/./', '/../' and '?'");
}

bool
take_pattern(const char *text, struct pattern *to)
{
	struct span s = span_of(text);

	if (s.n > 2 && text[0] == '*' && text[1] == '.' && !find_char(text, '/') && !find_char(text + 1, '*') &&
	    !find_char(text, '?') && text_clean(text)) {
		*to = (struct pattern){ MATCH_EXT, { s.p + 1, s.n - 1 } };
		return true;
	}
	if (s.n && s.p[0] == '/' && !find_char(text, '*')) {
		*to = (struct pattern){ s.p[s.n - 1] == '/' ? MATCH_BELOW : MATCH_PATH, s };
		return take_path(text);
	}
	return is_no(text, "pattern: those are /dir/, /path and *.ext");
}

/* One of its segments ends in the extension; it is not shorter than that. */
static __attribute__((noinline)) bool
has_extension(struct span path, struct span extension)
{
	const char *p = path.p, *last = path.p + path.n - extension.n;

	for (; p < last; p++)
		if (*p == '.' && p[extension.n] == '/' && span_starts((struct span){ p, extension.n }, extension))
			return true;
	return span_starts((struct span){ p, extension.n }, extension);
}

/* The byte that decides most often is looked at first: this is asked for each line and each request. */
bool
pattern_matches(const struct pattern *pattern, struct span path)
{
	unsigned n = pattern->text.n;

	if (path.n < n)
		return false;
	if (pattern->kind == MATCH_EXT)
		return has_extension(path, pattern->text);
	if (pattern->kind == MATCH_BELOW)
		n--;
	return (path.n == n || path.p[n] == '/') && span_starts(path, pattern->text);
}

const struct rule *
rule_find(const struct rule *rule, enum rule_kind kind, struct span path)
{
	while (rule && (rule->kind != kind || !pattern_matches(&rule->pattern, path)))
		rule = rule->next;
	return rule;
}

bool
pattern_guards(const struct pattern *pattern, struct span path)
{
	return pattern_matches(pattern, path) || (pattern->kind == MATCH_BELOW && path.n + 1 == pattern->text.n &&
	    span_starts(pattern->text, path));
}

bool
spelled_oddly(struct span s)
{
	for (unsigned i = 0; i < s.n; i++)
		if ((unsigned char)(s.p[i] - 'A') < 26 || (s.p[i] == '.' && (i + 1 == s.n || s.p[i + 1] == '/')))
			return true;
	return false;
}

bool
pattern_covers(const struct pattern *all, const struct pattern *some)
{
	if (some->kind != MATCH_EXT)
		return pattern_guards(all, some->text);
	return all->kind == MATCH_EXT ? span_ends(some->text, all->text) : span_eq(all->text, SPAN("/"));
}
