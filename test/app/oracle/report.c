/* SPDX-License-Identifier: BSD-3-Clause */
/* How observations are printed. */
#include <stdarg.h>

#include "oracle.h"

static const char *section = "";
volatile sig_atomic_t signals;

void begin(const char *name)
{
	section = name;
	printf("== %s\n", name);
}

void say(const char *format, ...)
{
	va_list args;

	printf("%s: ", section);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

const char *error_name(int err)
{
	const char *name = strerrorname_np(err);

	return name ? name : "?";
}

void observe(const char *call, long ret, int err, bool sign)
{
	if (ret < 0)
		say("%s -> %ld %s", call, ret, error_name(err));
	else if (sign)
		say("%s -> %s", call, ret ? ">0" : "0");
	else
		say("%s -> %ld", call, ret);
}

void got(const char *call, long n, int err, const char *buf)
{
	if (n > 0)
		say("%s -> %ld '%.*s'%s", call, n, (int)(n > 40 ? 40 : n), buf, n > 40 ? "..." : "");
	else
		observe(call, n, err, false);
}

const char *events(unsigned ev)
{
	static const struct {
		unsigned bit;
		const char *name;
	} bits[] = {
		{ EPOLLIN, "IN" },	   { EPOLLPRI, "PRI" },	      { EPOLLOUT, "OUT" },	 { EPOLLERR, "ERR" },
		{ EPOLLHUP, "HUP" },	   { POLLNVAL, "NVAL" },      { EPOLLRDNORM, "RDNORM" }, { EPOLLRDBAND, "RDBAND" },
		{ EPOLLWRNORM, "WRNORM" }, { EPOLLWRBAND, "WRBAND" }, { EPOLLRDHUP, "RDHUP" },
	};
	static char text[4][160];
	static unsigned turn;
	char *t = text[turn++ % 4];

	*t = 0;
	for (unsigned i = 0; i < COUNT(bits); i++)
		if (ev & bits[i].bit) {
			strcat(t, *t ? "|" : "");
			strcat(t, bits[i].name);
			ev &= ~bits[i].bit;
		}
	if (ev)
		sprintf(t + strlen(t), "+%x", ev);
	return *t ? t : "0";
}

#define ALL (POLLIN | POLLPRI | POLLOUT | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND | POLLRDHUP)

static const char *select_now(int fd)
{
	static char text[4];
	struct timeval zero = { 0, 0 };
	fd_set sets[3];

	for (int i = 0; i < 3; i++) {
		FD_ZERO(&sets[i]);
		FD_SET(fd, &sets[i]);
	}
	if (select(fd + 1, &sets[0], &sets[1], &sets[2], &zero) < 0)
		return error_name(errno);
	for (int i = 0; i < 3; i++)
		text[i] = FD_ISSET(fd, &sets[i]) ? "rwx"[i] : '-';
	return text;
}

void masks(const char *when, int fd)
{
	struct epoll_event ev = { .events = ALL }, out = { 0 };
	struct pollfd p = { .fd = fd, .events = ALL };
	int ep = epoll_create1(EPOLL_CLOEXEC), n;

	poll(&p, 1, 0);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	n = epoll_wait(ep, &out, 1, 0);
	close(ep);
	say("%s: poll %s select %s epoll %s", when, events((unsigned short)p.revents), select_now(fd),
	    n > 0 ? events(out.events) : n ? error_name(errno) : "0");
}

static const char *who4(struct in_addr ip)
{
	if (ip.s_addr == o.local.s_addr)
		return "subject";
	if (ip.s_addr == o.peer.s_addr)
		return "peer";
	return ip.s_addr ? "other" : "any";
}

const char *who(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	static char text[2][64];
	static unsigned turn;
	char *t = text[turn++ % 2];
	struct in_addr ip;

	if (ss->ss_family == AF_INET)
		snprintf(t, 64, "%s%s", who4(((const struct sockaddr_in *)ss)->sin_addr), in6->sin6_port ? "" : " no port");
	else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
		memcpy(&ip, &in6->sin6_addr.s6_addr[12], 4);
		snprintf(t, 64, "mapped %s%s", who4(ip), in6->sin6_port ? "" : " no port");
	} else if (ss->ss_family == AF_INET6)
		snprintf(t, 64, "%s%s", IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ? "any6" : "other6",
			 in6->sin6_port ? "" : " no port");
	else
		snprintf(t, 64, "family %d", ss->ss_family);
	return t;
}

void name_of(const char *call, int ret, const struct sockaddr_storage *ss, const socklen_t *len)
{
	if (ret < 0)
		say("%s -> -1 %s", call, error_name(errno));
	else
		say("%s -> %s, length %u", call, who(ss), *len);
}

static void count_signal(int sig)
{
	(void)sig;
	signals++;
}

void on_signal(int sig, int flags)
{
	struct sigaction sa = { .sa_handler = count_signal, .sa_flags = flags };

	signals = 0;
	sigaction(sig, &sa, NULL);
}

long elapsed(void)
{
	static struct timespec last;
	struct timespec now;
	long ms;

	clock_gettime(CLOCK_MONOTONIC, &now);
	ms = (now.tv_sec - last.tv_sec) * 1000 + (now.tv_nsec - last.tv_nsec) / 1000000;
	last = now;
	return ms;
}
