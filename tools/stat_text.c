/* SPDX-License-Identifier: BSD-3-Clause */
/* fastnet-stat's output for people: sockets in the shape of `ss -tin`. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "tools/stat_print.h"

/* Decisions shown without --all. */
#define DECISIONS_SHOWN 20

/* ---- the list of processes ---- */

void fn_text_list_head(void)
{
	printf("%-8s %-20s %-8s %7s %8s %8s  %s\n", "PID", "PROGRAM", "VERSION", "SOCKETS", "STACK", "KERNEL", "PORTS");
}

void fn_text_list(const struct fn_target *t)
{
	uint64_t stack, kernel;

	fn_reason_sums(&t->info, &stack, &kernel);
	printf("%-8d %-20.20s %-8s %7zu %8" PRIu64 " %8" PRIu64 " ", (int)t->pid, t->info.program, t->info.version, t->socks,
	       stack, kernel);
	for (unsigned i = 0; i < t->info.ports; i++)
		printf(" %s:%s", t->info.port[i].name, fn_port_state_name(t->info.port[i].state));
	putchar('\n');
}

/* ---- head and ports ---- */

/* What there is of sockets that are not the kernel's, where it is not all. */
static void print_scope(const struct fn_info *i)
{
	if (i->conf_errors)
		puts("the configuration is wrong: every socket is the kernel's");
	else if (!i->ports && !i->fabric)
		puts("no port is configured: every socket is the kernel's");
	else if (!i->ports)
		puts("no port is configured: only what goes to processes of this host, through shared memory, is "
		     "accelerated");
}

static void print_head(const struct fn_target *t)
{
	struct timespec now;
	int64_t up;

	clock_gettime(CLOCK_REALTIME, &now);
	up = (int64_t)now.tv_sec - (int64_t)(t->info.start / FN_NSEC);
	printf("%s: PID %d, fastnet %s, up %" PRId64 " s\n", t->info.program, (int)t->pid, t->info.version, up < 0 ? 0 : up);
	printf("configuration: %s", *t->info.file ? t->info.file : "no file");
	if (t->info.conf_errors)
		printf(", %u errors", t->info.conf_errors);
	putchar('\n');
	print_scope(&t->info);
	if (t->damaged)
		puts("some of its records made no sense and are left out");
}

static void print_port_state(const struct fn_info_port *p)
{
	if (p->state == FN_INFO_PORT_HELD)
		printf("held by PID %d", p->holder);
	else if (p->state == FN_INFO_PORT_FAILED)
		printf("failed: %s", strerror(p->error));
	else
		fputs(fn_port_state_name(p->state), stdout);
}

static void print_ports(const struct fn_target *t)
{
	char ip[16];

	for (unsigned i = 0; i < t->info.ports; i++) {
		const struct fn_info_port *p = &t->info.port[i];

		printf("port %s: ", p->name);
		print_port_state(p);
		printf(", dpdk:%s, %s/%d", p->devargs, fn_ip4_text(ip, sizeof ip, p->ip4), __builtin_popcount(p->ip4_mask));
		if (p->ip4_gw)
			printf(" gateway %s", fn_ip4_text(ip, sizeof ip, p->ip4_gw));
		putchar('\n');
	}
	for (unsigned i = 0; i < t->nics; i++) {
		const struct fn_nic *n = &t->nic[i];
		const struct fn_nic_stats *s = &n->stats;

		printf("nic %s: %s mtu %u mac %02x:%02x:%02x:%02x:%02x:%02x\n", n->name, n->up ? "up" : "down", n->mtu,
		       n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4], n->mac[5]);
		printf("\trx_packets:%" PRIu64 " rx_bytes:%" PRIu64 " rx_missed:%" PRIu64 " rx_errors:%" PRIu64
		       " tx_packets:%" PRIu64 " tx_bytes:%" PRIu64 " tx_full:%" PRIu64 " alloc_failed:%" PRIu64,
		       s->rx_packets, s->rx_bytes, s->rx_missed, s->rx_errors, s->tx_packets, s->tx_bytes, s->tx_full,
		       s->alloc_failed);
		if (s->buffers)
			printf(" buffers:%" PRIu64 " buffers_free:%" PRIu64, s->buffers, s->buffers_free);
		putchar('\n');
	}
}

/* ---- sockets ---- */

/* Time since an event on the stack's clock, ms; negative: never, or half-read. */
static int64_t ms_ago(const struct fn_target *t, uint64_t event)
{
	return event && event <= t->stack.now ? (int64_t)((t->stack.now - event) / FN_MSEC) : -1;
}

static void print_age(const char *name, int64_t ms)
{
	if (ms >= 0)
		printf(" %s:%" PRId64 "ms", name, ms);
}

static void print_loss(const struct fn_tcp *tp)
{
	const struct fn_tcp_flow *f = &tp->f;

	if (tp->snd_nxt != tp->snd_una)
		printf(" unacked:%u", tp->snd_nxt - tp->snd_una);
	if (f->retrans || f->total_retrans)
		printf(" retrans:%u/%u", f->retrans, f->total_retrans);
	if (f->lost)
		printf(" lost:%u", f->lost);
	if (f->sacked)
		printf(" sacked:%u", f->sacked);
	if (tp->backoff)
		printf(" backoff:%u", tp->backoff);
	if (tp->ca_state)
		printf(" ca_state:%u", tp->ca_state);
	if (tp->oooq.count)
		printf(" ooo:%u", tp->oooq.bytes);
}

/* The second line of `ss -tin`, with its names; unacked, retrans, lost and sacked are bytes here. */
static void print_tcp_info(const struct fn_target *t, const struct fn_target_sock *s)
{
	const struct fn_tcp *tp = &s->tcp;

	printf("\t %s%s%s%s", s->lossless ? "lossless" : fn_cc_name(tp->cc_id), tp->feat & FN_TCP_F_TS ? " ts" : "",
	       tp->feat & FN_TCP_F_SACK ? " sack" : "", tp->feat & FN_TCP_F_WSCALE ? "" : " nowscale");
	if (tp->feat & FN_TCP_F_WSCALE)
		printf(" wscale:%u,%u", tp->snd_wscale, tp->rcv_wscale);
	printf(" rto:%" PRIu64, (uint64_t)(tp->rto / FN_MSEC));
	if (tp->srtt)
		printf(" rtt:%.3f/%.3f minrtt:%.3f", tp->srtt / 8e3, tp->mdev / 4e3, tp->min_rtt / 1e3);
	printf(" mss:%u rcvmss:%u advmss:%u cwnd:%u", tp->mss, tp->rcv_mss, tp->advmss, tp->mss ? tp->cwnd / tp->mss : 0);
	if (tp->ssthresh < INT32_MAX)
		printf(" ssthresh:%u", tp->mss ? tp->ssthresh / tp->mss : 0);
	printf(" bytes_acked:%" PRIu64 " bytes_received:%" PRIu64 " segs_out:%u segs_in:%u", tp->bytes_acked,
	       tp->bytes_received, tp->segs_out, tp->segs_in);
	print_age("lastsnd", ms_ago(t, tp->lsndtime));
	print_age("lastrcv", ms_ago(t, tp->ack_ts));
	print_age("lastack", ms_ago(t, tp->rcv_tstamp));
	print_loss(tp);
	printf(" snd_wnd:%u rcv_wnd:%u sndbuf:%u rcvbuf:%u\n", tp->snd_wnd, tp->rcv_wnd, tp->sk.sndbuf, tp->sk.rcvbuf);
}

static void print_sockets(const struct fn_target *t)
{
	char local[32], remote[32];

	printf("\n%-5s %-10s %8s %8s %21s  %-21s\n", "Netid", "State", "Recv-Q", "Send-Q", "Local", "Peer");
	for (size_t i = 0; i < t->socks; i++) {
		const struct fn_target_sock *s = &t->sock[i];

		printf("%-5s %-10s %8" PRIu64 " %8" PRIu64 " %21s  %-21s\n", s->kind == FN_SOCK_UDP ? "udp" : "tcp",
		       fn_state_name(s), s->recvq, s->sendq, fn_ep_text(local, sizeof local, &s->local),
		       fn_ep_text(remote, sizeof remote, &s->remote));
		if (s->full && s->state != FN_TCP_LISTEN && s->state != FN_TCP_CLOSED)
			print_tcp_info(t, s);
	}
}

/* ---- counters ---- */

static void print_counters(const struct fn_target *t, bool all)
{
	const uint64_t *word = (const uint64_t *)&t->stack.stats;
	const struct fn_pool *tcp = &t->stack.tcp_pool, *udp = &t->stack.udp_pool;

	puts("\nCounters");
	for (unsigned i = 0; fn_stat_name(i); i++)
		if (word[i] || all)
			printf("%16" PRIu64 "  %-22s %s\n", word[i], fn_stat_name(i), fn_stat_text(i));
	printf("%16u  %-22s TCP sockets in use, of %u (most so far: %u)\n", tcp->used, "tcp_sockets", tcp->max, tcp->peak);
	printf("%16u  %-22s UDP sockets in use, of %u (most so far: %u)\n", udp->used, "udp_sockets", udp->max, udp->peak);
	puts("\nPackets dropped");
	for (unsigned i = 1; i < FN_DROP_COUNT; i++)
		if (t->stack.stats.drop[i] || all)
			printf("%16" PRIu64 "  %-22s %s\n", t->stack.stats.drop[i], fn_drop_name(i), fn_drop_text(i));
}

/* ---- decisions ---- */

static void print_reasons(const struct fn_info *info, bool all)
{
	char text[200];

	puts("\nSockets by reason");
	for (unsigned r = 0; r < FN_REASON_COUNT; r++)
		if (info->reasons[r] || all)
			printf("%16" PRIu64 "  %s\n", info->reasons[r], fn_reason_general(text, sizeof text, r));
}

static void print_decision(const struct fn_target *t, const struct fn_info_decision *d)
{
	char clock[32], addr[64], reason[200], family[32];
	const char *proto = d->type == SOCK_STREAM ? "tcp" : d->type == SOCK_DGRAM ? "udp" : "other";
	time_t sec = (time_t)(d->time / FN_NSEC);
	struct tm tm;

	if (d->family != AF_INET && d->family != AF_INET6)
		proto = fn_family_name(family, sizeof family, d->family);
	if (!localtime_r(&sec, &tm) || !strftime(clock, sizeof clock, "%H:%M:%S", &tm))
		strcpy(clock, "?");
	fn_decision_addr(addr, sizeof addr, d);
	printf("%s.%03u fd %-4d %s %s%s%s  %s\n", clock, (unsigned)(d->time / FN_MSEC % 1000), d->fd, proto,
	       fn_verb_name(d->verb), *addr ? " " : "", addr, fn_decision_reason(reason, sizeof reason, t, d));
}

static void print_decisions(const struct fn_target *t, bool all)
{
	const struct fn_info_decision *list[FN_INFO_DECISIONS];
	unsigned n = fn_decisions(t, list), shown = all ? n : fn_min(n, (unsigned)DECISIONS_SHOWN);

	printf("\nLast decisions (%u of %" PRIu64 ")\n", shown, t->info.decisions);
	for (unsigned i = n - shown; i < n; i++)
		print_decision(t, list[i]);
}

void fn_text_process(const struct fn_target *t, bool all)
{
	print_head(t);
	print_ports(t);
	if (t->has_stack) {
		print_sockets(t);
		print_counters(t, all);
	} else {
		puts("no stack so far: nothing has been accelerated");
	}
	print_reasons(&t->info, all);
	print_decisions(t, all);
}
