/* SPDX-License-Identifier: BSD-3-Clause */
/* See room.h. */
#include "shim/room.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/info.h"
#include "shim/log.h"
#include "shim/rendezvous.h"
#include "shim/spare.h"
#include "shim/uid.h"
#include "shim/wait.h"

/* Numbers left to the program where the library takes one: a first contact over the fabric takes some ten at a time. */
#define HEADROOM	16

static _Atomic(bool) scarce;

static unsigned limit_now(struct rlimit *lim)
{
	if (fn_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, lim) < 0)
		return 0;
	return lim->rlim_cur > FN_FD_MAX ? FN_FD_MAX : (unsigned)lim->rlim_cur;
}

bool fn_room_scarce(void)
{
	return scarce;
}

bool fn_room_for(int fd)
{
	struct rlimit lim;
	unsigned limit = limit_now(&lim);

	if ((unsigned)fd + HEADROOM >= limit)
		return false;
	if (scarce && (unsigned)fd < limit / 4)
		scarce = false;
	return !scarce;
}

bool fn_room_now(void)
{
	int fd = (int)fn_sys(SYS_eventfd2, 0, EFD_CLOEXEC);
	bool yes = fd >= 0 && fn_room_for(fd);

	if (fd >= 0)
		fn_sys_close(fd);
	return yes;
}

void fn_room_taken(int fd)
{
	struct rlimit lim;
	unsigned limit;

	if (fn_likely(fn_fdtable.near != ~0u))
		return;
	limit = limit_now(&lim);
	/* from half of them on the kernel's table is so large that moving up makes no thread of the program wait for it */
	if ((unsigned)fd < limit)
		fn_fdtable.near = limit / 2;
}

/* A filter may end who sets a limit (systemd's ~@resources does); nor can it be asked without a descriptor. */
static bool filtered(void)
{
	char buf[4096];
	const char *line = fn_read_text("/proc/self/status", buf, sizeof(buf)) ? strstr(buf, "\nSeccomp:") : NULL;

	return !line || strtol(line + strlen("\nSeccomp:"), NULL, 10) != 0;
}

/*
 * Above the limit, which is raised for that moment: to a fork, which takes the table's lock, it never shows. Another thread
 * may be about to sleep on a number of ours: not then.
 */
static bool lift(void)
{
	struct rlimit lim, more;
	unsigned limit = limit_now(&lim);
	bool done = false;

	if (!limit || limit == FN_FD_MAX || fn_engine.barred || !fn_thread_alone() || filtered())
		return false;
	more.rlim_cur = limit + fn_fd_internal_count();
	more.rlim_max = fn_max(lim.rlim_max, more.rlim_cur);
	fn_engine_lock();
	fn_lock_take(&fn_fdtable.lock);
	if (fn_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &more, NULL) == 0) {
		done = fn_fd_internal_lift((int)limit);
		fn_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, &lim, NULL);
	}
	fn_lock_release(&fn_fdtable.lock);
	fn_engine_unlock();
	return done;
}

/* What can be had again, or what nobody needs who is served already. */
static void give_back(void)
{
	fn_spare_forget();
	fn_rendezvous_namespace();
	fn_engine_lock();
	for (unsigned i = 0; i < fn_array_size(fn_engine.base_fd); i++)
		if (fn_engine.base_fd[i] >= 0)
			fn_fd_internal_close_at(&fn_engine.base_fd[i]);
	fn_fabric_shut();
	fn_engine_unlock();
	fn_log_limited(FN_LOG_NOTICE, "RLIMIT_NOFILE is near: nobody new comes by the fabric");
}

void fn_room_look(void)
{
	struct rlimit lim;
	unsigned last = limit_now(&lim) / 8 * 7;
	bool near_it = fn_fdtable.near >= last;

	fn_fdtable.near = ~0u;
	if (lift()) {
		fn_spare_forget();
		scarce = true;
	} else if (near_it) {
		scarce = true;
		give_back();
	} else {
		fn_fdtable.near = last;
	}
}

bool fn_room_make(void)
{
	unsigned before = fn_fd_internal_below();

	/* a limit that has come down below ours: nobody new is to come all the same */
	if (!fn_fd_internal_count() || (!before && scarce))
		return false;
	scarce = true;
	fn_fdtable.near = ~0u;
	fn_spare_forget();
	fn_rendezvous_namespace();	/* one number, to ask with whether there is a filter */
	if (!lift())
		give_back();
	return fn_fd_internal_below() < before;
}
