/* SPDX-License-Identifier: BSD-3-Clause */
/* What the test wire's device computes about a packet: checksums, TSO, damage. For nic_pair.c alone. */
#ifndef FN_NIC_PAIR_OFFLOAD_H
#define FN_NIC_PAIR_OFFLOAD_H

#include "pkt.h"

#define FN_PAIR_LINK_MAX	18		/* Ethernet header with a VLAN tag */
#define FN_PAIR_TSO_MAX		61440		/* payload: a multiple of no MSS, below IPv4's 65,535 with headers */
#define FN_PAIR_FRAME_MAX	(128 * 1024)	/* what may be injected */

/* What the wire knows about a frame's checksums. 0: they are in the frame as it was sent. */
enum fn_pair_hint {
	FN_PAIR_IP_CSUM		= 1 << 16,	/* the device is to fill in the IPv4 checksum */
	FN_PAIR_L4_CSUM		= 1 << 17,	/* the device is to fill in the TCP or UDP checksum */
	FN_PAIR_L4_MASK		= 0xffff,	/* the L4 header's offset in the frame */
};

/* The hints of a packet that is handed over for transmission. */
uint32_t fn_pair_hints(const struct fn_pkt *p);

/* Copy a chain's bytes; returns how many. */
uint32_t fn_pair_linear(const struct fn_pkt *p, uint8_t *to);

/* Fill in what the hints ask for, and clear them. */
void fn_pair_finish_csum(uint8_t *frame, uint32_t len, uint32_t *hints);
void fn_pair_finish_csum_pkt(struct fn_pkt *p, uint32_t *hints);

/* Set FN_PKT_*_CSUM_OK or FN_PKT_CSUM_BAD. Checksums that the sending device was to fill in are right unseen, as virtio has it. */
void fn_pair_rx_csum(struct fn_pkt *p, uint32_t hints);

/* Flip one bit behind the Ethernet header. False: not an IPv4 frame, where no checksum would notice; it is lost instead. */
bool fn_pair_corrupt(struct fn_pkt *p, uint32_t *hints, uint64_t random);

/* Cut p, whose bytes are at `frame`, into segments of p->tso_mss; each is given to emit. Writes to frame. */
void fn_pair_tso(const struct fn_pkt *p, uint8_t *frame, void (*emit)(void *ctx, const struct fn_pkt *frame, uint32_t hints),
		 void *ctx);

#endif
