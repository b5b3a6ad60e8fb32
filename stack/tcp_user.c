/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the program reads and asks: recv, urgent data, poll masks, queue lengths. Follows Linux's tcp_recvmsg, tcp_poll
 * and tcp_ioctl in what is returned when. Sends nothing itself.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "tcp.h"
#include "user.h"

/* ---- iovec walking ---- */

/* Where the next byte goes; skips empty elements. */
struct cursor {
	const struct iovec *iov;
	int left;
	size_t off;
};

static void advance(struct cursor *c, size_t n)
{
	c->off += n;
	while (c->left && c->off >= c->iov->iov_len) {
		c->off -= c->iov->iov_len;
		c->iov++;
		c->left--;
	}
}

static size_t room(const struct cursor *c)
{
	return c->left ? c->iov->iov_len - c->off : 0;
}

static size_t total_room(const struct cursor *c)
{
	size_t n = 0;

	for (int i = 0; i < c->left; i++)
		n += c->iov[i].iov_len;
	return n - (c->left ? c->off : 0);
}

/* ---- the receive queue ---- */

/* n bytes of the head were read. */
static void consume(struct fn_tcp *tp, struct fn_pkt *p, uint32_t n)
{
	tp->copied_seq += n;
	fn_tcp_tell_read(tp);
	if (n == p->len) {
		fn_pktq_remove(&tp->sk.rxq, p);
		tp->sk.rx_charged -= p->truesize;
		fn_pkt_free(p);
		return;
	}
	p->data += n;
	p->len -= n;
	p->pkt_len -= n;
	p->seq += n;
	tp->sk.rxq.bytes -= n;
}

/* SO_OOBINLINE is off: the urgent byte is not part of the stream. */
static bool urgent_hidden(const struct fn_tcp *tp)
{
	return tp->urg_data && !(tp->sk.opts & FN_SO_OOBINLINE);
}

void fn_tcp_skip_urgent(struct fn_tcp *tp)
{
	struct fn_pkt *p = tp->sk.rxq.head;

	if (p && p->len)
		consume(tp, p, 1);
}

/* A mark behind the reader is past. */
static void pass_mark(struct fn_tcp *tp)
{
	if (tp->urg_data && fn_seq_gt(tp->copied_seq, tp->urg_seq)) {
		tp->urg_data = 0;
		fn_tcp_pred_update(tp);
	}
}

/* Bytes of p from seq on that may be read in one go: up to the mark. */
static uint32_t run_length(const struct fn_tcp *tp, const struct fn_pkt *p, uint32_t seq)
{
	uint32_t n = p->end_seq - seq, mark = tp->urg_seq - seq;

	return tp->urg_data && mark < n ? mark : n;
}

/* False: a pointer of the program's is bad. */
static bool copy_out(struct cursor *c, const uint8_t *from, size_t n, unsigned flags)
{
	while (n) {
		size_t part = fn_min(n, room(c));

		if (!(flags & MSG_TRUNC) && fn_user_copy((uint8_t *)c->iov->iov_base + c->off, from, part))
			return false;
		advance(c, part);
		from += part;
		n -= part;
	}
	return true;
}

/* Take from the front of the queue until `want` bytes, the end, or the mark; -EFAULT. What is in a packet that cannot be
 * copied as a whole stays (tcp_recvmsg_locked). */
static ssize_t take(struct fn_tcp *tp, struct cursor *c, size_t want, unsigned flags, uint64_t *rxtime)
{
	size_t got = 0;
	struct fn_pkt *p;

	while (got < want && (p = tp->sk.rxq.head)) {
		uint32_t n = run_length(tp, p, tp->copied_seq);

		if (!n) {	/* at the mark */
			if (got)
				break;
			if (urgent_hidden(tp)) {
				consume(tp, p, 1);
				pass_mark(tp);
				continue;
			}
			n = 1;	/* in line: the mark does not hold the reader twice */
			if (p->end_seq - tp->copied_seq > 1)
				n = p->end_seq - tp->copied_seq;
		}
		n = (uint32_t)fn_min((size_t)n, want - got);
		if (fn_unlikely(!copy_out(c, p->data, n, flags)))
			return got ? (ssize_t)got : -EFAULT;
		if (rxtime)
			*rxtime = p->time;
		got += n;
		consume(tp, p, n);
		pass_mark(tp);
	}
	return (ssize_t)got;
}

/* The same without consuming. */
static ssize_t peek(const struct fn_tcp *tp, struct cursor *c, size_t want, unsigned flags, uint64_t *rxtime)
{
	uint32_t seq = tp->copied_seq;
	size_t got = 0;

	for (const struct fn_pkt *p = tp->sk.rxq.head; p && got < want; p = p->next) {
		const uint8_t *data = p->data;
		uint32_t n = run_length(tp, p, seq);

		if (!n) {
			if (got)
				break;
			if (urgent_hidden(tp)) {
				data++;
				seq++;
			}
			n = p->end_seq - seq;
		}
		n = (uint32_t)fn_min((size_t)n, want - got);
		if (fn_unlikely(!copy_out(c, data, n, flags)))
			return got ? (ssize_t)got : -EFAULT;
		if (rxtime && n)
			*rxtime = p->time;
		got += n;
		seq += n;
		if (seq != p->end_seq)
			break;
	}
	return (ssize_t)got;
}

/* ---- recv ---- */

/* tcp_recv_urg */
static ssize_t recv_urgent(struct fn_tcp *tp, struct cursor *c, unsigned flags)
{
	uint8_t byte = (uint8_t)tp->urg_data;

	if (tp->sk.opts & FN_SO_OOBINLINE || !tp->urg_data || tp->urg_data == FN_URG_READ)
		return -EINVAL;
	if (tp->sk.tcp_state == FN_TCP_CLOSED && !tp->fin_rcvd)
		return -ENOTCONN;
	if (tp->urg_data & FN_URG_VALID) {
		if (!(flags & MSG_PEEK))
			tp->urg_data = FN_URG_READ;
		if (!room(c))
			return 0;
		return copy_out(c, &byte, 1, flags) ? 1 : -EFAULT;
	}
	if (tp->sk.tcp_state == FN_TCP_CLOSED || tp->sk.shut & FN_SHUT_RD)
		return 0;
	return -EAGAIN;
}

/* As tcp_recvmsg_locked. */
ssize_t fn_tcp_recv_nothing(struct fn_sock *sk)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);

	if (tp->fin_rcvd)
		return 0;
	if (tp->sk.error)
		return -fn_sock_take_error(&tp->sk);
	if (tp->sk.shut & FN_SHUT_RD)
		return 0;
	return tp->sk.tcp_state == FN_TCP_CLOSED ? -ENOTCONN : -EAGAIN;
}

static __attribute__((noinline)) ssize_t recv_any(struct fn_sock *sk, const struct iovec *iov, int iovcnt, size_t skip,
						 unsigned flags, uint64_t *rxtime)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	struct cursor c = { iov, iovcnt, 0 };
	size_t want;
	ssize_t got;

	if (sk->tcp_state == FN_TCP_LISTEN)
		return -ENOTCONN;
	advance(&c, skip);
	if (fn_unlikely(flags & MSG_OOB))
		return recv_urgent(tp, &c, flags);
	want = total_room(&c);
	if (fn_unlikely(flags & MSG_PEEK)) {
		got = peek(tp, &c, want, flags, rxtime);
		return got ? got : want ? fn_tcp_recv_nothing(sk) : 0;
	}
	got = take(tp, &c, want, flags, rxtime);
	if (fn_likely(got > 0))
		fn_tcp_after_read(tp, (size_t)got);
	if (got)
		return got;
	return want ? fn_tcp_recv_nothing(sk) : 0;
}

/* The one packet that waits fits: no walking. A listener's receive queue is empty. */
ssize_t fn_tcp_read(struct fn_sock *sk, const struct iovec *iov)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	struct fn_pkt *p = sk->rxq.head;
	uint32_t n;

	if (fn_unlikely(!p || p->next || tp->urg_data || iov->iov_len < p->len))
		return recv_any(sk, iov, 1, 0, 0, NULL);
	n = p->len;
	if (fn_unlikely(fn_user_copy(iov->iov_base, p->data, n)))
		return -EFAULT;
	tp->copied_seq += n;
	fn_tcp_tell_read(tp);
	sk->rxq = (struct fn_pktq){ 0 };
	sk->rx_charged -= p->truesize;
	fn_pkt_free(p);
	fn_tcp_after_read(tp, n);
	return n;
}

ssize_t fn_tcp_recv(struct fn_sock *sk, const struct iovec *iov, int iovcnt, size_t skip, unsigned flags,
		    uint64_t *rxtime)
{
	if (iovcnt == 1 && !skip && !flags && !rxtime)
		return fn_tcp_read(sk, iov);
	return recv_any(sk, iov, iovcnt, skip, flags, rxtime);
}

/* ---- questions ---- */

/* tcp_inq */
size_t fn_tcp_readable(const struct fn_sock *sk)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;

	if (sk->tcp_state == FN_TCP_SYN_SENT || sk->tcp_state == FN_TCP_SYN_RCVD || sk->tcp_state == FN_TCP_LISTEN)
		return 0;
	if (urgent_hidden(tp) && !fn_seq_lt(tp->urg_seq, tp->copied_seq) && fn_seq_lt(tp->urg_seq, tp->rcv_nxt))
		return tp->urg_seq - tp->copied_seq;
	return sk->rxq.bytes;
}

size_t fn_tcp_outq(const struct fn_sock *sk)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;

	if (sk->tcp_state == FN_TCP_SYN_SENT || sk->tcp_state == FN_TCP_SYN_RCVD || sk->tcp_state == FN_TCP_LISTEN)
		return 0;
	/* what a reset connection had not delivered is still counted */
	return sk->tcp_state == FN_TCP_CLOSED ? tp->write_seq - tp->snd_una : fn_tcp_outstanding(tp);
}

bool fn_tcp_text_from(const struct fn_sock *sk, uint32_t seq, bool (*piece)(void *ctx, const uint8_t *data, uint32_t len),
		      void *ctx)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;
	const struct fn_pktq *queues[] = { &tp->rtxq, &tp->sndq };

	for (unsigned i = 0; i < fn_array_size(queues); i++) {
		for (const struct fn_pkt *p = queues[i]->head; p; p = p->next) {
			uint32_t skip = fn_seq_lt(p->seq, seq) ? fn_min(seq - p->seq, p->len) : 0;

			if (!piece(ctx, p->data + skip, p->len - skip))
				return false;
		}
	}
	return true;
}

size_t fn_tcp_outq_unsent(const struct fn_sock *sk)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;

	return fn_tcp_outq(sk) ? tp->write_seq - tp->snd_nxt : 0;
}

bool fn_tcp_at_mark(const struct fn_sock *sk)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;

	return tp->urg_data && tp->urg_seq == tp->copied_seq;
}

bool fn_tcp_blocked_by_mark(const struct fn_sock *sk)
{
	return sk->rxq.head && fn_tcp_at_mark(sk);
}

bool fn_tcp_must_skip(const struct fn_sock *sk)
{
	return fn_tcp_blocked_by_mark(sk) && urgent_hidden((const struct fn_tcp *)sk);
}

/* tcp_stream_is_readable */
static bool readable(const struct fn_tcp *tp)
{
	uint32_t avail = tp->rcv_nxt - tp->copied_seq, target = (uint32_t)tp->sk.rcvlowat;

	/* the urgent byte, read by itself or not, stands there until the next read passes it */
	if (urgent_hidden(tp) && tp->urg_seq == tp->copied_seq)
		target++;
	if (!avail)
		return false;
	return avail >= target || fn_tcp_rx_pressed(tp);
}

/* tcp_poll */
unsigned fn_tcp_poll(struct fn_sock *sk)
{
	struct fn_tcp *tp = fn_tcp_sk(sk);
	unsigned mask = 0;

	if (fn_likely(sk->tcp_state == FN_TCP_ESTABLISHED && !sk->shut && !sk->error && !tp->urg_data)) {
		if (tp->rcv_nxt != tp->copied_seq && fn_tcp_data_ready(tp))
			mask = POLLIN | POLLRDNORM;
		if (fn_likely(fn_tcp_writable(tp)))
			return mask | POLLOUT | POLLWRNORM;
		sk->nospace = true;
		return mask;
	}
	if (sk->tcp_state == FN_TCP_LISTEN)
		return tp->l.accept_head ? POLLIN | POLLRDNORM : 0;
	if (sk->shut == (FN_SHUT_RD | FN_SHUT_WR) || sk->tcp_state == FN_TCP_CLOSED)
		mask |= POLLHUP;
	if (sk->shut & FN_SHUT_RD)
		mask |= POLLIN | POLLRDNORM | POLLRDHUP;
	if (sk->tcp_state != FN_TCP_SYN_SENT && sk->tcp_state != FN_TCP_SYN_RCVD) {
		if (readable(tp))
			mask |= POLLIN | POLLRDNORM;
		if (sk->shut & FN_SHUT_WR || fn_tcp_writable(tp))
			mask |= POLLOUT | POLLWRNORM;
		else
			sk->nospace = true;
		if (tp->urg_data & FN_URG_VALID)
			mask |= POLLPRI;
	}
	if (sk->error)
		mask |= POLLERR;
	return mask;
}
