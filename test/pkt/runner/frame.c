/* SPDX-License-Identifier: BSD-3-Clause */
/* Packets as Ethernet frames and back: the remote end's own code, which shares nothing with the stack but wire.h. */
#include <string.h>

#include "frame.h"
#include "stack/wire.h"

/* RFC 1071, over the bytes as they lie; deliberately not the stack's. */
static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t len)
{
	for (; len > 1; p += 2, len -= 2)
		sum += (uint32_t)p[0] << 8 | p[1];
	if (len)
		sum += (uint32_t)p[0] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint16_t finish(uint32_t sum)
{
	return fn_be16((uint16_t)~sum);
}

/* Checksum of an L4 packet with its pseudo header. */
static uint16_t l4_sum(const struct fn_ip4_hdr *ip, const uint8_t *l4, size_t len)
{
	uint8_t tail[4] = { 0, ip->proto, (uint8_t)(len >> 8), (uint8_t)len };
	uint32_t sum = sum16(0, (const uint8_t *)&ip->src, 8);

	sum = sum16(sum, tail, 4);
	return finish(sum16(sum, l4, len));
}

static void put32(uint8_t **at, uint32_t v)
{
	v = fn_be32(v);
	memcpy(*at, &v, 4);
	*at += 4;
}

static void encode_opt(uint8_t **at, const struct tcpopt *o)
{
	*(*at)++ = o->kind;
	switch (o->kind) {
	case FN_TCPOPT_MSS:
		*(*at)++ = 4;
		*(*at)++ = (uint8_t)(o->a >> 8);
		*(*at)++ = (uint8_t)o->a;
		break;
	case FN_TCPOPT_WSCALE:
		*(*at)++ = 3;
		*(*at)++ = (uint8_t)o->a;
		break;
	case FN_TCPOPT_SACK_PERM:
		*(*at)++ = 2;
		break;
	case FN_TCPOPT_SACK:
		*(*at)++ = (uint8_t)(2 + 8 * o->sacks);
		for (int i = 0; i < o->sacks; i++) {
			put32(at, o->sack[i].left);
			put32(at, o->sack[i].right);
		}
		break;
	case FN_TCPOPT_TS:
		*(*at)++ = 10;
		put32(at, o->a);
		put32(at, o->b);
		break;
	default:
		break;
	}
}

static size_t encode_tcp(uint8_t *l4, const struct packet *p, const uint8_t *payload)
{
	struct fn_tcp_hdr h = {
		.sport = fn_be16(p->rport), .dport = fn_be16(p->lport), .seq = fn_be32(p->seq), .ack = fn_be32(p->ack),
		.flags = p->flags, .win = fn_be16((uint16_t)p->win), .urg = fn_be16((uint16_t)p->urg),
	};
	uint8_t opts[256], *at = opts;
	size_t len;

	for (int i = 0; i < p->opts; i++)
		encode_opt(&at, &p->opt[i]);
	while ((at - opts) % 4)
		*at++ = FN_TCPOPT_EOL;
	len = (size_t)(at - opts);
	h.off = (uint8_t)((FN_TCP_LEN + len) / 4 << 4);
	memcpy(l4, &h, FN_TCP_LEN);
	memcpy(l4 + FN_TCP_LEN, opts, len);
	memcpy(l4 + FN_TCP_LEN + len, payload, p->len);
	return FN_TCP_LEN + len + p->len;
}

static size_t encode_udp(uint8_t *l4, const struct packet *p, const uint8_t *payload)
{
	struct fn_udp_hdr h = {
		.sport = fn_be16(p->rport), .dport = fn_be16(p->lport), .len = fn_be16((uint16_t)(FN_UDP_LEN + p->len)),
	};

	memcpy(l4, &h, FN_UDP_LEN);
	memcpy(l4 + FN_UDP_LEN, payload, p->len);
	return FN_UDP_LEN + p->len;
}

/* The IP header and 8 bytes of what the stack sent (RFC 792). */
static size_t encode_icmp(uint8_t *l4, const struct link *l, const struct packet *p)
{
	struct fn_icmp_hdr h = { .type = p->type, .code = p->code };
	struct fn_ip4_hdr ip = {
		.ver_ihl = 0x45, .ttl = 64, .frag = fn_be16(FN_IP4_DF), .src = l->our_ip, .dst = l->their_ip,
	};
	uint8_t quote[8], *at = quote + 4;
	uint16_t port;

	if (p->mtu)
		h.frag.mtu = fn_be16((uint16_t)p->mtu);
	memcpy(l4, &h, FN_ICMP_LEN);
	if (!p->has_quote)
		return FN_ICMP_LEN;
	ip.proto = p->quote_proto == PROTO_UDP ? FN_IPPROTO_UDP : FN_IPPROTO_TCP;
	ip.len = fn_be16((uint16_t)(FN_IP4_LEN + (ip.proto == FN_IPPROTO_UDP ? FN_UDP_LEN : FN_TCP_LEN) + p->len));
	ip.csum = finish(sum16(0, (uint8_t *)&ip, FN_IP4_LEN));
	port = fn_be16(p->lport);
	memcpy(quote, &port, 2);
	port = fn_be16(p->rport);
	memcpy(quote + 2, &port, 2);
	if (ip.proto == FN_IPPROTO_UDP)
		put32(&at, (FN_UDP_LEN + p->len) << 16);
	else
		put32(&at, p->seq);
	memcpy(l4 + FN_ICMP_LEN, &ip, FN_IP4_LEN);
	memcpy(l4 + FN_ICMP_LEN + FN_IP4_LEN, quote, 8);
	return FN_ICMP_LEN + FN_IP4_LEN + 8;
}

size_t frame_encode(uint8_t *frame, const struct link *l, const struct packet *p, const uint8_t *payload)
{
	struct fn_ether_hdr eth = { .type = fn_be16(FN_ETHER_TYPE_IP4) };
	struct fn_ip4_hdr ip = {
		.ver_ihl = 0x45, .ttl = (uint8_t)(p->ttl < 0 ? 64 : p->ttl), .src = l->their_ip, .dst = l->our_ip,
		.tos = (uint8_t)((p->tos < 0 ? 0 : p->tos) | (p->ecn < 0 ? 0 : p->ecn)),
	};
	uint8_t *l4 = frame + FN_ETHER_LEN + FN_IP4_LEN;
	size_t len = 0;
	uint16_t sum;

	memcpy(eth.dst, l->our_mac, 6);
	memcpy(eth.src, l->their_mac, 6);
	memcpy(frame, &eth, FN_ETHER_LEN);
	switch (p->proto) {
	case PROTO_TCP:
		ip.proto = FN_IPPROTO_TCP;
		len = encode_tcp(l4, p, payload);
		sum = l4_sum(&ip, l4, len);
		memcpy(l4 + offsetof(struct fn_tcp_hdr, csum), &sum, 2);
		break;
	case PROTO_UDP:
		ip.proto = FN_IPPROTO_UDP;
		len = encode_udp(l4, p, payload);
		sum = l4_sum(&ip, l4, len);
		sum = sum ? sum : 0xffff;
		memcpy(l4 + offsetof(struct fn_udp_hdr, csum), &sum, 2);
		break;
	case PROTO_ICMP:
		ip.proto = FN_IPPROTO_ICMP;
		len = encode_icmp(l4, l, p);
		sum = finish(sum16(0, l4, len));
		memcpy(l4 + offsetof(struct fn_icmp_hdr, csum), &sum, 2);
		break;
	}
	ip.len = fn_be16((uint16_t)(FN_IP4_LEN + len));
	ip.csum = finish(sum16(0, (uint8_t *)&ip, FN_IP4_LEN));
	memcpy(frame + FN_ETHER_LEN, &ip, FN_IP4_LEN);
	return FN_ETHER_LEN + FN_IP4_LEN + len;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* One option of `len` bytes at p, kind and length included. */
static bool decode_opt(struct tcpopt *o, const uint8_t *p, size_t len)
{
	switch (o->kind) {
	case FN_TCPOPT_MSS:
		o->a = len == 4 ? (uint32_t)p[2] << 8 | p[3] : 0;
		return len == 4;
	case FN_TCPOPT_WSCALE:
		o->a = len == 3 ? p[2] : 0;
		return len == 3;
	case FN_TCPOPT_SACK_PERM:
		return len == 2;
	case FN_TCPOPT_TS:
		if (len != 10)
			return false;
		o->a = get32(p + 2);
		o->b = get32(p + 6);
		return true;
	case FN_TCPOPT_SACK:
		o->sacks = (int)(len - 2) / 8;
		if (!o->sacks || o->sacks > SACKS_MAX || len != 2 + 8 * (size_t)o->sacks)
			return false;
		for (int i = 0; i < o->sacks; i++) {
			o->sack[i].left = get32(p + 2 + 8 * i);
			o->sack[i].right = get32(p + 6 + 8 * i);
		}
		return true;
	default:
		return true;
	}
}

static bool decode_opts(struct packet *p, const uint8_t *at, size_t len)
{
	while (len) {
		struct tcpopt *o = &p->opt[p->opts];
		size_t n = 1;

		if (p->opts == OPTS_MAX)
			return false;
		o->kind = at[0];
		if (o->kind > FN_TCPOPT_NOP) {
			if (len < 2 || at[1] < 2 || at[1] > len)
				return false;
			n = at[1];
			if (!decode_opt(o, at, n))
				return false;
		}
		p->opts++;
		at += n;
		len -= n;
	}
	return true;
}

static const char *decode_tcp(struct packet *p, const struct fn_ip4_hdr *ip, const uint8_t *l4, size_t len)
{
	struct fn_tcp_hdr h;
	size_t hlen;

	if (len < FN_TCP_LEN)
		return "a truncated TCP header";
	memcpy(&h, l4, FN_TCP_LEN);
	hlen = (size_t)(h.off >> 4) * 4;
	if (hlen < FN_TCP_LEN || hlen > len)
		return "a bad TCP header length";
	if (l4_sum(ip, l4, len) != 0)
		return "a bad TCP checksum";
	p->proto = PROTO_TCP;
	p->lport = fn_be16(h.sport);
	p->rport = fn_be16(h.dport);
	p->seq = fn_be32(h.seq);
	p->ack = fn_be32(h.ack);
	p->flags = h.flags;
	p->win = fn_be16(h.win);
	p->urg = fn_be16(h.urg);
	p->has_ack = h.flags & FN_TCP_ACK;
	p->has_win = true;
	p->has_urg = h.flags & FN_TCP_URG || h.urg;
	p->len = (uint32_t)(len - hlen);
	p->payload = l4 + hlen;
	if (!decode_opts(p, l4 + FN_TCP_LEN, hlen - FN_TCP_LEN))
		return "malformed TCP options";
	return NULL;
}

static const char *decode_udp(struct packet *p, const struct fn_ip4_hdr *ip, const uint8_t *l4, size_t len)
{
	struct fn_udp_hdr h;

	if (len < FN_UDP_LEN)
		return "a truncated UDP header";
	memcpy(&h, l4, FN_UDP_LEN);
	if (fn_be16(h.len) != len)
		return "a bad UDP length";
	if (h.csum && l4_sum(ip, l4, len) != 0)
		return "a bad UDP checksum";
	p->proto = PROTO_UDP;
	p->lport = fn_be16(h.sport);
	p->rport = fn_be16(h.dport);
	p->len = (uint32_t)(len - FN_UDP_LEN);
	p->payload = l4 + FN_UDP_LEN;
	return NULL;
}

static const char *decode_icmp(struct packet *p, const uint8_t *l4, size_t len)
{
	if (len < FN_ICMP_LEN)
		return "a truncated ICMP message";
	if (finish(sum16(0, l4, len)) != 0)
		return "a bad ICMP checksum";
	p->proto = PROTO_ICMP;
	p->type = l4[0];
	p->code = l4[1];
	if (p->type == FN_ICMP_UNREACH && p->code == FN_ICMP_UNREACH_FRAG)
		p->mtu = (uint32_t)l4[6] << 8 | l4[7];
	return NULL;
}

const char *frame_decode(const uint8_t *frame, size_t len, const struct link *l, struct packet *p)
{
	struct fn_ip4_hdr ip;
	const uint8_t *l4;
	size_t ihl, total;

	memset(p, 0, sizeof(*p));
	p->out = true;
	p->ttl = p->tos = p->ecn = -1;
	if (len < FN_ETHER_LEN + FN_IP4_LEN || frame[12] != 0x08 || frame[13] != 0)
		return "not an IPv4 packet";
	memcpy(&ip, frame + FN_ETHER_LEN, FN_IP4_LEN);
	ihl = (size_t)(ip.ver_ihl & 15) * 4;
	total = fn_be16(ip.len);
	if (ip.ver_ihl >> 4 != 4 || ihl < FN_IP4_LEN || total < ihl || total > len - FN_ETHER_LEN)
		return "a bad IPv4 header";
	if (finish(sum16(0, frame + FN_ETHER_LEN, ihl)) != 0)
		return "a bad IPv4 header checksum";
	if (ip.src != l->our_ip || ip.dst != l->their_ip)
		return "unexpected IPv4 addresses";
	if (fn_be16(ip.frag) & (FN_IP4_MF | FN_IP4_OFFSET))
		return "a fragment";
	p->ecn = ip.tos & 3;
	p->tos = ip.tos & ~3;
	p->ttl = ip.ttl;
	l4 = frame + FN_ETHER_LEN + ihl;
	switch (ip.proto) {
	case FN_IPPROTO_TCP:
		return decode_tcp(p, &ip, l4, total - ihl);
	case FN_IPPROTO_UDP:
		return decode_udp(p, &ip, l4, total - ihl);
	case FN_IPPROTO_ICMP:
		return decode_icmp(p, l4, total - ihl);
	default:
		return "an unknown IP protocol";
	}
}

bool frame_is_arp(const uint8_t *frame, size_t len)
{
	return len >= FN_ETHER_LEN + sizeof(struct fn_arp_hdr) && frame[12] == 0x08 && frame[13] == 0x06;
}

bool frame_answer_arp(const uint8_t *frame, size_t len, const struct link *l, uint8_t *reply, size_t *reply_len)
{
	struct fn_arp_hdr arp;
	uint32_t asker;

	if (!frame_is_arp(frame, len))
		return false;
	memcpy(&arp, frame + FN_ETHER_LEN, sizeof(arp));
	/* its own announcement is not a question */
	if (arp.op != fn_be16(FN_ARP_REQUEST) || arp.tpa == l->our_ip)
		return false;
	arp.op = fn_be16(FN_ARP_REPLY);
	memcpy(arp.tha, arp.sha, 6);
	memcpy(arp.sha, l->their_mac, 6);
	asker = arp.spa;
	arp.spa = arp.tpa;
	arp.tpa = asker;
	memcpy(reply, l->our_mac, 6);
	memcpy(reply + 6, l->their_mac, 6);
	memcpy(reply + 12, frame + 12, 2);
	memcpy(reply + FN_ETHER_LEN, &arp, sizeof(arp));
	*reply_len = FN_ETHER_LEN + sizeof(arp);
	return true;
}
