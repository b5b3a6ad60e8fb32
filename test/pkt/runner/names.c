/* SPDX-License-Identifier: BSD-3-Clause */
/* The names a script may use: constants of the socket interface, errno names, fields of struct tcp_info. */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "script.h"

#define N(name) { #name, name }
static const struct {
	const char *name;
	int64_t value;
} names[] = {
	N(AF_INET), N(AF_UNSPEC), N(PF_INET), N(SOCK_STREAM), N(SOCK_DGRAM), N(SOCK_NONBLOCK), N(SOCK_CLOEXEC),
	N(IPPROTO_TCP), N(IPPROTO_UDP), N(IPPROTO_IP), N(INADDR_ANY), N(SHUT_RD), N(SHUT_WR), N(SHUT_RDWR),
	N(SOL_SOCKET), N(SOL_IP), { "SOL_TCP", IPPROTO_TCP }, { "SOL_UDP", IPPROTO_UDP },
	N(SO_REUSEADDR), N(SO_REUSEPORT), N(SO_BROADCAST), N(SO_KEEPALIVE), N(SO_OOBINLINE), N(SO_LINGER), N(SO_SNDBUF),
	N(SO_RCVBUF), N(SO_RCVLOWAT), N(SO_ERROR),
	N(IP_TTL), N(IP_TOS), N(IP_MTU_DISCOVER), N(IP_MTU), N(IP_PMTUDISC_DO), N(IP_PMTUDISC_DONT), N(IP_PMTUDISC_WANT),
	N(TCP_NODELAY), N(TCP_CORK), N(TCP_QUICKACK), N(TCP_MAXSEG), N(TCP_KEEPIDLE), N(TCP_KEEPINTVL), N(TCP_KEEPCNT),
	N(TCP_SYNCNT), N(TCP_LINGER2), N(TCP_USER_TIMEOUT), N(TCP_DEFER_ACCEPT), N(TCP_WINDOW_CLAMP),
	N(TCP_NOTSENT_LOWAT), N(TCP_CONGESTION),
	N(MSG_OOB), N(MSG_PEEK), N(MSG_DONTWAIT), N(MSG_WAITALL), N(MSG_NOSIGNAL), N(MSG_MORE), N(MSG_TRUNC), N(MSG_EOR),
	N(POLLIN), N(POLLPRI), N(POLLOUT), N(POLLERR), N(POLLHUP), N(POLLRDHUP), N(POLLRDNORM), N(POLLWRNORM),
	N(POLLRDBAND), N(POLLWRBAND), N(POLLNVAL),
	N(F_GETFL), N(F_SETFL), N(O_RDWR), N(O_NONBLOCK),
	N(FIONREAD), { "SIOCINQ", FIONREAD }, N(SIOCOUTQ), N(SIOCOUTQNSD), N(SIOCATMARK), N(FIONBIO),
	/* tcpi_state (TCP_*) and tcpi_ca_state */
	{ "TCP_ESTABLISHED", 1 }, { "TCP_SYN_SENT", 2 }, { "TCP_SYN_RECV", 3 }, { "TCP_FIN_WAIT1", 4 },
	{ "TCP_FIN_WAIT2", 5 }, { "TCP_TIME_WAIT", 6 }, { "TCP_CLOSE", 7 }, { "TCP_CLOSE_WAIT", 8 },
	{ "TCP_LAST_ACK", 9 }, { "TCP_LISTEN", 10 }, { "TCP_CLOSING", 11 },
	N(TCP_CA_Open), N(TCP_CA_Disorder), N(TCP_CA_CWR), N(TCP_CA_Recovery), N(TCP_CA_Loss),
	N(TCPI_OPT_TIMESTAMPS), N(TCPI_OPT_SACK), N(TCPI_OPT_WSCALE), N(TCPI_OPT_ECN),
	{ "true", 1 }, { "false", 0 }, { "True", 1 }, { "False", 0 }, { "NULL", 0 },
};

static const struct {
	const char *name;
	int value;
} errnos[] = {
	N(EACCES), N(EADDRINUSE), N(EADDRNOTAVAIL), N(EAFNOSUPPORT), N(EAGAIN), N(EALREADY), N(EBADF), N(ECONNABORTED),
	N(ECONNREFUSED), N(ECONNRESET), N(EDESTADDRREQ), N(EFAULT), N(EHOSTDOWN), N(EHOSTUNREACH), N(EINPROGRESS),
	N(EINTR), N(EINVAL), N(EISCONN), N(EMFILE), N(EMSGSIZE), N(ENETDOWN), N(ENETUNREACH), N(ENOBUFS), N(ENOMEM),
	N(ENOPROTOOPT), N(ENOTCONN), N(ENOTSOCK), N(EOPNOTSUPP), N(EPERM), N(EPIPE), N(EPROTO), N(EPROTONOSUPPORT),
	N(ETIMEDOUT), N(ENONET), N(ENOTTY),
};
#undef N

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

bool name_value(const char *name, int64_t *v)
{
	for (size_t i = 0; i < COUNT(names); i++) {
		if (!strcmp(names[i].name, name)) {
			*v = names[i].value;
			return true;
		}
	}
	for (size_t i = 0; i < COUNT(errnos); i++) {
		if (!strcmp(errnos[i].name, name)) {
			*v = errnos[i].value;
			return true;
		}
	}
	return false;
}

const char *name_errno(int err)
{
	for (size_t i = 0; i < COUNT(errnos); i++) {
		if (errnos[i].value == err)
			return errnos[i].name;
	}
	return strerror(err);
}

#define F(name) { #name, offsetof(struct tcp_info, name), sizeof(((struct tcp_info *)0)->name) }
static const struct {
	const char *name;
	size_t offset, size;
} fields[] = {
	F(tcpi_state), F(tcpi_ca_state), F(tcpi_retransmits), F(tcpi_probes), F(tcpi_backoff), F(tcpi_options),
	F(tcpi_rto), F(tcpi_ato), F(tcpi_snd_mss), F(tcpi_rcv_mss), F(tcpi_unacked), F(tcpi_sacked), F(tcpi_lost),
	F(tcpi_retrans), F(tcpi_last_data_sent), F(tcpi_last_data_recv), F(tcpi_last_ack_recv), F(tcpi_pmtu),
	F(tcpi_rcv_ssthresh), F(tcpi_rtt), F(tcpi_rttvar), F(tcpi_snd_ssthresh), F(tcpi_snd_cwnd), F(tcpi_advmss),
	F(tcpi_reordering), F(tcpi_rcv_rtt), F(tcpi_rcv_space), F(tcpi_total_retrans), F(tcpi_bytes_acked),
	F(tcpi_bytes_received), F(tcpi_segs_out), F(tcpi_segs_in), F(tcpi_notsent_bytes), F(tcpi_min_rtt),
	F(tcpi_data_segs_in), F(tcpi_data_segs_out), F(tcpi_delivered), F(tcpi_bytes_sent), F(tcpi_bytes_retrans),
	F(tcpi_rcv_ooopack), F(tcpi_snd_wnd),
	/* bit-fields: size 0 */
	{ "tcpi_snd_wscale", 0, 0 }, { "tcpi_rcv_wscale", 1, 0 },
};
#undef F

int info_field(const char *name)
{
	for (size_t i = 0; i < COUNT(fields); i++) {
		if (!strcmp(fields[i].name, name))
			return (int)i;
	}
	return -1;
}

int64_t info_value(const void *info, int field)
{
	const struct tcp_info *ti = info;
	const uint8_t *at = (const uint8_t *)info + fields[field].offset;
	uint64_t v8;
	uint32_t v4;

	switch (fields[field].size) {
	case 1:
		return *at;
	case 4:
		memcpy(&v4, at, 4);
		return v4;
	case 8:
		memcpy(&v8, at, 8);
		return (int64_t)v8;
	default:
		return fields[field].offset ? ti->tcpi_rcv_wscale : ti->tcpi_snd_wscale;
	}
}
