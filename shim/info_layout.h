/* SPDX-License-Identifier: BSD-3-Clause */
/* One number for the layout of everything that a tool reads in another process: builds whose records differ have
 * different numbers (sizes and places of what a new member would move). */
#ifndef FN_INFO_LAYOUT_H
#define FN_INFO_LAYOUT_H

#include "shim/info.h"
#include "stack/tcp.h"

/* FNV-1a's prime (Fowler, Noll, Vo), on whole numbers. */
#define FN_LAYOUT_MIX(h, x)	(((h) ^ (uint64_t)(x)) * 0x100000001b3ull)

#define FN_INFO_LAYOUT								\
	FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(	\
	FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(	\
	FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(FN_LAYOUT_MIX(		\
		0xcbf29ce484222325ull,						\
		sizeof(struct fn_info)),					\
		FN_REASON_COUNT),						\
		offsetof(struct fn_info, ring)),				\
		sizeof(struct fn_stack)),					\
		offsetof(struct fn_stack, tcp_pool)),				\
		offsetof(struct fn_stack, stats)),				\
		sizeof(struct fn_stats)),					\
		sizeof(struct fn_sock)),					\
		offsetof(struct fn_sock, error)),				\
		sizeof(struct fn_nic)),						\
		sizeof(struct fn_tcp)),						\
		offsetof(struct fn_tcp, cwnd)),					\
		offsetof(struct fn_tcp, bytes_acked)),				\
		sizeof(struct fn_tcp_stack))

#endif
