/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a process under Fastnet shows to tools: one exported data symbol, `fastnet_info`, in the library's own memory, read
 * by process_vm_readv(2). There from the first instruction on, also without a stack. The tool checks magic and layout,
 * and takes everything else as hostile input.
 *
 * info.c owns the ring of decisions and the counters of reasons; image.c fills the rest.
 */
#ifndef FN_INFO_H
#define FN_INFO_H

#include "shim/conf.h"
#include "shim/reason.h"
#include "stack/stack.h"

#define FN_INFO_MAGIC		0x4f464e4954534146ull	/* "FASTINFO" */
#define FN_INFO_DECISIONS	256

/* One decision of who serves a socket. */
struct fn_info_decision {
	uint64_t seq;		/* 1 and up, in order; 0: being written */
	uint64_t time;		/* CLOCK_REALTIME, ns */
	int32_t fd;
	uint16_t family, type;	/* as given to socket() */
	uint16_t port;		/* host order */
	uint8_t verb;		/* enum fn_policy_verb */
	uint8_t nic;		/* number of the port, or FN_POLICY_NO_NIC */
	uint32_t reason;	/* enum fn_reason */
	uint32_t arg;
	uint8_t addr[16];	/* network order; an IPv4 address in the first four */
};

enum fn_info_port_state {
	FN_INFO_PORT_CLOSED,	/* not needed so far */
	FN_INFO_PORT_OPEN,
	FN_INFO_PORT_HELD,	/* by another process: .holder */
	FN_INFO_PORT_FAILED,	/* .error */
};

struct fn_info_port {
	char name[FN_NIC_NAME];
	char devargs[FN_CONF_DEVARGS];
	uint32_t ip4, ip4_mask, ip4_gw;	/* network order */
	uint32_t state;			/* enum fn_info_port_state */
	int32_t holder;			/* PID */
	int32_t error;			/* errno */
};

struct fn_info {
	uint64_t magic;
	uint64_t layout;		/* FN_INFO_LAYOUT of the library's build (info_layout.h) */
	uint32_t size;			/* of this record */
	int32_t pid;			/* of the image, in its own PID namespace; 0: the library has not started */
	char version[16];		/* of the library */
	char program[64];
	char file[FN_CONF_PATH];	/* the configuration file */
	uint64_t start;			/* CLOCK_REALTIME, ns */
	/* the stack, 0 while there is none */
	uint64_t arena;			/* address of the arena */
	uint64_t arena_reserve;
	uint64_t stack;			/* address of struct fn_stack, inside the arena */
	uint32_t conf_errors;		/* any: every socket is the kernel's */
	uint32_t fabric;		/* 1: configured */
	uint32_t ports;
	struct fn_info_port port[FN_CONF_NICS];
	uint64_t reasons[FN_REASON_COUNT];
	uint64_t decisions;		/* made so far */
	struct fn_info_decision ring[FN_INFO_DECISIONS];
};

/* The one of this process image. */
extern struct fn_info fastnet_info __attribute__((visibility("default")));

/*
 * Record a decision and count its reason; d->seq and d->time are filled in here. Any thread, signal handlers too;
 * no lock, no system call but the vDSO's clock.
 */
void fn_info_decision(const struct fn_info_decision *d);

#endif
