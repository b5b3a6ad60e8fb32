/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP's own records and the interfaces between its files; nothing here is for other layers (sock.h and net.h are).
 *
 * A segment's way in:  tcp_fast.c (prediction), else tcp_in.c (RFC 9293's steps) > tcp_ack.c (step 5) > tcp_sack.c, tcp_recovery.c >
 *                      tcp_data.c (step 7) > tcp_ooo.c > the burst list > fn_tcp_end_burst().
 * And out:             tcp_user.c > tcp_output.c (what may go now) > tcp_out.c (one segment's header).
 */
#ifndef FN_TCP_H
#define FN_TCP_H

#include <string.h>

#include "net.h"
#include "tcp_cc.h"
#include "tcp_seq.h"

/* Constants of RFC 6298, and of Linux where RFCs leave a choice (include/net/tcp.h). */
#define FN_TCP_RTO_INIT		(1 * FN_SEC_NS)		/* RFC 6298 2.1 */
#define FN_TCP_RTO_MIN		(200 * FN_MSEC)		/* TCP_RTO_MIN: what counts of retries are counted in */
#define FN_TCP_RTO_MAX		(120 * FN_SEC_NS)	/* TCP_RTO_MAX; RFC 6298 2.5 wants 60 s at least */
#define FN_TCP_ATO_MIN		(40 * FN_MSEC)		/* TCP_ATO_MIN */
#define FN_TCP_DELACK_MAX	(200 * FN_MSEC)		/* TCP_DELACK_MAX; RFC 9293 3.8.6.3: under 500 ms */
#define FN_TCP_PROBE_RETRY	(500 * FN_MSEC)		/* TCP_RESOURCE_PROBE_INTERVAL */
#define FN_TCP_OOW_INTERVAL	(500 * FN_MSEC)		/* tcp_invalid_ratelimit */
#define FN_TCP_QUICK_MAX	16			/* TCP_MAX_QUICKACKS */
#define FN_TCP_MSS_DEFAULT	536			/* RFC 9293 3.7.1, SHLD-5's default */
#define FN_TCP_MSS_MIN		88			/* TCP_MIN_MSS */
#define FN_TCP_SND_MSS_MIN	48			/* tcp_min_snd_mss */
#define FN_TCP_WSCALE_MAX	14			/* RFC 7323 2.3 */
#define FN_TCP_DUPTHRESH	3			/* RFC 5681 3.2, RFC 6675 2 */
#define FN_TCP_REORDER_MAX	300			/* tcp_max_reordering */
#define FN_TCP_PAWS_24DAYS	(24ull * 24 * 3600 * FN_SEC_NS)	/* RFC 7323 5.5 */
#define FN_TCP_PAWS_WINDOW	1			/* TCP_PAWS_WINDOW: tolerated regression, ms */
#define FN_TCP_SACKS		4			/* RFC 2018 3 */
#define FN_TCP_MIN_PMTU		552			/* net.ipv4.route.min_pmtu */
#define FN_SEC_NS		1000000000ull

/* The first word of the timestamp option when it stands alone (RFC 7323 appendix A). */
#define FN_TCP_TS_WORD	fn_be32((uint32_t)(FN_TCPOPT_NOP << 24 | FN_TCPOPT_NOP << 16 | FN_TCPOPT_TS << 8 | 10))

/* What both ends agreed on (enum bits of fn_tcp.feat). */
#define FN_TCP_F_TS		1	/* timestamps, RFC 7323 3 */
#define FN_TCP_F_SACK		2	/* RFC 2018 */
#define FN_TCP_F_WSCALE		4	/* RFC 7323 2 */

/* fn_tcp.nonagle */
#define FN_NAGLE_OFF		1	/* TCP_NODELAY */
#define FN_NAGLE_CORK		2	/* TCP_CORK or MSG_MORE: full segments only */
#define FN_NAGLE_PUSH		4	/* this once, whatever is queued */

/* fn_tcp.ack: what is known about the ACK we owe */
#define FN_ACK_SCHED		1	/* received data is not acknowledged */
#define FN_ACK_TIMER		2	/* the delayed-ACK deadline is set */
#define FN_ACK_PUSHED		4	/* a small segment came: its sender waits */
#define FN_ACK_PUSHED2		8	/* two of them */
#define FN_ACK_NOW		16	/* must go with this burst */
#define FN_ACK_HELD		32	/* would go now, but the program may answer first: goes a few bursts later */

/* The poll that tells of a new connection, and the one that tells of its request. */
#define FN_ACK_ROUNDS		2
/* That of a FIN on a lossless wire, where its sender has nothing to send again: until the wheel's next tick. */
#define FN_ACK_ROUNDS_FIN	255
/* ns: how long the ACK of a connection that waits to be accepted is held; the wheel adds a tick at most. */
#define FN_TCP_ACCEPT_ACK	FN_MSEC

/* fn_tcp.burst: why it stands in the burst list */
#define FN_BURST_ACK		1	/* decide about the ACK */
#define FN_BURST_OUT		2	/* something may be sent */
#define FN_BURST_DEAD		4	/* free it */
#define FN_BURST_LISTED		128

/* fn_tcp.urg_data (Linux's tp->urg_data): the byte in the low eight bits and where it stands */
#define FN_URG_VALID		0x100
#define FN_URG_NOTYET		0x200
#define FN_URG_READ		0x400

/* State of loss recovery, RFC 5681 and Linux's names; TCP_INFO shows the number. */
enum fn_ca_state { FN_CA_OPEN, FN_CA_DISORDER, FN_CA_CWR, FN_CA_RECOVERY, FN_CA_LOSS };

/* What a dead peer has told of its program (tcp_left.c). */
enum fn_peer_read { FN_PEER_READ_UNKNOWN, FN_PEER_READ_ALL, FN_PEER_LEFT_UNREAD };

/* Deadlines of a connection; one wheel timer stands for the earliest. */
enum fn_tcp_due {
	FN_DUE_RTX,		/* retransmission (RFC 6298), or a window probe: rtx_kind */
	FN_DUE_ACK,		/* delayed ACK */
	FN_DUE_KEEP,		/* keepalive; FIN_WAIT2's end once the program has closed */
	FN_DUE_COUNT
};

enum fn_tcp_rtx_kind { FN_RTX_NONE, FN_RTX_RTO, FN_RTX_PROBE };

struct fn_sack {
	uint32_t start, end;
};

struct fn_tcp_req;

/* What only a listener has. */
struct fn_tcp_listen {
	struct fn_tcp *accept_head, *accept_tail;	/* established, not accepted yet */
	struct fn_tcp_req *reqs;			/* SYN queue */
	uint32_t accept_len, syn_len, backlog;
};

/* What only a connection has. */
struct fn_tcp_flow {
	/* receive-window tuning (DRS): bytes the program read in the last round trip */
	uint64_t rcvq_time;
	uint64_t rcv_rtt_time;
	uint32_t rcvq_seq, rcvq_space;
	uint32_t rcv_rtt_seq, rcv_rtt_us;	/* receiver's estimate of the round trip */
	/* SACK */
	struct fn_sack sacks[FN_TCP_SACKS];	/* to send: most recent first */
	struct fn_sack dsack;			/* to send: RFC 2883; start == end: none */
	struct fn_sack sack_cache[FN_TCP_SACKS];	/* last received */
	struct fn_pkt *sack_high;		/* highest SACKed segment of rtxq, or NULL */
	struct fn_pkt *lost_hint;		/* IsLost() has been decided up to here */
	uint32_t lost_hint_sacked;		/* SACKed segments below lost_hint */
	uint32_t sacked_segs;
	uint32_t sacked, lost, retrans;		/* bytes of rtxq in that state; without SACK, sacked is dupacks * MSS */
	/* recovery */
	uint32_t high_seq;			/* recovery ends when this is acknowledged */
	uint32_t undo_marker;			/* snd_una when it began; 0: nothing to undo */
	int32_t undo_retrans;			/* retransmissions not yet reported as duplicates */
	uint32_t prior_cwnd, prior_ssthresh;
	uint32_t prr_delivered, prr_out;	/* RFC 6937 */
	uint64_t retrans_stamp;			/* ns: first retransmission of this episode; 0: none */
	uint32_t reordering;			/* segments; DupThresh adapted */
	uint32_t total_retrans;
	union fn_cc_priv cc;
};

/* What all segments of a connection have in common, as it goes on the wire. */
struct fn_tcp_head {
	struct fn_ip4_hdr ip;
	struct fn_tcp_hdr th;
	uint32_t ts[3];			/* with FN_TCP_F_TS */
} fn_packed;

struct fn_tcp {
	struct fn_sock sk;
	/* --- header prediction and the sequence spaces: RFC 9293 3.3.1 --- */
	uint64_t rx_mac, rx_addrs;	/* as its frames have them: destination; source and destination of IPv4 */
	uint32_t rx_ports;
	uint16_t pred;			/* offset and flags on the wire that take the fast path; 0: none does */
	uint8_t snd_wscale, rcv_wscale;
	uint32_t rcv_nxt, rcv_wup, rcv_wnd;	/* rcv_wup: rcv_nxt when rcv_wnd was sent last */
	uint32_t copied_seq;		/* next byte for the program */
	uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1;
	uint32_t write_seq;		/* end of what the program wrote */
	uint32_t ts_recent;		/* RFC 7323 4.3 */
	uint8_t ack, burst, quick, feat;
	uint8_t held;			/* rounds that a FN_ACK_HELD still waits */
	uint8_t ca_state, rtx_kind, backoff, retransmits;
	uint8_t nonagle;		/* FN_NAGLE_*, what the program set */
	bool pingpong, dead;		/* dead: the program has closed it */
	bool fin_queued, fin_rcvd, cwnd_limited;
	bool accept_queued;		/* stands in its listener's queue */
	bool lossless;			/* FN_NIC_LOSSLESS: no congestion control */
	bool sack_out;			/* SACK or D-SACK blocks wait to be sent */
	bool notes;			/* FN_NIC_NOTES */
	uint8_t peer_read;		/* enum fn_peer_read */
	uint32_t sndbuf_window;		/* for which sk.sndbuf has grown, bytes */
	struct fn_tcp *burst_next;
	struct fn_pktq rtxq;		/* sent, not acknowledged */
	struct fn_pktq sndq;		/* not sent */
	struct fn_pktq oooq;		/* received out of order; sorted, disjoint */
	struct fn_path path;
	struct fn_timer timer;
	uint64_t due[FN_DUE_COUNT];	/* ns; FN_NEVER: not set */
	uint64_t ack_ts;		/* ns: last data segment received (lrcvtime) */
	uint64_t rcv_tstamp;		/* ns: last ACK received */
	uint64_t lsndtime;		/* ns: last data segment sent */
	uint64_t ts_recent_stamp;	/* ns: when ts_recent was set; 0: never */
	uint64_t oow_time;		/* ns: last ACK sent for a segment out of window */
	uint32_t ato;			/* ns: delayed-ACK estimate; 0: no data yet */
	uint32_t rcv_mss;		/* estimate of the peer's segments */
	uint32_t srtt, mdev, mdev_max, rttvar, rtt_seq;	/* us: srtt << 3, mdev << 2 as Linux; 0: no sample */
	uint32_t min_rtt;		/* us */
	uint64_t rto;			/* ns, without backoff */
	uint64_t rtt_next;		/* ns: header prediction takes no round-trip sample before */
	uint32_t cwnd, ssthresh;	/* bytes */
	uint32_t snd_sml;		/* end of the last small segment sent (Minshall) */
	uint32_t snd_up, urg_seq;
	uint32_t max_window;
	uint32_t window_clamp;
	uint32_t ts_off;
	uint16_t mss;			/* payload of a full segment now */
	uint16_t mss_plain;		/* the same, as far as an ordinary buffer takes it; Nagle's full segment */
	uint16_t mss_clamp;		/* what the peer takes */
	uint16_t advmss, user_mss;
	uint16_t urg_data;
	uint8_t cc_id;
	uint8_t probes_out, keepcnt, syn_retries;
	uint8_t defer_accept;		/* retransmissions to wait for data */
	uint8_t mtu_discover;		/* IP_MTU_DISCOVER, as set; TCP sends with DF always */
	int32_t linger, linger2;	/* seconds; linger2 -1: no FIN_WAIT2, 0: the default */
	uint32_t keepidle, keepintvl;	/* seconds; 0: the default */
	uint32_t user_timeout;		/* ms */
	uint32_t notsent_lowat;		/* 0: the default, none */
	uint32_t last_seg_size;
	uint64_t bytes_acked, bytes_received;
	uint32_t segs_in, segs_out;
	struct fn_tcp_head head;	/* fn_tcp_prepare()'s */
	uint16_t head_flags;		/* FN_PKT_TX_* that its checksums want */
	uint8_t head_len;		/* TCP header's length in .head; 0: there is no template */
	bool sums;			/* nobody else makes TCP's checksum: payload is summed while it is copied */
	uint32_t head_ip_sum, head_tcp_sum;	/* sums of what .head holds; TCP's with the pseudo header's constant part */
	uint64_t probes_stamp;		/* ns: when the unanswered probes began; 0: none */
	struct fn_read *told;		/* where it stands how far the program has read; NULL: nowhere */
	bool told_apart;		/* in memory that not every image need have: .has is asked first */
	struct fn_tcp *listener;	/* until ESTABLISHED: who asked for it (a passive open) */
	struct fn_tcp *accept_next;
	union {
		struct fn_tcp_flow f;
		struct fn_tcp_listen l;
	};
};

_Static_assert(offsetof(struct fn_tcp, sk) == 0, "demux hands out struct fn_sock");
_Static_assert(sizeof(struct fn_tcp) <= 1024, "an idle connection takes 1 KiB at most");

/*
 * A slim object stands in the connection table with the same head as struct fn_sock, up to .rxq; its tcp_state tells
 * what it is. Only TCP looks behind the head.
 */
#define FN_MINI_HEAD	uint8_t head[offsetof(struct fn_sock, rxq)] __attribute__((aligned(8)))
_Static_assert(offsetof(struct fn_sock, rxq) == 64, "the head is one cache line");

/* A passive open between SYN and ACK. */
struct fn_tcp_req {
	FN_MINI_HEAD;
	struct fn_tcp *listener;
	struct fn_tcp_req *next, *prev;	/* in listener->l.reqs */
	struct fn_timer timer;
	uint64_t sent;			/* ns: first SYN-ACK */
	uint64_t oow_time;
	uint32_t rcv_isn, snd_isn;
	uint32_t ts_recent, ts_off;
	uint32_t rcv_wnd;
	uint16_t mss;			/* the peer's */
	uint8_t snd_wscale, rcv_wscale, feat;
	uint8_t timeouts;		/* SYN-ACK timer fired */
	uint8_t retrans;		/* SYN-ACKs sent again */
	bool acked;			/* the ACK came but the connection could not be made yet */
	bool listed;			/* in its listener's queue, from the pool; else a cookie's, on the stack */
	uint32_t cookie_ts;		/* timestamp to send with a cookie; 0: the clock */
};

/* TIME_WAIT, or FIN_WAIT2 after close(). */
struct fn_tcp_tw {
	FN_MINI_HEAD;
	struct fn_timer timer;
	uint64_t ts_recent_stamp, oow_time;
	uint32_t snd_nxt, rcv_nxt, rcv_wnd;
	uint32_t ts_recent, ts_off;
	uint8_t rcv_wscale, substate, feat;
	bool lossless;			/* FIN_WAIT2: nothing waits behind the FIN */
};

/* TCP's part of a stack. */
struct fn_tcp_stack {
	struct fn_pool req_pool, tw_pool;
	uint64_t challenge_epoch;	/* second that challenge_left counts for */
	uint32_t challenge_left;
	uint64_t cookie_time;		/* ns: when a SYN cookie was sent last */
	bool cookies_sent;
	uint32_t prune_hand;		/* index in the pool where fn_tcp_prune() goes on */
	uint32_t ts_off_local, ts_off_remote, ts_off;	/* of the pair of hosts that was asked for last; remote 0: none */
};

/* One received segment, parsed; lives on the stack of fn_tcp_input(). */
struct fn_tcp_seg {
	const struct fn_tcp_hdr *th;
	uint32_t seq, ack, end_seq;	/* end_seq: SYN and FIN included */
	uint32_t win;			/* not scaled */
	uint32_t len;			/* payload */
	uint32_t tsval, tsecr;
	uint16_t mss;			/* 0: none */
	uint8_t flags;
	bool has_ts, has_wscale, sack_perm;
	uint8_t wscale;
	uint8_t sacks;			/* blocks at .sack */
	const uint8_t *sack;
};

fn_inline struct fn_tcp *fn_tcp_sk(struct fn_sock *sk) { return (struct fn_tcp *)sk; }
fn_inline struct fn_sock *fn_mini_sk(void *mini) { return (struct fn_sock *)mini; }

/* Millisecond clock of the timestamp option. */
fn_inline uint32_t fn_tcp_clock(const struct fn_stack *st) { return (uint32_t)(st->now / FN_MSEC); }

/* Sent and neither acknowledged nor thought lost (RFC 6675 pipe), bytes. */
fn_inline uint32_t fn_tcp_pipe(const struct fn_tcp *tp)
{
	uint32_t out = tp->snd_nxt - tp->snd_una + tp->f.retrans, left = tp->f.sacked + tp->f.lost;

	return out > left ? out - left : 0;
}

/* The end of the window that the peer offers. */
fn_inline uint32_t fn_tcp_wnd_end(const struct fn_tcp *tp) { return tp->snd_una + tp->snd_wnd; }

fn_inline uint32_t fn_pkt_span(const struct fn_pkt *p) { return p->end_seq - p->seq; }

/* What is left of the window we advertised last. */
fn_inline uint32_t fn_tcp_receive_window(const struct fn_tcp *tp)
{
	int32_t win = (int32_t)(tp->rcv_wup + tp->rcv_wnd - tp->rcv_nxt);

	return win > 0 ? (uint32_t)win : 0;
}

/* The window that a segment offers; a SYN's is not scaled (RFC 7323 2.2). */
fn_inline uint32_t fn_tcp_seg_win(const struct fn_tcp *tp, const struct fn_tcp_seg *seg)
{
	return seg->flags & FN_TCP_SYN ? seg->win : (uint32_t)seg->win << tp->snd_wscale;
}

/* Half of a buffer is window, the other half is what packet buffers cost beyond their payload (tcp_adv_win_scale 1). */
fn_inline uint32_t fn_tcp_win_from_space(uint32_t space) { return space / 2; }

/* ---- tcp_state.c: life of a connection ---- */
void fn_tcp_set_state(struct fn_tcp *tp, enum fn_tcp_state state);
/* The connection is over: CLOSED, no timers, queues freed; freed itself at the end of the burst if the program closed it. */
void fn_tcp_done(struct fn_tcp *tp);
/* The same, with an error for the program and every event bit. */
void fn_tcp_abort(struct fn_tcp *tp, int err);
/* RST, then fn_tcp_done(). */
void fn_tcp_reset_peer(struct fn_tcp *tp);
/* A connection got its parameters: buffers, estimates, congestion control; then ESTABLISHED is entered. */
void fn_tcp_start(struct fn_tcp *tp);
/* Allocate and preset; NULL counted. */
struct fn_tcp *fn_tcp_new(struct fn_stack *st);
/* Free the object and all it holds; nobody may use it afterwards. */
void fn_tcp_destroy(struct fn_tcp *tp);
/* Free what is queued in both directions. */
void fn_tcp_purge(struct fn_tcp *tp);
void fn_tcp_purge_tx(struct fn_tcp *tp);
/* A keyed initial sequence number (RFC 6528), and the connection's timestamp offset. */
uint32_t fn_tcp_isn(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote);
uint32_t fn_tcp_ts_off(struct fn_stack *st, uint32_t local, uint32_t remote);
/* Window scale and first window for a receive buffer (tcp_select_initial_window). */
uint8_t fn_tcp_pick_wscale(const struct fn_tcp *tp);

/* ESTABLISHED was reached by a connection that its program had shut down or closed before: the FIN goes now. */
void fn_tcp_late_close(struct fn_tcp *tp);

/* ---- tcp_left.c: what the two ends of a connection tell who survives them ---- */
/* What is told lies where whoever runs can write. */
fn_inline bool fn_tcp_told_here(const struct fn_tcp *tp)
{
	return tp->told && fn_likely(!tp->told_apart || tp->path.nic->ops->has(tp->path.nic, tp->sk.remote.peer));
}
/* It is told from now on how far the program reads, as the far end's number says; at the start, and when that changes. */
void fn_tcp_told_open(struct fn_tcp *tp);
void fn_tcp_told_close(struct fn_tcp *tp);
/* The far end has another number: notes of what it has not got yet. */
void fn_tcp_notes_moved(struct fn_tcp *tp);
/* What has been written at last and cannot be sent yet: where the far end finds it, if that is not where it is. */
void fn_tcp_spill(struct fn_tcp *tp);
/* Up to `ack` the far end has found what has not been sent to it where it lies (fn_shm_unsent()): it counts as sent. */
void fn_tcp_found(struct fn_tcp *tp, uint32_t ack);
fn_inline void fn_tcp_tell_read(struct fn_tcp *tp)
{
	if (fn_likely(fn_tcp_told_here(tp)))	/* pairs with fn_shm_left(), after our end */
		atomic_store_explicit(&tp->told->seq, tp->copied_seq, memory_order_relaxed);
}
/* The text of p, whose .seq and .data are its first byte's, is there. */
fn_inline void fn_tcp_note(const struct fn_tcp *tp, struct fn_pkt *p)
{
	struct fn_note *note = (struct fn_note *)p->buf;

	if (!tp->notes)
		return;
	note->ends.addrs = tp->rx_addrs;
	note->ends.ports = tp->rx_ports;
	note->ends.peer = tp->sk.remote.peer;
	note->seq = p->seq;
	note->off = (uint16_t)(p->data - p->buf);
	/* the compiler keeps the order, and so does the processor */
	atomic_signal_fence(memory_order_release);
	note->text.len = (uint16_t)p->len;
}
/* And what is special about it: FN_NOTE_*. */
fn_inline void fn_tcp_note_mark(const struct fn_tcp *tp, struct fn_pkt *p, uint16_t mark)
{
	if (tp->notes)
		((struct fn_note *)p->buf)->text.fin |= mark;
}

/* ---- tcp_burst.c: what is decided once a burst ---- */
fn_inline void fn_tcp_burst_add(struct fn_tcp *tp, uint8_t why)
{
	if (!(tp->burst & FN_BURST_LISTED)) {
		tp->burst_next = tp->sk.st->burst;
		tp->sk.st->burst = tp;
		why |= FN_BURST_LISTED;
	}
	tp->burst |= why;
}
/* An ACK is to go with the program's answer, or after `rounds` more polls than the next one. */
void fn_tcp_hold_ack(struct fn_tcp *tp, uint8_t rounds);
void fn_tcp_burst_del(struct fn_tcp *tp);

/* Preset a slim object that takes tp's place. */
void fn_tcp_mini_init(struct fn_stack *st, struct fn_sock *mini, const struct fn_ep *local, const struct fn_ep *remote,
		      enum fn_tcp_state state);

/* ---- tcp_tw.c: TIME_WAIT ---- */
/* Replace tp by a slim object in TIME_WAIT (or FIN_WAIT2) that lives for `ns`; ends in fn_tcp_done(tp). */
void fn_tcp_time_wait(struct fn_tcp *tp, enum fn_tcp_state substate, uint64_t ns);
/*
 * A segment for a slim object. Returns 0 or -FN_DROP_*; takes p. A SYN that may reuse the connection (RFC 6191) frees tw,
 * sets *isn and leaves p to the caller (returns 1).
 */
int fn_tcp_tw_input(struct fn_stack *st, struct fn_tcp_tw *tw, struct fn_pkt *p, const struct fn_tcp_seg *seg,
		    uint32_t *isn);
void fn_tcp_tw_free(struct fn_stack *st, struct fn_tcp_tw *tw);

/* ---- tcp_listen.c: a listener ---- */
/* RFC 9293 3.10.7.2; takes p. isn: what RFC 6191 wants for a reused connection, else 0. */
int fn_tcp_listen_input(struct fn_stack *st, struct fn_tcp *lp, struct fn_pkt *p, struct fn_tcp_seg *seg, uint32_t isn);
/* Everything that waits in a listener's queues goes. */
void fn_tcp_listen_stop(struct fn_tcp *lp);
/* Put an established child into its listener's queue, tell the program. */
void fn_tcp_listen_enqueue(struct fn_tcp *lp, struct fn_tcp *tp);
bool fn_tcp_accept_full(const struct fn_tcp *lp);

/* ---- tcp_req.c: half-open connections ---- */
/* Set req from a SYN (or a cookie's ACK), without numbers of our own; it is in no list. */
void fn_tcp_req_fill(struct fn_tcp_req *req, struct fn_tcp *lp, const struct fn_pkt *p, const struct fn_tcp_seg *seg);
/* The same in the listener's queue and in the demux, timer running; NULL: out of objects. */
struct fn_tcp_req *fn_tcp_req_new(struct fn_tcp *lp, const struct fn_pkt *p, const struct fn_tcp_seg *seg, uint32_t isn);
void fn_tcp_req_free(struct fn_stack *st, struct fn_tcp_req *req);
/* Into its listener's queue. Out of everything but that, where there is no such queue (tcp_recover.c). */
void fn_tcp_req_enlist(struct fn_tcp_req *req);
void fn_tcp_req_discard(struct fn_stack *st, struct fn_tcp_req *req);
/* A segment for a half-open connection. Returns the new connection, which fn_tcp_first_segment() takes on from there, or
 * NULL with *ret set and p taken. */
struct fn_tcp *fn_tcp_req_input(struct fn_stack *st, struct fn_tcp_req *req, struct fn_pkt *p,
				const struct fn_tcp_seg *seg, int *ret);
int fn_tcp_first_segment(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg);
/* The connection that req asked for, in SYN_RCVD and in the demux in its place; NULL: out of sockets (req stays). */
struct fn_tcp *fn_tcp_req_promote(struct fn_stack *st, struct fn_tcp_req *req);
void fn_tcp_send_synack(struct fn_stack *st, const struct fn_tcp_req *req);

/* ---- tcp_cookie.c ---- */
/* RFC 4987 3.6. make sets req->snd_isn (and the timestamp to send); check sets it and what the cookie tells, or returns
 * false when seg acknowledges no cookie of ours. */
void fn_tcp_cookie_make(struct fn_stack *st, struct fn_tcp_req *req);
bool fn_tcp_cookie_check(struct fn_stack *st, struct fn_tcp_req *req, const struct fn_tcp_seg *seg);

/* ---- tcp_opt.c ---- */
/* Parse th (the whole header lies in p's first buffer) into seg; 0 or -FN_DROP_TCP_OPTION. */
int fn_tcp_parse_opts(struct fn_tcp_seg *seg, const struct fn_tcp_hdr *th);
/* Write options behind the header; return their length (a multiple of 4). */
struct fn_tcp_syn_opts {
	uint32_t tsval, tsecr;
	uint16_t mss;
	uint8_t feat, wscale;
};
unsigned fn_tcp_put_syn_opts(uint8_t *o, const struct fn_tcp_syn_opts *so);
/* RFC 7323 appendix A: two NOPs align the values. */
fn_inline unsigned fn_tcp_put_ts(uint8_t *o, uint32_t tsval, uint32_t tsecr)
{
	uint32_t w[3] = { FN_TCP_TS_WORD, fn_be32(tsval), fn_be32(tsecr) };

	memcpy(o, w, sizeof(w));
	return sizeof(w);
}
unsigned fn_tcp_put_sacks(uint8_t *o, const struct fn_tcp *tp, unsigned room);
/* Block i of a SACK option. */
struct fn_sack fn_tcp_sack_at(const struct fn_tcp_seg *seg, unsigned i);

/* ---- tcp_fast.c ---- */
/* What prediction depends on has changed: .pred anew. */
void fn_tcp_pred_update(struct fn_tcp *tp);
/* p, .data at its TCP header th, belongs to tp, which is ESTABLISHED: true when it was the predicted one and is taken. */
bool fn_tcp_predicted(struct fn_tcp *tp, struct fn_pkt *p, const struct fn_tcp_hdr *th);

/* ---- tcp_in.c ---- */
/* The socket that p's ends belong to, by its hash: a connection, a slim object, or NULL. */
struct fn_sock *fn_tcp_find_conn(struct fn_stack *st, struct fn_pkt *p, const struct fn_ip4_hdr *ip,
				 const struct fn_tcp_hdr *th);
/* Who listens on the address and port that p is for; NULL: nobody. */
struct fn_tcp *fn_tcp_find_listener(const struct fn_stack *st, const struct fn_pkt *p, const struct fn_tcp_seg *seg);
/* RFC 9293 3.10.7.3 and .4 from the state's point of view; takes p. */
int fn_tcp_segment(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg);
/* RFC 5961, within its rate limits. */
void fn_tcp_challenge_ack(struct fn_tcp *tp);
/* An ACK that answers seg, which was not acceptable, must not go: one has gone less than half a second ago. Segments with
 * data or FIN are not limited, for they are no part of an ACK loop (tcp_oow_rate_limited). seg may be NULL. */
bool fn_tcp_oow_limited(const struct fn_stack *st, const struct fn_tcp_seg *seg, uint64_t *last);

/* ---- tcp_syn.c: SYN_SENT ---- */
int fn_tcp_syn_sent(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg);
/* In SYN-SENT, with nothing sent yet: where the NIC can open it (fn_nic_ops.open) it is open. False: send the SYN. */
bool fn_tcp_open_at_once(struct fn_tcp *tp);
/* Take over the options of a SYN or SYN-ACK. */
void fn_tcp_take_syn_opts(struct fn_tcp *tp, const struct fn_tcp_seg *seg);

/* ---- tcp_ack.c: RFC 9293 3.10.7.4, step 5 ---- */
/* 1: acceptable, 0: old, -FN_DROP_TCP_ACK_RANGE. */
int fn_tcp_ack(struct fn_tcp *tp, const struct fn_tcp_seg *seg);
/* Header prediction's half: ack > snd_una, nothing lost, nothing SACKed. tsecr 0: no timestamp. */
void fn_tcp_ack_fast(struct fn_tcp *tp, uint32_t ack, uint32_t tsecr);
/* Room in the send buffer: tell a waiting writer (sk_stream_write_space). */
void fn_tcp_tell_writer(struct fn_tcp *tp);
fn_inline void fn_tcp_write_space(struct fn_tcp *tp)
{
	if (fn_unlikely(tp->sk.nospace))
		fn_tcp_tell_writer(tp);
}
#define FN_TCP_TX_SHARE	8192u	/* bytes queued up to which a connection is writable however few buffers are left */
/* POLLOUT's condition: at least a third is free (__sk_stream_is_writeable), not too much unsent (TCP_NOTSENT_LOWAT). */
fn_inline bool fn_tcp_writable(const struct fn_tcp *tp)
{
	uint32_t used = tp->sk.tx_charged;

	if (used >= tp->sk.sndbuf || tp->sk.sndbuf - used < used / 2)
		return false;
	if (fn_unlikely(used > FN_TCP_TX_SHARE) && (int64_t)used + used / 2 > tp->path.nic->tx_left)
		return false;
	return !tp->notsent_lowat || tp->write_seq - tp->snd_nxt < tp->notsent_lowat;
}
/* As many bytes of send buffer as Linux has for the window (tcp_sndbuf_expand), unless the program has set it. */
void fn_tcp_grow_sndbuf(struct fn_tcp *tp);

/* ---- tcp_sack.c: the scoreboard (RFC 6675) ---- */
/* How an ACK changed the scoreboard. */
struct fn_ack_info {
	uint32_t prior_una, prior_pipe;
	uint32_t acked, newly_sacked, newly_lost;	/* bytes */
	uint32_t delivered;		/* acknowledged or SACKed for the first time, bytes */
	uint64_t rtt_ns;		/* of a segment that was sent once; 0: no sample */
	bool una_advanced, dsack, dup, win_update;
	bool retrans_acked;		/* Karn: rtt_ns is not to be used */
	bool orig_sacked;
};
void fn_tcp_sack_update(struct fn_tcp *tp, const struct fn_tcp_seg *seg, struct fn_ack_info *ai);
/* Remove p's share from the counters; p is about to leave rtxq. */
void fn_tcp_sack_forget(struct fn_tcp *tp, struct fn_pkt *p);
void fn_tcp_mark_lost(struct fn_tcp *tp, struct fn_pkt *p);
/* What was sent once at seq arrived below the highest SACKed segment. */
void fn_tcp_sack_reordered(struct fn_tcp *tp, uint32_t seq);
/* IsLost() for every segment below the highest SACKed one. */
void fn_tcp_sack_find_lost(struct fn_tcp *tp, struct fn_ack_info *ai);
void fn_tcp_sack_clear(struct fn_tcp *tp);

/* ---- tcp_recovery.c ---- */
void fn_tcp_recovery_ack(struct fn_tcp *tp, struct fn_ack_info *ai, const struct fn_tcp_seg *seg);
void fn_tcp_enter_loss(struct fn_tcp *tp);
/* The MSS has fallen: what is in flight and larger counts as lost, without congestion (tcp_simple_retransmit). */
void fn_tcp_simple_retransmit(struct fn_tcp *tp);

/* ---- tcp_data.c: receive queue ---- */
/* RFC 9293 3.10.7.4, step 7; takes p (payload at .data). 0 or -FN_DROP_*. */
int fn_tcp_data(struct fn_tcp *tp, struct fn_pkt *p, struct fn_tcp_seg *seg);
/* In-order payload in one buffer to the receive queue; takes p. */
void fn_tcp_rx_append(struct fn_tcp *tp, struct fn_pkt *p);
/* The same for any packet, and RCV.NXT moves behind it (not behind its FIN). */
void fn_tcp_rx_in_order(struct fn_tcp *tp, struct fn_pkt *p);
/* Data came: estimates for the delayed ACK (tcp_event_data_recv). */
void fn_tcp_event_data(struct fn_tcp *tp, uint32_t len);
void fn_tcp_fin(struct fn_tcp *tp);
/* Immediate ACKs for a while (quickack mode), `max` at most. */
void fn_tcp_quickack(struct fn_tcp *tp, unsigned max);
/* The window or the buffer is as good as full. */
bool fn_tcp_rx_pressed(const struct fn_tcp *tp);
/* SO_RCVLOWAT is met, or more cannot come. */
fn_inline bool fn_tcp_data_ready(const struct fn_tcp *tp)
{
	return fn_likely(tp->sk.rcvlowat <= 1) || tp->rcv_nxt - tp->copied_seq >= (uint32_t)tp->sk.rcvlowat ||
	       fn_tcp_rx_pressed(tp);
}
/* Step 6; p's payload at .data. */
void fn_tcp_urg(struct fn_tcp *tp, const struct fn_pkt *p, const struct fn_tcp_seg *seg);

/* ---- tcp_window.c: the receive window ---- */
/* The window to advertise now; updates rcv_wnd and rcv_wup; returns the field's value. */
uint16_t fn_tcp_select_window_slow(struct fn_tcp *tp);
fn_inline uint16_t fn_tcp_select_window(struct fn_tcp *tp)
{
	uint32_t scale = tp->rcv_wscale, win = (fn_tcp_win_from_space(tp->sk.rcvbuf) + (1u << scale) - 1) >> scale;

	/* all was read, and what was offered was not more: half the buffer */
	if (fn_unlikely(tp->sk.rx_charged || !scale || tp->window_clamp || win - 1 >= 0xffff || !tp->rcv_wnd ||
			win << scale < fn_tcp_receive_window(tp)))
		return fn_tcp_select_window_slow(tp);
	tp->rcv_wnd = win << scale;
	tp->rcv_wup = tp->rcv_nxt;
	return (uint16_t)win;
}
/* The program has read: window update, DRS. */
void fn_tcp_after_read_slow(struct fn_tcp *tp, size_t copied);
fn_inline void fn_tcp_after_read(struct fn_tcp *tp, size_t copied)
{
	const struct fn_tcp_flow *f = &tp->f;

	/* in a dialogue, with most of the window left, and the round trip not over: nothing to tell or to tune */
	if (fn_likely(tp->pingpong && !(tp->ack & FN_ACK_PUSHED2) && tp->rcv_nxt - tp->rcv_wup <= tp->rcv_mss &&
		      4 * (uint64_t)fn_tcp_receive_window(tp) > tp->sk.rcvbuf &&
		      (!f->rcv_rtt_us || tp->sk.st->now - f->rcvq_time < (f->rcv_rtt_us >> 3) * 1000ull)))
		return;
	fn_tcp_after_read_slow(tp, copied);
}
/* A round trip as the receiver sees it, from a segment of `len` bytes that echoes tsecr (0: no timestamp). */
void fn_tcp_rcv_rtt(struct fn_tcp *tp, uint32_t len, uint32_t tsecr);

/* ---- tcp_user.c: what the program reads and asks ---- */
/*
 * Bytes, and the FIN, that the peer's host has not got. What lies in its memory it has, as the kernel's loopback has what it
 * acknowledges at once, though nobody may look at it there for long.
 */
fn_inline uint32_t fn_tcp_outstanding(const struct fn_tcp *tp)
{
	const struct fn_nic *nic = tp->path.nic;

	return tp->write_seq - (tp->lossless && !nic->choked && !nic->txq_len ? tp->snd_nxt : tp->snd_una);
}
/* Its FIN has got there. */
fn_inline bool fn_tcp_fin_got(const struct fn_tcp *tp) { return tp->fin_queued && !fn_tcp_outstanding(tp); }
/* The urgent byte is next and was not read: it is no longer in the stream. */
void fn_tcp_skip_urgent(struct fn_tcp *tp);

/* ---- tcp_ooo.c: what came out of order, and the SACK blocks that tell of it ---- */
int fn_tcp_ooo_queue(struct fn_tcp *tp, struct fn_pkt *p);
/* Move what has become in order; true: a FIN is now next. */
bool fn_tcp_ooo_drain(struct fn_tcp *tp);
void fn_tcp_dsack(struct fn_tcp *tp, uint32_t start, uint32_t end);
/* Cut p's sequence range from the front; the caller knows that payload is cut only. */
void fn_tcp_rx_trim(struct fn_tcp *tp, struct fn_pkt *p, uint32_t n);

/* ---- tcp_output.c: what may be sent now ---- */
/* Send what windows, Nagle and CORK allow; true: something went out. */
bool fn_tcp_output(struct fn_tcp *tp, uint8_t nonagle);
/* Retransmit what is marked lost, as far as the congestion window goes. */
void fn_tcp_retransmit_lost(struct fn_tcp *tp);
int fn_tcp_retransmit(struct fn_tcp *tp, struct fn_pkt *p);
/* A window probe (tcp_write_wakeup): 0 sent, else -E*. */
int fn_tcp_probe(struct fn_tcp *tp);
/* The program will write no more: a FIN behind what is unsent, and send (state FIN_WAIT1 or LAST_ACK is set). */
void fn_tcp_send_fin(struct fn_tcp *tp);
/* A transmit buffer for tp's queue and `len` bytes, or as many of them as it takes, charged to tp; NULL: none. */
fn_inline struct fn_pkt *fn_tcp_tx_alloc(struct fn_tcp *tp, size_t len)
{
	struct fn_pkt *p = fn_nic_alloc_for(tp->path.nic, len);

	if (fn_likely(p != NULL))
		tp->sk.tx_charged += p->truesize;
	return p;
}
/*
 * The same for what the program writes. A NIC's buffers are shared by all: no connection may hold more than are left over,
 * so that n of them that nobody reads leave an n-th for the others, and ACKs find one always.
 */
fn_inline struct fn_pkt *fn_tcp_data_alloc(struct fn_tcp *tp, size_t len)
{
	return fn_unlikely((int64_t)tp->sk.tx_charged > tp->path.nic->tx_left) ? NULL : fn_tcp_tx_alloc(tp, len);
}
/* Give it back. */
fn_inline void fn_tcp_tx_free(struct fn_tcp *tp, struct fn_pkt *p)
{
	tp->sk.tx_charged -= p->truesize;
	fn_pkt_free(p);
}
/* Nothing is in flight, yet something waits: arm the probe timer. */
void fn_tcp_check_probe(struct fn_tcp *tp);
/* Recompute .mss from path, peer, program and options. */
void fn_tcp_sync_mss(struct fn_tcp *tp);

/* ---- tcp_out.c: single segments ---- */
/* Path, ports or options are (other) ones now: make .head anew. */
void fn_tcp_prepare(struct fn_tcp *tp);
/* First transmission of p, which then stands in rtxq; -E*: p is in no queue. */
int fn_tcp_send_now(struct fn_tcp *tp, struct fn_pkt *p);
/* Several segments may leave as one packet now: the device cuts it up, and nothing unusual is to be told. */
bool fn_tcp_may_run(const struct fn_tcp *tp);
/*
 * First transmission of the first n > 1 segments of sndq, in one packet, after fn_tcp_may_run(): all but the last are .mss
 * long, so that what the device cuts are these segments, or it cuts nothing (lossless). Then they stand in rtxq; -E*: they are where they were.
 */
int fn_tcp_send_run(struct fn_tcp *tp, unsigned n);
/* Put headers before p's payload and send it again; p stays in its queue. */
int fn_tcp_transmit(struct fn_tcp *tp, struct fn_pkt *p);
/* The same from a copy, for p's own buffer is still in flight. */
int fn_tcp_transmit_copy(struct fn_tcp *tp, const struct fn_pkt *p);
/* Flags to a segment that is staged (FN_PKT_QUEUED): its header is changed in place. */
void fn_tcp_add_flags(struct fn_pkt *p, uint8_t flags);
/* A bare segment: ACK, RST; seq as given. */
int fn_tcp_send_bare(struct fn_tcp *tp, uint8_t flags, uint32_t seq);
void fn_tcp_send_ack(struct fn_tcp *tp);
int fn_tcp_send_syn(struct fn_tcp *tp);
/* The same without a segment: fn_nic_ops.open has taken it, and the SYN-ACK had that number. False: it is to be sent. */
bool fn_tcp_offer_syn(struct fn_tcp *tp, uint32_t *isn);
/* For no connection: RST as RFC 9293 3.10.7.1 builds it (never in answer to an RST). */
void fn_tcp_send_rst_for(struct fn_stack *st, const struct fn_pkt *p, const struct fn_tcp_seg *seg);
/* A segment without a connection: SYN-ACK, ACK of a slim object. opts: already laid out. */
struct fn_tcp_bare {
	const struct fn_ep *local, *remote;
	uint32_t seq, ack;
	uint16_t win;
	uint8_t flags, opt_len, tos;
	const uint8_t *opts;
};
int fn_tcp_emit(struct fn_stack *st, const struct fn_path *path, const struct fn_tcp_bare *b);
int fn_tcp_emit_routed(struct fn_stack *st, const struct fn_tcp_bare *b);

/* ---- tcp_timer.c ---- */
void fn_tcp_timer(struct fn_timer *t, uint64_t now);
/* The wheel's timer is moved only when a deadline comes before it (tcp_timer.c). */
fn_inline void fn_tcp_set_due(struct fn_tcp *tp, enum fn_tcp_due which, uint64_t at)
{
	tp->due[which] = at;
	if (fn_unlikely(!fn_timer_armed(&tp->timer) || at < tp->timer.expires))
		fn_timer_arm(&tp->sk.st->wheel, &tp->timer, at);
}
fn_inline void fn_tcp_clear_due(struct fn_tcp *tp, enum fn_tcp_due which) { tp->due[which] = FN_NEVER; }
/* Arm the retransmission timer anew, or drop it when nothing is in flight (RFC 6298 5.1-5.3). */
void fn_tcp_rearm_rto_slow(struct fn_tcp *tp);	/* idle, backed off, or with a user timeout */
fn_inline void fn_tcp_rearm_rto(struct fn_tcp *tp)
{
	if (fn_unlikely(tp->snd_una == tp->snd_nxt || tp->backoff || tp->user_timeout)) {
		fn_tcp_rearm_rto_slow(tp);
		return;
	}
	tp->rtx_kind = FN_RTX_RTO;
	fn_tcp_set_due(tp, FN_DUE_RTX, tp->sk.st->now + tp->rto);
}
void fn_tcp_set_probe(struct fn_tcp *tp, uint64_t delay);
uint64_t fn_tcp_probe_delay(const struct fn_tcp *tp);
void fn_tcp_set_keepalive(struct fn_tcp *tp, bool on);
uint64_t fn_tcp_fin_time(const struct fn_tcp *tp);
uint64_t fn_tcp_keepidle(const struct fn_tcp *tp);

/* An ACK leaves: delayed-ACK state and quickack credit. */
fn_inline void fn_tcp_ack_sent(struct fn_tcp *tp)
{
	if (tp->quick && --tp->quick == 0)
		tp->ato = FN_TCP_ATO_MIN;	/* leaving quickack mode */
	tp->ack = 0;
	fn_tcp_clear_due(tp, FN_DUE_ACK);
}

/* ---- tcp_recover.c ---- */
/* tp's queues and sequence numbers agree: nobody is in the midst of changing them. */
bool fn_tcp_sound(const struct fn_tcp *tp);
/* tcp_send.c: a buffer that was lent goes back. */
void fn_tcp_unlend(struct fn_pkt *p);
/* sk is being changed in a way that fn_tcp_sound() does not see. */
fn_inline void fn_tcp_busy(struct fn_tcp *tp) { tp->sk.st->busy = &tp->sk; }

/* ---- tcp_gone.c ---- */
/* On a wire that loses nothing, after a death under one end's lock. */
void fn_tcp_again(struct fn_tcp *tp);

/* ---- tcp_rtt.c: RFC 6298 ---- */
void fn_tcp_rtt_sample(struct fn_tcp *tp, uint64_t rtt_ns);
void fn_tcp_rtt_reset(struct fn_tcp *tp);

#endif
