/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers of a connection: retransmission (RFC 6298 5), zero-window probes (RFC 9293 3.8.6.1), delayed ACK, keepalive
 * (RFC 9293 3.8.4) and the end of FIN_WAIT2.
 *
 * One wheel timer stands for all three deadlines. It is moved only when a deadline comes before it: a deadline that is
 * put off or dropped costs one store, and the timer looks when it fires. Busy connections so touch the wheel some 25
 * times a second instead of twice a segment.
 */
#include <errno.h>
#include <poll.h>

#include "tcp.h"

/* ---- retransmission ---- */

static uint64_t backed_off(uint64_t base, unsigned shift)
{
	uint64_t t = shift < 20 ? base << shift : FN_TCP_RTO_MAX;

	return t < FN_TCP_RTO_MAX ? t : FN_TCP_RTO_MAX;
}

/* RFC 5482: the connection ends when the user timeout is over, not with the retransmission after it. */
static uint64_t within_user_timeout(const struct fn_tcp *tp, uint64_t delay)
{
	uint64_t end = tp->f.retrans_stamp + tp->user_timeout * FN_MSEC, now = tp->sk.st->now;

	if (!tp->user_timeout || !tp->retransmits || !tp->f.retrans_stamp)
		return delay;
	return end > now ? fn_min(delay, end - now) : 0;
}

void fn_tcp_rearm_rto_slow(struct fn_tcp *tp)
{
	if (tp->snd_una == tp->snd_nxt) {
		tp->rtx_kind = FN_RTX_NONE;
		fn_tcp_clear_due(tp, FN_DUE_RTX);
		return;
	}
	tp->rtx_kind = FN_RTX_RTO;
	fn_tcp_set_due(tp, FN_DUE_RTX, tp->sk.st->now + within_user_timeout(tp, backed_off(tp->rto, tp->backoff)));
}

/* How long `boundary` doublings from `base` take (tcp_model_timeout): what "retries" mean in time. */
static uint64_t model_timeout(unsigned boundary, uint64_t base)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i <= boundary; i++)
		sum += backed_off(base, i);
	return sum;
}

static bool timed_out(const struct fn_tcp *tp, unsigned boundary, uint64_t limit)
{
	const struct fn_stack *st = tp->sk.st;

	if (!tp->retransmits || !tp->f.retrans_stamp)
		return false;
	if (!limit)
		limit = model_timeout(boundary, FN_TCP_RTO_MIN);
	return st->now - tp->f.retrans_stamp >= limit;
}

/* ETIMEDOUT, or what ICMP said meanwhile (tcp_write_err). */
static void give_up(struct fn_tcp *tp)
{
	fn_tcp_abort(tp, tp->sk.soft_error ? tp->sk.soft_error : ETIMEDOUT);
}

/* tcp_orphan_retries: nobody waits for it any more. */
static unsigned orphan_retries(const struct fn_tcp *tp, bool alive)
{
	if (tp->sk.soft_error && !alive)
		return 0;
	return 8;
}

/* RFC 9293 3.8.3 R2, RFC 5482; true: the connection is given up. */
static bool write_timeout(struct fn_tcp *tp)
{
	const struct fn_stack *st = tp->sk.st;
	unsigned until = st->conf.retries2;

	if (tp->dead) {
		bool alive = backed_off(tp->rto, tp->backoff) < FN_TCP_RTO_MAX;

		until = orphan_retries(tp, alive);
		if (!alive && timed_out(tp, until, 0)) {
			fn_tcp_reset_peer(tp);
			return true;
		}
	}
	if (!timed_out(tp, until, tp->user_timeout * FN_MSEC))
		return false;
	give_up(tp);
	return true;
}

/* SYN or SYN-ACK (simultaneous open) again. */
static void syn_timeout(struct fn_tcp *tp)
{
	const struct fn_stack *st = tp->sk.st;
	unsigned retries = tp->syn_retries ? tp->syn_retries : st->conf.syn_retries;
	uint64_t limit = tp->user_timeout * FN_MSEC;

	if (!tp->f.retrans_stamp)
		tp->f.retrans_stamp = tp->lsndtime;	/* the SYN itself */
	if (tp->retransmits >= retries || (limit && st->now - tp->f.retrans_stamp >= limit)) {
		give_up(tp);
		return;
	}
	tp->retransmits++;
	tp->backoff++;
	tp->f.total_retrans++;
	tp->sk.st->stats.tcp_retrans++;
	fn_tcp_send_syn(tp);
	fn_tcp_rearm_rto(tp);
}

/* RFC 6298 5.4-5.7 */
static void rto_expired(struct fn_tcp *tp)
{
	struct fn_stack *st = tp->sk.st;

	if (tp->sk.tcp_state == FN_TCP_SYN_SENT || tp->sk.tcp_state == FN_TCP_SYN_RCVD) {
		syn_timeout(tp);
		return;
	}
	if (!tp->rtxq.head) {
		fn_tcp_rearm_rto(tp);
		return;
	}
	if (!tp->snd_wnd && !tp->dead) {
		/* the window was closed behind our back: go on probing, for as long as ACKs come (RFC 9293 SHLD-17) */
		if (st->now - tp->rcv_tstamp > FN_TCP_RTO_MAX && timed_out(tp, st->conf.retries2, 0)) {
			give_up(tp);
			return;
		}
	} else if (write_timeout(tp)) {
		return;
	}
	st->stats.tcp_rto++;
	fn_tcp_enter_loss(tp);
	if (tp->retransmits < UINT8_MAX)
		tp->retransmits++;
	/* An attempt counts: what can never leave, for want of buffers, must not be held for ever (Linux likewise). */
	if (fn_tcp_retransmit(tp, tp->rtxq.head) && !tp->f.retrans_stamp)
		tp->f.retrans_stamp = st->now;
	if (tp->backoff < UINT8_MAX)
		tp->backoff++;
	fn_tcp_rearm_rto(tp);
}

/* ---- zero-window probes ---- */

uint64_t fn_tcp_probe_delay(const struct fn_tcp *tp)
{
	uint64_t min = tp->sk.st->conf.rto_min_ms * FN_MSEC;

	return backed_off(fn_max(tp->rto, min), tp->backoff);
}

void fn_tcp_set_probe(struct fn_tcp *tp, uint64_t delay)
{
	tp->rtx_kind = FN_RTX_PROBE;
	fn_tcp_set_due(tp, FN_DUE_RTX, tp->sk.st->now + delay);
}

static bool probe_limit(struct fn_tcp *tp)
{
	const struct fn_stack *st = tp->sk.st;
	unsigned max = st->conf.retries2;

	if (!tp->probes_stamp)
		tp->probes_stamp = st->now;
	else if (tp->user_timeout && st->now - tp->probes_stamp >= tp->user_timeout * FN_MSEC)
		return true;
	if (tp->dead) {
		bool alive = backed_off(tp->rto, tp->backoff) < FN_TCP_RTO_MAX;

		max = orphan_retries(tp, alive);
		if (!alive && tp->backoff >= max)
			return true;
	}
	return tp->probes_out >= max;
}

static void probe_expired(struct fn_tcp *tp)
{
	int err;

	tp->rtx_kind = FN_RTX_NONE;
	if (tp->snd_nxt != tp->snd_una || !tp->sndq.head) {
		tp->probes_out = 0;
		tp->probes_stamp = 0;
		fn_tcp_output(tp, FN_NAGLE_PUSH);	/* there was no buffer for the FIN, or for a writer */
		fn_tcp_write_space(tp);
		return;
	}
	if (probe_limit(tp)) {
		give_up(tp);
		return;
	}
	err = fn_tcp_probe(tp);
	if (tp->snd_nxt != tp->snd_una || !tp->sndq.head) {	/* it was data, and fitted */
		tp->probes_out = tp->backoff = 0;
		tp->probes_stamp = 0;
		return;
	}
	tp->probes_out++;
	if (!err && tp->backoff < tp->sk.st->conf.retries2)
		tp->backoff++;
	fn_tcp_set_probe(tp, err ? FN_TCP_PROBE_RETRY : fn_tcp_probe_delay(tp));
}

/* ---- delayed ACK ---- */

/* tcp_delack_timer_handler: the reply did not come in time, so the guess was wrong. */
static void ack_expired(struct fn_tcp *tp)
{
	if (!(tp->ack & FN_ACK_SCHED))
		return;
	if (!(tp->ack & FN_ACK_HELD)) {
		if (tp->pingpong) {
			tp->pingpong = false;
			tp->ato = FN_TCP_ATO_MIN;
		} else {
			tp->ato = (uint32_t)fn_min((uint64_t)tp->ato << 1, fn_min(tp->rto, FN_SEC_NS));
		}
	}
	fn_tcp_send_ack(tp);
}

/* ---- keepalive ---- */

uint64_t fn_tcp_keepidle(const struct fn_tcp *tp)
{
	return (tp->keepidle ? tp->keepidle : 7200) * FN_SEC_NS;	/* RFC 9293 MUST-28: two hours at least */
}

static uint64_t keepintvl(const struct fn_tcp *tp)
{
	return (tp->keepintvl ? tp->keepintvl : 75) * FN_SEC_NS;
}

void fn_tcp_set_keepalive(struct fn_tcp *tp, bool on)
{
	if (tp->sk.tcp_state == FN_TCP_CLOSED || tp->sk.tcp_state == FN_TCP_LISTEN || tp->dead)
		return;
	if (on)
		fn_tcp_set_due(tp, FN_DUE_KEEP, tp->sk.st->now + fn_tcp_keepidle(tp));
	else
		fn_tcp_clear_due(tp, FN_DUE_KEEP);
}

uint64_t fn_tcp_fin_time(const struct fn_tcp *tp)
{
	uint64_t t = tp->linger2 > 0 ? (uint64_t)tp->linger2 * FN_SEC_NS : tp->sk.st->conf.fin_timeout_ms * FN_MSEC;
	uint64_t least = (tp->rto << 2) - (tp->rto >> 1);	/* 3.5 RTO, as Linux */

	return fn_max(t, least);
}

/* FIN_WAIT2 of a closed socket has lasted long enough to be kept by a slim object from here on. */
static void fin_wait2_expired(struct fn_tcp *tp)
{
	if (tp->linger2 >= 0) {
		uint64_t tw = tp->sk.st->conf.time_wait_ms * FN_MSEC, t = fn_tcp_fin_time(tp);

		if (t > tw) {
			fn_tcp_time_wait(tp, FN_TCP_FIN_WAIT2, t - tw);
			return;
		}
	}
	fn_tcp_reset_peer(tp);
}

static void keep_probe(struct fn_tcp *tp, uint64_t silent)
{
	unsigned max = tp->keepcnt ? tp->keepcnt : 9;
	uint64_t user = tp->user_timeout * FN_MSEC;
	uint64_t again = FN_TCP_PROBE_RETRY;

	if (user ? silent >= user && tp->probes_out : tp->probes_out >= max) {
		if (!fn_tcp_send_bare(tp, FN_TCP_RST | FN_TCP_ACK, tp->snd_nxt))
			tp->sk.st->stats.tcp_rst_out++;
		give_up(tp);
		return;
	}
	if (!fn_tcp_probe(tp)) {
		tp->probes_out++;
		tp->sk.st->stats.tcp_keepalive++;
		again = keepintvl(tp);
	}
	fn_tcp_set_due(tp, FN_DUE_KEEP, tp->sk.st->now + again);
}

static void keep_expired(struct fn_tcp *tp)
{
	uint64_t now = tp->sk.st->now, idle = fn_tcp_keepidle(tp), silent;

	if (tp->sk.tcp_state == FN_TCP_FIN_WAIT2 && tp->dead) {
		fin_wait2_expired(tp);
		return;
	}
	if (!(tp->sk.opts & FN_SO_KEEPALIVE) || tp->sk.tcp_state == FN_TCP_SYN_SENT)
		return;
	if (tp->rtxq.head || tp->sndq.head) {	/* retransmission looks after it */
		fn_tcp_set_due(tp, FN_DUE_KEEP, now + idle);
		return;
	}
	silent = now - fn_max(tp->ack_ts, tp->rcv_tstamp);
	if (silent >= idle)
		keep_probe(tp, silent);
	else
		fn_tcp_set_due(tp, FN_DUE_KEEP, now + idle - silent);
}

/* ---- the wheel's call ---- */

static bool is_due(struct fn_tcp *tp, enum fn_tcp_due which, uint64_t now)
{
	if (tp->due[which] > now)
		return false;
	tp->due[which] = FN_NEVER;
	return true;
}

void fn_tcp_timer(struct fn_timer *t, uint64_t now)
{
	struct fn_tcp *tp = fn_container_of(t, struct fn_tcp, timer);
	uint64_t next = FN_NEVER;

	/* without a timer until then: its deadlines stay, and are over */
	if (fn_unlikely(tp->sk.remote.peer) && tp->path.nic && tp->path.nic->ops->absent &&
	    tp->path.nic->ops->absent(tp->path.nic, tp->sk.remote.peer))
		return;
	fn_tcp_busy(tp);
	if (is_due(tp, FN_DUE_ACK, now))
		ack_expired(tp);
	if (is_due(tp, FN_DUE_RTX, now)) {
		if (tp->rtx_kind == FN_RTX_PROBE)
			probe_expired(tp);
		else
			rto_expired(tp);
	}
	if (tp->sk.tcp_state != FN_TCP_CLOSED && is_due(tp, FN_DUE_KEEP, now))
		keep_expired(tp);
	if (tp->sk.tcp_state == FN_TCP_CLOSED)
		return;
	for (unsigned i = 0; i < FN_DUE_COUNT; i++)
		next = fn_min(next, tp->due[i]);
	if (next != FN_NEVER && (!fn_timer_armed(t) || t->expires > next))
		fn_timer_arm(&tp->sk.st->wheel, t, next);
}
