/* SPDX-License-Identifier: ISC */
/*
 * Patterns (glob.h). Only the last * is ever gone back to, as is enough for a match from the left:
 * so there is no recursion and no exponential time.
 */
#include "config.h"

#include "glob.h"

static unsigned
folded(uint8_t c, bool fold)
{
	return fold && c >= 'A' && c <= 'Z' ? c | 0x20U : c;
}

/*
 * The set that begins behind '[' at *at; *at moves to its last byte (']', or the pattern's last
 * when it is not closed). Whether c is of it.
 */
static bool
match_set(struct slice p, size_t *at, uint8_t c, bool fold)
{
	size_t i = *at;
	bool invert = i < p.len && p.data[i] == '^', found = false;

	if (invert)
		i++;
	for (;; i++) {
		if (i >= p.len) {
			i = p.len - 1;
			break;
		}
		if (p.data[i] == '\\' && p.len - i >= 2) {
			i++;
			found |= p.data[i] == c;
		} else if (p.data[i] == ']') {
			break;
		} else if (p.len - i >= 3 && p.data[i + 1] == '-') {
			unsigned low = p.data[i], high = p.data[i + 2];

			if (low > high) {
				unsigned swap = low;

				low = high;
				high = swap;
			}
			low = folded((uint8_t)low, fold);
			high = folded((uint8_t)high, fold);
			i += 2;
			found |= folded(c, fold) >= low && folded(c, fold) <= high;
		} else
			found |= folded(p.data[i], fold) == folded(c, fold);
	}
	*at = i;
	return found != invert;
}

/* Whether the element of the pattern at *at takes c; *at moves behind the element. */
static bool
match_one(struct slice p, size_t *at, uint8_t c, bool fold)
{
	size_t i = *at;
	bool ok;

	if (p.data[i] == '?') {
		ok = true;
	} else if (p.data[i] == '[') {
		i++;
		ok = match_set(p, &i, c, fold);
	} else {
		if (p.data[i] == '\\' && p.len - i >= 2)
			i++;
		ok = folded(p.data[i], fold) == folded(c, fold);
	}
	*at = i + 1;
	return ok;
}

bool
glob_match(struct slice pattern, struct slice s, bool fold)
{
	size_t p = 0, i = 0, star = SIZE_MAX, star_i = 0;

	while (i < s.len) {
		if (p < pattern.len && pattern.data[p] == '*') {
			star = ++p;
			star_i = i;
		} else if (p < pattern.len && match_one(pattern, &p, s.data[i], fold)) {
			i++;
		} else if (star != SIZE_MAX) {
			p = star;
			i = ++star_i;
		} else
			return false;
	}
	while (p < pattern.len && pattern.data[p] == '*')
		p++;
	return p == pattern.len;
}
