/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The relay process: see relay.h. It runs on a copy of the caller's stack, makes system calls of its own only, takes no
 * lock but the engine's, and allocates from its own mappings. A connection is moved when the stack or its descriptor has
 * said something; what one side does not take stays in the other's queue, so that pressure goes through.
 */
#include "shim/relay.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/wait.h>

#include "shim/bell.h"
#include "shim/convert_name.h"
#include "shim/convert_opt.h"
#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/keeper.h"
#include "shim/port.h"
#include "shim/relay_image.h"
#include "shim/slab.h"
#include "shim/wait.h"

#define CHUNK		65536		/* what one step moves */
#define STEPS		8		/* steps a turn: nobody is starved */
#define OUT_IOVS	64
#define EVENTS		64
#define SILENCE		(60 * FN_NSEC)	/* of peers that have not acknowledged everything: tcp_fin_timeout's default */

/* One converted connection. .sk->user points here while it is on the list. */
struct conn {
	void *link;			/* the slab's */
	struct fn_sock *sk;
	int fd;				/* our end of the pair */
	bool todo;			/* something may be moved */
	bool in_ended;			/* end of file, or no reader: nothing more to the program */
	bool out_ended;			/* end of file: nothing more to the network */
	struct conn *next, **pprev;
	uint32_t number;		/* in the name of .fd */
	struct fn_file file;		/* for questions about options */
};

/* The program's end of one, for images whose bells had no room for it: they wait for it when they enter the library. */
struct gift {
	void *link;			/* the slab's */
	struct fn_sock *sk;
	int end;
	uint64_t owed;			/* images */
	struct gift *next;
};

static struct {
	struct conn *conns;
	struct gift *gifts;
	uint64_t tried;			/* ns: when they were last offered */
	int epfd;			/* the ends, edge-triggered; .opt, as NULL */
	int opt;			/* what is asked about options: convert_opt.h */
	uint64_t bit;			/* in fn_sock.images */
	uint64_t heard;			/* segments that had come by the last look whether to end */
} relay;

static struct fn_slab conns = { .obj_size = sizeof(struct conn) };
static struct fn_slab gifts = { .obj_size = sizeof(struct gift) };
static uint8_t bounce[CHUNK];

/* ---- moving bytes ---- */

/* At the mark: the urgent byte, as one of the socket's own if the kernel has such. False: there is no room now. */
static bool move_urgent_in(struct fn_sock *sk, int fd)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	long n;

	if (fn_likely(!fn_tcp_at_mark(sk)) || fn_tcp_recv(sk, &iov, 1, 0, MSG_OOB | MSG_PEEK, NULL) != 1)
		return true;
	n = fn_sys(SYS_sendto, fd, &byte, 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	if (n == -EOPNOTSUPP)
		n = fn_sys(SYS_sendto, fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
	if (n == 1)
		fn_tcp_recv(sk, &iov, 1, 0, MSG_OOB, NULL);
	return n != -EAGAIN;
}

ssize_t fn_relay_move_in(struct fn_sock *sk, int fd, bool *eof)
{
	struct iovec iov = { bounce, sizeof(bounce) };
	ssize_t total = 0, n;

	for (int i = 0; i < STEPS; i++) {
		if (!move_urgent_in(sk, fd))
			return total;
		iov.iov_len = sizeof(bounce);
		n = fn_tcp_recv(sk, &iov, 1, 0, MSG_PEEK, NULL);
		*eof = n == 0 && !total;
		if (n <= 0)
			return total ? total : n == -EAGAIN ? 0 : n;
		n = fn_sys(SYS_sendto, fd, bounce, n, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
		if (n <= 0)
			return total ? total : n == -EAGAIN || n == -EINTR ? 0 : -EPIPE;
		iov.iov_len = (size_t)n;
		fn_tcp_recv(sk, &iov, 1, 0, MSG_TRUNC, NULL);
		total += n;
	}
	return total;
}

/* Is the next byte of the program's an urgent one? A read stops in front of it. */
static bool at_mark(int fd)
{
	int mark = 0;

	return fn_sys(SYS_ioctl, fd, SIOCATMARK, &mark) == 0 && mark;
}

/* From the program: straight into transmit buffers. Bytes, 0 at the end, -EAGAIN, or the error of either side. */
static ssize_t move_out(struct conn *c)
{
	struct iovec iov[OUT_IOVS];
	int iovcnt = OUT_IOVS, err = 0;
	bool urgent = at_mark(c->fd);
	struct fn_pkt *chain = fn_tcp_reserve(c->sk, urgent ? 1 : CHUNK, iov, &iovcnt, &err);
	ssize_t n;

	if (!chain)
		return err == -EAGAIN ? -EAGAIN : -EPIPE;
	n = fn_sys(SYS_readv, c->fd, iov, iovcnt);
	fn_tcp_commit(c->sk, chain, n > 0 ? (size_t)n : 0, urgent ? MSG_OOB : 0);
	return n;
}

/* ---- one connection ---- */

static void conn_end(struct conn *c)
{
	fn_sys_close(c->fd);
	c->sk->images = 0;
	fn_fabric_held(c->sk);
	fn_sock_close(c->sk);
	*c->pprev = c->next;
	if (c->next)
		c->next->pprev = c->pprev;
	fn_slab_free(&conns, c);
}

/* Has the program closed its end altogether? */
static bool hung_up(const struct conn *c)
{
	struct pollfd pfd = { .fd = c->fd };
	struct timespec zero = { 0, 0 };

	return fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0 && pfd.revents & POLLHUP;
}

/* The network to the program. False: the connection is broken. */
static bool serve_in(struct conn *c)
{
	bool eof = false;
	ssize_t n;

	if (c->in_ended)
		return true;
	n = fn_relay_move_in(c->sk, c->fd, &eof);
	if (n > 0)
		c->todo = true;
	else if (eof)
		fn_sys(SYS_shutdown, c->fd, SHUT_WR);
	else if (n < 0 && n != -EPIPE)
		return false;		/* reset, timed out: the program sees the end, and EPIPE when it writes */
	if (n < 0 || eof)
		c->in_ended = true;
	return true;
}

/* The program to the network. False: nothing more can be carried. */
static bool serve_out(struct conn *c)
{
	ssize_t n = -EAGAIN;

	if (c->out_ended)
		return true;
	for (int i = 0; i < STEPS; i++) {
		n = move_out(c);
		if (n <= 0)
			break;
	}
	if (n > 0)
		c->todo = true;
	if (n > 0 || n == -EAGAIN || n == -EINTR)
		return true;
	if (n == -EPIPE)		/* the connection takes nothing any more; bytes may still come */
		return c->sk->tcp_state != FN_TCP_CLOSED || !c->in_ended;
	if (n < 0) {			/* the program has closed with bytes unread: a reset, as TCP would send */
		fn_sock_disconnect(c->sk);
		return false;
	}
	c->out_ended = true;
	fn_sock_shutdown(c->sk, FN_SHUT_WR);
	return true;
}

static void serve(struct conn *c)
{
	bool alive;

	c->todo = false;
	alive = serve_out(c) && serve_in(c) && !(c->in_ended && c->sk->tcp_state == FN_TCP_CLOSED);
	if (!alive || (c->out_ended && (c->in_ended || hung_up(c))))
		conn_end(c);
}

/* ---- what there is to do ---- */

static void adopt(struct fn_sock *sk, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	struct conn *c = fn_slab_alloc(&conns);
	int on = 1;

	if (!c || !(sk->images & relay.bit)) {
		fn_sys_close(fd);
		return;
	}
	*c = (struct conn){ .sk = sk, .fd = fd, .todo = true, .next = relay.conns, .pprev = &relay.conns };
	c->file = (struct fn_file){ .kind = FN_FILE_TCP, .sk = sk, .type = SOCK_STREAM, .protocol = IPPROTO_TCP };
	c->number = fn_convert_own_name(fd, &c->file.domain);
	if (c->next)
		c->next->pprev = &c->next;
	relay.conns = c;
	sk->user = c;
	ev.data.ptr = c;
	fn_sys_setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));	/* no read swallows an urgent byte */
	fn_sys_epoll_ctl(relay.epfd, EPOLL_CTL_ADD, fd, &ev);
}

/* Who converted it has told all others but some; takes end. */
static void keep(struct fn_sock *sk, int end, uint64_t images)
{
	uint64_t owed = images & fn_engine.shared->untaken;
	struct gift *g = owed && sk->images & relay.bit ? fn_slab_alloc(&gifts) : NULL;

	if (!g) {
		fn_sys_close(end);
		return;
	}
	*g = (struct gift){ .sk = sk, .end = end, .owed = owed, .next = relay.gifts };
	relay.gifts = g;
	relay.tried = 0;
}

/* Whom it cannot be given now; `full`: images that were found to have no room. */
static uint64_t give(const struct gift *g, uint64_t *full)
{
	struct fn_letter l = { .kind = FN_LETTER_GIVE, .sk = g->sk };
	uint64_t left = g->owed & *full;

	for (unsigned i = 0; i < FN_IMAGES; i++) {
		int ret = (g->owed & ~left) >> i & 1 ? fn_bell_send(i, &l, g->end) : 0;

		if (ret < 0 && ret != -ECONNREFUSED)
			left |= 1ull << i;
	}
	*full |= left;
	return left;
}

/* Whose bell has room again, or who is gone. Who waits rings us. */
static void give_gifts(uint64_t now)
{
	struct gift *g, **at = &relay.gifts;
	uint64_t full = 0;

	if (fn_likely(!relay.gifts) || now - relay.tried < FN_MSEC)
		return;
	relay.tried = now;
	while ((g = *at)) {
		g->owed = give(g, &full);
		if (g->owed) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		fn_sys_close(g->end);
		fn_slab_free(&gifts, g);
	}
}

/* What is to be kept comes just before the adoption, and is nobody's without. */
static void take_letters(void)
{
	uint64_t owed = 0, kept_for = 0;
	struct fn_sock *kept = NULL;
	struct fn_letter l;
	int fd, end = -1;

	fn_engine.shared->rung &= ~relay.bit;
	while (fn_bell_take(&l, &fd)) {
		if (l.kind == FN_LETTER_ADOPT && fd >= 0)
			adopt(l.sk, fd);
		if (end >= 0 && l.kind == FN_LETTER_ADOPT && l.sk == kept)
			keep(kept, end, kept_for);
		else if (end >= 0)
			fn_sys_close(end);
		end = l.kind == FN_LETTER_KEEP ? fd : -1;
		kept = l.sk;
		kept_for = l.cookie;
		if (fd >= 0 && l.kind != FN_LETTER_ADOPT && l.kind != FN_LETTER_KEEP)
			fn_sys_close(fd);
	}
	if (end >= 0)
		fn_sys_close(end);
	for (const struct gift *g = relay.gifts; g; g = g->next)
		owed |= g->owed;
	fn_engine.shared->untaken = owed;
}

/* Events of the stack that an image, ourselves included, has seen on our connections. */
static void take_events(void)
{
	struct fn_shared *sh = fn_engine.shared;
	struct conn *c;

	if (sh->head - fn_engine.seen > FN_SHARED_EVENTS) {
		fn_engine.seen = sh->head;
		for (c = relay.conns; c; c = c->next)
			c->todo = true;
	}
	for (; fn_engine.seen != sh->head; fn_engine.seen++) {
		struct fn_sock *sk = sh->event[fn_engine.seen % FN_SHARED_EVENTS].sk;

		/* one that was closed since is another image's, or has not been taken from the bell yet */
		if (sk->images == relay.bit && sk->user && sk->user != FN_RELAY_USER)
			((struct conn *)sk->user)->todo = true;
	}
}

/* Edges of our ends; asked outside the lock. */
static void take_ready(const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++)
		if (ev[i].data.ptr)
			((struct conn *)ev[i].data.ptr)->todo = true;
}

static struct fn_file *file_of(uint32_t number)
{
	for (struct conn *c = relay.conns; c; c = c->next)
		if (c->number == number)
			return &c->file;
	return NULL;
}

/* What is asked about may have come with the letters that came meanwhile. */
static void answer_questions(const struct epoll_event *ev, int n)
{
	for (int i = 0; i < n; i++) {
		if (ev[i].data.ptr)
			continue;
		fn_engine_lock();
		take_letters();
		fn_engine_unlock();
		fn_relay_opt_serve(relay.opt, file_of);
	}
}

/* Without it options of converted connections are the kernel's to refuse. */
static void hear_questions(void)
{
	struct epoll_event ev = { .events = EPOLLIN };

	if (relay.opt >= 0)
		fn_sys_epoll_ctl(relay.epfd, EPOLL_CTL_ADD, relay.opt, &ev);
}

static bool serve_all(void)
{
	struct conn *c, *next;
	bool more = false;

	for (c = relay.conns; c; c = next) {
		next = c->next;
		if (c->todo)
			serve(c);
	}
	for (c = relay.conns; c; c = c->next)
		more |= c->todo;
	return more;
}

/* ---- the loop ---- */

/* With the lock held: nothing is left to do here, for which others rely on us. */
static bool may_end(uint64_t now, uint64_t *since)
{
	/* a program that is about to exec relies on us to close what it had */
	if (relay.conns || relay.gifts || fn_family_somebody_leaves()) {
		*since = 0;
		return false;
	}
	if (!*since || relay.heard != fn_engine.st->stats.tcp_in)
		*since = now;
	relay.heard = fn_engine.st->stats.tcp_in;
	/* what the last ones had to say must arrive, as the kernel would see to: nobody waits for us */
	return !fn_stack_draining(fn_engine.st) || now - *since > SILENCE;
}

static void sleep_until(uint64_t until, bool nap, struct pollfd *fds, unsigned n)
{
	uint64_t now = fn_now(), left = until > now ? until - now : 0;
	struct timespec ts;

	left = fn_min(left, nap ? FN_MSEC : FN_NSEC);	/* a second: fn_ports_tick() */
	ts = (struct timespec){ (time_t)(left / FN_NSEC), (long)(left % FN_NSEC) };
	fn_sys_ppoll(fds, n, &ts, NULL);
}

static void run(void)
{
	struct pollfd fds[FN_PORT_WAIT_FDS + 4];
	struct epoll_event ev[EVENTS];
	uint64_t since = 0, now, until;
	int ready = 0, deaths;

	fn_engine_lock();
	fn_fabric_relay();
	fn_engine_forget_side();
	fn_engine_unlock();
	for (;;) {
		bool more, nap = false;
		unsigned n;

		fn_engine_lock();
		now = fn_max(fn_now(), fn_engine.st->now);
		fn_engine.shared->asleep &= ~relay.bit;
		fn_family_woken(now);
		fn_ports_awake();
		fn_fabric_disarm();
		fn_dual_check(now);
		take_ready(ev, ready);
		fn_stack_poll(fn_engine.st, now);
		take_letters();
		give_gifts(now);
		take_events();
		more = serve_all();
		fn_stack_flush(fn_engine.st);
		if (may_end(now, &since))
			break;
		n = fn_ports_wait_fds(fds, FN_PORT_WAIT_FDS, &nap);
		fn_engine.shared->asleep |= relay.bit;
		fn_fabric_arm();
		/* armed: look again, for what came meanwhile rings nobody */
		more |= fn_stack_poll(fn_engine.st, now) || fn_fabric_pending() || fn_engine.seen != fn_engine.shared->head;
		until = more ? 0 : fn_engine_deadline();
		deaths = fn_family_sleep(now, &until);
		fn_engine_unlock();
		if (deaths >= 0)
			fds[n++] = (struct pollfd){ .fd = deaths, .events = POLLIN };
		if (fn_engine.side_epfd >= 0)
			fds[n++] = (struct pollfd){ .fd = fn_engine.side_epfd, .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = relay.epfd, .events = POLLIN };
		fds[n++] = (struct pollfd){ .fd = fn_engine.bell, .events = POLLIN };
		sleep_until(until, nap, fds, n);
		fn_ports_tick(fn_now());
		ready = fn_sys_epoll_check(relay.epfd, ev, EVENTS);
		answer_questions(ev, ready);
	}
	fn_engine.shared->relay = false;
	fn_fd_internal_close(relay.opt);
	fn_fd_internal_close(fn_engine.bell);	/* the name is the next one's */
	fn_engine.bell = -1;
	fn_family_leave();
	fn_engine_unlock();
}

/* ---- how it comes about ---- */

static _Noreturn void relay_main(int bell)
{
	fn_relay_leave_program(bell);
	fn_robust_bare_child();
	fn_family_join(FN_RELAY_IMAGE);
	fn_engine.is_relay = true;
	fn_engine_set_image(FN_RELAY_IMAGE);
	fn_engine.mine = 0;		/* its events come through the shared ring like everybody's: take_events() */
	fn_engine.seen = fn_engine.shared->head;
	fn_engine.duals = NULL;
	fn_engine.watcher = NULL;
	fn_engine.napper = NULL;
	relay.bit = 1ull << FN_RELAY_IMAGE;
	relay.conns = NULL;
	relay.gifts = NULL;
	relay.epfd = fn_fd_internal((int)fn_sys(SYS_epoll_create1, EPOLL_CLOEXEC));
	hear_questions();
	fn_keeper_forbid();
	fn_ports_child();
	run();
	for (;;)
		fn_sys(SYS_exit_group, 0);
}

/* A copy of this process with exit signal 0, all signals blocked: its PID, or -errno. */
static int make_process(int bell)
{
	uint64_t all = ~0ull, old;
	long pid;

	fn_sys(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, FN_SIGSET_SIZE);
	/* the copy has this thread only: what another one holds would stay held there */
	fn_lock_take(&fn_slab_lock);
	pid = fn_sys(SYS_clone, 0, NULL, NULL, NULL, 0);
	fn_lock_release(&fn_slab_lock);
	if (pid == 0)
		relay_main(bell);
	fn_sys(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, FN_SIGSET_SIZE);
	return (int)pid;
}

/* The last relay that this process has made: no wait() of the program takes it off when it has ended. */
static int made;

static void reap(void)
{
	if (made && fn_sys(SYS_wait4, made, NULL, __WCLONE | WNOHANG, NULL) != 0)
		made = 0;
}

void fn_relay_lost(void)
{
	fn_engine.shared->relay = false;
	fn_family_lost(FN_RELAY_IMAGE);
}

int fn_relay_need(void)
{
	struct fn_shared *sh = fn_engine.shared;
	int bell, pid;

	reap();
	if (sh->relay)
		return FN_RELAY_IMAGE;
	fn_family_lost(FN_RELAY_IMAGE);		/* one that was killed, and nobody has looked since */
	bell = fn_bell_make(FN_RELAY_IMAGE);
	/* there before the relay is: the program may ask at once */
	relay.opt = fn_relay_opt_open(fn_bell_key());
	fn_family_expect_relay();
	fn_fabric_expect();
	fn_fabric_image_born(FN_RELAY_IMAGE);
	pid = bell < 0 ? bell : make_process(bell);
	fn_fd_internal_close(bell);
	fn_fd_internal_close(relay.opt);
	if (pid < 0) {
		fn_family_cancel(FN_RELAY_IMAGE);
		return pid;
	}
	made = pid;
	fn_family_named(FN_RELAY_IMAGE, pid);
	sh->relay = true;
	return FN_RELAY_IMAGE;
}
