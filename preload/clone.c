/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Children that do not come by fork(): vfork, clone() and the same by number (stub.S makes those calls). What kind of child
 * it is follows from clone(2)'s flags:
 *
 * - a copy of this image is one that forks: it belongs to the family of those that share the stack (shim/fork.c);
 * - one that shares memory while its parent waits (vfork) makes bare system calls until it execs, so that nothing of its
 *   parent's is touched; it is a copy instead while the stack is there, for it may pass a connection on;
 * - a thread that has brought thread-local storage of its own is like any other thread;
 * - what shares half of what we stand on (memory and thread-local storage, with its parent running; memory without the
 *   descriptors, or descriptors without the memory) cannot be told from its parent: the library steps aside for good if
 *   nothing is accelerated yet, and refuses such a child otherwise.
 */
#include <sched.h>
#include <sys/syscall.h>

#include "preload/guard.h"
#include "preload/syscall.h"
#include "shim/sys.h"
#include "stack/user.h"

/* struct clone_args (linux/sched.h), as words; larger ones than this kernel's have nothing that concerns us. */
enum { ARG_FLAGS = 0, ARG_STACK = 5, ARG_WORDS = 16 };
#define ARGS_SIZE_VER0	64

/* clone3's arguments without the flags that we took out. */
static __thread uint64_t args3[ARG_WORDS];

/* Shares memory, thread-local storage, and nothing else; the parent waits. */
static bool like_vfork(uint64_t flags)
{
	return (flags & (CLONE_VM | CLONE_VFORK | CLONE_THREAD | CLONE_FILES | CLONE_SETTLS)) == (CLONE_VM | CLONE_VFORK);
}

static int step_aside(void)
{
	int ret = (int)fn_guarded(false, fn_shim_retire());

	if (ret == 0)
		return FN_CLONE_PLAIN;
	errno = -ret;
	return FN_CLONE_REFUSED;
}

/* FN_CLONE_PLAIN, BARE, MEMBER or REFUSED; in an image that may have files of ours. */
static int kind_of(uint64_t flags)
{
	if (like_vfork(flags))
		return fn_shim_may_share() ? FN_CLONE_BARE : FN_CLONE_MEMBER;
	if (flags & CLONE_VM)
		return flags & CLONE_SETTLS && flags & CLONE_FILES ? FN_CLONE_PLAIN : step_aside();
	return flags & (CLONE_SETTLS | CLONE_FILES) ? step_aside() : FN_CLONE_MEMBER;
}

/* Those of a copy: with locks held, its parent cannot wait for what it does, either. */
static uint64_t member_flags(uint64_t flags)
{
	if (flags & CLONE_VM)
		flags &= ~(uint64_t)(CLONE_VM | CLONE_VFORK | CLONE_SIGHAND);
	return fn_any() ? flags & ~(uint64_t)CLONE_VFORK : flags;
}

static void bare_begin(void)
{
	fn_this_guard.bare_pid = (int)fn_sys(SYS_getpid, 0);
	fn_this_guard.bare++;
}

static void bare_end(void)
{
	fn_this_guard.bare--;
}

/* ---- by number ---- */

/* The new flags go into the call; what cannot be read or is too large the kernel refuses. */
static int before_clone3(long *args)
{
	const uint64_t *from = (const uint64_t *)args[1];
	size_t size = (size_t)args[2];
	int kind;

	if (size < ARGS_SIZE_VER0 || size > sizeof(args3) || fn_user_get(args3, from, size) < 0)
		return FN_CLONE_PLAIN;
	kind = kind_of(args3[ARG_FLAGS]);
	if (kind == FN_CLONE_BARE && args3[ARG_STACK])
		return FN_CLONE_BARE_STACK;
	if (kind == FN_CLONE_MEMBER) {
		args3[ARG_FLAGS] = member_flags(args3[ARG_FLAGS]);
		args[1] = (long)args3;
	}
	return kind;
}

static int before_clone(long *args)
{
	uint64_t flags = (uint64_t)args[1];
	int kind = kind_of(flags);

	if (kind == FN_CLONE_BARE && args[2])
		return FN_CLONE_BARE_STACK;
	if (kind == FN_CLONE_MEMBER)
		args[1] = (long)member_flags(flags);
	return kind;
}

static int before_vfork(void)
{
	return fn_active() && !fn_shim_may_share() ? FN_CLONE_FORK : FN_CLONE_BARE;
}

int fn_clone_before(long *args)
{
	int kind;

	if (args[0] == SYS_vfork)
		kind = before_vfork();
	else if (!fn_active())
		kind = FN_CLONE_PLAIN;
	else
		kind = args[0] == SYS_clone ? before_clone(args) : before_clone3(args);
	if (kind == FN_CLONE_BARE || kind == FN_CLONE_BARE_STACK)
		bare_begin();
	if (kind == FN_CLONE_MEMBER)
		fn_fork_prepare();
	return kind;
}

long fn_clone_over(long ret)
{
	bare_end();
	return fn_errno(ret);
}

long fn_clone_parent(long ret)
{
	fn_fork_parent();
	if (fn_active())
		fn_guarded_void(fn_shim_fork_done(ret < 0 ? -1 : (int)ret));
	return fn_errno(ret);
}

/* ---- libc's function ---- */

struct start {
	int (*fn)(void *arg);
	void *arg;
};

/* A copy of this image begins; it ends with its function, by a system call of libc's that does not pass here. */
static int member_main(void *arg)
{
	struct start s = *(struct start *)arg;
	int status;

	fn_clone_child();
	status = s.fn(s.arg);
	if (fn_active())
		fn_guarded_void(fn_shim_thread_exit_raw(status));
	return status;
}

static int clone_member(struct start s, void *stack, int flags, pid_t *ptid, void *tls, pid_t *ctid)
{
	int ret, err;

	fn_fork_prepare();
	ret = fn_real.clone(member_main, stack, (int)member_flags((uint32_t)flags), &s, ptid, tls, ctid);
	err = errno;
	fn_clone_parent(ret);
	errno = err;
	return ret;
}

int fn_wrap_clone(int (*fn)(void *), void *stack, int flags, void *arg, pid_t *ptid, void *tls, pid_t *ctid)
{
	int kind, ret;

	if (!fn_active() || !fn || !stack)	/* without: EINVAL */
		return fn_real.clone(fn, stack, flags, arg, ptid, tls, ctid);
	kind = kind_of((uint32_t)flags);
	if (kind == FN_CLONE_REFUSED)
		return -1;
	if (kind == FN_CLONE_MEMBER)
		return clone_member((struct start){ fn, arg }, stack, flags, ptid, tls, ctid);
	if (kind == FN_CLONE_PLAIN)
		return fn_real.clone(fn, stack, flags, arg, ptid, tls, ctid);
	bare_begin();
	ret = fn_real.clone(fn, stack, flags, arg, ptid, tls, ctid);
	bare_end();
	return ret;
}
fn_alias(__clone, clone);
