/* SPDX-License-Identifier: BSD-3-Clause */
/* connect(2): every way it ends, and what the socket says before and after. */
#include "oracle.h"

static int fresh(int flags)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
}

static int dial(int fd, struct sockaddr_in to)
{
	return connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static int so_error(int fd)
{
	socklen_t len = sizeof(int);
	int err = -1;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
	return err;
}

/* Whether the port of an attempt that failed stays reserved is not compared: the stack gives it back at once. */
static void names(const char *when, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char text[64];
	int ret;

	snprintf(text, sizeof(text), "%s getsockname", when);
	memset(&ss, 0, sizeof(ss));
	ret = getsockname(fd, (struct sockaddr *)&ss, &len);
	if (!strcmp(when, "refused") || !strcmp(when, "dissolved"))
		((struct sockaddr_in *)&ss)->sin_port = 0;
	name_of(text, ret, &ss, &len);
	len = sizeof(ss);
	snprintf(text, sizeof(text), "%s getpeername", when);
	memset(&ss, 0, sizeof(ss));
	name_of(text, getpeername(fd, (struct sockaddr *)&ss, &len), &ss, &len);
}

static void refused_blocking(void)
{
	struct sockaddr_in to = addr_of(o.peer, (int)peer("closed-port"));
	int fd = fresh(0);

	masks("fresh", fd);
	names("fresh", fd);
	TRY(dial(fd, to));
	TRY(so_error(fd));
	masks("refused", fd);
	names("refused", fd);
	TRY(dial(fd, to));
	TRY(send(fd, "x", 1, 0));
	TRY(recv(fd, &(char){ 0 }, 1, 0));
	TRY(shutdown(fd, SHUT_WR));
	/* the same socket again, where somebody listens */
	to = addr_of(o.peer, (int)peer("listen"));
	TRY(dial(fd, to));
	say("peer accepts: %d", peer("accept") >= 0);
	names("after all", fd);
	TRY(close(fd));
}

static void refused_nonblocking(void)
{
	struct sockaddr_in to = addr_of(o.peer, (int)peer("closed-port"));
	int fd = fresh(SOCK_NONBLOCK);

	TRY(dial(fd, to));
	say("wait: %s", events(until(fd, POLLOUT)));
	masks("refused", fd);
	TRY(dial(fd, to));
	masks("told", fd);
	TRY(dial(fd, to));
	until(fd, POLLOUT);
	TRY(so_error(fd));
	TRY(so_error(fd));
	masks("error taken", fd);
	TRY(dial(fd, to));
	TRY(dial(fd, to));
	until(fd, POLLOUT);
	TRY(recv(fd, &(char){ 0 }, 1, 0));
	TRY(recv(fd, &(char){ 0 }, 1, 0));
	TRY(send(fd, "x", 1, 0));
	close(fd);
	fd = fresh(SOCK_NONBLOCK);
	dial(fd, to);
	until(fd, POLLOUT);
	TRY(send(fd, "x", 1, 0));
	TRY(send(fd, "x", 1, 0));
	close(fd);
}

static void succeeds_nonblocking(void)
{
	struct sockaddr_in to = addr_of(o.peer, (int)peer("listen"));
	int fd = fresh(SOCK_NONBLOCK);

	TRY(dial(fd, to));
	say("wait: %s", events(until(fd, POLLOUT)));
	masks("connected", fd);
	TRY(so_error(fd));
	TRY(dial(fd, to));
	TRY(dial(fd, to));
	names("connected", fd);
	TRY(listen(fd, 5));
	TRY(accept(fd, NULL, NULL));
	TRY(bind(fd, (struct sockaddr *)&to, sizeof(to)));
	close(fd);
}

/* An address that nobody answers for: ARP goes on asking. */
static void unanswered(void)
{
	struct sockaddr_in to = addr_of(o.nobody, 9);
	struct timeval tv = { 0, 200000 };
	int fd = fresh(0);
	long ms;

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	elapsed();
	TRY(dial(fd, to));
	ms = elapsed();
	say("after about 200 ms: %d", ms >= 195 && ms < 1500);
	TRY(dial(fd, to));
	masks("connecting", fd);
	names("connecting", fd);
	TRY(send(fd, "x", 1, MSG_DONTWAIT));
	TRY(recv(fd, &(char){ 0 }, 1, MSG_DONTWAIT));
	TRY(so_error(fd));
	TRY(shutdown(fd, SHUT_RDWR));
	masks("shut while connecting", fd);
	TRY(close(fd));

	fd = fresh(0);
	on_signal(SIGALRM, 0);
	ualarm(100000, 0);
	TRY(dial(fd, to));
	say("signals: %d", (int)signals);
	TRY(close(fd));
}

static void wrong_arguments(void)
{
	struct sockaddr_in to = addr_of(o.peer, (int)peer("closed-port"));
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	int fd = fresh(0);

	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to) - 1));
	TRY(connect(fd, (struct sockaddr *)&to, 1));
	TRY(connect(fd, (struct sockaddr *)&to, 0));
	TRY(connect(fd, (struct sockaddr *)&to, 1000));
	TRY(connect(fd, NULL, sizeof(to)));
	TRY(connect(fd, (struct sockaddr *)&to6, sizeof(to6)));
	to.sin_family = AF_UNIX;
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(connect(-1, (struct sockaddr *)&to, sizeof(to)));
	to.sin_family = AF_UNSPEC;
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(shutdown(fd, SHUT_RD));
	TRY(shutdown(fd, 7));
	close(fd);
}

static void wrong_arguments_connected(void)
{
	struct sockaddr_in to = addr_of(o.peer, 1);
	int slot, fd = connect_out(&slot);

	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(connect(fd, (struct sockaddr *)&to, 1));
	TRY(connect(fd, (struct sockaddr *)&to, 3));
	to.sin_family = AF_UNIX;
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(shutdown(fd, 7));
	TRY(shutdown(fd, -1));
	close(fd);
}

static void dissolved(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_in to = addr_of(o.peer, (int)peer("listen"));
	int fd = fresh(0), slot;

	TRY(dial(fd, to));
	slot = (int)peer("accept");
	TRY(connect(fd, &none, sizeof(none)));
	say("peer sees: %ld", peer("take %d", slot));
	names("dissolved", fd);
	masks("dissolved", fd);
	TRY(send(fd, "x", 1, 0));
	TRY(dial(fd, to));
	slot = (int)peer("accept");
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	close(fd);
}

/* Dissolved, or refused: it can be bound anew, unless bind() had named the port. */
static void bound_again(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	struct sockaddr_in to = addr_of(o.peer, (int)peer("listen")), own = addr_of(o.local, 0), any = addr_of((struct in_addr){ 0 }, 0);
	int named = 0;

	for (int how = 0; how < 5; how++) {
		struct sockaddr_in *first = how == 1 ? &own : how == 2 ? &any : &own;
		int fd = fresh(0), port, slot;

		own.sin_port = how == 3 ? htons((uint16_t)named) : 0;
		if (how && how < 4)
			say("bound: %d", bind(fd, (struct sockaddr *)first, sizeof(*first)));
		if (how == 4) {
			struct sockaddr_in closed = addr_of(o.peer, (int)peer("closed-port"));

			TRY(dial(fd, closed));
		} else {
			TRY(dial(fd, to));
			slot = (int)peer("accept");
			port = port_of(fd);
			TRY(connect(fd, &none, sizeof(none)));
			say("peer sees: %ld, port still seen: %d", peer("take %d", slot), port == port_of(fd));
		}
		own.sin_port = 0;
		TRY(bind(fd, (struct sockaddr *)&own, sizeof(own)));
		say("a port: %d", port_of(fd) > 0);
		TRY(bind(fd, (struct sockaddr *)&own, sizeof(own)));
		named = port_of(fd);
		TRY(dial(fd, to));
		slot = (int)peer("accept");
		say("that port: %d", named == port_of(fd));
		TRY(send(fd, "abc", 3, 0));
		say("peer got: %ld", peer("recv %d 3", slot));
		names("bound again", fd);
		TRY(connect(fd, &none, sizeof(none)));
		close(fd);
	}
}

static void bound_before(void)
{
	struct sockaddr_in to = addr_of(o.peer, (int)peer("listen")), own = addr_of(o.local, 0);
	int fd = fresh(0), port, slot;

	TRY(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	port = port_of(fd);
	TRY(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	TRY(dial(fd, to));
	say("port kept: %d", port == port_of(fd));
	slot = (int)peer("accept");
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	names("bound before", fd);
	close(fd);
}

static void mapped(void)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)peer("listen")) };
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), slot, on = 1;
	struct sockaddr_in plain = addr_of(o.peer, 1);

	memset(&to.sin6_addr.s6_addr[10], 0xff, 2);
	memcpy(&to.sin6_addr.s6_addr[12], &o.peer, 4);
	TRY(dial(fd, plain));
	TRY(connect(fd, (struct sockaddr *)&to, 23));
	TRY(connect(fd, (struct sockaddr *)&to, 24));
	slot = (int)peer("accept");
	names("mapped", fd);
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	close(fd);
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	TRY(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)));
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	close(fd);
}

/* Names are cut to the room that there is. */
static void cut_names(void)
{
	int slot, fd = connect_out(&slot);
	struct sockaddr_in sin;
	socklen_t len;

	for (int i = 0; i < 6; i++) {
		static const socklen_t room[] = { 0, 1, 2, 4, 16, 100 };
		char buf[128];

		memset(buf, 0x55, sizeof(buf));
		len = room[i];
		TRY(getpeername(fd, (struct sockaddr *)buf, &len));
		say("room %u: length %u, byte behind untouched: %d", room[i], len,
		    buf[room[i] > 16 ? 16 : room[i]] == 0x55);
	}
	len = (socklen_t)-1;
	TRY(getpeername(fd, (struct sockaddr *)&sin, &len));
	TRY(getsockname(fd, (struct sockaddr *)&sin, NULL));
	len = sizeof(sin);
	TRY(getsockname(fd, NULL, &len));
	close(fd);
}

/* MSG_FASTOPEN where no cookie is known: connect(), and the data behind it. */
static void fast_open(void)
{
	for (int how = 0; how < 3; how++) {
		struct sockaddr_in to = addr_of(o.peer, (int)peer("listen"));
		int fd = fresh(how == 1 ? SOCK_NONBLOCK : 0), slot, flags = MSG_FASTOPEN | (how == 2 ? MSG_DONTWAIT : 0);
		const char *text = "abcdefghijkl";
		long sent = 0;

		TRY(send(fd, "x", 1, flags | MSG_NOSIGNAL));
		for (int i = 0; i < 3; i++) {
			long n = TRY(sendto(fd, text + sent, 3, flags, (struct sockaddr *)&to, sizeof(to)));

			sent += n > 0 ? n : 0;
			until(fd, POLLOUT);
		}
		sent += TRY(send(fd, text + sent, 3, 0));
		slot = (int)peer("accept");
		say("peer got: %ld", peer("recv %d %ld", slot, sent));
		close(fd);
	}
	for (int how = 0; how < 2; how++) {
		struct sockaddr_in to = addr_of(o.peer, (int)peer("closed-port"));
		int fd = fresh(how ? SOCK_NONBLOCK : 0);

		TRY(sendto(fd, "abc", 3, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof(to)));
		until(fd, POLLHUP);
		TRY(so_error(fd));
		close(fd);
	}
}

void t_connect(void)
{
	refused_blocking();
	refused_nonblocking();
	succeeds_nonblocking();
	unanswered();
	wrong_arguments();
	wrong_arguments_connected();
	dissolved();
	bound_again();
	bound_before();
	mapped();
	cut_names();
	fast_open();
}
