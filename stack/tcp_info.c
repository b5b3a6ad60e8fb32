/* SPDX-License-Identifier: BSD-3-Clause */
/* TCP_INFO, field by field from the connection's own figures (tcp_get_info of Linux). Changes nothing. */
#include <linux/tcp.h>
#include <string.h>

#include "tcp.h"

static uint32_t ms_since(const struct fn_tcp *tp, uint64_t then)
{
	return then ? (uint32_t)((tp->sk.st->now - then) / FN_MSEC) : 0;
}

static uint32_t segs(const struct fn_tcp *tp, uint32_t bytes)
{
	return (bytes + tp->mss - 1) / tp->mss;
}

static void fill_path(const struct fn_tcp *tp, struct tcp_info *i)
{
	i->tcpi_snd_mss = tp->mss;
	i->tcpi_rcv_mss = tp->rcv_mss;
	i->tcpi_advmss = tp->advmss;
	i->tcpi_pmtu = tp->path.mtu;
	i->tcpi_rto = (uint32_t)(tp->rto / 1000);
	i->tcpi_ato = tp->ato / 1000;
	i->tcpi_rtt = tp->srtt >> 3;
	i->tcpi_rttvar = tp->mdev >> 2;
	i->tcpi_min_rtt = tp->min_rtt;
	i->tcpi_rcv_rtt = tp->f.rcv_rtt_us >> 3;
	i->tcpi_rcv_space = tp->f.rcvq_space;
	i->tcpi_rcv_ssthresh = fn_tcp_win_from_space(tp->sk.rcvbuf);
	i->tcpi_snd_wnd = tp->snd_wnd;
}

static void fill_cc(const struct fn_tcp *tp, struct tcp_info *i)
{
	i->tcpi_ca_state = tp->ca_state;
	i->tcpi_snd_cwnd = segs(tp, tp->cwnd);
	i->tcpi_snd_ssthresh = tp->ssthresh == INT32_MAX ? INT32_MAX : segs(tp, tp->ssthresh);
	i->tcpi_unacked = fn_tcp_outstanding(tp) > tp->write_seq - tp->snd_nxt ? tp->rtxq.count : 0;
	i->tcpi_sacked = tp->feat & FN_TCP_F_SACK ? tp->f.sacked_segs : segs(tp, tp->f.sacked);
	i->tcpi_lost = segs(tp, tp->f.lost);
	i->tcpi_retrans = segs(tp, tp->f.retrans);
	i->tcpi_reordering = tp->f.reordering;
	i->tcpi_total_retrans = tp->f.total_retrans;
	i->tcpi_notsent_bytes = tp->write_seq - tp->snd_nxt;
}

/* The peer's answer to a FIN that it has got may be long in coming (fn_tcp_outstanding()). */
static unsigned state(const struct fn_tcp *tp)
{
	unsigned s = tp->sk.tcp_state;

	if (!(s == FN_TCP_FIN_WAIT1 || s == FN_TCP_CLOSING || s == FN_TCP_LAST_ACK) || !fn_tcp_fin_got(tp))
		return s;
	return s == FN_TCP_FIN_WAIT1 ? FN_TCP_FIN_WAIT2 : FN_TCP_CLOSED;
}

void fn_tcp_info(const struct fn_sock *sk, struct tcp_info *info)
{
	const struct fn_tcp *tp = (const struct fn_tcp *)sk;

	memset(info, 0, sizeof(*info));
	info->tcpi_state = (uint8_t)state(tp);
	if (sk->tcp_state == FN_TCP_LISTEN) {	/* as Linux: the accept queue */
		info->tcpi_unacked = tp->l.accept_len;
		info->tcpi_sacked = tp->l.backlog;
		return;
	}
	info->tcpi_retransmits = tp->retransmits;
	info->tcpi_probes = tp->probes_out;
	info->tcpi_backoff = tp->backoff;
	info->tcpi_options = (uint8_t)((tp->feat & FN_TCP_F_TS ? TCPI_OPT_TIMESTAMPS : 0) |
				       (tp->feat & FN_TCP_F_SACK ? TCPI_OPT_SACK : 0) |
				       (tp->feat & FN_TCP_F_WSCALE ? TCPI_OPT_WSCALE : 0));
	info->tcpi_snd_wscale = tp->snd_wscale & 0xf;
	info->tcpi_rcv_wscale = tp->rcv_wscale & 0xf;
	info->tcpi_last_data_sent = ms_since(tp, tp->lsndtime);
	info->tcpi_last_data_recv = ms_since(tp, tp->ack_ts);
	info->tcpi_last_ack_recv = ms_since(tp, tp->rcv_tstamp);
	info->tcpi_segs_in = tp->segs_in;
	info->tcpi_segs_out = tp->segs_out;
	info->tcpi_bytes_acked = tp->bytes_acked;
	info->tcpi_bytes_received = tp->bytes_received;
	if (tp->mss) {
		fill_path(tp, info);
		fill_cc(tp, info);
	}
}
