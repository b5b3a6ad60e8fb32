/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * IPv4 (RFC 791, RFC 1122 3.2): checking and delivering what comes, putting the header in front of what leaves. A host,
 * not a router: nothing is forwarded. Must not know what TCP, UDP and ICMP carry.
 */
#include <errno.h>
#include <string.h>

#include "cksum.h"
#include "ip4.h"
#include "ip4_flow.h"
#include "neigh.h"
#include "nic_shm.h"
#include "route.h"

#define LOOP_MAX	4096	/* packets on their way to ourselves */
#define TTL_DEFAULT	64

/* RFC 791 3.1, options */
#define OPT_END		0
#define OPT_NOP		1
#define OPT_LSRR	131
#define OPT_SSRR	137

int fn_ip4_init(struct fn_stack *st)
{
	st->ip4 = fn_arena_alloc(st->arena, sizeof(*st->ip4));
	if (!st->ip4)
		return -ENOMEM;
	for (unsigned i = 0; i < fn_array_size(st->ip4->ident); i++)
		st->ip4->ident[i] = (uint32_t)fn_stack_random(st);
	return fn_frags_init(st);
}

/* ---- input ---- */

/* The options are walked to see that they are whole; none of them does anything here (RFC 1122 3.2.1.8 allows that), and
 * a source route makes the packet somebody else's business. */
static fn_cold int options_check(const uint8_t *opt, unsigned len)
{
	while (len) {
		if (*opt == OPT_END)
			return 0;
		if (*opt == OPT_NOP) {
			opt++;
			len--;
			continue;
		}
		if (len < 2 || opt[1] < 2 || opt[1] > len || *opt == OPT_LSRR || *opt == OPT_SSRR)
			return -FN_DROP_IP4_OPTIONS;
		len -= opt[1];
		opt += opt[1];
	}
	return 0;
}

/* A header with options: its length, or what is wrong with it. */
static fn_cold int header_long(const struct fn_pkt *p, const struct fn_ip4_hdr *h)
{
	unsigned hlen = (h->ver_ihl & 15) * 4u;
	int err;

	if (h->ver_ihl >> 4 != 4 || hlen < FN_IP4_LEN)
		return -FN_DROP_IP4_HEADER;
	if (p->len < hlen)
		return -FN_DROP_IP4_SHORT;
	err = options_check((const uint8_t *)h + FN_IP4_LEN, hlen - FN_IP4_LEN);
	return err ? err : (int)hlen;
}

static bool source_possible(const struct fn_nic *nic, uint32_t src)
{
	uint32_t s = fn_be32(src);

	/* RFC 1122 3.2.1.3: not 0/8, 127/8, multicast, 240/4, broadcast; nor ourselves, for this came over a wire */
	return s - 0x01000000 < 0xe0000000 - 0x01000000 && s >> 24 != 127 && src != nic->ip4 && src != nic->ip4_bcast;
}

/* Cut off what stands behind the packet (Ethernet's padding). */
static fn_cold void trim(struct fn_pkt *p, uint32_t len)
{
	struct fn_pkt *s = p;
	uint32_t left = len;

	while (s->seg && left > s->len) {
		left -= s->len;
		s = s->seg;
	}
	if (s->seg) {
		fn_pkt_free(s->seg);
		s->seg = NULL;
	}
	s->len = fn_min(s->len, left);
	p->pkt_len = len;
}

/* To one of our other addresses, or to a group of hosts: 0, or why not. */
static fn_cold int dst_check(struct fn_stack *st, const struct fn_nic *nic, struct fn_pkt *p, uint32_t dst)
{
	if (fn_nic_of_addr(st, dst) && (p->flags & FN_PKT_LOOP || (fn_be32(dst) >> 24 != 127)))
		return 0;
	if (dst == UINT32_MAX || dst == nic->ip4_bcast) {
		p->flags |= FN_PKT_LINK_BCAST;
		return 0;
	}
	return -FN_DROP_IP4_DST;
}

fn_inline uint64_t header_sum(const void *h)
{
	uint32_t w[FN_IP4_LEN / 4];

	memcpy(w, h, sizeof(w));
	return (uint64_t)w[0] + w[1] + w[2] + w[3] + w[4];
}

static bool header_csum_ok(const struct fn_pkt *p, const struct fn_ip4_hdr *h, unsigned hlen)
{
	if (p->flags & FN_PKT_IP_CSUM_OK)
		return true;
	return !fn_cksum_fold(hlen == FN_IP4_LEN ? header_sum(h) : fn_cksum_add(0, h, hlen));
}

static fn_cold int proto_other(struct fn_stack *st, struct fn_pkt *p, uint8_t proto)
{
	if (proto == FN_IPPROTO_ICMP)
		return fn_icmp_input(st, p);
	fn_icmp_send_error(st, p, FN_ICMP_UNREACH, FN_ICMP_UNREACH_PROTO, 0);
	return fn_drop(st, p, FN_DROP_IP4_PROTO);
}

static inline int deliver(struct fn_stack *st, struct fn_pkt *p, const struct fn_ip4_hdr *h, unsigned hlen)
{
	fn_pkt_pull(p, hlen);
	p->l4 = (uint16_t)(p->data - p->buf);
	if (fn_likely(h->proto == FN_IPPROTO_TCP))
		return fn_tcp_input(st, p);
	if (h->proto == FN_IPPROTO_UDP)
		return fn_udp_input(st, p);
	return proto_other(st, p, h->proto);
}

/* UDP and ICMP find their headers in the first buffer whatever its size and take a chain behind it; TCP gets one buffer. */
static fn_cold int input_fragment(struct fn_stack *st, struct fn_pkt *p, unsigned hlen)
{
	int reason = 0;
	struct fn_pkt *copy;

	st->stats.ip4_frags_in++;
	p = fn_ip4_reassemble(st, p, hlen, &reason);
	if (!p)
		return reason;
	p->flags &= FN_PKT_LINK_BCAST | FN_PKT_LOOP;	/* what a device says about a fragment says little about the whole */
	if (fn_pkt_ip4(p)->proto != FN_IPPROTO_TCP)
		return deliver(st, p, fn_pkt_ip4(p), hlen);
	copy = fn_nic_copy(p->nic, p);
	if (!copy || copy->seg) {
		if (copy)
			fn_pkt_free(copy);
		return fn_drop(st, p, FN_DROP_IP4_FRAG_FULL);
	}
	copy->l3 = (uint16_t)(copy->data - copy->buf);
	copy->flags = p->flags;
	copy->time = p->time;
	fn_pkt_free(p);
	return deliver(st, copy, fn_pkt_ip4(copy), hlen);
}

/* A packet that is not as ordinary() wants it, or that is the first of its source: every check in its order. */
static __attribute__((noinline)) int input_checked(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p)
{
	struct fn_ip4_hdr *h = (struct fn_ip4_hdr *)p->data;
	unsigned hlen = FN_IP4_LEN, len;
	int err;

	if (fn_unlikely(p->len < FN_IP4_LEN))
		return fn_drop(st, p, FN_DROP_IP4_SHORT);
	if (fn_unlikely(h->ver_ihl != 0x45)) {
		err = header_long(p, h);
		if (err < 0)
			return fn_drop(st, p, (enum fn_drop)-err);
		hlen = (unsigned)err;
	}
	if (fn_unlikely(!header_csum_ok(p, h, hlen)))
		return fn_drop(st, p, FN_DROP_IP4_CSUM);
	len = fn_be16(h->len);
	if (fn_unlikely(len < hlen || len > p->pkt_len))
		return fn_drop(st, p, FN_DROP_IP4_SHORT);
	if (len < p->pkt_len)
		trim(p, len);
	if (p->peer) {		/* the host's addresses, which the shim has checked when the two processes met */
		p->l3 = (uint16_t)(p->data - p->buf);
		return deliver(st, p, h, hlen);
	}
	if (fn_unlikely(h->dst != nic->ip4 && (err = dst_check(st, nic, p, h->dst))))
		return fn_drop(st, p, (enum fn_drop)-err);
	/* RFC 1122 3.3.6: a link broadcast that names one host is somebody's mistake */
	if (fn_unlikely(p->flags & FN_PKT_LINK_BCAST && h->dst == nic->ip4))
		return fn_drop(st, p, FN_DROP_IP4_DST);
	if (fn_unlikely(!source_possible(nic, h->src) && !(p->flags & FN_PKT_LOOP)))
		return fn_drop(st, p, FN_DROP_IP4_SRC);
	if (!(p->flags & FN_PKT_LOOP))
		nic->src_ok = h->src;
	p->l3 = (uint16_t)(p->data - p->buf);
	if (fn_unlikely(h->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET)))
		return input_fragment(st, p, hlen);
	return deliver(st, p, h, hlen);
}

/*
 * What nearly every packet is: whole, without options or padding, to our address, and from the host that the last one
 * was from, whose address has been checked. 24 instructions instead of 80 (bench/stack).
 */
fn_inline bool ordinary(const struct fn_nic *nic, const struct fn_pkt *p, const struct fn_ip4_hdr *h)
{
	return p->len >= FN_IP4_LEN && h->ver_ihl == 0x45 && h->dst == nic->ip4 && h->src == nic->src_ok &&
	       !(p->flags & (FN_PKT_LINK_BCAST | FN_PKT_LOOP)) && fn_be16(h->len) == p->pkt_len &&
	       !(h->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET)) &&
	       (p->flags & FN_PKT_IP_CSUM_OK || !fn_cksum_fold(header_sum(h)));
}

int fn_ip4_input(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p)
{
	const struct fn_ip4_hdr *h = (const struct fn_ip4_hdr *)p->data;

	if (fn_unlikely(!ordinary(nic, p, h)))
		return input_checked(st, nic, p);
	p->l3 = (uint16_t)(p->data - p->buf);
	return deliver(st, p, h, FN_IP4_LEN);
}

/* ---- output ---- */

static int path_local(struct fn_stack *st, struct fn_path *path, struct fn_nic *nic, uint32_t src)
{
	path->nic = nic;
	path->local = true;
	path->src = src ? src : path->dst;
	path->mtu = fn_min(nic->mtu, nic->tx_payload + FN_IP4_LEN);
	return 0;
}

/* Broadcast and multicast go straight to a link: the source address's, else the route's, else the first NIC's. */
static const struct fn_route *route_for(struct fn_stack *st, uint32_t dst, uint32_t src, struct fn_route *link)
{
	const struct fn_route *r = dst == UINT32_MAX ? NULL : fn_route_find(st, dst);
	struct fn_nic *nic;

	if (!fn_ip4_is_bcast(st, dst) || !st->nics)
		return r;
	nic = src ? fn_nic_of_addr(st, src) : NULL;
	if (!nic)
		nic = r ? r->nic : st->nic[0];
	*link = (struct fn_route){.nic = nic};
	return link;
}

void fn_paths_changed(struct fn_stack *st)
{
	if (st->ip4)
		st->ip4->last.nic = NULL;
}

/* The path asked for last: a connection is opened with three segments or more. Its entry for the neighbour may be
 * another's by now. */
fn_inline bool path_again(const struct fn_ip4 *ip, struct fn_path *path, uint32_t dst, uint32_t src, uint8_t proto)
{
	if (ip->last.dst != dst || ip->last_src != src || !ip->last.nic ||
	    ip->last.neigh->ip4 != ip->last.next_hop || ip->last.neigh->nic != ip->last.nic)
		return false;
	*path = ip->last;
	path->proto = proto;
	return true;
}

int fn_path_init(struct fn_stack *st, struct fn_path *path, uint32_t dst, uint32_t src, uint8_t proto)
{
	struct fn_nic *own;
	struct fn_route link;
	const struct fn_route *r;

	if (path_again(st->ip4, path, dst, src, proto))
		return 0;
	if (!dst)
		dst = src ? src : fn_be32(0x7f000001);
	*path = (struct fn_path){.dst = dst, .ttl = TTL_DEFAULT, .proto = proto, .df = true};
	if (src && !fn_nic_of_addr(st, src))
		return -EADDRNOTAVAIL;
	own = fn_nic_of_addr(st, dst);
	if (own)
		return path_local(st, path, own, src);
	if (fn_be32(src) >> 24 == 127)
		return -EINVAL;
	r = route_for(st, dst, src, &link);
	if (!r)
		return -ENETUNREACH;
	path->nic = r->nic;
	path->src = src ? src : r->nic->ip4;
	path->next_hop = r->gw ? r->gw : dst;
	path->mtu = r->nic->caps & FN_NIC_TX_SEGS ? r->nic->mtu : fn_min(r->nic->mtu, r->nic->tx_payload + FN_IP4_LEN);
	path->neigh = fn_neigh_get(st, r->nic, path->next_hop);
	if (!path->neigh)
		return -EHOSTUNREACH;
	st->ip4->last = *path;
	st->ip4->last_src = src;
	return 0;
}

int fn_path_to(struct fn_stack *st, struct fn_path *path, const struct fn_ep *remote, uint32_t src, uint8_t proto)
{
	struct fn_nic *nic = st->fabric;

	if (fn_likely(!remote->peer))
		return fn_path_init(st, path, remote->ip4, src, proto);
	if (!nic)
		return -ENETUNREACH;
	*path = (struct fn_path){.nic = nic, .dst = remote->ip4, .src = src ? src : remote->ip4, .ttl = TTL_DEFAULT,
		.proto = proto, .df = true, .next_hop = fn_be32(FN_SHM_HOP(remote->peer)), .mtu = nic->mtu};
	path->neigh = fn_neigh_get(st, nic, path->next_hop);
	return path->neigh ? 0 : -EHOSTUNREACH;
}

/* To ourselves: into the queue that the next poll takes. */
static fn_cold int loop_output(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p)
{
	struct fn_pkt *q = p;

	if (st->loop.count >= LOOP_MAX) {
		st->stats.drop[FN_DROP_TX_FULL]++;
		q = NULL;
	} else if (p->flags & FN_PKT_KEEP) {
		q = fn_nic_copy(path->nic, p);
	}
	if (!q && !(p->flags & FN_PKT_KEEP))
		fn_pkt_free(p);
	if (!q)
		return -ENOBUFS;
	q->flags = FN_PKT_LOOP | FN_PKT_IP_CSUM_OK | FN_PKT_L4_CSUM_OK;
	q->truesize = q->buf_len;
	q->time = st->now;
	fn_pktq_push(&st->loop, q);
	return 0;
}

/* Another host is served by the entry that the path remembers; look again. */
static fn_cold struct fn_neigh *neigh_again(struct fn_stack *st, const struct fn_path *path)
{
	return fn_neigh_get(st, path->nic, path->next_hop);
}

static fn_cold int output_refuse(struct fn_stack *st, struct fn_pkt *p, enum fn_drop reason, int err)
{
	st->stats.drop[reason]++;
	if (!(p->flags & FN_PKT_KEEP))
		fn_pkt_free(p);
	return err;
}

/* The header at h for total bytes, by words, of which the sum is made as well: 35 instructions less than field by field. */
static inline void header_write(const struct fn_path *path, struct fn_pkt *p, struct fn_ip4_hdr *h, uint32_t total,
				uint16_t frag, uint16_t id)
{
	uint32_t w[5] = {
		fn_word(0x45, path->tos, fn_be16((uint16_t)total)),
		0,
		fn_word(path->ttl, path->proto, 0),
		path->src, path->dst,
	};

	memcpy(&w[1], (uint16_t[]){ id, frag }, sizeof(w[1]));
	memcpy(h, w, sizeof(w));
	if (path->nic->caps & FN_NIC_TX_IP_CSUM && !path->local)
		p->flags |= FN_PKT_TX_IP_CSUM;
	else
		h->csum = fn_cksum_fold((uint64_t)w[0] + w[1] + w[2] + w[3] + w[4]);
	p->l3 = (uint16_t)((uint8_t *)h - p->buf);
	p->l4 = (uint16_t)(p->l3 + FN_IP4_LEN);
}

uint32_t fn_ip4_flow_init(const struct fn_path *path, struct fn_ip4_hdr *h)
{
	*h = (struct fn_ip4_hdr){
		.ver_ihl = 0x45, .tos = path->tos, .frag = path->df ? fn_be16(FN_IP4_DF) : 0,
		.ttl = path->ttl, .proto = path->proto, .src = path->src, .dst = path->dst,
	};
	return (uint16_t)~fn_cksum_fold(header_sum(h));
}

/* To ourselves, or to a neighbour that must be asked first. */
static fn_cold int emit_slow(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p)
{
	uint8_t *data = p->data;
	struct fn_neigh *n = path->neigh;
	bool keep = p->flags & FN_PKT_KEEP;
	int err;

	fn_pkt_push(p, FN_IP4_LEN);
	if (path->local)
		err = loop_output(st, path, p);
	else if (n->ip4 != path->next_hop && !(n = neigh_again(st, path)))
		err = output_refuse(st, p, FN_DROP_ARP_QUEUE_FULL, -EHOSTUNREACH);
	else
		err = fn_neigh_output(st, n, p);
	if (keep)
		fn_pkt_pull(p, (uint32_t)(data - p->data));
	return err;
}

/* The headers are written in front of .data, which stays: a staged frame begins at .l2. */
int fn_ip4_emit(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p, uint16_t frag, uint16_t id)
{
	const struct fn_neigh *n = path->neigh;

	header_write(path, p, (struct fn_ip4_hdr *)(p->data - FN_IP4_LEN), p->pkt_len + FN_IP4_LEN, frag, id);
	if (fn_unlikely(!n || n->ip4 != path->next_hop || st->now >= n->fresh_until))
		return emit_slow(st, path, p);
	return fn_neigh_send(n, p);
}

int fn_ip4_output(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p)
{
	if (fn_unlikely(p->pkt_len + FN_IP4_LEN > path->mtu && !(p->flags & FN_PKT_TX_TSO))) {
		if (path->df || p->flags & FN_PKT_KEEP)
			return output_refuse(st, p, FN_DROP_IP4_TOO_BIG, -EMSGSIZE);
		return fn_ip4_fragment(st, path, p);
	}
	/* RFC 6864 4.1: what is never cut into fragments needs no identification */
	return fn_ip4_emit(st, path, p, path->df ? fn_be16(FN_IP4_DF) : 0, 0);
}
