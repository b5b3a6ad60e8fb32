/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Congestion control behind a table: what the window does in avoidance and after a loss. Recovery itself (what is lost,
 * what is sent again) is tcp_recovery.c's. All windows are bytes.
 */
#ifndef FN_TCP_CC_H
#define FN_TCP_CC_H

#include "compiler.h"
#include "sock.h"

struct fn_tcp;

#define FN_TCP_INIT_CWND	10	/* segments, RFC 6928 */

/* RFC 9438's variables; windows in bytes, times in ms. */
struct fn_cubic {
	uint32_t w_max, w_est;
	uint32_t origin;		/* W at the plateau */
	uint32_t k;			/* ms to the plateau */
	uint32_t target;
	uint32_t ack_bytes;		/* acknowledged since the last step */
	uint32_t est_bytes;		/* the same, for w_est */
	uint32_t cwnd_seen;
	uint64_t epoch;			/* ns; 0: no epoch yet */
	uint64_t target_time;		/* ns: when target was computed */
};

struct fn_reno {
	uint32_t ack_bytes;
};

union fn_cc_priv {
	struct fn_cubic cubic;
	struct fn_reno reno;
};

struct fn_cc_ops {
	const char *name;		/* as TCP_CONGESTION names it */
	void (*init)(struct fn_tcp *tp);
	/* `acked` new bytes were acknowledged outside of recovery, and the window was the limit. */
	void (*acked)(struct fn_tcp *tp, uint32_t acked);
	/* Slow-start threshold after a loss, bytes. */
	uint32_t (*ssthresh)(struct fn_tcp *tp);
	/* The timer expired: forget the curve. */
	void (*timeout)(struct fn_tcp *tp);
	/* Sending begins again after `idle_ns` of silence. */
	void (*restart)(struct fn_tcp *tp, uint64_t idle_ns);
};

/* The table's entry; ids are enum fn_cc_id. */
const struct fn_cc_ops *fn_cc(const struct fn_tcp *tp);
/* NULL: no such id. */
const char *fn_cc_name(unsigned id);

/* Slow start (RFC 5681 3.1 with L = 2 segments, RFC 3465); returns bytes left over for avoidance. */
uint32_t fn_cc_slow_start(struct fn_tcp *tp, uint32_t acked);
/* One step of additive increase by bytes: `per` bytes acknowledged make one MSS. */
void fn_cc_increase(struct fn_tcp *tp, uint32_t *counter, uint32_t per, uint32_t acked);

extern const struct fn_cc_ops fn_cc_cubic, fn_cc_reno;

#endif
