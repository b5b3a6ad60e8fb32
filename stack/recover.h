/* SPDX-License-Identifier: BSD-3-Clause */
/* Between recover.c and the files that put their own lists and objects right; nobody else's. */
#ifndef FN_RECOVER_H
#define FN_RECOVER_H

#include "net.h"

/* p and the buffers chained to it are in use, in no NIC's queue, and nobody's but the queue's that holds them. */
fn_inline void fn_recover_hold(struct fn_pkt *p)
{
	for (; p; p = p->seg) {
		p->flags = (uint16_t)((p->flags & ~FN_PKT_QUEUED) | FN_PKT_MARK);
		if (p->flags & FN_PKT_KEEP)	/* chained behind a header of TSO's, which is gone */
			p->seg = NULL;
	}
}

/* Do links, count and bytes of q agree? */
fn_inline bool fn_recover_queue(const struct fn_pktq *q)
{
	const struct fn_pkt *p, *prev = NULL;
	uint32_t n = 0, bytes = 0;

	for (p = q->head; p; prev = p, p = p->next) {
		if (p->prev != prev || n == q->count)
			return false;
		n++;
		bytes += p->len;
	}
	return q->tail == prev && n == q->count && bytes == q->bytes;
}

/* ---- before the buffers are counted: nothing may be allocated, sent or freed ---- */
void fn_demux_reset(struct fn_stack *st);
/* Put sk into the tables that its FN_SO_IN_* say. */
void fn_demux_relink(struct fn_stack *st, struct fn_sock *sk);
/* Who was asked for an address is asked again; packets that waited are lost. */
void fn_neigh_recover(struct fn_stack *st);
/* What was being put together is lost. */
void fn_frags_recover(struct fn_stack *st);
void fn_udp_recover(struct fn_stack *st);
void fn_tcp_recover(struct fn_stack *st);

/* ---- after it: what is broken is reset, what waits goes on ---- */
void fn_udp_recovered(struct fn_stack *st);
void fn_tcp_recovered(struct fn_stack *st);

#endif
