/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fastnet-run: start a program under Fastnet. Finds the library, checks the configuration, warns when the program cannot
 * be accelerated, and becomes the program by exec: signals, exit status and PID are the program's own.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "shim/conf.h"
#include "tools/elf_file.h"
#include "tools/locate.h"

/* As env(1), nohup(1) and timeout(1) have it. */
#define EXIT_OURS	125
#define EXIT_NOEXEC	126
#define EXIT_NOENT	127

static const char usage[] =
	"Usage: fastnet-run [OPTION]... PROGRAM [ARGUMENT]...\n"
	"Run PROGRAM on the Fastnet user-space TCP/IP stack.\n"
	"\n"
	"  --nic SPEC      a port, as \"dpdk:net_af_packet0,iface=veth1 address=10.9.0.2/24\";\n"
	"                  may be repeated; replaces the ports of the configuration file\n"
	"  --conf FILE     the configuration file\n"
	"  --log LEVEL     log to standard error from LEVEL up: error, warning, notice,\n"
	"                  info or debug (FASTNET_LOG names another place)\n"
	"  --check         check the configuration, say what it means, start nothing\n"
	"  --help          print this and exit\n"
	"  --version       print the version and exit\n"
	"\n"
	"The exit status is PROGRAM's; 125 if fastnet-run itself fails, 126 if PROGRAM\n"
	"cannot be run, 127 if it is not found. See fastnet-run(1) and fastnet(7).\n";

static void __attribute__((format(printf, 1, 2))) warning(const char *fmt, ...)
{
	va_list ap;

	fputs("fastnet-run: warning: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void __attribute__((format(printf, 2, 3), noreturn)) fail(int status, const char *fmt, ...)
{
	va_list ap;

	fputs("fastnet-run: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(status);
}

/* ---- what cannot be accelerated ---- */

/* The file that exec would take for name, into path. */
static bool find_program(const char *name, char path[PATH_MAX])
{
	const char *dirs = getenv("PATH"), *s;

	if (strchr(name, '/'))
		return snprintf(path, PATH_MAX, "%s", name) < PATH_MAX;
	for (s = dirs ? dirs : "/bin:/usr/bin"; *name; s++) {
		size_t n = strcspn(s, ":");

		if (snprintf(path, PATH_MAX, "%.*s%s%s", (int)n, s, n ? "/" : "", name) < PATH_MAX && !access(path, X_OK))
			return true;
		s += n;
		if (!*s)
			break;
	}
	return false;
}

/* The dynamic linker ignores the preload, or the library ignores the environment, for a program with raised rights. */
static void check_rights(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		return;
	if ((st.st_mode & S_ISUID && st.st_uid != getuid()) || (st.st_mode & S_ISGID && st.st_gid != getgid()))
		warning("%s is set-uid or set-gid: it will not be accelerated", path);
	else if (getuid() && getxattr(path, "security.capability", NULL, 0) > 0)
		warning("%s has file capabilities: it will not be accelerated", path);
}

static void check_elf(const char *path, const struct fn_elf *e)
{
	const char *interp = fn_elf_interp(e);

	if (!interp)
		warning("%s is statically linked: it will not be accelerated", path);
	else if (!strstr(interp, "ld-linux-x86-64"))
		warning("%s runs on %s, not on glibc: it will not be accelerated", path, interp);
}

static void check_program(const char *name, int depth);

/* First line of a script: the interpreter, and what env(1) will start. */
static void check_script(const char *path, int depth)
{
	char line[PATH_MAX], *save, *word;
	FILE *f = fopen(path, "re");
	bool is_env;

	if (!f)
		return;
	if (!fgets(line, sizeof line, f) || strncmp(line, "#!", 2)) {
		fclose(f);
		return;
	}
	fclose(f);
	word = strtok_r(line + 2, " \t\n", &save);
	if (!word)
		return;
	check_program(word, depth + 1);
	is_env = !strcmp(fn_conf_basename(word), "env");
	while (is_env && (word = strtok_r(NULL, " \t\n", &save)))
		if (*word != '-' && !strchr(word, '=')) {
			check_program(word, depth + 1);
			break;
		}
}

/* Say why a program will stay on the kernel. depth: how many interpreters deep (Linux: 4). */
static void check_program(const char *name, int depth)
{
	char path[PATH_MAX];
	struct fn_elf e;

	if (depth > 4 || !find_program(name, path))
		return;
	check_rights(path);
	switch (fn_elf_open(&e, path)) {
	case FN_ELF_OK:
		check_elf(path, &e);
		fn_elf_close(&e);
		break;
	case FN_ELF_OTHER:
		warning("%s is not an x86-64 program: it will not be accelerated", path);
		break;
	case FN_ELF_NOT:
		check_script(path, depth);
		break;
	case FN_ELF_ERROR:
		/* a program that may be executed but not read */
		break;
	}
}

/* ---- the configuration ---- */

static void report(void *ctx, const char *text)
{
	fprintf(stderr, "fastnet-run: %s\n", text);
}

static void say_ip4(const char *what, uint32_t ip4)
{
	const uint8_t *a = (const uint8_t *)&ip4;

	printf("%s%u.%u.%u.%u", what, a[0], a[1], a[2], a[3]);
}

static void say_conf(const struct fn_conf *c, const char *library)
{
	printf("library: %s\n", library ? library : "not found");
	printf("file: %s\n", *c->file ? c->file : "none");
	for (unsigned i = 0; i < c->nnics; i++) {
		const struct fn_nic_conf *n = &c->nics[i];

		printf("port: %s: dpdk:%s ", n->name, n->devargs);
		say_ip4("address ", n->ip4);
		printf("/%d", __builtin_popcount(n->ip4_mask));
		if (n->ip4_gw)
			say_ip4(" gateway ", n->ip4_gw);
		putchar('\n');
	}
	if (c->fabric)
		printf("fabric: on: %s between processes of this host may go through shared memory\n",
		       c->nnics ? "TCP" : "TCP and UDP");
	else if (!c->nnics)
		puts("port: none: every socket will be the kernel's");
	printf("rules: %u\n", c->nrules);
	if (c->disable)
		puts("FASTNET_DISABLE is set: the library will be inert");
}

static void set_env(const char *var, const char *value)
{
	if (setenv(var, value, 1))
		fail(EXIT_OURS, "%s: %s", var, strerror(errno));
}

static void add_nic(const char *spec)
{
	static char *joined;
	char *old = joined;

	if (asprintf(&joined, "%s%s%s", old ? old : "", old ? ";" : "", spec) < 0)
		fail(EXIT_OURS, "out of memory");
	free(old);
	set_env("FASTNET_NIC", joined);
}

static void set_log(const char *level)
{
	set_env("FASTNET_LOG_LEVEL", level);
	if (!getenv("FASTNET_LOG"))
		set_env("FASTNET_LOG", "stderr");
}

/* The library first, then what was asked to be preloaded already. */
static void set_preload(const char *library)
{
	const char *old = getenv("LD_PRELOAD");
	char *all;

	/* ld.so(8): the list is separated by blanks or colons, and there is no way to quote one */
	if (strpbrk(library, " :"))
		fail(EXIT_OURS, "%s cannot be preloaded: blank or colon in its path", library);
	if (asprintf(&all, "%s%s%s", library, old && *old ? ":" : "", old ? old : "") < 0)
		fail(EXIT_OURS, "out of memory");
	set_env("LD_PRELOAD", all);
	free(all);
}

/* ---- main ---- */

enum { OPT_NIC = 1, OPT_CONF, OPT_LOG, OPT_CHECK, OPT_HELP, OPT_VERSION };

static const struct option options[] = {
	{ "nic", required_argument, NULL, OPT_NIC },
	{ "conf", required_argument, NULL, OPT_CONF },
	{ "log", required_argument, NULL, OPT_LOG },
	{ "check", no_argument, NULL, OPT_CHECK },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ 0 },
};

/* True: --check. */
static bool parse_options(int argc, char **argv)
{
	bool check = false;
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) != -1)
		switch (c) {
		case OPT_NIC:
			add_nic(optarg);
			break;
		case OPT_CONF:
			set_env("FASTNET_CONF", optarg);
			break;
		case OPT_LOG:
			set_log(optarg);
			break;
		case OPT_CHECK:
			check = true;
			break;
		case OPT_HELP:
			fputs(usage, stdout);
			exit(0);
		case OPT_VERSION:
			puts("fastnet-run (fastnet) " PACKAGE_VERSION);
			exit(0);
		default:
			fputs("Try 'fastnet-run --help'.\n", stderr);
			exit(EXIT_OURS);
		}
	return check;
}

int main(int argc, char **argv)
{
	static const struct fn_conf_report rep = { report, NULL };
	static struct fn_conf conf;
	char library[PATH_MAX];
	bool check = parse_options(argc, argv), found;
	unsigned errors = fn_conf_load(&conf, environ, false, &rep);

	found = fn_locate_library(library);
	if (check) {
		say_conf(&conf, found ? library : NULL);
		return errors || !found;
	}
	if (optind == argc)
		fail(EXIT_OURS, "no program given\nTry 'fastnet-run --help'.");
	if (errors)
		fail(EXIT_OURS, "the configuration is wrong: %s is not started", argv[optind]);
	if (!found)
		fail(EXIT_OURS, "libfastnet.so not found (looked at %s last)", library);
	check_program(argv[optind], 0);
	set_preload(library);
	execvp(argv[optind], argv + optind);
	fail(errno == ENOENT ? EXIT_NOENT : EXIT_NOEXEC, "%s: %s", argv[optind], strerror(errno));
}
