/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Round-trip estimation and the retransmission timeout (RFC 6298), with Linux's refinement: the variance follows drops
 * slowly and is the largest deviation of a round trip. Owns srtt, mdev, rttvar and rto; arms no timer.
 */
#include "tcp.h"

#define USEC	1000u

static void set_rto(struct fn_tcp *tp)
{
	uint64_t rto = ((uint64_t)(tp->srtt >> 3) + tp->rttvar) * USEC;

	tp->rto = rto < FN_TCP_RTO_MAX ? rto : FN_TCP_RTO_MAX;
}

static uint32_t rto_min_us(const struct fn_tcp *tp)
{
	return tp->sk.st->conf.rto_min_ms * 1000;
}

/* RFC 6298 2.2 */
static void first_sample(struct fn_tcp *tp, uint32_t us)
{
	tp->srtt = us << 3;
	tp->mdev = us << 1;
	tp->rttvar = tp->mdev_max = fn_max(tp->mdev, rto_min_us(tp));
	tp->rtt_seq = tp->snd_nxt;
}

/* RFC 6298 2.3: gains 1/8 and 1/4; a sample far below the mean moves the deviation eight times slower, so that a sudden
 * fall of the round trip does not raise the timeout (tcp_rtt_estimator). */
static void next_sample(struct fn_tcp *tp, uint32_t us)
{
	int32_t err = (int32_t)(us - (tp->srtt >> 3));

	tp->srtt += (uint32_t)err;
	if (err < 0) {
		err = -err - (int32_t)(tp->mdev >> 2);
		if (err > 0)
			err >>= 3;
	} else {
		err -= (int32_t)(tp->mdev >> 2);
	}
	tp->mdev += (uint32_t)err;
	if (tp->mdev > tp->mdev_max) {
		tp->mdev_max = tp->mdev;
		if (tp->mdev_max > tp->rttvar)
			tp->rttvar = tp->mdev_max;
	}
	if (fn_seq_gt(tp->snd_una, tp->rtt_seq)) {	/* a round trip is over */
		if (tp->mdev_max < tp->rttvar)
			tp->rttvar -= (tp->rttvar - tp->mdev_max) >> 2;
		tp->rtt_seq = tp->snd_nxt;
		tp->mdev_max = rto_min_us(tp);
	}
}

void fn_tcp_rtt_sample(struct fn_tcp *tp, uint64_t rtt_ns)
{
	/* at least 1 us, and small enough for srtt << 3 */
	uint64_t long_us = rtt_ns / USEC;
	uint32_t us = long_us > UINT32_MAX >> 4 ? UINT32_MAX >> 4 : long_us ? (uint32_t)long_us : 1;

	if (!tp->min_rtt || us < tp->min_rtt)
		tp->min_rtt = us;
	if (tp->srtt)
		next_sample(tp, us);
	else
		first_sample(tp, us);
	set_rto(tp);
	tp->backoff = 0;
}

void fn_tcp_rtt_reset(struct fn_tcp *tp)
{
	tp->srtt = tp->mdev = tp->mdev_max = tp->rttvar = 0;
	tp->rto = FN_TCP_RTO_INIT;
}
