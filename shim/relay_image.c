/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the relay gives up of the program that it was copied from. Descriptors, or a pipe's other end would never see that
 * the program has closed it; large private memory, or the program would pay for each page that it writes from now on. What
 * the library, the plugin and the drivers need stays: all that is shared or comes from a file, and small mappings.
 */
#include "shim/relay_image.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "shim/bell.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/wait.h"

/* Smaller ones may be a driver's: EAL's own are at most a few MB each. */
#define LARGE		(16ul << 20)
#define LINE_MAX_LEN	512

/* One line of /proc/self/maps: is it the program's heap-like memory that we do not stand on? */
static bool expendable(const char *line, unsigned long *from, unsigned long *to)
{
	unsigned long sp = (unsigned long)__builtin_frame_address(0), tls = (unsigned long)fn_thread_self();
	unsigned long inode;
	char perms[5] = "";
	int name = 0;

	if (sscanf(line, "%lx-%lx %4s %*x %*s %lu %n", from, to, perms, &inode, &name) < 4)
		return false;
	if (inode || perms[3] != 'p' || perms[1] != 'w' || line[name] == '[' || *to - *from < LARGE)
		return false;
	return !(sp >= *from && sp < *to) && !(tls >= *from && tls < *to);
}

/* The mappings are read and unmapped line by line: what was read before is not affected. */
static void unmap_large(void)
{
	char buf[4096], line[LINE_MAX_LEN];
	int fd = (int)fn_sys(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC, 0);
	unsigned long from, to;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return;
	while ((n = fn_sys_read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			if (buf[i] != '\n') {
				line[len] = buf[i];
				len += len + 1 < sizeof(line);
				continue;
			}
			line[len] = 0;
			len = 0;
			if (expendable(line, &from, &to))
				fn_sys(SYS_munmap, from, to - from);
		}
	}
	fn_sys_close(fd);
}

void fn_relay_leave_program(int bell)
{
	fn_sys(SYS_setsid, 0);
	fn_sys(SYS_prctl, PR_SET_NAME, "fastnet-relay", 0, 0, 0);
	fn_sys(SYS_chdir, "/");
	fn_fd_internal_close(fn_engine.bell);
	fn_engine.bell = bell;
	fn_fd_internal_track(&fn_engine.bell);
	fn_fd_close_program();
	unmap_large();
}
