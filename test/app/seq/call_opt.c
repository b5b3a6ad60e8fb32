/* SPDX-License-Identifier: BSD-3-Clause */
/* Options and ioctls. */
#include <linux/sockios.h>

#include "seq.h"

/* Not here: values that depend on time or memory (TCP_QUICKACK read back, SO_RCVBUF of a busy connection, TCP_MAXSEG). */
const struct option options[] = {
	{ "reuseaddr", SOL_SOCKET, SO_REUSEADDR },    { "reuseport", SOL_SOCKET, SO_REUSEPORT },
	{ "keepalive", SOL_SOCKET, SO_KEEPALIVE },    { "oobinline", SOL_SOCKET, SO_OOBINLINE },
	{ "broadcast", SOL_SOCKET, SO_BROADCAST },    { "rcvlowat", SOL_SOCKET, SO_RCVLOWAT },
	{ "sndlowat", SOL_SOCKET, SO_SNDLOWAT },      { "priority", SOL_SOCKET, SO_PRIORITY },
	{ "error", SOL_SOCKET, SO_ERROR },	      { "type", SOL_SOCKET, SO_TYPE },
	{ "acceptconn", SOL_SOCKET, SO_ACCEPTCONN },  { "domain", SOL_SOCKET, SO_DOMAIN },
	{ "protocol", SOL_SOCKET, SO_PROTOCOL },      { "rcvtimeo", SOL_SOCKET, SO_RCVTIMEO },
	{ "sndtimeo", SOL_SOCKET, SO_SNDTIMEO },      { "timestamp", SOL_SOCKET, SO_TIMESTAMP },
	{ "nodelay", IPPROTO_TCP, TCP_NODELAY },      { "cork", IPPROTO_TCP, TCP_CORK },
	{ "quickack", IPPROTO_TCP, TCP_QUICKACK },    { "keepidle", IPPROTO_TCP, TCP_KEEPIDLE },
	{ "keepintvl", IPPROTO_TCP, TCP_KEEPINTVL },  { "keepcnt", IPPROTO_TCP, TCP_KEEPCNT },
	{ "syncnt", IPPROTO_TCP, TCP_SYNCNT },	      { "linger2", IPPROTO_TCP, TCP_LINGER2 },
	{ "usertimeout", IPPROTO_TCP, TCP_USER_TIMEOUT }, { "notsent", IPPROTO_TCP, TCP_NOTSENT_LOWAT },
	{ "tos", IPPROTO_IP, IP_TOS },		      { "ttl", IPPROTO_IP, IP_TTL },
	{ "recvttl", IPPROTO_IP, IP_RECVTTL },	      { "recvtos", IPPROTO_IP, IP_RECVTOS },
	{ "pktinfo", IPPROTO_IP, IP_PKTINFO },	      { "recverr", IPPROTO_IP, IP_RECVERR },
	{ "freebind", IPPROTO_IP, IP_FREEBIND },      { "v6only", IPPROTO_IPV6, IPV6_V6ONLY },
	{ "sndbuf", SOL_SOCKET, SO_SNDBUF },	      { "rcvbuf", SOL_SOCKET, SO_RCVBUF },
	{ "nosuch", SOL_SOCKET, 9999 },		      { "nosuchtcp", IPPROTO_TCP, 9999 },
};

int options_count(void)
{
	return COUNT(options);
}

static void outcome(struct result *r, long ret)
{
	r->ret = ret;
	r->err = ret < 0 ? errno : 0;
}

static const struct option *option_of(long i)
{
	return &options[i >= 0 && i < (long)COUNT(options) ? i : 0];
}

void call_set(struct world *w, const long *a, struct result *r)
{
	const struct option *o = option_of(a[1]);
	int value = (int)a[2];

	outcome(r, setsockopt(w->fd[a[0]], o->level, o->name_value, &value, sizeof(value)));
}

void call_setlen(struct world *w, const long *a, struct result *r)
{
	const struct option *o = option_of(a[1]);
	int value[4] = { (int)a[2] };

	outcome(r, setsockopt(w->fd[a[0]], o->level, o->name_value, value, (socklen_t)a[3]));
}

void call_get(struct world *w, const long *a, struct result *r)
{
	const struct option *o = option_of(a[1]);
	unsigned char value[32] = { 0 };
	socklen_t len = sizeof(value);
	long long number = 0;

	outcome(r, getsockopt(w->fd[a[0]], o->level, o->name_value, value, &len));
	if (r->ret)
		return;
	memcpy(&number, value, len < 8 ? len : 8);
	detail(r, " %lld length %u", number, len);
}

void call_linger(struct world *w, const long *a, struct result *r)
{
	struct linger l = { (int)a[1], (int)a[2] };

	outcome(r, setsockopt(w->fd[a[0]], SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
}

void call_timeout(struct world *w, const long *a, struct result *r)
{
	const struct option *o = option_of(a[1]);
	struct timeval tv = { a[2], a[3] };

	outcome(r, setsockopt(w->fd[a[0]], o->level, o->name_value, &tv, sizeof(tv)));
}

void call_tcpstate(struct world *w, const long *a, struct result *r)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	outcome(r, getsockopt(w->fd[a[0]], IPPROTO_TCP, TCP_INFO, &info, &len));
	if (!r->ret)
		detail(r, " %d", info.tcpi_state);
}

void call_ioctl(struct world *w, const long *a, struct result *r)
{
	int value = (int)a[2];

	outcome(r, ioctl(w->fd[a[0]], (unsigned long)a[1], &value));
	if (!r->ret && a[1] != FIONBIO)
		detail(r, " %d", value);
}
