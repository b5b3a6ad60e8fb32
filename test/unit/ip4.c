/* SPDX-License-Identifier: BSD-3-Clause */
/* Ethernet and IPv4 input checks, options, fragments both ways, routes, the path to ourselves. */
#include "net_fixture.h"

TestSuite(ip4, .init = net_setup, .fini = net_teardown);

static uint8_t data[FRAME_MAX];

static struct ip_spec tcp(void)
{
	return (struct ip_spec){.proto = FN_IPPROTO_TCP};
}

/* ---- Ethernet ---- */

Test(ip4, frames_for_others_short_ones_and_foreign_types)
{
	static const uint8_t other[6] = {2, 0, 0, 0, 0, 9};
	struct ip_spec s = tcp();
	uint8_t f[60] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xcc};

	s.mac = other;
	put_ip(&s, data, 40);
	cr_assert_eq(drops(FN_DROP_ETHER_DST), 1);
	put_frame(f, 13);
	cr_assert_eq(drops(FN_DROP_ETHER_SHORT), 1);
	put_frame(f, 60);
	cr_assert_eq(drops(FN_DROP_ETHER_TYPE), 1);
	cr_assert_eq(tcp_inputs, 0);
}

Test(ip4, a_priority_tag_is_taken_off_other_vlans_are_not_ours)
{
	uint8_t f[200], tagged[204];
	struct ip_spec s = tcp();
	size_t len = ip_frame(f, &s, data, 40);

	memcpy(tagged, f, 12);
	memcpy(tagged + 12, (uint8_t[4]){0x81, 0x00, 0xe0, 0x00}, 4);
	memcpy(tagged + 16, f + 12, len - 12);
	put_frame(tagged, len + 4);
	cr_assert_eq(tcp_inputs, 1);
	tagged[15] = 5;
	put_frame(tagged, len + 4);
	cr_assert_eq(tcp_inputs, 1);
	put_frame(tagged, 16);
	put_frame(tagged, 15);
	cr_assert_eq(drops(FN_DROP_ETHER_SHORT), 2);
}

Test(ip4, a_frame_larger_than_the_mtu_is_counted)
{
	struct ip_spec s = tcp();

	put_ip(&s, data, 1480);
	cr_assert_eq(tcp_inputs, 1);
	put_ip(&s, data, 1600);
	put_ip(&s, data, 20000);
	cr_assert_eq(drops(FN_DROP_ETHER_GSO), 2);
	cr_assert_eq(tcp_inputs, 1);
}

/* A device that hands over what a kernel peer has not cut. */
Test(ip4, joined_segments_are_taken_joined_datagrams_are_not)
{
	struct ip_spec s = tcp(), u = tcp();

	know(PEER);	/* nobody listens, and it is told */
	u.proto = FN_IPPROTO_UDP;
	nic->caps |= FN_NIC_RX_JOINED;
	put_ip(&s, data, 20000);
	cr_assert_eq(tcp_inputs, 1);
	put_ip(&u, data, 2000);		/* its checksum is in it: one datagram */
	cr_assert_eq(drops(FN_DROP_ETHER_GSO), 0);
	u.proto = FN_IPPROTO_ICMP;
	put_ip(&u, data, 2000);
	cr_assert_eq(drops(FN_DROP_ETHER_GSO), 1);
	s.frag = FN_IP4_MF;
	put_ip(&s, data, 2000);
	cr_assert_eq(drops(FN_DROP_ETHER_GSO), 2);
	cr_assert_eq(tcp_inputs, 1);
}

/* ---- header ---- */

Test(ip4, every_check_of_the_header)
{
	struct {
		struct ip_spec s;
		enum fn_drop reason;
	} bad[] = {
		{{.bad_csum = true}, FN_DROP_IP4_CSUM},
		{{.len_delta = 1}, FN_DROP_IP4_SHORT},
		{{.len_delta = -41}, FN_DROP_IP4_SHORT},
		{{.src = IP(127, 0, 0, 1)}, FN_DROP_IP4_SRC},
		{{.src = IP(224, 0, 0, 1)}, FN_DROP_IP4_SRC},
		{{.src = UINT32_MAX}, FN_DROP_IP4_SRC},
		{{.src = IP(0, 1, 2, 3)}, FN_DROP_IP4_SRC},
		{{.src = IP(10, 0, 0, 255)}, FN_DROP_IP4_SRC},
		{{.src = ME}, FN_DROP_IP4_SRC},
		{{.dst = PEER}, FN_DROP_IP4_DST},
		{{.dst = IP(127, 0, 0, 1)}, FN_DROP_IP4_DST},
		{{.dst = IP(224, 0, 0, 5)}, FN_DROP_IP4_DST},
		{{.mac = bcast_mac}, FN_DROP_IP4_DST},
		{{.proto = 132}, FN_DROP_IP4_PROTO},
	};

	know(PEER);
	for (unsigned i = 0; i < fn_array_size(bad); i++) {
		uint64_t before = drops(bad[i].reason);

		if (!bad[i].s.proto)
			bad[i].s.proto = FN_IPPROTO_TCP;
		put_ip(&bad[i].s, data, 40);
		cr_assert_eq(drops(bad[i].reason), before + 1, "case %u", i);
	}
	cr_assert_eq(tcp_inputs, 0);
	cr_assert(next_ip(FN_IPPROTO_ICMP));
	cr_assert_eq(in_icmp->code, FN_ICMP_UNREACH_PROTO);
	cr_assert(!next_frame(), "only the unknown protocol is answered");
}

Test(ip4, bad_versions_and_lengths)
{
	uint8_t f[100];
	struct ip_spec s = tcp();
	struct fn_ip4_hdr *h = (struct fn_ip4_hdr *)(f + 14);
	size_t len = ip_frame(f, &s, data, 40);

	h->ver_ihl = 0x65;
	put_frame(f, len);
	h->ver_ihl = 0x44;
	put_frame(f, len);
	cr_assert_eq(drops(FN_DROP_IP4_HEADER), 2);
	h->ver_ihl = 0x4f;
	put_frame(f, 14 + 30);
	put_frame(f, 14 + 19);
	cr_assert_eq(drops(FN_DROP_IP4_SHORT), 2);
}

Test(ip4, padding_is_cut_off_and_ttl_0_is_accepted)
{
	struct ip_spec s = tcp();

	s.pad = 6;
	put_ip(&s, data, 20);
	cr_assert_eq(tcp_inputs, 1);
	cr_assert_eq(tcp_len, 20);
}

Test(ip4, options_are_walked)
{
	static const struct {
		uint8_t opt[8];
		bool ok;
	} cases[] = {
		{{1, 1, 1, 1, 0, 0, 0, 0}, true},
		{{7, 7, 4, 0, 0, 0, 0, 0}, true},
		{{0, 9, 9, 9, 9, 9, 9, 9}, true},
		{{7, 9, 4, 0, 0, 0, 0, 0}, false},
		{{7, 1, 4, 0, 0, 0, 0, 0}, false},
		{{7, 0, 4, 0, 0, 0, 0, 0}, false},
		{{1, 1, 1, 1, 1, 1, 1, 7}, false},
		{{131, 7, 4, 10, 0, 0, 2, 0}, false},
		{{1, 137, 7, 4, 10, 0, 0, 2}, false},
	};

	for (unsigned i = 0; i < fn_array_size(cases); i++) {
		struct ip_spec s = tcp();
		unsigned before = tcp_inputs;

		s.opt = cases[i].opt;
		s.opt_len = 8;
		put_ip(&s, data, 20);
		cr_assert_eq(tcp_inputs - before, cases[i].ok, "case %u", i);
		if (cases[i].ok)
			cr_assert_eq(tcp_len, 20);
	}
	cr_assert_eq(drops(FN_DROP_IP4_OPTIONS), 6);
}

/* ---- reassembly ---- */

static void put_fragment(uint16_t id, unsigned off, unsigned len, bool more)
{
	struct ip_spec s = {.proto = FN_IPPROTO_TCP, .id = id, .frag = (uint16_t)(off / 8 | (more ? FN_IP4_MF : 0))};

	put_ip(&s, data + off, len);
}

Test(ip4, fragments_in_any_order_make_one_packet)
{
	static const unsigned order[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {2, 0, 1}};

	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < 3; k++) {
			cr_assert_eq(tcp_inputs, i);
			put_fragment((uint16_t)i, order[i][k] * 400, 400 + (order[i][k] == 2), order[i][k] != 2);
		}
	cr_assert_eq(tcp_inputs, 4);
	cr_assert_eq(tcp_len, 1201);
	cr_assert(tcp_single);
	cr_assert_eq(st->stats.ip4_reassembled, 4);
	cr_assert_eq(st->stats.ip4_frags_in, 12);
	cr_assert_eq(fn_stack_deadline(st), FN_NEVER);
}

Test(ip4, a_duplicate_is_dropped_an_overlap_voids_the_packet)
{
	put_fragment(1, 0, 400, true);
	put_fragment(1, 0, 400, true);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_BAD), 1);
	put_fragment(1, 400, 10, false);
	cr_assert_eq(tcp_inputs, 1);
	put_fragment(2, 0, 400, true);
	put_fragment(2, 392, 100, false);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_BAD), 3, "the new one and the one that was there");
	put_fragment(2, 400, 100, false);
	cr_assert_eq(tcp_inputs, 1);
	pass(31 * FN_NSEC);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_TIMEOUT), 1, "it waited alone");
}

Test(ip4, impossible_fragments)
{
	put_fragment(1, 0, 401, true);
	put_fragment(1, 65528, 8, false);
	put_fragment(1, 8, 0, false);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_BAD), 3);
	put_fragment(2, 400, 8, false);
	put_fragment(2, 408, 8, true);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_BAD), 5, "behind the last one there is nothing");
	put_fragment(3, 400, 8, false);
	put_fragment(3, 8, 8, false);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_BAD), 7, "there is one last one");
}

Test(ip4, reassembly_times_out_and_says_so)
{
	know(PEER);
	put_fragment(1, 0, 400, true);
	put_fragment(2, 400, 400, true);
	pass(29 * FN_NSEC);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_TIMEOUT), 0);
	pass(2 * FN_NSEC);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_TIMEOUT), 2);
	cr_assert(next_ip(FN_IPPROTO_ICMP));
	cr_assert_eq(in_icmp->type, FN_ICMP_TIME_EXCEEDED);
	cr_assert_eq(in_icmp->code, 1);
	while (next_frame())
		cr_assert_neq(in_ip->proto == FN_IPPROTO_ICMP && in_eth->type == fn_be16(0x800), true, "only for the first");
}

Test(ip4, reassembly_is_limited_in_packets_and_buffers)
{
	for (unsigned i = 0; i < 100; i++)
		put_fragment((uint16_t)i, 0, 8, true);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_FULL), 36);
	for (unsigned i = 0; i < 3000; i++)
		put_fragment((uint16_t)(1000 + i / 500), i % 500 * 16, 8, true);
	cr_assert_leq(fn_pair_outstanding(wire, 0), 512);
	pass(40 * FN_NSEC);
}

Test(ip4, a_reassembled_packet_that_is_too_large_for_tcp_is_refused)
{
	for (unsigned off = 0; off < 8000; off += 800)
		put_fragment(1, off, 800, off + 800 < 8000);
	cr_assert_eq(tcp_inputs, 0);
	cr_assert_eq(drops(FN_DROP_IP4_FRAG_FULL), 1);
}

/* ---- output ---- */

static int output(uint32_t dst, uint32_t len, bool df, uint16_t flags)
{
	struct fn_path path;
	struct fn_pkt *p;
	int err = fn_path_init(st, &path, dst, 0, FN_IPPROTO_UDP);

	if (err)
		return err;
	path.df = df;
	path.tos = 0x20;
	path.ttl = 33;
	p = fn_nic_alloc(nic);
	for (uint32_t i = 0; i < len; i++)
		p->data[i] = (uint8_t)(i * 7);
	p->len = p->pkt_len = len;
	p->flags |= flags;
	err = fn_ip4_output(st, &path, p);
	fn_stack_flush(st);
	if (flags & FN_PKT_KEEP) {
		cr_assert_eq(p->len, len);
		cr_assert_eq(p->data, p->buf + FN_PKT_HEADROOM);
		fn_pkt_free(p);
	}
	return err;
}

Test(ip4, the_header_is_right)
{
	know(PEER);
	cr_assert_eq(output(PEER, 100, true, 0), 0);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_len, 134);
	cr_assert_eq(in_ip->ver_ihl, 0x45);
	cr_assert_eq(in_ip->tos, 0x20);
	cr_assert_eq(in_ip->ttl, 33);
	cr_assert_eq(in_ip->frag, fn_be16(FN_IP4_DF));
	cr_assert_eq(in_ip->src, ME);
	cr_assert_eq(in_ip->dst, PEER);
	cr_assert_eq(output(PEER, 100, false, FN_PKT_KEEP), 0);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_ip->frag, 0);
}

Test(ip4, too_big_with_df_is_an_error)
{
	know(PEER);
	cr_assert_eq(output(PEER, 1481, true, 0), -EMSGSIZE);
	cr_assert_eq(output(PEER, 1481, true, FN_PKT_KEEP), -EMSGSIZE);
	cr_assert_eq(drops(FN_DROP_IP4_TOO_BIG), 2);
	cr_assert_eq(output(PEER, 1480, true, 0), 0);
	cr_assert(next_ip(FN_IPPROTO_UDP));
}

Test(ip4, what_exceeds_the_mtu_is_cut)
{
	unsigned off = 0, id = 0;

	know(PEER);
	cr_assert_eq(output(PEER, 1800, false, 0), 0);
	while (next_ip(FN_IPPROTO_UDP)) {
		cr_assert_eq((fn_be16(in_ip->frag) & FN_IP4_OFFSET) * 8, off);
		cr_assert(!off || in_ip->id == id);
		id = in_ip->id;
		for (unsigned i = 0; i < in_l4_len; i++)
			cr_assert_eq(in_l4[i], (uint8_t)((off + i) * 7));
		off += (unsigned)in_l4_len;
		cr_assert_eq(!!(fn_be16(in_ip->frag) & FN_IP4_MF), off < 1800);
	}
	cr_assert_eq(off, 1800);
	output(PEER, 1800, false, 0);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_neq(in_ip->id, id, "identifications are not used again");
}

/* ---- routes ---- */

Test(ip4, the_longest_prefix_wins)
{
	struct fn_path path;

	cr_assert_eq(fn_route_add(st, IP(192, 0, 0, 0), IP(255, 0, 0, 0), IP(10, 0, 0, 3), nic), 0);
	cr_assert_eq(fn_route_add(st, IP(192, 0, 2, 0), IP(255, 255, 255, 0), IP(10, 0, 0, 4), nic), 0);
	cr_assert_eq(fn_route_add(st, IP(192, 0, 2, 7), UINT32_MAX, 0, nic), 0);
	cr_assert_eq(fn_route_add(st, IP(192, 0, 2, 9), IP(255, 255, 255, 0), 0, nic), -EEXIST);
	fn_path_init(st, &path, IP(192, 0, 2, 7), 0, 6);
	cr_assert_eq(path.next_hop, IP(192, 0, 2, 7));
	fn_path_init(st, &path, IP(192, 0, 2, 8), 0, 6);
	cr_assert_eq(path.next_hop, IP(10, 0, 0, 4));
	fn_path_init(st, &path, IP(192, 9, 2, 8), 0, 6);
	cr_assert_eq(path.next_hop, IP(10, 0, 0, 3));
	fn_path_init(st, &path, IP(8, 8, 8, 8), 0, 6);
	cr_assert_eq(path.next_hop, GATEWAY);
	fn_path_init(st, &path, PEER, 0, 6);
	cr_assert_eq(path.next_hop, PEER);
	cr_assert_eq(path.src, ME);
}

Test(ip4, the_table_is_finite)
{
	unsigned i;

	for (i = 0; i < FN_ROUTES_MAX - 2; i++)
		cr_assert_eq(fn_route_add(st, IP(172, 16, i, 0), IP(255, 255, 255, 0), PEER, nic), 0);
	cr_assert_eq(fn_route_add(st, IP(172, 16, i, 0), IP(255, 255, 255, 0), PEER, nic), -ENOSPC);
}

Test(ip4, paths_that_cannot_be)
{
	struct fn_path path;

	cr_assert_eq(fn_path_init(st, &path, PEER, IP(10, 0, 0, 9), 6), -EADDRNOTAVAIL);
	cr_assert_eq(fn_path_init(st, &path, PEER, IP(127, 0, 0, 1), 6), -EINVAL);
	st->routes->count = 1;
	cr_assert_eq(fn_path_init(st, &path, FAR, 0, 6), -ENETUNREACH);
}

Test(ip4, what_goes_to_ourselves_comes_back_by_the_next_poll)
{
	struct fn_path path;
	struct fn_pkt *p;
	uint32_t dsts[] = {ME, IP(127, 0, 0, 1), 0};

	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(fn_path_init(st, &path, dsts[i], 0, FN_IPPROTO_TCP), 0);
		cr_assert(path.local);
		p = fn_nic_alloc(nic);
		p->len = p->pkt_len = 40;
		p->flags = i ? FN_PKT_KEEP : 0;
		cr_assert_eq(fn_ip4_output(st, &path, p), 0);
		cr_assert_eq(tcp_inputs, i);
		cr_assert_eq(fn_stack_deadline(st), st->now);
		poll_stack();
		cr_assert_eq(tcp_inputs, i + 1);
		cr_assert_eq(tcp_len, 40);
		if (i)
			fn_pkt_free(p);
	}
	cr_assert(!next_frame());
}
