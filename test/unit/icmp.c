/* SPDX-License-Identifier: BSD-3-Clause */
/* ICMP: echo, errors that come in and whom they reach, when errors are sent and when not. */
#include "net_fixture.h"

TestSuite(icmp, .init = net_setup, .fini = net_teardown);

static uint8_t msg[FRAME_MAX];

static void put_icmp(struct ip_spec s, size_t len)
{
	struct fn_icmp_hdr *h = (struct fn_icmp_hdr *)msg;

	s.proto = FN_IPPROTO_ICMP;
	h->csum = 0;
	h->csum = fn_cksum_fold(fn_cksum_add(0, msg, len));
	put_ip(&s, msg, len);
}

static void echo(unsigned len)
{
	*(struct fn_icmp_hdr *)msg = (struct fn_icmp_hdr){.type = FN_ICMP_ECHO, .echo = {fn_be16(77), fn_be16(3)}};
	for (unsigned i = 8; i < len; i++)
		msg[i] = (uint8_t)i;
}

Test(icmp, echo_is_answered)
{
	know(PEER);
	echo(64);
	put_icmp((struct ip_spec){.tos = 0x10}, 64);
	cr_assert(next_ip(FN_IPPROTO_ICMP));
	cr_assert_eq(in_ip->src, ME);
	cr_assert_eq(in_ip->dst, PEER);
	cr_assert_eq(in_ip->tos, 0x10);
	cr_assert_eq(in_icmp->type, FN_ICMP_ECHO_REPLY);
	cr_assert_eq(in_icmp->echo.id, fn_be16(77));
	cr_assert_arr_eq(in_l4 + 8, msg + 8, 56);
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(0, in_l4, in_l4_len)), 0);
}

Test(icmp, a_large_echo_comes_and_goes_in_fragments)
{
	static uint8_t whole[5000], got[5000];
	unsigned off, total = 0;

	know(PEER);
	echo(5000);
	memcpy(whole, msg, 5000);
	((struct fn_icmp_hdr *)whole)->csum = fn_cksum_fold(fn_cksum_add(0, whole, 5000));
	for (off = 0; off < 5000; off += 1000) {
		struct ip_spec s = {.proto = FN_IPPROTO_ICMP, .id = 9,
			.frag = (uint16_t)(off / 8 | (off < 4000 ? FN_IP4_MF : 0))};

		put_ip(&s, whole + off, 1000);
	}
	while (next_ip(FN_IPPROTO_ICMP)) {
		off = (fn_be16(in_ip->frag) & FN_IP4_OFFSET) * 8u;
		memcpy(got + off, in_l4, in_l4_len);
		total += (unsigned)in_l4_len;
	}
	cr_assert_eq(total, 5000);
	cr_assert_eq(st->stats.ip4_frags_in, 5);
	cr_assert_eq(st->stats.ip4_frags_out, 4);	/* of 1480 bytes */
	cr_assert_eq(st->stats.icmp_in, 1);
	cr_assert_eq(st->stats.icmp_out, 1);
	cr_assert_arr_eq(got + 8, whole + 8, 4992);
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(0, got, 5000)), 0);
}

Test(icmp, bad_ones_are_dropped)
{
	struct ip_spec s = {.proto = FN_IPPROTO_ICMP};

	know(PEER);
	echo(64);
	((struct fn_icmp_hdr *)msg)->csum = 1;
	put_ip(&s, msg, 64);
	cr_assert_eq(drops(FN_DROP_ICMP_CSUM), 1);
	put_ip(&s, msg, 7);
	cr_assert_eq(drops(FN_DROP_ICMP_SHORT), 1);
	put_icmp((struct ip_spec){.dst = IP(10, 0, 0, 255), .mac = bcast_mac}, 64);
	cr_assert_eq(drops(FN_DROP_ICMP_BCAST), 1);
	msg[0] = 42;
	put_icmp((struct ip_spec){0}, 64);
	cr_assert_eq(drops(FN_DROP_ICMP_TYPE), 1);
	cr_assert_eq(st->stats.icmp_in, 2);	/* those that could be read */
	cr_assert_eq(st->stats.icmp_out, 0);
	cr_assert(!next_frame());
}

static void no_gateway_setup(void)
{
	net_teardown();		/* the suite's comes first */
	no_gateway = true;
	net_setup();
}

Test(icmp, an_echo_that_no_route_answers, .init = no_gateway_setup)
{
	echo(64);
	put_icmp((struct ip_spec){.src = FAR}, 64);
	cr_assert_eq(drops(FN_DROP_IP4_NO_ROUTE), 1);
	cr_assert_eq(st->stats.icmp_in, 1);
	cr_assert_eq(st->stats.icmp_out, 0);
	cr_assert(!next_frame());
}

/* An error that quotes a packet of ours. */
static size_t quote(uint8_t type, uint8_t code, uint16_t mtu, uint8_t proto, uint16_t sport, uint16_t dport, uint32_t seq)
{
	struct fn_icmp_hdr *h = (struct fn_icmp_hdr *)msg;
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(h + 1);
	struct fn_tcp_hdr *t = (struct fn_tcp_hdr *)(ip + 1);

	*h = (struct fn_icmp_hdr){.type = type, .code = code};
	h->frag.mtu = fn_be16(mtu);
	*ip = (struct fn_ip4_hdr){.ver_ihl = 0x45, .len = fn_be16(1500), .ttl = 60, .proto = proto, .src = ME, .dst = FAR};
	t->sport = fn_be16(sport);
	t->dport = fn_be16(dport);
	t->seq = fn_be32(seq);
	return 8 + 28;
}

Test(icmp, an_error_reaches_the_protocol_that_it_quotes)
{
	put_icmp((struct ip_spec){0}, quote(FN_ICMP_UNREACH, FN_ICMP_UNREACH_FRAG, 1400, FN_IPPROTO_TCP, 80, 90, 12345));
	cr_assert_eq(tcp_icmps, 1);
	cr_assert_eq(tcp_icmp_local.ip4, ME);
	cr_assert_eq(tcp_icmp_local.port, fn_be16(80));
	cr_assert_eq(tcp_icmp_remote.ip4, FAR);
	cr_assert_eq(tcp_icmp_remote.port, fn_be16(90));
	cr_assert_eq(tcp_icmp_seq, 12345);
	cr_assert_eq(tcp_icmp_mtu, 1400);
	put_icmp((struct ip_spec){0}, quote(FN_ICMP_UNREACH, FN_ICMP_UNREACH_FRAG, 0, FN_IPPROTO_TCP, 80, 90, 1));
	cr_assert_eq(tcp_icmp_mtu, 1492, "the plateau below 1500");
}

Test(icmp, errors_that_quote_nothing_of_ours_are_dropped)
{
	size_t len = quote(FN_ICMP_UNREACH, 1, 0, FN_IPPROTO_TCP, 80, 90, 1);
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(msg + 8);

	put_icmp((struct ip_spec){0}, len - 1);
	ip->ver_ihl = 0x4f;
	put_icmp((struct ip_spec){0}, len);
	ip->ver_ihl = 0x55;
	put_icmp((struct ip_spec){0}, len);
	cr_assert_eq(drops(FN_DROP_ICMP_SHORT), 3);
	ip->ver_ihl = 0x45;
	ip->frag = fn_be16(5);
	put_icmp((struct ip_spec){0}, len);
	ip->frag = 0;
	ip->src = PEER;
	put_icmp((struct ip_spec){0}, len);
	ip->src = ME;
	ip->proto = 99;
	put_icmp((struct ip_spec){0}, len);
	ip->proto = FN_IPPROTO_UDP;
	put_icmp((struct ip_spec){0}, len);
	cr_assert_eq(drops(FN_DROP_ICMP_NO_SOCK), 4);
	cr_assert_eq(tcp_icmps, 0);
}

Test(icmp, errno_as_linux)
{
	bool fatal;

	cr_assert_eq(fn_icmp_errno(FN_ICMP_UNREACH, FN_ICMP_UNREACH_PORT, &fatal), ECONNREFUSED);
	cr_assert(fatal);
	cr_assert_eq(fn_icmp_errno(FN_ICMP_UNREACH, FN_ICMP_UNREACH_HOST, &fatal), EHOSTUNREACH);
	cr_assert(!fatal);
	cr_assert_eq(fn_icmp_errno(FN_ICMP_UNREACH, FN_ICMP_UNREACH_FRAG, &fatal), EMSGSIZE);
	cr_assert_eq(fn_icmp_errno(FN_ICMP_UNREACH, 16, &fatal), 0);
	cr_assert_eq(fn_icmp_errno(FN_ICMP_TIME_EXCEEDED, 0, &fatal), EHOSTUNREACH);
	cr_assert_eq(fn_icmp_errno(FN_ICMP_PARAM, 0, &fatal), EPROTO);
	cr_assert_eq(fn_icmp_errno(FN_ICMP_ECHO, 0, &fatal), 0);
}

/* ---- errors that we send: a datagram to a closed port asks for one ---- */

Test(icmp, a_closed_port_is_reported_with_the_quote)
{
	static const uint8_t payload[700];

	know(PEER);
	put_udp(PEER, 1000, ME, 7, payload, sizeof(payload));
	cr_assert(next_ip(FN_IPPROTO_ICMP));
	cr_assert_eq(in_icmp->type, FN_ICMP_UNREACH);
	cr_assert_eq(in_icmp->code, FN_ICMP_UNREACH_PORT);
	cr_assert_eq(in_ip->dst, PEER);
	cr_assert_eq(fn_be16(in_ip->len), 576);
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(0, in_l4, in_l4_len)), 0);
	cr_assert_eq(((struct fn_ip4_hdr *)(in_l4 + 8))->dst, ME);
	cr_assert_eq(drops(FN_DROP_UDP_NO_SOCK), 1);
}

Test(icmp, no_error_about_broadcasts_fragments_and_errors)
{
	uint8_t out[64];
	size_t len = udp_bytes(out, PEER, IP(10, 0, 0, 255), 1, 2, "x", 1);
	struct ip_spec s = {.dst = IP(10, 0, 0, 255), .proto = FN_IPPROTO_UDP, .mac = bcast_mac};
	struct fn_pkt *p;

	know(PEER);
	put_ip(&s, out, len);
	s = (struct ip_spec){.dst = UINT32_MAX, .proto = 200, .mac = bcast_mac};
	put_ip(&s, out, len);
	p = fn_nic_alloc(nic);
	p->len = p->pkt_len = 48;
	p->l3 = FN_PKT_HEADROOM;
	*(struct fn_ip4_hdr *)p->data = (struct fn_ip4_hdr){.ver_ihl = 0x45, .len = fn_be16(48), .proto = FN_IPPROTO_ICMP,
		.src = PEER, .dst = ME};
	p->data[20] = FN_ICMP_UNREACH;
	fn_icmp_send_error(st, p, FN_ICMP_UNREACH, 2, 0);
	p->data[20] = 99;
	fn_icmp_send_error(st, p, FN_ICMP_UNREACH, 2, 0);
	fn_pkt_ip4(p)->proto = FN_IPPROTO_UDP;
	fn_pkt_ip4(p)->frag = fn_be16(3);
	fn_icmp_send_error(st, p, FN_ICMP_UNREACH, 2, 0);
	fn_pkt_ip4(p)->frag = 0;
	fn_pkt_ip4(p)->src = 0;
	fn_icmp_send_error(st, p, FN_ICMP_UNREACH, 2, 0);
	poll_stack();
	cr_assert(!next_frame());
	fn_pkt_ip4(p)->src = PEER;
	fn_icmp_send_error(st, p, FN_ICMP_UNREACH, 2, 0);
	poll_stack();
	cr_assert(next_ip(FN_IPPROTO_ICMP));
	fn_pkt_free(p);
}

Test(icmp, errors_are_limited_in_rate)
{
	unsigned n = 0;

	know(PEER);
	for (unsigned i = 0; i < 200; i++)
		put_udp(PEER, 1000, ME, 7, "x", 1);
	while (next_ip(FN_IPPROTO_ICMP))
		n++;
	cr_assert_eq(n, 50);
	cr_assert_eq(drops(FN_DROP_ICMP_RATE), 150);
	cr_assert_eq(st->stats.icmp_out, 50);
	now += 10 * FN_MSEC;
	for (unsigned i = 0; i < 200; i++)
		put_udp(PEER, 1000, ME, 7, "x", 1);
	for (n = 0; next_ip(FN_IPPROTO_ICMP); n++)
		;
	cr_assert_eq(n, 10);
}
