/* SPDX-License-Identifier: BSD-3-Clause */
/* UDP sockets: naming, sending, receiving, limits, errors, broadcast, large datagrams. */
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "net_fixture.h"

TestSuite(udp, .init = net_setup, .fini = net_teardown);

#define NEW	0x10000u	/* not a port: let the stack choose */

static uint8_t big[70000];

static struct fn_sock *bound(uint32_t ip, unsigned port)
{
	struct fn_sock *sk = fn_sock_open(st, FN_SOCK_UDP, &ready_events);
	struct fn_ep ep = {.ip4 = ip, .port = fn_be16((uint16_t)(port & 0xffff))};

	cr_assert_not_null(sk);
	if (port != NEW)
		cr_assert_eq(fn_sock_bind(sk, &ep), 0);
	return sk;
}

static ssize_t send_str(struct fn_sock *sk, const char *s, uint32_t ip, uint16_t port)
{
	struct iovec iov = {(void *)s, strlen(s)};
	struct fn_ep to = {.ip4 = ip, .port = fn_be16(port)};
	ssize_t n = fn_udp_send(sk, &iov, 1, ip ? &to : NULL, NULL);

	fn_stack_flush(st);
	return n;
}

static ssize_t recv_into(struct fn_sock *sk, char *buf, size_t room, unsigned flags, struct fn_udp_meta *m)
{
	struct iovec iov[2] = {{buf, room / 2}, {buf + room / 2, room - room / 2}};

	return fn_udp_recv(sk, iov, 2, flags, m);
}

static void expect(struct fn_sock *sk, const char *s)
{
	char buf[100];

	cr_assert_eq(recv_into(sk, buf, 99, 0, NULL), (ssize_t)strlen(s));
	cr_assert_arr_eq(buf, s, strlen(s));
}

Test(udp, a_datagram_arrives_with_its_circumstances)
{
	struct fn_sock *sk = bound(0, 53);
	struct fn_udp_meta m;
	char buf[100];

	ready_events = 0;
	put_udp(PEER, 1000, ME, 53, "hello world", 11);
	cr_assert(ready_events & POLLIN);
	cr_assert_eq(ready_sock, sk);
	cr_assert(fn_sock_poll(sk) & POLLIN);
	cr_assert_eq(fn_udp_readable(sk), 11);
	cr_assert_eq(recv_into(sk, buf, 4, MSG_PEEK, &m), 4);
	cr_assert_eq(m.len, 11);
	cr_assert_eq(recv_into(sk, buf, 100, 0, &m), 11);
	cr_assert_arr_eq(buf, "hello world", 11);
	cr_assert_eq(m.from.ip4, PEER);
	cr_assert_eq(m.from.port, fn_be16(1000));
	cr_assert_eq(m.to.ip4, ME);
	cr_assert_eq(m.ttl, 64);
	cr_assert_eq(m.time, now);
	cr_assert_eq(recv_into(sk, buf, 100, 0, &m), -EAGAIN);
	cr_assert_eq(sk->rx_charged, 0);
	cr_assert(!(fn_sock_poll(sk) & POLLIN));
	fn_sock_close(sk);
}

Test(udp, empty_and_truncated_datagrams)
{
	struct fn_sock *sk = bound(0, 53);
	struct fn_udp_meta m;
	char buf[4];

	put_udp(PEER, 1, ME, 53, "", 0);
	put_udp(PEER, 1, ME, 53, "abcdef", 6);
	cr_assert(fn_sock_poll(sk) & POLLIN);
	cr_assert_eq(recv_into(sk, buf, 4, 0, &m), 0);
	cr_assert_eq(m.len, 0);
	cr_assert_eq(recv_into(sk, buf, 4, 0, &m), 4);
	cr_assert_eq(m.len, 6);
	cr_assert_eq(fn_udp_recv(sk, NULL, 0, 0, NULL), -EAGAIN);
	fn_sock_close(sk);
}

Test(udp, headers_are_checked)
{
	uint8_t out[64];
	struct fn_udp_hdr *u = (struct fn_udp_hdr *)out;
	struct ip_spec s = {.proto = FN_IPPROTO_UDP};
	struct fn_sock *sk = bound(0, 53);
	size_t len = udp_bytes(out, PEER, ME, 1, 53, "data", 4);

	put_ip(&s, out, 7);
	u->len = fn_be16(7);
	put_ip(&s, out, len);
	u->len = fn_be16(13);
	put_ip(&s, out, len);
	cr_assert_eq(drops(FN_DROP_UDP_SHORT), 3);
	u->len = fn_be16(12);
	out[9] ^= 1;
	put_ip(&s, out, len);
	cr_assert_eq(drops(FN_DROP_UDP_CSUM), 1);
	u->csum = 0;
	put_ip(&s, out, len);
	cr_assert_eq(fn_udp_readable(sk), 4, "no checksum: taken (RFC 768)");
	udp_bytes(out, PEER, ME, 1, 53, "data", 4);
	put_ip(&s, out, len + 5);
	cr_assert_eq(st->stats.udp_in, 2, "what stands behind the datagram is cut off");
	cr_assert_eq(sk->rxq.tail->pkt_len, 4);
	fn_sock_close(sk);
}

Test(udp, sending_makes_a_right_datagram)
{
	struct fn_sock *sk = bound(0, NEW);

	know(PEER);
	cr_assert_eq(send_str(sk, "abc", PEER, 99), 3);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_udp->dport, fn_be16(99));
	cr_assert_geq(fn_be16(in_udp->sport), 32768, "bound to an ephemeral port");
	cr_assert_eq(in_udp->sport, sk->local.port);
	cr_assert_eq(fn_be16(in_udp->len), 11);
	cr_assert_arr_eq(in_l4 + 8, "abc", 3);
	cr_assert_eq(in_ip->frag, fn_be16(FN_IP4_DF));
	cr_assert_eq(fn_cksum_fold(fn_cksum_add(fn_cksum_pseudo4(ME, PEER, 17, 11), in_l4, 11)), 0);
	fn_sock_setopt(sk, FN_OPT_TTL, 3);
	fn_sock_setopt(sk, FN_OPT_TOS, 0x48);
	cr_assert_eq(send_str(sk, "", PEER, 99), 0);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_ip->ttl, 3);
	cr_assert_eq(in_ip->tos, 0x48);
	cr_assert_eq(send_str(sk, "x", IP(239, 0, 0, 1), 99), 1);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_ip->ttl, 1);
	fn_sock_close(sk);
}

Test(udp, a_checksum_of_zero_goes_out_as_ones)
{
	struct fn_sock *sk = bound(0, 5000);
	uint16_t x = 0;
	char payload[3] = {0};

	know(PEER);
	/* choose the payload so that everything adds up to 0xffff */
	x = fn_cksum_fold(fn_cksum_pseudo4(ME, PEER, 17, 10) + fn_be16(5000) + fn_be16(99) + fn_be16(10));
	memcpy(payload, &x, 2);
	cr_assert(payload[0] && payload[1]);
	cr_assert_eq(send_str(sk, payload, PEER, 99), 2);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_udp->csum, 0xffff);
	fn_sock_close(sk);
}

Test(udp, what_send_refuses)
{
	struct fn_sock *sk = bound(0, NEW);
	struct iovec iov[2] = {{big, 65000}, {big, 508}};
	struct fn_ep to = {.ip4 = PEER, .port = fn_be16(9)}, from = {.ip4 = IP(10, 0, 0, 77)};

	cr_assert_eq(send_str(sk, "x", 0, 0), -EDESTADDRREQ);
	cr_assert_eq(send_str(sk, "x", PEER, 0), -EINVAL);
	cr_assert_eq(fn_udp_send(sk, iov, 2, &to, NULL), -EMSGSIZE);
	cr_assert_eq(fn_udp_send(sk, iov, 1, &to, &from), -EINVAL);
	cr_assert_eq(send_str(sk, "x", IP(10, 0, 0, 255), 9), -EACCES);
	cr_assert_eq(send_str(sk, "x", UINT32_MAX, 9), -EACCES);
	fn_sock_setopt(sk, FN_OPT_BROADCAST, 1);
	cr_assert_eq(send_str(sk, "x", IP(10, 0, 0, 255), 9), 1);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(fn_sock_shutdown(sk, FN_SHUT_WR), -ENOTCONN);
	cr_assert_eq(send_str(sk, "x", PEER, 9), -EPIPE);
	fn_sock_close(sk);
}

Test(udp, a_connected_socket_hears_its_peer_only)
{
	struct fn_sock *sk = bound(0, 53);
	struct fn_ep peer = {.ip4 = PEER, .port = fn_be16(1000)};

	know(PEER);
	cr_assert_eq(fn_sock_connect(sk, &peer), 0);
	cr_assert_eq(sk->local.ip4, ME);
	put_udp(PEER, 1001, ME, 53, "no", 2);
	put_udp(PEER, 1000, ME, 53, "yes", 3);
	expect(sk, "yes");
	cr_assert_eq(drops(FN_DROP_UDP_NO_SOCK), 1);
	cr_assert(next_ip(FN_IPPROTO_ICMP));
	cr_assert_eq(send_str(sk, "q", 0, 0), 1);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_eq(in_udp->dport, fn_be16(1000));
	cr_assert_eq(fn_sock_disconnect(sk), 0);
	cr_assert_eq(sk->local.ip4, 0);
	cr_assert_eq(sk->local.port, fn_be16(53), "what bind chose stays");
	put_udp(PEER, 1001, ME, 53, "now", 3);
	expect(sk, "now");
	fn_sock_close(sk);
}

Test(udp, disconnect_gives_an_ephemeral_port_back)
{
	struct fn_sock *sk = bound(0, NEW);
	struct fn_ep peer = {.ip4 = PEER, .port = fn_be16(1000)};

	cr_assert_eq(fn_sock_connect(sk, &peer), 0);
	cr_assert_neq(sk->local.port, 0);
	fn_sock_disconnect(sk);
	cr_assert_eq(sk->local.port, 0);
	fn_sock_close(sk);
}

/* The peer answers the last datagram, which lies in `in`, with an ICMP error. */
static void refuse(uint8_t code, uint16_t mtu)
{
	uint8_t m[8 + 28] = {FN_ICMP_UNREACH, code, 0, 0, 0, 0, (uint8_t)(mtu >> 8), (uint8_t)mtu};
	struct ip_spec s = {.proto = FN_IPPROTO_ICMP};

	memcpy(m + 8, in_ip, 28);
	((struct fn_icmp_hdr *)m)->csum = fn_cksum_fold(fn_cksum_add(0, m, sizeof(m)));
	put_ip(&s, m, sizeof(m));
}

Test(udp, a_closed_port_is_econnrefused_once_for_connected_sockets)
{
	struct fn_sock *sk = bound(0, 53);
	struct fn_ep peer = {.ip4 = PEER, .port = fn_be16(1000)};

	know(PEER);
	send_str(sk, "a", PEER, 1000);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	refuse(FN_ICMP_UNREACH_PORT, 0);
	cr_assert_eq(sk->error, 0, "an unconnected socket hears nothing");
	fn_sock_connect(sk, &peer);
	send_str(sk, "a", 0, 0);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	ready_events = 0;
	refuse(FN_ICMP_UNREACH_HOST, 0);
	cr_assert_eq(sk->error, 0, "not fatal");
	refuse(FN_ICMP_UNREACH_PORT, 0);
	cr_assert(ready_events & POLLERR);
	cr_assert(fn_sock_poll(sk) & POLLERR);
	cr_assert_eq(send_str(sk, "b", 0, 0), -ECONNREFUSED);
	cr_assert_eq(send_str(sk, "b", 0, 0), 1);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	refuse(FN_ICMP_UNREACH_PORT, 0);
	cr_assert_eq(fn_udp_recv(sk, NULL, 0, 0, NULL), -ECONNREFUSED);
	cr_assert_eq(fn_udp_recv(sk, NULL, 0, 0, NULL), -EAGAIN);
	refuse(FN_ICMP_UNREACH_PORT, 0);
	cr_assert_eq(fn_sock_take_error(sk), ECONNREFUSED);
	cr_assert_eq(fn_sock_take_error(sk), 0);
	fn_sock_close(sk);
}

Test(udp, too_big_lowers_the_path_mtu)
{
	struct fn_sock *sk = bound(0, 53);
	struct fn_ep peer = {.ip4 = PEER, .port = fn_be16(1000)};
	struct iovec iov = {big, 1400};
	int mtu;

	know(PEER);
	fn_sock_connect(sk, &peer);
	cr_assert_eq(fn_udp_send(sk, &iov, 1, NULL, NULL), 1400);
	fn_stack_flush(st);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	refuse(FN_ICMP_UNREACH_FRAG, 1000);
	cr_assert_eq(fn_sock_take_error(sk), EMSGSIZE);
	cr_assert_eq(fn_sock_getopt(sk, FN_OPT_MTU, &mtu), 0);
	cr_assert_eq(mtu, 1000);
	cr_assert_eq(fn_udp_send(sk, &iov, 1, NULL, NULL), 1400);
	fn_stack_flush(st);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	cr_assert_leq(fn_be16(in_ip->len), 1000);
	cr_assert(fn_be16(in_ip->frag) & FN_IP4_MF);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	fn_sock_setopt(sk, FN_OPT_MTU_DISCOVER, IP_PMTUDISC_DO);
	cr_assert_eq(fn_udp_send(sk, &iov, 1, NULL, NULL), -EMSGSIZE);
	fn_sock_close(sk);
}

Test(udp, a_large_datagram_goes_out_in_fragments_and_comes_back_whole)
{
	static uint8_t frames[60][1600], back[65507];
	static size_t lens[60];
	struct fn_sock *sk = bound(0, 53);
	struct fn_ep to = {.ip4 = PEER, .port = fn_be16(53)};
	struct iovec iov[2] = {{big, 30001}, {big + 30001, 35506}}, into = {back, sizeof(back)};
	unsigned n = 0;

	for (unsigned i = 0; i < 65507; i++)
		big[i] = (uint8_t)(i * 31 >> 3);
	know(PEER);
	cr_assert_eq(fn_udp_send(sk, iov, 2, &to, NULL), 65507);
	fn_stack_flush(st);
	while (next_ip(FN_IPPROTO_UDP)) {
		uint32_t src = in_ip->src;

		memcpy(in_eth->dst, my_mac, 6);
		in_ip->src = in_ip->dst;
		in_ip->dst = src;
		lens[n] = in_len;
		memcpy(frames[n++], in, in_len);
	}
	cr_assert_eq(n, 45);
	while (n--)	/* last one first */
		put_frame(frames[n], lens[n]);
	cr_assert_eq(st->stats.udp_in, 1);
	cr_assert_eq(fn_udp_readable(sk), 65507);
	cr_assert_eq(fn_udp_recv(sk, &into, 1, 0, NULL), 65507);
	cr_assert_arr_eq(back, big, 65507);
	fn_sock_close(sk);
}

Test(udp, so_rcvbuf_limits_what_waits)
{
	struct fn_sock *sk = bound(0, 53);
	unsigned n = 0;
	char c;

	fn_sock_setopt(sk, FN_OPT_RCVBUF, 8192);
	for (unsigned i = 0; i < 20; i++)
		put_udp(PEER, 1, ME, 53, "x", 1);
	while (recv_into(sk, &c, 1, 0, NULL) == 1)
		n++;
	cr_assert_geq(n, 4);
	cr_assert_leq(n, 5);
	cr_assert_eq(drops(FN_DROP_UDP_RCVBUF), 20 - n);
	put_udp(PEER, 1, ME, 53, "x", 1);
	cr_assert(fn_sock_poll(sk) & POLLIN);
	fn_sock_close(sk);
}

Test(udp, a_broadcast_reaches_every_socket_on_the_port)
{
	struct fn_sock *a = fn_sock_open(st, FN_SOCK_UDP, NULL), *b = fn_sock_open(st, FN_SOCK_UDP, NULL), *c;
	struct fn_ep any = {.port = fn_be16(67)};
	uint8_t out[64];
	struct ip_spec s = {.dst = UINT32_MAX, .proto = FN_IPPROTO_UDP, .mac = bcast_mac};
	size_t len = udp_bytes(out, PEER, UINT32_MAX, 68, 67, "offer", 5);
	struct fn_udp_meta m;
	char buf[10];

	fn_sock_setopt(a, FN_OPT_REUSEADDR, 1);
	fn_sock_setopt(b, FN_OPT_REUSEADDR, 1);
	cr_assert_eq(fn_sock_bind(a, &any), 0);
	cr_assert_eq(fn_sock_bind(b, &any), 0);
	c = bound(ME, 68);
	put_ip(&s, out, len);
	expect(a, "offer");
	cr_assert_eq(recv_into(b, buf, 10, 0, &m), 5);
	cr_assert_eq(m.to.ip4, UINT32_MAX);
	cr_assert_eq(m.from.port, fn_be16(68));
	fn_sock_close(a);
	fn_sock_close(b);
	put_ip(&s, out, len);
	cr_assert_eq(drops(FN_DROP_UDP_NO_SOCK), 1);
	fn_sock_close(c);
}

Test(udp, to_ourselves)
{
	struct fn_sock *a = bound(0, 53), *b = bound(IP(127, 0, 0, 1), NEW);
	struct fn_udp_meta m;
	char buf[10];

	cr_assert_eq(send_str(b, "ping", IP(127, 0, 0, 1), 53), 4);
	poll_stack();
	cr_assert_eq(recv_into(a, buf, 10, 0, &m), 4);
	cr_assert_eq(m.from.ip4, IP(127, 0, 0, 1));
	cr_assert_eq(send_str(a, "pong", IP(127, 0, 0, 1), fn_be16(m.from.port)), 4);
	poll_stack();
	expect(b, "pong");
	cr_assert(!next_frame());
	fn_sock_close(a);
	fn_sock_close(b);
}

Test(udp, a_closed_port_of_ourselves_is_refused_too)
{
	struct fn_sock *sk = bound(0, NEW);
	struct fn_ep to = {.ip4 = ME, .port = fn_be16(9)};

	cr_assert_eq(fn_sock_connect(sk, &to), 0);
	cr_assert_eq(send_str(sk, "x", 0, 0), 1);
	poll_stack();
	poll_stack();
	cr_assert_eq(fn_sock_take_error(sk), ECONNREFUSED);
	fn_sock_close(sk);
}

Test(udp, shutdown_and_poll)
{
	struct fn_sock *sk = bound(0, 53);
	struct fn_ep peer = {.ip4 = PEER, .port = fn_be16(1000)};

	cr_assert_eq(fn_sock_poll(sk), (unsigned)(POLLOUT | POLLWRNORM | POLLWRBAND));
	fn_sock_connect(sk, &peer);
	cr_assert_eq(fn_sock_shutdown(sk, FN_SHUT_RD), 0);
	cr_assert(fn_sock_poll(sk) & POLLRDHUP);
	cr_assert_eq(fn_udp_recv(sk, NULL, 0, 0, NULL), 0);
	cr_assert_eq(fn_sock_shutdown(sk, FN_SHUT_WR), 0);
	cr_assert(fn_sock_poll(sk) & POLLHUP);
	fn_sock_close(sk);
}

Test(udp, bind_rules)
{
	struct fn_sock *a = bound(0, 53), *b = fn_sock_open(st, FN_SOCK_UDP, NULL);
	struct fn_ep ep = {.port = fn_be16(53)}, foreign = {.ip4 = PEER}, zero = {0};

	cr_assert_eq(fn_sock_bind(b, &ep), -EADDRINUSE);
	cr_assert_eq(fn_sock_bind(b, &foreign), -EADDRNOTAVAIL);
	cr_assert_eq(fn_sock_bind(b, &zero), 0);
	cr_assert_neq(b->local.port, 0);
	cr_assert_eq(fn_sock_bind(b, &zero), -EINVAL);
	fn_sock_close(a);
	fn_sock_close(b);
}

Test(udp, out_of_buffers_a_writer_waits_and_is_told)
{
	struct fn_sock *sk = bound(0, 53);
	struct fn_pkt *held[5000];
	unsigned n = 0;

	know(PEER);
	while (n < 5000 && (held[n] = nic->ops->alloc(nic)))
		n++;
	cr_assert_eq(send_str(sk, "x", PEER, 9), -EAGAIN);
	cr_assert(!(fn_sock_poll(sk) & POLLOUT));
	cr_assert_leq(fn_stack_deadline(st), now + FN_MSEC);
	while (n)
		fn_pkt_free(held[--n]);
	ready_events = 0;
	poll_stack();
	cr_assert(ready_events & POLLOUT);
	cr_assert(fn_sock_poll(sk) & POLLOUT);
	cr_assert_eq(send_str(sk, "x", PEER, 9), 1);
	cr_assert(next_ip(FN_IPPROTO_UDP));
	fn_sock_close(sk);
}

Test(udp, the_pool_is_finite)
{
	struct fn_sock *sk = NULL, *first = NULL;
	unsigned n;

	for (n = 0; n <= st->conf.max_udp; n++) {
		sk = fn_sock_open(st, FN_SOCK_UDP, NULL);
		if (!n)
			first = sk;
	}
	cr_assert_null(sk);
	cr_assert_eq(st->stats.sock_refused, 1);
	fn_sock_close(first);
	cr_assert_not_null(fn_sock_open(st, FN_SOCK_UDP, NULL));
}

Test(udp, options)
{
	struct fn_sock *sk = bound(0, 53);
	int v;

	cr_assert_eq(fn_sock_setopt(sk, FN_OPT_TTL, 0), -EINVAL);
	cr_assert_eq(fn_sock_setopt(sk, FN_OPT_TTL, 256), -EINVAL);
	cr_assert_eq(fn_sock_setopt(sk, FN_OPT_TTL, -1), 0);
	cr_assert_eq(fn_sock_getopt(sk, FN_OPT_TTL, &v), 0);
	cr_assert_eq(v, 64);
	fn_sock_setopt(sk, FN_OPT_SNDBUF, 1);
	fn_sock_getopt(sk, FN_OPT_SNDBUF, &v);
	cr_assert_eq(v, 4608);
	fn_sock_setopt(sk, FN_OPT_RCVBUF, 1);
	fn_sock_getopt(sk, FN_OPT_RCVBUF, &v);
	cr_assert_eq(v, 2304);
	fn_sock_setopt(sk, FN_OPT_RCVLOWAT, 0);
	fn_sock_getopt(sk, FN_OPT_RCVLOWAT, &v);
	cr_assert_eq(v, 1);
	cr_assert_eq(fn_sock_setopt(sk, FN_OPT_NODELAY, 1), -ENOPROTOOPT);
	cr_assert_eq(fn_sock_getopt(sk, FN_OPT_MTU, &v), -ENOTCONN);
	cr_assert_eq(fn_sock_setopt(sk, FN_OPT_MTU_DISCOVER, 9), -EINVAL);
	fn_sock_close(sk);
}
