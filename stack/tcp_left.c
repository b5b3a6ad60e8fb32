/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the two ends of a connection leave for who survives them: notes of what was written, in the buffers themselves, and
 * how far the program has read (nic.h). Our side, and what is made of a dead peer's: text that it had not brought over is
 * received now, and what its program had not read makes its end a reset (tcp_gone.c).
 */
#include <errno.h>

#include "tcp.h"

#define RECEIVES	(1u << FN_TCP_ESTABLISHED | 1u << FN_TCP_FIN_WAIT1 | 1u << FN_TCP_FIN_WAIT2)
#define WIDE		(1u << 30)	/* no sender has more than that before us */

/* ---- ours ---- */

/* Only what is read while we live needs the count: pairs with read_held(). */
static void change_ends(struct fn_read *r)
{
	atomic_store_explicit(&r->changes, atomic_load_explicit(&r->changes, memory_order_relaxed) | 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&r->images, 0, memory_order_relaxed);
}

static void ends_changed(struct fn_read *r)
{
	atomic_store_explicit(&r->changes, atomic_load_explicit(&r->changes, memory_order_relaxed) + 1, memory_order_release);
}

void fn_tcp_told_close(struct fn_tcp *tp)
{
	if (fn_tcp_told_here(tp)) {
		change_ends(tp->told);
		tp->told->ends.peer = 0;
		ends_changed(tp->told);
	}
	tp->told = NULL;
}

void fn_tcp_held(struct fn_sock *sk)
{
	const struct fn_tcp *tp = sk->kind == FN_SOCK_TCP ? fn_tcp_sk(sk) : NULL;
	const struct fn_nic *nic = tp ? tp->path.nic : NULL;

	if (tp && fn_tcp_told_here(tp))		/* pairs with read_held() */
		atomic_store_explicit(&tp->told->images, nic->ops->holders(nic, sk->remote.peer, sk->images),
				      memory_order_release);
}

void fn_tcp_told_open(struct fn_tcp *tp)
{
	struct fn_nic *nic = tp->path.nic;
	struct fn_read *r;

	/* who has that memory keeps it right; after a death under the lock this may be somebody else */
	if (tp->told && !fn_tcp_told_here(tp))
		return;
	fn_tcp_told_close(tp);
	tp->notes = tp->lossless && nic->caps & FN_NIC_NOTES && tp->head_len;
	r = tp->notes ? nic->ops->reads(nic, tp->sk.remote.peer, tp->sk.index, &tp->told_apart) : NULL;
	if (!r)
		return;
	change_ends(r);
	r->ends.addrs = tp->rx_addrs;
	r->ends.ports = tp->rx_ports;
	atomic_store_explicit(&r->seq, tp->copied_seq, memory_order_relaxed);
	/* as in fn_tcp_note() */
	atomic_signal_fence(memory_order_release);
	r->ends.peer = tp->sk.remote.peer;
	ends_changed(r);
	tp->told = r;
	fn_tcp_held(&tp->sk);
}

static void moved(const struct fn_tcp *tp, const struct fn_pktq *q)
{
	for (struct fn_pkt *p = q->head; p; p = p->next)
		((struct fn_note *)p->buf)->ends.peer = tp->sk.remote.peer;
}

void fn_tcp_notes_moved(struct fn_tcp *tp)
{
	if (!tp->notes)
		return;
	moved(tp, &tp->rtxq);
	moved(tp, &tp->sndq);
}

void fn_tcp_spill(struct fn_tcp *tp)
{
	struct fn_nic *nic = tp->path.nic;
	struct fn_pkt *p = tp->sndq.tail;

	while (p && nic->ops->spill(nic, tp->sk.remote.peer, p))
		p = p->prev;
}

/* ---- a dead peer's ---- */

/* The connection between those ends; NULL: there is none, or nothing but its end or its beginning. */
static struct fn_tcp *tcp_of(struct fn_stack *st, const struct fn_left *left)
{
	uint32_t hash = fn_hash4(st, left->remote.ip4, left->local.ip4, left->remote.port, left->local.port);
	struct fn_sock *sk = fn_demux_conn(st, hash, &left->local, &left->remote);

	return sk && sk->tcp_state != FN_TCP_TIME_WAIT && sk->tcp_state != FN_TCP_NEW_SYN_RCVD ? fn_tcp_sk(sk) : NULL;
}

/* Whatever window and buffer were: it has been sent, and its memory is bounded by what the sender had. */
static void take_text(struct fn_tcp *tp, struct fn_pkt *p, uint32_t seq)
{
	struct fn_tcp_hdr th = { .flags = FN_TCP_ACK };
	struct fn_tcp_seg seg = { .th = &th, .seq = seq, .end_seq = seq + p->pkt_len, .len = p->pkt_len, .flags = FN_TCP_ACK,
		.ack = tp->snd_una, .win = tp->snd_wnd >> tp->snd_wscale };
	uint32_t rcvbuf = tp->sk.rcvbuf;

	p->time = tp->sk.st->now;
	tp->rcv_wup = tp->rcv_nxt;
	tp->rcv_wnd = WIDE;
	fn_tcp_pred_update(tp);
	tp->sk.rcvbuf = INT32_MAX;
	fn_tcp_segment(tp, p, &seg);
	tp->sk.rcvbuf = rcvbuf;
}

static bool wanted(const struct fn_tcp *tp, const struct fn_left *left)
{
	return RECEIVES >> tp->sk.tcp_state & 1 && !tp->dead && !tp->fin_rcvd &&
	       fn_seq_gt(left->seq + left->text->pkt_len, tp->rcv_nxt);
}

/* It has read up to `seq`. What waits for its window it may have found where it lies, and not read (fn_shm_unsent()). */
static bool read_all(const struct fn_tcp *tp, uint32_t seq)
{
	uint32_t sent = tp->snd_nxt - (tp->fin_queued && tp->snd_nxt == tp->write_seq);
	const struct fn_pkt *waits = tp->sndq.head;

	if (fn_seq_gt(seq, sent))
		return seq == tp->write_seq - tp->fin_queued;
	return seq == sent && (!waits || fn_seq_leq(waits->end_seq, fn_tcp_wnd_end(tp)));
}

void fn_tcp_left(struct fn_stack *st, const struct fn_left *left)
{
	struct fn_tcp *tp = tcp_of(st, left);

	if (!left->text) {
		if (tp)
			tp->peer_read = read_all(tp, left->seq) ? FN_PEER_READ_ALL : FN_PEER_LEFT_UNREAD;
	} else if (tp && wanted(tp, left)) {
		take_text(tp, left->text, left->seq);
	} else {
		fn_pkt_free(left->text);
	}
}

bool fn_tcp_left_known(struct fn_stack *st, const struct fn_left *left)
{
	uint32_t hash = fn_hash4(st, left->remote.ip4, left->local.ip4, left->remote.port, left->local.port);

	return fn_demux_conn(st, hash, &left->local, &left->remote);
}

bool fn_tcp_left_whole(struct fn_stack *st, const struct fn_left *left)
{
	const struct fn_tcp *tp = tcp_of(st, left);

	return !tp || !tp->oooq.head;
}

/* ---- a living peer's, who has written it and left it there ---- */

static struct fn_tcp *conn_of(struct fn_stack *st, const struct fn_left *left)
{
	struct fn_tcp *tp = tcp_of(st, left);

	return tp && RECEIVES >> tp->sk.tcp_state & 1 && !tp->dead && !tp->fin_rcvd && !tp->urg_data &&
	       !(tp->sk.shut & FN_SHUT_RD) ? tp : NULL;
}

int64_t fn_tcp_wants(struct fn_stack *st, const struct fn_left *left)
{
	const struct fn_tcp *tp = conn_of(st, left);
	uint32_t ahead;

	if (!tp || !fn_seq_gt(left->seq + left->len + left->fin, tp->rcv_nxt))
		return -ENOENT;
	ahead = fn_seq_gt(left->seq, tp->rcv_nxt) ? left->seq - tp->rcv_nxt : 0;
	return ahead < fn_tcp_receive_window(tp) || left->seq + left->len == tp->rcv_nxt ? (int64_t)ahead : -EAGAIN;
}

/* As if it came in order: what its sender acknowledges and offers it has said in segments. */
bool fn_tcp_take_written(struct fn_stack *st, const struct fn_left *left)
{
	struct fn_tcp *tp = conn_of(st, left);
	uint32_t old = fn_seq_lt(left->seq, tp->rcv_nxt) ? tp->rcv_nxt - left->seq : 0;
	uint8_t flags = FN_TCP_ACK | (left->fin ? FN_TCP_FIN : 0);
	struct fn_tcp_hdr th = { .flags = flags };
	struct fn_tcp_seg seg = { .th = &th, .seq = left->seq + old, .end_seq = left->seq + left->len + left->fin,
		.len = left->len - old, .flags = flags };

	left->text->time = st->now;
	fn_tcp_rx_trim(tp, left->text, old);
	fn_tcp_busy(tp);
	if (fn_tcp_data(tp, left->text, &seg))
		return false;
	st->stats.fabric_found++;
	return true;
}

void fn_tcp_written_taken(struct fn_stack *st)
{
	if (st->burst)
		fn_tcp_end_burst(st);
	fn_stack_flush(st);
}
