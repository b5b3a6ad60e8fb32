/* SPDX-License-Identifier: BSD-3-Clause */
/* Bad pointers in every argument of every call: EFAULT, nothing lost that Linux keeps, and the call works afterwards. */
#include <setjmp.h>
#include <sys/mman.h>

#include "oracle.h"

#define PAGE 4096

/* Two good pages, then one that is not there; a page that cannot be written; a page that cannot be read. */
static char *edge, *fixed, *none;
#define BAD(type)	((type *)none)
#define CROSS(type)	((type *)(edge - sizeof(type) / 2))	/* half of it is there */

static void make_pages(void)
{
	char *p = mmap(NULL, 5 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(p + 2 * PAGE, PAGE, PROT_NONE);	/* not a hole: another thread of the library might map it */
	mprotect(p + 3 * PAGE, PAGE, PROT_READ);
	mprotect(p + 4 * PAGE, PAGE, PROT_NONE);
	edge = p + 2 * PAGE;
	fixed = p + 3 * PAGE;
	none = p + 4 * PAGE;
	/* the peer's alphabet, which begins 1000 bytes before the edge */
	for (int i = 0; i < 2 * PAGE; i++)
		p[i] = (char)('a' + (i + 10) % 26);
}

static void receiving(int fd, int slot)
{
	char buf[64];
	struct iovec iov[2] = { { buf, 10 }, { none, 10 } }, *far = CROSS(struct iovec);
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	nonblock(fd, true);
	TRY(read(fd, none, 10));
	nonblock(fd, false);
	peer("send %d 40", slot);
	until_readable(fd, 40);
	TRY(read(fd, none, 10));
	TRY(read(fd, fixed, 100));
	TRY(recv(fd, edge, 100, 0));
	TRY(recv(fd, none, 100, MSG_PEEK));
	TRY(recv(fd, edge - 5, 40, 0));
	TRY(recvfrom(fd, none, 10, 0, NULL, NULL));
	TRY(readv(fd, BAD(struct iovec), 2));
	TRY(readv(fd, far, 1));
	TRY(recvmsg(fd, BAD(struct msghdr), 0));
	TRY(recvmsg(fd, CROSS(struct msghdr), 0));
	TRY(recvmsg(fd, &msg, 0));
	msg.msg_iov = BAD(struct iovec);
	TRY(recvmsg(fd, &msg, 0));
	GET(recv(fd, buf, 10, MSG_PEEK), buf);
	GET(recv(fd, edge - 40, 40, 0), edge - 40);
}

static void sending(int fd, int slot)
{
	struct iovec iov[2] = { { edge - 10, 10 }, { none, 10 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	TRY(write(fd, none, 1));
	TRY(write(fd, edge - 1, 2));
	TRY(send(fd, edge - 1000, 2000, 0));
	TRY(send(fd, edge - 2 * PAGE, 3 * PAGE, MSG_NOSIGNAL));
	TRY(send(fd, none, 100000, 0));
	TRY(writev(fd, iov, 2));
	TRY(writev(fd, CROSS(struct iovec), 2));
	TRY(writev(fd, BAD(struct iovec), 100));
	TRY(sendmsg(fd, &msg, 0));
	TRY(sendmsg(fd, BAD(struct msghdr), 0));
	msg.msg_iov = BAD(struct iovec);
	TRY(sendmsg(fd, &msg, 0));
	msg = (struct msghdr){ .msg_iov = iov, .msg_iovlen = 1, .msg_name = none, .msg_namelen = 16 };
	TRY(sendmsg(fd, &msg, 0));
	TRY(sendto(fd, "x", 1, 0, BAD(struct sockaddr), 16));
	msg = (struct msghdr){ .msg_iov = iov, .msg_iovlen = 1, .msg_control = none, .msg_controllen = 32 };
	TRY(sendmsg(fd, &msg, 0));
	TRY(send(fd, edge - 1000, 1000, 0));
	TRY(write(fd, edge - 2 * PAGE + 2, 2 * PAGE - 2));
	say("peer got: %ld", peer("recv %d %d", slot, 1000 + 2 * PAGE - 2));
}

static void asking(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	struct linger l;
	int v;

	TRY(getsockname(fd, BAD(struct sockaddr), &len));
	TRY(getsockname(fd, (struct sockaddr *)&ss, BAD(socklen_t)));
	TRY(getpeername(fd, (struct sockaddr *)fixed, &len));
	TRY(getpeername(fd, (struct sockaddr *)&ss, (socklen_t *)none));
	len = sizeof(v);
	TRY(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, none, &len));
	TRY(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &v, BAD(socklen_t)));
	TRY(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, fixed, &len));
	len = sizeof(l);
	TRY(getsockopt(fd, SOL_SOCKET, SO_LINGER, none, &len));
	TRY(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, none, sizeof(int)));
	TRY(setsockopt(fd, SOL_SOCKET, SO_LINGER, CROSS(struct linger), sizeof(l)));
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, none, sizeof(struct timeval)));
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, none, 5));
	TRY(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, edge - 4, 4));
	TRY(ioctl(fd, FIONREAD, none));
	TRY(ioctl(fd, FIONBIO, none));
	TRY(ioctl(fd, FIONREAD, fixed));
	TRY(fcntl(fd, F_SETOWN_EX, none));
	TRY(fcntl(fd, F_GETOWN_EX, none));
}

static void waiting(int fd, int slot)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = 7 };
	int ep = epoll_create1(EPOLL_CLOEXEC);

	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, BAD(struct epoll_event)));
	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	TRY(epoll_ctl(ep, EPOLL_CTL_MOD, fd, CROSS(struct epoll_event)));
	TRY(epoll_wait(ep, BAD(struct epoll_event), 4, 0));
	peer("send %d 5", slot);
	until(fd, POLLIN);
	TRY(epoll_wait(ep, BAD(struct epoll_event), 4, 0));
	TRY(epoll_wait(ep, BAD(struct epoll_event), 4, -1));
	TRY(epoll_wait(ep, (struct epoll_event *)fixed, 4, -1));
	TRY(epoll_wait(ep, CROSS(struct epoll_event), 4, -1));
	ev = (struct epoll_event){ 0 };
	TRY(epoll_wait(ep, &ev, 1, -1));
	say("event: %s, %d", events(ev.events), ev.data.fd);
	TRY(poll(BAD(struct pollfd), 1, 0));
	TRY(poll(CROSS(struct pollfd), 1, 0));
	TRY(poll(&pfd, 1, 0));
	TRY(select(fd + 1, BAD(fd_set), NULL, NULL, NULL));
	TRY(select(fd + 1, NULL, BAD(fd_set), NULL, NULL));
	close(ep);
}

static void connecting(void)
{
	struct sockaddr_in to = addr_of(o.peer, 1);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), l = listen_on(4), slot, c;
	socklen_t len = sizeof(to);

	TRY(connect(fd, BAD(struct sockaddr), sizeof(to)));
	TRY(connect(fd, CROSS(struct sockaddr), sizeof(to)));
	TRY(bind(fd, BAD(struct sockaddr), sizeof(to)));
	close(fd);
	nonblock(l, true);
	TRY(accept(l, BAD(struct sockaddr), &len));
	slot = (int)peer("connect %d", port_of(l));
	until(l, POLLIN);
	TRY(accept(l, BAD(struct sockaddr), &len));
	say("it is gone: %d", (int)(accept(l, NULL, NULL) < 0 && errno == EAGAIN));
	peer("close %d", slot);
	slot = (int)peer("connect %d", port_of(l));
	until(l, POLLIN);
	c = accept(l, NULL, NULL);
	say("the next one is there: %d", c >= 0);
	peer("close %d", slot);
	close(c);
	close(l);
}

static void datagrams(void)
{
	int slot = (int)peer("udp"), fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in to;
	struct iovec iov[2] = { { edge - 10, 10 }, { none, 10 } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_name = &to, .msg_namelen = sizeof(to) };
	struct mmsghdr two[2] = { { .msg_hdr = msg }, { .msg_hdr = msg } };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	char buf[16];

	to = addr_of(o.peer, (int)peer("port %d", slot));
	TRY(sendto(fd, none, 10, 0, (struct sockaddr *)&to, sizeof(to)));
	TRY(sendto(fd, edge - 10, 20, 0, (struct sockaddr *)&to, sizeof(to)));
	TRY(sendto(fd, "x", 1, 0, BAD(struct sockaddr), sizeof(to)));
	TRY(sendmsg(fd, &msg, 0));
	two[0].msg_hdr.msg_iovlen = 1;
	TRY(sendmmsg(fd, two, 2, 0));
	say("peer got: %ld", peer("urecv %d", slot));
	TRY(sendmmsg(fd, BAD(struct mmsghdr), 2, 0));
	for (int i = 0; i < 4; i++) {
		peer("usend %d 0 6", slot);
		until(fd, POLLIN);
		if (i == 0)
			TRY(recv(fd, none, 10, 0));
		else if (i == 1)
			TRY(recvfrom(fd, buf, 10, 0, BAD(struct sockaddr), &len));
		else if (i == 2)
			TRY(recvfrom(fd, buf, 10, MSG_PEEK, (struct sockaddr *)&ss, BAD(socklen_t)));
		else
			TRY(recvmsg(fd, BAD(struct msghdr), 0));
		say("left: %d", (int)recv(fd, buf, 10, MSG_DONTWAIT));
	}
	peer("uclose %d", slot);
	close(fd);
}

/* A handler of the program's sees its own faults, and no others. */
static sigjmp_buf out;
static volatile int faults;
static volatile void *where;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	faults++;
	where = info->si_addr;
	siglongjmp(out, 1);
}

/* One without SA_SIGINFO. */
static void on_plain(int sig)
{
	faults++;
	if (sig == SIGSEGV)
		siglongjmp(out, 1);
}

static void plain_handlers(int fd)
{
	faults = 0;
	signal(SIGSEGV, on_plain);
	signal(SIGBUS, on_plain);
	TRY(write(fd, none, 1));
	say("faults: %d", faults);
	if (!sigsetjmp(out, 1))
		*(volatile char *)none = 1;
	say("faults: %d", faults);
	if (!sigsetjmp(out, 1))
		raise(SIGSEGV);
	raise(SIGBUS);
	say("faults: %d", faults);
	TRY(write(fd, none, 1));
	say("faults: %d", faults);
	signal(SIGSEGV, SIG_DFL);
	signal(SIGBUS, SIG_DFL);
}

static void handlers(int fd)
{
	struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;

	TRY(sigaction(SIGSEGV, &act, &old));
	say("it was the default: %d", old.sa_handler == SIG_DFL);
	TRY(write(fd, none, 1));
	say("faults: %d", faults);
	if (!sigsetjmp(out, 1))
		*(volatile char *)none = 1;
	say("faults: %d, where: %d", faults, where == (void *)none);
	TRY(write(fd, none, 1));
	say("faults: %d", faults);
	TRY(sigaction(SIGSEGV, NULL, &act));
	say("it is ours: %d", act.sa_sigaction == on_fault);
	say("signal: %d", signal(SIGSEGV, SIG_DFL) == (sighandler_t)(void *)on_fault);
	TRY(write(fd, none, 1));
	say("the default again: %d", signal(SIGSEGV, SIG_DFL) == SIG_DFL);
	plain_handlers(fd);
}

/* Without a handler it dies of what is its own fault. */
static void deaths(int fd)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		write(fd, none, 1);
		*(volatile char *)none = 1;
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say("killed by %d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

void t_efault(void)
{
	int slot, fd;

	make_pages();
	connecting();
	for (unsigned i = 0; i < COUNT(ways); i++) {
		fd = ways[i].make(&slot);
		say("%s", ways[i].name);
		receiving(fd, slot);
		sending(fd, slot);
		asking(fd);
		waiting(fd, slot);
		handlers(fd);
		close(fd);
		peer("close %d", slot);
	}
	datagrams();
	fd = connect_out(&slot);
	deaths(fd);
	close(fd);
}
