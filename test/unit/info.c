/* SPDX-License-Identifier: BSD-3-Clause */
/* The record that tools read: it is there from the start, and the ring of decisions holds the last ones. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/info.h"
#include "shim/info_layout.h"

static void decide(int fd, enum fn_reason reason)
{
	struct fn_info_decision d = { .fd = fd, .family = AF_INET, .reason = reason };

	fn_info_decision(&d);
}

Test(info, identified_from_the_start)
{
	cr_expect_eq(fastnet_info.magic, FN_INFO_MAGIC);
	cr_expect_arr_eq(&fastnet_info.magic, "FASTINFO", 8);
	cr_expect_eq(fastnet_info.layout, FN_INFO_LAYOUT);
	cr_expect_eq(fastnet_info.size, sizeof fastnet_info);
	cr_expect_eq(fastnet_info.pid, 0);
}

Test(info, a_decision)
{
	const struct fn_info_decision *d = &fastnet_info.ring[1];

	decide(7, FN_REASON_RULE);
	cr_expect_eq(fastnet_info.decisions, 1);
	cr_expect_eq(d->seq, 1);
	cr_expect_eq(d->fd, 7);
	cr_expect_eq(d->family, AF_INET);
	cr_expect_neq(d->time, 0);
	cr_expect_eq(fastnet_info.reasons[FN_REASON_RULE], 1);
}

Test(info, the_ring_keeps_the_last)
{
	for (int i = 0; i < FN_INFO_DECISIONS + 10; i++)
		decide(i, FN_REASON_LOCAL);
	cr_expect_eq(fastnet_info.reasons[FN_REASON_LOCAL], FN_INFO_DECISIONS + 10);
	for (unsigned i = 0; i < FN_INFO_DECISIONS; i++) {
		const struct fn_info_decision *d = &fastnet_info.ring[i];

		cr_expect_gt(d->seq, 10);
		cr_expect_eq(d->seq % FN_INFO_DECISIONS, i);
		cr_expect_eq((uint64_t)d->fd + 1, d->seq);
	}
}

Test(info, a_reason_out_of_range_is_not_counted)
{
	decide(1, FN_REASON_COUNT);
	for (unsigned r = 0; r < FN_REASON_COUNT; r++)
		cr_expect_eq(fastnet_info.reasons[r], 0);
}

static void *many(void *arg)
{
	for (int i = 0; i < 10000; i++)
		decide(i, FN_REASON_PORT);
	return NULL;
}

Test(info, threads_lose_nothing)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, many, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	cr_expect_eq(fastnet_info.decisions, 40000);
	cr_expect_eq(fastnet_info.reasons[FN_REASON_PORT], 40000);
}
