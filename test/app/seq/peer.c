/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peer: obeys one order at a time, never under libfastnet. Its connections are slots, numbered as they come: those
 * that it accepts and those that it makes. At every marker it accepts, reads all there is, acknowledges at once, and
 * answers the marker; "report" tells what has happened to its slots since the last one.
 */
#include <linux/sockios.h>
#include <stdarg.h>

#include "seq.h"

#define SLOTS	64
#define NEWS	512

static struct slot {
	int fd;
	bool hold;		/* is not read */
	bool connecting, over;
	unsigned sent;		/* bytes, for the pattern */
	long got;		/* bytes since the last report, and their checksum */
	uint32_t crc;
	char news[NEWS];	/* since the last report */
} slot[SLOTS];
static int slots, listener, datagrams, marks, control = -1;
static struct in_addr own_ip, subject_ip;
static struct sockaddr_in from;	/* of the last datagram */
static char datagram_news[NEWS], buf[65536];

/* In the order of slots, datagrams last: what happened first on which of several connections is left open. */
static void tell(int i, const char *format, ...)
{
	char *to = i < 0 ? datagram_news : slot[i].news;
	size_t n = strlen(to);
	va_list args;

	va_start(args, format);
	vsnprintf(to + n, NEWS - n, format, args);
	va_end(args);
}

static int bound(int type)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = own_ip };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)))
		perror("peer: bind");
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_in sin = { 0 };
	socklen_t len = sizeof(sin);

	getsockname(fd, (struct sockaddr *)&sin, &len);
	return ntohs(sin.sin_port);
}

static int keep(int fd, bool connecting)
{
	int on = 1;

	if (slots == SLOTS) {
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	slot[slots] = (struct slot){ .fd = fd, .connecting = connecting };
	return slots++;
}

/* ---- what has happened ---- */

static void look_at_connect(int i)
{
	struct pollfd p = { .fd = slot[i].fd, .events = POLLOUT };
	int err = 0;
	socklen_t len = sizeof(err);

	if (poll(&p, 1, 0) <= 0)
		return;
	getsockopt(slot[i].fd, SOL_SOCKET, SO_ERROR, &err, &len);
	slot[i].connecting = false;
	slot[i].over = err;
	tell(i, " s%d %s", i, err ? error_name(err) : "connected");
}

#define MUCH	32768	/* what a fabric's window may have cut: its end comes to who waits for it (unsent.c) */
#define MUCH_MS	50

static void drain(int i)
{
	struct slot *s = &slot[i];
	struct pollfd p = { .fd = s->fd, .events = POLLIN };
	long got = s->got;
	ssize_t n;

	do {
		while ((n = recv(s->fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
			s->crc = crc32(s->crc, buf, (size_t)n);
			s->got += n;
		}
	} while (n < 0 && errno == EAGAIN && s->got - got >= MUCH && poll(&p, 1, MUCH_MS) > 0);
	if (n < 0 && errno == EAGAIN)
		return;
	s->over = true;
	if (s->got)
		tell(i, " s%d +%ld %08x", i, s->got, s->crc);
	s->got = 0;
	s->crc = 0;
	tell(i, " s%d %s", i, n ? error_name(errno) : "EOF");
}

static void datagram(void)
{
	socklen_t len = sizeof(from);
	ssize_t n;

	while ((n = recvfrom(datagrams, buf, sizeof(buf), MSG_DONTWAIT, (struct sockaddr *)&from, &len)) >= 0)
		tell(-1, " datagram %zd %08x", n, crc32(0, buf, (size_t)n));
}

static void look(void)
{
	int on = 1, fd, i;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		if ((i = keep(fd, false)) >= 0)
			tell(i, " s%d accepted", i);
	for (i = 0; i < slots; i++) {
		if (slot[i].fd < 0)
			continue;
		if (slot[i].connecting)
			look_at_connect(i);
		if (!slot[i].connecting && !slot[i].over && !slot[i].hold)
			drain(i);
		setsockopt(slot[i].fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));	/* what waits goes now */
	}
	datagram();
}

static void marker(void)
{
	struct sockaddr_in to;
	socklen_t len = sizeof(to);
	uint32_t number;

	while (recvfrom(marks, &number, sizeof(number), MSG_DONTWAIT, (struct sockaddr *)&to, &len) == sizeof(number)) {
		look();
		sendto(marks, &number, sizeof(number), 0, (struct sockaddr *)&to, sizeof(to));
	}
}

/* ---- orders ---- */

static long result(long ret)
{
	return ret < 0 ? -errno : ret;
}

static long do_send(int i, long n)
{
	if (n > (long)sizeof(buf))
		n = sizeof(buf);
	for (long k = 0; k < n; k++)
		buf[k] = (char)('a' + (slot[i].sent + (unsigned)k) % 26);
	n = send(slot[i].fd, buf, (size_t)n, MSG_NOSIGNAL);
	if (n > 0)
		slot[i].sent += (unsigned)n;
	return result(n);
}

static long do_oob(int i, long n)
{
	(void)n;
	slot[i].sent++;
	return result(send(slot[i].fd, "!", 1, MSG_OOB | MSG_NOSIGNAL));
}

static long do_shut(int i, long n)
{
	(void)n;
	return result(shutdown(slot[i].fd, SHUT_WR));
}

static long do_close(int i, long n)
{
	(void)n;
	close(slot[i].fd);
	slot[i].fd = -1;
	return 0;
}

static long do_rst(int i, long n)
{
	struct linger l = { 1, 0 };

	setsockopt(slot[i].fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	return do_close(i, n);
}

static long do_hold(int i, long n)
{
	slot[i].hold = n;
	return 0;
}

static long do_connect(long port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = subject_ip, .sin_port = htons((uint16_t)port) };
	int fd = bound(SOCK_STREAM), ret = connect(fd, (struct sockaddr *)&to, sizeof(to));

	if (ret && errno != EINPROGRESS) {
		close(fd);
		return -errno;
	}
	return keep(fd, true);
}

/* A datagram to a port of the subject's, or without one to where the last one came from. */
static long do_datagram(long port, long n)
{
	struct sockaddr_in to = from;

	if (port)
		to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = subject_ip, .sin_port = htons((uint16_t)port) };
	for (long k = 0; k < n && k < (long)sizeof(buf); k++)
		buf[k] = (char)('a' + k % 26);
	return result(sendto(datagrams, buf, (size_t)n, 0, (struct sockaddr *)&to, sizeof(to)));
}

static void do_reset(void)
{
	for (int i = 0; i < slots; i++)
		if (slot[i].fd >= 0)
			do_rst(i, 0);
	slots = 0;
	look();		/* what is in the backlog */
	for (int i = 0; i < slots; i++)
		do_rst(i, 0);
	slots = 0;
	from = (struct sockaddr_in){ 0 };
	*datagram_news = 0;
}

static const struct {
	const char *verb;
	long (*run)(int i, long n);
} orders[] = {
	{ "send", do_send }, { "oob", do_oob }, { "shut", do_shut }, { "close", do_close }, { "rst", do_rst },
	{ "hold", do_hold },
};

static long obey(const char *verb, long a, long b)
{
	if (!strcmp(verb, "connect"))
		return do_connect(a);
	if (!strcmp(verb, "datagram"))
		return do_datagram(a, b);
	if (!strcmp(verb, "reset"))
		return do_reset(), 0;
	if (a < 0 || a >= slots || slot[a].fd < 0)
		return -EBADF;
	for (unsigned i = 0; i < COUNT(orders); i++)
		if (!strcmp(orders[i].verb, verb))
			return orders[i].run((int)a, b);
	return -ENOSYS;
}

/* What a listener has not answered when everything is quiet it has dropped; tried again it would be, a second later. */
static void give_up(int i)
{
	tell(i, " s%d unanswered", i);
	close(slot[i].fd);
	slot[i].fd = -1;
	slot[i].connecting = false;
}

static void report(void)
{
	char text[2048] = "";

	for (int i = 0; i <= slots; i++) {
		char *news = i < slots ? slot[i].news : datagram_news;

		if (i < slots && slot[i].fd >= 0 && slot[i].connecting)
			give_up(i);
		if (i < slots && slot[i].got) {
			tell(i, " s%d +%ld %08x", i, slot[i].got, slot[i].crc);
			slot[i].got = 0;
			slot[i].crc = 0;
		}
		strncat(text, news, sizeof(text) - strlen(text) - 1);
		*news = 0;
	}
	send(control, *text ? text : "-", *text ? strlen(text) : 1, 0);
}

static void answer(const char *order)
{
	char verb[32] = "", text[64];
	long a = 0, b = 0, ret;

	sscanf(order, "%31s %ld %ld", verb, &a, &b);
	if (!strcmp(verb, "report")) {
		report();
		return;
	}
	if (!strcmp(verb, "hello")) {
		snprintf(text, sizeof(text), "%d %d %d", port_of(listener), port_of(datagrams), port_of(marks));
	} else {
		ret = obey(verb, a, b);
		snprintf(text, sizeof(text), ret < 0 ? "-1 %s" : "%s", error_name((int)-ret));
		if (ret >= 0)
			snprintf(text, sizeof(text), "%ld", ret);
	}
	send(control, text, strlen(text), 0);
}

static int open_door(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int l = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	unlink(path);
	if (bind(l, (struct sockaddr *)&sun, sizeof(sun)) || listen(l, 1)) {
		perror(path);
		exit(2);
	}
	return l;
}

/* One subject after the other: the one before is over with its connection, or when a new one dials, whoever holds it. */
static void part(int next)
{
	if (control >= 0) {
		close(control);
		do_reset();
	}
	control = next;
}

static void order(void)
{
	char text[256];
	ssize_t n = recv(control, text, sizeof(text) - 1, MSG_DONTWAIT);

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0) {
		part(-1);
		return;
	}
	text[n] = 0;
	answer(text);
}

static void serve(int door)
{
	struct pollfd p[3] = { { .fd = control, .events = POLLIN }, { .fd = marks, .events = POLLIN },
			       { .fd = door, .events = POLLIN } };

	poll(p, 3, -1);
	if (p[1].revents)
		marker();
	if (p[0].revents)
		order();
	if (p[2].revents)
		part(accept4(door, NULL, NULL, SOCK_CLOEXEC));
}

int run_peer(const char *path, struct in_addr own, struct in_addr subject, int cpu)
{
	int door;

	pin(cpu);
	own_ip = own;
	subject_ip = subject;
	listener = bound(SOCK_STREAM);
	listen(listener, 64);
	datagrams = bound(SOCK_DGRAM);
	marks = bound(SOCK_DGRAM);
	door = open_door(path);
	for (;;)
		serve(door);
}
