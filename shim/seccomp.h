/* SPDX-License-Identifier: BSD-3-Clause */
/* What a seccomp filter would say to the system calls that the library makes: a pure function. */
#ifndef FN_SECCOMP_H
#define FN_SECCOMP_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdint.h>

/* The groups of seccomp.def, bits. */
enum fn_seccomp_group {
	FN_SECCOMP_SERVE = 1 << 0,
	FN_SECCOMP_GROW = 1 << 1,
	FN_SECCOMP_THREAD = 1 << 2,
	FN_SECCOMP_LINK = 1 << 3,
	FN_SECCOMP_LOG = 1 << 4,
	FN_SECCOMP_EXAMINE = 1 << 5,
	FN_SECCOMP_SIGNAL = 1 << 6,
	FN_SECCOMP_NAME = 1 << 7,
	FN_SECCOMP_FAMILY = 1 << 8,
	FN_SECCOMP_START = 1 << 9,
	FN_SECCOMP_PLAIN = 1 << 10,
	FN_SECCOMP_YIELD = 1 << 11,
	FN_SECCOMP_FABRIC = 1 << 12,
};

/* A call of seccomp.def that a filter refuses. */
struct fn_seccomp_call {
	enum fn_seccomp_group group;
	long number;
	uint32_t arg1, arg2;
	const char *name, *what;
};

/*
 * What the filter of n instructions returns for a call (SECCOMP_RET_*, with its data). A program that the kernel would not
 * take is SECCOMP_RET_ALLOW: it will not be installed.
 */
uint32_t fn_seccomp_run(const struct sock_filter *code, unsigned n, const struct seccomp_data *data);

/* The groups in which the filter refuses something; each such call is told. */
unsigned fn_seccomp_refuses(const struct sock_filter *code, unsigned n,
			    void (*tell)(void *ctx, const struct fn_seccomp_call *call), void *ctx);

#endif
