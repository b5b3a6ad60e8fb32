/* SPDX-License-Identifier: BSD-3-Clause */
/* What a filter would say: the kernel, which has it in a child, says the same; and which of our calls it refuses. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/audit.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/seccomp.h"
#include "stack/compiler.h"

#define PROBE	999	/* no system call: it returns what the filter says, or ENOSYS */
#define ARG(n)	(uint32_t)(offsetof(struct seccomp_data, args) + (n) * 8)
#define LOAD(off)	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, off)
#define RET(val)	BPF_STMT(BPF_RET | BPF_K, val)
#define RETVAL	BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xff), BPF_STMT(BPF_ALU | BPF_OR | BPF_K, SECCOMP_RET_ERRNO), \
		BPF_STMT(BPF_RET | BPF_A, 0)
/* All other calls pass. */
#define ONLY_PROBE	LOAD(0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PROBE, 1, 0), RET(SECCOMP_RET_ALLOW)

/* The errno with which the probe comes back from the kernel, or -1 when it does not take the filter. */
static int by_kernel(struct sock_filter *code, unsigned n, const uint32_t arg[3])
{
	struct sock_fprog prog = { .len = (unsigned short)n, .filter = code };
	int status;
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
		if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0))
			_exit(255);
		errno = 0;
		syscall(PROBE, arg[0], arg[1], arg[2]);
		_exit(errno);
	}
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

static int by_us(const struct sock_filter *code, unsigned n, const uint32_t arg[3])
{
	struct seccomp_data data = { .nr = PROBE, .arch = AUDIT_ARCH_X86_64, .args = { arg[0], arg[1], arg[2] } };
	uint32_t ret = fn_seccomp_run(code, n, &data);

	if ((ret & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO)
		return (int)(ret & SECCOMP_RET_DATA);
	return ret == SECCOMP_RET_ALLOW ? ENOSYS : -2;
}

#define expect_same(...)								\
	do {										\
		struct sock_filter code_[] = { ONLY_PROBE, __VA_ARGS__ };		\
		static const uint32_t args_[][3] = { { 1, 2, 3 }, { 0, 0, 0 }, { 77, 5, 200 }, { 255, 33, 1 } }; \
		for (size_t i_ = 0; i_ < fn_array_size(args_); i_++)			\
			cr_expect_eq(by_us(code_, fn_array_size(code_), args_[i_]),	\
				     by_kernel(code_, fn_array_size(code_), args_[i_]), "%s, %zu", #__VA_ARGS__, i_); \
	} while (0)

Test(seccomp, jumps_as_in_the_kernel)
{
	expect_same(LOAD(ARG(0)), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 77, 0, 1), RET(SECCOMP_RET_ERRNO | 1),
		    BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 76, 1, 0), RET(SECCOMP_RET_ERRNO | 2), RET(SECCOMP_RET_ERRNO | 3));
	expect_same(LOAD(ARG(0)), BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 77, 0, 1), RET(SECCOMP_RET_ERRNO | 1),
		    BPF_STMT(BPF_JMP | BPF_JA, 1), RET(SECCOMP_RET_ERRNO | 2), RET(SECCOMP_RET_ALLOW));
	expect_same(LOAD(ARG(2)), BPF_STMT(BPF_MISC | BPF_TAX, 0), LOAD(ARG(0)),
		    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_X, 0, 1, 0), RET(SECCOMP_RET_ERRNO | 1), RET(SECCOMP_RET_ERRNO | 2));
}

Test(seccomp, computes_as_the_kernel)
{
	expect_same(LOAD(ARG(0)), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 7), BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 3), RETVAL);
	expect_same(LOAD(ARG(1)), BPF_STMT(BPF_MISC | BPF_TAX, 0), LOAD(ARG(2)), BPF_STMT(BPF_ALU | BPF_SUB | BPF_X, 0), RETVAL);
	expect_same(LOAD(ARG(0)), BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 3), BPF_STMT(BPF_ALU | BPF_XOR | BPF_K, 0x55), RETVAL);
	expect_same(LOAD(ARG(1)), BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 2), BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 1),
		    BPF_STMT(BPF_ALU | BPF_NEG, 0), RETVAL);
	expect_same(LOAD(ARG(0)), BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LDX | BPF_W | BPF_MEM, 3), BPF_STMT(BPF_LD | BPF_IMM, 9),
		    BPF_STMT(BPF_STX, 15), BPF_STMT(BPF_LD | BPF_MEM, 15), BPF_STMT(BPF_ALU | BPF_ADD | BPF_X, 0), RETVAL);
	expect_same(BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0), RETVAL);
	expect_same(BPF_STMT(BPF_LDX | BPF_W | BPF_IMM, 40), BPF_STMT(BPF_MISC | BPF_TXA, 0), RETVAL);
}

Test(seccomp, what_the_kernel_would_not_take_is_no_filter)
{
	static const uint32_t arg[3];
	struct sock_filter bad[][1] = {
		{ LOAD(2) }, { LOAD(sizeof(struct seccomp_data)) }, { LOAD(0xfffffffc) },
		{ BPF_STMT(BPF_ST, 16) }, { BPF_STMT(BPF_LD | BPF_MEM, 1u << 31) }, { BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0) },
		{ BPF_STMT(BPF_JMP | BPF_JA, 0xffffffff) }, { BPF_STMT(BPF_ALU | 0xf0, 1) }, { BPF_STMT(BPF_JMP | 0xf0, 1) },
	};

	for (size_t i = 0; i < fn_array_size(bad); i++) {
		struct sock_filter code[] = { bad[i][0], RET(SECCOMP_RET_KILL_PROCESS) };

		cr_expect_eq(by_us(code, 2, arg), ENOSYS, "%zu", i);
		cr_expect_eq(by_kernel(code, 2, arg), -1, "%zu", i);
	}
	cr_expect_eq(by_us(bad[0], 0, arg), ENOSYS);
}

static void note(void *ctx, const struct fn_seccomp_call *call)
{
	char *names = ctx;

	strcat(strcat(names, call->name), " ");
}

Test(seccomp, our_calls_are_asked_about_one_by_one)
{
	char names[256] = "";
	struct sock_filter code[] = {
		LOAD(0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1), RET(SECCOMP_RET_ERRNO | EPERM),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ppoll, 0, 1), RET(SECCOMP_RET_TRAP),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close, 0, 1), RET(SECCOMP_RET_LOG),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fcntl, 0, 3), LOAD(ARG(1)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), RET(SECCOMP_RET_KILL_THREAD),
		RET(SECCOMP_RET_ALLOW),
	};

	cr_expect_eq(fn_seccomp_refuses(code, fn_array_size(code), note, names),
		     FN_SECCOMP_SERVE | FN_SECCOMP_GROW | FN_SECCOMP_FABRIC | FN_SECCOMP_START);
	cr_expect_str_eq(names, "ppoll fcntl fcntl fcntl fallocate fallocate fcntl fcntl fallocate fcntl ");
}
