/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AF_PACKET's receive ring, read without the driver, which throws away what the kernel says about a frame: whether its
 * checksum counts, and that it was too large for its slot. A kernel peer hands over up to 64 KiB in one piece (GSO). Slots
 * of that size would take 128 MiB; instead the kernel queues such a frame on the socket (PACKET_COPY_THRESH), and marks
 * its slot, so that it is read from there, and put into as many buffers as it takes. With read(), which a program's
 * seccomp filter cannot do without; what would save a copy, recvmsg(), it may forbid. Sending stays the driver's.
 *
 * The ring is the kernel's PACKET_MMAP, version 2 (Documentation/networking/packet_mmap.rst): a slot's status word says
 * whose it is. A marked slot and its queued frame are made under one lock, so their orders are the same.
 */
#include <errno.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plugin/dpdk.h"
#include "stack/wire.h"

#define VLAN_TPID	0x8100	/* IEEE 802.1Q */
#define TAG_LEN		4
#define MACS_LEN	12
#define IP_PROTO_AT	9

bool dpdk_ring_setup(int fd)
{
	int on = 1, bytes = FN_PLUGIN_PACKET_RCVBUF, has = 0;
	socklen_t len = sizeof(has);

	/* else it was made for a process that had privileges still; without them there is as much as there may be */
	if ((getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &has, &len) || has < bytes) &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	return !ioctl(fd, FIONBIO, &on) && !setsockopt(fd, SOL_PACKET, PACKET_COPY_THRESH, &on, sizeof(on));
}

/* A frame in buffers of the port's; NULL: there were not enough. */
static struct rte_mbuf *copy_frame(struct dpdk_port *port, const uint8_t *from, uint32_t len)
{
	struct rte_mbuf *head = rte_pktmbuf_alloc(port->pool), *m = head;
	uint32_t left = len, n;

	while (m) {
		n = fn_min(left, (uint32_t)rte_pktmbuf_tailroom(m));
		memcpy(rte_pktmbuf_mtod(m, void *), from, n);
		m->data_len = (uint16_t)n;
		from += n;
		left -= n;
		if (fn_likely(!left)) {
			head->pkt_len = len;
			return head;
		}
		m = m->next = rte_pktmbuf_alloc(port->pool);
		head->nb_segs = (uint16_t)(head->nb_segs + (m != NULL));
	}
	rte_pktmbuf_free(head);
	return NULL;
}

/* The frame at the head of the socket's queue, whose slot is h. NULL: it is lost, and counted. */
static fn_cold struct rte_mbuf *read_queued(struct dpdk_port *port, const struct dpdk_rxq *rxq, const struct tpacket2_hdr *h)
{
	struct rte_mbuf *m = NULL;
	ssize_t n;

	do	/* an interface that went down leaves its error, once, and the frame where it is */
		n = read(rxq->fd, port->queued, sizeof(port->queued));
	while (n < 0 && errno == ENETDOWN);
	if (n == (ssize_t)h->tp_len)
		m = copy_frame(port, port->queued, h->tp_len);
	port->ring_missed += !m;
	return m;
}

/* The kernel has taken the tag off; the stack decides about it. */
static fn_cold void put_tag(struct rte_mbuf *m, const struct tpacket2_hdr *h)
{
	uint16_t tpid = h->tp_status & TP_STATUS_VLAN_TPID_VALID ? h->tp_vlan_tpid : VLAN_TPID;
	uint16_t tag[2] = { fn_be16(tpid), fn_be16(h->tp_vlan_tci) };
	uint8_t *to = m->data_len < MACS_LEN ? NULL : (uint8_t *)rte_pktmbuf_prepend(m, TAG_LEN);

	if (!to)
		return;
	memmove(to, to + TAG_LEN, MACS_LEN);
	memcpy(to + MACS_LEN, tag, sizeof(tag));
}

/* A frame larger than the MTU that the stack takes (ether.c): TCP, or a datagram with its checksum in it. */
static bool taken(const struct rte_mbuf *m)
{
	const struct fn_ether_hdr *eth = rte_pktmbuf_mtod(m, const struct fn_ether_hdr *);
	uint8_t proto = ((const uint8_t *)(eth + 1))[IP_PROTO_AT];

	return eth->type == fn_be16(FN_ETHER_TYPE_IP4) &&
	       (proto == FN_IPPROTO_TCP || (proto == FN_IPPROTO_UDP && !m->ol_flags));
}

/* What is unusual about a frame. */
static fn_cold void note_odd(struct dpdk_port *port, struct rte_mbuf *m, const struct tpacket2_hdr *h)
{
	if (h->tp_status & TP_STATUS_VLAN_VALID)
		put_tag(m, h);
	if (m->pkt_len < h->tp_len || (m->pkt_len > port->frame_max && !taken(m)))
		port->pub.oversize++;
}

/*
 * One slot's frame. Its checksum is unfinished because it never crossed a wire, or the kernel has found it right: both
 * are as good as verified unless the user wants none of it.
 */
static void take_slot(struct dpdk_port *port, struct rte_mbuf *m, const struct tpacket2_hdr *h)
{
	if (port->ring_sums && h->tp_status & (TP_STATUS_CSUMNOTREADY | TP_STATUS_CSUM_VALID))
		m->ol_flags |= RTE_MBUF_F_RX_L4_CKSUM_GOOD;
	if (fn_unlikely(h->tp_status & TP_STATUS_VLAN_VALID || h->tp_len > port->frame_max))
		note_odd(port, m, h);
}

static struct tpacket2_hdr *slot_of(const struct dpdk_rxq *rxq)
{
	return (struct tpacket2_hdr *)(uintptr_t)(rxq->ring + (size_t)rxq->slot * rxq->slot_size);
}

uint16_t dpdk_ring_rx(struct dpdk_port *port, struct dpdk_rxq *rxq, struct rte_mbuf **m, uint16_t n)
{
	struct tpacket2_hdr *h;
	uint16_t got = 0;

	/* pairs with the kernel's smp_wmb() before it hands the slot over (__packet_set_status) */
	while (got < n && (h = slot_of(rxq), __atomic_load_n(&h->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER)) {
		bool queued = h->tp_status & TP_STATUS_COPY;

		if (fn_unlikely(queued))
			m[got] = read_queued(port, rxq, h);
		else
			m[got] = copy_frame(port, (const uint8_t *)h + h->tp_mac, h->tp_snaplen);
		if (fn_likely(m[got] != NULL))
			take_slot(port, m[got++], h);
		else if (!queued)
			break;			/* it waits in the ring for a buffer */
		/* passed first: who dies in between leaves a slot that can be told from others (recover.c) */
		rxq->slot = rxq->slot + 1 == rxq->ring_slots ? 0 : rxq->slot + 1;
		/* pairs with the kernel's smp_rmb() (__packet_get_status) */
		__atomic_store_n(&h->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
	}
	return got;
}

uint64_t dpdk_ring_missed(struct dpdk_port *port)
{
	struct tpacket_stats st;
	socklen_t len = sizeof(st);

	/* asking clears it */
	for (int i = 0; i < port->nb_wait_fd; i++)
		if (!getsockopt(port->wait_fd[i], SOL_PACKET, PACKET_STATISTICS, &st, &len))
			port->ring_dropped += st.tp_drops;
	return port->ring_dropped + port->ring_missed;
}
