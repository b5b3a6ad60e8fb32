/* SPDX-License-Identifier: BSD-3-Clause */
/* Finding fastnet_info in a process, and reading it. The stack behind it is target_stack.c's. */
#include "tools/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/info_layout.h"
#include "tools/elf_file.h"
#include "tools/target_mem.h"

/* Linux's flags beside a socket's type are above it. */
#define SOCK_TYPE_MASK 0xf

/* ---- where the library is ---- */

struct place {
	uint64_t start, end;	/* its first mapping */
	char path[512];
};

/* "libfastnet.so", perhaps with a version behind it, perhaps deleted since. */
static bool is_library(const char *path)
{
	static const char name[] = "libfastnet.so";
	const char *base = fn_conf_basename(path);

	return !strncmp(base, name, sizeof name - 1) && (!base[sizeof name - 1] || strchr(". ", base[sizeof name - 1]));
}

/* The mapping of the library's first page. */
static enum fn_target_error find_library(pid_t pid, struct place *p)
{
	char name[64], line[800];
	enum fn_target_error ret = FN_TARGET_NOT_OURS;
	FILE *f;

	snprintf(name, sizeof name, "/proc/%d/maps", (int)pid);
	f = fopen(name, "re");
	if (!f)
		return errno == ENOENT || errno == ESRCH ? FN_TARGET_GONE : FN_TARGET_PERMISSION;
	errno = 0;
	while (ret == FN_TARGET_NOT_OURS && fgets(line, sizeof line, f)) {
		unsigned long long start, end, offset;
		int at = 0;

		if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &at) < 3 || !at || offset)
			continue;
		line[strcspn(line, "\n")] = 0;
		if (!is_library(line + at))
			continue;
		p->start = start;
		p->end = end;
		snprintf(p->path, sizeof p->path, "%s", line + at);
		ret = FN_TARGET_OK;
	}
	/* the file opens, but reading it is refused */
	if (ret != FN_TARGET_OK && (errno == EACCES || errno == EPERM))
		ret = FN_TARGET_PERMISSION;
	if (ret != FN_TARGET_OK && errno == ESRCH)
		ret = FN_TARGET_GONE;
	fclose(f);
	return ret;
}

/* The file that is mapped there, even if it was replaced or is in another mount namespace. */
static bool open_library(struct fn_elf *e, pid_t pid, const struct place *p)
{
	char path[700];

	snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", (int)pid, (unsigned long long)p->start,
		 (unsigned long long)p->end);
	if (fn_elf_open(e, path) == FN_ELF_OK)
		return true;
	snprintf(path, sizeof path, "/proc/%d/root%s", (int)pid, p->path);
	return fn_elf_open(e, path) == FN_ELF_OK;
}

/* ---- fastnet_info ---- */

static enum fn_target_error find_info(pid_t pid, uint64_t *addr, uint64_t *size)
{
	struct place p;
	struct fn_elf e;
	enum fn_target_error ret = find_library(pid, &p);

	if (ret != FN_TARGET_OK)
		return ret;
	if (!open_library(&e, pid, &p))
		return FN_TARGET_BROKEN;
	*addr = fn_elf_symbol(&e, "fastnet_info", size);
	if (*addr)
		*addr += p.start - fn_elf_base(&e);
	fn_elf_close(&e);
	return *addr ? FN_TARGET_OK : FN_TARGET_BROKEN;
}

/* Texts of the other process: ended, and printable. */
static void clean(char *text, size_t size)
{
	text[size - 1] = 0;
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || (unsigned char)*text > '~')
			*text = '?';
}

static void clean_info(struct fn_info *i)
{
	clean(i->version, sizeof i->version);
	clean(i->program, sizeof i->program);
	clean(i->file, sizeof i->file);
	i->ports = fn_min(i->ports, (uint32_t)FN_CONF_NICS);
	for (unsigned n = 0; n < FN_INFO_DECISIONS; n++)
		i->ring[n].type &= SOCK_TYPE_MASK;
	for (unsigned n = 0; n < FN_CONF_NICS; n++) {
		clean(i->port[n].name, sizeof i->port[n].name);
		clean(i->port[n].devargs, sizeof i->port[n].devargs);
	}
}

enum fn_target_error fn_target_open(struct fn_target *t, pid_t pid)
{
	const size_t head = offsetof(struct fn_info, program);
	uint64_t addr, size = 0;
	enum fn_target_error ret;
	int err;

	memset(t, 0, sizeof *t);
	t->pid = pid;
	ret = find_info(pid, &addr, &size);
	if (ret != FN_TARGET_OK)
		return ret;
	if (size < head)
		return FN_TARGET_BROKEN;
	err = fn_target_mem(pid, addr, &t->info, head);
	if (err)
		return err == -EPERM ? FN_TARGET_PERMISSION : err == -ESRCH ? FN_TARGET_GONE : FN_TARGET_BROKEN;
	clean(t->info.version, sizeof t->info.version);
	if (t->info.magic != FN_INFO_MAGIC)
		return FN_TARGET_BROKEN;
	if (t->info.layout != FN_INFO_LAYOUT || t->info.size != sizeof t->info || size < sizeof t->info)
		return FN_TARGET_LAYOUT;
	if (fn_target_mem(pid, addr, &t->info, sizeof t->info))
		return FN_TARGET_BROKEN;
	clean_info(&t->info);
	return t->info.pid ? FN_TARGET_OK : FN_TARGET_INERT;
}

const char *fn_target_strerror(enum fn_target_error e)
{
	switch (e) {
	case FN_TARGET_OK:		return "no error";
	case FN_TARGET_GONE:		return "no such process";
	case FN_TARGET_PERMISSION:	return "no permission to look into it";
	case FN_TARGET_NOT_OURS:	return "not under Fastnet (libfastnet.so is not loaded)";
	case FN_TARGET_INERT:		return "libfastnet.so is loaded but inert (FASTNET_DISABLE, or a set-uid program)";
	case FN_TARGET_LAYOUT:		return "its libfastnet.so is of another version or build: use the fastnet-stat of that one";
	case FN_TARGET_BROKEN:		return "its libfastnet.so has no record that could be read";
	}
	return "unknown error";
}
