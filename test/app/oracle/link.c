/* SPDX-License-Identifier: BSD-3-Clause */
/* The subject's half: orders to the peer, and connections with it. */
#include <stdarg.h>

#include "oracle.h"

/* fd: of a connection that is looked after meanwhile, -1: none. */
static long tell(int fd, const char *format, va_list args)
{
	struct pollfd p[2] = { { .fd = o.control, .events = POLLIN }, { .fd = fd } };
	char order[256], answer[64] = "";
	int n = vsnprintf(order, sizeof(order), format, args);
	bool ok = send(o.control, order, (size_t)n, 0) == n;

	if (ok && fd >= 0)
		poll(p, 2, -1);
	if (!ok || recv(o.control, answer, sizeof(answer) - 1, 0) <= 0) {
		printf("the peer has gone at '%s'\n", order);
		exit(3);
	}
	return strtol(answer, NULL, 10);
}

long peer(const char *format, ...)
{
	va_list args;
	long ret;

	va_start(args, format);
	ret = tell(-1, format, args);
	va_end(args);
	return ret;
}

long peer_beside(int fd, const char *format, ...)
{
	va_list args;
	long ret;

	va_start(args, format);
	ret = tell(fd, format, args);
	va_end(args);
	return ret;
}

struct sockaddr_in addr_of(struct in_addr ip, int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = ip, .sin_port = htons((uint16_t)port) };
}

int port_of(int fd)
{
	struct sockaddr_in sin = { 0 };
	socklen_t len = sizeof(sin);

	getsockname(fd, (struct sockaddr *)&sin, &len);
	return ntohs(sin.sin_port);
}

static void fail(const char *what)
{
	printf("cannot go on: %s: %s\n", what, strerror(errno));
	exit(3);
}

int listen_on(int backlog)
{
	struct sockaddr_in sin = addr_of(o.local, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) || listen(fd, backlog))
		fail("listen");
	return fd;
}

int connect_out(int *slot)
{
	struct sockaddr_in sin = addr_of(o.peer, (int)peer("listen"));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (struct sockaddr *)&sin, sizeof(sin)))
		fail("connect");
	*slot = (int)peer("accept");
	return fd;
}

/* One thread cannot accept and wait for the peer's connect to return, so the peer connects first: the backlog holds it. */
int accept_in(int *slot)
{
	int l = listen_on(8), fd;
	struct pollfd p = { .fd = l, .events = POLLIN };

	poll(&p, 1, 0);	/* a stack's listener answers from the first wait on */
	*slot = (int)peer("connect %d", port_of(l));
	fd = accept(l, NULL, NULL);
	if (fd < 0)
		fail("accept");
	close(l);
	return fd;
}

bool one_host(void)
{
	return getenv("ORACLE_ONE_HOST");
}

const struct way ways[2] = { { "connected", connect_out }, { "accepted", accept_in } };

unsigned until(int fd, unsigned ev)
{
	struct pollfd p = { .fd = fd, .events = (short)ev };

	if (poll(&p, 1, 3000) == 0)
		say("no %s within 3 s", events(ev));
	return (unsigned short)p.revents;
}

void until_readable(int fd, int n)
{
	int have = 0;

	for (int i = 0; i < 3000; i++) {
		if (!ioctl(fd, FIONREAD, &have) && have >= n)
			return;
		poll(NULL, 0, 1);
	}
	say("only %d of %d bytes within 3 s", have, n);
}

void nonblock(int fd, bool on)
{
	int fl = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK);
}

int set_int(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value));
}

/* Times that it has gone to sleep, if it sleeps now; -1: it runs; -2: there is none. */
static long sleeps(pid_t pid)
{
	char path[64], line[128], state = 0;
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	if (!f)
		return -2;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "State: %c", &state) != 1)
			sscanf(line, "voluntary_ctxt_switches: %ld", &n);
	fclose(f);
	return state == 'S' ? n : -1;
}

/* For 20 looks, and in one and the same sleep: what is asked is how long waits end. */
void until_asleep(pid_t pid)
{
	long last = -1, now;
	int same = 0;

	for (int i = 0; i < 2000 && same < 20; i++, last = now) {
		now = sleeps(pid);
		if (now == -2)
			return;
		same = now >= 0 && now == last ? same + 1 : 0;
		usleep(1000);
	}
}

void to_the_end(int fd, int slot)
{
	char buf[4] = "";

	TRY(send(fd, "def", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	peer("send %d 3", slot);
	GET(recv(fd, buf, 3, MSG_WAITALL), buf);
	close(fd);
	say("peer at end: %ld", peer("take %d", slot));
}
