/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stack's side of a NIC: buffers to send from and the staging queue, so that one call of .tx serves a burst.
 * Must not know a protocol: a staged frame begins at .l2.
 */
#include <errno.h>
#include <string.h>

#include "net.h"

fn_cold struct fn_pkt *fn_nic_alloc_failed(struct fn_nic *nic)
{
	nic->stats.alloc_failed++;
	nic->st->stats.drop[FN_DROP_NO_PKT_MEM]++;
	nic->st->starved = nic;
	return NULL;
}

struct fn_pkt *fn_nic_copy(struct fn_nic *nic, const struct fn_pkt *src)
{
	struct fn_pkt *first = fn_nic_alloc(nic), *p = first;
	uint32_t n, done;

	if (first)
		first->flags = src->flags & FN_PKT_TX_OFFLOADS;
	for (const struct fn_pkt *s = src; s && p; s = s->seg) {
		for (done = 0; p && done < s->len; done += n) {
			if (!fn_pkt_tailroom(p) && !(p = p->seg = fn_nic_alloc(nic)))
				break;
			n = fn_min(s->len - done, fn_pkt_tailroom(p));
			memcpy(p->data + p->len, s->data + done, n);
			p->len += n;
		}
	}
	if (!p && first)
		fn_pkt_free(first);
	if (!p)
		return NULL;
	first->pkt_len = src->pkt_len;
	first->tso_mss = src->tso_mss;
	return first;
}

unsigned fn_nic_tx_room(const struct fn_nic *nic)
{
	return FN_NIC_TXQ - nic->txq_len;
}

fn_inline void pkt_move_data(struct fn_pkt *p, int32_t n)
{
	p->data += n;
	p->len -= (uint32_t)n;
	p->pkt_len -= (uint32_t)n;
}

/* A staged packet's further buffers: to be freed as it is, whoever owns them. */
static void chain_queued(struct fn_pkt *seg, bool queued)
{
	for (; seg; seg = seg->seg)
		seg->flags = (uint16_t)((seg->flags & ~FN_PKT_QUEUED) | (queued ? FN_PKT_QUEUED : FN_PKT_SENT));
}

/* The device left packets first … n-1 in the queue. */
static fn_cold uint64_t tx_left(struct fn_pkt **q, unsigned first, unsigned n)
{
	uint64_t bytes = 0;

	for (; first < n; first++) {
		q[first]->flags |= FN_PKT_QUEUED;
		chain_queued(q[first]->seg, true);
		bytes += q[first]->pkt_len;
	}
	return bytes;
}

/*
 * Offer up to a burst of staged packets. A kept packet's owner may have moved .data while it was staged, so it is set to
 * the frame's first byte for the device, and back afterwards. What the device took without FN_PKT_KEEP is gone.
 */
static unsigned nic_tx_burst(struct fn_nic *nic, struct fn_pkt **q, unsigned n)
{
	struct fn_stats *stats = &nic->st->stats;
	struct fn_pkt *kept[FN_NIC_BURST], *p;
	int32_t moved[FN_NIC_BURST], off;
	unsigned i, sent, back = 0;
	uint64_t bytes = 0;

	for (i = 0; i < n; i++) {
		p = q[i];
		off = (int32_t)(p->data - (p->buf + p->l2));
		if (off) {
			pkt_move_data(p, -off);
			kept[back] = p;
			moved[back] = off;
			back += !!(p->flags & FN_PKT_KEEP);
		}
		bytes += p->pkt_len;
		p->flags = (uint16_t)((p->flags & ~FN_PKT_QUEUED) | FN_PKT_SENT);
		if (fn_unlikely(p->seg != NULL))
			chain_queued(p->seg, false);
	}
	sent = nic->ops->tx(nic, q, (uint16_t)n);
	if (fn_unlikely(sent < n))
		bytes -= tx_left(q, sent, n);
	for (i = 0; i < back; i++)
		pkt_move_data(kept[i], moved[i]);
	stats->tx_packets += sent;
	stats->tx_bytes += bytes;
	return sent;
}

/* `done` packets are gone and the device takes no more: the others move up. */
static fn_cold bool flush_rest(struct fn_nic *nic, unsigned done)
{
	nic->st->staged -= done;
	nic->txq_len = (uint16_t)(nic->txq_len - done);
	memmove(nic->txq, nic->txq + done, nic->txq_len * sizeof(nic->txq[0]));
	nic->stats.tx_full++;
	return false;
}

static __attribute__((noinline)) bool flush_many(struct fn_nic *nic)
{
	unsigned done = 0, n, sent;

	while (done < nic->txq_len) {
		n = fn_min(nic->txq_len - done, (unsigned)FN_NIC_BURST);
		sent = nic_tx_burst(nic, nic->txq + done, n);
		done += sent;
		if (fn_unlikely(sent < n))
			return flush_rest(nic, done);
	}
	nic->st->staged -= done;
	nic->txq_len = 0;
	return true;
}

/* One packet is staged, as in a dialogue: 60 instructions less than a burst of one (bench/stack). */
bool fn_nic_flush(struct fn_nic *nic)
{
	struct fn_stack *st = nic->st;
	struct fn_pkt *p = nic->txq[0];
	int32_t off;
	uint32_t bytes;
	bool kept;

	if (nic->txq_len != 1 || fn_unlikely(p->seg != NULL))
		return flush_many(nic);
	off = (int32_t)(p->data - (p->buf + p->l2));
	kept = p->flags & FN_PKT_KEEP;
	pkt_move_data(p, -off);
	bytes = p->pkt_len;
	p->flags = (uint16_t)((p->flags & ~FN_PKT_QUEUED) | FN_PKT_SENT);
	if (fn_unlikely(!nic->ops->tx(nic, nic->txq, 1))) {
		p->flags |= FN_PKT_QUEUED;
		if (kept)
			pkt_move_data(p, off);
		return flush_rest(nic, 0);
	}
	if (kept)
		pkt_move_data(p, off);
	st->stats.tx_packets++;
	st->stats.tx_bytes += bytes;
	st->staged--;
	nic->txq_len = 0;
	return true;
}

static fn_cold int nic_refuse(struct fn_nic *nic, struct fn_pkt *p, enum fn_drop reason)
{
	nic->st->stats.drop[reason]++;
	if (!(p->flags & FN_PKT_KEEP))
		fn_pkt_free(p);
	return reason == FN_DROP_TX_LINK_DOWN ? -ENETDOWN : -ENOBUFS;
}

fn_cold int fn_nic_send_slow(struct fn_nic *nic, struct fn_pkt *p)
{
	if (p->flags & FN_PKT_QUEUED)
		return 0;
	if (!nic->up)
		return nic_refuse(nic, p, FN_DROP_TX_LINK_DOWN);
	if (nic->choked && nic->ops->full(nic, p))
		return nic_refuse(nic, p, FN_DROP_TX_FULL);
	if (nic->txq_len == FN_NIC_TXQ)
		return nic_refuse(nic, p, FN_DROP_TX_FULL);
	p->flags |= FN_PKT_QUEUED;
	nic->txq[nic->txq_len++] = p;
	nic->st->staged++;
	if (nic->txq_len % FN_NIC_BURST == 0)
		fn_nic_flush(nic);
	return 0;
}
