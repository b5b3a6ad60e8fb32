/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * corpus DIR: writes the seeds of each fuzz target to DIR/<target>/seed-NAME: short inputs that reach the interesting
 * states, so that the fuzzer need not find the way there. Run it after a target's input format has changed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "stack/cksum.h"

static const char *dir;

static void save(const char *target, const char *name, const void *data, size_t len)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, target);
	if (mkdir(path, 0777) && errno != EEXIST) {
		perror(path);
		exit(1);
	}
	snprintf(path, sizeof(path), "%s/%s/seed-%s", dir, target, name);
	f = fopen(path, "wb");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f)) {
		perror(path);
		exit(1);
	}
}

#define BYTES(target, name, ...) \
	save(target, name, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define TEXT(target, name, text)	save(target, name, text, sizeof(text) - 1)

/* Codes of fuzz_app(): what, argument. */
#define APP		3
#define A_READ		APP, 1, 255
#define A_PEEK		APP, 3, 255
#define A_WRITE		APP, 0, 255
#define A_OOB		APP, 2, 1
#define A_UDP_SEND	APP, 3 << 5, 4
#define A_UDP_RECV	APP, 3 << 5 | 1, 60
#define A_OPT(n, v)	APP, 4 << 5 | (n), v
#define A_SHUT_WR	APP, 5 << 5 | 2, 0
#define A_CLOSE		APP, 6 << 5, 0
#define A_ACCEPT	APP, 6 << 5 | 1, 0
#define A_CONNECT	APP, 6 << 5 | 6, 0
/* Sleep 1 us << n. */
#define SLEEP(n)	(uint8_t)((n) << 2 | 2)

/* ---- tcp: op, how, flags, window, [seq by], [ack by], [urg], [length], options ---- */
#define WIN		0xff, 0xff
#define OPTS		0	/* a timestamp that passes */
#define SEG(flags)	0, 0, flags, WIN, OPTS
#define DATA(flags, n)	0, 0x10, flags, WIN, (n) >> 8, (n) & 255, OPTS
#define AHEAD(n, len)	0, 0x12, FN_TCP_ACK, WIN, (n) >> 8, (n) & 255, (len) >> 8, (len) & 255, OPTS
#define OLD_ACK(n)	0, 4, FN_TCP_ACK, WIN, (n) >> 8, (n) & 255, OPTS
#define NO_WINDOW	0, 0, FN_TCP_ACK, 0, 0, OPTS

static void tcp_seeds(void)
{
	BYTES("tcp", "data", DATA(FN_TCP_ACK | FN_TCP_PSH, 1000), A_READ, A_WRITE, SEG(FN_TCP_ACK), SLEEP(16));
	BYTES("tcp", "out-of-order", AHEAD(100, 100), AHEAD(300, 50), DATA(FN_TCP_ACK, 100), DATA(FN_TCP_ACK, 100), A_PEEK, A_READ);
	BYTES("tcp", "passive-close", DATA(FN_TCP_ACK | FN_TCP_FIN, 10), A_READ, A_CLOSE, SEG(FN_TCP_ACK), SLEEP(20));
	BYTES("tcp", "active-close", A_WRITE, A_SHUT_WR, SEG(FN_TCP_ACK), SEG(FN_TCP_ACK | FN_TCP_FIN), A_CLOSE, SLEEP(26));
	BYTES("tcp", "simultaneous-close", A_CLOSE, SEG(FN_TCP_FIN | FN_TCP_ACK), OLD_ACK(1), SEG(FN_TCP_ACK), SLEEP(20));
	BYTES("tcp", "reset", SEG(FN_TCP_RST), A_READ, A_CLOSE, A_ACCEPT);
	BYTES("tcp", "reset-off", 0, 2, FN_TCP_RST, WIN, 0, 5, OPTS, SEG(FN_TCP_ACK));
	BYTES("tcp", "syn-again", SEG(FN_TCP_SYN), SEG(FN_TCP_ACK));
	BYTES("tcp", "zero-window", NO_WINDOW, A_WRITE, A_WRITE, SLEEP(20), NO_WINDOW, SLEEP(21), SEG(FN_TCP_ACK), SLEEP(12));
	BYTES("tcp", "retransmit", A_WRITE, SLEEP(18), SLEEP(20), SEG(FN_TCP_ACK), A_WRITE, SLEEP(24));
	BYTES("tcp", "dup-acks", A_WRITE, OLD_ACK(2000), OLD_ACK(2000), OLD_ACK(2000), OLD_ACK(2000), SEG(FN_TCP_ACK));
	BYTES("tcp", "sack", A_WRITE, 0, 4, FN_TCP_ACK, WIN, 0x10, 0, 25, FN_TCPOPT_NOP, FN_TCPOPT_NOP, FN_TCPOPT_SACK, 10, 0, 0, 0, 1,
	      0, 0, 0, 2, SEG(FN_TCP_ACK));
	BYTES("tcp", "urgent", 0, 0x10, FN_TCP_ACK | FN_TCP_URG, WIN, 0, 5, 0, 50, OPTS, APP, 5, 0, A_READ, A_READ, A_OOB);
	BYTES("tcp", "keepalive", A_OPT(4, 1), SLEEP(27), SLEEP(27), SEG(FN_TCP_ACK), SLEEP(27));
	BYTES("tcp", "second", 0, 0x40, FN_TCP_SYN, WIN, OPTS, 0, 0x40, FN_TCP_ACK, WIN, OPTS, SLEEP(20), A_ACCEPT);
	BYTES("tcp", "connect", A_CLOSE, SEG(FN_TCP_RST | FN_TCP_ACK), A_CONNECT, SEG(FN_TCP_SYN | FN_TCP_ACK), A_WRITE, SLEEP(20));
	BYTES("tcp", "cross", A_CLOSE, SEG(FN_TCP_RST | FN_TCP_ACK), A_CONNECT, SEG(FN_TCP_SYN), SEG(FN_TCP_ACK), A_READ);
	BYTES("tcp", "linger", A_WRITE, A_OPT(7, 0), A_CLOSE, SLEEP(20));
	BYTES("tcp", "cork", A_OPT(1, 1), A_WRITE, A_OPT(1, 0), SEG(FN_TCP_ACK), A_OPT(6, 1), A_WRITE, A_WRITE, A_WRITE);
}

static void option_seeds(void)
{
	BYTES("tcp_opt", "all", 5, 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7, 3, 1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1);
	BYTES("tcp_opt", "mss-0", 1, 2, 4, 0, 0, 1, 1, 1, 1, 1);
	BYTES("tcp_opt", "scale-15", 1, 3, 3, 15, 0, 0, 0);
	BYTES("tcp_opt", "length-0", 1, 8, 0, 1, 1, 1, 5, 0, 0, 0);
	BYTES("tcp_opt", "length-over", 1, 2, 40, 1, 1, 1, 8, 10, 0, 0);
	BYTES("tcp_opt", "sack", 2, 4, 2, 1, 1, 2, 4, 1, 1, 3, 1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2);
	BYTES("tcp_opt", "connect", 0, 0, 0, 0, 0, 5, 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7);
}

/* ---- ether: op, length, frame ---- */
static size_t put_frame(uint8_t *to, uint8_t op, const uint8_t *frame, size_t len)
{
	to[0] = op;
	to[1] = (uint8_t)(len >> 8);
	to[2] = (uint8_t)len;
	memcpy(to + 3, frame, len);
	return len + 3;
}

static size_t make_ip4(uint8_t *frame, uint8_t proto, const void *payload, size_t len)
{
	struct fn_ip4_hdr ip = {.ver_ihl = 0x45, .len = fn_be16((uint16_t)(FN_IP4_LEN + len)), .ttl = 64, .proto = proto,
		.src = fn_be32(0x0a000002), .dst = fn_be32(0x0a000001)};

	memcpy(frame, (const uint8_t[]){2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}, FN_ETHER_LEN);
	memcpy(frame + FN_ETHER_LEN, &ip, sizeof(ip));
	memcpy(frame + FN_ETHER_LEN + FN_IP4_LEN, payload, len);
	return FN_ETHER_LEN + FN_IP4_LEN + len;
}

static void ether_seeds(void)
{
	uint8_t frame[256], out[600];
	struct fn_tcp_hdr syn = {.sport = fn_be16(4003), .dport = fn_be16(FUZZ_PORT), .seq = fn_be32(9), .off = 5 << 4,
		.flags = FN_TCP_SYN, .win = 0xffff};
	struct fn_udp_hdr udp = {.sport = fn_be16(7), .dport = fn_be16(FUZZ_UDP_PORT), .len = fn_be16(8)};
	struct fn_arp_hdr arp = {.htype = fn_be16(1), .ptype = fn_be16(FN_ETHER_TYPE_IP4), .hlen = 6, .plen = 4,
		.op = fn_be16(FN_ARP_REPLY), .sha = {2, 0, 0, 0, 0, 3}, .spa = fn_be32(0x0a000003), .tpa = fn_be32(0x0a000001)};
	size_t n;

	save("ether", "syn", out, put_frame(out, 1, frame, make_ip4(frame, FN_IPPROTO_TCP, &syn, sizeof(syn))));
	syn.flags = FN_TCP_ACK;
	syn.sport = fn_be16(FUZZ_PEER_PORT);
	n = put_frame(out, 1, frame, make_ip4(frame, FN_IPPROTO_TCP, &syn, sizeof(syn)));
	memcpy(out + n, (const uint8_t[]){A_WRITE, SLEEP(20), A_CLOSE, A_UDP_SEND}, 10);
	save("ether", "ack", out, n + 10);
	n = put_frame(out, 1, frame, make_ip4(frame, FN_IPPROTO_UDP, &udp, sizeof(udp)));
	memcpy(out + n, (const uint8_t[]){A_UDP_RECV}, 3);
	save("ether", "udp", out, n + 3);
	save("ether", "echo", out, put_frame(out, 1, frame, make_ip4(frame, FN_IPPROTO_ICMP, "\10\0\0\0\1\2\3\4data", 12)));
	make_ip4(frame, 0, &arp, sizeof(arp));
	frame[13] = 6;
	memcpy(frame + FN_ETHER_LEN, &arp, sizeof(arp));
	save("ether", "arp", out, put_frame(out, 0, frame, FN_ETHER_LEN + sizeof(arp)));
	frame[12] = 0x81;
	frame[13] = 0;
	save("ether", "vlan", out, put_frame(out, 0, frame, 60));
}

static void small_seeds(void)
{
	BYTES("icmp", "echo", 0, 8, 0, 1, 2, 3, 4, 4, 'd', 'a', 't', 'a');
	BYTES("icmp", "port-unreachable", A_UDP_SEND, 4, 3, 3, 0, 0, 0, 0, 1, A_UDP_RECV);
	BYTES("icmp", "host-unreachable", A_WRITE, 4, 3, 1, 0, 0, 0, 0, 2, 0x10, 0, SLEEP(20));
	BYTES("icmp", "too-big", A_WRITE, 4, 3, 4, 0, 0, 2, 0x40, 2, 0x10, 0, SLEEP(20));
	BYTES("icmp", "too-big-tiny", A_WRITE, 4, 3, 4, 0, 0, 0, 8, 2, 0x10, 0, SLEEP(20));
	BYTES("icmp", "exceeded", A_WRITE, 4, 11, 0, 0, 0, 0, 0, 12, 4, 20, 9, 1);
	BYTES("icmp", "fragmented", 16, 8, 0, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0x20, 0);
	BYTES("udp", "one", 32, 0, 4, 'a', 'b', 'c', 'd', A_UDP_RECV);
	BYTES("udp", "empty", 0, 0, 0, A_UDP_RECV);
	BYTES("udp", "closed", 4, 0, 9, 0, 99);
	BYTES("udp", "length-short", 8, 0, 20, 0, 7);
	BYTES("udp", "length-long", 8, 0, 20, 0, 200);
	BYTES("udp", "no-checksum", 16, 0, 20, 0, 0, A_UDP_RECV);
	BYTES("udp", "cut", 64, 0, 20, 5);
	BYTES("udp", "send", A_UDP_SEND, APP, 3 << 5, 255, SLEEP(20));
	/* op, how, offset, size: how's bit 7 is MF, 2-4 the identification, 0-1 the protocol */
	BYTES("ip4", "two", 0, 0x80, 0, 10, 0, 0, 10, 10, A_UDP_RECV);
	BYTES("ip4", "two-back", 0, 0, 10, 10, 0, 0x80, 0, 10, A_UDP_RECV);
	BYTES("ip4", "overlap", 0, 0x80, 0, 10, 0, 0x80, 5, 10, 0, 0, 15, 1);
	BYTES("ip4", "same-twice", 0, 0x80, 0, 10, 0, 0x80, 0, 10, 0, 0, 10, 1);
	BYTES("ip4", "odd", 8, 0x80, 0, 0, 13, 0, 0, 2, 1);
	BYTES("ip4", "end", 4, 0, 0x1f, 0xff, 200);
	BYTES("ip4", "timeout", 0, 0x84, 0, 10, 0, 0x88, 0, 10, SLEEP(26), 0, 4, 10, 10);
	BYTES("ip4", "tcp", 16 | 0, 0x81, 0, 5, 4, 0x0f, 0xa0, 0, 80, 0, 1, 5, 5);
	BYTES("ip4", "options", 5, 1, 7, 3, 4, 0);
	BYTES("ip4", "source-route", 5, 2, 0x83, 7, 4, 10, 0, 0, 3, 0);
	BYTES("ip4", "header", 9, 2, 1);
}

static void conf_seeds(void)
{
	TEXT("conf", "file", "# a comment\n[nic eth0]\ntype = dpdk\ndevargs = net_af_packet0,iface=veth1\naddress = 10.9.0.2/24\n"
	     "gateway = 10.9.0.1\nmac = 02:00:00:00:00:01\nmtu = 1500\nqueues = 1\n");
	TEXT("conf", "rules", "[policy]\nrule = kernel tcp connect 10.0.0.0/8 port 80-90\nrule = accelerate udp program nginx user root\n");
	TEXT("conf", "env-nic", "$FASTNET_NIC=dpdk:net_af_packet0,iface=veth1 address=10.9.0.2/24 gateway=10.9.0.1; dpdk:net_tap0 "
	     "address=10.9.1.2/24\n");
	TEXT("conf", "env", "$FASTNET_LOG=stderr\nFASTNET_SPIN_US=50\nFASTNET_FD_BASE=3\nFASTNET_DISABLE=1\nFASTNET_ON_ERROR=abort\n"
	     "FASTNET_RULES=kernel tcp listen port 22\n");
}

/* shm.c's steps: a connection made either way, data in the ring and in payload memory, its return, an end. */
#define SHM_SYN		0, 0, 0, FN_TCP_SYN, 0xff, 0xff
#define SHM_SYNACK	0, 0, 1, FN_TCP_SYN | FN_TCP_ACK, 0xff, 0xff
#define SHM_DATA	0, 4, 1, FN_TCP_ACK, 0xff, 0xff, 'd', 'a', 't', 'a'
#define SHM_PLACES	0x20, 3, 0, 128, 15, 0, 4, 0, 128, 1, 0, 1, FN_TCP_ACK, 0xff, 0xff
#define SHM_FIN		0, 0, 1, FN_TCP_FIN | FN_TCP_ACK, 0xff, 0xff
#define SHM_SEND	1, 0x20, 0, 1
#define SHM_RECV	1, 0x20, 0, 0

static void shm_seeds(void)
{
	BYTES("shm", "syn", SHM_SYN, 0, 0, 2, FN_TCP_ACK, 0xff, 0xff, 3, 233, 0x41, 0, 1, 0);
	BYTES("shm", "data", SHM_SYNACK, SHM_DATA, SHM_RECV, SHM_FIN, 9);
	BYTES("shm", "places", SHM_SYNACK, SHM_PLACES, SHM_RECV, SHM_PLACES, 9);
	BYTES("shm", "lent", SHM_SYNACK, SHM_SEND, 2, 20, 1, 6, 4, 0, 1, 2, 3, SHM_DATA, SHM_FIN);
	BYTES("shm", "scribble", SHM_SYNACK, 10, 0x80, 70, 8, 1, 2, 3, 4, 5, 6, 7, 8, SHM_DATA);
	BYTES("shm", "stopped", SHM_SYNACK, SHM_SEND, SHM_SEND, SHM_SEND, 7, 200, 7, 200, 2, 255, 1);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: corpus DIR\n");
		return 2;
	}
	dir = argv[1];
	tcp_seeds();
	option_seeds();
	ether_seeds();
	small_seeds();
	conf_seeds();
	shm_seeds();
	return 0;
}
