/* SPDX-License-Identifier: BSD-3-Clause */
/* iovecs, ancillary data, SIGPIPE; see msg.h. Must not know a file. */
#include "shim/msg.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "shim/engine.h"
#include "stack/user.h"

ssize_t fn_iov_total_slow(const struct iovec *iov, int iovcnt, int many)
{
	size_t total = 0;

	if (iovcnt < 0)
		return -EINVAL;
	if (iovcnt > FN_IOV_MAX)
		return many;
	if (iovcnt && !iov)
		return -EFAULT;
	for (int i = 0; i < iovcnt; i++) {
		if ((ssize_t)iov[i].iov_len < 0)
			return -EINVAL;
		if (iov[i].iov_len && !iov[i].iov_base)
			return -EFAULT;
		total = fn_min(total + iov[i].iov_len, (size_t)SSIZE_MAX);
	}
	return (ssize_t)total;
}

int fn_iov_cut(struct iovec *cut, const struct iovec *iov, int iovcnt)
{
	size_t left = FN_RW_MAX;
	int n;

	for (n = 0; n < iovcnt && left; n++) {
		cut[n] = iov[n];
		cut[n].iov_len = fn_min(iov[n].iov_len, left);
		left -= cut[n].iov_len;
	}
	return n;
}

void fn_sigpipe(void)
{
	fn_sys(SYS_tgkill, fn_sys(SYS_getpid, 0), fn_sys(SYS_gettid, 0), SIGPIPE);
}

/* ---- out ---- */

void fn_cmsg_put(struct fn_cmsg_out *c, int level, int type, const void *data, size_t len)
{
	struct cmsghdr h = { .cmsg_len = CMSG_LEN(len), .cmsg_level = level, .cmsg_type = type };
	size_t space = fn_min(CMSG_SPACE(len), c->room);

	if (c->room < sizeof(h)) {
		c->flags |= MSG_CTRUNC;
		return;
	}
	if (h.cmsg_len > c->room) {
		c->flags |= MSG_CTRUNC;
		h.cmsg_len = c->room;
	}
	/* a bad pointer is not told (put_cmsg) */
	if (fn_user_put(c->at, &h, sizeof(h)) || fn_user_put(c->at + sizeof(h), data, h.cmsg_len - sizeof(h)))
		return;
	c->at += space;
	c->room -= space;
}

struct timespec fn_realtime(uint64_t time)
{
	struct timespec ts;
	uint64_t now;

	clock_gettime(CLOCK_REALTIME, &ts);
	now = (uint64_t)ts.tv_sec * FN_NSEC + (uint64_t)ts.tv_nsec;
	now -= fn_now() - time;
	ts.tv_sec = (time_t)(now / FN_NSEC);
	ts.tv_nsec = (long)(now % FN_NSEC);
	return ts;
}

/* Both layouts are two 64-bit words here; only the type differs. */
void fn_cmsg_put_stamp(struct fn_cmsg_out *c, const struct fn_sockopts *opt, uint64_t time)
{
	struct timespec ts = fn_realtime(time);
	struct timeval tv = { .tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000 };

	if (opt->stamp == FN_STAMP_US)
		fn_cmsg_put(c, SOL_SOCKET, opt->stamp_new ? SO_TIMESTAMP_NEW : SO_TIMESTAMP_OLD, &tv, sizeof(tv));
	else if (opt->stamp == FN_STAMP_NS)
		fn_cmsg_put(c, SOL_SOCKET, opt->stamp_new ? SO_TIMESTAMPNS_NEW : SO_TIMESTAMPNS_OLD, &ts, sizeof(ts));
}

static int ifindex(const struct fn_udp_meta *meta)
{
	return meta->ifindex ? (int)meta->ifindex : FN_IFINDEX_NONE;
}

static void put_pktinfo(struct fn_cmsg_out *c, const struct fn_udp_meta *meta)
{
	struct in_pktinfo info = {
		.ipi_ifindex = ifindex(meta),
		.ipi_spec_dst = { meta->to.ip4 },
		.ipi_addr = { meta->to.ip4 },
	};

	fn_cmsg_put(c, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
}

static void put_pktinfo6(struct fn_cmsg_out *c, const struct fn_udp_meta *meta)
{
	struct in6_pktinfo info = { .ipi6_ifindex = (unsigned)ifindex(meta) };

	memset(&info.ipi6_addr.s6_addr[10], 0xff, 2);
	memcpy(&info.ipi6_addr.s6_addr[12], &meta->to.ip4, sizeof(meta->to.ip4));
	fn_cmsg_put(c, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
}

/* In Linux's order: sock_recv_cmsgs, ip6_datagram_recv_common_ctl, ip_cmsg_recv_offset. */
void fn_cmsg_put_udp(struct fn_cmsg_out *c, const struct fn_sockopts *opt, const struct fn_udp_meta *meta)
{
	int ttl = meta->ttl;

	if (opt->stamp)
		fn_cmsg_put_stamp(c, opt, meta->time);
	if (opt->pktinfo6)
		put_pktinfo6(c, meta);
	if (opt->pktinfo)
		put_pktinfo(c, meta);
	if (opt->recvttl)
		fn_cmsg_put(c, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (opt->recvtos)
		fn_cmsg_put(c, IPPROTO_IP, IP_TOS, &meta->tos, sizeof(meta->tos));
}

/* ---- in ---- */

/* The next well-formed control message; *err -EINVAL when it is malformed (Linux CMSG_OK). */
static struct cmsghdr *next_cmsg(const struct msghdr *msg, struct cmsghdr *c, int *err)
{
	struct msghdr m = *msg;
	size_t left;

	c = c ? CMSG_NXTHDR(&m, c) : CMSG_FIRSTHDR(&m);
	if (!c)
		return NULL;
	left = (size_t)((uint8_t *)m.msg_control + m.msg_controllen - (uint8_t *)c);
	if (c->cmsg_len < sizeof(*c) || c->cmsg_len > left) {
		*err = -EINVAL;
		return NULL;
	}
	return c;
}

/* __sock_cmsg_send: descriptors and credentials are for other families and ignored; marks and timestamps are not served. */
static int check_sol_socket(const struct cmsghdr *c)
{
	return c->cmsg_type == SCM_RIGHTS || c->cmsg_type == SCM_CREDENTIALS ? 0 : -EINVAL;
}

static int get_ttl(const struct cmsghdr *c, struct fn_cmsg_in *in)
{
	int v;

	if (c->cmsg_len != CMSG_LEN(sizeof(v)))
		return -EINVAL;
	memcpy(&v, CMSG_DATA(c), sizeof(v));
	if (v < 1 || v > 255)
		return -EINVAL;
	in->ttl = v;
	return 0;
}

static int get_tos(const struct cmsghdr *c, struct fn_cmsg_in *in)
{
	int v = 0;

	if (c->cmsg_len == CMSG_LEN(sizeof(v)))
		memcpy(&v, CMSG_DATA(c), sizeof(v));
	else if (c->cmsg_len == CMSG_LEN(1))
		v = *CMSG_DATA(c);
	else
		return -EINVAL;
	if (v < 0 || v > 255)
		return -EINVAL;
	in->tos = v;
	return 0;
}

static int get_pktinfo(const struct cmsghdr *c, struct fn_cmsg_in *in)
{
	struct in_pktinfo info;

	if (c->cmsg_len != CMSG_LEN(sizeof(info)))
		return -EINVAL;
	memcpy(&info, CMSG_DATA(c), sizeof(info));
	in->has_src = info.ipi_spec_dst.s_addr != 0;
	in->src = (struct fn_ep){ .ip4 = info.ipi_spec_dst.s_addr };
	return 0;
}

static int get_pktinfo6(const struct cmsghdr *c, struct fn_cmsg_in *in)
{
	struct in6_pktinfo info;

	if (c->cmsg_len < CMSG_LEN(sizeof(info)))
		return -EINVAL;
	memcpy(&info, CMSG_DATA(c), sizeof(info));
	if (!IN6_IS_ADDR_V4MAPPED(&info.ipi6_addr))
		return -EINVAL;
	in->src = (struct fn_ep){ 0 };
	memcpy(&in->src.ip4, &info.ipi6_addr.s6_addr[12], sizeof(in->src.ip4));
	in->has_src = in->src.ip4 != 0;
	return 0;
}

static int get_segment(const struct cmsghdr *c, struct fn_cmsg_in *in)
{
	uint16_t size;

	if (c->cmsg_type != UDP_SEGMENT || c->cmsg_len != CMSG_LEN(sizeof(size)))
		return -EINVAL;
	memcpy(&size, CMSG_DATA(c), sizeof(size));
	in->segment = size;
	return 0;
}

static int get_one(const struct cmsghdr *c, bool in6, struct fn_cmsg_in *in)
{
	if (c->cmsg_level == IPPROTO_UDP)
		return get_segment(c, in);
	if (in6 && c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
		return get_pktinfo6(c, in);
	if (c->cmsg_level == SOL_SOCKET)
		return check_sol_socket(c);
	if (c->cmsg_level != IPPROTO_IP)
		return 0;	/* ip_cmsg_send passes over other levels */
	switch (c->cmsg_type) {
	case IP_PKTINFO:
		return get_pktinfo(c, in);
	case IP_TTL:
		return get_ttl(c, in);
	case IP_TOS:
		return get_tos(c, in);
	default:
		return -EINVAL;
	}
}

int fn_cmsg_get_udp(const struct msghdr *msg, bool in6, struct fn_cmsg_in *in)
{
	int err = 0;

	*in = (struct fn_cmsg_in){ .ttl = -1, .tos = -1 };
	for (struct cmsghdr *c = next_cmsg(msg, NULL, &err); c && !err; c = err ? NULL : next_cmsg(msg, c, &err))
		err = get_one(c, in6, in);
	return err;
}

int fn_cmsg_check_tcp(const struct msghdr *msg)
{
	int err = 0;

	for (struct cmsghdr *c = next_cmsg(msg, NULL, &err); c && !err; c = err ? NULL : next_cmsg(msg, c, &err))
		if (c->cmsg_level == SOL_SOCKET)
			err = check_sol_socket(c);
	return err;
}
