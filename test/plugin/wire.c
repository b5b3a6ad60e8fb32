/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Drives the plugin without a stack: answers ARP, ping and UDP (any port) for 10.9.0.2 by turning the frame round in
 * place, so that a failure here is the plugin's. SIGTERM ends it and prints what it counted.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "stack/wire.h"
#include "test/plugin/host.h"
#include "test/unit/traced.h"

#define OUR_IP	fn_be32(0x0a090002)
#define SPIN_NS	50000u
#define DEATHS	24u
#define STOPS	8u	/* of the child: what comes before sending, that call, and what follows */
#define KEPT	8u	/* buffers that stay ours whoever sends them */
#define FILLER	0x5a
#define TRACE	16384u	/* instructions of a burst */

struct counts {
	uint64_t arp, icmp, udp, unfinished, oversize, other, full;
	uint64_t busy_ns, bursts;	/* time and number of rounds that received something */
};

static struct counts count;

static void turn_ether(struct fn_nic *nic, struct fn_ether_hdr *eth)
{
	memcpy(eth->dst, eth->src, 6);
	memcpy(eth->src, nic->mac, 6);
}

static bool turn_arp(struct fn_nic *nic, struct fn_pkt *p)
{
	struct fn_arp_hdr *arp = (struct fn_arp_hdr *)(p->data + FN_ETHER_LEN);

	if (p->len < FN_ETHER_LEN + sizeof(*arp) || arp->op != fn_be16(FN_ARP_REQUEST) || arp->tpa != OUR_IP)
		return false;
	arp->op = fn_be16(FN_ARP_REPLY);
	memcpy(arp->tha, arp->sha, 6);
	arp->tpa = arp->spa;
	memcpy(arp->sha, nic->mac, 6);
	arp->spa = OUR_IP;
	count.arp++;
	return true;
}

/* The sum over addresses and ports does not change when the ends are exchanged. */
static bool turn_udp(struct fn_pkt *p, struct fn_ip4_hdr *ip)
{
	struct fn_udp_hdr *udp = (struct fn_udp_hdr *)(ip + 1);
	uint16_t port = udp->sport;

	udp->sport = udp->dport;
	udp->dport = port;
	if (p->flags & FN_PKT_L4_CSUM_OK) {
		count.unfinished++;
		udp->csum = 0;
	}
	count.udp++;
	return true;
}

static bool turn_icmp(struct fn_ip4_hdr *ip)
{
	struct fn_icmp_hdr *icmp = (struct fn_icmp_hdr *)(ip + 1);
	uint32_t sum;

	if (icmp->type != FN_ICMP_ECHO)
		return false;
	icmp->type = FN_ICMP_ECHO_REPLY;
	sum = fn_be16(icmp->csum) + 0x0800u;
	icmp->csum = fn_be16((uint16_t)((sum & 0xffff) + (sum >> 16)));
	count.icmp++;
	return true;
}

static bool turn_ip4(struct fn_pkt *p)
{
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(p->data + FN_ETHER_LEN);

	if (p->len < FN_ETHER_LEN + FN_IP4_LEN + 8 || ip->dst != OUR_IP || ip->ver_ihl != 0x45 ||
	    ip->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET))
		return false;
	ip->dst = ip->src;
	ip->src = OUR_IP;
	if (ip->proto == FN_IPPROTO_UDP)
		return turn_udp(p, ip);
	return ip->proto == FN_IPPROTO_ICMP && turn_icmp(ip);
}

static bool turn(struct fn_nic *nic, struct fn_pkt *p)
{
	struct fn_ether_hdr *eth = (struct fn_ether_hdr *)p->data;
	bool answer = false;

	if (p->pkt_len > nic->mtu + FN_ETHER_LEN || p->seg) {
		count.oversize++;
		return false;
	}
	if (p->len >= FN_ETHER_LEN && eth->type == fn_be16(FN_ETHER_TYPE_ARP))
		answer = turn_arp(nic, p);
	else if (p->len >= FN_ETHER_LEN && eth->type == fn_be16(FN_ETHER_TYPE_IP4))
		answer = turn_ip4(p);
	if (answer)
		turn_ether(nic, eth);
	else
		count.other++;
	p->flags = 0;
	return answer;
}

static unsigned serve(struct fn_nic *nic)
{
	struct fn_pkt *in[FN_NIC_BURST], *out[FN_NIC_BURST];
	uint64_t start = host_now();
	uint16_t n = nic->ops->rx(nic, in, FN_NIC_BURST), k = 0, sent;

	for (uint16_t i = 0; i < n; i++) {
		if (turn(nic, in[i]))
			out[k++] = in[i];
		else
			nic->ops->free(nic, in[i]);
	}
	sent = k ? nic->ops->tx(nic, out, k) : 0;
	for (uint16_t i = sent; i < k; i++) {
		count.full++;
		nic->ops->free(nic, out[i]);
	}
	if (n) {
		count.busy_ns += host_now() - start;
		count.bursts++;
	}
	return n;
}

static void run(const struct host_options *o, const struct fn_plugin_ops *ops, struct fn_nic *nic, struct fn_port *port,
		uint64_t until)
{
	uint64_t last = host_now(), now = last;

	while (!host_stop && now < until) {
		unsigned n = host_pending(nic) ? serve(nic) : 0;

		now = host_now();
		if (n)
			last = now;
		else if (!o->spin && now - last > SPIN_NS) {
			host_sleep(ops, port, until == UINT64_MAX ? 1000000000u : 10000000u, serve);
			last = now = host_now();
		}
	}
}

static void report(const char *who, struct fn_nic *nic)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	printf("%s: rx %lu tx %lu arp %lu icmp %lu udp %lu unfinished %lu oversize %lu other %lu full %lu missed %lu "
	       "buffers %lu\n", who,
	       nic->stats.rx_packets, nic->stats.tx_packets, count.arp, count.icmp, count.udp, count.unfinished,
	       count.oversize, count.other, count.full, nic->stats.rx_missed, nic->stats.buffers);
	printf("%s: ns/packet %lu packets/burst %.1f\n", who,
	       nic->stats.rx_packets ? count.busy_ns / nic->stats.rx_packets : 0,
	       count.bursts ? (double)nic->stats.rx_packets / (double)count.bursts : 0);
	printf("%s: sleeps %lu woken %lu idle %lu cpu_ms %lu\n", who, host_slept.sleeps, host_slept.woken, host_slept.idle,
	       ru.ru_utime.tv_sec * 1000 + ru.ru_utime.tv_usec / 1000 + ru.ru_stime.tv_sec * 1000 +
		       ru.ru_stime.tv_usec / 1000);
	fflush(stdout);
}

/* The child serves for a while, then the parent goes on: both use the one port, one after the other. */
static void run_fork(const struct host_options *o, const struct fn_plugin_ops *ops, struct fn_nic *nic,
		     struct fn_port *port)
{
	pid_t pid = fork();

	if (!pid) {
		ops->child_after_fork(port);
		run(o, ops, nic, port, host_now() + 2000000000u);
		report("child", nic);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	memset(&count, 0, sizeof(count));
	run(o, ops, nic, port, UINT64_MAX);
}

static const struct fn_plugin_ops *plugin;
static struct fn_port *shared;
static struct fn_nic *device;

static void serve_in_child(void)
{
	plugin->child_after_fork(shared);
	serve(device);
}

/* One after another, children are killed where a system call of a burst of theirs begins or ends: those of sending. */
static void run_deaths(const struct host_options *o, const struct fn_plugin_ops *ops, struct fn_nic *nic,
		       struct fn_port *port)
{
	plugin = ops;
	shared = port;
	device = nic;
	for (unsigned i = 0; i < DEATHS && !host_stop; i++) {
		bool alive = true;
		pid_t pid;

		usleep(20000);		/* so that a burst is one */
		while (!host_pending(nic) && !host_stop)
			usleep(1000);
		pid = traced_child(serve_in_child);
		if (pid < 0) {
			printf("deaths: nobody may be traced here\n");
			break;
		}
		for (unsigned k = 0; k < i % STOPS && alive; k++) {
			traced_go_on(pid);
			alive = traced_stops(pid);
		}
		if (alive) {
			kill(pid, SIGKILL);
			traced_stops(pid);
		}
		nic->ops->reclaim(nic);
	}
	printf("deaths: done\n");
	fflush(stdout);
	run(o, ops, nic, port, UINT64_MAX);
}

/* ---- deaths at any instruction, and every buffer counted ---- */

static struct fn_pkt *kept[KEPT];
static unsigned long trace[TRACE];

static void keep_some(struct fn_nic *nic)
{
	for (unsigned i = 0; i < KEPT; i++) {
		struct fn_pkt *p = kept[i] = nic->ops->alloc(nic);
		struct fn_ether_hdr *eth = (struct fn_ether_hdr *)p->data;

		memset(p->data, FILLER, nic->tx_payload);
		memcpy(eth->dst, nic->mac, 6);
		memcpy(eth->src, nic->mac, 6);
		eth->type = fn_be16(0x88b5);	/* IEEE 802: local experimental */
		p->len = p->pkt_len = 100;
		p->flags |= FN_PKT_KEEP | FN_PKT_MARK;
	}
}

/* None is the device's for good, and nothing else was written there. */
static bool keep_whole(struct fn_nic *nic)
{
	for (unsigned i = 0; i < KEPT; i++) {
		const struct fn_pkt *p = kept[i];

		if (nic->ops->in_flight(nic, p) || p->nic != nic || !(p->flags & FN_PKT_MARK))
			return false;
		for (unsigned k = FN_ETHER_LEN; k < nic->tx_payload; k++)
			if (p->data[k] != FILLER)
				return false;
	}
	return true;
}

static void serve_and_send(void)
{
	struct fn_pkt *out[KEPT];
	uint16_t n = 0;

	serve(device);
	for (unsigned i = 0; i < KEPT; i++)
		if (!device->ops->in_flight(device, kept[i]))
			out[n++] = kept[i];
	device->ops->tx(device, out, n);
}

static pid_t victim(void)
{
	pid_t pid = traced_child(serve_and_send);

	if (pid < 0) {
		printf("deaths: nobody may be traced here\n");
		exit(0);
	}
	return pid;
}

/* Where a child comes by, instruction by instruction. */
static unsigned record(void)
{
	pid_t pid = victim();
	unsigned n = 0;

	while (n < TRACE && (trace[n++] = traced_ip(pid), traced_step(pid)))
		;
	if (n == TRACE)
		kill(pid, SIGKILL);
	return n;
}

/* A child is killed where that one came by at instruction n; true: it did, too. */
static bool kill_at(unsigned n)
{
	pid_t pid = victim();
	bool alive = traced_run_to(pid, trace[n]);

	for (unsigned i = 0; i < n && alive; i++)
		if (trace[i] == trace[n])
			alive = traced_step(pid) && traced_run_to(pid, trace[n]);
	if (alive) {
		kill(pid, SIGKILL);
		traced_stops(pid);
	}
	return alive;
}

static void await_pending(struct fn_nic *nic)
{
	while (!host_pending(nic) && !host_stop)
		usleep(500);
}

static bool is_level(const struct fn_plugin_ops *ops, struct fn_nic *nic, struct fn_port *port, uint64_t level,
		     unsigned death)
{
	ops->tick(port);
	if (nic->stats.buffers_free == level && keep_whole(nic))
		return true;
	printf("deaths: after %u, %lu buffers are free of %lu, those kept are %s\n", death, nic->stats.buffers_free, level,
	       keep_whole(nic) ? "whole" : "not whole");
	return false;
}

static void run_instants(const struct host_options *o, const struct fn_plugin_ops *ops, struct fn_nic *nic,
			 struct fn_port *port)
{
	unsigned length = 0, killed = 0;
	uint64_t level;
	bool good = true;

	shared = port;
	device = nic;
	srand48(1);
	keep_some(nic);
	ops->tick(port);
	level = nic->stats.buffers_free;
	for (unsigned i = 0; i < o->instants && good && !host_stop; i++) {
		usleep(2000);
		await_pending(nic);
		if (i % 500)
			killed += kill_at((unsigned)(drand48() * length));
		else
			length = record();
		nic->ops->reclaim(nic);
		good = is_level(ops, nic, port, level, i + 1);
	}
	for (unsigned i = 0; i < KEPT; i++)
		nic->ops->free(nic, kept[i]);
	printf("deaths: %s, %u within %u instructions, %lu buffers\n", good ? "done" : "NOT done", killed, length, level);
	fflush(stdout);
	run(o, ops, nic, port, UINT64_MAX);
}

int main(int argc, char **argv)
{
	struct host_options o;
	static struct fn_nic nic;
	struct fn_port *port;
	const struct fn_plugin_ops *ops;

	host_parse(&o, argc, argv);
	ops = host_open(&o, &nic, &port);
	if (o.fork_test)
		run_fork(&o, ops, &nic, port);
	else if (o.instants)
		run_instants(&o, ops, &nic, port);
	else if (o.death_test)
		run_deaths(&o, ops, &nic, port);
	else
		run(&o, ops, &nic, port, UINT64_MAX);
	ops->tick(port);
	report("total", &nic);
	ops->close(port);
	return 0;
}
