/* SPDX-License-Identifier: BSD-3-Clause */
/* Datagrams: connected and not, truncation, ancillary data, errors, both sides of a wildcard socket. */
#include <net/if.h>
#include <netinet/udp.h>

#include "oracle.h"

static char buf[70000];
static int peer_slot, peer_port;

static int fresh(void)
{
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int bound(struct in_addr ip)
{
	struct sockaddr_in sin = addr_of(ip, 0);
	int fd = fresh();

	TRY(bind(fd, (struct sockaddr *)&sin, sizeof(sin)));
	return fd;
}

static long to_peer(int fd, size_t n, int flags)
{
	struct sockaddr_in to = addr_of(o.peer, peer_port);

	return sendto(fd, buf, n, flags, (struct sockaddr *)&to, sizeof(to));
}

static void names(const char *when, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char text[64];

	memset(&ss, 0, sizeof(ss));
	snprintf(text, sizeof(text), "%s getsockname", when);
	name_of(text, getsockname(fd, (struct sockaddr *)&ss, &len), &ss, &len);
	len = sizeof(ss);
	snprintf(text, sizeof(text), "%s getpeername", when);
	name_of(text, getpeername(fd, (struct sockaddr *)&ss, &len), &ss, &len);
}

static void unbound(void)
{
	int fd = fresh();

	masks("fresh", fd);
	names("fresh", fd);
	TRY(send(fd, "x", 1, 0));
	TRY(recv(fd, buf, 1, MSG_DONTWAIT));
	TRY(to_peer(fd, 5, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	masks("sent", fd);
	peer("usend %d 0 4", peer_slot);
	until(fd, POLLIN);
	masks("answered", fd);
	GET(recv(fd, buf, 100, 0), buf);
	TRY(recv(fd, buf, 100, MSG_DONTWAIT));
	close(fd);
}

static void sizes(void)
{
	int fd = bound(o.local), port = port_of(fd), n = -1;
	struct iovec iov[2] = { { buf, 3 }, { buf + 3, 4 } };

	TRY(to_peer(fd, 0, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(to_peer(fd, 1472, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(to_peer(fd, 5000, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(to_peer(fd, 65508, 0));
	TRY(to_peer(fd, 65536, 0));
	peer("usend %d %d 10", peer_slot, port);
	until(fd, POLLIN);
	TRY(ioctl(fd, FIONREAD, &n));
	say("next is %d", n);
	GET(recv(fd, buf, 4, MSG_PEEK), buf);
	GET(recv(fd, buf, 4, MSG_PEEK | MSG_TRUNC), buf);
	GET(recv(fd, buf, 4, 0), buf);
	TRY(recv(fd, buf, 4, MSG_DONTWAIT));
	peer("usend %d %d 10", peer_slot, port);
	until(fd, POLLIN);
	GET(recv(fd, buf, 4, MSG_TRUNC), buf);
	peer("usend %d %d 0", peer_slot, port);
	until(fd, POLLIN);
	masks("empty datagram", fd);
	TRY(recv(fd, buf, 4, MSG_DONTWAIT));
	TRY(recv(fd, buf, 4, MSG_DONTWAIT));
	peer("usend %d %d 10", peer_slot, port);
	until(fd, POLLIN);
	GET(readv(fd, iov, 2), buf);
	TRY(writev(fd, iov, 2));
	peer("usend %d %d 10", peer_slot, port);
	until(fd, POLLIN);
	TRY(recv(fd, buf, 0, 0));
	TRY(recv(fd, buf, 10, MSG_DONTWAIT));
	peer("usend %d %d 3", peer_slot, port);
	peer("usend %d %d 4", peer_slot, port);
	until(fd, POLLIN);
	usleep(20000);
	GET(recv(fd, buf, 100, MSG_WAITALL), buf);
	GET(recv(fd, buf, 100, MSG_OOB), buf);
	TRY(send(fd, "x", 1, MSG_OOB));
	TRY(to_peer(fd, 1, MSG_OOB));
	TRY(recv(fd, buf, 10, MSG_ERRQUEUE));
	close(fd);
}

static void message(const char *what, long ret, struct msghdr *msg)
{
	struct sockaddr_storage *ss = msg->msg_name;

	if (ret < 0) {
		say("%s -> -1 %s", what, error_name(errno));
		return;
	}
	say("%s -> %ld, flags %x, namelen %u (%s), controllen %zu", what, ret, msg->msg_flags, msg->msg_namelen,
	    ss ? who(ss) : "none", msg->msg_controllen);
	if (msg->msg_flags & MSG_CTRUNC)
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct in_pktinfo info;
		char ifname[IF_NAMESIZE];

		say("  level %d type %d length %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len);
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			memcpy(&info, CMSG_DATA(c), sizeof(info));
			say("  to the subject: %d %d, interface: %d", info.ipi_addr.s_addr == o.local.s_addr,
			    info.ipi_spec_dst.s_addr == o.local.s_addr,
			    info.ipi_ifindex > 1 && if_indextoname((unsigned)info.ipi_ifindex, ifname) != NULL);
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL) {
			say("  ttl %d", *(int *)CMSG_DATA(c));
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
			say("  tos %d", *CMSG_DATA(c));
		} else if (c->cmsg_level == SOL_SOCKET) {
			say("  recent: %d", labs(*(long *)CMSG_DATA(c) - (long)time(NULL)) < 5);
		}
	}
}

static void ancillary(void)
{
	int fd = bound(o.local), port = port_of(fd);
	char control[512];
	struct sockaddr_storage name;
	struct iovec iov = { buf, 100 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	static const int options[][2] = {
		{ IPPROTO_IP, IP_PKTINFO },
		{ IPPROTO_IP, IP_RECVTTL },
		{ IPPROTO_IP, IP_RECVTOS },
		{ SOL_SOCKET, SO_TIMESTAMP },
		{ SOL_SOCKET, SO_TIMESTAMPNS },
	};

	for (unsigned i = 0; i <= COUNT(options); i++) {
		static const size_t rooms[] = { 512, 20, 8, 0 };

		for (unsigned r = 0; r < (i == COUNT(options) ? COUNT(rooms) : 1); r++) {
			msg.msg_name = &name;
			msg.msg_namelen = sizeof(name);
			msg.msg_control = rooms[r] ? control : NULL;
			msg.msg_controllen = rooms[r];
			memset(control, 0, sizeof(control));
			peer("usend %d %d 6", peer_slot, port);
			until(fd, POLLIN);
			message("recvmsg", recvmsg(fd, &msg, 0), &msg);
		}
		if (i < COUNT(options))
			TRY(set_int(fd, options[i][0], options[i][1], 1));
	}
	iov.iov_len = 3;
	msg.msg_name = NULL;
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	peer("usend %d %d 6", peer_slot, port);
	until(fd, POLLIN);
	message("recvmsg, no room", recvmsg(fd, &msg, MSG_PEEK), &msg);
	msg.msg_controllen = sizeof(control);
	message("recvmsg, trunc", recvmsg(fd, &msg, MSG_TRUNC), &msg);
	close(fd);
}

static void sending_ancillary(void)
{
	int fd = bound(o.local);
	char control[64] __attribute__((aligned(8))) = "";
	struct cmsghdr *c = (struct cmsghdr *)control;
	struct sockaddr_in to = addr_of(o.peer, peer_port);
	struct iovec iov = { buf, 5 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_name = &to, .msg_namelen = sizeof(to),
			      .msg_control = control };
	struct in_pktinfo info = { .ipi_spec_dst = o.local };
	static const struct {
		int level, type;
		size_t len;
		int value;
	} cases[] = {
		{ IPPROTO_IP, IP_TTL, 4, 7 },	 { IPPROTO_IP, IP_TTL, 4, 0 },	{ IPPROTO_IP, IP_TTL, 4, 256 },
		{ IPPROTO_IP, IP_TTL, 1, 7 },	 { IPPROTO_IP, IP_TOS, 4, 16 }, { IPPROTO_IP, IP_TOS, 1, 16 },
		{ IPPROTO_IP, IP_TOS, 4, 256 },	 { IPPROTO_IP, 77, 4, 1 },	{ SOL_SOCKET, 77, 4, 1 },
		{ IPPROTO_IPV6, 77, 4, 1 },	 { IPPROTO_TCP, 77, 4, 1 },	{ IPPROTO_IP, IP_PKTINFO, 4, 0 },
		{ SOL_SOCKET, SCM_RIGHTS, 4, 0 },
	};

	for (unsigned i = 0; i < COUNT(cases); i++) {
		*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(cases[i].len), .cmsg_level = cases[i].level,
				       .cmsg_type = cases[i].type };
		memcpy(CMSG_DATA(c), &cases[i].value, sizeof(int));
		msg.msg_controllen = CMSG_SPACE(cases[i].len);
		say("level %d type %d length %zu value %d:", cases[i].level, cases[i].type, cases[i].len, cases[i].value);
		if (TRY(sendmsg(fd, &msg, 0)) > 0)
			say("peer got: %ld", peer("urecv %d", peer_slot));
	}
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(info)), .cmsg_level = IPPROTO_IP, .cmsg_type = IP_PKTINFO };
	memcpy(CMSG_DATA(c), &info, sizeof(info));
	msg.msg_controllen = CMSG_SPACE(sizeof(info));
	TRY(sendmsg(fd, &msg, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	close(fd);
}

static void connected(void)
{
	struct sockaddr_in to = addr_of(o.peer, peer_port), other = addr_of(o.peer, (int)peer("closed-port"));
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int fd = fresh(), second;

	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	names("connected", fd);
	masks("connected", fd);
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(write(fd, "abcd", 4));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	/* from somebody else it takes nothing */
	second = (int)peer("udp");
	peer("usend %d %d 3", second, port_of(fd));
	peer("usend %d %d 5", peer_slot, port_of(fd));
	until(fd, POLLIN);
	GET(recv(fd, buf, 100, 0), buf);
	usleep(20000);
	TRY(recv(fd, buf, 100, MSG_DONTWAIT));
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(shutdown(fd, SHUT_WR));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	masks("sending shut", fd);
	TRY(shutdown(fd, SHUT_RD));
	masks("all shut", fd);
	TRY(recv(fd, buf, 1, 0));
	TRY(recv(fd, buf, 1, MSG_DONTWAIT));
	close(fd);

	fd = fresh();
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(connect(fd, &none, sizeof(none)));
	names("dissolved", fd);
	TRY(send(fd, "x", 1, 0));
	TRY(connect(fd, (struct sockaddr *)&to, 3));
	TRY(connect(fd, (struct sockaddr *)&other, sizeof(other)));
	TRY(shutdown(fd, 9));
	TRY(listen(fd, 1));
	TRY(accept(fd, NULL, NULL));
	close(fd);
	fd = fresh();
	TRY(shutdown(fd, SHUT_RD));
	close(fd);
}

/* A port that nobody has: the ICMP error is the next call's. */
static void refused(void)
{
	struct sockaddr_in to = addr_of(o.peer, (int)peer("closed-port"));
	socklen_t len = sizeof(int);
	int fd = fresh(), err = -1;

	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(send(fd, "x", 1, 0));
	until(fd, POLLERR);
	masks("refused", fd);
	TRY(recv(fd, buf, 1, MSG_DONTWAIT));
	TRY(recv(fd, buf, 1, MSG_DONTWAIT));
	TRY(send(fd, "x", 1, 0));
	until(fd, POLLERR);
	TRY(send(fd, "x", 1, 0));
	TRY(send(fd, "x", 1, 0));
	until(fd, POLLERR);
	TRY(getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len));
	say("SO_ERROR %s", error_name(err));
	close(fd);
	/* not connected: no error */
	fd = bound(o.local);
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
	usleep(50000);
	masks("not connected", fd);
	TRY(recv(fd, buf, 1, MSG_DONTWAIT));
	close(fd);
}

static void wrong_arguments(void)
{
	struct sockaddr_in to = addr_of(o.peer, peer_port);
	struct sockaddr_in6 to6 = { .sin6_family = AF_INET6 };
	int fd = bound(o.local);

	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, 15));
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, 1));
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, 0));
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to6, sizeof(to6)));
	TRY(sendto(fd, "x", 1, 0, NULL, 0));
	to.sin_family = AF_UNIX;
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
	to.sin_family = AF_UNSPEC;
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
	to.sin_family = AF_INET;
	to.sin_port = 0;
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)));
	TRY(bind(fd, (struct sockaddr *)&to, sizeof(to)));
	close(fd);
}

static void waiting(void)
{
	int fd = bound(o.local), port = port_of(fd);
	struct timeval tv = { 0, 200000 };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	long ms;

	peer("later 100 usend %d %d 4", peer_slot, port);
	GET(recvfrom(fd, buf, 100, 0, (struct sockaddr *)&ss, &len), buf);
	name_of("from", 0, &ss, &len);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	elapsed();
	TRY(recv(fd, buf, 100, 0));
	ms = elapsed();
	say("after the time: %d", ms >= 190 && ms < 1500);
	on_signal(SIGALRM, 0);
	ualarm(50000, 0);
	TRY(recv(fd, buf, 100, 0));
	close(fd);
}

static void wildcard(void)
{
	int fd = bound((struct in_addr){ INADDR_ANY }), port = port_of(fd), other = fresh();
	struct sockaddr_in self = addr_of((struct in_addr){ htonl(INADDR_LOOPBACK) }, port);
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	names("wildcard", fd);
	peer("usend %d %d 5", peer_slot, port);
	until(fd, POLLIN);
	GET(recvfrom(fd, buf, 100, 0, (struct sockaddr *)&ss, &len), buf);
	name_of("from", 0, &ss, &len);
	TRY(sendto(fd, "abc", 3, 0, (struct sockaddr *)&ss, len));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	/* loopback is the kernel's side */
	TRY(sendto(other, "abcdef", 6, 0, (struct sockaddr *)&self, sizeof(self)));
	until(fd, POLLIN);
	masks("from loopback", fd);
	len = sizeof(ss);
	GET(recvfrom(fd, buf, 100, 0, (struct sockaddr *)&ss, &len), buf);
	name_of("from", 0, &ss, &len);
	TRY(sendto(fd, "abc", 3, 0, (struct sockaddr *)&ss, len));
	GET(recv(other, buf, 100, 0), buf);
	TRY(recv(fd, buf, 100, MSG_DONTWAIT));
	/* both at once: both arrive */
	sendto(other, "abcdef", 6, 0, (struct sockaddr *)&self, sizeof(self));
	peer("usend %d %d 5", peer_slot, port);
	usleep(50000);
	say("both: %d", recv(fd, buf, 100, 0) + recv(fd, buf, 100, 0) == 11);
	TRY(recv(fd, buf, 100, MSG_DONTWAIT));
	close(other);
	close(fd);
}

static void many_messages(void)
{
	int fd = bound(o.local), port = port_of(fd);
	struct sockaddr_in to = addr_of(o.peer, peer_port);
	struct iovec iov[4];
	struct mmsghdr m[4];

	memset(m, 0, sizeof(m));
	for (unsigned i = 0; i < COUNT(m); i++) {
		iov[i] = (struct iovec){ buf + i * 100, i + 1 };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1, .msg_name = &to,
						.msg_namelen = sizeof(to) };
	}
	TRY(sendmmsg(fd, m, 4, 0));
	for (unsigned i = 0; i < COUNT(m); i++)
		say("sent %u, peer got: %ld", m[i].msg_len, peer("urecv %d", peer_slot));
	for (unsigned i = 0; i < 3; i++)
		peer("usend %d %d %u", peer_slot, port, i + 5);
	until(fd, POLLIN);
	usleep(20000);
	for (unsigned i = 0; i < COUNT(m); i++)
		iov[i].iov_len = 100;
	TRY(recvmmsg(fd, m, 4, MSG_DONTWAIT, NULL));
	say("lengths %u %u %u", m[0].msg_len, m[1].msg_len, m[2].msg_len);
	TRY(recvmmsg(fd, m, 4, MSG_DONTWAIT, NULL));
	/* an error behind the first message is the next call's */
	m[1].msg_hdr.msg_iovlen = 2000;
	peer("usend %d %d 6", peer_slot, port);
	until(fd, POLLIN);
	TRY(recvmmsg(fd, m, 4, MSG_DONTWAIT, NULL));
	masks("an error is left", fd);
	peer("usend %d %d 7", peer_slot, port);
	until(fd, POLLIN);
	TRY(recvmmsg(fd, m, 1, MSG_DONTWAIT, NULL));
	TRY(recvmmsg(fd, m, 1, MSG_DONTWAIT, NULL));
	say("length %u", m[0].msg_len);
	close(fd);
}

/* Several calls, one datagram. */
static void gathered(void)
{
	struct sockaddr_in to = addr_of(o.peer, peer_port), self = addr_of((struct in_addr){ htonl(INADDR_LOOPBACK) }, 9);
	int fd = bound(o.local), on = 1;
	socklen_t len = sizeof(on);

	TRY(to_peer(fd, 5, MSG_MORE));
	masks("corked", fd);
	TRY(to_peer(fd, 6, MSG_MORE));
	TRY(to_peer(fd, 0, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(to_peer(fd, 5, MSG_MORE));
	TRY(sendto(fd, "abc", 3, 0, (struct sockaddr *)&self, sizeof(self)));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(to_peer(fd, 5, MSG_MORE));
	TRY(sendto(fd, "abc", 3, 0, NULL, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(to_peer(fd, 40000, MSG_MORE));
	TRY(to_peer(fd, 40000, 0));
	TRY(to_peer(fd, 9, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(set_int(fd, IPPROTO_UDP, UDP_CORK, 1));
	TRY(getsockopt(fd, IPPROTO_UDP, UDP_CORK, &on, &len));
	say("UDP_CORK %d", on);
	TRY(to_peer(fd, 5, 0));
	TRY(to_peer(fd, 7, 0));
	TRY(set_int(fd, IPPROTO_UDP, UDP_CORK, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(send(fd, "abc", 3, MSG_MORE));
	TRY(write(fd, "defg", 4));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(send(fd, "lost", 4, MSG_MORE));
	close(fd);
}

static void prepare(void)
{
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (char)('a' + i % 26);
	peer_slot = (int)peer("udp");
	peer_port = (int)peer("port %d", peer_slot);
}

/* Datagrams in fragments. Not over net_af_packet: its socket puts them together, to frames that its ring has no room for. */
void t_frag(void)
{
	int fd, port;

	prepare();
	fd = bound(o.local);
	port = port_of(fd);
	peer("usend %d %d 5000", peer_slot, port);
	until(fd, POLLIN);
	TRY(recv(fd, buf, 10000, MSG_DONTWAIT));
	peer("usend %d %d 65507", peer_slot, port);
	until(fd, POLLIN);
	TRY(recv(fd, buf, sizeof(buf), MSG_DONTWAIT));
	TRY(to_peer(fd, 65507, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	close(fd);
}

/*
 * connect() and its dissolution give back a port that bind() had not named, and it can be bound anew. How: never bound, its
 * port open, its port named.
 */
static void bound_again(int how, int named)
{
	struct sockaddr_in to = addr_of(o.peer, peer_port), own = addr_of(o.local, how == 2 ? named : 0);
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int fd = fresh();

	if (how)
		TRY(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	TRY(send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(connect(fd, &none, sizeof(none)));
	names("dissolved", fd);
	own = addr_of(o.local, 0);
	TRY(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	names("bound again", fd);
	TRY(bind(fd, (struct sockaddr *)&own, sizeof(own)));
	masks("bound again", fd);
	peer("usend %d %d 5", peer_slot, port_of(fd));
	until(fd, POLLIN);
	GET(recv(fd, buf, 100, 0), buf);
	TRY(to_peer(fd, 4, 0));
	say("peer got: %ld", peer("urecv %d", peer_slot));
	TRY(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	peer("usend %d %d 6", peer_slot, port_of(fd));
	until(fd, POLLIN);
	GET(recv(fd, buf, 100, 0), buf);
	close(fd);
}

void t_ubind(void)
{
	prepare();
	bound_again(0, 0);
	bound_again(1, 0);
	bound_again(2, (int)peer("closed-port"));
}

void t_udp(void)
{
	prepare();
	unbound();
	sizes();
	ancillary();
	sending_ancillary();
	connected();
	refused();
	wrong_arguments();
	waiting();
	wildcard();
	many_messages();
	gathered();
}
