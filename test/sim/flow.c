/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The programs of a TCP connection's ends and of listeners, and what must hold between the two ends of a flow: every byte
 * once and in order, end of file exactly where the other side put it, errors only where somebody broke the connection.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "sim.h"
#include "stack/wire.h"

#define GIVE_UP		(300 * FN_NSEC)	/* a program's own patience, where the flow may fail */
#define CHUNK		65536

static struct sim_end *other(const struct sim_end *e)
{
	return &e->flow->end[!e->index];
}

static bool may_fail(const struct sim_end *e)
{
	return e->app.s->starved || (e->flow->kind != FLOW_CLEAN && e->flow->kind != FLOW_CROSS);
}

/* It may wait for what never comes, and has a time limit, as programs have. */
static bool gives_up(const struct sim_end *e)
{
	return e->app.s->starved || e->flow->kind == FLOW_CROWD;
}

static void wake_at(struct sim_end *e, uint64_t when)
{
	when = fn_max(when, e->app.s->now + 1);
	e->app.due = fn_min(e->app.due, when);
}

static uint64_t word_at(uint64_t key, uint64_t index)
{
	return sim_mix(key + index * 0x9e3779b97f4a7c15ull);
}

void sim_stream_fill(uint64_t key, uint64_t off, uint8_t *buf, size_t len)
{
	size_t n, i;
	uint64_t w;

	for (i = 0; i < len; i += n) {
		w = word_at(key, (off + i) / 8) >> ((off + i) % 8 * 8);
		n = fn_min(len - i, (size_t)(8 - (off + i) % 8));
		memcpy(buf + i, &w, n);
	}
}

uint64_t sim_stream_check(uint64_t key, uint64_t off, const uint8_t *buf, size_t len)
{
	size_t n, i;
	uint64_t w;

	for (i = 0; i < len; i += n) {
		w = word_at(key, (off + i) / 8) >> ((off + i) % 8 * 8);
		n = fn_min(len - i, (size_t)(8 - (off + i) % 8));
		if (memcmp(buf + i, &w, n))
			return off + i;
	}
	return off + len;
}

void sim_end_describe(const struct sim_end *e, char *buf, size_t size)
{
	static const char *const kinds[] = {"clean", "cross", "early", "abort", "refused", "crowd"};
	static const char *const phases[] = {"idle", "connecting", "open", "done"};

	snprintf(buf, size, "flow %u.%u (%s, %s, side %c) state %u: sent %llu/%llu, read %llu/%llu%s%s%s, poll %#x, "
		 "rx_charged %u/%u tx_charged %u/%u", e->flow->number, e->index, kinds[e->flow->kind], phases[e->phase],
		 "ab"[e->app.side], e->sk ? e->sk->tcp_state : 0, (unsigned long long)e->sent, (unsigned long long)e->total,
		 (unsigned long long)e->rcvd, (unsigned long long)other(e)->total, e->wr_done ? ", FIN" : "",
		 e->eof ? ", EOF" : "", e->failed ? ", failed" : "", e->sk ? fn_sock_poll(e->sk) : 0,
		 e->sk ? e->sk->rx_charged : 0, e->sk ? e->sk->rcvbuf : 0, e->sk ? e->sk->tx_charged : 0,
		 e->sk ? e->sk->sndbuf : 0);
}

/* ---- the end of an end ---- */

static void end_done(struct sim_end *e)
{
	if (e->phase == END_DONE)
		return;
	e->phase = END_DONE;
	e->app.s->progress = e->app.s->now;
	if (other(e)->phase == END_DONE)
		e->app.s->unfinished--;
}

static void end_close(struct sim_end *e)
{
	struct sim *s = e->app.s;

	sim_note(s, &e->app, "close (sent %llu, read %llu)", (unsigned long long)e->sent, (unsigned long long)e->rcvd);
	if (!e->wr_done && !e->aborted) {
		e->wr_done = true;
		e->fin_at = e->sent;
	}
	fn_sock_close(e->sk);
	e->sk = NULL;
	end_done(e);
	/* Whom the other side may never meet ends with it. */
	if (other(e)->phase == END_IDLE && may_fail(e))
		end_done(other(e));
}

/* Somebody must have broken the connection. */
static bool error_explained(const struct sim_end *e, int error)
{
	if (e->app.s->starved && (error == ECONNRESET || error == EPIPE || error == ETIMEDOUT || error == ECONNREFUSED ||
				   error == EHOSTUNREACH))
		return true;
	switch (e->flow->kind) {
	case FLOW_CLEAN:
	case FLOW_CROSS:
		return false;
	case FLOW_EARLY:
	case FLOW_ABORT:
		return (error == ECONNRESET || error == EPIPE || error == ETIMEDOUT) && other(e)->phase == END_DONE;
	case FLOW_REFUSED:
		return error == ECONNREFUSED;
	case FLOW_CROWD:
		return error == ECONNRESET || error == EPIPE || error == ETIMEDOUT;
	case FLOW_KINDS:
		break;
	}
	return false;
}

static void end_broken(struct sim_end *e, int error)
{
	struct sim *s = e->app.s;

	sim_note(s, &e->app, "error %s", strerror(error));
	e->failed = true;
	e->error = error;
	sim_check(s, error_explained(e, error), "flow %u.%u: unexpected error %s (sent %llu/%llu, read %llu/%llu)",
		  e->flow->number, e->index, strerror(error), (unsigned long long)e->sent, (unsigned long long)e->total, (unsigned long long)e->rcvd,
		  (unsigned long long)other(e)->total);
	end_close(e);
}

/* ---- opening ---- */

static void set(struct sim_end *e, enum fn_opt opt, int value)
{
	int err = fn_sock_setopt(e->sk, opt, value);

	sim_check(e->app.s, !err, "option %d = %d: %s", (int)opt, value, strerror(-err));
}

static void end_options(struct sim_end *e)
{
	if (e->sndbuf)
		set(e, FN_OPT_SNDBUF, (int)e->sndbuf);
	if (e->rcvbuf)
		set(e, FN_OPT_RCVBUF, (int)e->rcvbuf);
	if (e->maxseg && e->phase == END_IDLE)
		set(e, FN_OPT_MAXSEG, (int)e->maxseg);
	if (e->nodelay)
		set(e, FN_OPT_NODELAY, 1);
	if (e->quickack)
		set(e, FN_OPT_QUICKACK, 1);
	if (e->oob || other(e)->oob)
		set(e, FN_OPT_OOBINLINE, 1);
	if (e->clamp)
		set(e, FN_OPT_WINDOW_CLAMP, (int)e->clamp);
	if (e->notsent)
		set(e, FN_OPT_NOTSENT_LOWAT, (int)e->notsent);
	if (e->rcvlowat)
		set(e, FN_OPT_RCVLOWAT, (int)e->rcvlowat);
	if (e->keepalive) {
		set(e, FN_OPT_KEEPALIVE, 1);
		set(e, FN_OPT_KEEPIDLE, 1);
		set(e, FN_OPT_KEEPINTVL, 1);
		set(e, FN_OPT_KEEPCNT, 15);
	}
	/* Who may be left without a word (a lost RST) must find out. */
	if (may_fail(e) && !e->keepalive) {
		set(e, FN_OPT_KEEPALIVE, 1);
		set(e, FN_OPT_KEEPIDLE, 20);
		set(e, FN_OPT_KEEPINTVL, 5);
		set(e, FN_OPT_KEEPCNT, 8);
	}
}

static void end_bind(struct sim_end *e)
{
	struct sim *s = e->app.s;
	struct fn_ep ep = {.port = fn_be16((uint16_t)(20000 + e->flow->number))};
	int err;

	if (e->flow->kind != FLOW_CROSS)
		return;
	set(e, FN_OPT_REUSEADDR, 1);
	err = fn_sock_bind(e->sk, &ep);
	sim_check(s, !err, "flow %u.%u: bind: %s", e->flow->number, e->index, strerror(-err));
}

/* No socket or no port is free, as when all are in TIME_WAIT: programs try again later. Starved connections, which cannot even
 * ask for the other's address, keep theirs until they time out (RFC 1122, 4.2.3.5: R2), one after the other. */
static void end_later(struct sim_end *e)
{
	unsigned most = e->app.s->starved ? 3000 : 300;

	if (e->sk)
		fn_sock_close(e->sk);
	e->sk = NULL;
	e->phase = END_IDLE;
	sim_check(e->app.s, e->flow->tries++ < most, "flow %u: no socket or no port, for ever", e->flow->number);
	wake_at(e, (e->app.s->now / FN_NSEC + 1) * FN_NSEC);
}

static void end_start(struct sim_end *e)
{
	struct sim *s = e->app.s;
	struct fn_ep to = {.ip4 = sim_ip(other(e)->app.side), .port = e->flow->sport};
	int err;

	e->sk = fn_sock_open(s->side[e->app.side].st, FN_SOCK_TCP, e);
	if (!e->sk) {
		end_later(e);
		return;
	}
	end_options(e);
	end_bind(e);
	e->phase = END_CONNECTING;
	e->flow->give_up = s->now + GIVE_UP;
	if (may_fail(e))
		wake_at(e, e->flow->give_up);
	err = fn_sock_connect(e->sk, &to);
	sim_note(s, &e->app, "connect: %s", strerror(-err));
	if (err == -EADDRNOTAVAIL || err == -EADDRINUSE) {
		end_later(e);
		return;
	}
	sim_check(s, err == -EINPROGRESS, "flow %u: connect: %s", e->flow->number, strerror(-err));
	if (e->flow->kind != FLOW_CROSS)
		e->flow->cport = e->sk->local.port;
}

/* ARP goes unanswered on a bad line: the attempt ends with EHOSTUNREACH, and a program tries again. So does the other
 * end of a simultaneous open, whose SYN met nobody meanwhile. */
static bool end_again(struct sim_end *e, int error)
{
	bool crossed = e->flow->kind == FLOW_CROSS && error == ECONNREFUSED;
	unsigned most = e->app.s->starved ? 20 : 300;

	if ((error != EHOSTUNREACH && !crossed) || e->flow->tries++ >= most)
		return false;
	sim_note(e->app.s, &e->app, "unreachable, again");
	fn_sock_close(e->sk);
	e->sk = NULL;
	e->phase = END_IDLE;
	/* Both ends of a simultaneous open at the same instant. */
	wake_at(e, (e->app.s->now / FN_NSEC + 1) * FN_NSEC);
	return true;
}

static bool end_connected(struct sim_end *e)
{
	struct sim *s = e->app.s;
	unsigned ev = fn_sock_poll(e->sk);
	int error;

	if (may_fail(e) && s->now >= e->flow->give_up) {
		end_close(e);
		return false;
	}
	if (!(ev & (POLLOUT | POLLERR | POLLHUP))) {
		if (may_fail(e))
			wake_at(e, e->flow->give_up);
		return false;
	}
	error = fn_sock_take_error(e->sk);
	if (error && end_again(e, error))
		return false;
	sim_check(s, e->flow->kind != FLOW_REFUSED || error, "flow %u: connected to nobody", e->flow->number);
	if (error) {
		end_broken(e, error);
		return false;
	}
	sim_note(s, &e->app, "connected");
	e->phase = END_OPEN;
	s->progress = s->now;
	return true;
}

/* ---- reading ---- */

static void check_bytes(struct sim_end *e, const uint8_t *buf, size_t n)
{
	uint64_t bad = sim_stream_check(other(e)->key, e->rcvd, buf, n);

	sim_check(e->app.s, e->rcvd + n <= other(e)->sent, "flow %u.%u: read %llu bytes, %llu were sent", e->flow->number,
		  e->index, (unsigned long long)(e->rcvd + n), (unsigned long long)other(e)->sent);
	sim_check(e->app.s, bad == e->rcvd + n, "flow %u.%u: wrong byte at %llu", e->flow->number, e->index,
		  (unsigned long long)bad);
}

static void read_eof(struct sim_end *e)
{
	struct sim *s = e->app.s;
	const struct sim_end *o = other(e);

	sim_note(s, &e->app, "EOF at %llu", (unsigned long long)e->rcvd);
	e->eof = true;
	s->progress = s->now;
	sim_check(s, o->wr_done && e->rcvd == o->fin_at, "flow %u.%u: EOF at %llu, the other side %s %llu", e->flow->number,
		  e->index, (unsigned long long)e->rcvd, o->wr_done ? "ended at" : "did not end, it sent",
		  (unsigned long long)o->sent);
}

static ssize_t read_once(struct sim_end *e, uint8_t *buf, size_t want)
{
	struct iovec iov[2] = {{buf, want / 3}, {buf + want / 3, want - want / 3}};
	size_t readable = fn_tcp_readable(e->sk);
	ssize_t n, peeked = 0;
	uint64_t at;

	if (e->peek) {
		peeked = fn_tcp_recv(e->sk, iov, 2, 0, MSG_PEEK, NULL);
		/* Like a read, a peek takes the pending error. */
		if (peeked < 0 && peeked != -EAGAIN)
			return peeked;
		if (peeked > 0)
			check_bytes(e, buf, (size_t)peeked);
		memset(buf, 0xee, want);
	}
	n = fn_tcp_recv(e->sk, iov, 2, 0, 0, &at);
	sim_check(e->app.s, !e->peek || n == peeked, "flow %u.%u: peek gave %zd, read %zd", e->flow->number, e->index, peeked, n);
	sim_check(e->app.s, n > 0 || !readable, "flow %u.%u: %zu bytes readable, read gave %zd", e->flow->number, e->index,
		  readable, n);
	return n;
}

/* False: the end is no more. */
static bool end_read(struct sim_end *e)
{
	static uint8_t buf[CHUNK];
	struct sim *s = e->app.s;

	while (!e->eof && s->now >= e->read_at) {
		ssize_t n = read_once(e, buf, (size_t)sim_range(&s->rng, 1, e->read_max));

		if (n == -EAGAIN) {
			sim_check(s, !(fn_sock_poll(e->sk) & POLLIN), "flow %u.%u: POLLIN, but nothing to read",
				  e->flow->number, e->index);
			return true;
		}
		if (n < 0) {
			end_broken(e, (int)-n);
			return false;
		}
		if (n == 0) {
			read_eof(e);
			break;
		}
		check_bytes(e, buf, (size_t)n);
		e->rcvd += (uint64_t)n;
		s->bytes += (uint64_t)n;
		s->progress = s->now;
		if (e->quits && e->sent + e->rcvd >= e->quit_after)
			return true;
		if (sim_chance(&s->rng, e->read_pause))
			e->read_at = s->now + sim_log(&s->rng, SIM_USEC, e->pause_max);
		if (e->rcvd >= e->stop_at) {
			sim_note(s, &e->app, "stops reading at %llu", (unsigned long long)e->rcvd);
			e->read_at = s->now + e->stop_for;
			e->stop_at = UINT64_MAX;
		}
	}
	if (!e->eof)
		wake_at(e, e->read_at);
	return true;
}

/* ---- writing ---- */

static ssize_t write_reserved(struct sim_end *e, size_t want)
{
	struct iovec iov[64];
	uint64_t off = e->sent;
	struct fn_pkt *chain;
	int n = 64, i, err = 0;
	size_t room = 0;

	chain = fn_tcp_reserve(e->sk, want, iov, &n, &err);
	if (!chain)
		return err;
	for (i = 0; i < n; i++) {
		sim_stream_fill(e->key, off, iov[i].iov_base, iov[i].iov_len);
		off += iov[i].iov_len;
		room += iov[i].iov_len;
	}
	return fn_tcp_commit(e->sk, chain, fn_min(room, want), 0);
}

static ssize_t write_once(struct sim_end *e, size_t want)
{
	static uint8_t buf[CHUNK];
	struct sim_rng *r = &e->app.s->rng;
	size_t skip = sim_chance(r, 10) ? 3 : 0;
	struct iovec iov[3] = {{buf, skip}, {buf, want / 2}, {buf + want / 2, want - want / 2}};
	unsigned flags = e->sent + want < e->total && sim_chance(r, 5) ? MSG_MORE : 0;

	if (e->reserve && sim_chance(r, 50))
		return write_reserved(e, want);
	sim_stream_fill(e->key, e->sent, buf, want);
	if (e->oob && sim_chance(r, 10))
		flags |= MSG_OOB;
	return fn_tcp_send(e->sk, iov, 3, skip, flags);
}

static bool end_write(struct sim_end *e)
{
	struct sim *s = e->app.s;

	while (e->sent < e->total && s->now >= e->write_at) {
		size_t want = fn_min((size_t)sim_range(&s->rng, 1, e->write_max), (size_t)(e->total - e->sent));
		ssize_t n;

		if (e->cork)
			set(e, FN_OPT_CORK, sim_chance(&s->rng, 70));
		n = write_once(e, want);
		if (n == -EAGAIN)
			return true;
		if (n < 0) {
			end_broken(e, (int)-n);
			return false;
		}
		sim_check(s, n && (size_t)n <= want, "flow %u.%u: wrote %zd of %zu", e->flow->number, e->index, n, want);
		e->sent += (uint64_t)n;
		s->progress = s->now;
		if (e->quits && e->sent + e->rcvd >= e->quit_after)
			return true;
		if (sim_chance(&s->rng, e->write_pause))
			e->write_at = s->now + sim_log(&s->rng, SIM_USEC, e->pause_max);
	}
	if (e->sent < e->total)
		wake_at(e, e->write_at);
	else if (e->cork)
		set(e, FN_OPT_CORK, 0);
	return true;
}

/* ---- ending ---- */

static bool quit_now(struct sim_end *e)
{
	if (!e->quits || e->sent + e->rcvd < e->quit_after)
		return false;
	if (e->flow->kind == FLOW_ABORT) {
		set(e, FN_OPT_LINGER, 0);
		e->aborted = true;
	}
	end_close(e);
	return true;
}

static void end_finish(struct sim_end *e)
{
	struct sim *s = e->app.s;
	int err;

	if (!e->wr_done && e->sent == e->total) {
		if (s->now < e->flow->close_at) {
			wake_at(e, e->flow->close_at);
			return;
		}
		if (e->close_directly && e->rcvd == other(e)->total && e->flow->kind < FLOW_EARLY) {
			end_close(e);
			return;
		}
		err = fn_sock_shutdown(e->sk, FN_SHUT_WR);
		sim_note(s, &e->app, "shutdown: %s", strerror(-err));
		if (err == -ENOTCONN) {
			end_broken(e, ECONNRESET);
			return;
		}
		sim_check(s, !err, "flow %u.%u: shutdown: %s", e->flow->number, e->index, strerror(-err));
		e->wr_done = true;
		e->fin_at = e->sent;
		s->progress = s->now;
	}
	if (e->wr_done && e->eof)
		end_close(e);
}

void sim_end_run(struct sim_end *e)
{
	struct sim *s = e->app.s;

	if (e->phase == END_DONE)
		return;
	if (e->phase == END_IDLE && (e->index == 0 || e->flow->kind == FLOW_CROSS))
		end_start(e);
	if (e->phase == END_CONNECTING && e->sk && !end_connected(e))
		return;
	if (e->phase != END_OPEN || quit_now(e))
		return;
	if (gives_up(e) && s->now >= e->flow->give_up) {
		end_close(e);
		return;
	}
	if (!end_read(e) || quit_now(e) || !end_write(e) || quit_now(e))
		return;
	end_finish(e);
	if (e->phase == END_OPEN && gives_up(e))
		wake_at(e, e->flow->give_up);
}

/* ---- listeners ---- */

void sim_listener_open(struct sim_listener *l)
{
	struct sim *s = l->app.s;
	struct fn_ep ep = {.port = l->port};
	int err;

	l->sk = fn_sock_open(s->side[l->app.side].st, FN_SOCK_TCP, l);
	sim_check(s, l->sk, "no socket");
	/* Inherited: urgent bytes stay in the stream of those that are not accepted yet. */
	err = fn_sock_setopt(l->sk, FN_OPT_OOBINLINE, 1);
	if (!err)
		err = fn_sock_bind(l->sk, &ep);
	if (!err)
		err = fn_tcp_listen(l->sk, l->backlog);
	sim_check(s, !err, "listen: %s", strerror(-err));
}

static struct sim_flow *flow_of(struct sim *s, const struct fn_sock *sk, unsigned side)
{
	struct sim_flow *f, *best = NULL;

	for (f = s->flow; f < s->flow + s->flows; f++)
		if (f->kind != FLOW_CROSS && f->end[1].app.side == side && f->cport == sk->remote.port && f->sport == sk->local.port &&
		    sk->remote.ip4 == sim_ip(f->end[0].app.side) && !f->accepted && f->end[0].phase != END_IDLE)
			best = f;
	return best;
}

static void accepted(struct sim_listener *l, struct fn_sock *sk)
{
	struct sim *s = l->app.s;
	struct sim_flow *f = flow_of(s, sk, l->app.side);
	struct sim_end *e;

	/* An ACK that the wire kept back shows its cookie a second time: the price of keeping no state (RFC 4987 3.6). */
	if (!f && s->side[l->app.side].st->stats.tcp_syn_cookies_ok) {
		fn_sock_close(sk);
		return;
	}
	sim_check(s, f, "a connection was accepted that nobody opened (port %u)", fn_be16(sk->remote.port));
	f->accepted = true;
	s->progress = s->now;
	e = &f->end[1];
	if (e->phase == END_DONE) {
		/* Its client has gone, and this end was written off. */
		sk->user = e;
		fn_sock_close(sk);
		return;
	}
	sim_check(s, e->phase == END_IDLE, "flow %u was accepted twice", f->number);
	e->sk = sk;
	sk->user = e;
	e->phase = END_OPEN;
	end_options(e);
	sim_note(s, &e->app, "accepted");
	sim_end_run(e);
}

void sim_listener_run(struct sim_listener *l)
{
	struct sim *s = l->app.s;
	struct fn_sock *sk;

	if (s->closing)
		return;
	if (!l->accept_at && fn_sock_poll(l->sk) & POLLIN)
		l->accept_at = s->now + l->delay + 1;
	if (l->delay && s->now < l->accept_at) {
		l->app.due = l->accept_at;
		return;
	}
	l->accept_at = 0;
	while ((sk = fn_tcp_accept(l->sk, l)))
		accepted(l, sk);
	sim_check(s, !(fn_sock_poll(l->sk) & POLLIN), "listener: POLLIN, but nothing to accept");
}
