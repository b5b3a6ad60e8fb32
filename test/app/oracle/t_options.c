/* SPDX-License-Identifier: BSD-3-Clause */
/* Every option: what it says and what it takes on fresh, connected and accepted sockets, and on datagram sockets. */
#include <linux/filter.h>
#include <netinet/udp.h>

#include "oracle.h"

#define OPT(level, name) { level, name, #name }
static const struct opt {
	int level, name;
	const char *text;
} ints[] = {
	OPT(SOL_SOCKET, SO_REUSEADDR),	OPT(SOL_SOCKET, SO_REUSEPORT),	 OPT(SOL_SOCKET, SO_BROADCAST),
	OPT(SOL_SOCKET, SO_KEEPALIVE),	OPT(SOL_SOCKET, SO_OOBINLINE),	 OPT(SOL_SOCKET, SO_RCVLOWAT),
	OPT(SOL_SOCKET, SO_SNDBUF),	OPT(SOL_SOCKET, SO_RCVBUF),	 OPT(SOL_SOCKET, SO_TIMESTAMP),
	OPT(SOL_SOCKET, SO_TIMESTAMPNS), OPT(IPPROTO_IP, IP_TOS),	 OPT(SOL_SOCKET, SO_PRIORITY),
	OPT(IPPROTO_IP, IP_TTL),
	OPT(IPPROTO_IP, IP_PKTINFO),	OPT(IPPROTO_IP, IP_RECVTTL),	 OPT(IPPROTO_IP, IP_RECVTOS),
	OPT(IPPROTO_IP, IP_MTU_DISCOVER), OPT(IPPROTO_TCP, TCP_NODELAY), OPT(IPPROTO_TCP, TCP_CORK),
	OPT(IPPROTO_TCP, TCP_KEEPIDLE), OPT(IPPROTO_TCP, TCP_KEEPINTVL), OPT(IPPROTO_TCP, TCP_KEEPCNT),
	OPT(IPPROTO_TCP, TCP_SYNCNT),	OPT(IPPROTO_TCP, TCP_LINGER2),	 OPT(IPPROTO_TCP, TCP_DEFER_ACCEPT),
	OPT(IPPROTO_TCP, TCP_USER_TIMEOUT), OPT(IPPROTO_TCP, TCP_NOTSENT_LOWAT),
	OPT(IPPROTO_TCP, TCP_FASTOPEN),
}, facts[] = {
	OPT(SOL_SOCKET, SO_TYPE),	OPT(SOL_SOCKET, SO_DOMAIN),	 OPT(SOL_SOCKET, SO_PROTOCOL),
	OPT(SOL_SOCKET, SO_ERROR),	OPT(SOL_SOCKET, SO_ACCEPTCONN),	 OPT(SOL_SOCKET, SO_SNDLOWAT),
}, off[] = {	/* set by nobody here, so off */
	OPT(SOL_SOCKET, SO_DEBUG),	OPT(SOL_SOCKET, SO_DONTROUTE),
	OPT(SOL_SOCKET, SO_MARK),	OPT(SOL_SOCKET, SO_BSDCOMPAT),	 OPT(SOL_SOCKET, SO_BUSY_POLL),
	OPT(SOL_SOCKET, SO_ZEROCOPY),	OPT(SOL_SOCKET, SO_PEEK_OFF),	 OPT(IPPROTO_IP, IP_RECVERR),
	OPT(IPPROTO_IP, IP_FREEBIND),	OPT(IPPROTO_IP, IP_TRANSPARENT), OPT(IPPROTO_IP, IP_MINTTL),
	OPT(IPPROTO_IP, IP_RECVOPTS),	OPT(IPPROTO_TCP, TCP_FASTOPEN_CONNECT),
	OPT(IPPROTO_TCP, TCP_THIN_DUPACK), OPT(IPPROTO_TCP, TCP_INQ),	 OPT(IPPROTO_UDP, UDP_CORK),
	OPT(IPPROTO_UDP, UDP_GRO),	OPT(IPPROTO_IPV6, IPV6_V6ONLY),	 OPT(SOL_SOCKET, 999),
	OPT(IPPROTO_IP, 99),		OPT(IPPROTO_TCP, 99),		 OPT(99, 1),
};

/* Values that depend on the machine: only whether there is one. */
static bool varies(const struct opt *t)
{
	return t->level == SOL_SOCKET && (t->name == SO_SNDBUF || t->name == SO_RCVBUF);
}

static void show(int fd, const struct opt *t)
{
	socklen_t len = sizeof(int);
	int v = 0, ret = getsockopt(fd, t->level, t->name, &v, &len);

	if (ret)
		say("get %s -> %s", t->text, error_name(errno));
	else if (varies(t))
		say("get %s -> %s, length %u", t->text, v > 0 ? "some" : "none", len);
	else
		say("get %s -> %d, length %u", t->text, v, len);
}

static void set(int fd, const struct opt *t, int v)
{
	socklen_t len = sizeof(int);
	int ret = setsockopt(fd, t->level, t->name, &v, sizeof(v)), err = errno, now = 0;

	if (ret) {
		say("set %s %d -> %s", t->text, v, error_name(err));
		return;
	}
	ret = getsockopt(fd, t->level, t->name, &now, &len);
	/* cut to what a receive buffer may become: a setting of the machine, or of the library */
	if (t->level == SOL_SOCKET && t->name == SO_RCVLOWAT && now > 1000000)
		say("set %s %d -> shows much", t->text, v);
	else
		say("set %s %d -> shows %d", t->text, v, ret ? -errno : now);
}

static void values(int fd)
{
	static const int some[] = { 1, 0, 5, 100, 127, 128, 255, 256, 32767, 32768, 70000, 1000000, -1, -5, INT32_MAX,
				    INT32_MIN };

	for (unsigned i = 0; i < COUNT(ints); i++) {
		show(fd, &ints[i]);
		for (unsigned v = 0; v < COUNT(some); v++)
			set(fd, &ints[i], some[v]);
	}
	for (unsigned i = 0; i < COUNT(facts); i++) {
		show(fd, &facts[i]);
		set(fd, &facts[i], 1);
	}
	for (unsigned i = 0; i < COUNT(off); i++)
		show(fd, &off[i]);
}

static void lengths(int fd, int level, int name, const char *text)
{
	static const socklen_t rooms[] = { 0, 1, 2, 3, 4, 8, 16, (socklen_t)-1 };

	for (unsigned i = 0; i < COUNT(rooms); i++) {
		unsigned char v[16] = { 1 };
		socklen_t len = rooms[i];
		int ret = setsockopt(fd, level, name, v, rooms[i] > 16 ? rooms[i] : rooms[i]), err = errno;

		memset(v, 0x55, sizeof(v));
		say("%s length %d: set %s", text, (int)rooms[i], ret ? error_name(err) : "0");
		ret = getsockopt(fd, level, name, v, &len);
		if (ret)
			say("%s length %d: get %s", text, (int)rooms[i], error_name(errno));
		else
			say("%s length %d: get length %u, bytes %02x %02x %02x %02x %02x", text, (int)rooms[i], len, v[0],
			    v[1], v[2], v[3], v[4]);
	}
	TRY(setsockopt(fd, level, name, NULL, 4));
	TRY(getsockopt(fd, level, name, NULL, &(socklen_t){ 4 }));
	TRY(getsockopt(fd, level, name, &(int){ 0 }, NULL));
}

static void timeouts(int fd)
{
	static const struct timeval tvs[] = { { 0, 1 }, { 1, 500000 }, { 0, 1000000 }, { 0, -1 }, { -1, 0 }, { 0, 0 },
					      { 1000000, 0 } };

	for (unsigned i = 0; i < COUNT(tvs); i++)
		for (int which = 0; which < 2; which++) {
			int name = which ? SO_SNDTIMEO : SO_RCVTIMEO;
			struct timeval tv = { 9, 9 };
			socklen_t len = sizeof(tv);
			int ret = setsockopt(fd, SOL_SOCKET, name, &tvs[i], sizeof(tvs[i])), err = errno;

			getsockopt(fd, SOL_SOCKET, name, &tv, &len);
			say("timeout %ld.%06ld: %s, shows %ld.%06ld", (long)tvs[i].tv_sec, (long)tvs[i].tv_usec,
			    ret ? error_name(err) : "0", (long)tv.tv_sec, (long)tv.tv_usec);
		}
	lengths(fd, SOL_SOCKET, SO_RCVTIMEO, "SO_RCVTIMEO");
}

static void lingers(int fd)
{
	static const struct linger ls[] = { { 1, 5 }, { 0, 7 }, { 1, 0 }, { 0, 0 }, { 5, 100000 }, { 0, 0 } };

	for (unsigned i = 0; i < COUNT(ls); i++) {
		struct linger l = { 9, 9 };
		socklen_t len = sizeof(l);
		int ret = setsockopt(fd, SOL_SOCKET, SO_LINGER, &ls[i], sizeof(l));

		getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &len);
		say("linger %d %d: %d, shows %d %d", ls[i].l_onoff, ls[i].l_linger, ret, l.l_onoff, l.l_linger);
	}
	lengths(fd, SOL_SOCKET, SO_LINGER, "SO_LINGER");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 0, 0 }, sizeof(struct linger));
}

static void strings(int fd)
{
	char name[32] = "";
	socklen_t len;

	TRY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
	len = sizeof(name);
	TRY(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
	say("%s, length %u", name, len);
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic\0x", 7));
	len = 3;
	TRY(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len));
	say("%.3s, length %u", name, len);
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "no such", 7));
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "", 0));
	len = sizeof(name);
	TRY(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len));
	say("length %u", len);
}

static void info(int fd)
{
	struct tcp_info ti;
	socklen_t len = sizeof(ti);

	memset(&ti, 0, sizeof(ti));
	TRY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len));
	say("length %u, state %u, ca %u, retransmits %u, unacked %u", len, ti.tcpi_state, ti.tcpi_ca_state,
	    ti.tcpi_retransmits, ti.tcpi_unacked);
	/* on one host they are its own affair */
	if (!one_host())
		say("options %s%s%s, mss %d", ti.tcpi_options & TCPI_OPT_TIMESTAMPS ? "ts " : "",
		    ti.tcpi_options & TCPI_OPT_SACK ? "sack " : "", ti.tcpi_options & TCPI_OPT_WSCALE ? "wscale" : "",
		    (int)ti.tcpi_snd_mss);
	len = 1;
	TRY(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len));
	say("length %u", len);
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, sizeof(ti)));
}

static void only_connected(int fd)
{
	static const struct opt some[] = { OPT(IPPROTO_IP, IP_MTU), OPT(IPPROTO_TCP, TCP_MAXSEG),
					   OPT(IPPROTO_TCP, TCP_QUICKACK) };

	show(fd, &some[0]);
	if (!one_host())
		show(fd, &some[1]);
	set(fd, &some[0], 1);
	TRY(set_int(fd, IPPROTO_TCP, TCP_MAXSEG, 87));
	TRY(set_int(fd, IPPROTO_TCP, TCP_MAXSEG, 1000));
	TRY(set_int(fd, IPPROTO_TCP, TCP_MAXSEG, 32768));
	set(fd, &some[2], 1);
	set(fd, &some[2], 0);
}

static void all_of(int fd, bool stream)
{
	values(fd);
	lengths(fd, SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE");
	lengths(fd, IPPROTO_IP, IP_TTL, "IP_TTL");
	lengths(fd, IPPROTO_IP, IP_TOS, "IP_TOS");
	lengths(fd, IPPROTO_IP, IP_PKTINFO, "IP_PKTINFO");
	lengths(fd, IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY");
	lengths(fd, SOL_SOCKET, SO_TYPE, "SO_TYPE");
	lengths(fd, SOL_SOCKET, 999, "unknown");
	timeouts(fd);
	lingers(fd);
	if (stream)
		strings(fd);
}

/* What the kernel alone can do decides for it (reasons.sh says so too); what it refuses does not. */
static void kernels_own(void)
{
	struct sock_filter all[] = { BPF_STMT(BPF_RET | BPF_K, 0xffff) }, nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog program = { 1, all }, drop = { 1, nothing }, none = { 0, all };
	struct sockaddr_in lo = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c;
	socklen_t len = sizeof(lo);
	char buf[8];

	bind(l, (struct sockaddr *)&lo, len);
	listen(l, 5);
	getsockname(l, (struct sockaddr *)&lo, &len);
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "no such", 7));
	TRY(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){ 0 }, sizeof(int)));
	TRY(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &none, sizeof(none)));
	TRY(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, 3));
	TRY(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)));
	TRY(connect(fd, (struct sockaddr *)&lo, sizeof(lo)));
	c = accept(l, NULL, NULL);
	TRY(send(c, "abc", 3, 0));
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "no such", 7));
	TRY(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &drop, sizeof(drop)));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0, 50000 }, sizeof(struct timeval));
	TRY(send(c, "def", 3, 0));
	GET(recv(fd, buf, sizeof(buf), 0), buf);
	TRY(setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){ 0 }, sizeof(int)));
	close(fd);
	close(c);
	close(l);
}

void t_options(void)
{
	int slot, fd;
	struct sockaddr_in sin = addr_of(o.local, 0);

	say("-- fresh");
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	all_of(fd, true);
	close(fd);
	for (unsigned i = 0; i < COUNT(ways); i++) {
		say("-- %s", ways[i].name);
		fd = ways[i].make(&slot);
		info(fd);
		only_connected(fd);
		all_of(fd, true);
		close(fd);
	}
	say("-- the kernel's own");
	kernels_own();
	say("-- datagrams");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	TRY(bind(fd, (struct sockaddr *)&sin, sizeof(sin)));
	all_of(fd, false);
	close(fd);
}
