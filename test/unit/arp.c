/* SPDX-License-Identifier: BSD-3-Clause */
/* ARP and the neighbour cache: resolving, waiting packets, ageing, probes, failures, announcements, conflicts. */
#include "net_fixture.h"
#include "stack/neigh.h"
#include "stack/recover.h"

TestSuite(arp, .init = net_setup, .fini = net_teardown);

static struct fn_path path;

/* Send one small UDP-like packet to dst; `keep` as TCP does. */
static int send_to(uint32_t dst, struct fn_pkt **kept)
{
	struct fn_pkt *p;
	int err = fn_path_init(st, &path, dst, 0, FN_IPPROTO_UDP);

	cr_assert_eq(err, 0);
	p = fn_nic_alloc(nic);
	memset(p->data, 0x55, 16);
	p->len = p->pkt_len = 16;
	if (kept) {
		p->flags |= FN_PKT_KEEP;
		*kept = p;
	}
	err = fn_ip4_output(st, &path, p);
	fn_stack_flush(st);
	return err;
}

static void answer(uint32_t ip4)
{
	put_arp(FN_ARP_REPLY, my_mac, peer_mac, ip4, my_mac, ME);
}

Test(arp, the_announcement_is_a_broadcast_request_for_ourselves)
{
	fn_arp_announce(st, nic);
	poll_stack();
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_arr_eq(in_eth->dst, bcast_mac, 6);
	cr_assert_eq(in_arp->spa, ME);
	cr_assert_eq(in_arp->tpa, ME);
	cr_assert_arr_eq(in_arp->sha, my_mac, 6);
}

Test(arp, a_request_for_us_is_answered_and_the_asker_known)
{
	uint64_t asked = st->stats.arp_requests;	/* the announcement */

	put_arp(FN_ARP_REQUEST, bcast_mac, peer_mac, PEER, (uint8_t[6]){0}, ME);
	cr_assert(next_arp(FN_ARP_REPLY));
	cr_assert_arr_eq(in_eth->dst, peer_mac, 6);
	cr_assert_eq(in_arp->spa, ME);
	cr_assert_eq(in_arp->tpa, PEER);
	cr_assert_arr_eq(in_arp->sha, my_mac, 6);
	cr_assert_arr_eq(in_arp->tha, peer_mac, 6);
	cr_assert_eq(st->stats.arp_replies, 1);
	cr_assert_eq(st->stats.arp_requests, asked);
	cr_assert_eq(send_to(PEER, NULL), 0);
	cr_assert(next_ip(FN_IPPROTO_UDP), "no request is needed");
}

Test(arp, a_packet_waits_for_its_address)
{
	uint64_t asked = st->stats.arp_requests;

	cr_assert_eq(send_to(PEER, NULL), 0);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_eq(in_arp->tpa, PEER);
	cr_assert_eq(send_to(PEER, NULL), 0);
	cr_assert(!next_frame(), "one request a second");
	answer(PEER);
	cr_assert_eq(st->stats.arp_requests, asked + 1);
	cr_assert_eq(st->stats.arp_replies, 0);
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(next_ip(FN_IPPROTO_UDP));
		cr_assert_arr_eq(in_eth->dst, peer_mac, 6);
		cr_assert_arr_eq(in_eth->src, my_mac, 6);
	}
	cr_assert(!next_frame());
}

Test(arp, a_kept_packet_waits_as_a_copy)
{
	struct fn_pkt *p;
	uint8_t *data;

	cr_assert_eq(send_to(PEER, &p), 0);
	data = p->data;
	cr_assert_eq(p->len, 16);
	cr_assert(!(p->flags & FN_PKT_QUEUED));
	memset(data, 0xaa, 16);
	cr_assert(next_arp(FN_ARP_REQUEST));
	answer(PEER);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_l4[0], 0x55);
	fn_pkt_free(p);
}

Test(arp, beyond_the_net_the_gateway_is_asked)
{
	send_to(FAR, NULL);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_eq(in_arp->tpa, GATEWAY);
	answer(GATEWAY);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_ip->dst, FAR);
}

Test(arp, three_requests_then_an_error)
{
	unsigned requests = 0;
	uint64_t start = now;

	send_to(GATEWAY, NULL);
	while (!tcp_neigh_fails) {
		cr_assert_neq(fn_stack_deadline(st), FN_NEVER);
		now = fn_max(now, fn_stack_deadline(st));
		poll_stack();
		while (next_arp(FN_ARP_REQUEST))
			requests++;
	}
	cr_assert_eq(requests, 3);
	cr_assert(now - start >= 3 * FN_NSEC && now - start < 3 * FN_NSEC + 10 * FN_MSEC);
	cr_assert_eq(tcp_neigh_hop, GATEWAY);
	cr_assert_eq(drops(FN_DROP_ARP_FAILED), 1);
	cr_assert_eq(fn_stack_deadline(st), FN_NEVER, "a failed neighbour is asked no more");
	send_to(GATEWAY, NULL);
	cr_assert(next_arp(FN_ARP_REQUEST), "until it is used again");
	answer(GATEWAY);
	cr_assert(next_ip(FN_IPPROTO_UDP));
}

Test(arp, the_oldest_goes_when_too_many_wait)
{
	for (unsigned i = 0; i < 70; i++)
		send_to(PEER, NULL);
	cr_assert_eq(drops(FN_DROP_ARP_QUEUE_FULL), 6);
	cr_assert(next_arp(FN_ARP_REQUEST));
	answer(PEER);
	for (unsigned i = 0; i < 64; i++)
		cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert(!next_frame());
}

Test(arp, a_stale_neighbour_is_used_then_probed_by_unicast)
{
	send_to(PEER, NULL);
	next_frame();
	answer(PEER);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	pass(29 * FN_NSEC);
	send_to(PEER, NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(fn_stack_deadline(st), FN_NEVER, "reachable, idle: no timer");
	pass(2 * FN_NSEC);
	send_to(PEER, NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP), "stale, but good enough to use");
	pass(4900 * FN_MSEC);
	cr_assert(!next_frame());
	pass(200 * FN_MSEC);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_arr_eq(in_eth->dst, peer_mac, 6);
	send_to(PEER, NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP), "packets flow during the probe");
	answer(PEER);
	cr_assert_eq(fn_stack_deadline(st), FN_NEVER);
}

/* This layer's part of fn_stack_recover(). */
static void recover(void)
{
	fn_wheel_init(&st->wheel, st->now);
	fn_neigh_recover(st);
}

Test(arp, after_a_death_what_was_known_is_used_then_probed)
{
	send_to(PEER, NULL);
	next_frame();
	answer(PEER);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	recover();
	for (unsigned i = 0; i < 100; i++)
		send_to(PEER, NULL);
	for (unsigned i = 0; i < 100; i++) {
		cr_assert(next_ip(FN_IPPROTO_UDP), "at once, however many");
		cr_assert_arr_eq(in_eth->dst, peer_mac, 6);
	}
	pass(5100 * FN_MSEC);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_arr_eq(in_eth->dst, peer_mac, 6);
}

Test(arp, after_a_death_what_was_not_known_is_asked_for_again)
{
	struct fn_pkt *waited;

	send_to(PEER, NULL);
	cr_assert(next_arp(FN_ARP_REQUEST));
	waited = fn_neigh_find(st, nic, PEER)->wait.head;
	recover();
	fn_pkt_free(waited);
	send_to(PEER, NULL);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_arr_eq(in_eth->dst, bcast_mac, 6);
	answer(PEER);
	cr_assert(next_ip(FN_IPPROTO_UDP));
}

Test(arp, a_sign_of_life_spares_the_probe)
{
	know(PEER);
	send_to(PEER, NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_neq(fn_stack_deadline(st), FN_NEVER, "learnt from a request: not proven yet");
	fn_neigh_confirm(st, path.neigh);
	cr_assert_eq(fn_stack_deadline(st), FN_NEVER);
	pass(10 * FN_NSEC);
	cr_assert(!next_frame());
	fn_neigh_confirm(st, NULL);
}

Test(arp, probes_without_an_answer_fail)
{
	unsigned requests = 0;

	know(PEER);
	send_to(PEER, NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	pass(5 * FN_NSEC + 10 * FN_MSEC);
	pass(3 * FN_NSEC + 10 * FN_MSEC);
	while (next_arp(FN_ARP_REQUEST))
		requests++;
	cr_assert_eq(requests, 3);
	cr_assert_eq(tcp_neigh_fails, 1);
	send_to(PEER, NULL);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_arr_eq(in_eth->dst, bcast_mac, 6);
	answer(PEER);
	cr_assert(next_ip(FN_IPPROTO_UDP));
}

Test(arp, a_neighbour_may_change_its_address)
{
	static const uint8_t other[6] = {2, 9, 9, 9, 9, 9};

	know(PEER);
	put_arp(FN_ARP_REQUEST, bcast_mac, other, PEER, (uint8_t[6]){0}, PEER);
	send_to(PEER, NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_arr_eq(in_eth->dst, other, 6);
}

Test(arp, what_nobody_asked_for_is_not_learnt)
{
	answer(PEER);
	put_arp(FN_ARP_REQUEST, bcast_mac, peer_mac, PEER, (uint8_t[6]){0}, GATEWAY);
	cr_assert_null(fn_neigh_find(st, nic, PEER));
	cr_assert_eq(drops(FN_DROP_ARP_FOREIGN), 1);
}

Test(arp, an_address_probe_is_answered_but_not_learnt)
{
	put_arp(FN_ARP_REQUEST, bcast_mac, peer_mac, 0, (uint8_t[6]){0}, ME);
	cr_assert(next_arp(FN_ARP_REPLY));
	cr_assert_null(fn_neigh_find(st, nic, 0));
}

Test(arp, a_conflict_is_counted_and_the_address_defended_at_most_each_10_s)
{
	put_arp(FN_ARP_REQUEST, bcast_mac, peer_mac, ME, (uint8_t[6]){0}, ME);
	cr_assert(next_arp(FN_ARP_REQUEST));
	cr_assert_eq(in_arp->tpa, ME);
	put_arp(FN_ARP_REPLY, my_mac, peer_mac, ME, my_mac, ME);
	cr_assert(!next_frame());
	cr_assert_eq(drops(FN_DROP_ARP_CONFLICT), 2);
	pass(11 * FN_NSEC);
	put_arp(FN_ARP_REPLY, my_mac, peer_mac, ME, my_mac, ME);
	cr_assert(next_arp(FN_ARP_REQUEST));
}

Test(arp, malformed_messages_are_dropped)
{
	uint8_t f[60] = {0};
	struct fn_arp_hdr *a = (struct fn_arp_hdr *)(f + 14);

	memcpy(f, my_mac, 6);
	f[12] = 8;
	f[13] = 6;
	put_frame(f, 14 + 27);
	cr_assert_eq(drops(FN_DROP_ARP_SHORT), 1);
	put_frame(f, 60);
	cr_assert_eq(drops(FN_DROP_ARP_FORMAT), 1);
	put_arp(3, my_mac, peer_mac, PEER, my_mac, ME);
	cr_assert_eq(drops(FN_DROP_ARP_FORMAT), 2);
	put_arp(FN_ARP_REPLY, my_mac, bcast_mac, PEER, my_mac, ME);
	cr_assert_eq(drops(FN_DROP_ARP_FORMAT), 3, "nobody's address is a broadcast");
	a->op = 0;
}

Test(arp, broadcast_and_multicast_need_no_asking)
{
	send_to(IP(10, 0, 0, 255), NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_arr_eq(in_eth->dst, bcast_mac, 6);
	send_to(UINT32_MAX, NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_arr_eq(in_eth->dst, bcast_mac, 6);
	send_to(IP(239, 129, 2, 3), NULL);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_arr_eq(in_eth->dst, ((uint8_t[6]){1, 0, 0x5e, 1, 2, 3}), 6);
}

Test(arp, a_full_cache_gives_way_and_paths_notice)
{
	struct fn_path old;
	uint32_t i;

	nic->ip4_mask = IP(255, 0, 0, 0);
	st->nics = 0;
	cr_assert_eq(fn_stack_add_nic(st, nic), 0);
	poll_stack();
	cr_assert(next_frame());
	know(PEER);
	cr_assert_eq(fn_path_init(st, &old, PEER, 0, FN_IPPROTO_UDP), 0);
	for (i = 0; i < 3000; i++)
		cr_assert_eq(fn_path_init(st, &path, IP(10, 7, i >> 8, i & 255), 0, FN_IPPROTO_UDP), 0);
	cr_assert_neq(old.neigh->ip4, PEER);
	path = old;
	{
		struct fn_pkt *p = fn_nic_alloc(nic);

		p->len = p->pkt_len = 8;
		cr_assert_eq(fn_ip4_output(st, &old, p), 0);
		fn_stack_flush(st);
	}
	while (next_frame() && in_arp->tpa != PEER)
		;
	cr_assert_eq(in_arp->tpa, PEER, "it is looked up again");
	answer(PEER);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_arr_eq(in_eth->dst, peer_mac, 6);
}
