/* SPDX-License-Identifier: BSD-3-Clause */
/* See env.h. Runs between fork and exec: no malloc, no lock, errno as it was. */
#include "preload/env.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/guard.h"
#include "shim/sys.h"

/* The variables of a configuration are some dozens, few of them are ever set. */
#define KEPT_MAX	32
/* What the kernel adds to the name of a program whose file was replaced (d_path). */
#define DELETED		" (deleted)"

static struct {
	char text[8192];	/* "NAME=value", each with its end */
	size_t used;
	char *var[KEPT_MAX];
	unsigned count;
} kept;

static bool is_ours(const char *var)
{
	return !strncmp(var, "FASTNET_", 8) || !strncmp(var, "LD_PRELOAD=", 11);
}

void fn_env_save(void)
{
	for (char **e = environ; e && *e; e++) {
		size_t len = strlen(*e) + 1;

		if (!is_ours(*e) || kept.count == KEPT_MAX || len > sizeof(kept.text) - kept.used)
			continue;
		kept.var[kept.count++] = memcpy(kept.text + kept.used, *e, len);
		kept.used += len;
	}
}

/* Does envp have the variable that var begins with? */
static bool has(char *const envp[], const char *var)
{
	size_t len = strcspn(var, "=") + 1;

	for (; envp && *envp; envp++)
		if (!strncmp(*envp, var, len))
			return true;
	return false;
}

/* The file under that name is the program that runs here, or has taken its place. */
static bool is_self(const char *path)
{
	struct stat own, other;
	char exe[4096];
	ssize_t n;

	if (fn_sys(SYS_stat, "/proc/self/exe", &own) < 0 || fn_sys(SYS_stat, path, &other) < 0)
		return false;
	if (own.st_dev == other.st_dev && own.st_ino == other.st_ino)
		return true;
	n = fn_sys(SYS_readlink, "/proc/self/exe", exe, sizeof(exe) - 1);
	if (n < 0)
		return false;
	exe[n] = 0;
	if ((size_t)n > strlen(DELETED) && !strcmp(exe + n - strlen(DELETED), DELETED))
		exe[(size_t)n - strlen(DELETED)] = 0;
	return !strcmp(exe, path);
}

size_t fn_env_missing(const char *path, char *const envp[])
{
	size_t n = 1;

	if (!kept.count || !fn_shim_active || has(envp, "LD_PRELOAD=") || !path || !is_self(path))
		return 0;
	for (char *const *e = envp; e && *e; e++)
		n++;
	return n + kept.count;
}

char **fn_env_complete(char **full, char *const envp[])
{
	char **to = full;

	for (char *const *e = envp; e && *e; e++)
		*to++ = *e;
	for (unsigned i = 0; i < kept.count; i++)
		if (!has(envp, kept.var[i]))
			*to++ = kept.var[i];
	*to = NULL;
	return full;
}
