/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Packets as Ethernet frames and back. Numbers in a struct packet are the wire's here; what a script's numbers mean on
 * the wire is the connection's business (conn.h).
 */
#ifndef PKT_FRAME_H
#define PKT_FRAME_H

#include "script.h"

#define FRAME_MAX 65600

/* Who sends to whom: the addresses of a frame, network order. */
struct link {
	uint8_t our_mac[6], their_mac[6];
	uint32_t our_ip, their_ip;		/* the stack's and the script's end */
};

/* The frame for p, which goes to the stack; payload has p->len bytes (TCP, UDP). Returns its length. */
size_t frame_encode(uint8_t *frame, const struct link *l, const struct packet *p, const uint8_t *payload);

/* What the stack sent. NULL, or why it cannot be a packet of a script (bad checksum, malformed). */
const char *frame_decode(const uint8_t *frame, size_t len, const struct link *l, struct packet *p);

/* An ARP request of the stack: its answer is written to reply. False: not one. */
bool frame_answer_arp(const uint8_t *frame, size_t len, const struct link *l, uint8_t *reply, size_t *reply_len);
bool frame_is_arp(const uint8_t *frame, size_t len);

#endif
