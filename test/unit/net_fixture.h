/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A stack at one end of a test wire (10.0.0.1/24, gateway 10.0.0.254), the other end played by hand: frames are put
 * together and taken apart here. TCP is replaced by a few functions that note what they are told.
 */
#ifndef TEST_NET_FIXTURE_H
#define TEST_NET_FIXTURE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>

#include "fixture.h"
#include "stack/cksum.h"
#include "stack/ip4.h"
#include "stack/neigh.h"
#include "stack/net.h"
#include "stack/nic_pair.h"
#include "stack/route.h"
#include "stack/udp.h"

#define IP(a, b, c, d)	fn_be32((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define ME		IP(10, 0, 0, 1)
#define PEER		IP(10, 0, 0, 2)
#define GATEWAY		IP(10, 0, 0, 254)
#define FAR		IP(192, 0, 2, 7)
#define FRAME_MAX	70000

static struct fn_arena *arena;
static struct fn_stack *st;
static struct fn_pair *wire;
static struct fn_nic *nic;
static uint64_t now;
static bool no_gateway;	/* before net_setup() */
static const uint8_t my_mac[6] = {2, 0, 0, 0, 0, 1}, peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t bcast_mac[6] = {255, 255, 255, 255, 255, 255};
static uint8_t in[FRAME_MAX];	/* the last frame that next_frame() found */
static size_t in_len;
static unsigned ready_events;	/* what the shim was told */
static struct fn_sock *ready_sock;

/* ---- TCP's part ---- */
static unsigned tcp_inputs, tcp_bursts, tcp_icmps, tcp_neigh_fails;
static struct fn_ep tcp_icmp_local, tcp_icmp_remote;
static uint32_t tcp_icmp_seq, tcp_icmp_mtu, tcp_neigh_hop;
static uint32_t tcp_len;	/* of the last segment, header included */
static bool tcp_single;

int fn_tcp_input(struct fn_stack *s, struct fn_pkt *p)
{
	tcp_inputs++;
	s->burst = (struct fn_tcp *)s;	/* only whether there is one is looked at */
	tcp_len = p->pkt_len;
	tcp_single = !p->seg;
	cr_assert_eq(p->buf + p->l4, p->data);
	fn_pkt_free(p);
	return 0;
}

int fn_tcp_icmp(struct fn_stack *s, const struct fn_ep *local, const struct fn_ep *remote, uint32_t seq, uint8_t type,
		uint8_t code, uint32_t mtu)
{
	tcp_icmps++;
	tcp_icmp_local = *local;
	tcp_icmp_remote = *remote;
	tcp_icmp_seq = seq;
	tcp_icmp_mtu = mtu;
	return 0;
}

void fn_tcp_neigh_failed(struct fn_stack *s, uint32_t next_hop)
{
	tcp_neigh_fails++;
	tcp_neigh_hop = next_hop;
}

bool fn_tcp_express(struct fn_stack *s, const struct fn_nic *n, struct fn_pkt *p) { return false; }
int fn_tcp_init(struct fn_stack *s) { return 0; }
void fn_tcp_end_burst(struct fn_stack *s)
{
	s->burst = NULL;
	tcp_bursts++;
}
void fn_tcp_prune(struct fn_stack *s) { s->starved = NULL; }
unsigned fn_tcp_draining(const struct fn_stack *s) { return 0; }
bool fn_tcp_tw_reusable(const struct fn_sock *sk) { return false; }
struct fn_sock *fn_tcp_open(struct fn_stack *s) { return NULL; }
int fn_tcp_connect(struct fn_sock *sk, const struct fn_ep *remote) { return -ENOSYS; }
int fn_tcp_disconnect(struct fn_sock *sk) { return -ENOSYS; }
int fn_tcp_shutdown(struct fn_sock *sk, unsigned how) { return -ENOSYS; }
void fn_tcp_close(struct fn_sock *sk) { }
unsigned fn_tcp_poll(struct fn_sock *sk) { return 0; }
int fn_tcp_setopt(struct fn_sock *sk, enum fn_opt opt, int value) { return -ENOSYS; }
int fn_tcp_getopt(struct fn_sock *sk, enum fn_opt opt, int *value) { return -ENOSYS; }

/* ---- set-up ---- */

static void on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
	ready_events |= events;
	ready_sock = sk;
}

static void poll_stack(void)
{
	fn_pair_set_time(wire, now);
	fn_stack_poll(st, now);
}

/* Let t pass, polling when the stack asks for it. */
static void fn_unused pass(uint64_t t)
{
	uint64_t end = now + t, next;

	while ((next = fn_stack_deadline(st)) <= end) {
		now = fn_max(now, next);
		poll_stack();
	}
	now = end;
	poll_stack();
}

static bool next_frame(void)
{
	in_len = fn_pair_sniff(wire, 0, in, sizeof(in));
	return in_len != 0;
}

static void net_setup_with(struct fn_pair_conf conf)
{
	struct fn_stack_conf sc;
	struct fn_stack_ops ops = {.ready = on_ready};

	wire = fn_pair_create(&conf);
	arena = test_arena(8u << 20);
	fn_stack_conf_init(&sc);
	memset(sc.seed, 7, sizeof(sc.seed));
	now = 5 * FN_NSEC;
	st = fn_stack_create(arena, &sc, &ops, NULL, now);
	cr_assert_not_null(st);
	nic = fn_pair_nic(wire, 0);
	nic->ip4 = ME;
	nic->ip4_mask = IP(255, 255, 255, 0);
	nic->ip4_gw = no_gateway ? 0 : GATEWAY;
	cr_assert_eq(fn_stack_add_nic(st, nic), 0);
	poll_stack();
	cr_assert(next_frame());	/* the announcement */
}

static void fn_unused net_setup(void)
{
	net_setup_with((struct fn_pair_conf){.seed = 1});
}

/* Nothing may be left behind: every buffer is in its free list again. */
static void fn_unused net_teardown(void)
{
	while (next_frame())
		;
	cr_assert_eq(fn_pair_outstanding(wire, 0), 0, "%u buffers leaked", fn_pair_outstanding(wire, 0));
	fn_pair_destroy(wire);
	free(arena);
}

/* ---- frames towards the stack ---- */

static void put_frame(const void *frame, size_t len)
{
	fn_pair_inject(wire, 0, frame, len);
	poll_stack();
}

static void fn_unused put_arp(uint16_t op, const uint8_t *dst, const uint8_t *sha, uint32_t spa, const uint8_t *tha,
			      uint32_t tpa)
{
	struct {
		struct fn_ether_hdr eth;
		struct fn_arp_hdr arp;
		uint8_t pad[18];
	} fn_packed f = {.eth.type = fn_be16(FN_ETHER_TYPE_ARP), .arp = {.htype = fn_be16(1),
		.ptype = fn_be16(0x0800), .hlen = 6, .plen = 4, .op = fn_be16(op), .spa = spa, .tpa = tpa}};

	memcpy(f.eth.dst, dst, 6);
	memcpy(f.eth.src, sha, 6);
	memcpy(f.arp.sha, sha, 6);
	memcpy(f.arp.tha, tha, 6);
	put_frame(&f, sizeof(f));
}

struct ip_spec {
	uint32_t src, dst;
	uint8_t proto, ttl, tos;
	uint16_t frag, id;
	const void *opt;	/* multiple of 4 bytes */
	unsigned opt_len;
	const uint8_t *mac;	/* NULL: the stack's */
	int len_delta;		/* a lie about the total length */
	unsigned pad;		/* bytes behind the packet */
	bool bad_csum;
};

static size_t ip_frame(uint8_t *f, const struct ip_spec *s, const void *payload, size_t len)
{
	struct fn_ether_hdr *eth = (struct fn_ether_hdr *)f;
	struct fn_ip4_hdr *h = (struct fn_ip4_hdr *)(eth + 1);
	unsigned hlen = FN_IP4_LEN + s->opt_len;

	memcpy(eth->dst, s->mac ? s->mac : my_mac, 6);
	memcpy(eth->src, peer_mac, 6);
	eth->type = fn_be16(FN_ETHER_TYPE_IP4);
	*h = (struct fn_ip4_hdr){.ver_ihl = (uint8_t)(0x40 | hlen / 4), .tos = s->tos, .id = fn_be16(s->id),
		.len = fn_be16((uint16_t)((int)(hlen + len) + s->len_delta)), .frag = fn_be16(s->frag),
		.ttl = s->ttl ? s->ttl : 64, .proto = s->proto, .src = s->src ? s->src : PEER, .dst = s->dst ? s->dst : ME};
	if (s->opt_len)
		memcpy(h + 1, s->opt, s->opt_len);
	h->csum = fn_cksum_fold(fn_cksum_add(0, h, hlen)) ^ (s->bad_csum ? 0x100 : 0);
	memcpy((uint8_t *)h + hlen, payload, len);
	memset((uint8_t *)h + hlen + len, 0xcc, s->pad);
	return sizeof(*eth) + hlen + len + s->pad;
}

static void fn_unused put_ip(const struct ip_spec *s, const void *payload, size_t len)
{
	static uint8_t f[FRAME_MAX];

	put_frame(f, ip_frame(f, s, payload, len));
}

/* A UDP datagram as bytes, with its checksum. */
static size_t fn_unused udp_bytes(uint8_t *out, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport,
				  const void *data, size_t len)
{
	struct fn_udp_hdr *u = (struct fn_udp_hdr *)out;

	*u = (struct fn_udp_hdr){fn_be16(sport), fn_be16(dport), fn_be16((uint16_t)(len + 8)), 0};
	if (len)
		memcpy(u + 1, data, len);
	u->csum = fn_cksum_fold(fn_cksum_join(fn_cksum_add(0, out, len + 8), fn_cksum_pseudo4(src, dst, 17, (uint32_t)len + 8)));
	if (!u->csum)
		u->csum = 0xffff;
	return len + 8;
}

static void fn_unused put_udp(uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport, const void *data, size_t len)
{
	static uint8_t out[FRAME_MAX];
	struct ip_spec s = {.src = src, .dst = dst, .proto = FN_IPPROTO_UDP};

	put_ip(&s, out, udp_bytes(out, src, dst, sport, dport, data, len));
}

/* ---- frames from the stack ---- */

#define in_eth	((struct fn_ether_hdr *)in)
#define in_arp	((struct fn_arp_hdr *)(in + FN_ETHER_LEN))
#define in_ip	((struct fn_ip4_hdr *)(in + FN_ETHER_LEN))
#define in_l4	(in + FN_ETHER_LEN + FN_IP4_LEN)
#define in_udp	((struct fn_udp_hdr *)in_l4)
#define in_icmp	((struct fn_icmp_hdr *)in_l4)
#define in_l4_len	(in_len - FN_ETHER_LEN - FN_IP4_LEN)

static bool fn_unused next_arp(uint16_t op)
{
	return next_frame() && in_eth->type == fn_be16(FN_ETHER_TYPE_ARP) && in_arp->op == fn_be16(op);
}

/* The next frame is an IPv4 packet of that protocol with right lengths and header checksum. */
static bool fn_unused next_ip(uint8_t proto)
{
	return next_frame() && in_eth->type == fn_be16(FN_ETHER_TYPE_IP4) && in_ip->proto == proto &&
	       fn_be16(in_ip->len) == in_len - FN_ETHER_LEN && !fn_cksum_fold(fn_cksum_add(0, in_ip, FN_IP4_LEN));
}

/* The peer answers for an address; the stack then knows it. */
static void fn_unused know(uint32_t ip4)
{
	put_arp(FN_ARP_REQUEST, bcast_mac, peer_mac, ip4, (uint8_t[6]){0}, ME);
	cr_assert(next_arp(FN_ARP_REPLY));
}

static uint64_t fn_unused drops(enum fn_drop reason)
{
	return st->stats.drop[reason];
}

#endif
