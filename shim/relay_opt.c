/* SPDX-License-Identifier: BSD-3-Clause */
/* Questions about the options of converted connections (convert_opt.h): the relay's side. */
#include <string.h>

#include "shim/convert_opt.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/sockopt.h"

int fn_relay_opt_open(uint64_t key)
{
	struct sockaddr_un un;
	socklen_t len = fn_convert_opt_address(key, &un);
	int fd = fn_fd_internal(fn_sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	int ret = fd < 0 ? fd : (int)fn_sys(SYS_bind, fd, &un, len);

	if (ret < 0)
		fn_fd_internal_close(fd);
	return ret < 0 ? ret : fd;
}

/* The descriptor that a question brings, or -1. Whoever asks may send two where there is room for one, by alignment. */
static int brought(struct msghdr *msg)
{
	int fd = -1, got;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS ? c->cmsg_len - CMSG_LEN(0) : 0;

		for (size_t i = 0; i < n / sizeof(got); i++) {
			memcpy(&got, CMSG_DATA(c) + i * sizeof(got), sizeof(got));
			if (fd < 0)
				fd = got;
			else
				fn_sys_close(got);
		}
	}
	return fd;
}

static void answer(struct fn_file *f, const struct fn_opt_question *q, struct fn_opt_answer *a)
{
	socklen_t len = q->len;

	if (q->set) {
		a->ret = fn_sockopt_set(f, -1, q->level, q->name, q->value, len);
		return;
	}
	a->ret = fn_sockopt_get(f, -1, q->level, q->name, a->value, &len);
	a->len = len;
}

void fn_relay_opt_serve(int fd, struct fn_file *(*find)(uint32_t number))
{
	for (;;) {
		char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
		struct fn_opt_question q;
		struct fn_opt_answer a = { 0 };
		struct sockaddr_un from;
		struct iovec iov = { &q, sizeof(q) };
		struct msghdr msg = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1,
				      .msg_control = control, .msg_controllen = sizeof(control) };
		struct fn_convert_name name;
		struct fn_file *f = NULL;
		ssize_t n = fn_sys(SYS_recvmsg, fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		int end;

		if (n < 0)
			return;
		end = brought(&msg);
		if (end >= 0 && n == sizeof(q) && q.len <= FN_OPT_VALUE && fn_convert_lookup(end, &name))
			f = find(name.number);
		if (end >= 0)
			fn_sys_close(end);
		if (!f)
			continue;
		answer(f, &q, &a);
		fn_sys(SYS_sendto, fd, &a, sizeof(a), MSG_DONTWAIT | MSG_NOSIGNAL, &from, msg.msg_namelen);
	}
}
