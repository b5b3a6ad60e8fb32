/* SPDX-License-Identifier: BSD-3-Clause */
/* fastnet-stat: what the processes under Fastnet do, and why a socket of theirs is not accelerated. Looks from outside and
 * changes nothing: a stuck or stopped process answers too. */
#include "config.h"

#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/conf_parse.h"
#include "tools/stat_print.h"

static const char usage[] =
	"Usage: fastnet-stat [OPTION]... [PID]...\n"
	"Without PID, list the processes under Fastnet. With PID, show its ports, sockets,\n"
	"counters and dropped packets, and who serves its sockets and why.\n"
	"\n"
	"  --all           also counters that are zero, and every decision remembered\n"
	"  --json          print JSON: an array with one object a process\n"
	"  --help          print this and exit\n"
	"  --version       print the version and exit\n"
	"\n"
	"The exit status is 0, 1 when a PID could not be shown, 2 for a wrong command line.\n"
	"See fastnet-stat(1).\n";

enum { OPT_ALL = 1, OPT_JSON, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
	{ "all", no_argument, NULL, OPT_ALL },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

struct wish {
	bool all;
	json_t *json;		/* the array to fill; NULL: text */
};

static void complain(pid_t pid, enum fn_target_error e, const struct fn_target *t)
{
	fprintf(stderr, "fastnet-stat: %d: %s", (int)pid, fn_target_strerror(e));
	if (e == FN_TARGET_LAYOUT)
		fprintf(stderr, " (it is %s, this is %s)", t->info.version, PACKAGE_VERSION);
	fputc('\n', stderr);
}

/* ---- the processes named ---- */

static bool show(const struct wish *w, pid_t pid, bool first)
{
	static struct fn_target t;
	enum fn_target_error e = fn_target_open(&t, pid);

	if (e != FN_TARGET_OK) {
		complain(pid, e, &t);
		return false;
	}
	fn_target_read(&t);
	if (w->json) {
		json_array_append_new(w->json, fn_json_process(&t));
	} else {
		if (!first)
			putchar('\n');
		fn_text_process(&t, w->all);
	}
	fn_target_free(&t);
	return true;
}

static bool show_all(const struct wish *w, char **args)
{
	bool ok = true;
	uint64_t pid;

	for (char **a = args; *a; a++)
		if (!fn_conf_number(*a, 1, INT32_MAX, &pid)) {
			fprintf(stderr, "fastnet-stat: expected a PID, not \"%s\"\n", *a);
			exit(2);
		}
	for (char **a = args; *a; a++)
		ok &= fn_conf_number(*a, 1, INT32_MAX, &pid) && show(w, (pid_t)pid, a == args);
	return ok;
}

/* ---- every process that we may look into ---- */

static void list_one(const struct wish *w, pid_t pid, unsigned *found)
{
	static struct fn_target t;
	enum fn_target_error e = fn_target_open(&t, pid);

	/* those that cannot be read are not known to be ours */
	if (e == FN_TARGET_LAYOUT)
		complain(pid, e, &t);
	if (e != FN_TARGET_OK)
		return;
	fn_target_read(&t);
	if (w->json) {
		json_array_append_new(w->json, fn_json_process(&t));
	} else {
		if (!*found)
			fn_text_list_head();
		fn_text_list(&t);
	}
	fn_target_free(&t);
	++*found;
}

static bool list(const struct wish *w)
{
	DIR *proc = opendir("/proc");
	struct dirent *d;
	unsigned found = 0;
	uint64_t pid;

	if (!proc) {
		perror("fastnet-stat: /proc");
		return false;
	}
	while ((d = readdir(proc)))
		if (fn_conf_number(d->d_name, 1, INT32_MAX, &pid))
			list_one(w, (pid_t)pid, &found);
	closedir(proc);
	if (!found && !w->json)
		puts("no process under Fastnet that you may look into");
	return true;
}

int main(int argc, char **argv)
{
	struct wish w = { 0 };
	bool ok;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case OPT_ALL:
			w.all = true;
			break;
		case OPT_JSON:
			w.json = w.json ? w.json : json_array();
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			return 0;
		case OPT_VERSION:
			puts("fastnet-stat (fastnet) " PACKAGE_VERSION);
			return 0;
		default:
			fputs("Try 'fastnet-stat --help'.\n", stderr);
			return 2;
		}
	ok = optind < argc ? show_all(&w, argv + optind) : list(&w);
	if (w.json) {
		json_dumpf(w.json, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
		putchar('\n');
		json_decref(w.json);
	}
	return !ok || fflush(stdout) ? 1 : 0;
}
