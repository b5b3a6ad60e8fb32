/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection goes to code that knows nothing of Fastnet: a duplicate as descriptor 0, stdio, AIO. What is on its way
 * arrives, both numbers go on, whoever waits is woken, and the descriptor tells what it is.
 */
#include <aio.h>
#include <pthread.h>
#include <sys/un.h>

#include "oracle.h"

static char buf[64];

/* Standard input is the connection until put_back(). */
static int saved = -1;
static void take_over(int fd)
{
	saved = fcntl(0, F_DUPFD_CLOEXEC, 3);
	say("dup2 onto 0 -> %d", dup2(fd, 0));
}

static void put_back(void)
{
	dup2(saved, 0);
	close(saved);
}

/* What poll says; but for POLLWRBAND, which the kernel's pairs have and TCP has not. */
static void ready(const char *when, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLRDBAND };

	poll(&p, 1, 0);
	say("%s: %s", when, events((unsigned short)p.revents));
}

/* Bytes that wait on both sides, and more afterwards, by both numbers. */
static void pending(int (*make)(int *))
{
	int slot, fd = make(&slot);

	peer("send %d 3", slot);
	until_readable(fd, 3);
	TRY(send(fd, "abc", 3, 0));
	take_over(fd);
	/* whatever carries the bytes from here on is no child that the program could find */
	TRY(waitpid(-1, NULL, WNOHANG));
	TRY(waitid(P_ALL, 0, NULL, WEXITED | WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT));
	GET(read(0, buf, 3), buf);
	peer("send %d 4", slot);
	until_readable(fd, 4);
	GET(recv(fd, buf, 2, 0), buf);
	GET(read(0, buf, 10), buf);
	TRY(write(0, "de", 2));
	TRY(send(fd, "f", 1, 0));
	say("peer got: %ld", peer("recv %d 6", slot));
	TRY(close(fd));
	TRY(write(0, "g", 1));
	say("peer got: %ld", peer("recv %d 1", slot));
	put_back();
	say("peer at end: %ld", peer("take %d", slot));
	TRY(wait(NULL));
}

/* The peer has sent its FIN, before or after. */
static void half_closed_there(int (*make)(int *), bool before)
{
	int slot, fd = make(&slot);

	peer("send %d 3", slot);
	if (before)
		peer("shut %d", slot);
	until_readable(fd, 3);
	take_over(fd);
	if (!before)
		peer("shut %d", slot);
	until(0, POLLRDHUP);
	ready("end of file behind three bytes", fd);
	GET(read(0, buf, 10), buf);
	GET(read(0, buf, 10), buf);
	TRY(write(0, "still", 5));
	say("peer got: %ld", peer("recv %d 5", slot));
	close(fd);
	put_back();
	say("peer at end: %ld", peer("take %d", slot));
}

/* We have. */
static void half_closed_here(int (*make)(int *), bool before)
{
	int slot, fd = make(&slot);

	TRY(send(fd, "abc", 3, 0));
	if (before)
		TRY(shutdown(fd, SHUT_WR));
	take_over(fd);
	if (!before)
		TRY(shutdown(0, SHUT_WR));
	TRY(send(fd, "x", 1, MSG_NOSIGNAL));
	say("peer got: %ld", peer("recv %d 3", slot));
	say("peer at end: %ld", peer("take %d", slot));
	peer("send %d 3", slot);
	until_readable(fd, 3);
	GET(read(0, buf, 10), buf);
	close(fd);
	put_back();
}

static void names(int (*make)(int *))
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int slot, fd = make(&slot);

	take_over(fd);
	name_of("getsockname", getsockname(0, (struct sockaddr *)&ss, &len), &ss, &len);
	len = sizeof(ss);
	name_of("getpeername", getpeername(fd, (struct sockaddr *)&ss, &len), &ss, &len);
	len = 8;
	TRY(getpeername(0, (struct sockaddr *)&ss, &len));
	say("cut: whole length %u", len);
	close(fd);
	put_back();
}

static const struct {
	int level, name;
	const char *text;
	int set;	/* -1: only read */
} opts[] = {
	{ SOL_SOCKET, SO_TYPE, "SO_TYPE", -1 },		{ SOL_SOCKET, SO_DOMAIN, "SO_DOMAIN", -1 },
	{ SOL_SOCKET, SO_PROTOCOL, "SO_PROTOCOL", -1 },	{ SOL_SOCKET, SO_ERROR, "SO_ERROR", -1 },
	{ SOL_SOCKET, SO_ACCEPTCONN, "SO_ACCEPTCONN", -1 }, { SOL_SOCKET, SO_KEEPALIVE, "SO_KEEPALIVE", 1 },
	{ IPPROTO_TCP, TCP_NODELAY, "TCP_NODELAY", 1 },	{ IPPROTO_TCP, TCP_CORK, "TCP_CORK", 1 },
	{ IPPROTO_TCP, TCP_CORK, "TCP_CORK", 0 },	{ IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE", 77 },
	{ IPPROTO_TCP, TCP_KEEPIDLE, "TCP_KEEPIDLE", -5 }, { IPPROTO_TCP, TCP_KEEPCNT, "TCP_KEEPCNT", 4 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, "TCP_USER_TIMEOUT", 9000 }, { IPPROTO_IP, IP_TOS, "IP_TOS", 0x10 },
	{ IPPROTO_IP, IP_TTL, "IP_TTL", 33 },		{ IPPROTO_IP, IP_FREEBIND, "IP_FREEBIND", -1 },
	{ IPPROTO_TCP, 99, "TCP 99", 1 },		{ 99, 1, "level 99", 1 },
};

static void options(int (*make)(int *))
{
	struct linger linger = { 1, 3 };
	struct ucred cred = { 1, 1, 1 };
	struct tcp_info info = { 0 };
	socklen_t len;
	int slot, fd = make(&slot);

	TRY(set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, 8));
	take_over(fd);
	for (unsigned i = 0; i < COUNT(opts); i++) {
		int v = 0, ret, err;

		if (opts[i].set != -1) {
			ret = set_int(0, opts[i].level, opts[i].name, opts[i].set);
			err = errno;
			say("set %s %d -> %s", opts[i].text, opts[i].set, ret ? error_name(err) : "0");
		}
		len = sizeof(v);
		ret = getsockopt(fd, opts[i].level, opts[i].name, &v, &len);
		err = errno;
		say("get %s -> %s, %d, length %u", opts[i].text, ret ? error_name(err) : "0", v, len);
	}
	len = sizeof(int);
	TRY(getsockopt(0, IPPROTO_TCP, TCP_KEEPINTVL, buf, &len));
	say("set before: %d", *(int *)buf);
	TRY(setsockopt(0, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
	len = sizeof(linger);
	TRY(getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len));
	say("linger %d %d", linger.l_onoff, linger.l_linger);
	len = sizeof(cred);
	TRY(getsockopt(0, SOL_SOCKET, SO_PEERCRED, &cred, &len));
	say("peer's credentials: %d %d %d", cred.pid, (int)cred.uid, (int)cred.gid);
	len = sizeof(info);
	TRY(getsockopt(0, IPPROTO_TCP, TCP_INFO, &info, &len));
	say("state %u, a segment size %d", info.tcpi_state, info.tcpi_snd_mss > 100);
	close(fd);
	put_back();
}

static void flags(int (*make)(int *))
{
	int slot, fd = make(&slot), a = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	struct timeval tv = { 0, 20000 };

	nonblock(fd, true);
	TRY(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	take_over(fd);
	say("flags %x %x, close-on-exec %d %d %d", fcntl(0, F_GETFL), fcntl(a, F_GETFL), fcntl(0, F_GETFD),
	    fcntl(fd, F_GETFD), fcntl(a, F_GETFD));
	TRY(read(0, buf, 1));
	nonblock(a, false);
	say("flags %x %x", fcntl(0, F_GETFL), fcntl(fd, F_GETFL));
	TRY(read(0, buf, 1));
	ready("idle", a);
	close(a);
	close(fd);
	put_back();
}

/* Registered before, in a set that goes on. */
static void registered(int (*make)(int *))
{
	int slot, fd = make(&slot), a = dup(fd), ep = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 7 }, out[4];
	struct epoll_event edge = { .events = EPOLLIN | EPOLLET, .data.u64 = 8 };

	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev));
	TRY(epoll_ctl(ep, EPOLL_CTL_ADD, a, &edge));
	TRY(epoll_wait(ep, out, 4, 0));
	take_over(fd);
	TRY(epoll_wait(ep, out, 4, 0));
	peer("send %d 3", slot);
	until_readable(fd, 3);
	say("events %d", epoll_wait(ep, out, 4, 1000));
	TRY(epoll_wait(ep, out, 4, 0));
	say("data %d", (int)out[0].data.u64);
	GET(read(0, buf, 10), buf);
	TRY(epoll_wait(ep, out, 4, 0));
	TRY(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
	TRY(epoll_ctl(ep, EPOLL_CTL_DEL, a, NULL));
	TRY(epoll_ctl(ep, EPOLL_CTL_DEL, a, NULL));
	close(ep);
	close(a);
	close(fd);
	put_back();
}

/* Does the kernel's AF_UNIX know urgent bytes (Linux 5.15, CONFIG_AF_UNIX_OOB)? */
static bool pairs_have_urgent(void)
{
	int pair[2];
	bool have = !socketpair(AF_UNIX, SOCK_STREAM, 0, pair) && send(pair[0], "x", 1, MSG_OOB) == 1;

	close(pair[0]);
	close(pair[1]);
	return have;
}

/* An urgent byte on its way in, one that comes afterwards, one that leaves. */
static void urgent(int (*make)(int *))
{
	int slot, fd;

	if (!pairs_have_urgent()) {
		say("the kernel's pairs have no urgent bytes: not compared");
		return;
	}
	fd = make(&slot);
	peer("send %d 3", slot);
	peer("oob %d 33", slot);
	peer("send %d 2", slot);
	until(fd, POLLPRI);
	take_over(fd);
	until(0, POLLPRI);
	GET(recv(0, buf, 100, 0), buf);
	TRY(sockatmark(0));
	GET(recv(fd, buf, 1, MSG_OOB), buf);
	GET(recv(0, buf, 100, 0), buf);
	peer("oob %d 63", slot);
	until(fd, POLLPRI);
	GET(recv(0, buf, 1, MSG_OOB), buf);
	TRY(send(0, "abc", 3, 0));
	TRY(send(0, "!", 1, MSG_OOB));
	TRY(send(0, "de", 2, 0));
	say("peer got: %ld", peer("recv %d 5", slot));	/* -1000 if the urgent byte stood in the stream */
	close(fd);
	put_back();

	fd = make(&slot);
	TRY(set_int(fd, SOL_SOCKET, SO_OOBINLINE, 1));
	take_over(fd);
	peer("send %d 3", slot);
	peer("oob %d 33", slot);
	until(0, POLLPRI);
	GET(recv(0, buf, 100, 0), buf);
	TRY(sockatmark(0));
	GET(recv(0, buf, 100, 0), buf);
	close(fd);
	put_back();
}

static int sleeper_fd;
static void *sleeper(void *kind)
{
	struct pollfd p = { .fd = sleeper_fd, .events = POLLIN };
	static char text[16];
	long n;

	if (*(char *)kind == 'p')
		n = poll(&p, 1, 5000);
	else
		n = recv(sleeper_fd, text, 4, *(char *)kind == 'w' ? MSG_WAITALL : 0);
	return (void *)n;
}

/* A thread that waits on it goes on waiting, and is woken by what comes then. */
static void slept_on(int (*make)(int *), const char *kind)
{
	int slot, fd = make(&slot);
	pthread_t t;
	void *n;

	sleeper_fd = fd;
	pthread_create(&t, NULL, sleeper, (void *)kind);
	if (*kind == 'w')
		peer("send %d 2", slot);
	for (int unread = 1; unread;)	/* the two bytes are its: it sleeps for the others */
		if (*kind != 'w' || ioctl(fd, FIONREAD, &unread) || !unread)
			break;
	usleep(2000);			/* whether it sleeps already cannot be seen; both are right */
	take_over(fd);
	peer("send %d %d", slot, *kind == 'w' ? 2 : 4);
	pthread_join(t, &n);
	say("%s: %ld", kind, (long)n);
	close(fd);
	put_back();
}

static void stdio(int (*make)(int *))
{
	int slot, fd = make(&slot);
	FILE *in, *out;

	peer("send %d 5", slot);
	until_readable(fd, 5);
	out = fdopen(dup(fd), "w");
	in = fdopen(fd, "r");
	say("fdopen: %d %d", in != NULL, out != NULL);
	say("fgetc: %c", fgetc(in));
	say("fprintf: %d", fprintf(out, "%s", "answer"));
	TRY(fflush(out));
	say("peer got: %ld", peer("recv %d 6", slot));
	TRY(dprintf(fd, "%d %s", 12, "x"));
	say("peer got: %ld", peer("recv %d 4", slot));
	TRY(fclose(out));
	TRY(fclose(in));
	say("peer at end: %ld", peer("take %d", slot));
}

static long await_aio(struct aiocb *cb)
{
	const struct aiocb *list[1] = { cb };

	while (aio_error(cb) == EINPROGRESS)
		aio_suspend(list, 1, NULL);
	errno = aio_error(cb);
	return aio_return(cb);
}

static void aio(int (*make)(int *))
{
	int slot, fd = make(&slot);
	struct aiocb in = { .aio_fildes = fd, .aio_buf = buf, .aio_nbytes = 3, .aio_lio_opcode = LIO_READ };
	struct aiocb out = { .aio_fildes = fd, .aio_buf = (char *)"abcd", .aio_nbytes = 4, .aio_lio_opcode = LIO_WRITE };
	struct aiocb *both[2] = { &in, &out };

	peer("send %d 3", slot);
	until_readable(fd, 3);
	TRY(aio_read(&in));
	GET(await_aio(&in), buf);
	TRY(aio_write(&out));
	TRY(await_aio(&out));
	say("peer got: %ld", peer("recv %d 4", slot));
	peer("send %d 3", slot);
	TRY(lio_listio(LIO_WAIT, both, 2, NULL));
	GET(aio_return(&in), buf);
	TRY(aio_return(&out));
	say("peer got: %ld", peer("recv %d 4", slot));
	peer("send %d 3", slot);
	TRY(lio_listio(LIO_NOWAIT, both, 2, NULL));
	GET(await_aio(&in), buf);
	TRY(await_aio(&out));
	say("peer got: %ld", peer("recv %d 4", slot));
	TRY(aio_fsync(O_SYNC, &in));
	TRY(await_aio(&in));
	TRY(aio_fsync(O_NONBLOCK, &in));
	in.aio_fildes = 9999;
	TRY(aio_read(&in));
	TRY(await_aio(&in));
	close(fd);
}

void t_convert(void)
{
	begin("convert");
	for (unsigned i = 0; i < COUNT(ways); i++) {
		say("-- %s", ways[i].name);
		pending(ways[i].make);
		half_closed_there(ways[i].make, true);
		half_closed_there(ways[i].make, false);
		half_closed_here(ways[i].make, true);
		half_closed_here(ways[i].make, false);
		names(ways[i].make);
		options(ways[i].make);
		flags(ways[i].make);
		registered(ways[i].make);
		urgent(ways[i].make);
		slept_on(ways[i].make, "recv");
		slept_on(ways[i].make, "waitall");
		slept_on(ways[i].make, "poll");
		stdio(ways[i].make);
		aio(ways[i].make);
	}
}
