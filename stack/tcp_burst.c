/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is decided once for a whole burst of received packets: ACKs, output that waits for the device, and freeing
 * connections whose last segment was in it. Owns the burst list.
 *
 * An ACK that quickack mode wants at once is held for a few rounds: the program, woken by the same burst, most often
 * answers first, and the answer carries it. If it does not, the polls that it spins with send it, or the timer. The rounds
 * begin when the program accepts the connection: before, it could not answer; but it has two milliseconds at most.
 */
#include "tcp.h"

void fn_tcp_burst_del(struct fn_tcp *tp)
{
	struct fn_tcp **pp = &tp->sk.st->burst;

	if (!(tp->burst & FN_BURST_LISTED))
		return;
	while (*pp != tp)
		pp = &(*pp)->burst_next;
	*pp = tp->burst_next;
	tp->burst = 0;
}

/* tcp_send_delayed_ack: as long as the estimate says, at most half a second or a round trip. */
static void delay_ack(struct fn_tcp *tp)
{
	uint64_t now = tp->sk.st->now, ato = tp->ato, min = tp->sk.st->conf.delack_ms * FN_MSEC, at;

	if (ato > min) {
		uint64_t max = FN_SEC_NS / 2;

		if (tp->pingpong || tp->ack & FN_ACK_PUSHED)
			max = FN_TCP_DELACK_MAX;
		if (tp->srtt)
			max = fn_min(max, fn_max((tp->srtt >> 3) * 1000ull, min));
		ato = fn_min(ato, max);
	} else {
		ato = min;
	}
	ato = fn_min(ato, FN_TCP_DELACK_MAX);
	at = now + ato;
	if (tp->ack & FN_ACK_TIMER) {
		if (tp->due[FN_DUE_ACK] <= now + (ato >> 2)) {	/* about to go anyway */
			fn_tcp_send_ack(tp);
			return;
		}
		at = fn_min(at, tp->due[FN_DUE_ACK]);
	}
	tp->ack |= FN_ACK_TIMER;
	fn_tcp_set_due(tp, FN_DUE_ACK, at);
}

void fn_tcp_hold_ack(struct fn_tcp *tp, uint8_t rounds)
{
	tp->ack |= FN_ACK_SCHED | FN_ACK_HELD;
	tp->held = rounds;
	if (fn_unlikely(tp->accept_queued)) {
		fn_tcp_set_due(tp, FN_DUE_ACK, tp->sk.st->now + FN_TCP_ACCEPT_ACK);
		return;
	}
	fn_tcp_set_due(tp, FN_DUE_ACK, tp->sk.st->now);		/* if nobody polls again soon */
	fn_tcp_burst_add(tp, FN_BURST_ACK);
}

/* RFC 9293 3.8.6.3 and RFC 5681 4.2, with Linux's quickack (__tcp_ack_snd_check). */
static void decide_ack(struct fn_tcp *tp)
{
	if (!(tp->ack & FN_ACK_SCHED))
		return;
	if (tp->ack & FN_ACK_HELD && !(tp->ack & FN_ACK_NOW) && tp->held) {
		tp->held--;
		fn_tcp_burst_add(tp, FN_BURST_ACK);
		return;
	}
	if (tp->ack & (FN_ACK_NOW | FN_ACK_HELD)) {
		fn_tcp_send_ack(tp);
		return;
	}
	if (tp->rcv_nxt - tp->rcv_wup > tp->rcv_mss) {	/* more than a full segment */
		fn_tcp_send_ack(tp);
		return;
	}
	if (tp->quick && !tp->pingpong) {
		fn_tcp_hold_ack(tp, FN_ACK_ROUNDS);
		return;
	}
	delay_ack(tp);
}

void fn_tcp_end_burst(struct fn_stack *st)
{
	struct fn_tcp *tp = st->burst, *next;

	st->burst = NULL;
	for (; tp; tp = next) {
		uint8_t why = tp->burst;

		next = tp->burst_next;
		tp->burst = 0;
		if (why & FN_BURST_DEAD) {
			fn_tcp_destroy(tp);
			continue;
		}
		if (why & FN_BURST_OUT)
			fn_tcp_output(tp, 0);
		if (why & FN_BURST_ACK)
			decide_ack(tp);
	}
}
