/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A filter runs here before it runs in the kernel, which would kill the process for the first call of ours that the
 * program's author could not know of. Classic BPF as seccomp(2) restricts it: seccomp_check_filter() of kernel/seccomp.c
 * has the instructions. Makes no system call.
 */
#include "shim/seccomp.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/futex.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "stack/compiler.h"

struct machine {
	uint32_t a, x, mem[BPF_MEMWORDS];
	bool bad;
};

static uint32_t load(struct machine *m, const struct sock_filter *ins, const struct seccomp_data *data)
{
	uint32_t word = 0;

	switch (BPF_MODE(ins->code)) {
	case BPF_ABS:
		m->bad |= ins->k & 3 || ins->k > sizeof(*data) - sizeof(word);
		if (!m->bad)
			memcpy(&word, (const uint8_t *)data + ins->k, sizeof(word));
		return word;
	case BPF_LEN:
		return sizeof(*data);
	case BPF_IMM:
		return ins->k;
	case BPF_MEM:
		m->bad |= ins->k >= BPF_MEMWORDS;
		return m->bad ? 0 : m->mem[ins->k];
	}
	m->bad = true;
	return 0;
}

static uint32_t compute(struct machine *m, const struct sock_filter *ins)
{
	uint32_t with = BPF_SRC(ins->code) == BPF_X ? m->x : ins->k;

	switch (BPF_OP(ins->code)) {
	case BPF_ADD:
		return m->a + with;
	case BPF_SUB:
		return m->a - with;
	case BPF_MUL:
		return m->a * with;
	case BPF_DIV:
		return with ? m->a / with : 0;
	case BPF_OR:
		return m->a | with;
	case BPF_AND:
		return m->a & with;
	case BPF_XOR:
		return m->a ^ with;
	case BPF_LSH:
		return with < 32 ? m->a << with : 0;
	case BPF_RSH:
		return with < 32 ? m->a >> with : 0;
	case BPF_NEG:
		return -m->a;
	}
	m->bad = true;
	return 0;
}

/* How many instructions are left out. */
static uint32_t jump(struct machine *m, const struct sock_filter *ins)
{
	uint32_t with = BPF_SRC(ins->code) == BPF_X ? m->x : ins->k;
	bool yes = false;

	switch (BPF_OP(ins->code)) {
	case BPF_JA:
		return ins->k;
	case BPF_JEQ:
		yes = m->a == with;
		break;
	case BPF_JGT:
		yes = m->a > with;
		break;
	case BPF_JGE:
		yes = m->a >= with;
		break;
	case BPF_JSET:
		yes = m->a & with;
		break;
	default:
		m->bad = true;
	}
	return yes ? ins->jt : ins->jf;
}

static void store(struct machine *m, uint32_t where, uint32_t word)
{
	m->bad |= where >= BPF_MEMWORDS;
	if (!m->bad)
		m->mem[where] = word;
}

uint32_t fn_seccomp_run(const struct sock_filter *code, unsigned n, const struct seccomp_data *data)
{
	struct machine m = { 0 };

	/* jumps go forward only: it ends */
	for (uint32_t pc = 0; pc < n && !m.bad; pc++) {
		const struct sock_filter *ins = &code[pc];

		switch (BPF_CLASS(ins->code)) {
		case BPF_LD:
			m.a = load(&m, ins, data);
			break;
		case BPF_LDX:
			m.x = load(&m, ins, data);
			break;
		case BPF_ST:
			store(&m, ins->k, m.a);
			break;
		case BPF_STX:
			store(&m, ins->k, m.x);
			break;
		case BPF_ALU:
			m.a = compute(&m, ins);
			break;
		case BPF_JMP:
			pc = (uint32_t)fn_min((uint64_t)pc + jump(&m, ins), (uint64_t)n);
			break;
		case BPF_RET:
			return BPF_RVAL(ins->code) == BPF_A ? m.a : ins->k;
		case BPF_MISC:
			if (BPF_MISCOP(ins->code) == BPF_TXA)
				m.a = m.x;
			else
				m.x = m.a;
			break;
		}
	}
	return SECCOMP_RET_ALLOW;
}

/* ---- our calls ---- */

static const struct fn_seccomp_call calls[] = {
#define FN_CALL(grp, call, second, third, text)						\
	{ .group = FN_SECCOMP_##grp, .number = SYS_##call, .arg1 = (uint32_t)(second), .arg2 = (uint32_t)(third), \
	  .name = #call, .what = text },
#include "shim/seccomp.def"
};

static bool refuses(const struct sock_filter *code, unsigned n, const struct fn_seccomp_call *call)
{
	struct seccomp_data data = { .nr = (int)call->number, .arch = AUDIT_ARCH_X86_64,
				     .args = { 0, call->arg1, call->arg2 } };

	switch (fn_seccomp_run(code, n, &data) & SECCOMP_RET_ACTION_FULL) {
	case SECCOMP_RET_ALLOW:
	case SECCOMP_RET_LOG:
	case SECCOMP_RET_TRACE:		/* somebody decides who may well let it pass */
	case SECCOMP_RET_USER_NOTIF:
		return false;
	}
	return true;
}

unsigned fn_seccomp_refuses(const struct sock_filter *code, unsigned n,
			    void (*tell)(void *ctx, const struct fn_seccomp_call *call), void *ctx)
{
	unsigned groups = 0;

	for (size_t i = 0; i < fn_array_size(calls); i++) {
		if (!refuses(code, n, &calls[i]))
			continue;
		groups |= calls[i].group;
		tell(ctx, &calls[i]);
	}
	return groups;
}
