/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See convert.h. All of a conversion happens under the engine's lock: the relay exists, has been sent its end, and the
 * numbers are the kernel's when it is released. f->sk then is a closed socket of nobody's, so that a call that was under
 * way finds the end, looks at the kind of its file, and goes on in the kernel.
 */
#include "shim/convert.h"

#include <errno.h>
#include <string.h>

#include "shim/bell.h"
#include "shim/convert_name.h"
#include "shim/decide.h"
#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/epoll.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/listen.h"
#include "shim/relay.h"
#include "shim/rendezvous.h"
#include "shim/sockfile.h"
#include "shim/sockopt.h"
#include "shim/spare.h"
#include "shim/wait.h"
#include "stack/tcp.h"

/* What files of converted connections point at: closed, belongs to nobody, is never changed. */
static struct fn_tcp gone;

static struct fn_sock *nobody(void)
{
	gone.sk.kind = FN_SOCK_TCP;
	gone.sk.tcp_state = FN_TCP_CLOSED;
	gone.sk.st = fn_engine.st;
	gone.sk.rcvlowat = 1;
	gone.sk.images = ~0ull;		/* so it is never the last one who drops it (give_up_lost()) */
	return &gone.sk;
}

/* ---- this image's numbers ---- */

void fn_convert_state(const struct fn_file *f, int end)
{
	int lowat = f->sk->rcvlowat;
	struct timeval tv;

	fn_sys_fcntl(end, F_SETFL, f->flags & (O_NONBLOCK | O_ASYNC));
	if (f->owner)
		fn_sys_fcntl(end, F_SETOWN, f->owner);
	if (f->owner_sig)
		fn_sys_fcntl(end, F_SETSIG, f->owner_sig);
	tv = (struct timeval){ (time_t)(f->rcvtimeo / FN_NSEC), (suseconds_t)(f->rcvtimeo % FN_NSEC / 1000) };
	fn_sys_setsockopt(end, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	tv = (struct timeval){ (time_t)(f->sndtimeo / FN_NSEC), (suseconds_t)(f->sndtimeo % FN_NSEC / 1000) };
	fn_sys_setsockopt(end, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (lowat > 1)
		fn_sys_setsockopt(end, SOL_SOCKET, SO_RCVLOWAT, &lowat, sizeof(lowat));
	if (f->sk->shut & FN_SHUT_WR)
		fn_sys(SYS_shutdown, end, SHUT_WR);
}

/* Every number of f becomes `end`, with its close-on-exec flag. */
static void replace_numbers(struct fn_file *f, int end)
{
	fn_lock_take(&fn_fdtable.lock);
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		int flags;

		if (fn_fdtable.file[fd] != f)
			continue;
		flags = fn_sys_fcntl((int)fd, F_GETFD, 0);
		fn_sys(SYS_dup3, end, fd, flags >= 0 && flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	}
	fn_lock_release(&fn_fdtable.lock);
}

/* The entries go; the references they held are given back when no lock is held (the last one frees). */
static unsigned clear_entries(struct fn_file *f)
{
	unsigned held = 0;

	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] == f) {
			fn_fd_remove((int)fd);
			held++;
		}
	return held;
}

/* From here on f is the kernel's, with what is under its numbers. With the lock held, and a reference. */
static void become_kernel(struct fn_file *f)
{
	unsigned held;

	fn_epoll_to_kernel(f);
	f->sk = nobody();
	f->ops = &fn_kernel_ops;
	f->kind = FN_FILE_KERNEL;
	held = clear_entries(f);
	fn_file_wake(f, ~0u);
	/* the caller's reference remains */
	while (held--)
		fn_file_put(f);
}

/* With `end` under its numbers. */
static void become_end(struct fn_file *f, int end)
{
	fn_convert_any = !fn_engine.no_names;
	fn_convert_state(f, end);
	replace_numbers(f, end);
	become_kernel(f);
}

void fn_convert_back(struct fn_file *f, int fd)
{
	struct fn_sock *sk = f->sk;

	fn_sockopt_give(f, fd);
	fn_convert_state(f, fd);
	if (sk->shut & FN_SHUT_RD)	/* the program's: nothing has come */
		fn_sys(SYS_shutdown, fd, SHUT_RD);
	become_kernel(f);
	sk->images = 0;
	if (fn_engine.shares)
		fn_fabric_held(sk);
	fn_sock_disconnect(sk);
	fn_sock_close(sk);
}

/* ---- the connection ---- */

struct pair {
	int end;	/* the program's */
	int far;	/* the relay's */
};

static int make_pair(struct fn_file *f, struct pair *p)
{
	int fds[2], ret = (int)fn_sys(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);

	if (ret < 0)
		return ret;
	p->end = fds[0];
	p->far = fds[1];
	fn_sys_fcntl(p->far, F_SETFL, O_NONBLOCK);
	fn_convert_bind_name(p->far, f);
	return 0;
}

static void close_pair(const struct pair *p)
{
	fn_sys_close(p->end);
	fn_sys_close(p->far);
}

/* The other images that hold sk get the program's end as well. Whose bell is full, or who is owed one already, gets it from
 * the relay, as soon as it enters the library: see wait_for_gifts(). */
static void give_others(struct fn_sock *sk, uint64_t others, int end, uint64_t owed)
{
	struct fn_letter l = { .kind = FN_LETTER_GIVE, .sk = sk };

	if (!others)
		return;
	for (unsigned i = 0; i < FN_IMAGES; i++)
		if ((others & ~owed) >> i & 1) {
			int ret = fn_bell_send(i, &l, end);

			if (!ret || ret == -ECONNREFUSED)
				fn_engine.shared->untaken &= ~(1ull << i);
		}
	fn_engine.conversions++;
	fn_engine.shared->conversions++;
	fn_bell_ring(others);
}

/* Both letters come in one hold of the lock: what is kept without an adoption has not been converted. */
static int tell_relay(unsigned relay, struct fn_sock *sk, const struct pair *p, uint64_t others)
{
	struct fn_letter keep = { .kind = FN_LETTER_KEEP, .sk = sk, .cookie = others };
	struct fn_letter adopt = { .kind = FN_LETTER_ADOPT, .sk = sk };
	int ret = others ? fn_bell_send(relay, &keep, p->end) : 0;

	return ret < 0 ? ret : fn_bell_send(relay, &adopt, p->far);
}

/* The relay, made when there is none, gets its end. Its image number or -errno. */
static int give_relay(struct fn_sock *sk, const struct pair *p, uint64_t others)
{
	int relay = fn_relay_need(), ret = relay;

	if (relay >= 0)
		ret = tell_relay((unsigned)relay, sk, p, others);
	if (ret != -ECONNREFUSED)
		return ret < 0 ? ret : relay;
	fn_relay_lost();
	relay = fn_relay_need();
	ret = relay < 0 ? relay : tell_relay((unsigned)relay, sk, p, others);
	return ret < 0 ? ret : relay;
}

/* The relay carries an urgent byte as one; whether the program has it in the stream is its own end's affair. */
static void hand_over_urgent(struct fn_sock *sk, int end)
{
	int on = 1;

	if (!(sk->opts & FN_SO_OOBINLINE))
		return;
	fn_sys_setsockopt(end, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	fn_sock_setopt(sk, FN_OPT_OOBINLINE, 0);
}

/* The pair is made: the connection goes to the relay and to the other images. Nothing has changed when it fails. */
static int hand_over(struct fn_file *f, const struct pair *p)
{
	struct fn_sock *sk = f->sk;
	uint64_t others = sk->images & ~(1ull << fn_engine.image), owed = fn_engine.shared->untaken;
	int relay = give_relay(sk, p, others);
	bool eof = false;

	if (relay < 0)
		return relay;
	fn_engine.shared->untaken |= others;	/* whoever dies here leaves it to the relay */
	sk->images |= 1ull << relay;
	fn_fabric_held(sk);	/* he is there before we are not */
	sk->images = 1ull << relay;
	fn_fabric_held(sk);
	sk->user = FN_RELAY_USER;
	hand_over_urgent(sk, p->end);
	fn_relay_move_in(sk, p->far, &eof);
	give_others(sk, others, p->end, owed);
	fn_bell_ring(1ull << relay);
	return 0;
}

/* The keeper, which makes no descriptors, leaves it: the next conversion tells again, and so does the name (fn_group_come()). */
static void take_cede(void)
{
	if (fn_engine.cedes == fn_engine.shared->cedes || fn_thread_self()->keeper)
		return;
	fn_engine.cedes = fn_engine.shared->cedes;
	fn_fabric_cede(&fn_engine.shared->ceded);
}

/* Whoever else of us has f's listener hears of it when it enters; who sleeps, now, before another client has come. */
static void cede_listener(const struct fn_file *f)
{
	struct fn_shared *sh = fn_engine.shared;

	if (!f->accepted || !f->sk->remote.peer)
		return;
	sh->ceded = f->sk->local;
	sh->cedes++;
	sh->conversions++;
	take_cede();
	fn_bell_ring(~fn_engine.bit);
}

static int convert_connection(struct fn_file *f)
{
	struct pair p;
	int ret = fn_engine.no_family ? -EPERM : make_pair(f, &p);

	if (ret < 0)
		return ret;
	ret = hand_over(f, &p);
	if (ret == 0) {
		cede_listener(f);
		become_end(f, p.end);
	}
	close_pair(&p);
	return ret;
}

/* A socket that never connected, or failed to: the kernel's, which may connect it anew. */
static void convert_idle(struct fn_file *f, int fd, enum fn_reason why)
{
	fn_engine_lock();
	fn_engine_drop(f);
	fn_engine_unlock();
	fn_sys_fcntl(fd, F_SETFL, f->flags);
	fn_decide_leave(f, fd, why, 0);
}

/*
 * The relay's bell is full: as many letters as the kernel's queue of datagrams takes (net.unix.max_dgram_qlen, 10) have come
 * since it ran last. It gets to run, for that long.
 */
#define RELAY_PATIENCE	(2 * FN_NSEC)

static bool relay_may_run(uint64_t until)
{
	struct timespec ts = { .tv_nsec = FN_MSEC };

	if (fn_now() >= until)
		return false;
	fn_sys_ppoll(NULL, 0, &ts, NULL);
	return true;
}

/* Another thread may have been here in between: then nothing is left to do. */
static int convert_tcp(struct fn_file *f)
{
	uint64_t until = fn_now() + RELAY_PATIENCE;
	int ret;

	fn_fabric_settle();
	do {
		ret = 0;
		fn_engine_lock();
		if (f->kind == FN_FILE_TCP)
			ret = convert_connection(f);
		fn_engine_unlock();
	} while (ret == -EAGAIN && relay_may_run(until));
	return ret;
}

int fn_convert_for(struct fn_file *f, enum fn_reason why)
{
	int fd;

	if (f->kind == FN_FILE_TCP && f->sk->conn != FN_CONN_NONE && f->sk->conn != FN_CONN_ENDING)
		return convert_tcp(f);
	fd = fn_fd_number(f, -1);
	if (fd >= 0 && f->kind == FN_FILE_TCP && !f->accepted)
		convert_idle(f, fd, why);
	else if (fd >= 0 && f->kind == FN_FILE_SOCKET)
		fn_decide_leave(f, fd, why, 0);
	else if (fd >= 0 && f->kind == FN_FILE_LISTEN)
		fn_listen_plain(f, fd);
	else if (f->kind == FN_FILE_UDP)
		fn_dgram_retire(f);
	return 0;
}

int fn_convert(struct fn_file *f)
{
	return fn_convert_for(f, FN_REASON_INHERITED);
}

static int convert_fd(int fd, bool sent)
{
	struct fn_file *f = fn_fd_get(fd);
	int ret;

	if (!f)
		return 0;
	ret = fn_convert(f);
	if (sent && f->kind == FN_FILE_LISTEN) {
		fn_engine_lock();
		fn_rendezvous_give(f);
		fn_engine_unlock();
	}
	fn_file_put(f);
	return ret;
}

int fn_convert_fd(int fd)
{
	return convert_fd(fd, false);
}

int fn_convert_sent(int fd)
{
	return convert_fd(fd, true);
}

int fn_convert_inheritable(void)
{
	int ret = 0;

	fn_spare_forget();
	for (unsigned fd = 0; fd < fn_fdtable.top && ret == 0; fd++) {
		struct fn_file *f = fn_fd_meant((int)fd) ? fn_fd_get((int)fd) : NULL;
		int flags;

		if (!f)
			continue;
		flags = fn_sys_fcntl((int)fd, F_GETFD, 0);
		if (f->kind == FN_FILE_TCP && flags >= 0 && !(flags & FD_CLOEXEC))
			ret = fn_convert(f);
		fn_file_put(f);
	}
	fn_listen_plain_all(true);
	return ret;
}

int fn_convert_all(void)
{
	int n = 0, ret = 0;

	for (unsigned fd = 0; fd < fn_fdtable.top && ret == 0; fd++) {
		struct fn_file *f = fn_fd_get((int)fd);

		if (!f)
			continue;
		if (f->kind == FN_FILE_TCP && f->sk->conn != FN_CONN_NONE) {
			ret = fn_convert(f);
			n++;
		}
		fn_file_put(f);
	}
	return ret < 0 ? ret : n;
}

/* ---- what other images have converted ---- */

/* A connection that was ours, and is not any more. */
static bool is_lost(const struct fn_file *f)
{
	return f->kind == FN_FILE_TCP && f->sk && f->sk != &gone.sk && !(f->sk->images & 1ull << fn_engine.image);
}

/* A reference to any other file is not taken: it could be the last one that is given back, which wants the lock that we have. */
static void take_gift(const struct fn_sock *sk, int end)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];

		if (!f || !is_lost(f) || f->sk != sk || !fn_fd_hold(f))
			continue;
		become_end(f, end);
		fn_file_put(f);
	}
}

void fn_convert_letters(void)
{
	struct fn_letter l;
	int fd;

	fn_engine.shared->rung &= ~(1ull << fn_engine.image);
	fn_engine.shared->holders[fn_engine.image] = 0;
	while (fn_bell_take(&l, &fd)) {
		if (l.kind == FN_LETTER_GIVE && fd >= 0)
			take_gift(l.sk, fd);
		if (l.kind == FN_LETTER_HOLDER && fd >= 0)
			fn_holder_letter(&l, fd);
		else if (fd >= 0)
			fn_sys_close(fd);
	}
}

static bool any_lost(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] && is_lost(fn_fdtable.file[fd]))
			return true;
	return false;
}

/* Connections whose new end the relay has not got either, or does not give: all that can be told is that they are over. */
static void give_up_lost(void)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];

		if (f && is_lost(f)) {
			f->sk = nobody();
			fn_file_wake(f, ~0u);
		}
	}
}

/* Connections were converted while this image's bell was full, which it is not now. False: not for ever. */
static bool wait_for_gifts(void)
{
	static uint64_t since;
	uint64_t now = fn_now();

	if (!fn_engine.shared->relay || !any_lost() || (since && now - since > RELAY_PATIENCE)) {
		since = 0;
		return false;
	}
	since = since ? since : now;
	fn_bell_ring(1ull << FN_RELAY_IMAGE);
	return true;
}

bool fn_convert_catch_up(void)
{
	if (!fn_engine.is_relay) {
		fn_convert_letters();
		if (wait_for_gifts())
			return false;
		give_up_lost();
		take_cede();
	}
	fn_engine.conversions = fn_engine.shared->conversions;
	return true;
}

/* ---- calls that were under way ---- */

/* What is left of a vector behind its first `done` bytes, in `cut`; how many elements. */
static int iov_rest(struct iovec *cut, const struct iovec *iov, int iovcnt, size_t done)
{
	int n = 0;

	for (int i = 0; i < iovcnt && n < FN_CONVERT_IOVS; i++) {
		size_t skip = fn_min(done, iov[i].iov_len);

		done -= skip;
		if (skip < iov[i].iov_len)
			cut[n++] = (struct iovec){ (char *)iov[i].iov_base + skip, iov[i].iov_len - skip };
	}
	return n;
}

static ssize_t rest(long call, int fd, const struct iovec *iov, int iovcnt, size_t done, unsigned flags)
{
	struct iovec cut[FN_CONVERT_IOVS];
	struct msghdr msg = { .msg_iov = cut };
	ssize_t n;

	do {
		msg.msg_iovlen = (size_t)iov_rest(cut, iov, iovcnt, done);
		n = msg.msg_iovlen ? fn_sys(call, fd, &msg, flags) : 0;
		done += n > 0 ? (size_t)n : 0;
	} while (n > 0);
	return done ? (ssize_t)done : n;
}

ssize_t fn_convert_rest_send(int fd, const struct iovec *iov, int iovcnt, size_t done, unsigned flags)
{
	return rest(SYS_sendmsg, fd, iov, iovcnt, done, flags & (MSG_NOSIGNAL | MSG_DONTWAIT));
}

ssize_t fn_convert_rest_recv(int fd, const struct iovec *iov, int iovcnt, size_t done, unsigned flags)
{
	return rest(SYS_recvmsg, fd, iov, iovcnt, done, flags & (MSG_WAITALL | MSG_DONTWAIT));
}
