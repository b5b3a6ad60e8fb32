/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners: masks, accept in all its forms, what connections inherit, when listening ends. */
#include "oracle.h"

static char buf[64];

static int get_int(int fd, int level, int name)
{
	socklen_t len = sizeof(int);
	int v = -1;

	return getsockopt(fd, level, name, &v, &len) ? -errno : v;
}

static void states(void)
{
	struct sockaddr_in sin = addr_of(o.local, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	TRY(accept(fd, NULL, NULL));
	TRY(bind(fd, (struct sockaddr *)&sin, sizeof(sin)));
	masks("bound", fd);
	TRY(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN));
	TRY(listen(fd, 4));
	TRY(listen(fd, 5));
	TRY(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN));
	masks("listening", fd);
	TRY(bind(fd, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(connect(fd, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(recv(fd, buf, 1, 0));
	TRY(send(fd, buf, 1, MSG_NOSIGNAL));
	TRY(getpeername(fd, (struct sockaddr *)buf, &(socklen_t){ 16 }));
	TRY(ioctl(fd, FIONREAD, &(int){ 0 }));
	TRY(shutdown(fd, SHUT_WR));
	nonblock(fd, true);
	TRY(accept(fd, NULL, NULL));
	TRY(accept4(fd, NULL, NULL, 1 << 20));
	close(fd);
	TRY(listen(9999, 1));
	TRY(accept(9999, NULL, NULL));
}

static void in_use(void)
{
	struct sockaddr_in sin = addr_of(o.local, 0);
	int a = listen_on(4), b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	sin.sin_port = htons((uint16_t)port_of(a));
	TRY(bind(b, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(set_int(b, SOL_SOCKET, SO_REUSEADDR, 1));
	TRY(bind(b, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(close(a));
	TRY(bind(b, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(listen(b, 1));
	close(b);
}

/* One more listener on a port whose former listener has accepted a connection; SO_REUSEADDR of both or not. */
static void again(const char *when, int port)
{
	struct sockaddr_in sin = addr_of(o.local, port);

	for (int reuse = 0; reuse < 2; reuse++) {
		int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), slot, fd;

		set_int(l, SOL_SOCKET, SO_REUSEADDR, reuse);
		say("%s, reuse %d", when, reuse);
		if (TRY(bind(l, (struct sockaddr *)&sin, sizeof(sin))) == 0 && TRY(listen(l, 4)) == 0) {
			poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 0);
			slot = (int)peer("connect %d", port);
			say("connected: %d", slot >= 0);
			fd = accept(l, NULL, NULL);
			peer("rst %d", slot);
			until(fd, POLLHUP);
			close(fd);
		}
		close(l);
	}
}

/* What an accepted connection keeps of its listener's name: established, and in TIME_WAIT. */
static void name_kept(int reuse)
{
	struct sockaddr_in sin = addr_of(o.local, 0);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), slot, fd, port;

	say("name of a listener with reuse %d", reuse);
	set_int(l, SOL_SOCKET, SO_REUSEADDR, reuse);
	TRY(bind(l, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(listen(l, 4));
	port = port_of(l);
	poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 0);
	slot = (int)peer("connect %d", port);
	fd = accept(l, NULL, NULL);
	close(l);
	again("established", port);
	shutdown(fd, SHUT_WR);
	peer("close %d", slot);
	until(fd, POLLHUP);
	close(fd);
	if (!one_host())	/* shared memory has no old duplicates to wait for (stack/COMPLIANCE) */
		again("TIME_WAIT", port);
}

static void pending(void)
{
	struct sockaddr_storage ss;
	struct sockaddr_in sin;
	socklen_t len = sizeof(ss);
	int l = listen_on(8), slot[3], fd;

	nonblock(l, true);
	masks("none", l);
	for (int i = 0; i < 3; i++)
		slot[i] = (int)peer("connect %d", port_of(l));
	say("connected: %d", slot[0] >= 0 && slot[1] >= 0 && slot[2] >= 0);
	until(l, POLLIN);
	masks("three", l);
	fd = accept4(l, (struct sockaddr *)&ss, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	name_of("accept4", fd < 0 ? -1 : 0, &ss, &len);
	say("flags %x, close-on-exec %d", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	close(fd);
	len = 3;
	fd = accept(l, (struct sockaddr *)&sin, &len);
	say("length %u, flags %x, close-on-exec %d", len, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
	len = sizeof(ss);
	name_of("accepted getsockname", getsockname(fd, (struct sockaddr *)&ss, &len), &ss, &len);
	close(fd);
	masks("one left", l);
	fd = accept(l, NULL, NULL);
	say("third: %d", fd >= 0);
	masks("none left", l);
	TRY(accept(l, NULL, NULL));
	close(fd);
	close(l);
}

/* Data and ends that come before accept wait for it. */
static void early(void)
{
	int l = listen_on(8), a, fd;

	poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 0);
	a = (int)peer("connect %d", port_of(l));
	peer("send %d 5", a);
	peer("shut %d", a);
	until(l, POLLIN);
	fd = accept(l, NULL, NULL);
	until(fd, POLLRDHUP);
	masks("data and end", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	close(fd);

	/* one that was reset meanwhile is accepted all the same */
	a = (int)peer("connect %d", port_of(l));
	until(l, POLLIN);
	peer("rst %d", a);
	usleep(50000);
	masks("a reset one", l);
	fd = accept(l, NULL, NULL);
	say("accepted: %d", fd >= 0);
	masks("it", fd);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	close(fd);
	close(l);
}

static void inherits(void)
{
	struct timeval tv = { 3, 0 };
	struct linger li = { 1, 7 };
	socklen_t len = sizeof(tv);
	int l = listen_on(8), fd;

	TRY(set_int(l, IPPROTO_TCP, TCP_NODELAY, 1));
	TRY(set_int(l, SOL_SOCKET, SO_KEEPALIVE, 1));
	TRY(set_int(l, IPPROTO_TCP, TCP_KEEPIDLE, 100));
	TRY(set_int(l, IPPROTO_TCP, TCP_KEEPINTVL, 11));
	TRY(set_int(l, IPPROTO_TCP, TCP_KEEPCNT, 4));
	TRY(set_int(l, IPPROTO_TCP, TCP_USER_TIMEOUT, 12345));
	TRY(set_int(l, SOL_SOCKET, SO_RCVBUF, 50000));
	TRY(set_int(l, SOL_SOCKET, SO_SNDBUF, 60000));
	TRY(set_int(l, SOL_SOCKET, SO_OOBINLINE, 1));
	TRY(set_int(l, IPPROTO_IP, IP_TOS, 0x10));
	TRY(set_int(l, IPPROTO_IP, IP_TTL, 33));
	TRY(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	TRY(setsockopt(l, SOL_SOCKET, SO_LINGER, &li, sizeof(li)));
	nonblock(l, true);
	TRY(accept(l, NULL, NULL));
	say("connected: %d", peer("connect %d", port_of(l)) >= 0);
	until(l, POLLIN);
	fd = accept(l, NULL, NULL);
	say("nonblocking %d", !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	TRY(get_int(fd, IPPROTO_TCP, TCP_NODELAY));
	TRY(get_int(fd, SOL_SOCKET, SO_KEEPALIVE));
	TRY(get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE));
	TRY(get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL));
	TRY(get_int(fd, IPPROTO_TCP, TCP_KEEPCNT));
	TRY(get_int(fd, IPPROTO_TCP, TCP_USER_TIMEOUT));
	TRY(get_int(fd, SOL_SOCKET, SO_RCVBUF));
	TRY(get_int(fd, SOL_SOCKET, SO_SNDBUF));
	TRY(get_int(fd, SOL_SOCKET, SO_OOBINLINE));
	TRY(get_int(fd, IPPROTO_IP, IP_TOS));
	TRY(get_int(fd, IPPROTO_IP, IP_TTL));
	TRY(get_int(fd, SOL_SOCKET, SO_ACCEPTCONN));
	TRY(get_int(fd, SOL_SOCKET, SO_REUSEADDR));
	TRY(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	say("timeout %ld", (long)tv.tv_sec);
	len = sizeof(li);
	TRY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &li, &len));
	say("linger %d %d", li.l_onoff, li.l_linger);
	li.l_linger = 0;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &li, sizeof(li));
	close(fd);
	close(l);
}

/* No cookie is given on a port: a connection as any other. */
static void fast_open(void)
{
	struct sockaddr_in sin = addr_of(o.local, 0);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	TRY(bind(l, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(set_int(l, IPPROTO_TCP, TCP_FASTOPEN, 5));
	TRY(listen(l, 4));
	TRY(set_int(l, IPPROTO_TCP, TCP_FASTOPEN, 7));
	TRY(get_int(l, IPPROTO_TCP, TCP_FASTOPEN));
	nonblock(l, true);
	TRY(accept(l, NULL, NULL));
	say("connected: %d", peer("connect %d", port_of(l)) >= 0);
	until(l, POLLIN);
	fd = accept(l, NULL, NULL);
	say("accepted %d", fd >= 0);
	close(fd);
	close(l);
}

static void wildcard(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, slot, self;

	TRY(bind(l, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(listen(l, 8));
	name_of("wildcard getsockname", getsockname(l, (struct sockaddr *)&ss, &len), &ss, &len);
	poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 0);
	slot = (int)peer("connect %d", port_of(l));
	fd = accept(l, (struct sockaddr *)&ss, &len);
	name_of("from the peer", fd < 0 ? -1 : 0, &ss, &len);
	len = sizeof(ss);
	name_of("its getsockname", getsockname(fd, (struct sockaddr *)&ss, &len), &ss, &len);
	peer("send %d 3", slot);
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	close(fd);
	/* and over loopback, which is the kernel's */
	self = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	sin = addr_of((struct in_addr){ htonl(INADDR_LOOPBACK) }, port_of(l));
	TRY(connect(self, (struct sockaddr *)&sin, sizeof(sin)));
	until(l, POLLIN);
	masks("one on loopback", l);
	fd = accept(l, (struct sockaddr *)&ss, &len);
	name_of("from loopback", fd < 0 ? -1 : 0, &ss, &len);
	TRY(send(self, "abc", 3, 0));
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	close(self);
	close(fd);
	close(l);
}

static void dual_stack(void)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	int l = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), fd, off = 0;

	TRY(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	TRY(bind(l, (struct sockaddr *)&any, sizeof(any)));
	TRY(setsockopt(l, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)));
	TRY(listen(l, 8));
	name_of("getsockname", getsockname(l, (struct sockaddr *)&ss, &len), &ss, &len);
	poll(&(struct pollfd){ .fd = l, .events = POLLIN }, 1, 0);
	say("connected: %d", peer("connect %d", ntohs(((struct sockaddr_in6 *)&ss)->sin6_port)) >= 0);
	len = sizeof(ss);
	fd = accept(l, (struct sockaddr *)&ss, &len);
	name_of("accept", fd < 0 ? -1 : 0, &ss, &len);
	len = sizeof(ss);
	name_of("getsockname", getsockname(fd, (struct sockaddr *)&ss, &len), &ss, &len);
	len = sizeof(ss);
	name_of("getpeername", getpeername(fd, (struct sockaddr *)&ss, &len), &ss, &len);
	TRY(get_int(fd, SOL_SOCKET, SO_DOMAIN));
	TRY(get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY));
	close(fd);
	close(l);
}

static void ends(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int l = listen_on(8), ep = epoll_create1(EPOLL_CLOEXEC), port = port_of(l);

	epoll_ctl(ep, EPOLL_CTL_ADD, l, &ev);
	say("idle: %d", epoll_wait(ep, &ev, 1, 0));
	say("connected: %d", peer("connect %d", port) >= 0);
	say("ready: %d %s", epoll_wait(ep, &ev, 1, 3000), events(ev.events));
	say("still: %d %s", epoll_wait(ep, &ev, 1, 0), events(ev.events));
	close(accept(l, NULL, NULL));
	say("accepted: %d", epoll_wait(ep, &ev, 1, 0));
	TRY(shutdown(l, SHUT_RD));
	masks("shut", l);
	TRY(accept(l, NULL, NULL));
	TRY(get_int(l, SOL_SOCKET, SO_ACCEPTCONN));
	say("peer: %ld", peer("connect %d", port));
	close(l);
	close(ep);
}

/* Several waiters, one number each from accept. */
static void exclusive(void)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	int l = listen_on(8), a = epoll_create1(EPOLL_CLOEXEC), b = epoll_create1(EPOLL_CLOEXEC);

	nonblock(l, true);
	TRY(epoll_ctl(a, EPOLL_CTL_ADD, l, &ev));
	TRY(epoll_ctl(b, EPOLL_CTL_ADD, l, &ev));
	say("idle: %d %d", epoll_wait(a, &ev, 1, 0), epoll_wait(b, &ev, 1, 0));
	say("connected: %d", peer("connect %d", port_of(l)) >= 0);
	until(l, POLLIN);
	say("somebody: %d", epoll_wait(a, &ev, 1, 0) + epoll_wait(b, &ev, 1, 0) >= 1);
	close(accept(l, NULL, NULL));
	say("accepted: %d %d", epoll_wait(a, &ev, 1, 0), epoll_wait(b, &ev, 1, 0));
	close(a);
	close(b);
	close(l);
}

void t_listen(void)
{
	states();
	in_use();
	name_kept(0);
	name_kept(1);
	pending();
	early();
	inherits();
	fast_open();
	wildcard();
	dual_stack();
	ends();
	exclusive();
}
