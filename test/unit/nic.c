/* SPDX-License-Identifier: BSD-3-Clause */
/* Staging on a NIC: bursts, kept packets whose data pointer moves, a device that takes less, packets freed while staged. */
#include <criterion/criterion.h>
#include <errno.h>

#include "fixture.h"
#include "stack/net.h"

#define BUFS	512

/* A device that takes `take` packets a call and remembers where the last ones began. */
static struct fn_nic nic;
static struct fn_stack st;
static struct fn_pkt pkts[BUFS];
static uint8_t mem[BUFS][256];
static unsigned take, sent, freed;
static uint8_t *first[BUFS];
static uint32_t length[BUFS];

static uint16_t fake_tx(struct fn_nic *n, struct fn_pkt **burst, uint16_t count)
{
	uint16_t i;

	for (i = 0; i < count && i < take; i++) {
		first[sent] = burst[i]->data;
		length[sent++] = burst[i]->pkt_len;
		cr_assert(!(burst[i]->flags & FN_PKT_QUEUED));
		cr_assert(burst[i]->flags & FN_PKT_SENT);
		if (!(burst[i]->flags & FN_PKT_KEEP))
			memset(burst[i], 0xdd, sizeof(*burst[i]));
	}
	return i;
}

static void fake_free(struct fn_nic *n, struct fn_pkt *p)
{
	freed++;
}

static struct fn_pkt *fake_alloc(struct fn_nic *n)
{
	return NULL;
}

static const struct fn_nic_ops ops = {.tx = fake_tx, .free = fake_free, .alloc = fake_alloc};

static void setup(void)
{
	nic = (struct fn_nic){.ops = &ops, .st = &st, .up = true};
	take = FN_NIC_BURST;
}

TestSuite(nic, .init = setup);

static struct fn_pkt *frame(unsigned i, uint16_t flags)
{
	fn_pkt_init(&pkts[i], &nic, mem[i], 256, mem[i] + 128, 60);
	pkts[i].l2 = 128;
	pkts[i].flags = flags;
	return &pkts[i];
}

Test(nic, a_burst_goes_out_in_one_call_and_in_order)
{
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(fn_nic_send(&nic, frame(i, 0)), 0);
	cr_assert_eq(sent, 0);
	cr_assert(fn_nic_flush(&nic));
	cr_assert_eq(sent, 10);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(first[i], mem[i] + 128);
	cr_assert_eq(st.stats.tx_packets, 10);
	cr_assert_eq(st.stats.tx_bytes, 600);
}

/* As after a write that TCP_CORK holds back, on a NIC that has sent nothing yet. */
Test(nic, nothing_staged_is_nothing_sent)
{
	cr_assert(fn_nic_flush(&nic));
	cr_assert_eq(sent, 0);
	cr_assert_eq(st.staged, 0);
}

Test(nic, a_kept_packet_may_move_its_data_while_it_is_staged)
{
	struct fn_pkt *p = frame(0, FN_PKT_KEEP);

	cr_assert_eq(fn_nic_send(&nic, p), 0);
	fn_pkt_pull(p, 54);
	fn_nic_flush(&nic);
	cr_assert_eq(first[0], mem[0] + 128);
	cr_assert_eq(length[0], 60);
	cr_assert_eq(p->data, mem[0] + 128 + 54);
	cr_assert_eq(p->len, 6);
	cr_assert_eq(p->pkt_len, 6);
	cr_assert(!(p->flags & FN_PKT_QUEUED));
}

Test(nic, a_staged_packet_is_staged_once_and_freed_by_its_transmission)
{
	struct fn_pkt *p = frame(0, FN_PKT_KEEP);

	fn_nic_send(&nic, p);
	cr_assert_eq(fn_nic_send(&nic, p), 0);
	cr_assert_eq(nic.txq_len, 1);
	fn_pkt_pull(p, 54);
	fn_pkt_free(p);
	cr_assert_eq(freed, 0);
	cr_assert(!(p->flags & FN_PKT_KEEP));
	fn_nic_flush(&nic);
	cr_assert_eq(first[0], mem[0] + 128);
	cr_assert_eq(sent, 1);
}

Test(nic, what_the_device_does_not_take_stays_in_order)
{
	unsigned i;

	take = 3;
	for (i = 0; i < 7; i++)
		fn_nic_send(&nic, frame(i, i == 4 ? FN_PKT_KEEP : 0));
	fn_pkt_pull(&pkts[4], 54);
	cr_assert(!fn_nic_flush(&nic));
	cr_assert_eq(nic.txq_len, 4);
	cr_assert_eq(nic.stats.tx_full, 1);
	cr_assert(pkts[4].flags & FN_PKT_QUEUED);
	cr_assert_eq(pkts[4].len, 6);
	cr_assert(!fn_nic_flush(&nic));
	cr_assert(fn_nic_flush(&nic));
	for (i = 0; i < 7; i++)
		cr_assert_eq(first[i], mem[i] + 128);
	cr_assert_eq(st.stats.tx_packets, 7);
}

Test(nic, a_full_queue_refuses_and_counts)
{
	unsigned i, room;

	take = 0;
	room = fn_nic_tx_room(&nic);
	for (i = 0; i < room; i++)
		cr_assert_eq(fn_nic_send(&nic, frame(i, 0)), 0);
	cr_assert_eq(fn_nic_tx_room(&nic), 0);
	cr_assert_eq(fn_nic_send(&nic, frame(i, FN_PKT_KEEP)), -ENOBUFS);
	cr_assert_eq(freed, 0);
	cr_assert_eq(fn_nic_send(&nic, frame(i, 0)), -ENOBUFS);
	cr_assert_eq(freed, 1);
	cr_assert_eq(st.stats.drop[FN_DROP_TX_FULL], 2);
}

Test(nic, without_a_link_packets_are_dropped)
{
	nic.up = false;
	cr_assert_eq(fn_nic_send(&nic, frame(0, 0)), -ENETDOWN);
	cr_assert_eq(freed, 1);
	cr_assert_eq(st.stats.drop[FN_DROP_TX_LINK_DOWN], 1);
}

Test(nic, no_buffer_is_counted)
{
	cr_assert_null(fn_nic_alloc(&nic));
	cr_assert_eq(nic.stats.alloc_failed, 1);
	cr_assert_eq(st.stats.drop[FN_DROP_NO_PKT_MEM], 1);
}

/* A header, and two segments of an owner who gives one up while they are staged. */
Test(nic, a_staged_chain_holds_its_members)
{
	struct fn_pkt *head = frame(0, 0), *a = frame(1, FN_PKT_KEEP), *b = frame(2, FN_PKT_KEEP);

	head->seg = a;
	a->seg = b;
	head->pkt_len = 180;
	a->flags |= FN_PKT_QUEUED;
	b->flags |= FN_PKT_QUEUED;
	take = 0;
	cr_assert_eq(fn_nic_send(&nic, head), 0);
	cr_assert(!fn_nic_flush(&nic));
	cr_assert(a->flags & FN_PKT_QUEUED);
	cr_assert(b->flags & FN_PKT_QUEUED);
	fn_pkt_free(a);
	cr_assert_eq(freed, 0);
	cr_assert(!(a->flags & FN_PKT_KEEP), "the transmission consumes it");
	take = 1;
	cr_assert(fn_nic_flush(&nic));
	cr_assert_eq(length[0], 180);
	cr_assert(!(b->flags & FN_PKT_QUEUED));
}

Test(nic, a_chain_is_freed_as_the_device_would)
{
	struct fn_pkt *head = frame(0, 0), *seg = frame(1, FN_PKT_KEEP);

	head->seg = seg;
	fn_pkt_free(head);
	cr_assert_eq(freed, 1, "the kept payload stays its owner's");
	head->seg = seg;
	head->flags = FN_PKT_KEEP;
	fn_pkt_free(head);
	cr_assert_eq(freed, 3);
}
