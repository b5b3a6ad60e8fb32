/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork. Without a stack the child inherits listeners and undecided sockets, and builds its own stack at its first wait;
 * with one, parent and child share it: every socket counts its images, either may drive. Runs as pthread_atfork hooks, so
 * daemon() and forkpty() pass here too. The fd table and the slabs are locked over the fork: the child's
 * copies are exact, and no lock of theirs stays held there by a thread that the child has not got.
 */
#include <errno.h>
#include <sched.h>

#include "shim/bell.h"
#include "shim/convert.h"
#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/info.h"
#include "shim/keeper.h"
#include "shim/last.h"
#include "shim/leave.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/robust.h"
#include "shim/shim.h"
#include "shim/signal.h"
#include "shim/slab.h"
#include "shim/spare.h"
#include "shim/wait.h"

/* How long a thread that has been joined may be counted yet, and how often that is looked at: its exit's last steps. */
#define JOINED_NS	FN_MSEC
#define JOINED_LOOKS	10

/* Of this thread's fork: its child's place in the family, and whether the locks are held. */
static __thread int child_image = -1;
static __thread bool prepared;

/* A place for the child, with both locks held. One for which there is none gets the connections as the kernel's. */
static int lock_and_place(void)
{
	int image;

	/* who has claimed what was offered, and said so, is met before: parent and child have him at once */
	for (int i = 0; i < 2 && fn_engine_fork_shares() && fn_engine.fabric; i++) {
		fn_engine_lock();
		fn_engine_poll(fn_now());
		fn_dual_check(fn_now());
		fn_engine_unlock();
	}
	for (;;) {
		fn_engine_lock();
		fn_fabric_fork_prepare();
		fn_lock_take(&fn_fdtable.lock);
		image = fn_engine_fork_prepare();
		if (image != -EAGAIN)
			return image;
		fn_lock_release(&fn_fdtable.lock);
		fn_engine_unlock();
		if (fn_convert_all() <= 0)
			break;
	}
	fn_engine_lock();
	fn_lock_take(&fn_fdtable.lock);
	return -1;
}

void fn_shim_fork_prepare(void)
{
	child_image = -1;
	if (!fn_fdtable.size)
		return;
	child_image = lock_and_place();
	fn_spare_forget_locked();
	fn_threads_fork_prepare();
	fn_lock_take(&fn_slab_lock);
	prepared = true;
}

void fn_shim_fork_parent(void)
{
	if (!prepared)
		return;
	prepared = false;
	fn_lock_release(&fn_slab_lock);
	fn_bell_fork_parent();
	fn_threads_fork_parent();
	fn_fabric_forked(false, true);
	fn_lock_release(&fn_fdtable.lock);
	/* who sleeps for the stack must watch the child too */
	if (child_image >= 0 && fn_engine.watcher)
		fn_thread_ring(fn_engine.watcher);
	fn_engine_unlock();
}

void fn_shim_fork_done(int pid)
{
	if (child_image < 0 || pid == 0)
		return;
	fn_engine_lock();
	if (pid > 0) {
		fn_family_named(child_image, pid);
		fn_fabric_held_again();
		/* here and not when somebody happens to look: what it takes has the lowest free number for a moment */
		fn_family_round(fn_now());
	} else {
		fn_engine_fork_failed(child_image);
	}
	fn_engine_unlock();
	child_image = -1;
}

void fn_shim_reaped(void)
{
	if (!fn_engine.shares)
		return;
	fn_engine_lock();
	fn_family_look();
	if (fn_engine.st)
		fn_engine_push();
	fn_engine_unlock();
}

void fn_shim_fork_child(void)
{
	if (!prepared)
		return;
	prepared = false;
	fn_lock_release(&fn_slab_lock);
	fn_threads_fork_child();
	fn_guard_fork_child();
	fn_lock_release(&fn_fdtable.lock);
	/* a shared lock is the parent's to release; without a shared stack the child's is a new one */
	fn_engine_fork_child(child_image);
	child_image = -1;
	fastnet_info.pid = (int32_t)fn_sys(SYS_getpid, 0);
	fn_listen_epoch++;
}

/* libc registers a forked child's list of robust locks; this one's it does not know. */
void fn_shim_clone_child(void)
{
	if (prepared)
		fn_robust_bare_child();
	fn_shim_fork_child();
}

/* ---- children that share ---- */

bool fn_shim_may_share(void)
{
	return !fn_engine.st;
}

/* Numbers that stand for nothing accelerated are kernel descriptors with everything written through to them. */
static void forget_all(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f;

		fn_lock_take(&fn_fdtable.lock);
		f = fn_fd_remove((int)fd);
		fn_lock_release(&fn_fdtable.lock);
		if (f)
			fn_file_put(f);
	}
}

/* what: who would share what with whom, for the log. */
static int retire(const char *what)
{
	bool stack;

	fn_engine_lock();
	stack = fn_engine.st != NULL;
	if (!stack) {
		fn_shim_active = false;
		fn_engine.barred = true;
	}
	fn_engine_unlock();
	if (stack) {
		fn_log(FN_LOG_ERROR, "refused in a process that has accelerated sockets: %s", what);
		return -EPERM;
	}
	fn_log(FN_LOG_WARNING, "%s: nothing is accelerated from now on", what);
	fn_leave(FN_REASON_CLONE);
	forget_all();
	return 0;
}

int fn_shim_retire(void)
{
	return retire("a clone(2) shares memory or descriptors");
}

/*
 * Is the calling thread the process's only one, the keeper and a driver's included? For that one the flag has no effect,
 * and for others it is EINVAL (unshare(2)). A thread that has been joined is counted until the kernel has done with it.
 */
static bool only_thread(void)
{
	const struct timespec pause = { .tv_nsec = JOINED_NS / JOINED_LOOKS };
	long ret;

	for (unsigned i = 0; (ret = fn_sys(SYS_unshare, CLONE_THREAD)) == -EINVAL && i < JOINED_LOOKS; i++)
		fn_sys(SYS_nanosleep, &pause, NULL);
	/* a seccomp filter may know another answer */
	return ret == 0 || (ret != -EINVAL && fn_last_ended((int)fn_sys(SYS_gettid, 0)));
}

int fn_shim_own_files(void)
{
	fn_keeper_stop();
	return only_thread() ? 0 : retire("a thread with descriptors of its own (CLONE_FILES, CLOSE_RANGE_UNSHARE)");
}
