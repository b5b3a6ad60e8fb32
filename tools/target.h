/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Another process under Fastnet, as fastnet-stat sees it: finding the library in it, and copies of its records, taken
 * by process_vm_readv(2), so that a stuck or stopped process answers too.
 *
 * Everything read is hostile input: no pointer is followed outside the arena that the process names, no number is used
 * as an index or a length unchecked, no text goes out unfiltered. The process runs on meanwhile: a record may be half
 * changed.
 */
#ifndef FN_TARGET_H
#define FN_TARGET_H

#include <sys/types.h>

#include "shim/info.h"
#include "stack/tcp.h"

/* One socket of a stack, in the order of its pools. */
struct fn_target_sock {
	uint8_t kind;			/* enum fn_sock_kind */
	uint8_t state;			/* of TCP; 0 for UDP */
	bool full;			/* .tcp is filled in: neither half-open nor TIME_WAIT */
	bool lossless;			/* of a full one */
	struct fn_ep local, remote;
	uint64_t recvq, sendq;		/* as ss shows them: a listener's queue and its limit */
	struct fn_tcp tcp;		/* a copy; its pointers mean nothing here */
};

struct fn_target {
	pid_t pid;
	struct fn_info info;
	bool has_stack;
	struct fn_stack stack;		/* a copy */
	struct fn_nic nic[FN_NICS_MAX];
	unsigned nics;
	struct fn_target_sock *sock;
	size_t socks;
	bool damaged;			/* some record made no sense: what it led to is left out */
};

enum fn_target_error {
	FN_TARGET_OK,
	FN_TARGET_GONE,		/* no such process */
	FN_TARGET_PERMISSION,
	FN_TARGET_NOT_OURS,	/* the library is not loaded */
	FN_TARGET_INERT,	/* it is loaded but has not started (or is disabled) */
	FN_TARGET_LAYOUT,	/* another version of the library; t->info.version says which */
	FN_TARGET_BROKEN,	/* no record where there must be one */
};

/* Read fastnet_info of process pid. */
enum fn_target_error fn_target_open(struct fn_target *t, pid_t pid);
/* Read its stack, NICs and sockets, if it has any. */
void fn_target_read(struct fn_target *t);
void fn_target_free(struct fn_target *t);

/* What to tell the user about an error. */
const char *fn_target_strerror(enum fn_target_error e);

#endif
