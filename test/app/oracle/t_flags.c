/* SPDX-License-Identifier: BSD-3-Clause */
/* Flags of recv and send on a connection, and what the message forms fill in. */
#include "oracle.h"

static char buf[1024];

static void peek(void)
{
	int slot, fd = connect_out(&slot);

	peer("send %d 10", slot);
	until_readable(fd, 10);
	GET(recv(fd, buf, 4, MSG_PEEK), buf);
	GET(recv(fd, buf, 100, MSG_PEEK), buf);
	GET(recv(fd, buf, 4, 0), buf);
	GET(recv(fd, buf, 10, MSG_PEEK | MSG_WAITALL | MSG_DONTWAIT), buf);
	peer("later 100 send %d 4", slot);
	GET(recv(fd, buf, 10, MSG_PEEK | MSG_WAITALL), buf);
	GET(recv(fd, buf, 10, MSG_WAITALL), buf);
	GET(recv(fd, buf, 10, MSG_PEEK | MSG_DONTWAIT), buf);
	peer("send %d 3", slot);
	peer("shut %d", slot);
	until(fd, POLLRDHUP);
	GET(recv(fd, buf, 10, MSG_PEEK | MSG_WAITALL), buf);
	GET(recv(fd, buf, 10, MSG_PEEK), buf);
	GET(recv(fd, buf, 10, 0), buf);
	GET(recv(fd, buf, 10, MSG_PEEK), buf);
	close(fd);
}

static void waitall(void)
{
	int slot, fd = accept_in(&slot);
	struct timeval tv = { 0, 200000 };
	long ms;

	peer("send %d 5", slot);
	peer("later 100 send %d 10", slot);
	GET(recv(fd, buf, 10, MSG_WAITALL), buf);
	peer("later 100 shut %d", slot);
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	close(fd);

	fd = connect_out(&slot);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	peer("send %d 5", slot);
	until_readable(fd, 5);
	elapsed();
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	ms = elapsed();
	say("after the time: %d", ms >= 195 && ms < 1500);
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	peer("send %d 5", slot);
	until_readable(fd, 5);
	peer("rst %d", slot);
	until(fd, POLLERR);
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	close(fd);
}

static void trunc_and_others(void)
{
	int slot, fd = connect_out(&slot);

	peer("send %d 20", slot);
	until_readable(fd, 20);
	memset(buf, '-', sizeof(buf));
	GET(recv(fd, buf, 5, MSG_TRUNC), buf);
	GET(recv(fd, NULL, 3, MSG_TRUNC), buf);
	GET(recv(fd, buf, 2, 0), buf);
	TRY(recv(fd, buf, 100, MSG_ERRQUEUE));
	GET(recv(fd, buf, 2, MSG_NOSIGNAL | MSG_CMSG_CLOEXEC | MSG_CONFIRM), buf);
	GET(recv(fd, buf, 2, MSG_EOR | MSG_WAITFORONE), buf);
	TRY(send(fd, "a", 1, MSG_CONFIRM | MSG_EOR | MSG_DONTROUTE));
	TRY(send(fd, "b", 1, MSG_MORE));
	TRY(send(fd, "c", 1, MSG_ZEROCOPY));
	TRY(send(fd, "d", 1, MSG_FASTOPEN));
	TRY(send(fd, "d", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
	say("peer got: %ld", peer("recv %d 4", slot));
	close(fd);
}

static void more(void)
{
	int slot, fd = connect_out(&slot);

	TRY(send(fd, "abc", 3, MSG_MORE));
	TRY(send(fd, "def", 3, 0));
	say("peer gets in one: %ld", peer("take %d", slot));
	TRY(set_int(fd, IPPROTO_TCP, TCP_CORK, 1));
	TRY(send(fd, "abc", 3, 0));
	TRY(send(fd, "def", 3, 0));
	TRY(set_int(fd, IPPROTO_TCP, TCP_CORK, 0));
	say("peer gets in one: %ld", peer("take %d", slot));
	close(fd);
}

static void message(const char *what, long ret, const struct msghdr *msg)
{
	if (ret < 0)
		say("%s -> -1 %s", what, error_name(errno));
	else
		say("%s -> %ld, flags %x, namelen %u, controllen %zu", what, ret, msg->msg_flags, msg->msg_namelen,
		    msg->msg_controllen);
}

static void messages(void)
{
	int slot, fd = accept_in(&slot);
	char control[256];
	struct sockaddr_in name;
	struct iovec iov = { buf, 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &name, .msg_namelen = sizeof(name),
			      .msg_control = control, .msg_controllen = sizeof(control), .msg_flags = 0x77 };
	socklen_t len = sizeof(name);

	peer("send %d 20", slot);
	until_readable(fd, 20);
	message("recvmsg", recvmsg(fd, &msg, 0), &msg);
	msg.msg_name = NULL;
	msg.msg_namelen = 7;
	msg.msg_control = NULL;
	msg.msg_controllen = 0;
	message("recvmsg without name", recvmsg(fd, &msg, 0), &msg);
	msg.msg_iovlen = 0;
	message("recvmsg of nothing", recvmsg(fd, &msg, 0), &msg);
	GET(recvfrom(fd, buf, 4, 0, (struct sockaddr *)&name, &len), buf);
	say("address length %u", len);
	msg.msg_iovlen = 1;
	message("recvmsg peek", recvmsg(fd, &msg, MSG_PEEK), &msg);
	message("recvmsg dontwait", recvmsg(fd, &msg, MSG_DONTWAIT), &msg);
	message("recvmsg dontwait", recvmsg(fd, &msg, MSG_DONTWAIT), &msg);
	message("recvmsg dontwait", recvmsg(fd, &msg, MSG_DONTWAIT), &msg);
	msg.msg_name = &name;
	msg.msg_namelen = (socklen_t)-1;
	message("recvmsg with negative namelen", recvmsg(fd, &msg, MSG_DONTWAIT), &msg);
	peer("oob %d 33", slot);
	until(fd, POLLPRI);
	msg.msg_namelen = sizeof(name);
	message("recvmsg oob", recvmsg(fd, &msg, MSG_OOB), &msg);
	close(fd);
}

static void sending_messages(void)
{
	int slot, fd = connect_out(&slot);
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = "";
	struct sockaddr_in elsewhere = addr_of(o.nobody, 9);
	struct iovec iov = { "abcd", 4 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (struct cmsghdr *)control;

	TRY(sendto(fd, "abcd", 4, 0, (struct sockaddr *)&elsewhere, sizeof(elsewhere)));
	msg.msg_name = &elsewhere;
	msg.msg_namelen = 3;
	TRY(sendmsg(fd, &msg, 0));
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = 99 };
	TRY(sendmsg(fd, &msg, 0));
	c->cmsg_level = IPPROTO_IP;
	c->cmsg_type = IP_TTL;
	TRY(sendmsg(fd, &msg, 0));
	c->cmsg_len = 3;
	TRY(sendmsg(fd, &msg, 0));
	c->cmsg_len = 100;
	TRY(sendmsg(fd, &msg, 0));
	say("peer got: %d", peer("take %d", slot) >= 4);
	close(fd);
}

static void low_water(void)
{
	int slot, fd = connect_out(&slot);

	TRY(set_int(fd, SOL_SOCKET, SO_RCVLOWAT, 8));
	peer("send %d 5", slot);
	until_readable(fd, 5);
	masks("5 of 8", fd);
	GET(recv(fd, buf, 100, MSG_DONTWAIT), buf);
	peer("send %d 5", slot);
	until_readable(fd, 5);
	/* Linux wakes the reader when the mark is reached again, not when the rest of it has come */
	peer("later 100 send %d 9", slot);
	GET(recv(fd, buf, 100, 0), buf);
	peer("send %d 9", slot);
	until_readable(fd, 9);
	masks("9 of 8", fd);
	GET(recv(fd, buf, 3, 0), buf);
	masks("6 of 8", fd);
	peer("shut %d", slot);
	until(fd, POLLRDHUP);
	masks("6 of 8, end", fd);
	close(fd);
}

void t_flags(void)
{
	peek();
	waitall();
	trunc_and_others();
	more();
	messages();
	sending_messages();
	low_water();
}
