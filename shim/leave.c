/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See leave.h. Where a connection cannot be converted (no descriptor, no process) it is lost: the image must not go on
 * with it. What waits in a listener's queue, not accepted yet, is another image's or reset; datagrams that wait are lost.
 */
#include "shim/leave.h"

#include <errno.h>
#include <string.h>

#include "shim/addr.h"
#include "shim/convert.h"
#include "shim/cork.h"
#include "shim/decide.h"
#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/info.h"
#include "shim/keeper.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/shim.h"
#include "shim/sockfile.h"
#include "shim/wait.h"

static void leave_connection(struct fn_file *f, int fd, enum fn_reason why)
{
	int ret = fn_convert_for(f, why);

	if (ret < 0)
		fn_log(FN_LOG_WARNING, "connection %d is lost: %s", fd, strerror(-ret));
}

/* The kernel's socket has the name that bind() gave, and hears from the same peer only if it was told so. */
static void leave_datagrams(struct fn_file *f, int fd, enum fn_reason why)
{
	bool connected = f->side == FN_SIDE_STACK;
	struct sockaddr_storage peer;
	socklen_t len = connected ? fn_addr_make(f->domain, &f->sk->remote, &peer) : 0;

	fn_convert_state(f, fd);
	fn_engine_lock();
	fn_dual_del(f);
	if (f->named)
		fn_fabric_unlisten(f);
	f->named = false;
	fn_engine_drop(f);
	fn_engine_unlock();
	fn_cork_free(f);
	if (connected)
		fn_sys(SYS_connect, fd, &peer, len);
	fn_decide_kernel(f, fd, why, 0);
}

static void leave_listener(struct fn_file *f, int fd, enum fn_reason why)
{
	fn_engine_lock();
	if (fn_engine.barred) {
		fn_dual_del(f);
		fn_fabric_unlisten(f);
	}
	fn_engine_drop(f);
	fn_engine_unlock();
	if (!fn_engine.barred)
		return;
	fn_listen_plain(f, fd);
	fn_decide_kernel(f, fd, why, 0);
	fn_engine_lock();
	fn_file_wake(f, ~0u);
	fn_engine_unlock();
}

static void leave_file(struct fn_file *f, int fd, enum fn_reason why, bool alone)
{
	bool was_ours = f->sk || fn_engine.barred;
	unsigned kind = f->kind;

	if (f->kind == FN_FILE_TCP)
		leave_connection(f, fd, why);
	else if (f->kind == FN_FILE_UDP && alone)	/* another thread may be in the middle of a call */
		leave_datagrams(f, fd, why);
	else if (f->kind == FN_FILE_LISTEN)
		leave_listener(f, fd, why);
	else if (f->kind == FN_FILE_SOCKET && fn_engine.barred)
		fn_decide_kernel(f, fd, why, 0);
	else
		return;
	if (was_ours && !(kind == FN_FILE_TCP && f->reason == why))	/* fn_convert_for() has told */
		fn_decide_record(fd, f->domain, f->type, why, 0);
}

static void leave_files(enum fn_reason why, bool alone)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fd_get((int)fd);

		if (!f)
			continue;
		leave_file(f, (int)fd, why, alone);
		fn_file_put(f);
	}
}

void fn_leave(enum fn_reason why)
{
	bool alone = fn_thread_alone(), others;

	if (!fn_fdtable.size)
		return;
	fn_keeper_stop();
	leave_files(why, alone);
	if (!fn_engine.st)
		return;
	fn_engine_lock();
	others = fn_engine.shares && fn_family_others();
	fn_engine_unlock();
	if (!others)
		fn_engine_drain();
	if (alone)
		fn_engine_leave();
	else if (!fn_engine.barred)
		fn_shim_together();
}
