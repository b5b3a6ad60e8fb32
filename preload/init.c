/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Start and end of the library in a process, level by level. Before the constructor all calls go to the kernel by raw
 * system calls (real.c). The last level makes the shim take sockets; whatever it relies on stands by then.
 *
 * The end: on_exit() handlers of this moment run after everything that the program or a library registers later, and
 * after all destructors, for the dynamic linker's own handler comes later too. exit() and the end of main alike.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "preload/env.h"
#include "preload/guard.h"
#include "preload/sig.h"

static void at_exit(int status, void *arg)
{
	if (fn_active())
		fn_guarded_void(fn_shim_exit());
}

static void at_quick_exit_hook(void)
{
	if (fn_active())
		fn_guarded_void(fn_shim_exit());
}

/* This thread forks, and the shim knows. */
static __thread bool forking;

/* From here to the end of the fork, in both, no handler runs: locks are held. */
void fn_fork_prepare(void)
{
	if (!fn_active())
		return;
	forking = true;
	fn_guard_enter(false);
	fn_shim_fork_prepare();
}

static void fork_over(void)
{
	forking = false;
	if (fn_unlikely(fn_guard_leave()))
		fn_guard_finish(0);
}

void fn_fork_parent(void)
{
	if (!forking)
		return;
	fn_shim_fork_parent();
	fork_over();
}

void fn_fork_child(void)
{
	if (!forking)
		return;
	fn_shim_fork_child();
	fork_over();
}

void fn_clone_child(void)
{
	if (!forking)
		return;
	fn_shim_clone_child();
	fork_over();
}

/* Without the hooks a fork would tear the tables: then rather nothing is accelerated. */
static bool register_hooks(void)
{
	return !pthread_atfork(fn_fork_prepare, fn_fork_parent, fn_fork_child) && !on_exit(at_exit, NULL) &&
	       !at_quick_exit(at_quick_exit_hook);
}

/* A set-uid program trusts nothing that its caller chose; the pointers it needs all the same. */
__attribute__((constructor)) static void start(void)
{
	fn_real_resolve();
	if (getauxval(AT_SECURE) || !register_hooks())
		return;
	fn_signal_ops = (struct fn_signal_ops){ fn_sig_restart, fn_real.pthread_setcanceltype, fn_sig_handles, fn_sig_unseen };
	fn_shim_init(program_invocation_short_name);
	if (fn_active())
		fn_env_save();
}
