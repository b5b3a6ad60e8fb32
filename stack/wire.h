/* SPDX-License-Identifier: BSD-3-Clause */
/* All wire formats. Fields are in network byte order; access is unaligned-safe (packed). */
#ifndef FN_WIRE_H
#define FN_WIRE_H

#include "compiler.h"

#define fn_packed __attribute__((packed))

fn_inline uint16_t fn_bswap16(uint16_t x) { return __builtin_bswap16(x); }
fn_inline uint32_t fn_bswap32(uint32_t x) { return __builtin_bswap32(x); }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define fn_be16(x) fn_bswap16(x)	/* host to network and back */
#define fn_be32(x) fn_bswap32(x)
#define fn_be64(x) __builtin_bswap64(x)
#else
#define fn_be16(x) ((uint16_t)(x))
#define fn_be32(x) ((uint32_t)(x))
#define fn_be64(x) ((uint64_t)(x))
#endif

/* Four bytes of a header as the word that they are in memory. */
fn_inline uint32_t fn_word(uint8_t b0, uint8_t b1, uint16_t half)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return (uint32_t)half << 16 | (uint32_t)b1 << 8 | b0;
#else
	return (uint32_t)b0 << 24 | (uint32_t)b1 << 16 | half;
#endif
}

/* IEEE 802.3 */
#define FN_ETHER_LEN		14
#define FN_ETHER_TYPE_IP4	0x0800
#define FN_ETHER_TYPE_ARP	0x0806
#define FN_ETHER_TYPE_VLAN	0x8100
#define FN_ETHER_TYPE_IP6	0x86dd
struct fn_ether_hdr {
	uint8_t dst[6];
	uint8_t src[6];
	uint16_t type;
} fn_packed;

/* RFC 826, for Ethernet and IPv4 */
#define FN_ARP_REQUEST	1
#define FN_ARP_REPLY	2
struct fn_arp_hdr {
	uint16_t htype;		/* 1 */
	uint16_t ptype;		/* 0x0800 */
	uint8_t hlen;		/* 6 */
	uint8_t plen;		/* 4 */
	uint16_t op;
	uint8_t sha[6];
	uint32_t spa;
	uint8_t tha[6];
	uint32_t tpa;
} fn_packed;

/* RFC 791 */
#define FN_IP4_LEN		20
#define FN_IP4_DF		0x4000
#define FN_IP4_MF		0x2000
#define FN_IP4_OFFSET		0x1fff	/* units of 8 bytes */
#define FN_IPPROTO_ICMP		1
#define FN_IPPROTO_TCP		6
#define FN_IPPROTO_UDP		17
struct fn_ip4_hdr {
	uint8_t ver_ihl;
	uint8_t tos;
	uint16_t len;
	uint16_t id;
	uint16_t frag;
	uint8_t ttl;
	uint8_t proto;
	uint16_t csum;
	uint32_t src;
	uint32_t dst;
} fn_packed;

/* RFC 792 */
#define FN_ICMP_ECHO_REPLY	0
#define FN_ICMP_UNREACH		3
#define FN_ICMP_ECHO		8
#define FN_ICMP_TIME_EXCEEDED	11
#define FN_ICMP_PARAM		12
#define FN_ICMP_UNREACH_NET	0
#define FN_ICMP_UNREACH_HOST	1
#define FN_ICMP_UNREACH_PROTO	2
#define FN_ICMP_UNREACH_PORT	3
#define FN_ICMP_UNREACH_FRAG	4	/* RFC 1191: .mtu holds the next hop's */
#define FN_ICMP_LEN		8
struct fn_icmp_hdr {
	uint8_t type;
	uint8_t code;
	uint16_t csum;
	union {
		struct {
			uint16_t id, seq;
		} echo;
		struct {
			uint16_t unused, mtu;
		} frag;
		uint32_t rest;
	};
} fn_packed;

/* RFC 768 */
#define FN_UDP_LEN		8
struct fn_udp_hdr {
	uint16_t sport;
	uint16_t dport;
	uint16_t len;
	uint16_t csum;
} fn_packed;

/* RFC 9293 3.1 */
#define FN_TCP_LEN		20
#define FN_TCP_FIN		0x01
#define FN_TCP_SYN		0x02
#define FN_TCP_RST		0x04
#define FN_TCP_PSH		0x08
#define FN_TCP_ACK		0x10
#define FN_TCP_URG		0x20
#define FN_TCP_ECE		0x40
#define FN_TCP_CWR		0x80
#define FN_TCPOPT_EOL		0
#define FN_TCPOPT_NOP		1
#define FN_TCPOPT_MSS		2
#define FN_TCPOPT_WSCALE	3
#define FN_TCPOPT_SACK_PERM	4
#define FN_TCPOPT_SACK		5
#define FN_TCPOPT_TS		8
struct fn_tcp_hdr {
	uint16_t sport;
	uint16_t dport;
	uint32_t seq;
	uint32_t ack;
	uint8_t off;		/* header length in 32-bit words << 4 */
	uint8_t flags;
	uint16_t win;
	uint16_t csum;
	uint16_t urg;
} fn_packed;

#endif
