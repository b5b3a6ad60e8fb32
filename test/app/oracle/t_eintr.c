/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of signal(7): which waiting calls a handler ends, and which begin anew when it has SA_RESTART. Each call waits
 * for what does not come while signals do; after RESTARTS of them the handler is without SA_RESTART, which ends the rest.
 * Then the same calls as cancellation points.
 */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/time.h>

#include "oracle.h"

#define RESTARTS 6
#define TICK_US 4000

static char buf[65536];
static volatile sig_atomic_t handled;

static void count_down(int sig);

static void install(int flags)
{
	struct sigaction act = { .sa_handler = count_down, .sa_flags = flags };

	sigaction(SIGALRM, &act, NULL);
}

static void count_down(int sig)
{
	if (++handled >= RESTARTS)
		install(0);
}

static void ticks(long us)
{
	setitimer(ITIMER_REAL, &(struct itimerval){ { 0, us }, { 0, us } }, NULL);
}

/* A waiting call on fd; `other` is whatever else it wants. */
struct call {
	const char *name;
	long (*make)(int fd, int other);
};

static struct iovec iov = { buf, sizeof(buf) };
static struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
static struct mmsghdr mmsg = { .msg_hdr = { .msg_iov = &iov, .msg_iovlen = 1 } };
static const struct timespec second = { 1, 0 };

static long do_read(int fd, int other) { return read(fd, buf, 1); }
static long do_readv(int fd, int other) { return readv(fd, &iov, 1); }
static long do_recv(int fd, int other) { return recv(fd, buf, 1, 0); }
static long do_recv_all(int fd, int other) { return recv(fd, buf, 10, MSG_WAITALL); }
static long do_recv_peek(int fd, int other) { return recv(fd, buf, 10, MSG_PEEK); }
static long do_recvfrom(int fd, int other) { return recvfrom(fd, buf, 1, 0, NULL, NULL); }
static long do_recvmsg(int fd, int other) { return recvmsg(fd, &msg, 0); }
static long do_recvmmsg(int fd, int other) { return recvmmsg(fd, &mmsg, 1, 0, NULL); }
static long do_preadv2(int fd, int other) { return preadv2(fd, &iov, 1, -1, 0); }
static long do_splice_in(int fd, int other) { return splice(fd, NULL, other, NULL, 10, 0); }

static const struct call reads[] = {
	{ "read", do_read },		{ "readv", do_readv },	  { "recv", do_recv },
	{ "recv waiting for all", do_recv_all },		  { "recv peeking", do_recv_peek },
	{ "recvfrom", do_recvfrom },	{ "recvmsg", do_recvmsg }, { "recvmmsg", do_recvmmsg },
	{ "preadv2", do_preadv2 },	{ "splice", do_splice_in },
};

static long do_write(int fd, int other) { return write(fd, buf, sizeof(buf)); }
static long do_writev(int fd, int other) { return writev(fd, &iov, 1); }
static long do_send(int fd, int other) { return send(fd, buf, 1, 0); }
static long do_sendto(int fd, int other) { return sendto(fd, buf, 1, 0, NULL, 0); }
static long do_sendmsg(int fd, int other) { return sendmsg(fd, &msg, 0); }
static long do_sendmmsg(int fd, int other) { return sendmmsg(fd, &mmsg, 1, 0); }

static long do_pwritev2(int fd, int other) { return pwritev2(fd, &iov, 1, -1, 0); }

/* Out of a pipe that has a byte. */
static int byte_pipe[2] = { -1, -1 };
static long do_splice_out(int fd, int other) { return splice(byte_pipe[0], NULL, fd, NULL, 1, 0); }

static long do_sendfile(int fd, int other)
{
	off_t at = 0;

	return sendfile(fd, other, &at, 100);
}

static const struct call writes[] = {
	{ "write", do_write },	   { "writev", do_writev },   { "send", do_send },	  { "sendto", do_sendto },
	{ "sendmsg", do_sendmsg }, { "sendmmsg", do_sendmmsg }, { "pwritev2", do_pwritev2 }, { "splice", do_splice_out },
	{ "sendfile", do_sendfile },	/* the last: libc has no cancellation point there */
};

static long do_accept(int fd, int other) { return accept(fd, NULL, NULL); }
static long do_accept4(int fd, int other) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC); }
static const struct call accepts[] = { { "accept", do_accept }, { "accept4", do_accept4 } };

static long do_poll(int fd, int other) { return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, -1); }
static long do_poll_timed(int fd, int other) { return poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1000); }

static long do_ppoll(int fd, int other)
{
	return ppoll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, NULL, NULL);
}

static long do_ppoll_masked(int fd, int other)
{
	sigset_t open;

	sigemptyset(&open);
	return ppoll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, &second, &open);
}

static long do_select(int fd, int other)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, NULL);
}

static long do_pselect(int fd, int other)
{
	sigset_t open;
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	sigemptyset(&open);
	return pselect(fd + 1, &set, NULL, NULL, &second, &open);
}

static struct epoll_event event;
static long do_epoll_wait(int fd, int ep) { return epoll_wait(ep, &event, 1, -1); }
static long do_epoll_pwait2(int fd, int ep) { return epoll_pwait2(ep, &event, 1, &second, NULL); }

static long do_epoll_pwait(int fd, int ep)
{
	sigset_t open;

	sigemptyset(&open);
	return epoll_pwait(ep, &event, 1, 1000, &open);
}

static const struct call waits[] = {
	{ "poll", do_poll },	     { "poll, 1 s", do_poll_timed },	  { "ppoll", do_ppoll },
	{ "ppoll, mask", do_ppoll_masked }, { "select", do_select },	  { "pselect, mask", do_pselect },
	{ "epoll_wait", do_epoll_wait }, { "epoll_pwait, mask", do_epoll_pwait }, { "epoll_pwait2", do_epoll_pwait2 },
};

static void interrupted(const char *what, long ret, int err)
{
	char line[120];

	snprintf(line, sizeof(line), "%s, %s", what, handled > RESTARTS ? "begun anew till then" : "by the first handler");
	observe(line, ret, err, false);
}

static bool send_more(int fd)
{
	return send(fd, buf, sizeof(buf), MSG_DONTWAIT) > 0 || send(fd, buf, 1, MSG_DONTWAIT) > 0;
}

static void run(const struct call *calls, int count, int fd, int other, int flags)
{
	for (int i = 0; i < count; i++) {
		long ret;
		int err;

		while (calls == writes && send_more(fd))
			;	/* a probe of the window may have made room */
		handled = 0;
		install(flags);
		ticks(TICK_US);
		errno = 0;
		ret = calls[i].make(fd, other);
		err = errno;
		ticks(0);
		interrupted(calls[i].name, ret, err);
	}
	signal(SIGALRM, SIG_DFL);
}

/* ---- the same calls in a thread that is cancelled ---- */

struct job {
	const struct call *call;
	int fd, other;
};

static void *body(void *arg)
{
	const struct job *job = arg;

	return (void *)job->call->make(job->fd, job->other);
}

static void cancel(const struct call *calls, int count, int fd, int other)
{
	for (int i = 0; i < count; i++) {
		struct job job = { &calls[i], fd, other };
		void *result = NULL;
		pthread_t t;

		while (calls == writes && send_more(fd))
			;
		pthread_create(&t, NULL, body, &job);
		usleep(3000);	/* it waits by then, or is cancelled when it begins to */
		pthread_cancel(t);
		pthread_join(t, &result);
		say("%s: %s", calls[i].name, result == PTHREAD_CANCELED ? "cancelled" : "came back");
	}
}

static void *uncancelled(void *arg)
{
	struct job *job = arg;
	long ret = body(arg) != NULL;

	say("%s goes on", job->call->name);
	pthread_testcancel();
	return (void *)ret;
}

/* It comes back when there is room, and not before; the thread ends at the next point. */
static void not_cancelled(int fd, int other, int slot)
{
	struct job job = { &writes[COUNT(writes) - 1], fd, other };
	void *result = NULL;
	pthread_t t;

	pthread_create(&t, NULL, uncancelled, &job);
	usleep(3000);
	pthread_cancel(t);
	for (int i = 0; i < 1000 && pthread_tryjoin_np(t, &result) == EBUSY; i++) {
		peer("take %d 65536", slot);
		usleep(1000);
	}
	say("%s: %s", job.call->name, result == PTHREAD_CANCELED ? "cancelled" : "came back");
}

static void *shielded(void *arg)
{
	long ret;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	ret = (long)body(arg);
	return (void *)(ret < 0 ? -(long)errno : ret);
}

/* Cancellation is off: what is waited for comes, and the call gives it. */
static void not_now(const struct call *calls, int count, int fd, int other, int end)
{
	for (int i = 0; i < count; i++) {
		struct job job = { &calls[i], fd, other };
		void *result = NULL;
		pthread_t t;

		pthread_create(&t, NULL, shielded, &job);
		usleep(3000);
		pthread_cancel(t);
		usleep(3000);
		if (write(end, "x", 1) != 1)
			return;
		pthread_join(t, &result);
		say("%s, not to be cancelled: %ld", calls[i].name, (long)result);
		if (read(fd, buf, 10) != 1)
			return;
	}
}
#define CANCEL(calls, fd, other) cancel(calls, COUNT(calls), fd, other)
#define RUN(calls, fd, other, flags) run(calls, COUNT(calls), fd, other, flags)

/*
 * Until nothing goes in any more, neither here nor there. What the peer finds room for by and by when it is probed must not
 * be the third of the buffer that wakes a writer.
 */
static void fill(int fd)
{
	int quiet = 0;

	set_int(fd, SOL_SOCKET, SO_SNDBUF, 100000);
	while (quiet++ < 5) {
		while (send_more(fd))
			quiet = 0;
		usleep(10000);	/* what is in flight arrives */
	}
}

static void timeo(int fd, int which)
{
	setsockopt(fd, SOL_SOCKET, which, &(struct timeval){ 5, 0 }, sizeof(struct timeval));
}

static void receiving(int flags, bool timed)
{
	int slot, fd = connect_out(&slot), udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ends[2];
	struct sockaddr_in any = addr_of(o.local, 0);

	if (pipe2(ends, O_CLOEXEC))
		return;
	bind(udp, (struct sockaddr *)&any, sizeof(any));
	if (timed) {
		timeo(fd, SO_RCVTIMEO);
		timeo(udp, SO_RCVTIMEO);
	}
	RUN(reads, fd, ends[1], flags);
	say("-- a datagram socket");
	run(reads, COUNT(reads) - 1, udp, ends[1], flags);
	say("-- three of ten have come");
	peer("send %d 3", slot);
	until_readable(fd, 3);
	run(&reads[3], 1, fd, -1, flags);
	close(ends[0]);
	close(ends[1]);
	close(udp);
	close(fd);
}

static void sending(int flags, bool timed)
{
	int slot, fd = connect_out(&slot), file = memfd_create("file", MFD_CLOEXEC);

	if (ftruncate(file, 4096))
		return;
	fill(fd);
	if (timed)
		timeo(fd, SO_SNDTIMEO);
	RUN(writes, fd, file, flags);
	close(file);
	close(fd);
}

static void listening(int flags, bool timed)
{
	int listener = listen_on(5);

	if (timed)
		timeo(listener, SO_RCVTIMEO);
	RUN(accepts, listener, -1, flags);
	close(listener);
}

/* Nobody answers. Begun anew, the call finds itself under way, and waits on. */
static long do_connect(int fd, int other)
{
	struct sockaddr_in to = addr_of(o.nobody, 9);

	return connect(fd, (struct sockaddr *)&to, sizeof(to));
}

static void connecting(int flags, bool timed)
{
	static const struct call connects[] = { { "connect", do_connect }, { "connect again", do_connect } };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (timed)
		timeo(fd, SO_SNDTIMEO);
	RUN(connects, fd, -1, flags);
	close(fd);
}

static void polling(int flags)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN });
	RUN(waits, fd, ep, flags);
	close(ep);
	close(fd);
}

/* The kernel's alone, in a program that has connections of the stack besides. */
static void polling_pipe(int flags)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC), ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return;
	say("-- a pipe");
	epoll_ctl(ep, EPOLL_CTL_ADD, ends[0], &(struct epoll_event){ .events = EPOLLIN });
	RUN(waits, ends[0], ep, flags);
	CANCEL(waits, ends[0], ep);
	not_now(waits, COUNT(waits), ends[0], ep, ends[1]);
	run(reads, 2, ends[0], -1, flags);
	close(ends[0]);
	close(ends[1]);
	close(ep);
	close(fd);
}

/* close() that lingers: its socket is gone, whatever ended the wait. */
static long do_close(int fd, int other) { return close(fd); }

static void lingering(int flags)
{
	static const struct call closes[] = { { "close with SO_LINGER", do_close } };
	int slot, fd = connect_out(&slot);

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 1 }, sizeof(struct linger));
	fill(fd);
	RUN(closes, fd, -1, flags);
	TRY(fcntl(fd, F_GETFD));
}

static void cancelling(void)
{
	int slot, fd = connect_out(&slot), ep = epoll_create1(EPOLL_CLOEXEC), listener = listen_on(5), ends[2];
	int full = connect_out(&slot), file = memfd_create("file", MFD_CLOEXEC);

	say("-- cancelled");
	if (pipe2(ends, O_CLOEXEC) || ftruncate(file, 4096))
		return;
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN });
	CANCEL(reads, fd, ends[1]);
	CANCEL(waits, fd, ep);
	CANCEL(accepts, listener, -1);
	fill(full);
	cancel(writes, COUNT(writes) - 1, full, file);
	not_cancelled(full, file, slot);
	close(ends[0]);
	close(ends[1]);
	close(file);
	close(full);
	close(listener);
	close(ep);
	close(fd);
}

static void table(int flags, bool timed, const char *what)
{
	say("-- handler %s SA_RESTART%s", flags ? "with" : "without", what);
	receiving(flags, timed);
	sending(flags, timed);
	listening(flags, timed);
	connecting(flags, timed);
}

void t_eintr(void)
{
	if (pipe2(byte_pipe, O_CLOEXEC) || write(byte_pipe[1], "x", 1) != 1)
		say("no pipe");
	for (int i = 0; i < 2; i++) {
		int flags = i ? SA_RESTART : 0;

		table(flags, false, "");
		table(flags, true, ", SO_RCVTIMEO and SO_SNDTIMEO");
		polling(flags);
		polling_pipe(flags);
		lingering(flags);
	}
	cancelling();
	close(byte_pipe[0]);
	close(byte_pipe[1]);
}
