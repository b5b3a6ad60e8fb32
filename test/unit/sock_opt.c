/* SPDX-License-Identifier: BSD-3-Clause */
/* Options: which decide, what is copied from the kernel's socket, values and lengths, addresses in and out. */
#include "sock_fixture.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "shim/addr.h"
#include "shim/optval.h"

TestSuite(sock_opt, .init = sock_setup, .fini = tcp_teardown);

static int set_int(struct fn_file *f, int level, int name, int value)
{
	return fn_sockopt_set(f, -1, level, name, &value, sizeof(value));
}

static int get_int(struct fn_file *f, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1, ret = fn_sockopt_get(f, -1, level, name, &v, &len);

	return ret ? ret : v;
}

static enum fn_opt_verdict note_int(struct fn_file *f, int level, int name, int value)
{
	return fn_sockopt_note(f, level, name, &value, sizeof(value));
}

Test(sock_opt, verdicts_of_names)
{
	cr_assert_eq(fn_sockopt_lookup(IPPROTO_TCP, TCP_NODELAY), FN_VERDICT_NOTE);
	cr_assert_eq(fn_sockopt_lookup(SOL_SOCKET, SO_RCVTIMEO), FN_VERDICT_NOTE);
	cr_assert_eq(fn_sockopt_lookup(SOL_SOCKET, SO_TYPE), FN_VERDICT_HARMLESS);
	cr_assert_eq(fn_sockopt_lookup(IPPROTO_IP, IP_FREEBIND), FN_VERDICT_HARMLESS);
	cr_assert_eq(fn_sockopt_lookup(SOL_SOCKET, SO_MARK), FN_VERDICT_DECIDE);
	cr_assert_eq(fn_sockopt_lookup(SOL_SOCKET, 999), FN_VERDICT_DECIDE);
	cr_assert_eq(fn_sockopt_lookup(SOL_SOCKET, -1), FN_VERDICT_DECIDE);
	cr_assert_eq(fn_sockopt_lookup(12345, 1), FN_VERDICT_DECIDE);
}

Test(sock_opt, what_is_off_anyway_does_not_decide)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);

	cr_assert_eq(note_int(f, SOL_SOCKET, SO_MARK, 0), FN_VERDICT_HARMLESS);
	cr_assert_eq(note_int(f, SOL_SOCKET, SO_MARK, 1), FN_VERDICT_DECIDE);
	cr_assert_eq(fn_sockopt_note(f, SOL_SOCKET, SO_BINDTODEVICE, "", 0), FN_VERDICT_HARMLESS);
	cr_assert_eq(fn_sockopt_note(f, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), FN_VERDICT_DECIDE);
	cr_assert_eq(fn_sockopt_note(f, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), FN_VERDICT_NOTE);
	cr_assert_eq(fn_sockopt_note(f, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3), FN_VERDICT_DECIDE);
	cr_assert_eq(note_int(f, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO), FN_VERDICT_NOTE);
	cr_assert_eq(note_int(f, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT), FN_VERDICT_DECIDE);
}

/* Set on a socket of the kernel's as the program would before the decision, and noted. */
static void early(struct fn_file *f, int fd, int level, int name, const void *v, socklen_t len)
{
	cr_assert_eq(setsockopt(fd, level, name, v, len), 0, "level %d name %d: %s", level, name, strerror(errno));
	cr_assert_eq(fn_sockopt_note(f, level, name, v, len), FN_VERDICT_NOTE);
}

static void early_int(struct fn_file *f, int fd, int level, int name, int v)
{
	early(f, fd, level, name, &v, sizeof(v));
}

Test(sock_opt, what_was_set_before_comes_along)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval tv = { 2, 0 };
	struct linger l = { 1, 7 };

	early_int(f, fd, IPPROTO_TCP, TCP_NODELAY, 1);
	early_int(f, fd, SOL_SOCKET, SO_KEEPALIVE, 5);
	early_int(f, fd, IPPROTO_TCP, TCP_KEEPIDLE, 33);
	early_int(f, fd, SOL_SOCKET, SO_RCVBUF, 10000);
	early_int(f, fd, SOL_SOCKET, SO_SNDBUF, 20000);
	early_int(f, fd, IPPROTO_IP, IP_TTL, 12);
	early_int(f, fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	early(f, fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	early(f, fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	early(f, fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4);
	cr_assert_eq(fn_sockopt_copy(f, fd), 0);
	cr_assert_eq(get_int(f, IPPROTO_TCP, TCP_NODELAY), 1);
	cr_assert_eq(get_int(f, SOL_SOCKET, SO_KEEPALIVE), 1);
	cr_assert_eq(get_int(f, IPPROTO_TCP, TCP_KEEPIDLE), 33);
	cr_assert_eq(get_int(f, SOL_SOCKET, SO_RCVBUF), 20000, "doubled once, not twice");
	cr_assert_eq(get_int(f, SOL_SOCKET, SO_SNDBUF), 40000);
	cr_assert_eq(get_int(f, IPPROTO_IP, IP_TTL), 12);
	cr_assert_eq(get_int(f, IPPROTO_TCP, TCP_KEEPINTVL), 75, "what was not set keeps its default");
	cr_assert_eq(f->opt.stamp, FN_STAMP_NS);
	cr_assert_eq(f->rcvtimeo, 2 * SEC);
	cr_assert_eq(f->opt.linger_sec, 7);
	cr_assert_eq(f->sk->opts & FN_SO_LINGER, FN_SO_LINGER);
	close(fd);
}

Test(sock_opt, an_accepted_connection_inherits)
{
	struct fn_file *l = file_new(AF_INET, SOCK_STREAM), *f = file_new(AF_INET, SOCK_STREAM);

	l->rcvtimeo = 5;
	l->opt.recvttl = true;
	l->flags = O_NONBLOCK;
	fn_sockopt_inherit(f, l);
	cr_assert(f->rcvtimeo == 5 && f->opt.recvttl && !f->flags);
}

Test(sock_opt, lengths)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	unsigned char v[8] = { 77 };
	socklen_t len = 3;

	cr_assert_eq(fn_sockopt_set(f, -1, SOL_SOCKET, SO_KEEPALIVE, v, 3), -EINVAL);
	cr_assert_eq(fn_sockopt_set(f, -1, SOL_SOCKET, SO_KEEPALIVE, NULL, 4), -EFAULT);
	cr_assert_eq(fn_sockopt_set(f, -1, SOL_SOCKET, SO_LINGER, v, 7), -EINVAL);
	cr_assert_eq(fn_sockopt_set(f, -1, IPPROTO_IP, IP_TTL, v, 1), 0, "the IP level takes a byte");
	cr_assert_eq(fn_sockopt_set(f, -1, IPPROTO_IP, IP_TTL, v, 0), -EINVAL);
	cr_assert_eq(fn_sockopt_get(f, -1, IPPROTO_IP, IP_TTL, v, &len), 0);
	cr_assert(len == 1 && v[0] == 77, "and gives one where there is no room for more");
	len = 3;
	cr_assert_eq(fn_sockopt_get(f, -1, SOL_SOCKET, SO_KEEPALIVE, v, &len), 0);
	cr_assert_eq(len, 3);
	len = 100;
	cr_assert_eq(fn_sockopt_get(f, -1, SOL_SOCKET, SO_KEEPALIVE, v, &len), 0);
	cr_assert_eq(len, 4);
	len = (socklen_t)-1;
	cr_assert_eq(fn_sockopt_get(f, -1, SOL_SOCKET, SO_KEEPALIVE, v, &len), -EINVAL);
	cr_assert_eq(fn_sockopt_get(f, -1, SOL_SOCKET, SO_KEEPALIVE, v, NULL), -EFAULT);
}

Test(sock_opt, not_served_is_not_pretended)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM), *u = file_new(AF_INET, SOCK_DGRAM);

	cr_assert_eq(set_int(f, SOL_SOCKET, SO_MARK, 5), -ENOPROTOOPT);
	cr_assert_eq(set_int(f, SOL_SOCKET, SO_MARK, 0), 0, "it is so already");
	cr_assert_eq(set_int(f, SOL_SOCKET, 999, 1), -ENOPROTOOPT);
	cr_assert_eq(set_int(f, SOL_SOCKET, SO_TYPE, 1), -ENOPROTOOPT);
	cr_assert_eq(set_int(f, IPPROTO_IPV6, IPV6_V6ONLY, 1), -ENOPROTOOPT);
	cr_assert_eq(set_int(u, IPPROTO_TCP, TCP_NODELAY, 1), -ENOPROTOOPT);
	cr_assert_eq(set_int(f, SOL_SOCKET, SO_BUSY_POLL, 1), FN_TO_KERNEL);
	u->dual = true;
	cr_assert_eq(set_int(u, IPPROTO_IP, IP_ADD_MEMBERSHIP, 1), FN_TO_KERNEL, "the kernel's side can");
}

Test(sock_opt, buffers)
{
	cr_assert_eq(fn_optval_buf(true, 1, false), 4608);
	cr_assert_eq(fn_optval_buf(false, 1, false), 2304);
	cr_assert_eq(fn_optval_buf(false, 5000, false), 10000);
	cr_assert_eq(fn_optval_buf(true, -1, false), fn_optval_buf(true, INT32_MAX, false), "-1 asks for the maximum");
	cr_assert_eq(fn_optval_buf(true, INT32_MAX, true), INT32_MAX - 1);
	cr_assert_eq(fn_optval_buf(true, -1, true), 4608);
}

Test(sock_opt, timeouts)
{
	struct timeval tv = { 0, 1 };
	socklen_t len = sizeof(tv);
	uint64_t ns;

	cr_assert_eq(fn_optval_get_timeo(&tv, sizeof(tv), &ns), 0);
	cr_assert(ns >= 1000 && ns <= 10 * MS, "rounded up to a tick");
	tv.tv_usec = 1000000;
	cr_assert_eq(fn_optval_get_timeo(&tv, sizeof(tv), &ns), -EDOM);
	cr_assert_eq(fn_optval_get_timeo(&tv, sizeof(tv) - 1, &ns), -EINVAL);
	tv = (struct timeval){ -1, 0 };
	cr_assert_eq(fn_optval_get_timeo(&tv, sizeof(tv), &ns), 0);
	cr_assert_eq(ns, 1, "no wait at all");
	cr_assert_eq(fn_optval_put_timeo(ns, &tv, &len), 0);
	cr_assert(tv.tv_sec == 0 && tv.tv_usec == 0);
	tv = (struct timeval){ INT64_MAX, 0 };
	cr_assert_eq(fn_optval_get_timeo(&tv, sizeof(tv), &ns), 0);
	cr_assert_eq(ns, 0, "for ever");
}

Test(sock_opt, tcp_info_is_cut_to_its_room)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	struct tcp_info ti;
	socklen_t len = sizeof(ti);

	cr_assert_eq(fn_sockopt_get(f, -1, IPPROTO_TCP, TCP_INFO, &ti, &len), 0);
	cr_assert_eq(len, sizeof(ti));
	cr_assert_eq(ti.tcpi_state, TCP_ESTABLISHED);
	len = 1;
	cr_assert_eq(fn_sockopt_get(f, -1, IPPROTO_TCP, TCP_INFO, &ti, &len), 0);
	cr_assert_eq(len, 1);
}

/* ---- ioctl and fcntl ---- */

Test(sock_opt, flags_belong_to_the_file)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	int on = 1, n = -1;

	cr_assert_eq(f->ops->fcntl(f, -1, F_GETFL, 0), O_RDWR);
	cr_assert_eq(f->ops->ioctl(f, -1, FIONBIO, &on), 0);
	cr_assert_eq(f->ops->fcntl(f, -1, F_GETFL, 0), O_RDWR | O_NONBLOCK);
	cr_assert_eq(f->ops->fcntl(f, -1, F_SETFL, O_DIRECT), -EINVAL);
	cr_assert_eq(f->ops->fcntl(f, -1, F_SETFL, O_APPEND | O_CREAT), 0);
	cr_assert_eq(f->ops->fcntl(f, -1, F_GETFL, 0), O_RDWR | O_APPEND);
	cr_assert_eq(f->ops->ioctl(f, -1, FIONREAD, &n), 0);
	cr_assert_eq(n, 0);
	cr_assert_eq(f->ops->ioctl(f, -1, 0x5678, &n), FN_TO_KERNEL);
	cr_assert_eq(f->ops->fcntl(f, -1, F_SETSIG, 65), -EINVAL);
	cr_assert_eq(f->ops->fcntl(f, -1, F_SETOWN, 99999999), -ESRCH);
	cr_assert_eq(f->ops->fcntl(f, -1, F_SETOWN, -getpgrp()), 0);
	cr_assert_eq(f->owner, -getpgrp());
}

/* ---- addresses ---- */

Test(sock_opt, addresses_in)
{
	struct fn_file *f4 = file_new(AF_INET, SOCK_STREAM), *f6 = file_new(AF_INET6, SOCK_STREAM);
	struct fn_file *u6 = file_new(AF_INET6, SOCK_DGRAM);
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = 5, .sin_addr = { B.ip } };
	struct sockaddr_in6 sin6 = { .sin6_family = AF_INET6, .sin6_port = 5 };
	struct fn_ep ep;

	cr_assert_eq(fn_addr_get(f4, FN_ADDR_CONNECT, (void *)&sin, sizeof(sin), &ep), FN_ADDR_IP4);
	cr_assert(ep.ip4 == B.ip && ep.port == 5);
	cr_assert_eq(fn_addr_get(f4, FN_ADDR_CONNECT, (void *)&sin, 15, &ep), -EINVAL);
	cr_assert_eq(fn_addr_get(f4, FN_ADDR_CONNECT, NULL, 16, &ep), -EFAULT);
	cr_assert_eq(fn_addr_get(f4, FN_ADDR_CONNECT, (void *)&sin6, sizeof(sin6), &ep), -EAFNOSUPPORT);
	cr_assert_eq(fn_addr_get(f6, FN_ADDR_CONNECT, (void *)&sin, sizeof(sin), &ep), -EINVAL);
	cr_assert_eq(fn_addr_get(u6, FN_ADDR_SEND, (void *)&sin, sizeof(sin), &ep), FN_ADDR_IP4);
	cr_assert_eq(fn_addr_get(f6, FN_ADDR_CONNECT, (void *)&sin6, sizeof(sin6), &ep), FN_ADDR_IP6);
	cr_assert_eq(fn_addr_get(f6, FN_ADDR_BIND, (void *)&sin6, sizeof(sin6), &ep), FN_ADDR_IP4);
	memset(&sin6.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&sin6.sin6_addr.s6_addr[12], &B.ip, 4);
	cr_assert_eq(fn_addr_get(f6, FN_ADDR_CONNECT, (void *)&sin6, 24, &ep), FN_ADDR_IP4);
	cr_assert_eq(ep.ip4, B.ip);
	f6->opt.v6only = true;
	cr_assert_eq(fn_addr_get(f6, FN_ADDR_CONNECT, (void *)&sin6, 28, &ep), -ENETUNREACH);
	sin.sin_family = AF_UNSPEC;
	cr_assert_eq(fn_addr_get(f4, FN_ADDR_CONNECT, (void *)&sin, 2, &ep), FN_ADDR_UNSPEC);
	cr_assert_eq(fn_addr_get(f4, FN_ADDR_BIND, (void *)&sin, 16, &ep), -EAFNOSUPPORT);
	cr_assert_eq(fn_addr_get(f4, FN_ADDR_SEND, (void *)&sin, 16, &ep), FN_ADDR_IP4);
}

Test(sock_opt, addresses_out)
{
	struct fn_ep ep = { .ip4 = B.ip, .port = 5 };
	char room[32];
	socklen_t len = 4;

	memset(room, 0x55, sizeof(room));
	cr_assert_eq(fn_addr_put(AF_INET, &ep, (void *)room, &len), 0);
	cr_assert_eq(len, 16, "the true length");
	cr_assert_eq(room[4], 0x55, "cut to the room");
	len = 28;
	cr_assert_eq(fn_addr_put(AF_INET6, &ep, (void *)room, &len), 0);
	cr_assert_eq(len, 28);
	cr_assert(IN6_IS_ADDR_V4MAPPED(&((struct sockaddr_in6 *)room)->sin6_addr));
	len = (socklen_t)-1;
	cr_assert_eq(fn_addr_put(AF_INET, &ep, (void *)room, &len), -EINVAL);
	cr_assert_eq(fn_addr_put(AF_INET, &ep, (void *)room, NULL), -EFAULT);
	len = 16;
	cr_assert_eq(fn_addr_put(AF_INET, &ep, NULL, &len), -EFAULT);
	len = 0;
	cr_assert_eq(fn_addr_put(AF_INET, &ep, NULL, &len), 0);
}
