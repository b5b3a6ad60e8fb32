/* SPDX-License-Identifier: BSD-3-Clause */
/* Delta debugging: lines are left out, many at first, then one by one, as long as the difference stays. */
#include "seq.h"

#define SHRINK_S	15	/* more is not worth the wait */

static time_t deadline;

static bool differs(const struct script *s)
{
	struct trace a = { 0 }, b = { 0 };
	bool ret = !same(s, &a, &b);

	/* a native one that does not end is no difference of the library's */
	ret = ret && a.ended;
	free(a.text);
	free(b.text);
	return ret;
}

static void without(struct script *to, const struct script *from, int at, int n)
{
	to->count = 0;
	for (int i = 0; i < from->count; i++)
		if (i < at || i >= at + n)
			memcpy(to->line[to->count++], from->line[i], LINE);
}

/* One pass over the script with parts of n lines; from the end, for what comes last depends on what came before. */
static bool pass(struct script *s, int n)
{
	static struct script less;
	bool any = false;

	for (int at = s->count - n; at > -n && time(NULL) < deadline; at -= n) {
		int from = at < 0 ? 0 : at, part = at < 0 ? n + at : n;

		if (part <= 0 || from + part > s->count)
			continue;
		without(&less, s, from, part);
		if (differs(&less)) {
			*s = less;
			any = true;
		}
	}
	return any;
}

void shrink(struct script *s)
{
	deadline = time(NULL) + SHRINK_S;
	for (int n = s->count / 2; n >= 1; n /= 2)
		while (pass(s, n) && n == 1)
			;
}
