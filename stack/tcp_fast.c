/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Header prediction (Van Jacobson 1990): the segment that nearly every one is, the next in order of an established
 * connection or an acknowledgment of more, goes from the frame to the receive queue in one function. Whatever is unusual
 * about it is left untouched to the ladder ether.c > ip4.c > tcp_in.c. Owns nothing; decides no protocol question that
 * the ladder would answer otherwise.
 */
#include <poll.h>
#include <string.h>

#include "cksum.h"
#include "tcp.h"

/* Offset and flags as one number, whatever PSH is; never 0, which .pred is when nothing is predicted. */
fn_inline uint16_t pred_word(const struct fn_tcp_hdr *th)
{
	uint16_t word;

	memcpy(&word, &th->off, sizeof(word));
	return word | fn_be16(FN_TCP_PSH);
}

void fn_tcp_pred_update(struct fn_tcp *tp)
{
	unsigned hlen = FN_TCP_LEN + (tp->feat & FN_TCP_F_TS ? 12 : 0);

	tp->pred = 0;
	if (tp->sk.tcp_state == FN_TCP_ESTABLISHED && !tp->oooq.head && tp->rcv_wnd && !tp->urg_data &&
	    !tp->f.sacked && !tp->f.lost && tp->ca_state == FN_CA_OPEN && !tp->sk.shut)
		tp->pred = fn_be16((uint16_t)(hlen << 10 | FN_TCP_ACK | FN_TCP_PSH));
}

/* ---- is it the one? ---- */

struct fast {
	const uint8_t *data;		/* payload, in p's first buffer or in the one behind it */
	uint32_t ack, len, tsval, tsecr;
};

/* The payload, which begins at `data`, has a buffer of its own, the only one; and IPv4 can say how long that is. */
static __attribute__((noinline)) bool is_apart(const struct fn_pkt *p, const uint8_t *data)
{
	return data == p->data + p->len && !p->seg->seg && p->seg->len == p->pkt_len - p->len &&
	       p->pkt_len <= UINT16_MAX + FN_ETHER_LEN;
}

/* True when nothing but to take the payload, or the ACK, or both, is to be done. The header lies within p's first buffer
 * up to th + 1 at least, and nothing stands behind the segment. */
fn_inline bool is_predicted(const struct fn_tcp *tp, const struct fn_pkt *p, const struct fn_tcp_hdr *th, struct fast *fs)
{
	const uint8_t *end = p->data + p->len;
	const struct fn_pkt *body = p;

	if (pred_word(th) != tp->pred || fn_be32(th->seq) != tp->rcv_nxt)
		return false;
	fs->ack = fn_be32(th->ack);
	if (!fn_seq_between(fs->ack, tp->snd_una, tp->snd_nxt))
		return false;
	if (tp->feat & FN_TCP_F_TS) {
		uint32_t opt[3];

		fs->data = (const uint8_t *)(th + 1) + sizeof(opt);
		if (fn_unlikely(fs->data > end))
			return false;
		memcpy(opt, th + 1, sizeof(opt));
		fs->tsval = fn_be32(opt[1]);
		fs->tsecr = fn_be32(opt[2]);
		if (opt[0] != FN_TCP_TS_WORD || (int32_t)(fs->tsval - tp->ts_recent) < 0)
			return false;
	} else {
		fs->data = (const uint8_t *)(th + 1);
		fs->tsval = fs->tsecr = 0;
	}
	fs->len = (uint32_t)(end - fs->data);
	if (fn_unlikely(p->seg != NULL)) {
		if (!is_apart(p, fs->data))
			return false;
		body = p->seg;
		fs->data = body->data;
		fs->len = body->len;
	}
	if (!fs->len)
		return fs->ack != tp->snd_una;	/* else: a duplicate, a window update or a probe */
	return fs->len <= fn_tcp_receive_window(tp) && tp->sk.rx_charged + body->truesize <= tp->sk.rcvbuf;
}

/* ---- what it does ---- */

fn_inline void take_window(struct fn_tcp *tp, const struct fn_tcp_hdr *th)
{
	tp->snd_wnd = (uint32_t)fn_be16(th->win) << tp->snd_wscale;
	tp->snd_wl1 = tp->rcv_nxt;
	if (fn_unlikely(tp->snd_wnd > tp->max_window)) {
		tp->max_window = tp->snd_wnd;
		fn_tcp_sync_mss(tp);
	}
}

/* A dialogue's ACK: the one segment in flight was sent once, no round trip is to be measured, no window grows. */
fn_inline bool ack_only(struct fn_tcp *tp, uint32_t ack)
{
	uint32_t n = ack - tp->snd_una;
	uint64_t now = tp->sk.st->now;
	struct fn_pkt *p = tp->rtxq.head;

	if (!p || p->next || p->end_seq != ack || p->sack & (uint8_t)~FN_SEG_SUM || now >= tp->rtt_next ||
	    tp->cwnd_limited || tp->snd_up != tp->snd_una || (tp->cwnd < tp->ssthresh && tp->cwnd < 2 * n))
		return false;
	tp->rtxq = (struct fn_pktq){ 0 };
	tp->f.lost_hint = NULL;
	fn_tcp_tx_free(tp, p);
	tp->bytes_acked += n;
	tp->snd_una = tp->snd_up = ack;
	tp->rcv_tstamp = now;
	tp->retransmits = tp->probes_out = 0;
	tp->sk.soft_error = 0;
	tp->rtx_kind = FN_RTX_NONE;
	fn_tcp_clear_due(tp, FN_DUE_RTX);
	fn_tcp_write_space(tp);
	return true;
}

fn_inline void rx_queue(struct fn_tcp *tp, struct fn_pkt *p, uint32_t len)
{
	struct fn_stack *st = tp->sk.st;

	if (tp->sk.rxq.tail) {
		fn_tcp_rx_append(tp, p);
		return;
	}
	tp->bytes_received += len;
	st->stats.tcp_bytes_in += len;
	p->time = st->now;
	p->next = p->prev = NULL;
	tp->sk.rx_charged += p->truesize;
	tp->sk.rxq = (struct fn_pktq){ .head = p, .tail = p, .count = 1, .bytes = len };
}

static __attribute__((noinline)) struct fn_pkt *without_head(struct fn_pkt *p)
{
	struct fn_pkt *body = p->seg;

	p->seg = NULL;
	fn_pkt_free(p);
	return body;
}

fn_inline void take_data(struct fn_tcp *tp, struct fn_pkt *p, const struct fast *fs)
{
	uint32_t len = fs->len;

	if (fn_unlikely(p->seg != NULL))
		p = without_head(p);
	p->data = (uint8_t *)fs->data;
	p->len = p->pkt_len = len;
	p->seq = tp->rcv_nxt;
	p->end_seq = tp->rcv_nxt += len;
	rx_queue(tp, p, len);
	fn_tcp_event_data(tp, len);
	if (fn_unlikely(len >= tp->rcv_mss))
		fn_tcp_rcv_rtt(tp, len, fs->tsecr);
	fn_tcp_burst_add(tp, FN_BURST_ACK);
	if (fn_tcp_data_ready(tp))
		fn_sock_ready(&tp->sk, FN_POLL_DATA);
}

fn_inline void take(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_hdr *th, const struct fast *fs)
{
	struct fn_stack *st = tp->sk.st;

	st->stats.tcp_fast++;
	tp->segs_in++;
	if (tp->feat & FN_TCP_F_TS && tp->rcv_nxt == tp->rcv_wup) {	/* RFC 7323 4.3, (2) */
		tp->ts_recent = fs->tsval;
		tp->ts_recent_stamp = st->now;
	}
	take_window(tp, th);
	if (fs->ack != tp->snd_una && !ack_only(tp, fs->ack))
		fn_tcp_ack_fast(tp, fs->ack, fs->tsecr);
	if (fs->len)
		take_data(tp, p, fs);
	else
		fn_pkt_free(p);
	if (fn_unlikely(tp->sndq.head))
		fn_tcp_output(tp, 0);
}

/* ---- from a frame ---- */

#define IP_AT		FN_ETHER_LEN
#define TCP_AT		(FN_ETHER_LEN + FN_IP4_LEN)
#define SUMS_OK		(FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK)

fn_inline uint64_t load64(const uint8_t *at)
{
	uint64_t w;

	memcpy(&w, at, sizeof(w));
	return w;
}

fn_inline uint32_t load32(const uint8_t *at)
{
	uint32_t w;

	memcpy(&w, at, sizeof(w));
	return w;
}

/* Only a frame that the link carries, with room for the headers, is looked into. */
fn_inline bool length_right(const struct fn_nic *nic, const struct fn_pkt *p)
{
	return p->len - (TCP_AT + FN_TCP_LEN) <= nic->mtu - (FN_IP4_LEN + FN_TCP_LEN);
}

/*
 * What a frame of `len` bytes has in common with all ordinary ones, 0 if it is one: to our link address, IPv4 without
 * options, fragments or padding, TCP. What may be anything (source, TOS, identification, TTL, DF) is masked out.
 */
fn_inline uint64_t differs(uint64_t mac, const uint8_t *f, uint32_t len)
{
	uint64_t to = load64(f) ^ mac;						/* destination, half of the source */
	uint64_t type = load64(f + 8) ^ fn_be64(FN_ETHER_TYPE_IP4 << 16 | 0x4500);	/* source, type, version, TOS */
	uint64_t ip = load64(f + 16) ^ fn_be64((uint64_t)(len - IP_AT) << 48 | FN_IPPROTO_TCP);	/* length to protocol */

	return (to & fn_be64(0xffffffffffff0000)) | (type & fn_be64(0xffffff00)) |
	       (ip & fn_be64(0xffff0000000000ff | (uint64_t)(FN_IP4_MF | FN_IP4_OFFSET) << 16));
}

/* The connection that the last frame was for, if this one is for it too. */
fn_inline struct fn_tcp *same_conn(const struct fn_stack *st, const struct fn_nic *nic, const struct fn_pkt *p)
{
	struct fn_tcp *tp = st->express;
	const uint8_t *f = p->data;

	if (fn_unlikely(!tp || tp->path.nic != nic || tp->sk.remote.peer != p->peer))
		return NULL;
	return differs(tp->rx_mac, f, p->pkt_len) | (load64(f + IP_AT + 12) ^ tp->rx_addrs) | (load32(f + TCP_AT) ^ tp->rx_ports) ?
	       NULL : tp;
}

static __attribute__((noinline)) bool sums_right(const struct fn_pkt *p, const struct fn_ip4_hdr *ip)
{
	if (p->flags & FN_PKT_CSUM_BAD)
		return false;
	if (!(p->flags & FN_PKT_IP_CSUM_OK) && fn_cksum_fold(fn_cksum_add(0, ip, sizeof(*ip))))
		return false;
	return p->flags & FN_PKT_L4_CSUM_OK ||
	       !fn_cksum_fold(fn_cksum_pkt(p, TCP_AT) + fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, p->pkt_len - TCP_AT));
}

/* The established connection with another host that the frame is for, or NULL; that host's address was checked with its
 * SYN, as was the device that it is reached by. */
static __attribute__((noinline)) struct fn_tcp *frame_conn(struct fn_stack *st, const struct fn_nic *nic, struct fn_pkt *p)
{
	const struct fn_ip4_hdr *ip = (const struct fn_ip4_hdr *)(p->data + IP_AT);
	const struct fn_tcp_hdr *th = (const struct fn_tcp_hdr *)(p->data + TCP_AT);
	uint64_t mac = 0;
	struct fn_sock *sk;

	memcpy(&mac, nic->mac, sizeof(nic->mac));
	if (differs(mac, p->data, p->pkt_len))
		return NULL;
	sk = fn_demux_last(st, ip->src, ip->dst, th->sport, th->dport, p->peer);
	if (!sk)
		sk = fn_tcp_find_conn(st, p, ip, th);
	if (!sk || sk->tcp_state != FN_TCP_ESTABLISHED || !fn_tcp_sk(sk)->head_len)
		return NULL;
	/* by another device than its own, it is looked up each time */
	if (fn_tcp_sk(sk)->path.nic == nic)
		st->express = fn_tcp_sk(sk);
	return fn_tcp_sk(sk);
}

bool fn_tcp_express(struct fn_stack *st, const struct fn_nic *nic, struct fn_pkt *p)
{
	const struct fn_tcp_hdr *th = (const struct fn_tcp_hdr *)(p->data + TCP_AT);
	struct fn_tcp *tp;
	struct fast fs;

	if (fn_unlikely(!length_right(nic, p) || th->flags & (FN_TCP_SYN | FN_TCP_RST | FN_TCP_FIN)))
		return false;
	tp = same_conn(st, nic, p);
	if (fn_unlikely(!tp) && !(tp = frame_conn(st, nic, p)))
		return false;
	if (fn_unlikely(!is_predicted(tp, p, th, &fs)))
		return false;
	if (fn_unlikely((p->flags & SUMS_OK) != SUMS_OK) && !sums_right(p, (const struct fn_ip4_hdr *)(p->data + IP_AT)))
		return false;
	st->stats.tcp_in++;
	take(tp, p, th, &fs);
	return true;
}

/* ---- from ip4.c: what came with a VLAN tag, padding or IP options, and from ourselves ---- */

bool fn_tcp_predicted(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_hdr *th)
{
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);
	struct fast fs;

	if (!is_predicted(tp, p, th, &fs))
		return false;
	if (!(p->flags & FN_PKT_L4_CSUM_OK) &&
	    (p->flags & FN_PKT_CSUM_BAD ||
	     fn_cksum_fold(fn_cksum_pkt(p, 0) + fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, p->pkt_len))))
		return false;
	take(tp, p, th, &fs);
	return true;
}
