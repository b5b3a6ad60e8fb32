/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection that somebody else has answered for us: what was sent goes through a listener's and a connection's steps as if
 * it came now. And one whose far end has become another number. Knows no page and no process.
 */
#include <errno.h>
#include <string.h>

#include "tcp.h"

/* A segment without a header of its own; `urg`: of its bytes and those behind, up to the urgent one. */
static void feed(struct fn_tcp *tp, struct fn_pkt *p, uint8_t flags, uint32_t urg)
{
	struct fn_tcp_hdr th = { .flags = flags, .urg = fn_be16((uint16_t)urg) };
	struct fn_tcp_seg seg = { .th = &th, .seq = tp->rcv_nxt, .ack = tp->snd_nxt, .len = p->pkt_len, .flags = flags,
		.win = FN_OFFER_WINDOW >> tp->snd_wscale };

	seg.end_seq = seg.seq + seg.len + !!(flags & FN_TCP_FIN);
	p->time = tp->sk.st->now;
	fn_tcp_segment(tp, p, &seg);
}

/* Text that has been acknowledged is taken whatever the buffer says; its memory is bounded by the window that was offered. */
static void feed_text(struct fn_tcp *tp, struct fn_offer *o)
{
	uint32_t rcvbuf = tp->sk.rcvbuf;
	uint32_t urg = o->urg, len;
	struct fn_pkt *p;

	tp->sk.rcvbuf = INT32_MAX;
	while (tp->sk.tcp_state == FN_TCP_ESTABLISHED && (p = fn_pktq_pop(&o->text))) {
		len = p->pkt_len;
		feed(tp, p, FN_TCP_ACK | (urg ? FN_TCP_URG : 0), urg);
		urg -= fn_min(urg, len);
	}
	tp->sk.rcvbuf = rcvbuf;
	fn_pktq_purge(&o->text);
	if (fn_unlikely(o->urg && o->skip) && !(tp->sk.opts & FN_SO_OOBINLINE))
		for (len = fn_min(o->skip, o->urg - 1); len; len--)
			fn_tcp_skip_urgent(tp);
}

static void feed_end(struct fn_tcp *tp, const struct fn_offer *o)
{
	struct fn_pkt *p;

	for (unsigned i = 0; i < 2; i++) {
		if (tp->sk.tcp_state == FN_TCP_CLOSED || !(i ? o->rst : o->fin))
			continue;
		p = fn_nic_alloc(tp->path.nic);
		if (!p) {
			fn_tcp_abort(tp, ECONNRESET);
			return;
		}
		p->l3 = p->l4 = (uint16_t)(p->data - p->buf);
		p->peer = tp->sk.remote.peer;
		feed(tp, p, i ? FN_TCP_RST : FN_TCP_FIN | FN_TCP_ACK, 0);
	}
}

/* What the SYN-ACK said. */
static void fix(struct fn_tcp_req *req, const struct fn_offer *o)
{
	req->snd_isn = o->isn;
	req->feat &= FN_TCP_F_WSCALE;
	req->rcv_wscale = req->feat ? FN_OFFER_WSCALE : 0;
	req->rcv_wnd = FN_OFFER_WINDOW;
}

/* Is the SYN for that listener, and are its ends free? */
static int check(struct fn_stack *st, const struct fn_tcp *lp, struct fn_pkt *p, struct fn_tcp_seg *seg)
{
	const struct fn_tcp_hdr *th = (const struct fn_tcp_hdr *)p->data;
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);

	*seg = (struct fn_tcp_seg){ .th = th, .seq = fn_be32(th->seq), .win = fn_be16(th->win), .flags = FN_TCP_SYN };
	seg->end_seq = seg->seq + 1;
	if (lp->sk.tcp_state != FN_TCP_LISTEN || th->dport != lp->sk.local.port || !th->sport || fn_tcp_parse_opts(seg, th) ||
	    (lp->sk.local.ip4 && lp->sk.local.ip4 != ip->dst))
		return -ENOENT;
	return fn_tcp_find_conn(st, p, ip, th) ? -EEXIST : 0;
}

/* Its sender believes that it is open. */
static int refuse(struct fn_stack *st, struct fn_offer *o, struct fn_tcp_seg *seg, int err)
{
	seg->flags = FN_TCP_ACK;
	seg->ack = o->isn + 1;
	fn_tcp_send_rst_for(st, o->syn, seg);
	fn_pkt_free(o->syn);
	fn_pktq_purge(&o->text);
	return err;
}

int fn_tcp_claim(struct fn_sock *listener, struct fn_offer *o)
{
	struct fn_tcp *lp = fn_tcp_sk(listener), *tp;
	struct fn_stack *st = listener->st;
	struct fn_tcp_hdr *th = (struct fn_tcp_hdr *)o->syn->data;
	struct fn_tcp_req req;
	struct fn_tcp_seg seg;
	int err = check(st, lp, o->syn, &seg);

	if (err)
		return refuse(st, o, &seg, err);
	fn_tcp_req_fill(&req, lp, o->syn, &seg);
	fix(&req, o);
	tp = fn_tcp_req_promote(st, &req);
	if (!tp)
		return refuse(st, o, &seg, -ENOBUFS);
	/* the ACK that followed: the same packet */
	th->flags = FN_TCP_ACK;
	seg = (struct fn_tcp_seg){ .th = th, .seq = req.rcv_isn + 1, .end_seq = req.rcv_isn + 1, .ack = req.snd_isn + 1,
		.flags = FN_TCP_ACK, .win = FN_OFFER_WINDOW >> tp->snd_wscale };
	o->syn->time = st->now;
	fn_tcp_first_segment(tp, o->syn, &seg);
	o->sk = &tp->sk;
	feed_text(tp, o);
	feed_end(tp, o);
	return 0;
}

struct fn_sock *fn_tcp_peer_moved(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote, uint16_t peer)
{
	struct fn_sock *sk = fn_demux_conn(st, fn_hash4(st, remote->ip4, local->ip4, remote->port, local->port), local, remote);
	struct fn_path path;
	struct fn_tcp *tp;

	if (!sk)
		return NULL;
	sk->remote.peer = peer;
	if (sk->tcp_state == FN_TCP_TIME_WAIT || sk->tcp_state == FN_TCP_NEW_SYN_RCVD)
		return NULL;	/* its path is looked for each time */
	tp = fn_tcp_sk(sk);
	if (fn_path_to(st, &path, &sk->remote, sk->local.ip4, FN_IPPROTO_TCP))
		return NULL;
	tp->path.next_hop = path.next_hop;
	tp->path.neigh = path.neigh;
	fn_tcp_notes_moved(tp);
	fn_tcp_told_open(tp);
	if (tp->notes && tp->sndq.head)
		fn_tcp_spill(tp);
	fn_tcp_sync_mss(tp);	/* that process may take larger buffers than the page */
	return sk;
}
