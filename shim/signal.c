/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals: a handler ends the wait of its thread with EINTR when Linux would. Async-signal-safe throughout. */
#include "shim/signal.h"

#include "shim/shim.h"
#include "shim/wait.h"

bool (*fn_signal_restarts)(int sig);

void fn_shim_signal(int sig)
{
	struct fn_thread *t = fn_thread_self();

	t->signals++;
	if (!fn_signal_restarts || !fn_signal_restarts(sig))
		t->interrupts++;
	/* a ppoll that is about to begin must not sleep: the kernel reads this very timespec (wait.c) */
	t->sleep.tv_sec = 0;
	t->sleep.tv_nsec = 0;
}
