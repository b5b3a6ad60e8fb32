/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stack's side of a NIC: buffers to send from and the staging queue, so that one call of .tx serves a burst.
 * Must not know a protocol: a staged frame begins at .l2.
 */
#include <errno.h>
#include <string.h>

#include "net.h"

#define TXQ_MAX	fn_array_size(((struct fn_nic *)0)->txq)

struct fn_pkt *fn_nic_alloc(struct fn_nic *nic)
{
	struct fn_pkt *p = nic->ops->alloc(nic);

	if (fn_unlikely(!p)) {
		nic->stats.alloc_failed++;
		nic->st->stats.drop[FN_DROP_NO_PKT_MEM]++;
	}
	return p;
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
	return (unsigned)TXQ_MAX - nic->txq_len;
}

static void pkt_move_data(struct fn_pkt *p, int32_t n)
{
	p->data += n;
	p->len -= (uint32_t)n;
	p->pkt_len -= (uint32_t)n;
}

/*
 * Offer up to a burst of staged packets. A kept packet's owner may have moved .data while it was staged, so it is set to
 * the frame's first byte for the device, and back afterwards. What the device took without FN_PKT_KEEP is gone.
 */
static unsigned nic_tx_burst(struct fn_nic *nic, struct fn_pkt **q, unsigned n)
{
	struct fn_stats *stats = &nic->st->stats;
	struct fn_pkt *kept[FN_NIC_BURST];
	int32_t moved[FN_NIC_BURST];
	uint32_t len[FN_NIC_BURST];
	unsigned i, sent;

	for (i = 0; i < n; i++) {
		struct fn_pkt *p = q[i];

		moved[i] = (int32_t)(p->data - (p->buf + p->l2));
		if (moved[i])
			pkt_move_data(p, -moved[i]);
		kept[i] = p->flags & FN_PKT_KEEP ? p : NULL;
		len[i] = p->pkt_len;
		p->flags = (uint16_t)((p->flags & ~FN_PKT_QUEUED) | FN_PKT_SENT);
	}
	sent = nic->ops->tx(nic, q, (uint16_t)n);
	for (i = 0; i < sent; i++) {
		stats->tx_bytes += len[i];
		if (kept[i] && moved[i])
			pkt_move_data(kept[i], moved[i]);
	}
	for (; fn_unlikely(i < n); i++) {
		pkt_move_data(q[i], moved[i]);
		q[i]->flags |= FN_PKT_QUEUED;
	}
	stats->tx_packets += sent;
	return sent;
}

bool fn_nic_flush(struct fn_nic *nic)
{
	unsigned done = 0, n, sent;

	while (done < nic->txq_len) {
		n = fn_min(nic->txq_len - done, (unsigned)FN_NIC_BURST);
		sent = nic_tx_burst(nic, nic->txq + done, n);
		done += sent;
		if (sent < n) {
			nic->stats.tx_full++;
			memmove(nic->txq, nic->txq + done, (nic->txq_len - done) * sizeof(nic->txq[0]));
			break;
		}
	}
	nic->txq_len = (uint16_t)(nic->txq_len - done);
	return !nic->txq_len;
}

static fn_cold int nic_refuse(struct fn_nic *nic, struct fn_pkt *p, enum fn_drop reason)
{
	nic->st->stats.drop[reason]++;
	if (!(p->flags & FN_PKT_KEEP))
		fn_pkt_free(p);
	return reason == FN_DROP_TX_LINK_DOWN ? -ENETDOWN : -ENOBUFS;
}

int fn_nic_send(struct fn_nic *nic, struct fn_pkt *p)
{
	if (fn_unlikely(p->flags & FN_PKT_QUEUED))
		return 0;
	if (fn_unlikely(!nic->up))
		return nic_refuse(nic, p, FN_DROP_TX_LINK_DOWN);
	if (fn_unlikely(nic->txq_len == TXQ_MAX))
		return nic_refuse(nic, p, FN_DROP_TX_FULL);
	p->flags |= FN_PKT_QUEUED;
	nic->txq[nic->txq_len++] = p;
	if (fn_unlikely(nic->txq_len % FN_NIC_BURST == 0))
		fn_nic_flush(nic);
	return 0;
}
