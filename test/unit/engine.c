/* SPDX-License-Identifier: BSD-3-Clause */
/* What an image gives back of a stack socket that another one has converted while its own file had no number any more. */
#include <criterion/criterion.h>
#include <sys/mman.h>

#include "shim/conf.h"
#include "shim/engine.h"

#define ARENA_SIZE (64ul << 20)
#define RELAY (1ull << 63)

static int grow(void *ctx, size_t size)
{
	return 0;
}

static void no_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
}

static void setup(void)
{
	static const struct fn_stack_ops ops = { .ready = no_ready };
	void *mem = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct fn_stack_conf conf;

	fn_conf_init(&fn_config);
	fn_stack_conf_init(&conf);
	cr_assert_eq(fn_engine_init(), 0);
	fn_engine.st = fn_stack_create(fn_arena_init(mem, ARENA_SIZE, ARENA_SIZE, grow, NULL), &conf, &ops, NULL, fn_now());
	cr_assert_not_null(fn_engine.st);
}
TestSuite(engine, .init = setup, .timeout = 30);

static struct fn_sock *open_for(struct fn_file *f, enum fn_sock_kind kind)
{
	struct fn_sock *sk = fn_sock_open(fn_engine.st, kind, f);

	cr_assert_not_null(sk);
	fn_engine_give(f, sk);
	return sk;
}

Test(engine, the_last_one_closes)
{
	struct fn_file f = { 0 };
	struct fn_sock *sk = open_for(&f, FN_SOCK_TCP);

	cr_expect(fn_engine_has(&f));
	fn_engine_drop(&f);
	cr_expect_null(f.sk);
	cr_expect_null(sk->user);
}

Test(engine, what_is_the_relays_stays_so)
{
	static int conn;
	struct fn_file f = { 0 };
	struct fn_sock *sk = open_for(&f, FN_SOCK_TCP);

	sk->images = RELAY;
	sk->user = &conn;
	cr_expect_not(fn_engine_has(&f));
	fn_engine_drop(&f);
	cr_expect_null(f.sk);
	cr_expect(sk->images == RELAY && sk->user == &conn);
}

/* The relay has ended it meanwhile: the object is free, or has become a connection of ours, another thread's. */
Test(engine, what_has_become_of_it_is_left_alone)
{
	struct fn_file f = { 0 }, stale = { 0 }, g = { 0 };
	struct fn_sock *sk = open_for(&f, FN_SOCK_TCP);

	stale.sk = sk;
	sk->images = 0;
	fn_sock_close(sk);
	fn_engine_drop(&f);
	cr_expect_null(f.sk);
	cr_assert_eq(open_for(&g, FN_SOCK_TCP), sk, "used again");
	cr_expect_not(fn_engine_has(&stale));
	fn_engine_drop(&stale);
	cr_expect(fn_engine_has(&g));
	fn_engine_drop(&g);
}
