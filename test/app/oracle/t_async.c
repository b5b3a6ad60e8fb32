/* SPDX-License-Identifier: BSD-3-Clause */
/* Signals that events send: O_ASYNC with SIGIO or F_SETSIG's, SIGURG, owners, listeners and datagrams. */
#include "oracle.h"

static struct {
	int sig, fd;
	long band;
} seen[64];
static volatile sig_atomic_t count;
static char buf[256];

static void note(int sig, siginfo_t *info, void *ctx)
{
	(void)ctx;
	if (count < (int)COUNT(seen)) {
		seen[count].sig = sig;
		seen[count].band = sig == SIGIO || sig == SIGURG ? 0 : info->si_band;
		seen[count].fd = sig == SIGIO || sig == SIGURG ? -1 : info->si_fd;
		count++;
	}
}

static const char *signal_name(int sig)
{
	return sig == SIGIO ? "SIGIO" : sig == SIGURG ? "SIGURG" : sig == SIGRTMIN ? "SIGRTMIN" : "other";
}

/* What came, when at least `want` have, or nothing has for 3 s; without a wait in the library's own calls. */
static void came(const char *what, int fd, int want)
{
	for (int i = 0; i < 3000 && count < want; i++)
		usleep(1000);
	usleep(20000);
	say("%s: %d", what, (int)count);
	for (int i = 0; i < count; i++)
		say("  %s, band %s, its descriptor: %d", signal_name(seen[i].sig), events((unsigned)seen[i].band),
		    seen[i].fd == fd);
	count = 0;
}

static void catch(int sig)
{
	struct sigaction sa = { .sa_sigaction = note, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigaction(sig, &sa, NULL);
}

static void connection(const struct way *way)
{
	int slot, fd = way->make(&slot), fl = fcntl(fd, F_GETFL);

	say("%s", way->name);
	peer("send %d 5", slot);
	came("no owner, no flag", fd, 0);
	TRY(fcntl(fd, F_SETFL, fl | O_ASYNC));
	peer("send %d 5", slot);
	came("no owner", fd, 0);
	TRY(fcntl(fd, F_SETOWN, getpid()));
	peer("send %d 5", slot);
	came("data", fd, 1);
	TRY(fcntl(fd, F_SETSIG, SIGRTMIN));
	peer("send %d 5", slot);
	came("data", fd, 1);
	GET(recv(fd, buf, sizeof(buf), MSG_DONTWAIT), buf);
	TRY(send(fd, "x", 1, 0));
	came("after a send", fd, 0);
	TRY(fcntl(fd, F_SETFL, fl));
	peer("send %d 5", slot);
	came("no flag", fd, 0);
	peer("oob %d", slot);
	came("urgent data", fd, 1);
	TRY(fcntl(fd, F_SETFL, fl | O_ASYNC));
	recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	peer("shut %d", slot);
	came("the peer's end", fd, 1);
	close(fd);
}

static void reset(void)
{
	int slot, fd = connect_out(&slot);
	struct f_owner_ex ex = { F_OWNER_TID, (int)gettid() };

	TRY(fcntl(fd, F_SETOWN_EX, &ex));
	TRY(fcntl(fd, F_SETSIG, SIGRTMIN));
	TRY(fcntl(fd, F_SETFL, O_ASYNC));
	peer("rst %d", slot);
	came("reset, to a thread", fd, 1);
	close(fd);
}

/* Owner and flag from before the connection. */
static void connecting(void)
{
	struct sockaddr_in sin = addr_of(o.peer, (int)peer("listen"));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), slot;

	TRY(fcntl(fd, F_SETOWN, getpid()));
	TRY(fcntl(fd, F_SETSIG, SIGRTMIN));
	TRY(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK));
	connect(fd, (struct sockaddr *)&sin, sizeof(sin));	/* may be through at once */
	slot = (int)peer("accept");
	came("connected", fd, 1);
	TRY(fcntl(fd, F_GETOWN) == getpid());
	peer("send %d 3", slot);
	came("data", fd, 1);
	close(fd);
}

static void listening(void)
{
	int l = listen_on(8), own = getpid(), on = 1;
	struct pollfd p = { .fd = l, .events = POLLIN };

	TRY(ioctl(l, FIOSETOWN, &own) ? -1 : 0);
	TRY(ioctl(l, FIOASYNC, &on));
	say("O_ASYNC %d", !!(fcntl(l, F_GETFL) & O_ASYNC));
	poll(&p, 1, 0);
	peer("connect %d", port_of(l));
	came("a connection to accept", l, 1);
	close(l);
}

static void datagrams(void)
{
	struct sockaddr_in any = addr_of((struct in_addr){ INADDR_ANY }, 0), self;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), slot = (int)peer("udp"), port;

	bind(fd, (struct sockaddr *)&any, sizeof(any));
	port = port_of(fd);
	TRY(fcntl(fd, F_SETOWN, getpid()));
	TRY(fcntl(fd, F_SETSIG, SIGRTMIN));
	TRY(fcntl(fd, F_SETFL, O_ASYNC | O_NONBLOCK));
	peer("usend %d %d 7", slot, port);
	came("a datagram", fd, 1);
	self = addr_of((struct in_addr){ htonl(INADDR_LOOPBACK) }, port);
	TRY(sendto(fd, "x", 1, 0, (struct sockaddr *)&self, sizeof(self)));
	came("one from loopback", fd, 1);
	close(fd);
	peer("uclose %d", slot);
}

void t_async(void)
{
	catch(SIGIO);
	catch(SIGURG);
	catch(SIGRTMIN);
	for (size_t i = 0; i < COUNT(ways); i++)
		connection(&ways[i]);
	reset();
	connecting();
	listening();
	datagrams();
}
