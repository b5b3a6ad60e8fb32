/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One segment onto the wire: header, options, checksum. Owns how a segment looks; what may be sent, and when, is
 * tcp_output.c's.
 */
#include <errno.h>
#include <string.h>

#include "cksum.h"
#include "ip4_flow.h"
#include "tcp.h"

/* Header and pseudo header, eight bytes at a time; `sum` is the payload's. */
static uint64_t header_sum(const struct fn_path *path, const struct fn_tcp_hdr *th, unsigned hlen, uint32_t payload,
			   uint64_t sum)
{
	const uint8_t *b = (const uint8_t *)th, *end = b + hlen;
	uint64_t w;
	uint32_t half;

	for (; end - b >= 8; b += 8) {
		memcpy(&w, b, 8);
		sum = fn_cksum_join(sum, w);
	}
	if (b != end) {
		memcpy(&half, b, 4);
		sum = fn_cksum_join(sum, half);
	}
	return fn_cksum_join(sum, fn_cksum_pseudo4(path->src, path->dst, FN_IPPROTO_TCP, hlen + payload));
}

/* The payload's checksum, computed once and kept while its buffer is (transmit buffers do not use .hash otherwise). */
static uint32_t payload_sum(struct fn_pkt *p)
{
	if (!(p->sack & FN_SEG_SUM)) {
		uint64_t sum = fn_cksum_pkt(p, 0);

		sum = (sum & 0xffffffff) + (sum >> 32);
		p->hash = (uint32_t)(sum + (sum >> 32));
		p->sack |= FN_SEG_SUM;
	}
	return p->hash;
}

fn_inline void put_cksum(const struct fn_path *path, struct fn_pkt *p, struct fn_tcp_hdr *th, unsigned hlen, uint64_t sum,
		      uint32_t payload)
{
	th->csum = 0;
	if (fn_unlikely(path->local))	/* to ourselves: nobody will look */
		return;
	if (path->nic->caps & FN_NIC_TX_TCP_CSUM) {
		uint64_t pseudo = fn_cksum_pseudo4(path->src, path->dst, FN_IPPROTO_TCP, hlen + payload);

		p->flags |= FN_PKT_TX_TCP_CSUM;
		th->csum = (uint16_t)~fn_cksum_fold(pseudo);
		return;
	}
	p->flags &= (uint16_t)~FN_PKT_TX_TCP_CSUM;
	th->csum = fn_cksum_fold(header_sum(path, th, hlen, payload, sum));
}

/* SACK blocks that the next segment carries, as many as `room` bytes of it allow; returns their length. */
static fn_cold unsigned put_sacks(struct fn_tcp *tp, uint8_t *o, unsigned room)
{
	unsigned n = fn_tcp_put_sacks(o, tp, room);

	if (n)
		tp->f.dsack.start = tp->f.dsack.end = 0;	/* RFC 2883 4, (2): reported once */
	tp->sack_out = tp->oooq.head != NULL;
	return n;
}

/* RFC 9293 3.8.5: the urgent pointer is the offset of the byte behind the urgent one, which is how Linux reads it. */
static fn_cold void put_urgent(const struct fn_tcp *tp, struct fn_tcp_hdr *th, uint32_t seq)
{
	if (fn_seq_geq(seq, tp->snd_up))
		return;
	if (tp->snd_up - seq <= 0xffff)
		th->urg = fn_be16((uint16_t)(tp->snd_up - seq));
	else if (fn_seq_gt(seq + 0xffff, tp->snd_nxt))
		th->urg = 0xffff;
	else
		return;
	th->flags |= FN_TCP_URG;
}

/* Fill in the header at th, but for window and checksum. */
fn_inline void put_header(struct fn_tcp *tp, struct fn_tcp_hdr *th, unsigned hlen, uint8_t flags, uint32_t seq)
{
	th->sport = tp->sk.local.port;
	th->dport = tp->sk.remote.port;
	th->seq = fn_be32(seq);
	th->ack = flags & FN_TCP_ACK ? fn_be32(tp->rcv_nxt) : 0;
	th->off = (uint8_t)(hlen << 2);
	th->flags = flags;
	th->urg = 0;
}

static bool wants_sum(const struct fn_path *path)
{
	return !(path->nic->caps & FN_NIC_TX_TCP_CSUM) && !path->local;
}

/* A segment with SACK blocks or an urgent pointer, before there is a template, or to ourselves. */
static fn_cold int send_odd(struct fn_tcp *tp, struct fn_pkt *p, uint8_t flags, uint32_t seq)
{
	struct fn_stack *st = tp->sk.st;
	uint32_t payload = p->len;
	uint64_t sum = p->len && wants_sum(&tp->path) ? payload_sum(p) : 0;
	unsigned hlen = FN_TCP_LEN + (tp->feat & FN_TCP_F_TS ? 12 : 0), sack_len = 0;
	uint8_t sacks[40];
	struct fn_tcp_hdr *th;
	int err;

	if (fn_unlikely(tp->sack_out) && payload < tp->mss)
		sack_len = put_sacks(tp, sacks, fn_min(60 - hlen, (unsigned)tp->mss - payload));
	th = fn_pkt_push(p, hlen + sack_len);
	p->l4 = (uint16_t)(p->data - p->buf);
	put_header(tp, th, hlen + sack_len, flags, seq);
	if (tp->feat & FN_TCP_F_TS)
		fn_tcp_put_ts((uint8_t *)(th + 1), fn_tcp_clock(st) + tp->ts_off, tp->ts_recent);
	if (fn_unlikely(sack_len))
		memcpy((uint8_t *)th + hlen, sacks, sack_len);
	hlen += sack_len;
	th->win = fn_be16(fn_tcp_select_window(tp));
	if (fn_unlikely(tp->snd_up != tp->snd_una) && !(flags & FN_TCP_RST))
		put_urgent(tp, th, seq);
	put_cksum(&tp->path, p, th, hlen, sum, payload);
	if (p->flags & FN_PKT_KEEP) {
		err = fn_ip4_output(st, &tp->path, p);
		fn_pkt_pull(p, hlen);
	} else {
		err = fn_ip4_output(st, &tp->path, p);
	}
	return err;
}

void fn_tcp_prepare(struct fn_tcp *tp)
{
	struct fn_tcp_head *h = &tp->head;
	uint32_t caps = tp->path.nic->caps;
	uint64_t sum = fn_cksum_pseudo4(tp->path.src, tp->path.dst, FN_IPPROTO_TCP, 0);

	tp->head_len = 0;
	tp->sums = !tp->path.local && !(caps & FN_NIC_TX_TCP_CSUM);
	if (tp->path.local || !tp->path.df)
		return;
	*h = (struct fn_tcp_head){
		.th.sport = tp->sk.local.port, .th.dport = tp->sk.remote.port, .ts[0] = FN_TCP_TS_WORD,
	};
	tp->head_ip_sum = fn_ip4_flow_init(&tp->path, &h->ip);
	tp->head_len = tp->feat & FN_TCP_F_TS ? FN_TCP_LEN + 12 : FN_TCP_LEN;
	tp->head_flags = (uint16_t)((caps & FN_NIC_TX_IP_CSUM ? FN_PKT_TX_IP_CSUM : 0) |
				    (caps & FN_NIC_TX_TCP_CSUM ? FN_PKT_TX_TCP_CSUM : 0));
	if (tp->sums)	/* else the device adds the header */
		sum = fn_cksum_add(sum, &h->th, tp->head_len);
	tp->head_tcp_sum = (uint16_t)~fn_cksum_fold(sum);
	memcpy(&tp->rx_mac, tp->path.nic->mac, sizeof(tp->path.nic->mac));
	memcpy(&tp->rx_addrs, (uint32_t[]){ tp->sk.remote.ip4, tp->sk.local.ip4 }, sizeof(tp->rx_addrs));
	memcpy(&tp->rx_ports, (uint16_t[]){ tp->sk.remote.port, tp->sk.local.port }, sizeof(tp->rx_ports));
}

/* The words of a segment's own, and TCP's checksum; payload: bytes behind the header. */
fn_inline void fill_head(struct fn_tcp *tp, struct fn_tcp_head *h, struct fn_pkt *p, uint8_t flags, uint32_t seq,
			 uint32_t payload)
{
	unsigned hlen = tp->head_len;
	uint32_t w[3] = { fn_be32(seq), fn_be32(tp->rcv_nxt),
			  fn_word((uint8_t)(hlen << 2), flags, fn_be16(fn_tcp_select_window(tp))) };
	uint32_t ts[2] = { 0, 0 }, sum = tp->head_tcp_sum + fn_be16((uint16_t)(hlen + payload));

	memcpy(&h->th.seq, w, sizeof(w));
	if (fn_likely(hlen != FN_TCP_LEN)) {
		ts[0] = fn_be32(fn_tcp_clock(tp->sk.st) + tp->ts_off);
		ts[1] = fn_be32(tp->ts_recent);
		memcpy(&h->ts[1], ts, sizeof(ts));
	}
	if (!tp->sums)	/* the pseudo header's sum; the device adds the rest */
		h->th.csum = (uint16_t)(sum + (sum >> 16));
	else
		h->th.csum = fn_cksum_fold((uint64_t)sum + w[0] + w[1] + w[2] + ts[0] + ts[1] + payload_sum(p));
}

/* The template in front of p's payload, where .data stays, and what is the segment's own; out. With TSO p is the first of a
 * chain, and the header is of all of it. */
fn_inline int send_plain(struct fn_tcp *tp, struct fn_pkt *p, uint8_t flags, uint32_t seq)
{
	unsigned hlen = tp->head_len;
	uint32_t payload = p->pkt_len, total = FN_IP4_LEN + hlen + payload;
	struct fn_tcp_head *h = (struct fn_tcp_head *)(p->data - FN_IP4_LEN - hlen);

	/* without timestamps the template's last words would lie on the payload */
	if (fn_likely(hlen != FN_TCP_LEN))
		memcpy(h, &tp->head, sizeof(*h));
	else
		memcpy(h, &tp->head, offsetof(struct fn_tcp_head, ts));
	fn_ip4_flow_fill(&h->ip, tp->head_ip_sum, total, tp->head_flags & FN_PKT_TX_IP_CSUM);
	fill_head(tp, h, p, flags, seq, payload);
	p->l3 = (uint16_t)((uint8_t *)h - p->buf);
	p->l4 = (uint16_t)(p->l3 + FN_IP4_LEN);
	p->flags |= tp->head_flags;
	return fn_ip4_flow_send(&tp->path, p);
}

fn_inline int send_any(struct fn_tcp *tp, struct fn_pkt *p, uint8_t flags, uint32_t seq)
{
	struct fn_stack *st = tp->sk.st;
	int err;

	if (fn_likely(tp->head_len && !tp->sack_out && tp->snd_up == tp->snd_una &&
		      fn_ip4_flow_open(st, &tp->path, FN_IP4_LEN + tp->head_len + p->len)))
		err = send_plain(tp, p, flags, seq);
	else
		err = send_odd(tp, p, flags, seq);
	if (fn_unlikely(err))
		return err;
	st->stats.tcp_out++;
	tp->segs_out++;
	fn_tcp_ack_sent(tp);
	return 0;
}

static int send_pkt(struct fn_tcp *tp, struct fn_pkt *p, uint8_t flags, uint32_t seq)
{
	return send_any(tp, p, flags, seq);
}

/* RFC 5681 4.1: after an idle period the ACK clock is gone; the window is halved for each timeout that passed. */
static fn_cold void restart_idle(struct fn_tcp *tp, uint64_t idle)
{
	uint32_t least = fn_min(tp->cwnd, (uint32_t)FN_TCP_INIT_CWND * tp->mss);

	fn_cc(tp)->restart(tp, idle);
	tp->ssthresh = fn_max(tp->ssthresh, tp->cwnd / 4 * 3);
	for (; idle > tp->rto && tp->cwnd > least; idle -= tp->rto)
		tp->cwnd /= 2;
	tp->cwnd = fn_max(tp->cwnd, least);
}

/* p has left for the first time. */
fn_inline void note_sent(struct fn_tcp *tp, struct fn_pkt *p, uint64_t now)
{
	p->time = p->first_time = now;
	fn_pktq_push(&tp->rtxq, p);
	tp->snd_nxt = p->end_seq;
	if (p->len < tp->mss_plain)
		tp->snd_sml = p->end_seq;
	tp->sk.st->stats.tcp_bytes_out += p->len;
	tp->f.prr_out += fn_pkt_span(p);
}

fn_inline void note_time(struct fn_tcp *tp, uint64_t now, bool idle)
{
	tp->lsndtime = now;
	if (now - tp->ack_ts < tp->ato)	/* an answer within the ACK's delay: a dialogue */
		tp->pingpong = true;
	if (idle || tp->rtx_kind != FN_RTX_RTO)
		fn_tcp_rearm_rto(tp);
}

int fn_tcp_send_now(struct fn_tcp *tp, struct fn_pkt *p)
{
	bool idle = tp->snd_una == tp->snd_nxt;
	uint64_t now = tp->sk.st->now;
	int err;

	if (idle && fn_unlikely(now - tp->lsndtime > tp->rto) && !tp->lossless)
		restart_idle(tp, now - tp->lsndtime);
	p->flags |= FN_PKT_KEEP;
	err = send_any(tp, p, p->tcp_flags | FN_TCP_ACK, p->seq);
	if (fn_unlikely(err))
		return err;
	note_sent(tp, p, now);
	note_time(tp, now, idle);
	return 0;
}

/* ---- TSO: the device cuts ---- */

bool fn_tcp_may_run(const struct fn_tcp *tp)
{
	return tp->path.nic->tso_max && tp->head_len && !tp->sums && !tp->sack_out && tp->snd_up == tp->snd_una &&
	       fn_ip4_flow_open(tp->sk.st, &tp->path, FN_IP4_LEN + tp->head_len + tp->mss) &&
	       (tp->snd_una != tp->snd_nxt || tp->sk.st->now - tp->lsndtime <= tp->rto);
}

/* The first n of sndq in a chain behind h; they have no header of their own (.l4 0). Returns the flags of all of them. */
static uint8_t link_run(struct fn_tcp *tp, struct fn_pkt *h, unsigned n)
{
	struct fn_pkt **link = &h->seg, *p = tp->sndq.head;
	uint8_t flags = 0;

	for (; n; n--, p = p->next) {
		p->flags |= FN_PKT_KEEP | FN_PKT_QUEUED;
		p->l4 = 0;
		h->pkt_len += p->len;
		flags |= p->tcp_flags;
		*link = p;
		link = &p->seg;
	}
	*link = NULL;
	return flags;
}

static fn_cold int run_refused(struct fn_tcp *tp, unsigned n, int err)
{
	for (struct fn_pkt *p = tp->sndq.head; n; n--, p = p->next)
		p->flags &= (uint16_t)~FN_PKT_QUEUED;
	return err;
}

int fn_tcp_send_run(struct fn_tcp *tp, unsigned n)
{
	struct fn_stack *st = tp->sk.st;
	bool idle = tp->snd_una == tp->snd_nxt;
	struct fn_pkt *h = fn_nic_alloc(tp->path.nic);
	uint8_t flags;
	int err;

	if (!h)
		return -ENOBUFS;
	flags = link_run(tp, h, n);
	h->tso_mss = tp->mss;
	h->flags |= FN_PKT_TX_TSO;
	err = send_plain(tp, h, flags | FN_TCP_ACK, tp->sndq.head->seq);
	if (fn_unlikely(err))
		return run_refused(tp, n, err);
	st->stats.tcp_out += n;
	st->stats.tcp_tso++;
	st->stats.tcp_tso_segs += n;
	tp->segs_out += n;
	fn_tcp_ack_sent(tp);
	for (; n; n--)
		note_sent(tp, fn_pktq_pop(&tp->sndq), st->now);
	note_time(tp, st->now, idle);
	return 0;
}

int fn_tcp_transmit(struct fn_tcp *tp, struct fn_pkt *p)
{
	fn_tcp_busy(tp);
	p->flags |= FN_PKT_KEEP;
	return send_pkt(tp, p, p->tcp_flags | FN_TCP_ACK, p->seq);
}

/* RFC 1624: the sum changes by what the word of the flags does. */
void fn_tcp_add_flags(struct fn_pkt *p, uint8_t flags)
{
	struct fn_tcp_hdr *th = (struct fn_tcp_hdr *)(p->buf + p->l4);
	uint32_t sum = (uint16_t)~fn_be16(th->csum) + (uint32_t)(flags & ~th->flags);

	th->flags |= flags;
	if (!(p->flags & FN_PKT_TX_TCP_CSUM))	/* else the device makes it */
		th->csum = fn_be16((uint16_t)~(sum + (sum >> 16)));
}

int fn_tcp_transmit_copy(struct fn_tcp *tp, const struct fn_pkt *p)
{
	struct fn_pkt *q = fn_nic_alloc_for(tp->path.nic, p->len);

	if (!q)
		return -ENOBUFS;
	if (fn_pkt_tailroom(q) < p->len) {
		fn_pkt_free(q);
		return -ENOBUFS;
	}
	memcpy(q->data, p->data, p->len);
	q->len = q->pkt_len = p->len;
	q->hash = p->hash;
	q->sack = p->sack & FN_SEG_SUM;
	return send_pkt(tp, q, p->tcp_flags | FN_TCP_ACK, p->seq);
}

int fn_tcp_send_bare(struct fn_tcp *tp, uint8_t flags, uint32_t seq)
{
	struct fn_pkt *p = fn_nic_alloc(tp->path.nic);

	if (!p)
		return -ENOBUFS;
	return send_pkt(tp, p, flags, seq);
}

void fn_tcp_send_ack(struct fn_tcp *tp)
{
	if (tp->sk.tcp_state == FN_TCP_CLOSED)
		return;
	if (fn_unlikely(fn_tcp_send_bare(tp, FN_TCP_ACK, tp->snd_nxt))) {
		/* no buffer: the delayed-ACK timer tries again (as tcp_send_ack of Linux) */
		tp->ack |= FN_ACK_SCHED | FN_ACK_TIMER;
		tp->ato = FN_TCP_ATO_MIN;
		fn_tcp_set_due(tp, FN_DUE_ACK, tp->sk.st->now + FN_TCP_DELACK_MAX);
		if (tp->path.nic->choked) {	/* the peer has no room for it now: as soon as it has */
			tp->ack |= FN_ACK_NOW;
			fn_tcp_burst_add(tp, FN_BURST_ACK);
		}
	}
}

/* ---- segments without a full connection, and SYNs ---- */

static void put_bare(struct fn_tcp_hdr *th, const struct fn_tcp_bare *b)
{
	th->sport = b->local->port;
	th->dport = b->remote->port;
	th->seq = fn_be32(b->seq);
	th->ack = fn_be32(b->ack);
	th->off = (uint8_t)((FN_TCP_LEN + b->opt_len) << 2);
	th->flags = b->flags;
	th->win = fn_be16(b->win);
	th->urg = 0;
	if (b->opt_len)
		memcpy(th + 1, b->opts, b->opt_len);
}

int fn_tcp_emit(struct fn_stack *st, const struct fn_path *path, const struct fn_tcp_bare *b)
{
	struct fn_pkt *p = fn_nic_alloc(path->nic);
	unsigned hlen = FN_TCP_LEN + b->opt_len;
	struct fn_tcp_hdr *th;

	if (!p)
		return -ENOBUFS;
	th = fn_pkt_push(p, hlen);
	put_bare(th, b);
	p->l4 = (uint16_t)(p->data - p->buf);
	put_cksum(path, p, th, hlen, 0, 0);
	st->stats.tcp_out++;
	return fn_ip4_output(st, path, p);
}

int fn_tcp_emit_routed(struct fn_stack *st, const struct fn_tcp_bare *b)
{
	struct fn_path path;
	int err = fn_path_to(st, &path, b->remote, b->local->ip4, FN_IPPROTO_TCP);

	if (err)
		return err;
	path.tos = b->tos;
	return fn_tcp_emit(st, &path, b);
}

/* The options go to `opts`, which has room for 40 bytes. */
static struct fn_tcp_bare syn_of(const struct fn_tcp *tp, uint8_t *opts)
{
	bool synack = tp->sk.tcp_state == FN_TCP_SYN_RCVD;
	struct fn_tcp_syn_opts so = {
		.tsval = fn_tcp_clock(tp->sk.st) + tp->ts_off,
		.tsecr = synack ? tp->ts_recent : 0,
		.mss = tp->advmss,
		.feat = tp->feat,
		.wscale = tp->rcv_wscale,
	};
	struct fn_tcp_bare b = {
		.local = &tp->sk.local, .remote = &tp->sk.remote,
		.seq = tp->snd_una, .ack = synack ? tp->rcv_nxt : 0,
		.win = (uint16_t)fn_min(tp->rcv_wnd, 0xffffu),	/* RFC 7323 2.2: never scaled */
		.flags = synack ? FN_TCP_SYN | FN_TCP_ACK : FN_TCP_SYN,
		.opts = opts,
	};

	b.opt_len = (uint8_t)fn_tcp_put_syn_opts(opts, &so);
	return b;
}

int fn_tcp_send_syn(struct fn_tcp *tp)
{
	uint8_t opts[40];
	struct fn_tcp_bare b = syn_of(tp, opts);
	int err = fn_tcp_emit(tp->sk.st, &tp->path, &b);

	if (!err)
		tp->segs_out++;
	return err;
}

bool fn_tcp_offer_syn(struct fn_tcp *tp, uint32_t *isn)
{
	struct fn_nic *nic = tp->path.nic;
	struct {
		struct fn_tcp_hdr th;
		uint8_t opts[40];
	} syn;
	uint8_t opts[40];
	struct fn_tcp_bare b;

	if (!nic->ops->open || tp->path.local || nic->txq_len)
		return false;
	b = syn_of(tp, opts);
	put_bare(&syn.th, &b);
	return nic->ops->open(nic, tp->sk.remote.peer, tp->sk.local.ip4, tp->sk.remote.ip4, &syn.th, isn);
}

/* RFC 9293 3.10.7.1 and 3.5.2: the reset takes its numbers from the segment that it answers. */
void fn_tcp_send_rst_for(struct fn_stack *st, const struct fn_pkt *p, const struct fn_tcp_seg *seg)
{
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);
	struct fn_ep local = { ip->dst, seg->th->dport, 0 }, remote = { ip->src, seg->th->sport, p->peer };
	struct fn_tcp_bare b = { .local = &local, .remote = &remote };

	if (seg->flags & FN_TCP_RST || p->flags & FN_PKT_LINK_BCAST)
		return;
	if (seg->flags & FN_TCP_ACK) {
		b.seq = seg->ack;
		b.flags = FN_TCP_RST;
	} else {
		b.ack = seg->end_seq;
		b.flags = FN_TCP_RST | FN_TCP_ACK;
	}
	if (!fn_tcp_emit_routed(st, &b))
		st->stats.tcp_rst_out++;
}
