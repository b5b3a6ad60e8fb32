/* SPDX-License-Identifier: BSD-3-Clause */
/* fastnet-stat --json: the same facts for programs. Names are stable; times are ns since 1970 or ms as the name says. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "tools/stat_print.h"

/* Every text that comes here is printable ASCII or our own UTF-8, so that json_string() takes it. */
static void set_text(json_t *o, const char *key, const char *text)
{
	json_object_set_new(o, key, json_string(text));
}

/* JSON's integers are signed here; a counter that large is not met in practice and shows as the largest. */
static void set_int(json_t *o, const char *key, uint64_t n)
{
	json_object_set_new(o, key, json_integer((json_int_t)fn_min(n, (uint64_t)INT64_MAX)));
}

static void set_bool(json_t *o, const char *key, bool b)
{
	json_object_set_new(o, key, json_boolean(b));
}

static void set_ip4(json_t *o, const char *key, uint32_t ip4)
{
	char text[INET_ADDRSTRLEN];

	set_text(o, key, fn_ip4_text(text, sizeof text, ip4));
}

/* ---- ports ---- */

static json_t *port(const struct fn_info_port *p)
{
	json_t *o = json_object();

	set_text(o, "name", p->name);
	set_text(o, "type", "dpdk");
	set_text(o, "devargs", p->devargs);
	set_text(o, "state", fn_port_state_name(p->state));
	set_ip4(o, "address", p->ip4);
	set_int(o, "prefix", (unsigned)__builtin_popcount(p->ip4_mask));
	if (p->ip4_gw)
		set_ip4(o, "gateway", p->ip4_gw);
	if (p->state == FN_INFO_PORT_HELD)
		json_object_set_new(o, "holder", json_integer(p->holder));
	if (p->state == FN_INFO_PORT_FAILED)
		set_text(o, "error", strerror(p->error));
	return o;
}

static json_t *nic(const struct fn_nic *n)
{
	const struct fn_nic_stats *s = &n->stats;
	json_t *o = json_object();
	char mac[18];

	snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", n->mac[0], n->mac[1], n->mac[2], n->mac[3], n->mac[4],
		 n->mac[5]);
	set_text(o, "name", n->name);
	set_bool(o, "up", n->up);
	set_text(o, "mac", mac);
	set_int(o, "mtu", n->mtu);
	set_int(o, "rx_packets", s->rx_packets);
	set_int(o, "rx_bytes", s->rx_bytes);
	set_int(o, "rx_missed", s->rx_missed);
	set_int(o, "rx_errors", s->rx_errors);
	set_int(o, "tx_packets", s->tx_packets);
	set_int(o, "tx_bytes", s->tx_bytes);
	set_int(o, "tx_full", s->tx_full);
	set_int(o, "alloc_failed", s->alloc_failed);
	if (s->buffers) {
		set_int(o, "buffers", s->buffers);
		set_int(o, "buffers_free", s->buffers_free);
	}
	return o;
}

/* ---- sockets ---- */

static json_t *endpoint(const struct fn_ep *ep)
{
	json_t *o = json_object();

	set_ip4(o, "address", ep->ip4);
	set_int(o, "port", ntohs(ep->port));
	return o;
}

static json_t *tcp_info(const struct fn_tcp *tp)
{
	json_t *o = json_object();

	set_text(o, "congestion", fn_cc_name(tp->cc_id));
	set_bool(o, "timestamps", tp->feat & FN_TCP_F_TS);
	set_bool(o, "sack", tp->feat & FN_TCP_F_SACK);
	set_int(o, "rto_ms", tp->rto / FN_MSEC);
	set_int(o, "rtt_us", tp->srtt / 8);
	set_int(o, "rttvar_us", tp->mdev / 4);
	set_int(o, "min_rtt_us", tp->min_rtt);
	set_int(o, "mss", tp->mss);
	set_int(o, "cwnd_bytes", tp->cwnd);
	set_int(o, "ssthresh_bytes", tp->ssthresh);
	set_int(o, "unacked_bytes", tp->snd_nxt - tp->snd_una);
	set_int(o, "retrans_bytes", tp->f.retrans);
	set_int(o, "retrans_total", tp->f.total_retrans);
	set_int(o, "lost_bytes", tp->f.lost);
	set_int(o, "sacked_bytes", tp->f.sacked);
	set_int(o, "bytes_acked", tp->bytes_acked);
	set_int(o, "bytes_received", tp->bytes_received);
	set_int(o, "segs_out", tp->segs_out);
	set_int(o, "segs_in", tp->segs_in);
	set_int(o, "snd_wnd", tp->snd_wnd);
	set_int(o, "rcv_wnd", tp->rcv_wnd);
	set_int(o, "sndbuf", tp->sk.sndbuf);
	set_int(o, "rcvbuf", tp->sk.rcvbuf);
	return o;
}

static json_t *sock(const struct fn_target_sock *s)
{
	json_t *o = json_object();

	set_text(o, "netid", s->kind == FN_SOCK_UDP ? "udp" : "tcp");
	set_text(o, "state", fn_state_name(s));
	set_int(o, "recvq", s->recvq);
	set_int(o, "sendq", s->sendq);
	json_object_set_new(o, "local", endpoint(&s->local));
	json_object_set_new(o, "peer", endpoint(&s->remote));
	if (s->full && s->state != FN_TCP_LISTEN && s->state != FN_TCP_CLOSED)
		json_object_set_new(o, "info", tcp_info(&s->tcp));
	return o;
}

/* ---- counters, reasons, decisions ---- */

static json_t *counters(const struct fn_stats *stats)
{
	const uint64_t *word = (const uint64_t *)stats;
	json_t *o = json_object();

	for (unsigned i = 0; fn_stat_name(i); i++)
		set_int(o, fn_stat_name(i), word[i]);
	return o;
}

static json_t *drops(const struct fn_stats *stats)
{
	json_t *o = json_object();

	for (unsigned i = 1; i < FN_DROP_COUNT; i++)
		set_int(o, fn_drop_name(i), stats->drop[i]);
	return o;
}

static json_t *reasons(const struct fn_info *info)
{
	json_t *o = json_object();

	for (unsigned r = 0; r < FN_REASON_COUNT; r++)
		set_int(o, fn_reason_name(r), info->reasons[r]);
	return o;
}

static json_t *decision(const struct fn_target *t, const struct fn_info_decision *d)
{
	json_t *o = json_object();
	char text[200];

	set_int(o, "number", d->seq);
	set_int(o, "time_ns", d->time);
	json_object_set_new(o, "fd", json_integer(d->fd));
	set_text(o, "family", fn_family_name(text, sizeof text, d->family));
	set_text(o, "type", fn_type_name(text, sizeof text, d->type));
	set_text(o, "verb", fn_verb_name(d->verb));
	set_text(o, "address", fn_decision_addr(text, sizeof text, d));
	set_bool(o, "accelerated", fn_reason_stack(d->reason));
	set_text(o, "reason", fn_reason_name(d->reason) ? fn_reason_name(d->reason) : "?");
	set_text(o, "text", fn_decision_reason(text, sizeof text, t, d));
	return o;
}

static json_t *decisions(const struct fn_target *t)
{
	const struct fn_info_decision *list[FN_INFO_DECISIONS];
	unsigned n = fn_decisions(t, list);
	json_t *a = json_array();

	for (unsigned i = 0; i < n; i++)
		json_array_append_new(a, decision(t, list[i]));
	return a;
}

static void set_stack(json_t *o, const struct fn_target *t)
{
	json_t *nics = json_array(), *socks = json_array();

	for (unsigned i = 0; i < t->nics; i++)
		json_array_append_new(nics, nic(&t->nic[i]));
	for (size_t i = 0; i < t->socks; i++)
		json_array_append_new(socks, sock(&t->sock[i]));
	json_object_set_new(o, "nics", nics);
	json_object_set_new(o, "sockets", socks);
	json_object_set_new(o, "counters", counters(&t->stack.stats));
	json_object_set_new(o, "drops", drops(&t->stack.stats));
}

json_t *fn_json_process(const struct fn_target *t)
{
	json_t *o = json_object(), *ports = json_array();

	json_object_set_new(o, "pid", json_integer(t->pid));
	set_text(o, "program", t->info.program);
	set_text(o, "version", t->info.version);
	set_int(o, "start_ns", t->info.start);
	set_text(o, "configuration", t->info.file);
	set_int(o, "configuration_errors", t->info.conf_errors);
	set_bool(o, "fabric", t->info.fabric);
	set_bool(o, "damaged", t->damaged);
	set_bool(o, "stack", t->has_stack);
	for (unsigned i = 0; i < t->info.ports; i++)
		json_array_append_new(ports, port(&t->info.port[i]));
	json_object_set_new(o, "ports", ports);
	if (t->has_stack)
		set_stack(o, t);
	json_object_set_new(o, "reasons", reasons(&t->info));
	json_object_set_new(o, "decisions", decisions(t));
	return o;
}
