/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stack at one end of a test wire, and a TCP peer played by hand at the other: segments are put together and taken
 * apart here, with sequence numbers that count from each side's SYN.
 */
#ifndef TEST_TCP_PEER_H
#define TEST_TCP_PEER_H

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include "fixture.h"
#include "stack/cksum.h"
#include "stack/net.h"
#include "stack/nic_pair.h"
#include "stack/tcp.h"

#define IP(a, b, c, d)	fn_be32((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define ME		IP(10, 0, 0, 1)
#define PEER		IP(10, 0, 0, 2)
#define MS		FN_MSEC
#define SEC		FN_SEC_NS
#define F		FN_TCP_FIN
#define S		FN_TCP_SYN
#define R		FN_TCP_RST
#define P		FN_TCP_PSH
#define K		FN_TCP_ACK
#define U		FN_TCP_URG

static struct fn_arena *arena;
static struct fn_stack *st;
static struct fn_pair *wire;
static struct fn_nic *nic;
static uint64_t now;
static struct fn_stack_conf conf;
static uint16_t my_port, peer_port;	/* of the connection played, host order */
static uint32_t my_isn, peer_isn;	/* sequence numbers are given relative to these */
static bool peer_ts;			/* the peer sends timestamps */
static uint32_t peer_tsval, peer_tsecr;
static unsigned polls = 5;		/* at each moment */
static unsigned events;			/* what the shim was told, all sockets */

/* The last segment that next_seg() found. */
static struct {
	uint8_t flags, opt_len, opt[40];
	uint32_t seq, ack, tsval, tsecr;	/* seq and ack relative */
	uint16_t win, urg, mss;
	uint8_t wscale, sacks;
	bool has_ts, has_wscale, sack_perm;
	struct fn_sack sack[4];			/* relative to the peer's numbers */
	uint32_t len;
	uint8_t data[2000];
} got;

static void on_ready(void *ctx, struct fn_sock *sk, unsigned e)
{
	events |= e;
}

static void settle(void)
{
	fn_pair_set_time(wire, now);
	for (unsigned i = 0; i < polls; i++)
		fn_stack_poll(st, now);
}

static void pass(uint64_t t)
{
	uint64_t end = now + t, next;

	settle();
	while ((next = fn_stack_deadline(st)) <= end) {
		now = fn_max(next, now + 1);
		settle();
	}
	now = end;
	settle();
}

static void drain(void)
{
	static uint8_t f[4096];

	while (fn_pair_sniff(wire, 0, f, sizeof(f)))
		;
}

static void peer_setup(void)
{
	struct fn_pair_conf pc = {.seed = 1, .caps = FN_NIC_NO_ARP};	/* time passes here, nobody answers ARP */
	struct fn_stack_ops ops = {.ready = on_ready};

	wire = fn_pair_create(&pc);
	arena = test_arena(16u << 20);
	now = 1000 * SEC;
	st = fn_stack_create(arena, &conf, &ops, NULL, now);
	nic = fn_pair_nic(wire, 0);
	nic->ip4 = ME;
	nic->ip4_mask = IP(255, 255, 255, 0);
	cr_assert_eq(fn_stack_add_nic(st, nic), 0);
	my_port = 80;
	peer_port = 5000;
	peer_isn = 0xfffff000;	/* wraps soon */
	peer_tsval = 77777;
	peer_ts = false;
	events = 0;
	settle();
	drain();
}

static void fn_unused peer_setup_default(void)
{
	fn_stack_conf_init(&conf);
	peer_setup();
}

static void fn_unused peer_teardown(void)
{
	fn_pair_destroy(wire);
	free(arena);
}

/* ---- to the stack ---- */

struct sent {
	uint8_t flags;
	uint32_t seq, ack;		/* relative */
	uint16_t win;			/* 0: 60000; NO_WIN: none */
	uint16_t urg;
	const void *data;
	uint32_t len;
	const uint8_t *opt;		/* a multiple of 4 bytes */
	unsigned opt_len;
	uint8_t words;			/* a lie about the header's length */
	uint32_t only;			/* nothing follows these first bytes of the segment */
	uint32_t dst;			/* 0: ME */
	bool link_bcast, bad_csum;
};
#define NO_WIN	1			/* a window of zero */

static void put_seg(const struct sent *g)
{
	static uint8_t f[4096];
	struct fn_ether_hdr *eth = (void *)f;
	struct fn_ip4_hdr *ip = (void *)(eth + 1);
	struct fn_tcp_hdr *th = (void *)(ip + 1);
	uint8_t *o = (uint8_t *)(th + 1);
	uint32_t hlen, len, dst = g->dst ? g->dst : ME;

	if (g->opt_len)
		memcpy(o, g->opt, g->opt_len);
	o += g->opt_len;
	if (peer_ts)
		o += fn_tcp_put_ts(o, peer_tsval, peer_tsecr);
	hlen = (uint32_t)(o - (uint8_t *)th);
	len = hlen + g->len;
	if (g->len)
		memcpy(o, g->data, g->len);
	if (g->only)
		len = g->only;
	memcpy(eth->dst, nic->mac, 6);
	if (g->link_bcast)
		memset(eth->dst, 0xff, 6);
	memcpy(eth->src, (uint8_t[]){2, 0, 0, 0, 0, 2}, 6);
	eth->type = fn_be16(FN_ETHER_TYPE_IP4);
	*ip = (struct fn_ip4_hdr){.ver_ihl = 0x45, .len = fn_be16((uint16_t)(FN_IP4_LEN + len)), .ttl = 64,
		.proto = FN_IPPROTO_TCP, .src = PEER, .dst = dst};
	ip->csum = fn_cksum_fold(fn_cksum_add(0, ip, FN_IP4_LEN));
	*th = (struct fn_tcp_hdr){.sport = fn_be16(peer_port), .dport = fn_be16(my_port),
		.seq = fn_be32(peer_isn + g->seq), .ack = g->flags & K ? fn_be32(my_isn + g->ack) : 0,
		.off = (uint8_t)(g->words ? g->words * 16u : hlen << 2), .flags = g->flags, .urg = fn_be16(g->urg),
		.win = g->win == NO_WIN ? 0 : fn_be16(g->win ? g->win : 60000)};
	th->csum = fn_cksum_fold(fn_cksum_join(fn_cksum_add(0, th, len),
					       fn_cksum_pseudo4(PEER, dst, FN_IPPROTO_TCP, len)));
	if (g->bad_csum)
		th->csum ^= 1;
	fn_pair_inject(wire, 0, f, sizeof(*eth) + FN_IP4_LEN + len);
	settle();
}

#define put(...)	put_seg(&(struct sent){__VA_ARGS__})

/* ---- from the stack ---- */

static void take_opts(const uint8_t *o, unsigned left)
{
	memcpy(got.opt, o, left);
	got.opt_len = (uint8_t)left;
	while (left && *o) {
		unsigned len = *o == 1 ? 1 : o[1];

		if (*o == FN_TCPOPT_MSS)
			got.mss = (uint16_t)(o[2] << 8 | o[3]);
		got.sack_perm |= *o == FN_TCPOPT_SACK_PERM;
		if (*o == FN_TCPOPT_WSCALE) {
			got.has_wscale = true;
			got.wscale = o[2];
		}
		if (*o == FN_TCPOPT_TS) {
			got.has_ts = true;
			memcpy(&got.tsval, o + 2, 4);
			memcpy(&got.tsecr, o + 6, 4);
			got.tsval = fn_be32(got.tsval);
			got.tsecr = fn_be32(got.tsecr);
		}
		if (*o == FN_TCPOPT_SACK)
			for (; got.sacks < (len - 2) / 8; got.sacks++) {
				uint32_t v[2];

				memcpy(v, o + 2 + 8 * got.sacks, 8);
				got.sack[got.sacks] = (struct fn_sack){fn_be32(v[0]) - peer_isn, fn_be32(v[1]) - peer_isn};
			}
		o += len;
		left -= len;
	}
}

/* The oldest TCP segment that the stack has sent and nobody has looked at; its checksum is right. */
static bool next_seg(void)
{
	static uint8_t f[4096];
	const struct fn_ip4_hdr *ip = (const void *)(f + FN_ETHER_LEN);
	const struct fn_tcp_hdr *th = (const void *)(ip + 1);
	uint32_t len, hlen;

	do {
		if (!fn_pair_sniff(wire, 0, f, sizeof(f)))
			return false;
	} while (((struct fn_ether_hdr *)f)->type != fn_be16(FN_ETHER_TYPE_IP4) || ip->proto != FN_IPPROTO_TCP);
	len = fn_be16(ip->len) - FN_IP4_LEN;
	hlen = (th->off >> 4) * 4u;
	cr_assert_eq(fn_cksum_fold(fn_cksum_join(fn_cksum_add(0, th, len),
						 fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, len))), 0);
	memset(&got, 0, sizeof(got));
	got.flags = th->flags;
	if ((th->flags & (S | R)) == S) {
		my_isn = fn_be32(th->seq);
		my_port = fn_be16(th->sport);
	}
	got.seq = fn_be32(th->seq) - my_isn;
	got.ack = th->flags & K ? fn_be32(th->ack) - peer_isn : 0;
	got.win = fn_be16(th->win);
	got.urg = fn_be16(th->urg);
	take_opts((const uint8_t *)(th + 1), hlen - FN_TCP_LEN);
	got.len = len - hlen;
	memcpy(got.data, (const uint8_t *)th + hlen, got.len);
	return true;
}

#define expect_seg(f, q, a, n) do { \
	cr_assert(next_seg(), "no segment"); \
	cr_assert_eq(got.flags & ~P, (f), "flags %#x", got.flags); \
	cr_assert_eq(got.seq, (uint32_t)(q), "seq %u", got.seq); \
	cr_assert_eq(got.ack, (uint32_t)(a), "ack %u", got.ack); \
	cr_assert_eq(got.len, (uint32_t)(n), "len %u", got.len); \
} while (0)
#define expect_none()	cr_assert(!next_seg(), "flags %#x seq %u ack %u len %u", got.flags, got.seq, got.ack, got.len)

/* ---- connections ---- */

static fn_unused struct fn_sock *make_listener(int backlog)
{
	struct fn_sock *l = fn_sock_open(st, FN_SOCK_TCP, &events);
	struct fn_ep ep = {.port = fn_be16(80)};

	fn_sock_setopt(l, FN_OPT_REUSEADDR, 1);
	cr_assert_eq(fn_sock_bind(l, &ep), 0);
	cr_assert_eq(fn_tcp_listen(l, backlog), 0);
	return l;
}

static const uint8_t plain_opts[] = {2, 4, 1460 >> 8, 1460 & 255};
static const uint8_t sack_opts[] = {2, 4, 1460 >> 8, 1460 & 255, 1, 1, 4, 2};

/* The peer connects; its options are given. */
static fn_unused struct fn_sock *passive_open(struct fn_sock *l, const uint8_t *opt, unsigned opt_len)
{
	struct fn_sock *sk;

	put(.flags = S, .opt = opt, .opt_len = opt_len);
	expect_seg(S | K, 0, 1, 0);
	peer_tsecr = got.tsval;
	put(.flags = K, .seq = 1, .ack = 1);
	sk = fn_tcp_accept(l, &events);
	cr_assert_not_null(sk);
	expect_none();
	events = 0;
	return sk;
}

/* A connection made by the peer; its listener is gone. */
static fn_unused struct fn_sock *accepted(const uint8_t *opt, unsigned opt_len)
{
	struct fn_sock *l = make_listener(5), *sk = passive_open(l, opt, opt_len);

	fn_sock_close(l);
	return sk;
}

static fn_unused struct fn_sock *connecting(void)
{
	struct fn_sock *sk = fn_sock_open(st, FN_SOCK_TCP, &events);
	struct fn_ep ep = {.ip4 = PEER, .port = fn_be16(peer_port)};

	cr_assert_eq(fn_sock_connect(sk, &ep), -EINPROGRESS);
	settle();
	cr_assert(next_seg());
	cr_assert_eq(got.flags, S);
	return sk;
}

static ssize_t fn_unused say(struct fn_sock *sk, const void *data, size_t len, unsigned flags)
{
	struct iovec iov = {(void *)data, len};
	ssize_t n = fn_tcp_send(sk, &iov, 1, 0, flags);

	settle();
	return n;
}

static ssize_t fn_unused hear(struct fn_sock *sk, void *data, size_t len, unsigned flags)
{
	struct iovec iov = {data, len};
	ssize_t n = fn_tcp_recv(sk, &iov, 1, 0, flags, NULL);

	settle();
	return n;
}

#endif
