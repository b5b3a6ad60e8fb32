/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of congestion controls, what they share (slow start), and Reno (RFC 5681). */
#include "tcp.h"

static const struct fn_cc_ops *const table[] = {
	[FN_CC_CUBIC] = &fn_cc_cubic,
	[FN_CC_RENO] = &fn_cc_reno,
};

const struct fn_cc_ops *fn_cc(const struct fn_tcp *tp)
{
	return table[tp->cc_id];
}

const char *fn_cc_name(unsigned id)
{
	return id < fn_array_size(table) ? table[id]->name : NULL;
}

uint32_t fn_cc_slow_start(struct fn_tcp *tp, uint32_t acked)
{
	uint32_t room = tp->ssthresh - tp->cwnd, step = fn_min(acked, room);

	tp->cwnd += step;
	return acked - step;
}

void fn_cc_increase(struct fn_tcp *tp, uint32_t *counter, uint32_t per, uint32_t acked)
{
	*counter += acked;
	if (*counter < per)
		return;
	*counter -= per;
	if (*counter > per)	/* never more than one segment saved up */
		*counter = per;
	tp->cwnd += tp->mss;
}

static void reno_init(struct fn_tcp *tp)
{
	tp->f.cc.reno = (struct fn_reno){ 0 };
}

/* RFC 5681 3.1, (3): one segment a window, counted in bytes (RFC 3465). */
static void reno_acked(struct fn_tcp *tp, uint32_t acked)
{
	if (tp->cwnd < tp->ssthresh)
		acked = fn_cc_slow_start(tp, acked);
	if (acked)
		fn_cc_increase(tp, &tp->f.cc.reno.ack_bytes, tp->cwnd, acked);
}

/* RFC 5681 3.1, (4) */
static uint32_t reno_ssthresh(struct fn_tcp *tp)
{
	return fn_max(tp->cwnd / 2, 2u * tp->mss);
}

static void reno_restart(struct fn_tcp *tp, uint64_t idle_ns)
{
}

const struct fn_cc_ops fn_cc_reno = {
	.name = "reno",
	.init = reno_init,
	.acked = reno_acked,
	.ssthresh = reno_ssthresh,
	.timeout = reno_init,
	.restart = reno_restart,
};
