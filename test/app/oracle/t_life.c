/* SPDX-License-Identifier: BSD-3-Clause */
/* The life of a connection as its masks and calls show it: data, both half closes, resets; whoever opened it. */
#include "oracle.h"

static char buf[256];

static void closed_by_peer(int (*make)(int *))
{
	int slot, fd = make(&slot);

	masks("idle", fd);
	peer("send %d 5", slot);
	until_readable(fd, 5);
	masks("5 bytes", fd);
	peer("shut %d", slot);
	until(fd, POLLRDHUP);
	masks("5 bytes, end", fd);
	GET(recv(fd, buf, 3, 0), buf);
	masks("2 bytes, end", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	masks("end", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	TRY(shutdown(fd, SHUT_WR));
	say("peer at end: %ld", peer("take %d", slot));
	until(fd, POLLHUP);
	masks("both ends", fd);
	TRY(send(fd, "abc", 3, MSG_NOSIGNAL));
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	TRY(shutdown(fd, SHUT_RDWR));
	TRY(close(fd));
}

static void closed_by_us(int (*make)(int *))
{
	int slot, fd = make(&slot);

	TRY(send(fd, "abcde", 5, 0));
	TRY(shutdown(fd, SHUT_WR));
	masks("sending shut", fd);
	TRY(shutdown(fd, SHUT_WR));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(send(fd, "", 0, MSG_NOSIGNAL));
	say("peer got: %ld", peer("recv %d 5", slot));
	say("peer at end: %ld", peer("take %d", slot));
	peer("send %d 4", slot);
	until_readable(fd, 4);
	masks("sending shut, 4 bytes", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	peer("close %d", slot);
	until(fd, POLLHUP);
	masks("both ends", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(close(fd));
}

static void receiving_shut(int (*make)(int *))
{
	int slot, fd = make(&slot);

	TRY(shutdown(fd, SHUT_RD));
	masks("receiving shut", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	peer("send %d 3", slot);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	TRY(shutdown(fd, SHUT_RDWR));
	masks("all shut", fd);
	say("peer at end: %ld", peer("take %d", slot));
	TRY(close(fd));
}

static void reset(int (*make)(int *))
{
	socklen_t len = sizeof(int);
	int slot, fd = make(&slot), err = -1;

	peer("rst %d", slot);
	until(fd, POLLERR);
	masks("reset", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	masks("told", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	TRY(getpeername(fd, (struct sockaddr *)buf, &(socklen_t){ sizeof(buf) }));
	TRY(shutdown(fd, SHUT_WR));
	TRY(close(fd));

	fd = make(&slot);
	peer("send %d 5", slot);
	until_readable(fd, 5);
	peer("rst %d", slot);
	until(fd, POLLERR);
	masks("reset, 5 bytes", fd);
	GET(recv(fd, buf, 2, 0), buf);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	close(fd);

	fd = make(&slot);
	peer("rst %d", slot);
	until(fd, POLLERR);
	TRY(send(fd, "x", 1, 0));
	TRY(send(fd, "x", 1, 0));
	close(fd);

	fd = make(&slot);
	peer("rst %d", slot);
	until(fd, POLLERR);
	TRY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	say("SO_ERROR %s", error_name(err));
	masks("error taken", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	close(fd);

	fd = make(&slot);
	peer("shut %d", slot);
	until(fd, POLLRDHUP);
	peer("rst %d", slot);
	until(fd, POLLHUP);	/* a send looks at nothing: how soon it knows is open */
	TRY_SIGN(send(fd, "x", 1, 0));
	until(fd, POLLERR);
	masks("reset after its end", fd);
	TRY(send(fd, "x", 1, 0));
	TRY(send(fd, "x", 1, 0));
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	close(fd);
}

/* close() with unread data resets; without, it does not. */
static void close_with_unread(int (*make)(int *))
{
	int slot, fd = make(&slot);

	peer("send %d 5", slot);
	until_readable(fd, 5);
	TRY(close(fd));
	say("peer sees: %ld", peer("take %d", slot));

	fd = make(&slot);
	TRY(send(fd, "abc", 3, 0));
	TRY(close(fd));
	say("peer sees: %ld", peer("take %d", slot));
	say("peer sees: %ld", peer("take %d", slot));
}

static void lingering(int (*make)(int *))
{
	struct linger l = { 1, 0 };
	int slot, fd = make(&slot);
	long ms;

	TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	TRY(send(fd, "abc", 3, 0));
	say("peer sees: %ld", peer("take %d", slot));
	TRY(close(fd));
	say("peer sees: %ld", peer("take %d", slot));

	/* the peer takes everything: close comes back soon */
	fd = make(&slot);
	l.l_linger = 3;
	TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	TRY(send(fd, "abc", 3, 0));
	elapsed();
	TRY(close(fd));
	ms = elapsed();
	say("soon: %d", ms < 1000);
	say("peer sees: %ld", peer("take %d", slot));
	say("peer sees: %ld", peer("take %d", slot));

	/* the peer takes nothing: close comes back when the time is over */
	fd = make(&slot);
	peer("rcvbuf %d 4096", slot);
	nonblock(fd, true);
	while (send(fd, buf, sizeof(buf), 0) > 0)
		;
	l.l_linger = 1;
	TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l)));
	elapsed();
	TRY(close(fd));
	ms = elapsed();
	say("after the time: %d", ms >= 900 && ms < 2500);
}

static void sigpipe(int (*make)(int *))
{
	int slot, fd = make(&slot);

	on_signal(SIGPIPE, 0);
	TRY(shutdown(fd, SHUT_WR));
	TRY(send(fd, "x", 1, 0));
	say("signals: %d", (int)signals);
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	say("signals: %d", (int)signals);
	TRY(write(fd, "x", 1));
	say("signals: %d", (int)signals);
	TRY(writev(fd, &(struct iovec){ "x", 1 }, 1));
	say("signals: %d", (int)signals);
	close(fd);
	signal(SIGPIPE, SIG_IGN);
}

void t_life(void)
{
	for (unsigned i = 0; i < COUNT(ways); i++) {
		say("-- %s", ways[i].name);
		closed_by_peer(ways[i].make);
		closed_by_us(ways[i].make);
		receiving_shut(ways[i].make);
		reset(ways[i].make);
		close_with_unread(ways[i].make);
		lingering(ways[i].make);
		sigpipe(ways[i].make);
	}
}
