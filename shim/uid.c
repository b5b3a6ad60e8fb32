/* SPDX-License-Identifier: BSD-3-Clause */
/* What a uid is worth; see uid.h. */
#include "shim/uid.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "shim/sys.h"

bool fn_read_text(const char *path, char *buf, size_t size)
{
	int fd = (int)fn_sys(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	long n;

	if (fd < 0)
		return false;
	n = fn_sys_read(fd, buf, size - 1);
	fn_sys_close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n > 0;
}

uid_t fn_uid_own(void)
{
	return (uid_t)fn_sys(SYS_geteuid, 0);
}

/* Asked once: connects to other users' listeners want it. */
static uid_t overflow_uid(void)
{
	static _Atomic(uid_t) overflow;	/* 0: not asked; root is no overflow uid */
	uid_t uid = overflow;
	char buf[32];

	if (uid)
		return uid;
	/* kernel/sys.c: DEFAULT_OVERFLOWUID */
	uid = fn_read_text("/proc/sys/kernel/overflowuid", buf, sizeof(buf)) ? (uid_t)strtoul(buf, NULL, 10) : 65534;
	return overflow = uid;
}

/* Does this user namespace map every user to itself? */
static bool identity_map(void)
{
	unsigned long inside, outside, count;
	char buf[64];

	return fn_read_text("/proc/self/uid_map", buf, sizeof(buf)) && sscanf(buf, "%lu %lu %lu", &inside, &outside, &count) == 3 &&
	       !inside && !outside && count == UINT32_MAX;
}

bool fn_uid_known(uid_t uid)
{
	return uid != (uid_t)-1 && (uid != overflow_uid() || identity_map());
}

bool fn_uid_may_see(uid_t peer, uid_t since)
{
	uid_t real, effective, saved;

	if (fn_sys(SYS_getresuid, &real, &effective, &saved) < 0)
		return false;
	return peer == since && peer == real && peer == effective && peer == saved && fn_uid_known(peer);
}
