/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of accelerated sockets on stack A of tcp_fixture.h, with a double of the engine: one thread, waits that let
 * virtual time pass, handlers and other people's actions at set times. The peer's sockets are stack B's, used bare.
 */
#ifndef TEST_SOCK_FIXTURE_H
#define TEST_SOCK_FIXTURE_H

#include "shim/convert.h"
#include "shim/decide.h"
#include "shim/dgram.h"
#include "shim/epoll.h"
#include "shim/fabric.h"
#include "shim/keeper.h"
#include "shim/kroute.h"
#include "shim/msg.h"
#include "shim/sockfile.h"
#include "shim/wait.h"
#include "tcp_fixture.h"

__thread struct fn_guard fn_this_guard;

struct fn_engine fn_engine;
#define engine_lock fn_engine.lock
static struct fn_shared shared;
static struct fn_file files[16];
static unsigned file_count;
static int stack_reaches = 1;	/* what the policy says of a destination */
static unsigned kernel_decisions;

/* ---- time: what happens while a call waits ---- */
static struct action {
	uint64_t at;
	void (*run)(void *arg);
	void *arg;
} actions[8];
static uint64_t interrupt_at;	/* a handler runs then; 0: none */
static bool interrupt_restarts;	/* with SA_RESTART */

static void fn_unused later(uint64_t ms, void (*run)(void *), void *arg)
{
	for (unsigned i = 0; i < fn_array_size(actions); i++)
		if (!actions[i].run) {
			actions[i] = (struct action){ now + ms * MS, run, arg };
			return;
		}
	cr_assert(false, "too many actions");
}

static void fn_unused interrupt(uint64_t ms, bool restarts)
{
	interrupt_at = now + ms * MS;
	interrupt_restarts = restarts;
}

static uint64_t next_action(void)
{
	uint64_t next = interrupt_at ? interrupt_at : FN_NEVER;

	for (unsigned i = 0; i < fn_array_size(actions); i++)
		if (actions[i].run)
			next = fn_min(next, actions[i].at);
	return next;
}

static void run_actions(void)
{
	for (unsigned i = 0; i < fn_array_size(actions); i++) {
		struct action a = actions[i];

		if (!a.run || a.at > now)
			continue;
		actions[i].run = NULL;
		a.run(a.arg);
	}
	settle();
}

static bool look(struct fn_wait *w)
{
	bool hit;

	cr_assert(fn_lock_try(&engine_lock), "a wait with the lock held");
	hit = w->ready(w);
	fn_lock_release(&engine_lock);
	return hit;
}

int fn_wait(struct fn_wait *w, bool restart)
{
	settle();
	for (;;) {
		if (look(w))
			return 1;
		if (interrupt_at && now >= interrupt_at) {
			interrupt_at = 0;
			if (!restart || !interrupt_restarts)
				return -EINTR;
		}
		if (now >= w->deadline)
			return 0;
		uint64_t next = fn_min(fn_min(next_event(), next_action()), w->deadline);

		cr_assert_neq(next, FN_NEVER, "waits for ever");
		now = fn_max(next, now + 1);
		settle();
		run_actions();
	}
}

struct file_wait {
	struct fn_file *f;
	int fd;
	unsigned events;
};

static bool file_ready(struct fn_wait *w)
{
	struct file_wait *fw = w->arg;

	return fw->f->ops->poll(fw->f, fw->fd) & (fw->events | POLLERR | POLLHUP);
}

static int wait_file(struct fn_file *f, int fd, unsigned events, uint64_t deadline, bool restart)
{
	struct file_wait fw = { f, fd, events };
	struct fn_wait w = { .ready = file_ready, .arg = &fw, .deadline = deadline };
	int ret = fn_wait(&w, restart);

	return ret == 1 ? 0 : ret == 0 ? -EAGAIN : ret;
}

int fn_wait_file(struct fn_file *f, int fd, unsigned events, uint64_t deadline)
{
	return wait_file(f, fd, events, deadline, deadline == FN_FOREVER);
}

int fn_wait_file_on(struct fn_file *f, int fd, unsigned events, uint64_t deadline)
{
	return wait_file(f, fd, events, deadline, false);
}

/* ---- the rest of the double ---- */
uint64_t fn_now(void) { return now; }
void fn_engine_push(void)
{
	cr_assert(fn_lock_held(&engine_lock), "a push without the lock");
	fn_stack_flush(A.st);
}
bool fn_engine_look(void)
{
	settle();
	return true;
}
void fn_engine_drop(struct fn_file *f)
{
	if (f->sk)
		fn_sock_close(f->sk);
	f->sk = NULL;
}
bool fn_convert_catch_up(void) { cr_assert(false, "nothing is converted here"); return true; }
ssize_t fn_convert_rest_send(int fd, const struct iovec *iov, int iovcnt, size_t done, unsigned flags) { return -EBADF; }
ssize_t fn_convert_rest_recv(int fd, const struct iovec *iov, int iovcnt, size_t done, unsigned flags) { return -EBADF; }
void fn_lock_slow(struct fn_lock *l) { cr_assert(false, "the lock is taken twice"); }
void fn_engine_lock_slow(void) { cr_assert(false, "the engine's lock is taken twice"); }
bool fn_engine_trylock_slow(void) { return false; }
void fn_family_unlock(void) { cr_assert(false, "no test here shares its stack"); }
bool fn_thread_ring(struct fn_thread *t) { return false; }
void fn_watch_add(struct fn_file *f, struct fn_watch *w) { }
void fn_watch_del(struct fn_watch *w) { }
void fn_epoll_release(struct fn_file *f) { }
void fn_dual_del(struct fn_file *f) { f->dual = false; }
bool fn_udp_route(struct fn_file *f, int fd, const struct fn_ep *to) { return stack_reaches; }
bool fn_kroute_is_host(uint32_t ip4) { return false; }
int fn_fd_number(const struct fn_file *f, int fd);
int fn_fd_number(const struct fn_file *f, int fd) { return fd; }
struct fn_conf fn_config;
void fn_keeper_start(void) { }
bool fn_dgram_fabric(void) { return false; }
unsigned fn_dgram_route(struct fn_file *f, int fd, struct fn_ep *to, size_t len, struct fn_ep *src) { return 0; }
int fn_dgram_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len) { return FN_TO_KERNEL; }
int fn_dgram_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len) { return FN_TO_KERNEL; }
void fn_dgram_retire(struct fn_file *f) { }
void fn_fabric_unlisten(const struct fn_file *f) { }
void fn_fabric_catch_up(const struct fn_sock *sk) { }
void fn_decide_kernel(struct fn_file *f, int fd, enum fn_reason reason, uint32_t arg) { kernel_decisions++; }
int fn_decide_bind_again(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len) { return -EINVAL; }
struct fn_verdict fn_decide_ask(struct fn_file *f, int fd, enum fn_policy_verb verb, const struct sockaddr *addr,
				struct fn_info_decision *d)
{
	return (struct fn_verdict){ .stack = stack_reaches };
}
void fn_decide_tell(struct fn_file *f, struct fn_info_decision *d, const struct fn_verdict *v) { }
static void file_events(void *ctx, struct fn_sock *sk, unsigned events) { }

/* ---- files ---- */

static struct fn_file *file_new(int domain, int type)
{
	struct fn_file *f = &files[file_count++];

	memset(f, 0, sizeof(*f));
	f->domain = domain;
	f->type = type;
	f->ops = type == SOCK_STREAM ? &fn_tcp_ops : &fn_udp_ops;
	f->kind = type == SOCK_STREAM ? FN_FILE_TCP : FN_FILE_UDP;
	f->sk = fn_sock_open(A.st, type == SOCK_STREAM ? FN_SOCK_TCP : FN_SOCK_UDP, f);
	cr_assert_not_null(f->sk);
	f->sk->images = 1;
	return f;
}

static void fn_unused file_close(struct fn_file *f)
{
	f->ops->release(f);
}

/* A listener of the peer. */
static struct fn_sock fn_unused *peer_listen(uint16_t port)
{
	struct fn_sock *l = fn_sock_open(B.st, FN_SOCK_TCP, watch_new());

	cr_assert_eq(fn_sock_bind(l, &(struct fn_ep){ .port = fn_be16(port) }), 0);
	cr_assert_eq(fn_tcp_listen(l, 8), 0);
	return l;
}

/* A connection that is through; the peer's end in *peer. */
static struct fn_file fn_unused *file_connected(struct fn_sock **peer)
{
	struct fn_sock *l = peer_listen(80);
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	struct fn_ep to = { .ip4 = B.ip, .port = fn_be16(80) };

	cr_assert_eq(fn_tcp_file_connect(f, -1, &to, true), 0);
	pass(MS);
	*peer = fn_tcp_accept(l, watch_new());
	cr_assert_not_null(*peer);
	fn_sock_close(l);
	return f;
}

static void sock_setup(void)
{
	reset_conf();
	tcp_setup();
	A.st->ops.ready = file_events;
	fn_engine.st = A.st;
	fn_engine.mine = 1;
	fn_engine.lock = (struct fn_lock){ 0 };
	fn_engine.shared = &shared;
	file_count = 0;
	stack_reaches = 1;
	kernel_decisions = 0;
	interrupt_at = 0;
	memset(actions, 0, sizeof(actions));
}

/* Bytes of the alphabet from the peer; an action. */
struct gift {
	struct fn_sock *sk;
	size_t n;
};
static void fn_unused give(void *arg)
{
	struct gift *g = arg;
	char buf[4096];
	struct iovec iov = { buf, g->n };

	for (size_t i = 0; i < g->n; i++)
		buf[i] = (char)('a' + i % 26);
	cr_assert_eq(fn_tcp_send(g->sk, &iov, 1, 0, 0), (ssize_t)g->n);
	fn_stack_flush(B.st);
}
static void fn_unused give_now(struct fn_sock *sk, size_t n)
{
	give(&(struct gift){ sk, n });
	pass(100 * MS);
}

static ssize_t fn_unused receive(struct fn_file *f, void *buf, size_t n, unsigned flags)
{
	return f->ops->recv(f, -1, &(struct iovec){ buf, n }, 1, flags);
}

static ssize_t fn_unused transmit(struct fn_file *f, const void *buf, size_t n, unsigned flags)
{
	return f->ops->send(f, -1, &(struct iovec){ (void *)buf, n }, 1, flags);
}

#endif
