/* SPDX-License-Identifier: BSD-3-Clause */
/* Bytes of a connection: partial and whole, vectors, a full send buffer, urgent data, counters. */
#include <linux/sockios.h>

#include "oracle.h"

static char buf[1 << 16];

static int number(int fd, unsigned long req)
{
	int n = -1;

	return ioctl(fd, req, &n) < 0 ? -errno : n;
}

static void partial_reads(void)
{
	int slot, fd = connect_out(&slot);
	struct iovec iov[3] = { { buf, 2 }, { buf + 100, 0 }, { buf + 2, 5 } };

	TRY(number(fd, FIONREAD));
	TRY(recv(fd, buf, 10, MSG_DONTWAIT));
	peer("send %d 20", slot);
	until_readable(fd, 20);
	TRY(number(fd, FIONREAD));
	GET(recv(fd, buf, 4, 0), buf);
	GET(read(fd, buf, 3), buf);
	GET(readv(fd, iov, 3), buf);
	TRY(number(fd, FIONREAD));
	TRY(read(fd, buf, 0));
	TRY(recv(fd, buf, 0, 0));
	TRY(recv(fd, NULL, 0, 0));
	GET(recvfrom(fd, buf, 100, 0, NULL, NULL), buf);
	TRY(recv(fd, buf, 0, MSG_DONTWAIT));
	TRY(read(fd, buf, 0));
	close(fd);
}

static void vectors(void)
{
	static struct iovec many[1025];
	int slot, fd = connect_out(&slot);
	struct iovec iov[3] = { { "ab", 2 }, { NULL, 0 }, { "cdefg", 5 } };
	struct iovec bad = { buf, (size_t)-1 };
	struct msghdr msg = { .msg_iov = many, .msg_iovlen = 1025 };

	for (unsigned i = 0; i < COUNT(many); i++)
		many[i] = (struct iovec){ (char[]){ (char)('a' + (i + 7) % 26) }, 1 };
	TRY(writev(fd, iov, 3));
	TRY(writev(fd, iov, 0));
	TRY(writev(fd, iov, minus_one));
	TRY(writev(fd, many, 1025));
	TRY(readv(fd, many, 1025));
	TRY(sendmsg(fd, &msg, 0));
	TRY(recvmsg(fd, &msg, 0));
	TRY(writev(fd, &bad, 1));
	TRY(readv(fd, &bad, 1));
	msg.msg_iov = &bad;
	msg.msg_iovlen = 1;
	TRY(sendmsg(fd, &msg, 0));
	TRY(recvmsg(fd, &msg, 0));
	say("peer got: %ld", peer("recv %d 7", slot));
	close(fd);
}

/* A peer that does not read: the send buffer fills, and empties when it reads. */
static void full(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = { .events = EPOLLOUT | EPOLLIN | EPOLLET };
	long sent = 0, n, err;

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (char)('a' + i % 26);
	nonblock(fd, true);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	say("edge at first: %d %s", epoll_wait(ep, &ev, 1, 0), events(ev.events));
	/* in steps of 26, so that the pattern continues whatever was taken */
	for (int idle = 0; idle < 20;) {
		n = send(fd, buf + sent % 26, sizeof(buf) - 26, 0);
		err = errno;
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? n : 0;
		if (n < 0)
			poll(NULL, 0, 10);	/* windows settle */
	}
	/* the last segment may have room for a few bytes */
	for (int idle = 0; idle < 20; poll(NULL, 0, idle ? 1 : 0)) {
		n = send(fd, buf + sent % 26, 1, 0);
		idle = n > 0 ? 0 : idle + 1;
		sent += n > 0 ? n : 0;
	}
	say("full: %s, something was sent: %d", error_name((int)err), sent > 4096);
	TRY(send(fd, buf, 1, 0));
	TRY(send(fd, buf, 1, MSG_DONTWAIT));
	TRY(write(fd, buf, 1));
	masks("full", fd);
	while (epoll_wait(ep, &ev, 1, 0) > 0)
		;
	say("unsent bytes: %d", number(fd, SIOCOUTQ) > 0);
	say("peer reads all: %d", peer_beside(fd, "recv %d %ld", slot, sent) == sent);
	say("writable: %s", events(until(fd, POLLOUT)));
	say("edge: %d %s", epoll_wait(ep, &ev, 1, 1000), events(ev.events));
	say("no second edge: %d", epoll_wait(ep, &ev, 1, 0));
	for (int i = 0; i < 1000 && number(fd, SIOCOUTQ); i++)
		poll(NULL, 0, 1);
	TRY(number(fd, SIOCOUTQ));
	TRY(number(fd, SIOCOUTQNSD));
	close(ep);
	close(fd);
}

static void full_blocking(void)
{
	struct timeval tv = { 0, 200000 };
	int slot, fd = connect_out(&slot);
	static char big[1 << 20];
	long sent = 0, n, ms;

	for (unsigned i = 0; i < sizeof(big); i++)
		big[i] = (char)('a' + i % 26);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	for (int i = 0; i < 3; i++)
		set_int(fd, SOL_SOCKET, SO_SNDBUF, 16384);
	peer("rcvbuf %d 8192", slot);
	elapsed();
	do {
		n = send(fd, big + sent % 26, sizeof(big) - 26, 0);
		sent += n > 0 ? n : 0;
	} while (n > 0);
	ms = elapsed();
	say("ends with %s, after a part: %d, after the time: %d", error_name(errno), sent > 0, ms >= 195);
	peer("rcvbuf %d 200000", slot);	/* a window smaller than a segment takes one probe at a time */
	peer("later 0 recv %d 10000000", slot);
	tv.tv_sec = 5;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	TRY(send(fd, big + sent % 26, 500000, 0));
	TRY(shutdown(fd, SHUT_WR));
	close(fd);
}

static void both_directions(void)
{
	int slot, fd = accept_in(&slot);
	long total = 0, n;

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (char)('a' + i % 26);
	peer("later 0 send %d 300000", slot);
	while (total < 300000 && (n = recv(fd, buf, sizeof(buf), 0)) > 0) {
		for (long i = 0; i < n; i++)
			if (buf[i] != (char)('a' + (total + i) % 26)) {
				say("byte %ld is wrong", total + i);
				return;
			}
		total += n;
	}
	say("received %ld", total);
	peer("later 0 recv %d 260000", slot);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (char)('a' + i % 26);
	for (int i = 0; i < 10; i++)
		if (send(fd, buf, 26000, 0) != 26000)
			say("send %d is partial", i);
	close(fd);
}

/* A reader that asks again and again, and never waits. */
static void asked_often(void)
{
	for (unsigned i = 0; i < COUNT(ways); i++) {
		int slot, fd = ways[i].make(&slot), n = 0;

		peer("send %d 3", slot);
		for (int k = 0; k < 3000 && n <= 0; k++, usleep(1000))
			n = (int)recv(fd, buf, 100, MSG_DONTWAIT);
		say("%s: %d", ways[i].name, n);
		close(fd);
	}
}

/* Room in a full send buffer, seen by who does nothing but ask. */
static void asked_for_room(void)
{
	int slot, fd = connect_out(&slot);
	long sent = 0, n = 0;

	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (char)('a' + i % 26);
	nonblock(fd, true);
	for (int idle = 0; idle < 20; idle = n > 0 ? 0 : idle + 1, sent += n > 0 ? n : 0) {
		n = send(fd, buf + sent % 26, sizeof(buf) - 26, 0);
		if (n < 0)
			poll(NULL, 0, 10);
	}
	peer("later 0 recv %d 100000000", slot);
	n = -1;
	for (int k = 0; k < 3000 && n <= 0; k++, usleep(1000))
		n = send(fd, buf + sent % 26, 100, 0);
	say("room when asked often: %d", n > 0);
	close(fd);
}

static void urgent(void)
{
	int slot, fd = connect_out(&slot);

	TRY(recv(fd, buf, 1, MSG_OOB));
	TRY(number(fd, SIOCATMARK));
	peer("send %d 3", slot);
	peer("oob %d 33", slot);
	peer("send %d 2", slot);
	until(fd, POLLPRI);
	masks("abc!de", fd);
	TRY(number(fd, FIONREAD));
	TRY(sockatmark(fd));
	GET(recv(fd, buf, 100, MSG_PEEK), buf);
	GET(recv(fd, buf, 100, 0), buf);
	TRY(number(fd, SIOCATMARK));
	TRY(number(fd, FIONREAD));
	masks("at the mark", fd);
	GET(recv(fd, buf, 1, MSG_OOB | MSG_PEEK), buf);
	GET(recv(fd, buf, 0, MSG_OOB | MSG_PEEK), buf);
	GET(recv(fd, buf, 1, MSG_OOB), buf);
	GET(recv(fd, buf, 1, MSG_OOB), buf);
	masks("urgent read", fd);
	GET(recv(fd, buf, 100, 0), buf);
	TRY(number(fd, SIOCATMARK));
	TRY(send(fd, "xy", 2, MSG_OOB));
	close(fd);

	fd = connect_out(&slot);
	TRY(set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1));
	peer("send %d 3", slot);
	peer("oob %d 33", slot);
	peer("send %d 2", slot);
	until_readable(fd, 3);
	masks("inline", fd);
	GET(recv(fd, buf, 1, MSG_OOB), buf);
	GET(recv(fd, buf, 100, 0), buf);
	TRY(number(fd, SIOCATMARK));
	GET(recv(fd, buf, 100, 0), buf);
	close(fd);
}

void t_data(void)
{
	partial_reads();
	vectors();
	full();
	full_blocking();
	both_directions();
	asked_often();
	asked_for_room();
	urgent();
}
