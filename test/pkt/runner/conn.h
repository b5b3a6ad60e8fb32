/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a script's numbers mean on the wire. A script counts sequence numbers from its own SYN, the wire from ISNs; the
 * same goes for timestamps. One struct conn holds the offsets of one remote port.
 */
#ifndef PKT_CONN_H
#define PKT_CONN_H

#include "frame.h"

/* The script's end starts here on the wire, so that every script of a few hundred bytes wraps the sequence space. */
#define CONN_REMOTE_BASE 0xffffff00u
#define CONN_REMOTE_PORT 50000	/* of a connection that the script opens */
#define CONN_LOCAL_PORT 8080	/* bind(3, ..., ...) and connect(3, ..., ...) */

#define CONNS_MAX 64

struct conn {
	bool used;
	uint16_t rport, lport;
	bool l_known;		/* l_base, l_isn are learned, from the stack's SYN */
	bool r_known;		/* r_isn is learned, from the script's SYN */
	bool fresh;		/* the script began another incarnation: the next SYN teaches l_base again */
	uint32_t l_base, l_isn;	/* wire = script + base; the script's number of the SYN */
	uint32_t r_isn, r_next_isn;
	bool ts_known;
	uint32_t ts_base;
};

struct conns {
	struct conn conn[CONNS_MAX];
	unsigned count;
	uint16_t lport;		/* what the program bound last */
};

/* The connection with that remote port, made when it is new; 0: the script's first one. NULL: more than CONNS_MAX. */
struct conn *conn_get(struct conns *cs, uint16_t rport, uint16_t dflt);

/* A script's inbound packet in the wire's numbers. */
void conn_to_wire(struct conn *c, const struct packet *p, struct packet *wire);

/*
 * Compare what the script expects with what the stack sent (the wire's numbers; turned into the script's in place).
 * Learns offsets. ts_slack: how far a timestamp may be off, ticks. True: the same; else diff names what differs.
 */
bool conn_match(struct conn *c, const struct packet *want, struct packet *got, uint32_t ts_slack, char *diff, size_t room);

/* Byte number off of a stream; every byte that is sent either way is checked against it. */
uint8_t pattern(uint32_t off);
void pattern_fill(uint8_t *p, uint32_t off, size_t len);
/* Index of the first byte that is wrong; -1: none. */
int pattern_check(const uint8_t *p, uint32_t off, size_t len);

#endif
