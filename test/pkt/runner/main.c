/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs packet scripts: run [-p|-t] SCRIPT…  Prints TAP and closes with "N passed, N failed". -p only reads the scripts; with
 * -t the stack's device has checksum offloads and TSO, which a peer must not notice.
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

static bool run_one(const char *path, int number, bool parse_only, bool tso)
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
		ok = world_open(&w, &s, tso) && run_script(&w);
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
	bool parse_only = argc > 1 && !strcmp(argv[1], "-p"), tso = argc > 1 && !strcmp(argv[1], "-t");
	int passed = 0, failed = 0, first = 1 + (parse_only || tso);

	if (argc <= first || argv[first][0] == '-') {
		fprintf(stderr, "usage: %s [-p|-t] SCRIPT.pkt…\n  -p  read the scripts, do not run them\n"
			"  -t  the device has TSO\n", argv[0]);
		return 2;
	}
	printf("1..%d\n", argc - first);
	for (int i = first; i < argc; i++) {
		if (run_one(argv[i], passed + failed + 1, parse_only, tso))
			passed++;
		else
			failed++;
	}
	printf("%d passed, %d failed\n", passed, failed);
	return failed ? 1 : 0;
}
