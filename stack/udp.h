/* SPDX-License-Identifier: BSD-3-Clause */
/* A UDP socket. */
#ifndef FN_UDP_H
#define FN_UDP_H

#include "net.h"

struct fn_udp {
	struct fn_sock sk;
	struct fn_path path;		/* to the last destination; .nic NULL: none yet */
	uint32_t path_src;		/* the source that was asked for it */
	uint16_t path_peer;		/* the process behind the fabric; 0: none */
	uint8_t mtu_discover;		/* IP_PMTUDISC_* */
	struct fn_udp *next_waiter;	/* of those that wait for room to send, st->udp_wait */
	bool waiting;
};

/* There may be room to send again: tell the writers that met none. Called after a flush. */
void fn_udp_writable(struct fn_stack *st);

#endif
