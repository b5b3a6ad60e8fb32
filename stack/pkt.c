/* SPDX-License-Identifier: BSD-3-Clause */
/* Giving packets back to the NIC that owns them. No protocol here. */
#include "pkt.h"

#include "nic.h"

void fn_pkt_free_slow(struct fn_pkt *p)
{
	bool all = p->flags & FN_PKT_KEEP;

	if (p->flags & FN_PKT_QUEUED) {
		p->flags &= (uint16_t)~FN_PKT_KEEP;
		return;
	}
	for (struct fn_pkt *next, *first = p; p; p = next) {
		next = p->seg;
		if (all || p == first || !(p->flags & FN_PKT_KEEP))
			p->nic->ops->free(p->nic, p);
		else
			p->seg = NULL;
	}
}

void fn_pktq_purge(struct fn_pktq *q)
{
	struct fn_pkt *p;

	/* one by one: what is free stands in no queue, whenever the holder of the lock may die */
	while ((p = fn_pktq_pop(q)))
		fn_pkt_free(p);
}
