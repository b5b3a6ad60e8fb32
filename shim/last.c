/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last thread. A process ends with it (pthread_exit(3)), and a keeper or EAL's own thread must not keep one alive whose
 * main thread has ended first. libc counts them among the rest, so the question is put to the kernel. Asked by the keeper,
 * once the main thread is on its way out, and by a thread that ends past libc.
 */
#include "shim/last.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "shim/sys.h"

/* Beginnings of the names that our threads have: the keeper's, and what DPDK makes (lib/eal/linux, lib/telemetry). */
static const char *const ours[] = { "fastnet-", "eal-", "rte_", "telemetry-", "dpdk-" };

/* What /proc/self/task/TID/NAME says; false: the thread is gone. */
static bool ask(const char *tid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%s/%s", tid, name);
	fd = (int)fn_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = fn_sys_read(fd, text, size - 1);
	fn_sys_close(fd);
	text[n < 0 ? 0 : n] = 0;
	return n > 0;
}

/* It has ended, or is on its way (proc_pid_stat(5): the state follows the name, which may hold anything). */
static bool ended(const char *tid)
{
	char text[512], *state;

	if (!ask(tid, "stat", text, sizeof(text)))
		return true;
	state = strrchr(text, ')');
	return !state || strchr("ZXx", state[2]);
}

static bool is_ours(const char *tid)
{
	char name[32];

	if (!ask(tid, "comm", name, sizeof(name)))
		return true;
	for (unsigned i = 0; i < fn_array_size(ours); i++)
		if (!strncmp(name, ours[i], strlen(ours[i])))
			return true;
	return false;
}

/*
 * As many threads as when there was one of the program's last? Asked of the folder's links (proc_task_getattr() of
 * fs/proc/base.c) and not by opening it, for the keeper asks again and again, and a descriptor is a number that the program
 * misses.
 */
static bool as_many(unsigned long *had)
{
	struct stat st;

	if (fn_sys(SYS_newfstatat, AT_FDCWD, "/proc/self/task", &st, 0) < 0)
		return false;
	if (st.st_nlink == *had)
		return true;
	*had = st.st_nlink;
	return false;
}

bool fn_last_ended(int self)
{
	static unsigned long had;
	/* getdents64(2); d_off may be anything, the names are what counts */
	char buf[2048] __attribute__((aligned(8)));
	bool alone;
	long n = 0;
	int dir;

	if (!self && as_many(&had))
		return false;
	dir = (int)fn_sys(SYS_openat, AT_FDCWD, "/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	alone = dir >= 0;
	while (alone && (n = fn_sys(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
		for (long at = 0; alone && at < n;) {
			const struct dirent64 *d = (const struct dirent64 *)(buf + at);

			at += d->d_reclen;
			alone = d->d_name[0] == '.' || (self && atoi(d->d_name) == self) || ended(d->d_name) ||
				is_ours(d->d_name);
			/* the main thread stays counted when it has ended */
			if (!alone && atoi(d->d_name) == fn_sys(SYS_getpid, 0))
				had = 0;
		}
	if (dir >= 0)
		fn_sys_close(dir);
	return alone && n == 0;
}
