/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Privileges: what is done before the program gives some up, and what the library's own thread does when it has. Ports that
 * the program's listeners want are opened before; so is, or is kept, whatever could not be had afterwards. What the main
 * thread gives up for itself alone (capset, a seccomp filter, set*id by number) the keeper gives up as well: it has all of
 * the program's memory, and would be a way round.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/convert.h"
#include "shim/keeper.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/port.h"
#include "shim/reserve.h"
#include "shim/seccomp.h"
#include "shim/shim.h"
#include "shim/wait.h"

static unsigned refused;	/* groups of seccomp.def, by all filters so far */

static bool has_listeners(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] && fn_fdtable.file[fd]->kind == FN_FILE_LISTEN)
			return true;
	return false;
}

static bool wants_port(void)
{
	return fn_config.early_open || has_listeners();
}

void fn_shim_privileges(void)
{
	if (fn_config.early_open)
		fn_engine_start();
	if (fn_fdtable.size)
		fn_listen_attach_all();
	if (!fn_engine.st && wants_port()) {
		fn_engine_lock();
		fn_reserve_take();
		fn_engine_unlock();
	}
}

void fn_shim_chroot(void)
{
	fn_shim_privileges();
	if (!fn_engine.st && wants_port()) {
		fn_engine_lock();
		fn_thread_self()->inside = true;
		fn_ports_prepare();
		fn_thread_self()->inside = false;
		fn_engine_unlock();
	}
}

/* ---- seccomp ---- */

static void tell(void *ctx, const struct fn_seccomp_call *call)
{
	fn_log(call->group == FN_SECCOMP_SERVE ? FN_LOG_WARNING : FN_LOG_NOTICE,
	       "the seccomp filter does not allow %s (%s)%s", call->name, call->what,
	       call->group == FN_SECCOMP_SERVE ? ": see fastnet(7)" : "");
}

/* The filter is the program's memory: the kernel copies it, or says that it is none. */
static unsigned copy_filter(const struct sock_fprog *prog, struct sock_filter *code)
{
	struct sock_fprog head;
	struct iovec to = { &head, sizeof(head) }, from = { (void *)prog, sizeof(head) };
	long self = fn_sys(SYS_getpid, 0);

	if (refused & (FN_SECCOMP_EXAMINE | FN_SECCOMP_LOG) ||
	    fn_sys(SYS_process_vm_readv, self, &to, 1, &from, 1, 0) != sizeof(head) || !head.len || head.len > BPF_MAXINSNS)
		return 0;
	to = (struct iovec){ code, head.len * sizeof(*code) };
	from = (struct iovec){ head.filter, to.iov_len };
	return fn_sys(SYS_process_vm_readv, self, &to, 1, &from, 1, 0) == (long)to.iov_len ? head.len : 0;
}

/* Whatever the filter will not let us get is got, and what it forbids altogether is given up. */
static void before_filter(const struct sock_fprog *prog)
{
	static struct sock_filter code[BPF_MAXINSNS];
	static struct fn_lock one;
	unsigned n;

	if (!fn_fdtable.size)
		return;
	fn_listen_accept_ready();
	fn_thread_ready();
	fn_keeper_repeat(SYS_gettid, (const long[5]){ 0 });	/* it has come up, and driven */
	fn_lock_take(&one);
	n = copy_filter(prog, code);
	refused |= n ? fn_seccomp_refuses(code, n, tell, NULL) : 0;
	fn_lock_release(&one);
	if (refused & FN_SECCOMP_SERVE)
		fn_keeper_stop();
	if (refused & (FN_SECCOMP_SERVE | FN_SECCOMP_THREAD))
		fn_keeper_forbid();
	if (refused & FN_SECCOMP_GROW)
		fn_arena_fix();
	if (refused & FN_SECCOMP_LINK)
		fn_ports_still();
	if (refused & FN_SECCOMP_LOG)
		fn_log_end();
}

/* After PR_SET_SECCOMP's strict mode there is read, write and _exit: connections are kernel sockets by then. */
static void before_strict(void)
{
	fn_keeper_stop();
	fn_keeper_forbid();
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		fn_convert_fd((int)fd);
	fn_log_end();
}

/* ---- calls that concern the calling thread alone ---- */

/* Does it install a filter that is the calling thread's alone? Its program then. */
static const struct sock_fprog *filter_of(long n, const long *a)
{
	if (n == SYS_prctl && a[0] == PR_SET_SECCOMP && a[1] == SECCOMP_MODE_FILTER)
		return (const struct sock_fprog *)a[2];
	if (n == SYS_seccomp && a[0] == SECCOMP_SET_MODE_FILTER)
		return (const struct sock_fprog *)a[2];
	return NULL;
}

static bool is_strict(long n, const long *a)
{
	return (n == SYS_prctl && a[0] == PR_SET_SECCOMP && a[1] == SECCOMP_MODE_STRICT) ||
	       (n == SYS_seccomp && a[0] == SECCOMP_SET_MODE_STRICT);
}

/* A filter for all threads is in the keeper already; one with a listener cannot be installed twice. */
static bool keeper_follows(long n, const long *a)
{
	return fn_sys(SYS_gettid, 0) == fn_sys(SYS_getpid, 0) &&
	       !(n == SYS_seccomp && a[1] & (SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_NEW_LISTENER));
}

long fn_shim_confine(long n, long a, long b, long c, long d, long e)
{
	const long arg[5] = { a, b, c, d, e }, nnp[5] = { PR_SET_NO_NEW_PRIVS, 1 };
	const struct sock_fprog *prog = filter_of(n, arg);
	bool follow;
	long ret;

	fn_shim_privileges();
	/* asked before the filter, which may allow none of it */
	follow = (n != SYS_seccomp && n != SYS_prctl) || prog;
	follow = follow && keeper_follows(n, arg);
	if (prog && follow && fn_sys(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		fn_keeper_repeat(SYS_prctl, nnp);
	if (prog)
		before_filter(prog);
	else if (is_strict(n, arg))
		before_strict();
	ret = fn_sys(n, a, b, c, d, e);
	if (ret >= 0 && follow)
		fn_keeper_repeat(n, arg);
	return ret;
}
