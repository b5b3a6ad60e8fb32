/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls on a datagram socket: both sides of it, ancillary data, what sendmsg refuses. */
#include "sock_fixture.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <unistd.h>

TestSuite(sock_udp, .init = sock_setup, .fini = tcp_teardown);

static char buf[70000];
static struct fn_sock *peer;
static struct fn_ep subject;

/* A socket bound to port 53 on the stack, and on the kernel's loopback under *fd, as a wildcard one would be. */
static struct fn_file *file_bound(int *fd)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	struct fn_file *f = file_new(AF_INET, SOCK_DGRAM);
	struct fn_ep any = { .port = fn_be16(53) };

	cr_assert_eq(fn_sock_bind(f->sk, &any), 0);
	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(*fd, (void *)&sin, sizeof(sin)), 0);
	f->dual = true;
	peer = fn_sock_open(B.st, FN_SOCK_UDP, watch_new());
	cr_assert_eq(fn_sock_bind(peer, &(struct fn_ep){ .port = fn_be16(1000) }), 0);
	subject = (struct fn_ep){ .ip4 = A.ip, .port = fn_be16(53) };
	return f;
}

static void from_peer(size_t n)
{
	cr_assert_eq(fn_udp_send(peer, &(struct iovec){ buf, n }, 1, &subject, NULL), (ssize_t)n);
	fn_stack_flush(B.st);
	pass(5 * MS);
}

static void from_kernel(int fd, size_t n)
{
	struct sockaddr_in sin;
	socklen_t len = sizeof(sin);

	getsockname(fd, (void *)&sin, &len);
	cr_assert_eq(sendto(fd, buf, n, 0, (void *)&sin, len), (ssize_t)n);
}

static ssize_t get(struct fn_file *f, int fd, unsigned flags)
{
	return f->ops->recv(f, fd, &(struct iovec){ buf, 100 }, 1, flags);
}

Test(sock_udp, either_side_is_read_in_turn)
{
	int fd;
	struct fn_file *f = file_bound(&fd);

	for (int i = 0; i < 3; i++) {
		from_peer(10);
		from_kernel(fd, 20);
	}
	f->kernel_ready = true;
	for (int i = 0; i < 3; i++)
		cr_assert_eq(get(f, fd, MSG_DONTWAIT) + get(f, fd, MSG_DONTWAIT), 30, "one of each side, pair %d", i);
	cr_assert_eq(get(f, fd, MSG_DONTWAIT), -EAGAIN);
	cr_assert_not(f->kernel_ready);
	close(fd);
}

Test(sock_udp, the_kernels_side_is_asked_though_nothing_was_announced)
{
	int fd;
	struct fn_file *f = file_bound(&fd);

	from_kernel(fd, 7);
	cr_assert_eq(get(f, fd, MSG_DONTWAIT), 7);
	cr_assert(f->kernel_ready, "there may be more");
	cr_assert_eq(f->ops->poll(f, fd) & POLLIN, 0);
	cr_assert_not(f->kernel_ready);
	close(fd);
}

Test(sock_udp, a_connected_socket_hears_one_side)
{
	int fd;
	struct fn_file *f = file_bound(&fd);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { B.ip }, .sin_port = fn_be16(1000) };
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	cr_assert_eq(f->ops->connect(f, fd, (void *)&to, sizeof(to)), 0);
	from_kernel(fd, 7);
	f->kernel_ready = true;
	cr_assert_eq(get(f, fd, MSG_DONTWAIT), -EAGAIN);
	cr_assert_eq(f->ops->poll(f, fd) & POLLIN, 0);
	from_peer(9);
	cr_assert_eq(get(f, fd, MSG_DONTWAIT), 9);
	cr_assert_eq(transmit(f, buf, 3, 0), 3);
	cr_assert_eq(f->ops->connect(f, fd, &none, sizeof(none)), 0);
	cr_assert_eq(get(f, fd, MSG_DONTWAIT), 7);
	cr_assert_eq(transmit(f, buf, 3, 0), -EDESTADDRREQ);
	stack_reaches = 0;
	to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) }, .sin_port = 1 };
	cr_assert_eq(f->ops->connect(f, fd, (void *)&to, sizeof(to)), 0);
	cr_assert_eq(transmit(f, buf, 3, 0), FN_TO_KERNEL);
	close(fd);
}

Test(sock_udp, a_datagram_leaves_on_the_side_of_its_destination)
{
	int fd;
	struct fn_file *f = file_bound(&fd);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { B.ip }, .sin_port = fn_be16(1000) };
	struct iovec iov = { buf, 5 };
	struct msghdr msg = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1 };
	struct fn_udp_meta meta;

	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), 5);
	pass(5 * MS);
	cr_assert_eq(fn_udp_recv(peer, &iov, 1, 0, &meta), 5);
	cr_assert_eq(meta.from.ip4, A.ip);
	stack_reaches = 0;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), FN_TO_KERNEL);
	to.sin_port = 0;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), -EINVAL);
	close(fd);
}

Test(sock_udp, sendmsg_refuses_as_linux)
{
	int fd;
	struct fn_file *f = file_bound(&fd);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { B.ip }, .sin_port = fn_be16(1000) };
	struct iovec iov = { buf, 65536 };
	struct msghdr msg = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1 };

	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), -EMSGSIZE);
	iov.iov_len = 65508;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), -EMSGSIZE);
	iov.iov_len = 1;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, MSG_OOB), -EOPNOTSUPP);
	msg.msg_namelen = 15;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), -EINVAL);
	to.sin_family = AF_UNIX;
	msg.msg_namelen = sizeof(to);
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), -EAFNOSUPPORT);
	close(fd);
}

/* What a message of the peer looks like to recvmsg with `room` bytes for control messages. */
static struct msghdr *message(struct fn_file *f, int fd, size_t room, size_t len)
{
	static struct sockaddr_in name;
	static char control[256];
	static struct iovec iov;
	static struct msghdr msg;

	iov = (struct iovec){ buf, len };
	msg = (struct msghdr){ .msg_name = &name, .msg_namelen = sizeof(name), .msg_iov = &iov, .msg_iovlen = 1,
			       .msg_control = room ? control : NULL, .msg_controllen = room };
	memset(control, 0xee, sizeof(control));
	from_peer(10);
	cr_assert_eq(f->ops->recvmsg(f, fd, &msg, MSG_DONTWAIT), (ssize_t)fn_min(len, (size_t)10));
	cr_assert_eq(msg.msg_namelen, sizeof(name));
	cr_assert_eq(name.sin_addr.s_addr, B.ip);
	return &msg;
}

Test(sock_udp, ancillary_data_is_laid_out_as_linux)
{
	int fd;
	struct fn_file *f = file_bound(&fd);
	struct msghdr *m;
	struct cmsghdr *cm;
	struct in_pktinfo info;

	m = message(f, fd, 256, 100);
	cr_assert_eq(m->msg_controllen, 0);
	cr_assert_eq(m->msg_flags, 0);
	f->opt.stamp = FN_STAMP_US;
	f->opt.pktinfo = f->opt.recvttl = f->opt.recvtos = true;
	m = message(f, fd, 256, 100);
	cr_assert_eq(m->msg_controllen, CMSG_SPACE(16) + CMSG_SPACE(12) + CMSG_SPACE(4) + CMSG_SPACE(1));
	cm = CMSG_FIRSTHDR(m);
	cr_assert(cm->cmsg_level == SOL_SOCKET && cm->cmsg_type == SO_TIMESTAMP && cm->cmsg_len == CMSG_LEN(16));
	cm = CMSG_NXTHDR(m, cm);
	cr_assert(cm->cmsg_level == IPPROTO_IP && cm->cmsg_type == IP_PKTINFO && cm->cmsg_len == CMSG_LEN(12));
	memcpy(&info, CMSG_DATA(cm), sizeof(info));
	cr_assert(info.ipi_addr.s_addr == A.ip && info.ipi_spec_dst.s_addr == A.ip);
	cm = CMSG_NXTHDR(m, cm);
	cr_assert(cm->cmsg_level == IPPROTO_IP && cm->cmsg_type == IP_TTL && cm->cmsg_len == CMSG_LEN(4));
	cr_assert_eq(*CMSG_DATA(cm), 64);
	cm = CMSG_NXTHDR(m, cm);
	cr_assert(cm->cmsg_level == IPPROTO_IP && cm->cmsg_type == IP_TOS && cm->cmsg_len == CMSG_LEN(1));
	close(fd);
}

Test(sock_udp, ancillary_data_without_room_is_cut_and_flagged)
{
	int fd;
	struct fn_file *f = file_bound(&fd);
	struct msghdr *m;

	f->opt.pktinfo = true;
	m = message(f, fd, 0, 100);
	cr_assert_eq(m->msg_flags, MSG_CTRUNC);
	m = message(f, fd, 15, 100);	/* no header fits */
	cr_assert(m->msg_flags == MSG_CTRUNC && m->msg_controllen == 0);
	m = message(f, fd, 20, 4);	/* header and 4 bytes; the datagram is cut as well */
	cr_assert(m->msg_flags == (MSG_CTRUNC | MSG_TRUNC) && m->msg_controllen == 20);
	cr_assert_eq(CMSG_FIRSTHDR(m)->cmsg_len, 20);
	m = message(f, fd, 28, 100);	/* all of it but the padding */
	cr_assert(m->msg_flags == 0 && m->msg_controllen == 28);
	close(fd);
}

Test(sock_udp, options_of_one_datagram)
{
	int fd;
	struct fn_file *f = file_bound(&fd);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { B.ip }, .sin_port = fn_be16(1000) };
	struct iovec iov = { buf, 2500 };
	union {
		char room[CMSG_SPACE(4) * 2];
		struct cmsghdr align;
	} control = { "" };
	struct msghdr msg = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *cm = CMSG_FIRSTHDR(&msg);
	struct fn_udp_meta meta;

	*cm = (struct cmsghdr){ .cmsg_level = IPPROTO_IP, .cmsg_type = IP_TTL, .cmsg_len = CMSG_LEN(4) };
	*(int *)CMSG_DATA(cm) = 9;
	cm = CMSG_NXTHDR(&msg, cm);
	*cm = (struct cmsghdr){ .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(2) };
	*(uint16_t *)CMSG_DATA(cm) = 1000;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), 2500);
	pass(5 * MS);
	for (int i = 0; i < 3; i++) {
		cr_assert_eq(fn_udp_recv(peer, &iov, 1, 0, &meta), i < 2 ? 1000 : 500);
		cr_assert_eq(meta.ttl, 9);
	}
	cr_assert_eq(fn_udp_recv(peer, &iov, 1, 0, &meta), -EAGAIN);
	cr_assert_eq(f->sk->ttl, 64, "the socket's own came back");
	/* a length that leads out of the buffer */
	cm = CMSG_FIRSTHDR(&msg);
	cm->cmsg_len = sizeof(control) + 1;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), -EINVAL);
	cm->cmsg_len = 3;
	cr_assert_eq(f->ops->sendmsg(f, fd, &msg, 0), -EINVAL);
	close(fd);
}

Test(sock_udp, a_shut_half_ends_a_blocking_read_only)
{
	int fd;
	struct fn_file *f = file_bound(&fd);

	f->ops->shutdown(f, fd, SHUT_RD);
	cr_assert_eq(get(f, fd, MSG_DONTWAIT), -EAGAIN);
	cr_assert_eq(get(f, fd, 0), 0);
	close(fd);
}
