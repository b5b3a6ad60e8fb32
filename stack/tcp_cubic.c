/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CUBIC (RFC 9438): the window is a cubic function of the time since the last reduction, and never below what Reno would
 * have. Integers only: times in ms, windows in bytes. Owns union member .cubic.
 */
#include "tcp.h"

#define BETA_NUM	7	/* RFC 9438 4.6: beta_cubic 0.7 */
#define BETA_DEN	10
#define STEP_NS		(1 * FN_MSEC)	/* the curve is evaluated once a millisecond at most */

static void init(struct fn_tcp *tp)
{
	tp->f.cc.cubic = (struct fn_cubic){ 0 };
}

/* Largest x with x^3 <= v: bit by bit, 22 steps. */
static uint32_t cube_root(uint64_t v)
{
	uint64_t x = 0;

	for (int bit = 21; bit >= 0; bit--) {
		uint64_t y = x | 1ull << bit;

		if (y * y <= v / y)
			x = y;
	}
	return (uint32_t)x;
}

/* RFC 9438 4.2, Figure 2: K = cubic_root((W_max - cwnd_epoch) / C), C = 0.4 segments/s^3; in ms:
 * K^3 = segments * 10^9 / 0.4. */
static uint32_t time_to_plateau(uint32_t below, uint16_t mss)
{
	uint64_t milli_segs = (uint64_t)below * 1000 / mss;

	return cube_root(milli_segs * 2500000);
}

static void start_epoch(struct fn_tcp *tp, struct fn_cubic *c)
{
	c->epoch = tp->sk.st->now;
	c->ack_bytes = c->est_bytes = 0;
	c->w_est = tp->cwnd;
	if (tp->cwnd < c->w_max) {
		c->k = time_to_plateau(c->w_max - tp->cwnd, tp->mss);
		c->origin = c->w_max;
	} else {	/* RFC 9438 4.7: no reduction before, so the plateau is here */
		c->k = 0;
		c->origin = tp->cwnd;
	}
}

/* RFC 9438 4.2, Figure 1: W_cubic(t) = C (t - K)^3 + W_max, at t one round trip ahead; clamped as 4.2 says. */
static uint32_t curve(const struct fn_tcp *tp, const struct fn_cubic *c)
{
	uint64_t t = (tp->sk.st->now - c->epoch) / FN_MSEC + tp->min_rtt / 1000;
	uint64_t d = t > c->k ? t - c->k : c->k - t, bytes;

	if (d > 200000)		/* 200 s: far beyond the clamp, and d^3 stays in range */
		d = 200000;
	bytes = d * d * d / 1000 * (4ull * tp->mss) / 10000000;	/* 0.4 d^3 MSS, d in ms */
	if (t < c->k)
		return bytes < c->origin ? c->origin - (uint32_t)bytes : 0;
	return bytes < tp->cwnd * 2ull ? c->origin + (uint32_t)bytes : c->origin + tp->cwnd * 2;
}

static void update_target(struct fn_tcp *tp, struct fn_cubic *c)
{
	uint32_t w = curve(tp, c), high = tp->cwnd + tp->cwnd / 2;

	c->target = w < tp->cwnd ? tp->cwnd : fn_min(w, high);
	c->target_time = tp->sk.st->now;
	c->cwnd_seen = tp->cwnd;
}

/* RFC 9438 4.3: what Reno would have, with alpha = 3 (1 - beta) / (1 + beta) = 9/17 until it has caught up with the
 * window before the reduction (cwnd_prior, which fast convergence does not lower as it does W_max), 1 afterwards. */
static void reno_friendly(struct fn_tcp *tp, struct fn_cubic *c, uint32_t acked)
{
	uint32_t per = c->w_est < tp->f.prior_cwnd ? (uint32_t)(c->w_est * 17ull / 9) : c->w_est;

	c->est_bytes += acked;
	if (c->est_bytes < per)
		return;
	c->est_bytes -= per;
	c->w_est += tp->mss;
	if (c->w_est > tp->cwnd)
		tp->cwnd = c->w_est;
}

/* RFC 9438 4.4 and 4.5: (target - cwnd) / cwnd segments for each segment acknowledged. */
static void acked(struct fn_tcp *tp, uint32_t bytes)
{
	struct fn_cubic *c = &tp->f.cc.cubic;
	uint32_t gap, per;
	uint64_t flat;

	if (tp->cwnd < tp->ssthresh)
		bytes = fn_cc_slow_start(tp, bytes);
	if (!bytes)
		return;
	if (!c->epoch)
		start_epoch(tp, c);
	if (tp->sk.st->now - c->target_time >= STEP_NS || c->cwnd_seen != tp->cwnd)
		update_target(tp, c);
	gap = c->target > tp->cwnd ? c->target - tp->cwnd : 0;
	/* `per` bytes acknowledged open one MSS; on the plateau one in a hundred windows (Linux) */
	flat = fn_min(100ull * tp->cwnd, 1ull << 31);
	per = (uint32_t)(gap ? fn_min((uint64_t)tp->cwnd * tp->mss / gap, flat) : flat);
	fn_cc_increase(tp, &c->ack_bytes, fn_max(per, 2u * tp->mss), bytes);
	reno_friendly(tp, c, bytes);
}

/* RFC 9438 4.6 and 4.7 (fast convergence) */
static uint32_t ssthresh(struct fn_tcp *tp)
{
	struct fn_cubic *c = &tp->f.cc.cubic;

	c->epoch = 0;
	if (tp->cwnd < c->w_max)
		c->w_max = (uint32_t)((uint64_t)tp->cwnd * (BETA_DEN + BETA_NUM) / (2 * BETA_DEN));
	else
		c->w_max = tp->cwnd;
	return fn_max((uint32_t)((uint64_t)tp->cwnd * BETA_NUM / BETA_DEN), 2u * tp->mss);
}

/* RFC 9438 5.8: the curve does not grow while nothing is sent. */
static void restart(struct fn_tcp *tp, uint64_t idle_ns)
{
	struct fn_cubic *c = &tp->f.cc.cubic;

	if (c->epoch)
		c->epoch += fn_min(idle_ns, tp->sk.st->now - c->epoch);
}

const struct fn_cc_ops fn_cc_cubic = {
	.name = "cubic",
	.init = init,
	.acked = acked,
	.ssthresh = ssthresh,
	.timeout = init,
	.restart = restart,
};
