/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the program writes: copied once, into the buffers that the device sends from and that are the retransmission
 * queue (tcp_sendmsg of Linux). Owns the appending end of sndq; when it goes out is tcp_output.c's.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "cksum.h"
#include "tcp.h"
#include "user.h"

#define OPEN_STATES	(1u << FN_TCP_ESTABLISHED | 1u << FN_TCP_CLOSE_WAIT)

/* sk_stream_error, and sk_stream_wait_connect's answers. */
static fn_cold int why_not(struct fn_tcp *tp)
{
	if (tp->sk.error)
		return -fn_sock_take_error(&tp->sk);
	if (tp->sk.shut & FN_SHUT_WR)
		return -EPIPE;
	if (tp->sk.tcp_state == FN_TCP_SYN_SENT || tp->sk.tcp_state == FN_TCP_SYN_RCVD) {
		tp->sk.nospace = true;
		return -EAGAIN;
	}
	return -EPIPE;
}

fn_inline bool may_write(const struct fn_tcp *tp)
{
	return OPEN_STATES >> tp->sk.tcp_state & 1 && !tp->sk.error && !(tp->sk.shut & FN_SHUT_WR);
}

/* Room in the last unsent buffer. */
fn_inline uint32_t tail_room(const struct fn_tcp *tp, const struct fn_pkt *p)
{
	return p && p->len < tp->mss ? fn_min(tp->mss - p->len, fn_pkt_tailroom(p)) : 0;
}

static fn_cold struct fn_pkt *no_buffer(struct fn_tcp *tp)
{
	tp->sk.nospace = true;
	/* no ACK will come to look again: the timer does */
	if (tp->snd_una == tp->snd_nxt && tp->rtx_kind == FN_RTX_NONE)
		fn_tcp_set_probe(tp, FN_TCP_PROBE_RETRY);
	return NULL;
}

/* A fresh buffer at the end of what is written, in no queue; NULL: the send buffer is full, or there is none. */
static struct fn_pkt *new_pkt(struct fn_tcp *tp, size_t want)
{
	struct fn_pkt *p;

	if (tp->sk.tx_charged >= tp->sk.sndbuf) {
		tp->sk.nospace = true;
		return NULL;
	}
	p = fn_tcp_data_alloc(tp, fn_min(want, (size_t)tp->mss));
	if (fn_unlikely(!p))
		return no_buffer(tp);
	p->seq = p->end_seq = tp->write_seq;
	p->hash = 0;
	p->sack = FN_SEG_SUM;
	return p;
}

/* The buffer that the next `want` bytes go to, or the first of them. */
static struct fn_pkt *tail_pkt(struct fn_tcp *tp, size_t want)
{
	struct fn_pkt *p = tp->sndq.tail;

	if (tail_room(tp, p))
		return p;
	p = new_pkt(tp, want);
	if (p)
		fn_pktq_push(&tp->sndq, p);
	return p;
}

/* Add the sum of bytes that begin at offset `at` of the payload to the one kept in p. */
static void add_sum(struct fn_pkt *p, uint64_t part, uint32_t at)
{
	uint64_t sum = at & 1 ? part << 8 | part >> 56 : part;	/* RFC 1071 2B */

	sum = (sum & 0xffffffff) + (sum >> 32) + p->hash;
	sum = (sum & 0xffffffff) + (sum >> 32);
	p->hash = (uint32_t)(sum + (sum >> 32));
}

/* False: `from` is bad, and nothing has changed. */
fn_inline bool append(struct fn_tcp *tp, struct fn_pkt *p, const uint8_t *from, uint32_t n)
{
	uint8_t *to = p->data + p->len;

	if (fn_unlikely(fn_user_copy(to, from, n)))
		return false;
	if (!tp->sums)
		p->sack &= (uint8_t)~FN_SEG_SUM;
	else if (p->sack & FN_SEG_SUM)
		add_sum(p, fn_cksum_add(0, to, n), p->len);
	p->len += n;
	p->pkt_len += n;
	p->end_seq += n;
	tp->write_seq += n;
	return true;
}

/* A packet that nothing could be copied into. */
static void drop_empty(struct fn_tcp *tp, struct fn_pkt *p)
{
	if (p->len)
		return;
	fn_pktq_remove(&tp->sndq, p);
	fn_tcp_tx_free(tp, p);
}

/* One element of the vector; returns bytes taken. */
static size_t append_iov(struct fn_tcp *tp, const uint8_t *from, size_t len)
{
	size_t done = 0;

	while (done < len) {
		struct fn_pkt *p = tail_pkt(tp, len - done);
		uint32_t n;

		if (!p)
			break;
		n = (uint32_t)fn_min(len - done, (size_t)tail_room(tp, p));
		if (fn_unlikely(!append(tp, p, from + done, n))) {
			drop_empty(tp, p);
			break;
		}
		p->tcp_flags &= (uint8_t)~FN_TCP_PSH;	/* an earlier write ended here; this one goes on */
		fn_tcp_note(tp, p);
		tp->sndq.bytes += n;
		done += n;
	}
	return done;
}

static fn_cold void mark_urgent(struct fn_tcp *tp, struct fn_pkt *p)
{
	tp->snd_up = tp->write_seq;
	if (p)
		fn_tcp_note_mark(tp, p, FN_NOTE_URGENT);
}

/* End of a write: urgent mark, PSH, and out (tcp_push). */
static void push(struct fn_tcp *tp, unsigned flags)
{
	struct fn_pkt *p = tp->sndq.tail;

	if (fn_unlikely(flags & MSG_OOB))
		mark_urgent(tp, p);
	if (p && !(flags & MSG_MORE))
		p->tcp_flags |= FN_TCP_PSH;	/* RFC 9293 3.9.1.2 MUST-61 */
	fn_tcp_output(tp, flags & MSG_MORE ? FN_NAGLE_CORK : 0);
	if (tp->notes && tp->sndq.head)
		fn_tcp_spill(tp);
}

/*
 * Linux copies a write in pieces (page fragments, SKB_FRAG_PAGE_ORDER of net/core/sock.c) and takes a piece that holds a
 * bad byte back: so much of a vector with one is sent. SIZE_MAX: no bad one in what the send buffer takes.
 */
#define PIECE	32768u
static size_t sendable(const struct fn_tcp *tp, const struct iovec *iov, int iovcnt, size_t skip)
{
	/* what there is room for, and the buffer that exceeds it */
	size_t room = tp->sk.sndbuf - fn_min(tp->sk.tx_charged, tp->sk.sndbuf) + UINT16_MAX;
	size_t good = 0, n, ok;

	for (; iovcnt && good < room; iov++, iovcnt--) {
		n = fn_min(iov->iov_len - fn_min(skip, iov->iov_len), room);
		ok = fn_user_readable((const uint8_t *)iov->iov_base + fn_min(skip, iov->iov_len), n);
		good += ok;
		if (ok < n)
			return good / PIECE * PIECE;
		skip -= fn_min(skip, iov->iov_len);
	}
	return SIZE_MAX;
}

static __attribute__((noinline)) ssize_t send_any(struct fn_tcp *tp, const struct iovec *iov, int iovcnt, size_t skip,
						 unsigned flags)
{
	size_t done = 0, most;

	if (fn_unlikely(!may_write(tp)))
		return why_not(tp);
	most = sendable(tp, iov, iovcnt, skip);
	if (fn_unlikely(!most))
		return -EFAULT;
	for (; iovcnt && done < most; iov++, iovcnt--) {
		size_t n;

		if (skip >= iov->iov_len) {
			skip -= iov->iov_len;
			continue;
		}
		n = append_iov(tp, (const uint8_t *)iov->iov_base + skip, fn_min(iov->iov_len - skip, most - done));
		done += n;
		if (n < iov->iov_len - skip)
			break;
		skip = 0;
	}
	if (!done)
		return !iovcnt ? 0 : tp->sk.nospace ? -EAGAIN : -EFAULT;
	push(tp, iovcnt ? flags & ~(unsigned)MSG_OOB : flags);	/* the urgent byte is the last of all */
	return (ssize_t)done;
}

/* Nothing waits and `len` bytes, a segment at most, may leave at once: Nagle's and CORK's plain cases, the others are for
 * fn_tcp_output() to decide. */
fn_inline bool may_leave(const struct fn_tcp *tp, uint32_t len)
{
	uint32_t pipe;

	if (tp->sndq.head || fn_seq_gt(tp->snd_nxt + len, fn_tcp_wnd_end(tp)))
		return false;
	if (fn_likely(tp->snd_una == tp->snd_nxt))
		return fn_likely(!(tp->nonagle & FN_NAGLE_CORK)) || len == tp->mss_plain;
	pipe = fn_tcp_pipe(tp);
	if (pipe >= tp->cwnd || tp->cwnd - pipe < len)
		return false;
	return len == tp->mss_plain || (!(tp->nonagle & FN_NAGLE_CORK) && (tp->nonagle & FN_NAGLE_OFF || tp->lossless));
}

/* A buffer, in no queue, for a write of `len` bytes that may leave at once; NULL: send_any() is for it. */
fn_inline struct fn_pkt *at_once(struct fn_tcp *tp, size_t len)
{
	struct fn_pkt *p;

	if (fn_unlikely(len - 1 >= tp->mss_plain || !may_write(tp) || !may_leave(tp, (uint32_t)len) ||
			tp->sk.tx_charged >= tp->sk.sndbuf))
		return NULL;
	p = fn_tcp_data_alloc(tp, 0);
	if (fn_unlikely(!p))
		return NULL;
	p->seq = p->end_seq = tp->write_seq;
	p->hash = 0;
	p->sack = FN_SEG_SUM;
	return p;
}

/* Of which a byte is bad. */
static fn_cold ssize_t not_at_once(struct fn_tcp *tp, struct fn_pkt *p)
{
	tp->write_seq = p->seq;
	fn_tcp_tx_free(tp, p);
	return -EFAULT;
}

fn_inline ssize_t send_one(struct fn_tcp *tp, struct fn_pkt *p, size_t len)
{
	p->tcp_flags = FN_TCP_PSH;
	fn_tcp_note(tp, p);
	if (fn_unlikely(fn_tcp_send_now(tp, p))) {
		fn_pktq_push(&tp->sndq, p);
		fn_tcp_output(tp, 0);	/* fails again, and sees to it that somebody comes back */
	}
	return (ssize_t)len;
}

ssize_t fn_tcp_write(struct fn_sock *sk, const struct iovec *iov)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	struct fn_pkt *p = at_once(tp, iov->iov_len);

	if (fn_unlikely(!p))
		return send_any(tp, iov, 1, 0, 0);
	if (fn_unlikely(!append(tp, p, iov->iov_base, (uint32_t)iov->iov_len)))
		return not_at_once(tp, p);
	return send_one(tp, p, iov->iov_len);
}

/* What is left of a vector of which `skip` bytes are done. */
fn_inline size_t total_of(const struct iovec *iov, int iovcnt, size_t skip)
{
	size_t total = 0;

	for (int i = 0; i < iovcnt; i++)
		total += iov[i].iov_len;
	return total - skip;
}

/* The small parts of one answer. */
static ssize_t write_parts(struct fn_tcp *tp, const struct iovec *iov, int iovcnt, size_t skip)
{
	size_t total = total_of(iov, iovcnt, skip);
	struct fn_pkt *p = at_once(tp, total);

	if (fn_unlikely(!p))
		return send_any(tp, iov, iovcnt, skip, 0);
	for (; iovcnt; iov++, iovcnt--) {
		size_t done = fn_min(skip, iov->iov_len);

		skip -= done;
		if (fn_unlikely(!append(tp, p, (const uint8_t *)iov->iov_base + done, (uint32_t)(iov->iov_len - done))))
			return not_at_once(tp, p);
	}
	return send_one(tp, p, total);
}

ssize_t fn_tcp_send(struct fn_sock *sk, const struct iovec *iov, int iovcnt, size_t skip, unsigned flags)
{
	if (flags & (MSG_OOB | MSG_MORE))
		return send_any(fn_tcp_sk(sk), iov, iovcnt, skip, flags);
	return iovcnt == 1 && !skip ? fn_tcp_write(sk, iov) : write_parts(fn_tcp_sk(sk), iov, iovcnt, skip);
}

/* ---- sendfile: buffers that the caller fills ---- */

/* Between reserve and commit a buffer stands in no queue, and its image may die. */
static void lend(struct fn_tcp *tp, struct fn_pkt *p)
{
	p->lent_to = tp;
	p->lent_by = tp->sk.st->holder;
	p->flags |= FN_PKT_LENT;
	tp->sk.st->lent++;
}

static void take_back(struct fn_tcp *tp, struct fn_pkt *p)
{
	p->flags &= (uint16_t)~FN_PKT_LENT;
	tp->sk.st->lent--;
}

void fn_tcp_unlend(struct fn_pkt *p)
{
	take_back(p->lent_to, p);
	fn_tcp_tx_free(p->lent_to, p);
}

static void free_chain(struct fn_tcp *tp, struct fn_pkt *p)
{
	struct fn_pkt *next;

	for (; p; p = next) {
		next = p->next;
		take_back(tp, p);
		fn_tcp_tx_free(tp, p);
	}
}

struct fn_pkt *fn_tcp_reserve(struct fn_sock *sk, size_t want, struct iovec *iov, int *iovcnt, int *err)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	struct fn_pkt *head = NULL, **link = &head;
	int n = 0;

	*err = 0;
	if (!may_write(tp)) {
		*err = why_not(tp);
		return NULL;
	}
	while (want && n < *iovcnt && sk->tx_charged < sk->sndbuf) {
		struct fn_pkt *p = fn_tcp_data_alloc(tp, fn_min(want, (size_t)tp->mss));

		if (!p) {
			no_buffer(tp);
			break;
		}
		iov[n].iov_base = p->data;
		iov[n].iov_len = fn_min(want, fn_min((size_t)tp->mss, (size_t)fn_pkt_tailroom(p)));
		p->end_seq = (uint32_t)iov[n].iov_len;	/* its share, until the commit */
		want -= iov[n++].iov_len;
		p->next = NULL;
		lend(tp, p);
		*link = p;
		link = &p->next;
	}
	*iovcnt = n;
	if (!head) {
		sk->nospace = true;
		*err = -EAGAIN;
	}
	return head;
}

ssize_t fn_tcp_commit(struct fn_sock *sk, struct fn_pkt *chain, size_t bytes, unsigned flags)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	size_t done = 0;

	if (bytes && !may_write(tp)) {
		free_chain(tp, chain);
		return why_not(tp);
	}
	while (chain && done < bytes) {
		struct fn_pkt *p = chain;
		uint32_t n = (uint32_t)fn_min(bytes - done, (size_t)p->end_seq);

		chain = p->next;
		take_back(tp, p);
		p->len = p->pkt_len = n;
		p->seq = tp->write_seq;
		p->end_seq = tp->write_seq += n;
		fn_tcp_note(tp, p);
		fn_pktq_push(&tp->sndq, p);
		done += n;
	}
	free_chain(tp, chain);
	if (done)
		push(tp, flags);
	return (ssize_t)done;
}
