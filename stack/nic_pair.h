/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A deterministic test wire: two NICs joined by a link with loss, duplication, reordering, delay and corruption drawn
 * from a seed. Time is virtual: a frame arrives when fn_pair_set_time() reaches its time.
 */
#ifndef FN_NIC_PAIR_H
#define FN_NIC_PAIR_H

#include "nic.h"

struct fn_pair;

struct fn_pair_conf {
	uint64_t seed;
	uint32_t mtu;			/* 0: 1500 */
	uint32_t buffers;		/* packet buffers an end, an eighth for receiving alone; 0: 4096 */
	uint32_t buf_payload;		/* payload room of a buffer; 0: 2048 - headroom */
	uint16_t tso_segs;		/* buffers of a TSO packet; 0: any number */
	uint32_t queue;			/* frames in flight a direction; 0: 1024, beyond it they are dropped */
	uint64_t delay_ns;		/* one way */
	uint64_t jitter_ns;		/* added uniformly; does not reorder unless reorder_ppm does */
	uint32_t loss_ppm, dup_ppm, reorder_ppm, corrupt_ppm;	/* per million frames */
	uint64_t reorder_ns;		/* extra delay of a reordered frame */
	uint64_t release_ns;		/* the device keeps a transmitted buffer that long (in_flight) */
	uint32_t caps;			/* enum fn_nic_cap to declare (RX_CSUM and TX_*_CSUM are emulated) */
};

/* malloc'ed; both ends' MACs are 02:00:00:00:00:01 and :02. NULL: out of memory. */
struct fn_pair *fn_pair_create(const struct fn_pair_conf *conf);
/* Frees everything, buffers that a stack still holds included (fn_pair_outstanding() tells of leaks before). */
void fn_pair_destroy(struct fn_pair *w);
struct fn_nic *fn_pair_nic(struct fn_pair *w, unsigned end);
/* Virtual time; frames due by then can be received. */
void fn_pair_set_time(struct fn_pair *w, uint64_t now);
/* The next arrival at either end, or FN_NEVER (UINT64_MAX). */
uint64_t fn_pair_next(const struct fn_pair *w);
/* Change the odds during a run. */
struct fn_pair_conf *fn_pair_conf(struct fn_pair *w);
/* Buffers not in the free list of that end: held by a stack or on the wire. */
unsigned fn_pair_outstanding(const struct fn_pair *w, unsigned end);

/* For packet scripts: play the other end by hand. inject puts a raw Ethernet frame on the wire towards `end`; sniff takes
 * the oldest frame that `end` has sent (its length, or 0) instead of delivering it to the other end. */
int fn_pair_inject(struct fn_pair *w, unsigned end, const void *frame, size_t len);
size_t fn_pair_sniff(struct fn_pair *w, unsigned end, void *frame, size_t room);
/* Called for each frame that enters the wire (trace); NULL: none. */
void fn_pair_set_tap(struct fn_pair *w, void (*tap)(void *ctx, unsigned from, const void *frame, size_t len), void *ctx);

#endif
