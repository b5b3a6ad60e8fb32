/* SPDX-License-Identifier: BSD-3-Clause */
/* What the C language lacks and every layer needs: branch hints, attributes, checked invariants. */
#ifndef FN_COMPILER_H
#define FN_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define fn_likely(x)	__builtin_expect(!!(x), 1)
#define fn_unlikely(x)	__builtin_expect(!!(x), 0)
#define fn_cold		__attribute__((noinline, cold))
#define fn_inline	static inline __attribute__((always_inline))
#define fn_unused	__attribute__((unused))
#define fn_cacheline	__attribute__((aligned(64)))

#define fn_array_size(a)	(sizeof(a) / sizeof((a)[0]))
#define fn_container_of(p, type, member) \
	((type *)((char *)(p) - offsetof(type, member)))
/* Each use has names of its own, so that they nest. */
#define fn_min(a, b)		FN_PICK(a, b, <, __COUNTER__)
#define fn_max(a, b)		FN_PICK(a, b, >, __COUNTER__)
#define FN_PICK(a, b, op, n)	FN_PICK_(a, b, op, n)
#define FN_PICK_(a, b, op, n) \
	({ __typeof__(a) a_##n = (a); __typeof__(b) b_##n = (b); a_##n op b_##n ? a_##n : b_##n; })

/*
 * An invariant of our own code; never used on wire input, a peer's memory or a program's arguments.
 * Checked in every build that tests run (FN_CHECKED, on by default; --disable-checks takes it out).
 */
#ifdef FN_CHECKED
#define fn_assert(x)	do { if (fn_unlikely(!(x))) __builtin_trap(); } while (0)
#else
#define fn_assert(x)	do { if (!(x)) __builtin_unreachable(); } while (0)
#endif

#endif
