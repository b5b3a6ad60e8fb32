/* SPDX-License-Identifier: BSD-3-Clause */
/* See fault.h. Takes no lock, makes no system call. */
#include "shim/fault.h"

#include <ucontext.h>

#include "stack/user.h"

bool fn_fault_mended(int sig, const siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uintptr_t ip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

	/* si_code <= 0: sent by somebody, wherever we are; who cannot tell is taken to have met the fault */
	if ((sig != SIGSEGV && sig != SIGBUS) || (info && info->si_code <= 0) || !fn_user_fixup(&ip))
		return false;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)ip;
	return true;
}
