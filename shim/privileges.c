/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Privileges: what is done before the program gives some up, and what the library's own thread does when it has. Ports that
 * the program's listeners want are opened before; so is, or is kept, whatever could not be had afterwards. What the main
 * thread gives up for itself alone (capset, a seccomp filter, set*id by number) the keeper gives up as well: it has all of
 * the program's memory, and would be a way round.
 */
#include <errno.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/convert.h"
#include "shim/keeper.h"
#include "shim/known.h"
#include "shim/leave.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/port.h"
#include "shim/reserve.h"
#include "shim/seccomp.h"
#include "shim/shim.h"
#include "shim/sockfile.h"
#include "shim/spare.h"
#include "shim/wait.h"

static unsigned refused;	/* groups of seccomp.def, by all filters so far */

static bool wants_port(void)
{
	return fn_config.early_open || fn_listen_for_ports();
}

/* Ports want them; the fabric does not. */
void fn_shim_privileges(void)
{
	if (!fn_ports_to_come())
		return;
	if (fn_config.early_open)
		fn_engine_start(true);
	if (fn_fdtable.size)
		fn_listen_attach_all();
	if (!fn_engine.ports && wants_port()) {
		fn_engine_lock();
		fn_reserve_take();
		fn_engine_unlock();
	}
}

static bool has_connections(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];

		if (f && f->kind == FN_FILE_TCP && f->sk && f->sk->conn != FN_CONN_NONE)
			return true;
	}
	return false;
}

/*
 * Others who share the stack keep what this image gives up, and follow pointers in memory that it could write to: whoever
 * takes it over would be them. The relay is one of them. One that has no connections yet is about to serve (HAProxy's
 * worker, whose master has looked up a name through the port): it would have no port at all, for DPDK cannot be started
 * anew in a child, and stays.
 */
static void leave_others(void)
{
	bool others;

	if (!fn_engine.shares || !has_connections())
		return;
	fn_engine_lock();
	others = fn_family_others();
	fn_engine_unlock();
	if (others)
		fn_leave(FN_REASON_PRIVILEGES);
}

void fn_shim_namespace(bool net)
{
	fn_fabric_namespace(net);
}

void fn_shim_chroot(void)
{
	leave_others();
	fn_shim_privileges();
	if (!fn_engine.ports && wants_port()) {
		fn_engine_lock();
		fn_thread_self()->inside = true;
		fn_ports_prepare();
		fn_thread_self()->inside = false;
		fn_engine_unlock();
	}
}

/* ---- set*id ---- */

static bool is_change(unsigned want, const unsigned *now)
{
	return want != -1u && (want != now[0] || want != now[1] || want != now[2]);
}

/* Would the call change a real, effective or saved ID? Programs call with what they have, too. */
static bool id_changes(long n, const unsigned id[3])
{
	bool user = n == SYS_setuid || n == SYS_setreuid || n == SYS_setresuid;
	unsigned now[3];

	if (fn_sys(user ? SYS_getresuid : SYS_getresgid, &now[0], &now[1], &now[2]) < 0)
		return true;
	if (n == SYS_setresuid || n == SYS_setresgid)
		return (id[0] != -1u && id[0] != now[0]) || (id[1] != -1u && id[1] != now[1]) ||
		       (id[2] != -1u && id[2] != now[2]);
	/* setuid() of one without privileges sets one of them, setreuid() perhaps the third: the difference is not worth it */
	return is_change(id[0], now) || (n != SYS_setuid && n != SYS_setgid && is_change(id[1], now));
}

/* What was made or met as the user of before is not for the next one. */
static void forget_user(void)
{
	fn_spare_forget();
	fn_engine_lock();
	fn_known_forget();
	fn_engine_unlock();
}

void fn_shim_identity(long n, const unsigned id[3])
{
	if (fn_engine.shares && id_changes(n, id))
		leave_others();
	fn_shim_privileges();
	forget_user();
}

/* ---- seccomp ---- */

static void tell(void *ctx, const struct fn_seccomp_call *call)
{
	const unsigned *groups = ctx;

	if (!(call->group & *groups))
		return;
	fn_log(call->group == FN_SECCOMP_SERVE ? FN_LOG_WARNING : FN_LOG_NOTICE,
	       "the seccomp filter does not allow %s (%s)%s", call->name, call->what,
	       call->group == FN_SECCOMP_SERVE ? ": sockets are the kernel's now" : "");
}

static void tell_nobody(void *ctx, const struct fn_seccomp_call *call)
{
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

/* The kernel refuses a filter to who could use it against a set-uid program: nothing is given up for that. */
static bool may_install(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = { 0 };

	return refused & FN_SECCOMP_EXAMINE || fn_sys(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ||
	       fn_sys(SYS_capget, &h, d) < 0 || d[0].effective & 1u << CAP_SYS_ADMIN;
}

static void examine(const struct sock_fprog *prog)
{
	static struct sock_filter code[BPF_MAXINSNS];
	static struct fn_lock one;
	unsigned n, groups;

	fn_lock_take(&one);
	n = copy_filter(prog, code);
	groups = n ? fn_seccomp_refuses(code, n, tell_nobody, NULL) : 0;
	refused |= groups;
	/* what still matters: without SERVE nothing else does */
	groups = groups & FN_SECCOMP_SERVE ? FN_SECCOMP_SERVE :
		 ~((fn_engine.st ? FN_SECCOMP_START : 0u) | (fn_config.fabric ? 0u : FN_SECCOMP_FABRIC));
	if (fn_fdtable.size && n)
		fn_seccomp_refuses(code, n, tell, &groups);
	fn_lock_release(&one);
}

/* From here on the library makes no calls of its own but those that the program asked for. */
static void bar(void)
{
	fn_engine.barred = fn_engine.plain_waits = true;
	fn_keeper_forbid();
	fn_leave(FN_REASON_SECCOMP);
	fn_convert_any &= !(refused & FN_SECCOMP_NAME);
	if (refused & FN_SECCOMP_LOG)
		fn_log_end();
}

/* Whatever the filter will not let us get is got, and what it forbids is given up. */
static void before_filter(const struct sock_fprog *prog)
{
	if (!may_install())
		return;
	examine(prog);
	if (!(refused & FN_SECCOMP_SERVE)) {
		leave_others();
		fn_shim_privileges();
	}
	if (fn_config.fabric && refused & FN_SECCOMP_FABRIC && !fn_fabric_forgo())
		refused |= FN_SECCOMP_SERVE;
	if (refused & FN_SECCOMP_SERVE || (refused & FN_SECCOMP_START && !fn_engine.st)) {
		bar();
		return;
	}
	if (!fn_fdtable.size)
		return;
	fn_listen_accept_ready();
	fn_thread_ready();
	fn_keeper_repeat(SYS_gettid, (const long[5]){ 0 });	/* it has come up, and driven */
	fn_engine.plain_sleeps = refused & (FN_SECCOMP_SIGNAL | FN_SECCOMP_YIELD);
	fn_engine.plain_waits = refused & FN_SECCOMP_PLAIN;
	fn_engine.no_family |= (refused & FN_SECCOMP_FAMILY) != 0;
	fn_engine.no_names = refused & FN_SECCOMP_NAME;
	fn_convert_any &= !fn_engine.no_names;
	if (refused & FN_SECCOMP_THREAD) {
		fn_keeper_forbid();
		fn_keeper_stay();
	}
	if (refused & FN_SECCOMP_GROW)
		fn_arena_fix();
	if (refused & FN_SECCOMP_LINK)
		fn_ports_still();
	if (refused & FN_SECCOMP_LOG)
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

static bool sets_id(long n)
{
	return n == SYS_setuid || n == SYS_setreuid || n == SYS_setresuid || n == SYS_setgid || n == SYS_setregid ||
	       n == SYS_setresgid;
}

/* A filter for all threads is in the keeper already; one with a listener cannot be installed twice. */
static bool keeper_follows(long n, const long *a)
{
	return fn_sys(SYS_gettid, 0) == fn_sys(SYS_getpid, 0) &&
	       !(n == SYS_seccomp && a[1] & (SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_NEW_LISTENER));
}

static void threads_follow(long n, const long arg[5])
{
	fn_keeper_repeat(n, arg);
	fn_ports_thread_call(n, arg);
}

long fn_shim_confine(long n, long a, long b, long c, long d, long e)
{
	const long arg[5] = { a, b, c, d, e }, nnp[5] = { PR_SET_NO_NEW_PRIVS, 1 };
	const struct sock_fprog *prog = filter_of(n, arg);
	bool follow;
	long ret;

	if (fn_engine.barred)
		return fn_sys(n, a, b, c, d, e);
	if (is_strict(n, arg))	/* read, write and _exit are left */
		refused = ~0u, bar();
	else if (sets_id(n))
		fn_shim_identity(n, (const unsigned[3]){ (unsigned)a, (unsigned)b, (unsigned)c });
	else if (n == SYS_capset)
		leave_others(), fn_shim_privileges();
	else if (n != SYS_seccomp && n != SYS_prctl)
		fn_shim_privileges();
	/* asked before the filter, which may allow none of it */
	follow = (n != SYS_seccomp && n != SYS_prctl) || prog;
	follow = follow && keeper_follows(n, arg);
	if (follow)
		fn_ports_thread_ready();
	if (prog && follow && fn_sys(SYS_prctl, PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
		threads_follow(SYS_prctl, nnp);
	if (prog)
		before_filter(prog);
	ret = fn_sys(n, a, b, c, d, e);
	if (ret >= 0 && follow)
		threads_follow(n, arg);
	return ret;
}
