/* SPDX-License-Identifier: BSD-3-Clause */
/* The test wire itself: frames arrive as sent, when due, with the faults asked for, and a careless sender is caught. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

#include "stack/cksum.h"
#include "stack/nic_pair.h"
#include "stack/wire.h"

#define US 1000ull

static struct fn_pkt *make(struct fn_nic *nic, uint8_t tag, uint32_t len)
{
	struct fn_pkt *p = nic->ops->alloc(nic);

	cr_assert_not_null(p);
	p->len = p->pkt_len = len;
	memset(p->data, tag, len);
	return p;
}

static void send_tag(struct fn_nic *nic, uint8_t tag)
{
	struct fn_pkt *p = make(nic, tag, 60);

	cr_assert_eq(nic->ops->tx(nic, &p, 1), 1);
}

/* Everything that can be received now: first byte of each frame into tags; returns how many. */
static unsigned drain(struct fn_nic *nic, uint8_t *tags, unsigned room)
{
	struct fn_pkt *p;
	unsigned n = 0;

	while (nic->ops->rx(nic, &p, 1)) {
		cr_assert_lt(n, room);
		tags[n++] = p->data[0];
		nic->ops->free(nic, p);
	}
	return n;
}

Test(nic_pair, a_frame_arrives_after_the_delay_and_unchanged)
{
	struct fn_pair_conf c = {.delay_ns = 50 * US};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0), *b = fn_pair_nic(w, 1);
	struct fn_pkt *p;

	fn_pair_set_time(w, 10 * US);
	p = make(a, 0x5a, 1514);
	cr_assert_eq(a->ops->tx(a, &p, 1), 1);
	cr_assert_eq(fn_pair_next(w), 60 * US);
	cr_assert_eq(b->ops->rx(b, &p, 1), 0);
	fn_pair_set_time(w, 60 * US - 1);
	cr_assert(!b->ops->rx_pending(b));
	fn_pair_set_time(w, 60 * US);
	cr_assert(b->ops->rx_pending(b));
	cr_assert_eq(b->ops->rx(b, &p, 1), 1);
	cr_assert_eq(p->nic, b);
	cr_assert_eq(p->pkt_len, 1514);
	cr_assert_eq(p->time, 60 * US);
	for (unsigned i = 0; i < 1514; i++)
		cr_assert_eq(p->data[i], 0x5a);
	b->ops->free(b, p);
	cr_assert_eq(fn_pair_outstanding(w, 0) + fn_pair_outstanding(w, 1), 0);
	cr_assert_eq(fn_pair_next(w), UINT64_MAX);
	fn_pair_destroy(w);
}

Test(nic_pair, order_is_kept_under_jitter_and_broken_by_reorder)
{
	struct fn_pair_conf c = {.seed = 1, .delay_ns = US, .jitter_ns = 500 * US, .reorder_ns = 2000 * US};
	struct fn_pair *w = fn_pair_create(&c);
	uint8_t got[200];
	unsigned i, inversions = 0;

	for (i = 0; i < 200; i++) {
		fn_pair_set_time(w, i * US);
		send_tag(fn_pair_nic(w, 0), (uint8_t)i);
	}
	fn_pair_set_time(w, 10000 * US);
	cr_assert_eq(drain(fn_pair_nic(w, 1), got, 200), 200);
	for (i = 0; i < 200; i++)
		cr_assert_eq(got[i], i);
	fn_pair_conf(w)->reorder_ppm = 100000;
	for (i = 0; i < 200; i++)
		send_tag(fn_pair_nic(w, 0), (uint8_t)i);
	fn_pair_set_time(w, 20000 * US);
	cr_assert_eq(drain(fn_pair_nic(w, 1), got, 200), 200);
	for (i = 1; i < 200; i++)
		inversions += got[i] < got[i - 1];
	cr_assert_gt(inversions, 0);
	fn_pair_destroy(w);
}

Test(nic_pair, loss_and_duplication_are_near_their_odds_and_repeatable)
{
	struct fn_pair_conf c = {.seed = 7, .loss_ppm = 200000, .dup_ppm = 100000};
	unsigned n[2], run, i;
	uint8_t got[2200];

	for (run = 0; run < 2; run++) {
		struct fn_pair *w = fn_pair_create(&c);

		for (i = 0, n[run] = 0; i < 1000; i++) {
			send_tag(fn_pair_nic(w, 1), (uint8_t)i);
			n[run] += drain(fn_pair_nic(w, 0), got, 2200);
		}
		cr_assert_eq(fn_pair_outstanding(w, 0) + fn_pair_outstanding(w, 1), 0);
		fn_pair_destroy(w);
	}
	cr_assert_eq(n[0], n[1]);
	cr_assert(n[0] > 800 && n[0] < 960, "%u of 1000 expected near 880", n[0]);
}

Test(nic_pair, a_full_queue_and_a_lack_of_buffers_drop)
{
	struct fn_pair_conf c = {.queue = 4, .buffers = 8};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0), *b = fn_pair_nic(w, 1);
	struct fn_pkt *held[7];
	uint8_t got[8];
	unsigned i;

	for (i = 0; i < 6; i++)
		send_tag(a, (uint8_t)i);
	cr_assert_eq(b->stats.rx_missed, 2);
	cr_assert_eq(drain(b, got, 8), 4);
	/* One of eight is kept for receiving. */
	for (i = 0; i < 7; i++)
		held[i] = b->ops->alloc(b);
	cr_assert_null(b->ops->alloc(b));
	send_tag(a, 8);
	cr_assert_eq(fn_pair_outstanding(w, 1), 8);
	send_tag(a, 9);
	cr_assert_eq(b->stats.rx_missed, 3);
	cr_assert_eq(drain(b, got, 8), 1);
	for (i = 0; i < 7; i++)
		b->ops->free(b, held[i]);
	fn_pair_destroy(w);
}

Test(nic_pair, a_kept_buffer_is_the_senders_and_in_flight_until_released)
{
	struct fn_pair_conf c = {.release_ns = 100 * US};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0), *b = fn_pair_nic(w, 1);
	struct fn_pkt *p = make(a, 3, 100), *q = p;
	uint8_t got[4];

	p->flags |= FN_PKT_KEEP;
	cr_assert_eq(a->ops->tx(a, &q, 1), 1);
	cr_assert(a->ops->in_flight(a, p));
	cr_assert_eq(drain(b, got, 4), 1);
	fn_pair_set_time(w, 100 * US - 1);
	cr_assert(a->ops->in_flight(a, p));
	fn_pair_set_time(w, 100 * US);
	cr_assert(!a->ops->in_flight(a, p));
	/* Again, and now the sender lets go first: the buffer comes back when the device is done. */
	cr_assert_eq(a->ops->tx(a, &q, 1), 1);
	a->ops->free(a, p);
	cr_assert_eq(fn_pair_outstanding(w, 0), 1);
	fn_pair_set_time(w, 200 * US);
	cr_assert_eq(fn_pair_outstanding(w, 0), 0);
	fn_pair_destroy(w);
}

Test(nic_pair, writing_to_a_buffer_in_flight_aborts, .signal = SIGABRT)
{
	struct fn_pair_conf c = {.release_ns = 100 * US};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0);
	struct fn_pkt *p = make(a, 3, 100), *q = p;

	p->flags |= FN_PKT_KEEP;
	a->ops->tx(a, &q, 1);
	p->data[99]++;
	fn_pair_set_time(w, 100 * US);
}

Test(nic_pair, a_frame_above_the_mtu_aborts, .signal = SIGABRT)
{
	struct fn_pair_conf c = {.mtu = 1000};
	struct fn_nic *a = fn_pair_nic(fn_pair_create(&c), 0);
	struct fn_pkt *p = make(a, 3, 1019);

	a->ops->tx(a, &p, 1);
}

/* ---- the other end played by hand ---- */

static unsigned taps;
static void count_tap(void *ctx, unsigned from, const void *frame, size_t len)
{
	taps++;
	cr_assert_eq(ctx, &taps);
	cr_assert_eq(from, 1);
	cr_assert_eq(len, 60);
}

Test(nic_pair, inject_and_sniff)
{
	struct fn_pair_conf c = {.buf_payload = 256, .mtu = 200};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0), *b = fn_pair_nic(w, 1);
	uint8_t frame[600], back[600];
	struct fn_pkt *p;
	unsigned i;

	for (i = 0; i < sizeof(frame); i++)
		frame[i] = (uint8_t)(i * 7);
	cr_assert_eq(fn_pair_inject(w, 0, frame, sizeof(frame)), 0);
	cr_assert_eq(a->ops->rx(a, &p, 1), 1);
	cr_assert_eq(p->pkt_len, 600);
	cr_assert_eq(p->len, 256);
	cr_assert_not_null(p->seg);
	cr_assert_eq(p->seg->data[0], (uint8_t)(256 * 7));
	cr_assert_eq(p->seg->seg->len, 600 - 512);
	cr_assert_null(p->seg->seg->seg);
	a->ops->free(a, p->seg->seg);
	a->ops->free(a, p->seg);
	a->ops->free(a, p);
	fn_pair_set_tap(w, count_tap, &taps);
	send_tag(b, 0x42);
	cr_assert_eq(taps, 1);
	cr_assert_eq(fn_pair_sniff(w, 1, back, 59), 0);
	cr_assert_eq(fn_pair_sniff(w, 1, back, sizeof(back)), 60);
	cr_assert_eq(back[59], 0x42);
	cr_assert_eq(fn_pair_sniff(w, 1, back, sizeof(back)), 0);
	cr_assert_eq(fn_pair_outstanding(w, 0) + fn_pair_outstanding(w, 1), 0);
	fn_pair_destroy(w);
}

/* ---- the device's computing ---- */

#define HLEN (FN_ETHER_LEN + FN_IP4_LEN + FN_TCP_LEN)

/* A TCP packet whose checksums are left to the device. */
static struct fn_pkt *make_tcp(struct fn_nic *nic, uint32_t payload)
{
	struct fn_pkt *p = make(nic, 0, HLEN + payload);
	struct fn_ether_hdr *eh = (struct fn_ether_hdr *)p->data;
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(eh + 1);
	struct fn_tcp_hdr *th = (struct fn_tcp_hdr *)(ip + 1);
	uint32_t i;

	eh->type = fn_be16(FN_ETHER_TYPE_IP4);
	*ip = (struct fn_ip4_hdr){.ver_ihl = 0x45, .len = fn_be16((uint16_t)(40 + payload)), .id = fn_be16(0xffff), .ttl = 64,
		.proto = FN_IPPROTO_TCP, .src = fn_be32(0x0a000001), .dst = fn_be32(0x0a000002)};
	*th = (struct fn_tcp_hdr){.seq = fn_be32(0xfffffff0), .off = 5 << 4, .flags = FN_TCP_ACK | FN_TCP_PSH | FN_TCP_FIN};
	th->csum = (uint16_t)~fn_cksum_fold(fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, 20 + payload));
	for (i = 0; i < payload; i++)
		p->data[HLEN + i] = (uint8_t)(i ^ (i >> 8));
	p->l3 = (uint16_t)(p->data - p->buf + FN_ETHER_LEN);
	p->l4 = (uint16_t)(p->l3 + FN_IP4_LEN);
	p->flags |= FN_PKT_TX_IP_CSUM | FN_PKT_TX_TCP_CSUM;
	return p;
}

static void check_sums(const uint8_t *frame, size_t len)
{
	const struct fn_ip4_hdr *ip = (const struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
	uint64_t sum = fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, (uint32_t)len - 34);

	cr_assert_eq(fn_be16(ip->len), len - FN_ETHER_LEN);
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(0, ip, FN_IP4_LEN)), 0);
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(sum, frame + 34, len - 34)), 0);
}

Test(nic_pair, the_device_fills_in_checksums)
{
	struct fn_pair_conf c = {.caps = FN_NIC_TX_IP_CSUM | FN_NIC_TX_TCP_CSUM};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0);
	struct fn_pkt *p = make_tcp(a, 777);
	uint8_t frame[1514];

	a->ops->tx(a, &p, 1);
	cr_assert_eq(fn_pair_sniff(w, 0, frame, sizeof(frame)), HLEN + 777);
	check_sums(frame, HLEN + 777);
	fn_pair_destroy(w);
}

Test(nic_pair, the_device_verifies_checksums)
{
	struct fn_pair_conf c = {.caps = FN_NIC_RX_CSUM, .seed = 3};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0), *b = fn_pair_nic(w, 1);
	struct fn_pkt *p = make_tcp(a, 100);
	unsigned i;

	a->ops->tx(a, &p, 1);
	cr_assert_eq(b->ops->rx(b, &p, 1), 1);
	cr_assert_eq(p->flags & (FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK | FN_PKT_CSUM_BAD), FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK);
	b->ops->free(b, p);
	fn_pair_conf(w)->corrupt_ppm = 1000000;
	for (i = 0; i < 200; i++) {
		p = make_tcp(a, 100);
		a->ops->tx(a, &p, 1);
		cr_assert_eq(b->ops->rx(b, &p, 1), 1);
		cr_assert(!(p->flags & FN_PKT_L4_CSUM_OK) || !(p->flags & FN_PKT_IP_CSUM_OK));
		b->ops->free(b, p);
	}
	fn_pair_destroy(w);
}

Test(nic_pair, tso_cuts_into_segments)
{
	struct fn_pair_conf c = {.buf_payload = 8192, .caps = FN_NIC_TX_TSO | FN_NIC_TX_TCP_CSUM | FN_NIC_TX_IP_CSUM};
	struct fn_pair *w = fn_pair_create(&c);
	struct fn_nic *a = fn_pair_nic(w, 0);
	struct fn_pkt *p = make_tcp(a, 2500);
	static const uint32_t want[3] = {1000, 1000, 500};
	uint32_t i, j, done = 0;
	uint8_t frame[1514];

	p->flags |= FN_PKT_TX_TSO;
	p->tso_mss = 1000;
	a->ops->tx(a, &p, 1);
	for (i = 0; i < 3; i++) {
		const struct fn_ip4_hdr *ip = (const struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
		const struct fn_tcp_hdr *th = (const struct fn_tcp_hdr *)(ip + 1);

		cr_assert_eq(fn_pair_sniff(w, 0, frame, sizeof(frame)), HLEN + want[i]);
		check_sums(frame, HLEN + want[i]);
		cr_assert_eq(fn_be32(th->seq), 0xfffffff0 + done);
		cr_assert_eq(fn_be16(ip->id), (uint16_t)(0xffff + i));
		cr_assert_eq(th->flags, i == 2 ? FN_TCP_ACK | FN_TCP_PSH | FN_TCP_FIN : FN_TCP_ACK);
		for (j = 0; j < want[i]; j++)
			cr_assert_eq(frame[HLEN + j], (uint8_t)((done + j) ^ ((done + j) >> 8)));
		done += want[i];
	}
	cr_assert_eq(fn_pair_outstanding(w, 0) + fn_pair_outstanding(w, 1), 0);
	fn_pair_destroy(w);
}
