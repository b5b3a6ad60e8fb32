/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Death under the stack's lock. A's calls are left for good after a random number of basic blocks (the compiler counts
 * them) and then of instructions (single steps, which are slow), as a killed process leaves them; then the stack is put right as the next holder of the lock does, and everything goes on: a
 * connection is either whole, byte for byte, or reset, a death resets few of them, and in the end nothing is left over.
 *
 * The device is not the stack: a death inside it is put off until it returns.
 */
#include "death.h"
#include "flow.h"
#include "tcp_fixture.h"
#include "stack/udp.h"

#define FLOWS		12
#define PORT		fn_be16(80)
#define UDP_PORT	fn_be16(53)
#define CHUNK		3000u
#define DEATHS		1500u		/* of which a third at least come before the call has ended by itself */

static struct flow flow[FLOWS];
static struct fn_sock *listener, *udp_a, *udp_b;
static unsigned resets;
static bool keep_open;			/* A's program closes nothing */

static bool dies_sending;		/* in the device's call: where a process that sends is most of the time */

/* ---- the device ---- */

static const struct fn_nic_ops *device;

#define INSIDE(call) ({ __auto_type r_ = (in_device = true, (call)); in_device = false; r_; })
static uint16_t dev_rx(struct fn_nic *nic, struct fn_pkt **b, uint16_t n) { return INSIDE(device->rx(nic, b, n)); }
static uint16_t dev_tx(struct fn_nic *nic, struct fn_pkt **b, uint16_t n)
{
	uint16_t done = INSIDE(device->tx(nic, b, n));

	if (dies_sending) {
		dies_sending = false;
		blocks_left = 0;
		siglongjmp(away, 1);
	}
	return done;
}
static struct fn_pkt *dev_alloc(struct fn_nic *nic) { return INSIDE(device->alloc(nic)); }
static void dev_free(struct fn_nic *nic, struct fn_pkt *p) { in_device = true; device->free(nic, p); in_device = false; }
static bool dev_in_flight(const struct fn_nic *nic, const struct fn_pkt *p) { return INSIDE(device->in_flight(nic, p)); }

static void wrap_device(void)
{
	static struct fn_nic_ops ops;

	device = A.nic->ops;
	ops = *device;
	ops.rx = dev_rx;
	ops.tx = dev_tx;
	ops.alloc = dev_alloc;
	ops.free = dev_free;
	ops.in_flight = dev_in_flight;
	A.nic->ops = &ops;
}

/* ---- B, which lives ---- */

static void b_serve(unsigned i)
{
	struct flow *f = &flow[i];
	struct iovec iov = { bytes, 1 + draw(CHUNK) };
	ssize_t n;

	if (!f->b)
		return;
	n = fn_tcp_recv(f->b, &iov, 1, 0, 0, NULL);
	if (n > 0) {
		compare(i, false, f->got, n);
		f->got += (uint32_t)n;
	} else if (n != -EAGAIN && n != -ENOTCONN) {
		resets += n < 0;
		fn_sock_close(f->b);
		f->b = NULL;
		return;
	}
	fill(i, true, f->sent, (uint32_t)iov.iov_len);
	n = fn_tcp_send(f->b, &iov, 1, 0, 0);
	f->sent += n > 0 ? (uint32_t)n : 0;
}

static void b_connect(unsigned i)
{
	struct fn_ep to = { .ip4 = A.ip, .port = PORT };

	flow[i] = (struct flow){ .b = fn_sock_open(B.st, FN_SOCK_TCP, &watches[i]) };
	cr_assert_not_null(flow[i].b);
	cr_assert_eq(fn_sock_connect(flow[i].b, &to), -EINPROGRESS);
}

/* ---- A, which dies ---- */

static void a_poll(void *arg)
{
	fn_stack_poll(A.st, now);
}

static void a_write(void *arg)
{
	struct flow *f = arg;
	struct iovec iov = { bytes, 1 + draw(CHUNK) };

	fill((unsigned)(f - flow), false, tp_of(f)->write_seq - f->wrote0, (uint32_t)iov.iov_len);
	fn_tcp_send(f->a, &iov, 1, 0, 0);
}

static void a_read(void *arg)
{
	struct flow *f = arg;
	struct iovec iov = { bytes, 1 + draw(CHUNK) };
	uint32_t at = tp_of(f)->copied_seq - f->read0;

	compare((unsigned)(f - flow), true, at, fn_tcp_recv(f->a, &iov, 1, 0, 0, NULL));
}

static void a_sendfile(void *arg)
{
	struct flow *f = arg;
	struct iovec iov[4];
	int n = 4, err;
	struct fn_pkt *chain = fn_tcp_reserve(f->a, CHUNK, iov, &n, &err);
	uint32_t at = tp_of(f)->write_seq - f->wrote0, total = 0;

	if (!chain)
		return;
	for (int k = 0; k < n; total += (uint32_t)iov[k++].iov_len)
		for (size_t b = 0; b < iov[k].iov_len; b++)
			((uint8_t *)iov[k].iov_base)[b] = byte_of((unsigned)(f - flow), false, at + total + (uint32_t)b);
	fn_tcp_commit(f->a, chain, draw(2) ? total : total / 2, 0);
}

/* From accept to the shim's note of whose it is. */
static void a_accept(void *arg)
{
	struct fn_sock *sk = fn_tcp_accept(listener, &watches[FLOWS]);

	if (sk)
		sk->images = 1;
}

static void a_close(void *arg)
{
	struct fn_sock *sk = ((struct flow *)arg)->a;

	sk->images = 0;
	fn_sock_close(sk);
}

static void a_udp(void *arg)
{
	struct iovec iov = { bytes, CHUNK };
	struct fn_ep to = { .ip4 = B.ip, .port = UDP_PORT };

	fn_udp_recv(udp_a, &iov, 1, 0, NULL);
	fn_udp_send(udp_a, &iov, 1, &to, NULL);
}

static void a_connect_and_close(void *arg)
{
	struct fn_ep to = { .ip4 = B.ip, .port = fn_be16(9) };
	struct fn_sock *sk = fn_sock_open(A.st, FN_SOCK_TCP, &watches[FLOWS]);

	if (!sk)
		return;
	fn_sock_connect(sk, &to);
	fn_sock_close(sk);
}

/* What the shim does with sockets that have a user and nobody who holds them. */
static void close_unheld(void)
{
	for (uint32_t i = 1; i < A.st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&A.st->tcp_pool, i);

		if (tp->sk.kind && tp->sk.user && !tp->sk.images)
			fn_sock_close(&tp->sk);
	}
}

/* Which sockets A has now; a flow's is known by the other end's port. */
static void look_at_a(void)
{
	bool seen[FLOWS] = { false };

	for (uint32_t i = 1; i < A.st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&A.st->tcp_pool, i);

		if (!tp->sk.kind || !tp->sk.user || !tp->sk.images || &tp->sk == listener)
			continue;
		for (unsigned k = 0; k < FLOWS; k++) {
			if (!flow[k].b || flow[k].b->local.port != tp->sk.remote.port)
				continue;
			seen[k] = true;
			if (flow[k].a)
				continue;
			flow[k].a = &tp->sk;
			flow[k].wrote0 = tp->write_seq;
			flow[k].read0 = tp->copied_seq;
		}
	}
	for (unsigned k = 0; k < FLOWS; k++)
		if (!seen[k])
			flow[k].a = NULL;
}

/* Connections of A's whose other end has gone: their program closes them. */
static void close_orphans(void)
{
	for (uint32_t i = 1; i < A.st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&A.st->tcp_pool, i);
		bool known = &tp->sk == listener;

		for (unsigned k = 0; k < FLOWS; k++)
			known |= flow[k].a == &tp->sk && flow[k].b;
		if (tp->sk.kind && tp->sk.user && tp->sk.images && !known)
			fn_sock_close(&tp->sk);
	}
}

static struct {
	void (*call)(void *arg);
	bool on_flow;
} const calls[] = {
	{ a_poll, false }, { a_poll, false }, { a_poll, false }, { a_write, true }, { a_write, true }, { a_read, true },
	{ a_read, true }, { a_sendfile, true }, { a_accept, false }, { a_close, true }, { a_udp, false },
	{ a_connect_and_close, false },
};

/* One call of A's; true: it died in it, and the next one has put things right. */
static bool one_call(long steps)
{
	unsigned i = draw(fn_array_size(calls));
	struct flow *f = &flow[draw(FLOWS)];

	if (calls[i].on_flow && (!f->a || f->a->tcp_state != FN_TCP_ESTABLISHED))
		i = 0;
	if (calls[i].call == a_close && (keep_open || draw(4)))
		i = 0;
	A.st->holder = 1;
	A.st->busy = NULL;
	if (!dies(calls[i].call, f, steps))
		return false;
	fn_stack_recover(A.st);
	close_unheld();
	return true;
}

/* ---- what must hold ---- */

static void check_lists(void)
{
	uint32_t armed = 0, used = 0;

	for (uint32_t i = 1; i < A.st->tcp_pool.made; i++) {
		struct fn_tcp *tp = fn_pool_at(&A.st->tcp_pool, i);

		if (!tp->sk.kind)
			continue;
		used++;
		armed += fn_timer_armed(&tp->timer);
		cr_assert(fn_tcp_sound(tp), "state %u, flags %x, dead %d, queues %u %u %u %u", tp->sk.tcp_state, tp->sk.opts,
			  tp->dead, tp->sk.rxq.count, tp->rtxq.count, tp->sndq.count, tp->oooq.count);
		if (tp->sk.opts & FN_SO_IN_CONN)
			cr_assert_eq(fn_demux_conn(A.st, tp->sk.hash, &tp->sk.local, &tp->sk.remote), &tp->sk);
	}
	cr_assert_eq(used, A.st->tcp_pool.used);
	cr_assert_geq(A.st->wheel.armed, armed);
	cr_assert_eq(listener->tcp_state, FN_TCP_LISTEN);
	cr_assert_eq(fn_demux_bound(A.st, FN_SOCK_TCP, &listener->local, &listener->remote, 0), listener);
}

/* Nobody dies for a while. */
static void live(unsigned rounds)
{
	while (rounds--) {
		one_call(0x7fffffff);
		look_at_a();
		close_orphans();
		look_at_a();
		for (unsigned i = 0; i < FLOWS; i++) {
			if (!flow[i].b)
				b_connect(i);
			b_serve(i);
		}
		pass(10 * MS);
	}
}

static void world(void)
{
	struct fn_ep at = { .port = PORT }, udp_at = { .port = UDP_PORT };

	death_init();
	tcp_setup();
	wrap_device();
	listener = fn_sock_open(A.st, FN_SOCK_TCP, &watches[FLOWS]);
	listener->images = 1;
	cr_assert_eq(fn_sock_bind(listener, &at), 0);
	cr_assert_eq(fn_tcp_listen(listener, 64), 0);
	udp_a = fn_sock_open(A.st, FN_SOCK_UDP, &watches[FLOWS]);
	udp_b = fn_sock_open(B.st, FN_SOCK_UDP, &watches[FLOWS]);
	cr_assert_eq(fn_sock_bind(udp_a, &udp_at), 0);
	cr_assert_eq(fn_sock_bind(udp_b, &udp_at), 0);
}

/* Everything is closed: no object, no buffer, no timer may be left. */
static void the_end(void)
{
	look_at_a();
	for (unsigned i = 0; i < FLOWS; i++)
		if (flow[i].b)
			fn_sock_close(flow[i].b);
	memset(flow, 0, sizeof(flow));
	fn_sock_close(listener);
	close_orphans();
	fn_sock_close(udp_a);
	fn_sock_close(udp_b);
	pass(400 * SEC);
	cr_expect_eq(A.st->tcp_pool.used, 0, "%u connections", A.st->tcp_pool.used);
	cr_expect_eq(A.st->tcp->tw_pool.used, 0);
	cr_expect_eq(A.st->tcp->req_pool.used, 0);
	cr_expect_eq(A.st->udp_pool.used, 0);
	cr_expect_eq(A.st->lent, 0);
	cr_expect_eq(A.st->wheel.armed, 0);
	cr_expect_eq(fn_pair_outstanding(wire, 0), 0, "%u buffers", fn_pair_outstanding(wire, 0));
	cr_expect_eq(fn_pair_outstanding(wire, 1), 0);
}

/* Every connection there is carries bytes both ways. */
static void all_go_on(void)
{
	uint32_t got[FLOWS], taken[FLOWS];

	keep_open = true;
	live(1000);
	for (unsigned i = 0; i < FLOWS; i++) {
		cr_assert(flow[i].a && flow[i].b, "flow %u: %d %d", i, !!flow[i].a, !!flow[i].b);
		got[i] = flow[i].got;
		taken[i] = tp_of(&flow[i])->copied_seq;
	}
	live(2000);
	for (unsigned i = 0; i < FLOWS; i++) {
		cr_assert_neq(flow[i].got, got[i], "flow %u", i);
		cr_assert_neq(tp_of(&flow[i])->copied_seq, taken[i], "flow %u", i);
	}
}

static void run(uint64_t seed, unsigned deaths)
{
	unsigned died = 0;

	rng = seed;
	world();
	for (unsigned n = 0; n < deaths; n++) {
		for (unsigned i = 0; i < FLOWS; i++) {
			if (!flow[i].b)
				b_connect(i);
			b_serve(i);
		}
		fn_stack_poll(B.st, now);
		if (one_call(1 + (long)draw(draw(4) ? 60 : 600))) {
			died++;
			check_lists();
		}
		look_at_a();
		close_orphans();
		look_at_a();
		pass(draw(3) * 100000);
	}
	cr_assert_geq(died, deaths / 3);
	cr_assert_eq(A.st->stats.lock_inherited, died);
	cr_assert_leq(resets, died + A.st->stats.tcp_passive_open / 4, "%u resets by %u deaths", resets, died);
	all_go_on();
	the_end();
}

Test(recover, killed_at_any_instruction, .init = reset_conf, .fini = tcp_teardown, .timeout = 120)
{
	run(1, DEATHS);
}

Test(recover, killed_with_loss_and_a_device_that_reads_on, .init = reset_conf, .fini = tcp_teardown, .timeout = 120)
{
	wire_conf.loss_ppm = 20000;
	wire_conf.reorder_ppm = 20000;
	wire_conf.reorder_ns = 300000;
	wire_conf.release_ns = 50000;
	run(2, DEATHS);
}

/* The call of the device that ends a round takes longer than the round: no connection is to be lost by a death in it. */
Test(recover, killed_while_the_device_sends, .init = reset_conf, .fini = tcp_teardown, .timeout = 120)
{
	unsigned died = 0;

	wire_conf.loss_ppm = wire_conf.reorder_ppm = 20000;
	wire_conf.reorder_ns = 300000;
	rng = 4;
	world();
	keep_open = true;
	live(200);
	for (unsigned n = 0; n < DEATHS / 3; n++) {
		for (unsigned i = 0; i < FLOWS; i++) {
			a_read(&flow[i]);
			a_write(&flow[i]);
			b_serve(i);
		}
		fn_stack_flush(A.st);
		fn_stack_flush(B.st);
		now += MS;
		A.st->busy = NULL;
		dies_sending = true;
		if (dies(a_poll, NULL, 0)) {
			died++;
			fn_stack_recover(A.st);
			check_lists();
		}
		dies_sending = false;
		live(1);
	}
	cr_assert_geq(died, DEATHS / 30, "%u deaths", died);
	cr_assert_eq(A.st->stats.lock_inherited, died);
	cr_assert_eq(resets, 0, "%u resets by %u deaths", resets, died);
	all_go_on();
	the_end();
}

/* Recovery itself is cut short, again and again, and is done anew by the next one. */
static void recover_call(void *arg)
{
	fn_stack_recover(A.st);
}

Test(recover, killed_while_recovering, .init = reset_conf, .fini = tcp_teardown, .timeout = 120)
{
	wire_conf.buffers = 256;
	rng = 3;
	world();
	keep_open = true;
	live(200);
	for (unsigned n = 0; n < 60; n++) {
		A.st->busy = NULL;
		for (unsigned again = draw(4); again; again--)
			if (!dies(recover_call, NULL, 1 + (long)draw(8000)))
				break;
		fn_stack_recover(A.st);
		close_unheld();
		check_lists();
		live(2);
	}
	cr_assert_eq(resets, 0, "nothing was torn but lists");
	the_end();
}

/* Buffers that another image fills without the lock stay its own; those of the dead are free. */
Test(recover, lent_buffers, .init = reset_conf, .fini = tcp_teardown)
{
	struct iovec iov[4];
	int n = 4, err;
	struct fn_pkt *chain;
	uint32_t charged;

	world();
	b_connect(0);
	pass(10 * MS);
	a_accept(NULL);
	look_at_a();
	cr_assert_not_null(flow[0].a);
	A.st->holder = 1;
	chain = fn_tcp_reserve(flow[0].a, 4000, iov, &n, &err);
	cr_assert_not_null(chain);
	A.st->holder = 2;
	cr_assert_not_null(fn_tcp_reserve(flow[0].a, 4000, (struct iovec[4]){ { 0 } }, &(int){ 4 }, &err));
	charged = flow[0].a->tx_charged;
	A.st->busy = NULL;
	fn_stack_recover(A.st);
	cr_assert_eq(A.st->lent, (uint32_t)n);
	cr_assert_lt(flow[0].a->tx_charged, charged);
	memset(iov[0].iov_base, 'x', iov[0].iov_len);
	cr_assert_eq(fn_tcp_commit(flow[0].a, chain, iov[0].iov_len, 0), (ssize_t)iov[0].iov_len);
	pass(10 * MS);
	cr_assert_eq(fn_tcp_recv(flow[0].b, &(struct iovec){ bytes, CHUNK }, 1, 0, 0, NULL), (ssize_t)iov[0].iov_len);
	A.st->holder = 4;
	n = 4;
	cr_assert_not_null(fn_tcp_reserve(flow[0].a, 4000, iov, &n, &err));
	fn_stack_forget_image(A.st, 1);
	cr_assert_eq(A.st->lent, (uint32_t)n);
	fn_stack_forget_image(A.st, 4);
	cr_assert_eq(A.st->lent, 0);
	cr_assert_eq(flow[0].a->tx_charged, 0);
	the_end();
}
