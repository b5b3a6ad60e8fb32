/* SPDX-License-Identifier: BSD-3-Clause */
/* See env.h. Runs between fork and exec: no malloc, no lock, errno as it was. */
#include "preload/env.h"

#include <elf.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "preload/guard.h"
#include "shim/shim.h"
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

/* Are LD_PRELOAD and FASTNET_* to be put back? */
static bool to_restore(const char *path, char *const envp[])
{
	return kept.count && fn_shim_active && !has(envp, "LD_PRELOAD=") && path && is_self(path);
}

/* ---- will the next program have the library? ---- */

#define HEAD	512	/* of a file: its first line, or ELF's headers as linkers write them */

/* Dynamically linked, as far as its first bytes tell. */
static bool has_interpreter(const uint8_t *head, size_t n)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;

	if (n < sizeof(eh) || memcmp(head, ELFMAG, SELFMAG) || head[EI_CLASS] != ELFCLASS64)
		return false;
	memcpy(&eh, head, sizeof(eh));
	for (size_t i = 0; i < eh.e_phnum && eh.e_phoff + (i + 1) * sizeof(ph) <= n; i++) {
		memcpy(&ph, head + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* Its first bytes; 0: it cannot be read, or is another user's when it runs, and the loader heeds no LD_PRELOAD then. */
static size_t read_head(const char *path, uint8_t head[HEAD])
{
	int fd = (int)fn_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return 0;
	if (fn_sys(SYS_fstat, fd, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & (S_ISUID | S_ISGID)) &&
	    fn_sys(SYS_fgetxattr, fd, "security.capability", NULL, 0) < 0)
		n = fn_sys_read(fd, head, HEAD);
	fn_sys_close(fd);
	return n > 0 ? (size_t)n : 0;
}

static bool takes_preload(const char *path)
{
	uint8_t head[HEAD];
	size_t n = read_head(path, head);
	char name[HEAD], *from;

	if (n < 3 || head[0] != '#' || head[1] != '!')
		return has_interpreter(head, n);
	head[n - 1] = 0;
	from = (char *)head + 2 + strspn((char *)head + 2, " \t");
	from[strcspn(from, " \t\n")] = 0;
	strcpy(name, from);
	n = read_head(name, head);
	return has_interpreter(head, n);
}

static const char *preload_of(char *const envp[])
{
	for (; envp && *envp; envp++)
		if (!strncmp(*envp, "LD_PRELOAD=", 11))
			return *envp;
	return NULL;
}

struct fn_env_room fn_env_room(const char *path, char *const envp[])
{
	struct fn_env_room room = { 0, 0 };
	bool restore = to_restore(path, envp);
	const char *preload = preload_of(envp);

	if (fn_active() && path && (restore || (preload && strstr(preload, "libfastnet"))) && takes_preload(path))
		room.text = fn_shim_exec_word_size();
	if (!restore && !room.text)
		return room;
	room.entries = 2 + (restore ? kept.count : 0);
	for (char *const *e = envp; e && *e; e++)
		room.entries++;
	return room;
}

char **fn_env_complete(const struct fn_env_room *room, char **full, char *text, char *const envp[])
{
	char **to = full;

	for (char *const *e = envp; e && *e; e++)
		*to++ = *e;
	for (unsigned i = 0; i < kept.count && to < full + room->entries - 2; i++)
		if (!has(envp, kept.var[i]))
			*to++ = kept.var[i];
	if (text && fn_guarded(false, fn_shim_exec_word(text)))
		*to++ = text;
	*to = NULL;
	return full;
}
