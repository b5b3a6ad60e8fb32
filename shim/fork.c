/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * fork. Without a stack the child inherits listeners and undecided sockets, and builds its own stack at its first wait;
 * with one, parent and child share it: every socket counts its images, either may drive. Runs as pthread_atfork hooks, so
 * daemon() and forkpty() pass here too. The fd table and the slabs are locked over the fork: the child's
 * copies are exact, and no lock of theirs stays held there by a thread that the child has not got.
 */
#include "shim/bell.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/info.h"
#include "shim/listen.h"
#include "shim/shim.h"
#include "shim/signal.h"
#include "shim/slab.h"

static int child_image;

void fn_shim_fork_prepare(void)
{
	child_image = -1;
	if (!fn_fdtable.size)
		return;
	fn_engine_lock();
	fn_lock_take(&fn_fdtable.lock);
	fn_threads_fork_prepare();
	child_image = fn_engine_fork_prepare();
	fn_lock_take(&fn_slab_lock);
}

void fn_shim_fork_parent(void)
{
	if (!fn_fdtable.size)
		return;
	fn_lock_release(&fn_slab_lock);
	fn_bell_fork_parent();
	fn_threads_fork_parent();
	fn_lock_release(&fn_fdtable.lock);
	fn_engine_unlock();
}

void fn_shim_fork_child(void)
{
	if (!fn_fdtable.size)
		return;
	fn_lock_release(&fn_slab_lock);
	fn_threads_fork_child();
	fn_lock_release(&fn_fdtable.lock);
	/* a shared lock is the parent's to release; without a shared stack the child's is a new one */
	fn_engine_fork_child(child_image);
	fastnet_info.pid = (int32_t)fn_sys(SYS_getpid, 0);
	fn_listen_epoch++;
}
