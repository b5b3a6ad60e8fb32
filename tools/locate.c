/* SPDX-License-Identifier: BSD-3-Clause */
/* See locate.h. FN_BINDIR and FN_LIBDIR come from configure. */
#include "tools/locate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libfastnet.so"

/* The first n bytes are equal and end both at a component's end: the longest such n. */
static size_t common(const char *a, const char *b)
{
	size_t n = 0, last = 0;

	for (;; n++) {
		bool end_a = !a[n] || a[n] == '/', end_b = !b[n] || b[n] == '/';

		if (end_a && end_b)
			last = n;
		if (a[n] != b[n] || !a[n])
			return last;
	}
}

void fn_locate_relative(char *out, size_t size, const char *from, const char *to)
{
	size_t n = common(from, to);

	*out = 0;
	for (const char *s = from + n; (s = strchr(s, '/')) != NULL; s++)
		if (s[1])
			strncat(out, "../", size - strlen(out) - 1);
	to += n;
	strncat(out, *to == '/' ? to + 1 : to, size - strlen(out) - 1);
}

/* path becomes the real path of dir/sub/LIBRARY if that is a readable file. */
static bool try(char path[PATH_MAX], const char *dir, const char *sub)
{
	char candidate[PATH_MAX];

	if (snprintf(candidate, sizeof candidate, "%s/%s%s" LIBRARY, dir, sub, *sub ? "/" : "") >= PATH_MAX)
		return false;
	snprintf(path, PATH_MAX, "%s", candidate);
	if (access(candidate, R_OK))
		return false;
	return realpath(candidate, path) != NULL;
}

bool fn_locate_library(char path[PATH_MAX])
{
	char dir[PATH_MAX], relative[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof dir - 1);
	char *slash;

	if (n > 0) {
		dir[n] = 0;
		slash = strrchr(dir, '/');
		*slash = 0;
		/* automake's and libtool's build tree: tools/fastnet-run and .libs/libfastnet.so */
		slash = strrchr(dir, '/');
		if (slash && !strcmp(slash, "/tools") && try(path, dir, "../.libs"))
			return true;
		fn_locate_relative(relative, sizeof relative, FN_BINDIR, FN_LIBDIR);
		if (try(path, dir, relative))
			return true;
	}
	return try(path, FN_LIBDIR, "");
}
