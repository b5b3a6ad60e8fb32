/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Crash reports. A fault whose instruction lies in libfastnet.so is logged with a backtrace (libunwind, opened when the
 * first stack is built, for a broken process cannot load anything); every fault is then handed on to the default action.
 * A program that has a handler of its own, or installs one later, is left alone.
 */
#define UNW_LOCAL_ONLY

#include "shim/crash.h"

#include <dlfcn.h>
#include <libunwind.h>
#include <link.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "shim/log.h"
#include "shim/sys.h"

#define FRAMES_MAX	32

static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };

/* libunwind's functions under the names that its header gives them on this machine. */
#define NAME_(x)	#x
#define NAME(x)		NAME_(x)
static struct {
	int (*init_local2)(unw_cursor_t *, unw_context_t *, int);
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, unw_regnum_t, unw_word_t *);
	int (*get_proc_name)(unw_cursor_t *, char *, size_t, unw_word_t *);
} unw;

static uintptr_t text_start, text_end;

/* The executable segment that holds this very function. */
static int find_text(struct dl_phdr_info *info, size_t size, void *arg)
{
	uintptr_t here = (uintptr_t)find_text;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		uintptr_t start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && here >= start && here < start + ph->p_memsz) {
			text_start = start;
			text_end = start + ph->p_memsz;
			return 1;
		}
	}
	return 0;
}

static void backtrace(ucontext_t *uc)
{
	unw_cursor_t cursor;
	unw_word_t ip, off;
	char name[128];

	if (!unw.step || unw.init_local2(&cursor, uc, UNW_INIT_SIGNAL_FRAME) < 0)
		return;
	for (int i = 0; i < FRAMES_MAX; i++) {
		if (unw.get_reg(&cursor, UNW_REG_IP, &ip) < 0)
			return;
		if (unw.get_proc_name(&cursor, name, sizeof(name), &off) < 0)
			strcpy(name, "?");
		fn_log(FN_LOG_ERROR, "  #%d %#lx %s", i, (unsigned long)ip, name);
		if (unw.step(&cursor) <= 0)
			return;
	}
}

static void handler(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	uintptr_t ip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
	/* the kernel's struct sigaction: handler, flags, restorer, mask */
	static const unsigned long dfl[4];

	/* the instruction runs again under the default action, so that a core shows where it was */
	fn_sys(SYS_rt_sigaction, sig, dfl, NULL, FN_SIGSET_SIZE);
	if (ip >= text_start && ip < text_end) {
		fn_log(FN_LOG_ERROR, "signal %d inside libfastnet.so at +%#lx, address %p", sig,
		       (unsigned long)(ip - text_start), info->si_addr);
		backtrace(uc);
	}
	if (info->si_code <= 0)	/* sent, not raised by an instruction: it does not come again by itself */
		fn_sys(SYS_tgkill, fn_sys(SYS_getpid, 0), fn_sys(SYS_gettid, 0), sig);
}

bool fn_crash_handles(uintptr_t h)
{
	return h == (uintptr_t)handler;
}

static void open_libunwind(void)
{
	void *h = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);

	if (!h)
		return;
	unw.init_local2 = (int (*)(unw_cursor_t *, unw_context_t *, int))dlsym(h, NAME(unw_init_local2));
	unw.get_reg = (int (*)(unw_cursor_t *, unw_regnum_t, unw_word_t *))dlsym(h, NAME(unw_get_reg));
	unw.get_proc_name = (int (*)(unw_cursor_t *, char *, size_t, unw_word_t *))dlsym(h, NAME(unw_get_proc_name));
	if (unw.init_local2 && unw.get_reg && unw.get_proc_name)
		unw.step = (int (*)(unw_cursor_t *))dlsym(h, NAME(unw_step));
}

static bool ready;

bool fn_crash_ready(void)
{
	return ready;
}

struct sigaction fn_crash_action(void)
{
	struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigfillset(&act.sa_mask);
	return act;
}

void fn_crash_init(void)
{
	struct sigaction act = fn_crash_action(), now;

	if (ready)
		return;
	for (unsigned i = 0; i < fn_array_size(faults); i++)
		if (sigaction(faults[i], NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL)
			sigaction(faults[i], &act, NULL);
	ready = true;
}

void fn_crash_backtraces(void)
{
	if (text_end)
		return;
	dl_iterate_phdr(find_text, NULL);
	open_libunwind();
}
