/* SPDX-License-Identifier: BSD-3-Clause */
/* See stop.h. */
#include "shim/stop.h"

#include <errno.h>

#include "shim/signal.h"
#include "shim/sys.h"

/* Times by two digits of five bits: 1 to 31 units of 1, 32, 1024 … ms. What remains is for the next sleep. */
#define DIGIT_BITS	5
#define DIGITS		31
#define LEVELS		7	/* up to a year */
#define MS(n)		{ (n) / 1000, (n) % 1000 * 1000000 }
#define MS4(n, u)	MS((n) * u), MS(((n) + 1) * u), MS(((n) + 2) * u), MS(((n) + 3) * u)
#define LEVEL(u)	{ MS(1 * u), MS(2 * u), MS(3 * u), MS4(4, u), MS4(8, u), MS4(12, u), MS4(16, u), MS4(20, u), \
			  MS4(24, u), MS4(28, u) }

/* In .rodata: a const object without relocations. */
static const struct timespec times[LEVELS][DIGITS] = {
	LEVEL(1l), LEVEL(32l), LEVEL(1024l), LEVEL(32768l), LEVEL((1l << 20)), LEVEL((1l << 25)), LEVEL((1l << 30)),
};

/* The longest that is not more than `left`. */
static const struct timespec *at_most(uint64_t left)
{
	uint64_t ms = left / FN_STOP_LEAST;
	int level = 0;

	while (ms > DIGITS && level < LEVELS - 1) {
		ms >>= DIGIT_BITS;
		level++;
	}
	return &times[level][(ms > DIGITS ? DIGITS : ms) - 1];
}

/*
 * What would be put off. A signal that the kernel ignores by itself (signal(7)) is not blocked where it has no handler: it
 * would wait then, and end the sleep.
 */
static uint64_t blockable(void)
{
	static const int ignored[] = { SIGCHLD, SIGURG, SIGWINCH, SIGCONT };
	uint64_t mask = ~0ull;

	for (unsigned i = 0; i < fn_array_size(ignored); i++)
		if (!fn_signal_ops.handles || !fn_signal_ops.handles(ignored[i]))
			mask &= ~(1ull << (ignored[i] - 1));
	return mask;
}

int fn_stop_sleep(struct pollfd *fds, unsigned n, uint64_t left)
{
	uint64_t block = blockable();
	sigset_t old;
	int ret = -EINTR;

	fn_sys(SYS_rt_sigprocmask, SIG_BLOCK, &block, &old, FN_SIGSET_SIZE);
	if (fn_guard_signalled())	/* put back before: all were blocked already, and stay so */
		return -EINTR;
	if (!fn_guard_interrupted())
		ret = (int)fn_sys(SYS_ppoll, fds, n, at_most(left), &old, FN_SIGSET_SIZE);
	fn_guard_mask_back(&old);
	return ret;
}
