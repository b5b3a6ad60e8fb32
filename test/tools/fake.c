/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A libfastnet.so for the test of fastnet-stat: no stack runs, the records that the tool reads are written down by hand.
 * FAKE says what is wrong with them: nothing ("good"), or what an unlucky or hostile process may show.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "shim/info.h"
#include "shim/policy.h"
#include "stack/tcp.h"

#define RESERVE	(16u << 20)

static struct fn_nic nic = { .name = "eth0", .up = true, .mtu = 1500, .mac = { 2, 0, 0, 0, 0, 9 },
			     .stats = { .rx_packets = 1001, .tx_packets = 1002 } };

static struct fn_ep ep(const char *ip, uint16_t port)
{
	return (struct fn_ep){ .ip4 = inet_addr(ip), .port = htons(port) };
}

static struct fn_tcp *tcp(struct fn_stack *st, enum fn_tcp_state state, struct fn_ep local, struct fn_ep remote)
{
	struct fn_tcp *tp = fn_pool_alloc(&st->tcp_pool);

	tp->sk.kind = FN_SOCK_TCP;
	tp->sk.tcp_state = (uint8_t)state;
	tp->sk.local = local;
	tp->sk.remote = remote;
	return tp;
}

static void connection(struct fn_stack *st)
{
	struct fn_tcp *tp = tcp(st, FN_TCP_ESTABLISHED, ep("10.9.0.2", 80), ep("10.9.0.1", 40001));

	/* across the wrap of the sequence space: 300 bytes to read, 700 written, 500 of them in flight */
	tp->copied_seq = 0xffffff00u;
	tp->rcv_nxt = tp->copied_seq + 300;
	tp->snd_una = 0xfffffff0u;
	tp->snd_nxt = tp->snd_una + 500;
	tp->write_seq = tp->snd_una + 700;
	tp->cc_id = FN_CC_RENO;
	tp->feat = FN_TCP_F_TS | FN_TCP_F_SACK | FN_TCP_F_WSCALE;
	tp->rto = 204 * FN_MSEC;
	tp->srtt = 1500 << 3;
	tp->mdev = 250 << 2;
	tp->mss = 1448;
	tp->cwnd = 14480;
	tp->ssthresh = INT32_MAX;
	tp->bytes_acked = 123456;
	tp->bytes_received = 654321;
	tp->f.total_retrans = 3;
	tp->lsndtime = st->now - 7 * FN_MSEC;
}

static void sockets(struct fn_stack *st)
{
	struct fn_tcp *tp = tcp(st, FN_TCP_LISTEN, ep("0.0.0.0", 80), ep("0.0.0.0", 0));
	struct fn_tcp_tw *tw;
	struct fn_sock *udp, *mini;

	tp->l.accept_len = 2;
	tp->l.backlog = 511;
	connection(st);
	/* one that was closed again */
	tcp(st, FN_TCP_CLOSED, ep("10.9.0.2", 9), ep("10.9.0.1", 9))->sk.kind = 0;
	udp = fn_pool_alloc(&st->udp_pool);
	udp->kind = FN_SOCK_UDP;
	udp->local = ep("10.9.0.2", 53);
	udp->rxq.bytes = 48;
	tw = fn_pool_alloc(&st->tcp->tw_pool);
	mini = fn_mini_sk(tw);
	mini->kind = FN_SOCK_TCP;
	mini->tcp_state = FN_TCP_TIME_WAIT;
	mini->local = ep("10.9.0.2", 80);
	mini->remote = ep("10.9.0.1", 40000);
}

static struct fn_stack *stack(void)
{
	void *base = mmap(NULL, RESERVE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct fn_arena *a = fn_arena_init(base, RESERVE, RESERVE, NULL, NULL);
	struct fn_stack *st = fn_arena_alloc(a, sizeof *st);

	fastnet_info.arena = (uintptr_t)base;
	fastnet_info.arena_reserve = RESERVE;
	fastnet_info.stack = (uintptr_t)st;
	st->now = 3600 * FN_NSEC;
	st->tcp = fn_arena_alloc(a, sizeof *st->tcp);
	st->nic[0] = &nic;
	st->nics = 1;
	fn_pool_init(&st->tcp_pool, a, sizeof(struct fn_tcp), 16, 64);
	fn_pool_init(&st->udp_pool, a, sizeof(struct fn_sock), 16, 64);
	fn_pool_init(&st->tcp->req_pool, a, sizeof(struct fn_tcp_req), 16, 64);
	fn_pool_init(&st->tcp->tw_pool, a, sizeof(struct fn_tcp_tw), 16, 64);
	sockets(st);
	st->stats.tcp_in = 4242;
	st->stats.drop[FN_DROP_TCP_PAWS] = 17;
	return st;
}

static void decisions(void)
{
	struct fn_info_decision d = { .fd = 6, .family = AF_INET, .type = SOCK_STREAM, .port = 80,
				      .verb = FN_POLICY_LISTEN, .nic = FN_POLICY_NO_NIC, .reason = FN_REASON_WILDCARD };

	fn_info_decision(&d);
	d = (struct fn_info_decision){ .fd = 7, .family = AF_INET, .type = SOCK_STREAM, .port = 5432,
				       .verb = FN_POLICY_CONNECT, .reason = FN_REASON_RULE, .arg = 12 };
	memcpy(d.addr, "\x0a\x09\0\x01", 4);
	fn_info_decision(&d);
	d = (struct fn_info_decision){ .fd = 8, .family = AF_INET6, .type = SOCK_DGRAM, .port = 53,
				       .verb = FN_POLICY_CONNECT, .reason = FN_REASON_IP6 };
	d.addr[15] = 1;
	fn_info_decision(&d);
	d = (struct fn_info_decision){ .fd = 9, .family = AF_UNIX, .type = SOCK_STREAM | SOCK_NONBLOCK,
				       .verb = FN_POLICY_SOCKET, .reason = FN_REASON_FAMILY, .arg = AF_UNIX };
	fn_info_decision(&d);
}

/* More than are remembered: connects to ports from 1000 on. */
static void many_decisions(void)
{
	for (unsigned i = 0; i < FN_INFO_DECISIONS + 44; i++) {
		struct fn_info_decision d = { .fd = 5, .family = AF_INET, .type = SOCK_STREAM, .verb = FN_POLICY_CONNECT,
					      .reason = FN_REASON_LOCAL, .port = (uint16_t)(1000 + i) };

		fn_info_decision(&d);
	}
}

static void info(void)
{
	struct fn_info_port *p = fastnet_info.port;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	fastnet_info.pid = getpid();
	fastnet_info.start = (uint64_t)now.tv_sec * FN_NSEC;
	strcpy(fastnet_info.program, "fake");
	strcpy(fastnet_info.file, "/etc/fastnet/fastnet.conf");
	fastnet_info.fabric = 1;
	fastnet_info.ports = 2;
	strcpy(p[0].name, "eth0");
	strcpy(p[0].devargs, "net_af_packet0,iface=veth1");
	p[0].ip4 = inet_addr("10.9.0.2");
	p[0].ip4_mask = inet_addr("255.255.255.0");
	p[0].ip4_gw = inet_addr("10.9.0.1");
	p[0].state = FN_INFO_PORT_OPEN;
	p[1] = p[0];
	strcpy(p[1].name, "eth1");
	p[1].state = FN_INFO_PORT_HELD;
	p[1].holder = 4711;
}

/* What a process may show that it should not. */
static void spoil(const char *how, struct fn_stack *st)
{
	if (!strcmp(how, "magic"))
		fastnet_info.magic++;
	else if (!strcmp(how, "layout"))
		fastnet_info.layout++;
	else if (!strcmp(how, "inert"))
		fastnet_info.pid = 0;
	else if (!strcmp(how, "nostack"))
		fastnet_info.stack = 0;
	else if (!strcmp(how, "portless") || !strcmp(how, "nothing"))
		fastnet_info.stack = fastnet_info.ports = 0, fastnet_info.fabric = !strcmp(how, "portless");
	else if (!strcmp(how, "wrong"))
		fastnet_info.stack = 0, fastnet_info.conf_errors = 2;
	else if (!strcmp(how, "stack"))
		fastnet_info.stack = (uintptr_t)&nic;
	else if (!strcmp(how, "wild"))
		fastnet_info.stack = fastnet_info.arena + RESERVE - 8;
	else if (!strcmp(how, "chunk"))
		st->tcp_pool.chunk[0] = (uint8_t *)&fastnet_info;
	else if (!strcmp(how, "made"))
		st->tcp_pool.made = UINT32_MAX;
	else if (!strcmp(how, "size"))
		st->tcp_pool.obj_size = 8;
	else if (!strcmp(how, "per_chunk"))
		st->tcp_pool.per_chunk = 0;
	else if (!strcmp(how, "nics"))
		st->nics = 255;
	else if (!strcmp(how, "tcp"))
		st->tcp = (void *)8;
	else if (!strcmp(how, "text"))
		memset(fastnet_info.program, 0x1b, sizeof fastnet_info.program);
	else if (!strcmp(how, "many"))
		many_decisions();
	else if (!strcmp(how, "ports"))
		fastnet_info.ports = UINT32_MAX;
	else if (!strcmp(how, "reason"))
		for (unsigned i = 0; i < FN_INFO_DECISIONS; i++)
			fastnet_info.ring[i] = (struct fn_info_decision){ .seq = i + 1, .reason = UINT32_MAX, .arg = UINT32_MAX,
									  .family = UINT16_MAX, .time = UINT64_MAX };
}

static void __attribute__((constructor)) start(void)
{
	const char *how = getenv("FAKE");

	if (!how)
		return;
	info();
	decisions();
	spoil(how, stack());
}
