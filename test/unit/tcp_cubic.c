/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CUBIC's growth (RFC 9438) in virtual time: a flow whose window is always the limit, an ACK for every two segments,
 * spread over each round trip, against the RFC's formulas in floating point.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "stack/net.h"
#include "stack/tcp.h"

#define MSS	1448u
#define MS	FN_MSEC

static struct fn_stack st;
static struct fn_tcp tp;
static uint64_t epoch;		/* ns: when the last reduction was over */

static void setup(void)
{
	memset(&st, 0, sizeof(st));
	memset(&tp, 0, sizeof(tp));
	st.now = 1000 * FN_SEC_NS;
	tp.sk.st = &st;
	tp.mss = MSS;
	tp.cc_id = FN_CC_CUBIC;
	fn_cc(&tp)->init(&tp);
}

TestSuite(tcp_cubic, .init = setup);

/* A window in segments. */
static double win(void)
{
	return (double)tp.cwnd / MSS;
}

/* A loss with `segs` in flight, and recovery's end: the window is the threshold. */
static void lose_at(uint32_t segs)
{
	tp.cwnd = segs * MSS;
	tp.f.prior_cwnd = tp.cwnd;
	tp.cwnd = tp.ssthresh = fn_cc(&tp)->ssthresh(&tp);
	epoch = st.now;
}

/* Round trips of `r` ms, until `seconds` after the reduction. */
static void run_until(double seconds, unsigned r)
{
	uint64_t end = epoch + (uint64_t)(seconds * 1e9);

	tp.min_rtt = r * 1000;
	while (st.now < end) {
		uint64_t acks = fn_max(tp.cwnd / (2 * MSS), 1u), step = r * MS / acks;

		for (uint64_t i = 0; i < acks && st.now < end; i++) {
			st.now += step;
			fn_cc(&tp)->acked(&tp, 2 * MSS);
		}
	}
}

/* RFC 9438 4.2, figures 1 and 2, with C = 0.4 */
static double k_of(double w_max, double start) { return cbrt((w_max - start) / 0.4); }
static double w_cubic(double t, double k, double w_max) { return 0.4 * pow(t - k, 3) + w_max; }

#define expect_win(w, within) \
	cr_expect(fabs(win() - (w)) <= (within) * (w), "%.1f segments, not %.1f, %.2f s after", win(), (double)(w), \
		  (double)(st.now - epoch) / 1e9)

/* 4.2, 4.4, 4.5: 700 segments after a loss at 1000, there again after K = 9.09 s, by the curve all the way. */
Test(tcp_cubic, the_window_is_back_at_w_max_after_k)
{
	double k = k_of(1000, 700);

	lose_at(1000);
	expect_win(700, 0.001);
	for (double t = 0.5; t < 2 * k; t += 0.5) {
		run_until(t, 100);
		expect_win(w_cubic(t, k, 1000), 0.02);
	}
	setup();
	lose_at(1000);
	run_until(k, 100);
	expect_win(1000, 0.01);
}

/* 4.4: ever slower towards the plateau; 4.5: ever faster beyond it. */
Test(tcp_cubic, growth_is_concave_before_k_and_convex_after)
{
	double k = k_of(1000, 700), part = k / 4, gain[8], before;

	lose_at(1000);
	for (int i = 0; i < 8; i++) {
		before = win();
		run_until((i + 1) * part, 100);
		gain[i] = win() - before;
	}
	for (int i = 0; i < 3; i++)
		cr_expect_gt(gain[i], 1.5 * gain[i + 1], "%.1f then %.1f segments", gain[i], gain[i + 1]);
	for (int i = 4; i < 7; i++)
		cr_expect_lt(1.5 * gain[i], gain[i + 1], "%.1f then %.1f segments", gain[i], gain[i + 1]);
}

/* 4.1: the curve is one of time, so that flows of different round trips grow alike. */
Test(tcp_cubic, growth_depends_on_time_and_not_on_the_round_trip)
{
	static const unsigned rtts[] = {50, 100, 200};
	double k = k_of(1000, 700);

	for (unsigned i = 0; i < fn_array_size(rtts); i++) {
		setup();
		lose_at(1000);
		run_until(1.5 * k, rtts[i]);
		expect_win(w_cubic(1.5 * k, k, 1000), 0.02);
	}
}

/* 4.2: no faster than half a window for a round trip, however far behind the curve the window is. */
Test(tcp_cubic, the_target_is_at_most_one_and_a_half_windows)
{
	double before;

	lose_at(100);
	run_until(0.1, 100);
	st.now += 30 * FN_SEC_NS;	/* the curve is at thousands of segments now */
	before = win();
	run_until((double)(st.now - epoch) / 1e9 + 0.1, 100);
	cr_expect_leq(win(), 1.55 * before);
	cr_expect_geq(win(), 1.3 * before);
}

/* 4.7: a loss below the last W_max gives way to others: the plateau is (1 + beta) / 2 of where it happened. */
Test(tcp_cubic, fast_convergence)
{
	double k = k_of(680, 560);

	lose_at(1000);
	run_until(1, 100);
	lose_at(800);
	expect_win(560, 0.001);
	run_until(k / 2, 100);
	expect_win(w_cubic(k / 2, k, 680), 0.02);
	run_until(k, 100);
	expect_win(680, 0.01);
	run_until(1.5 * k, 100);
	expect_win(w_cubic(1.5 * k, k, 680), 0.02);
	/* and one above it does not */
	setup();
	lose_at(1000);
	run_until(1, 100);
	lose_at(1100);
	run_until(k_of(1100, 770), 100);
	expect_win(1100, 0.01);
}

/* 4.3: where Reno is the faster one. alpha = 9/17 up to the window before the loss, then one segment a round trip. */
Test(tcp_cubic, the_reno_friendly_region)
{
	double rounds = (20 - 14) * 17 / 9.0;

	lose_at(20);
	expect_win(14, 0.001);
	run_until(rounds * 0.5 * 0.005, 5);
	expect_win(17, 0.1);
	run_until(rounds * 0.005, 5);
	expect_win(20, 0.1);
	run_until((rounds + 40) * 0.005, 5);
	expect_win(60, 0.1);
	cr_expect_lt(w_cubic(0.3, k_of(20, 14), 20), 21);	/* where the curve alone would be */
}

/* 4.3: "until W_est reaches cwnd_prior", which fast convergence does not lower. */
Test(tcp_cubic, fast_convergence_does_not_hurry_renos_estimate)
{
	lose_at(1000);
	run_until(0.001, 1);
	lose_at(400);			/* W_max 340, W_est from 280 */
	run_until(226 * 0.001, 1);	/* 120 segments at 9/17: 226 rounds */
	expect_win(400, 0.04);
}

/* 4.8: behind a timeout the plateau is where avoidance begins. */
Test(tcp_cubic, after_a_timeout_the_curve_begins_at_its_plateau)
{
	lose_at(1000);
	fn_cc(&tp)->timeout(&tp);
	run_until(3, 100);
	expect_win(700 + 30 * 9 / 17.0, 0.005);		/* Reno's, as long as that is more */
	run_until(12, 100);
	expect_win(w_cubic(12, 0, 700), 0.02);
}

/* 5.8: nothing grows while nothing is sent. */
Test(tcp_cubic, idle_time_does_not_count)
{
	double k = k_of(1000, 700);

	lose_at(1000);
	run_until(k / 2, 100);
	st.now += 20 * FN_SEC_NS;
	epoch += 20 * FN_SEC_NS;
	fn_cc(&tp)->restart(&tp, 20 * FN_SEC_NS);
	run_until(k, 100);
	expect_win(1000, 0.01);
}
