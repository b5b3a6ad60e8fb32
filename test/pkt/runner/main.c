/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs packet scripts: run [-p] SCRIPT…  Prints TAP and closes with "N passed, N failed". -p only reads the scripts.
 * Exit status: 0 all passed, 1 some failed, 2 wrong use.
 */
#include <stdio.h>
#include <string.h>

#include "world.h"

static void print_error(const char *error)
{
	printf("# ");
	for (; *error; error++) {
		putchar(*error);
		if (*error == '\n')
			printf("# ");
	}
	putchar('\n');
}

static bool run_one(const char *path, int number, bool parse_only)
{
	static struct world w;
	struct script s;
	bool ok = script_read(&s, path);

	if (!ok) {
		printf("not ok %d - %s\n", number, path);
		print_error(s.error);
	} else if (parse_only) {
		printf("ok %d - %s\n", number, path);
	} else {
		ok = world_open(&w, &s) && run_script(&w);
		ok = world_close(&w) && ok;
		printf("%s %d - %s\n", ok ? "ok" : "not ok", number, path);
		if (!ok)
			print_error(w.error);
	}
	script_free(&s);
	fflush(stdout);
	return ok;
}

int main(int argc, char **argv)
{
	bool parse_only = argc > 1 && !strcmp(argv[1], "-p");
	int passed = 0, failed = 0;

	if (argc < 2 + parse_only || (argv[1][0] == '-' && !parse_only)) {
		fprintf(stderr, "usage: %s [-p] SCRIPT.pkt…\n  -p  read the scripts, do not run them\n", argv[0]);
		return 2;
	}
	printf("1..%d\n", argc - 1 - parse_only);
	for (int i = 1 + parse_only; i < argc; i++) {
		if (run_one(argv[i], passed + failed + 1, parse_only))
			passed++;
		else
			failed++;
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
