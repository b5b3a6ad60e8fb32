/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The next-in-chain pointers and how they are found. Owns fn_real, and what stands in it before the constructor ran:
 * other libraries' constructors, malloc's own start-up and dlsym's call us then, and asking dlsym at that moment
 * would recurse or deadlock. Knows no file of ours.
 */
#include <dlfcn.h>

#include "preload/real.h"
#include "shim/sys.h"

/* The kernel writes the time left into what it is given; libc's callers keep theirs. */
static long sys_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	struct timespec copy;

	if (ts)
		copy = *ts;
	return fn_sys(SYS_ppoll, fds, n, ts ? &copy : NULL, mask, FN_SIGSET_SIZE);
}

static long sys_pselect(int n, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *ts, const sigset_t *mask)
{
	struct { const sigset_t *mask; size_t size; } sigs = { mask, FN_SIGSET_SIZE };
	struct timespec copy;

	if (ts)
		copy = *ts;
	return fn_sys(SYS_pselect6, n, rd, wr, ex, ts ? &copy : NULL, &sigs);
}

/* Before the constructor: a system call; or resolve now; and what is left of a symbol that this libc lacks. */
#define FN_SYM(ret, name, params, raw)		static ret raw_##name params { return (ret)fn_errno(raw); }
#define FN_LATE(ret, name, params, args)	\
	static ret late_##name params		\
	{					\
		fn_real_resolve();		\
		return fn_real.name args;	\
	}					\
	static ret lacks_##name params		\
	{					\
		return (ret)fn_errno(-ENOSYS);	\
	}
#include "preload/syscalls.def"

struct fn_real fn_real fn_cacheline = {
#define FN_SYM(ret, name, params, raw)		.name = raw_##name,
#define FN_LATE(ret, name, params, args)	.name = late_##name,
#include "preload/syscalls.def"
};

void fn_real_resolve(void)
{
	void *sym;

#define FN_SYM(ret, name, params, raw)			\
	sym = dlsym(RTLD_NEXT, #name);			\
	if (sym)					\
		fn_real.name = (__typeof__(fn_real.name))sym;
#define FN_LATE(ret, name, params, args)		\
	sym = dlsym(RTLD_NEXT, #name);			\
	fn_real.name = sym ? (__typeof__(fn_real.name))sym : lacks_##name;
#include "preload/syscalls.def"
}
