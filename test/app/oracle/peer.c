/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peer: obeys one order at a time and answers with a number. It never runs under libfastnet. What it sends is the
 * alphabet over and over; an order that sends answers when everything has been acknowledged, so that the subject needs
 * no waiting by time.
 */
#include <linux/sockios.h>
#include <sys/un.h>

#include "oracle.h"

#define SLOTS 32

static struct {
	int fd;
	unsigned sent, read;	/* bytes, for the pattern */
	struct sockaddr_in from;	/* of the last datagram */
} slot[SLOTS];
static int listener = -1;
static struct in_addr own_ip, subject_ip;

static long keep(int fd)
{
	for (int i = 0; i < SLOTS; i++)
		if (slot[i].fd < 0) {
			slot[i].fd = fd;
			slot[i].sent = slot[i].read = 0;
			return i;
		}
	return -1;
}

static int bound(int type)
{
	struct sockaddr_in sin = addr_of(own_ip, 0);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)))
		perror("peer: bind");
	return fd;
}

/* Until the subject's side has acknowledged what was sent. */
static void drain(int fd)
{
	int left = 1;

	for (int i = 0; i < 3000 && left; i++) {
		if (ioctl(fd, SIOCOUTQ, &left))
			return;
		if (left)
			usleep(1000);
	}
}

/* Until our FIN is acknowledged. */
static void drain_fin(int fd)
{
	struct tcp_info info = { .tcpi_state = TCP_FIN_WAIT1 };
	socklen_t len = sizeof(info);

	for (int i = 0; i < 3000; i++) {
		if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) || (info.tcpi_state != TCP_FIN_WAIT1 &&
		    info.tcpi_state != TCP_LAST_ACK && info.tcpi_state != TCP_CLOSING))
			return;
		usleep(1000);
	}
}

static long do_listen(long a, long b)
{
	(void)a, (void)b;
	close(listener);
	listener = bound(SOCK_STREAM);
	listen(listener, 16);
	return port_of(listener);
}

static long do_accept(long a, long b)
{
	struct timeval tv = { 3, 0 };
	int fd;

	(void)a, (void)b;
	setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? -errno : keep(fd);
}

static long do_connect(long port, long b)
{
	struct sockaddr_in sin = addr_of(subject_ip, (int)port);
	/* on one host a client that is bound would be the kernel's, and its address need not tell it from the subject */
	int fd = one_host() ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : bound(SOCK_STREAM), err;
	struct timeval tv = { 5, 0 };

	(void)b;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (!connect(fd, (struct sockaddr *)&sin, sizeof(sin)))
		return keep(fd);
	err = errno;
	close(fd);
	return -err;
}

/* A port that nobody listens on: one that was free a moment ago. */
static long do_closed_port(long a, long b)
{
	int fd = bound(SOCK_STREAM);
	long port = port_of(fd);

	(void)a, (void)b;
	close(fd);
	return port;
}

static long do_send(long s, long n)
{
	static char buf[65536];
	long done = 0;

	while (done < n) {
		long part = n - done < (long)sizeof(buf) ? n - done : (long)sizeof(buf);

		for (long i = 0; i < part; i++)
			buf[i] = (char)('a' + (slot[s].sent + (unsigned)i) % 26);
		part = send(slot[s].fd, buf, (size_t)part, 0);
		if (part < 0)
			return -errno;
		slot[s].sent += (unsigned)part;
		done += part;
	}
	drain(slot[s].fd);
	return done;
}

static long do_oob(long s, long c)
{
	char ch = (char)c;
	long n = send(slot[s].fd, &ch, 1, MSG_OOB);

	drain(slot[s].fd);
	return n;
}

/* n bytes, or fewer at the end; -1000: not the pattern. */
static long do_recv(long s, long n)
{
	static char buf[65536];
	long done = 0;

	while (done < n) {
		long want = n - done < (long)sizeof(buf) ? n - done : (long)sizeof(buf);
		long part = recv(slot[s].fd, buf, (size_t)want, 0);

		if (part < 0)
			return -errno;
		for (long i = 0; i < part; i++)
			if (buf[i] != (char)('a' + (slot[s].read + (unsigned)i) % 26))
				return -1000;
		if (!part)
			break;
		slot[s].read += (unsigned)part;
		done += part;
	}
	return done;
}

/* One recv, whatever comes: its length, 0 at the end of file, -errno. */
static long do_take(long s, long n)
{
	static char buf[1 << 20];
	long got = recv(slot[s].fd, buf, n && n < (long)sizeof(buf) ? (size_t)n : sizeof(buf), 0);

	return got < 0 ? -errno : got;
}

static long do_shut(long s, long b)
{
	int ret = shutdown(slot[s].fd, SHUT_WR);

	(void)b;
	drain_fin(slot[s].fd);
	return ret ? -errno : 0;
}

static long do_close(long s, long b)
{
	(void)b;
	shutdown(slot[s].fd, SHUT_WR);
	drain_fin(slot[s].fd);
	close(slot[s].fd);
	slot[s].fd = -1;
	return 0;
}

static long do_rst(long s, long b)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };

	(void)b;
	connect(slot[s].fd, &none, sizeof(none));	/* resets at once, even if a child has the descriptor too */
	close(slot[s].fd);
	slot[s].fd = -1;
	return 0;
}

static long do_rcvbuf(long s, long n)
{
	return set_int(s < 0 ? listener : slot[s].fd, SOL_SOCKET, SO_RCVBUF, (int)n);
}

static long do_udp(long a, long b)
{
	(void)a, (void)b;
	return keep(bound(SOCK_DGRAM));
}

static long do_port(long s, long b)
{
	(void)b;
	return port_of(slot[s].fd);
}

/* A datagram of n bytes to the subject's port, or to where the last one came from when there is none. */
static long usend(long s, long port, long n)
{
	struct sockaddr_in to = port ? addr_of(subject_ip, (int)port) : slot[s].from;
	static char buf[65536];

	for (long i = 0; i < n; i++)
		buf[i] = (char)('a' + i % 26);
	return sendto(slot[s].fd, buf, (size_t)n, 0, (struct sockaddr *)&to, sizeof(to)) < 0 ? -errno : n;
}

static long do_urecv(long s, long b)
{
	static char buf[65536];
	struct timeval tv = { 3, 0 };
	socklen_t len = sizeof(slot[s].from);
	long n;

	(void)b;
	setsockopt(slot[s].fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	n = recvfrom(slot[s].fd, buf, sizeof(buf), 0, (struct sockaddr *)&slot[s].from, &len);
	return n < 0 ? -errno : n;
}

static long do_uclose(long s, long b)
{
	(void)b;
	close(slot[s].fd);
	slot[s].fd = -1;
	return 0;
}

static long do_reset(long a, long b)
{
	(void)a, (void)b;
	for (int i = 0; i < SLOTS; i++)
		if (slot[i].fd >= 0) {
			close(slot[i].fd);
			slot[i].fd = -1;
		}
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	return 0;
}

static const struct {
	const char *verb;
	long (*run)(long a, long b);
} orders[] = {
	{ "listen", do_listen }, { "accept", do_accept }, { "connect", do_connect }, { "closed-port", do_closed_port },
	{ "send", do_send },	 { "oob", do_oob },	  { "recv", do_recv },	     { "take", do_take },
	{ "shut", do_shut },	 { "close", do_close },	  { "rst", do_rst },	     { "rcvbuf", do_rcvbuf },
	{ "udp", do_udp },	 { "port", do_port },	  { "urecv", do_urecv },     { "uclose", do_uclose },
	{ "reset", do_reset },
};

static long obey(const char *text)
{
	long a = 0, b = 0, c = 0;
	char verb[32] = "";
	int at = 0;

	/* "later MS ORDER": a child does it, on the same descriptors */
	if (sscanf(text, "later %ld %n", &a, &at) == 1 && at) {
		if (fork())
			return 0;
		usleep((unsigned)a * 1000);
		obey(text + at);
		_exit(0);
	}
	sscanf(text, "%31s %ld %ld %ld", verb, &a, &b, &c);
	if (!strcmp(verb, "usend"))
		return usend(a, b, c);
	for (unsigned i = 0; i < COUNT(orders); i++)
		if (!strcmp(verb, orders[i].verb))
			return orders[i].run(a, b);
	fprintf(stderr, "peer: unknown order '%s'\n", text);
	return -1;
}

int run_peer(const char *path, struct in_addr own, struct in_addr subject)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), control;
	char order[256];
	long n;

	own_ip = own;
	subject_ip = subject;
	for (int i = 0; i < SLOTS; i++)
		slot[i].fd = -1;
	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	unlink(path);
	if (bind(l, (struct sockaddr *)&sun, sizeof(sun)) || listen(l, 1)) {
		perror(path);
		return 2;
	}
	control = accept4(l, NULL, NULL, SOCK_CLOEXEC);
	while ((n = recv(control, order, sizeof(order) - 1, 0)) > 0) {
		char answer[32];

		order[n] = 0;
		n = snprintf(answer, sizeof(answer), "%ld", obey(order));
		send(control, answer, (size_t)n, 0);
	}
	return 0;
}
