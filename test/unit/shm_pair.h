/* SPDX-License-Identifier: BSD-3-Clause */
/* Two stacks that have met, A and B, and what a unit does with them. */
#ifndef SHM_PAIR_H
#define SHM_PAIR_H

#include <criterion/criterion.h>
#include <sys/socket.h>

#include "shm_fixture.h"

#define PORT		fn_be16(8080)
#define PAYLOAD		(4u << 20)

static struct side A = { .payload_len = PAYLOAD, .slots = 256 }, B = { .payload_len = PAYLOAD, .slots = 256 };
static uint64_t now = 1000 * FN_NSEC;
static unsigned events;

fn_inline void on_ready(void *ctx, struct fn_sock *sk, unsigned ev)
{
	events |= ev;
}

static const struct fn_stack_ops stack_ops = { .ready = on_ready };

fn_inline void setup(void)
{
	side_make(&A, 1, &stack_ops, NULL, now);
	side_make(&B, 2, &stack_ops, NULL, now);
	sides_meet(&A, &B);
}

fn_inline void teardown(void)
{
	side_end(&A);
	side_end(&B);
}

fn_inline void settle(void)
{
	unsigned idle = 0, rounds = 0;

	while (idle < 2) {	/* a round in which nothing came may be the one that sends */
		cr_assert_lt(++rounds, 100000u, "a livelock at one moment");
		idle = fn_stack_poll(A.st, now) + fn_stack_poll(B.st, now) ? 0 : idle + 1;
	}
}

fn_inline void pass(uint64_t t)
{
	uint64_t end = now + t, next;

	settle();
	while ((next = fn_min(fn_stack_deadline(A.st), fn_stack_deadline(B.st))) <= end) {
		now = fn_max(next, now + 1);
		settle();
	}
	now = end;
	settle();
}

fn_inline struct fn_sock *listener(struct side *s, uint32_t ip4)
{
	struct fn_sock *sk = fn_sock_open(s->st, FN_SOCK_TCP, s);
	struct fn_ep ep = { .ip4 = ip4, .port = PORT };

	cr_assert_eq(fn_sock_bind(sk, &ep), 0);
	cr_assert_eq(fn_tcp_listen(sk, 16), 0);
	return sk;
}

fn_inline struct fn_sock *connect_from(struct side *s)
{
	struct fn_sock *sk = fn_sock_open(s->st, FN_SOCK_TCP, s);
	struct fn_ep ep = { .ip4 = LOOPBACK, .port = PORT, .peer = (uint16_t)s->peer };

	cr_assert_eq(fn_sock_connect(sk, &ep), -EINPROGRESS);
	return sk;
}

/* A connection from A to B. */
fn_inline void pair_up(struct fn_sock **l, struct fn_sock **a, struct fn_sock **b)
{
	*l = listener(&B, LOOPBACK);
	*a = connect_from(&A);
	settle();
	*b = fn_tcp_accept(*l, &B);
	cr_assert_not_null(*b);
	cr_assert_eq((*a)->tcp_state, FN_TCP_ESTABLISHED);
}

fn_inline void nothing_left(void)
{
	pass(300 * FN_NSEC);
	cr_expect_eq(A.st->tcp_pool.used, 0);
	cr_expect_eq(B.st->tcp_pool.used, 0);
	cr_expect_eq(fn_shm_outstanding(A.nic), 0, "A holds %u", fn_shm_outstanding(A.nic));
	cr_expect_eq(fn_shm_outstanding(B.nic), 0, "B holds %u", fn_shm_outstanding(B.nic));
	cr_expect_eq(fn_shm_lent(A.nic, A.peer), 0);
	cr_expect_eq(fn_shm_lent(B.nic, B.peer), 0);
}

fn_inline void close_all(struct fn_sock *l, struct fn_sock *a, struct fn_sock *b)
{
	fn_sock_close(a);
	settle();
	fn_sock_close(b);
	fn_sock_close(l);
	nothing_left();
}

fn_inline void turn(void)
{
	fn_stack_poll(A.st, now);
	fn_stack_poll(B.st, now);
	now += 1000;
}

fn_inline void bulk(struct fn_sock *a, struct fn_sock *b, uint32_t total)
{
	shm_bulk((struct fn_sock *[]){ a, b }, total, turn, pass);
}

#endif
