/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A call that is left for good after a random number of basic blocks (the compiler counts them: -fsanitize-coverage=trace-pc)
 * and then of instructions (single steps, which are slow), as a killed process leaves it.
 */
#ifndef DEATH_H
#define DEATH_H

#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <ucontext.h>

#define TRAP_FLAG	0x100ull
#define STEPS		12		/* instructions behind the last counted block */

static uint64_t rng;

static uint32_t draw(uint32_t n)
{
	uint64_t z = rng += 0x9e3779b97f4a7c15ull;	/* SplitMix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ (z >> 31)) >> 32) % n;
}

/* ---- the point of death ---- */

static sigjmp_buf away;
static volatile long blocks_left, steps_left;
static volatile bool stepping, in_device;

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (!stepping) {
		uc->uc_mcontext.gregs[REG_EFL] &= ~(long long)TRAP_FLAG;
		return;
	}
	if (steps_left)
		steps_left--;
	if (steps_left || in_device)
		return;
	stepping = false;
	siglongjmp(away, 1);
}

/* Past the red zone. */
__attribute__((always_inline)) static inline void trap_flag(bool on)
{
	if (on)
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; orq $0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::: "memory", "cc");
	else
		__asm__ volatile("lea -128(%%rsp), %%rsp; pushfq; andq $~0x100, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::: "memory", "cc");
}

/* The compiler calls it at each basic block. */
void __sanitizer_cov_trace_pc(void);
__attribute__((no_sanitize_coverage)) void __sanitizer_cov_trace_pc(void)
{
	if (blocks_left && !in_device && --blocks_left == 0)
		trap_flag(true);
}

static __attribute__((noinline)) bool dies(void (*call)(void *arg), void *arg, long after)
{
	if (sigsetjmp(away, 1))
		return true;
	steps_left = 1 + draw(STEPS);
	stepping = true;
	blocks_left = after;
	call(arg);
	blocks_left = 0;
	trap_flag(false);
	stepping = false;
	return false;
}

static void death_init(void)
{
	struct sigaction sa = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

	sigaction(SIGTRAP, &sa, NULL);
}

#endif
