/* SPDX-License-Identifier: BSD-3-Clause */
/* The wrappers' dispatch: which operation they reach and with what, errno, and what the kernel does instead. */
#include <aio.h>
#include <criterion/criterion.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test/unit/preload.h"

/* What fortified programs call; libc's headers declare them only to those. */
extern ssize_t __read_chk(int fd, void *buf, size_t n, size_t size);
extern ssize_t __recv_chk(int fd, void *buf, size_t n, size_t size, int flags);
extern ssize_t __recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *addr, socklen_t *l);
extern int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t size);
extern int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask, size_t size);
extern ssize_t __read(int fd, void *buf, size_t n);
extern int __close(int fd);

static char buf[64];
static int fd, peer;
static struct double_state *d;

static void setup(void)
{
	fd = double_file(&peer);
	cr_assert_geq(fd, 0);
	errno = 0;
}
TestSuite(preload, .init = setup);

/* The last call was `op` with these first arguments; the reference is back; errno is what it was. */
#define expect(name, ...)								\
	do {										\
		long want_[] = { __VA_ARGS__ };						\
		cr_expect_str_eq(d->op, name);						\
		for (size_t i_ = 0; i_ < sizeof(want_) / sizeof(*want_); i_++)		\
			cr_expect_eq(d->arg[i_], want_[i_], "%s: argument %zu", name, i_);	\
		cr_expect_eq(double_refs(fd), 1);					\
		cr_expect_eq(errno, 0);							\
	} while (0)
#define L(x) ((long)(x))

static void expect_iov(const char *op, const void *base, size_t len, unsigned flags)
{
	cr_expect_str_eq(d->op, op);
	cr_expect_eq(d->fd, fd);
	cr_expect_eq(d->iov.iov_base, base);
	cr_expect_eq(d->iov.iov_len, len);
	cr_expect_eq(d->flags, flags);
	cr_expect_eq(double_refs(fd), 1);
}

Test(preload, an_error_is_minus_one_and_errno)
{
	d = double_returns(-ECONNRESET);
	cr_expect_eq(read(fd, buf, 1), -1);
	cr_expect_eq(errno, ECONNRESET);
	cr_expect_eq(double_refs(fd), 1);
}

Test(preload, success_keeps_errno)
{
	d = double_returns(5);
	errno = EILSEQ;
	cr_expect_eq(write(fd, buf, 5), 5);
	cr_expect_eq(errno, EILSEQ);
}

Test(preload, an_operation_may_send_the_call_to_the_kernel)
{
	d = double_returns(DOUBLE_TO_KERNEL);
	cr_assert_eq(send(peer, "hello", 5, 0), 5);
	cr_expect_eq(read(fd, buf, sizeof(buf)), 5);
	cr_expect_str_eq(d->op, "recv");
	cr_expect_eq(double_refs(fd), 1);
	cr_expect_eq(write(fd, "ab", 2), 2);
	cr_expect_eq(recv(peer, buf, sizeof(buf), 0), 2);
	cr_expect_eq(listen(fd, 1), -1);
	cr_expect_eq(errno, EINVAL, "a connected pair cannot listen, says the kernel");
}

Test(preload, a_missing_operation_is_the_kernels)
{
	int other, bare = double_file_bare(&other);

	d = double_returns(0);
	cr_assert_eq(write(bare, "abc", 3), 3);
	cr_expect_eq(read(other, buf, sizeof(buf)), 3);
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(double_refs(bare), 1);
}

Test(preload, socket_calls_reach_their_operations)
{
	struct sockaddr_storage room = { .ss_family = AF_INET6 };
	struct sockaddr *name = (struct sockaddr *)&room;
	struct sockaddr addr;
	socklen_t len = sizeof(addr);

	memset((char *)&room + 2, 7, 26);
	d = double_returns(0);
	cr_expect_eq(bind(fd, name, 16), 0);
	expect("bind", fd, 16);
	cr_expect(!memcmp(d->copied, name, 16));
	cr_expect_eq(connect(fd, name, 28), 0);
	expect("connect", fd, 28);
	cr_expect(!memcmp(d->copied, name, 28));
	cr_expect_eq(listen(fd, 511), 0);
	expect("listen", fd, 511);
	cr_expect_eq(shutdown(fd, SHUT_WR), 0);
	expect("shutdown", fd, SHUT_WR);
	cr_expect_eq(getsockname(fd, &addr, &len), 0);
	expect("getsockname", fd, L(&addr), L(&len));
	cr_expect_eq(getpeername(fd, &addr, &len), 0);
	expect("getpeername", fd, L(&addr), L(&len));
	cr_expect_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, buf, &len), 0);
	expect("getsockopt", fd, SOL_SOCKET, SO_ERROR, L(buf), L(&len));
	cr_expect_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, buf, 4), 0);
	expect("setsockopt", fd, SOL_SOCKET, SO_REUSEADDR, L(buf), 4);
}

Test(preload, accept_gives_the_operations_number)
{
	struct sockaddr addr;
	socklen_t len = sizeof(addr);

	d = double_returns(77);
	cr_expect_eq(accept(fd, &addr, &len), 77);
	expect("accept", fd, L(&addr), L(&len), 0);
	cr_expect_eq(accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), 77);
	expect("accept", fd, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
	d = double_returns(77);
	cr_expect_eq(accept4(fd, NULL, NULL, SOCK_RAW), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(double_refs(fd), 1);
}

Test(preload, socket_asks_the_shim)
{
	d = double_returns(9);
	cr_expect_eq(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP), 9);
	expect("socket", AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_TCP);
	d = double_returns(-EMFILE);
	cr_expect_eq(socket(AF_INET, SOCK_STREAM, 0), -1);
	cr_expect_eq(errno, EMFILE);
}

Test(preload, socket_may_be_the_kernels)
{
	int s;

	d = double_returns(DOUBLE_TO_KERNEL);
	s = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_assert_geq(s, 0);
	cr_expect_eq(close(s), 0);
	double_active(false);
	d = double_returns(9);
	s = socket(AF_UNIX, SOCK_DGRAM, 0);
	cr_expect_eq(close(s), 0);
	cr_expect_eq(d->calls, 0, "inert");
}

Test(preload, reads_and_writes_become_vectors)
{
	struct iovec iov[2] = { { buf, 3 }, { buf + 8, 4 } };

	d = double_returns(1);
	cr_expect_eq(read(fd, buf, 10), 1);
	expect_iov("recv", buf, 10, 0);
	cr_expect_eq(__read(fd, buf, 11), 1);
	expect_iov("recv", buf, 11, 0);
	cr_expect_eq(recv(fd, buf, 10, MSG_PEEK), 1);
	expect_iov("recv", buf, 10, MSG_PEEK);
	cr_expect_eq(recvfrom(fd, buf, 10, MSG_WAITALL, NULL, NULL), 1);
	expect_iov("recv", buf, 10, MSG_WAITALL);
	cr_expect_eq(readv(fd, iov, 2), 1);
	expect_iov("recv", buf, 3, 0);
	cr_expect_eq(d->iovcnt, 2);
	cr_expect_eq(write(fd, buf, 12), 1);
	expect_iov("send", buf, 12, 0);
	cr_expect_eq(send(fd, buf, 12, MSG_NOSIGNAL), 1);
	expect_iov("send", buf, 12, MSG_NOSIGNAL);
	cr_expect_eq(sendto(fd, buf, 12, MSG_MORE, NULL, 0), 1);
	expect_iov("send", buf, 12, MSG_MORE);
	cr_expect_eq(writev(fd, iov, 2), 1);
	expect_iov("send", buf, 3, 0);
	cr_expect_eq(d->iovcnt, 2);
}

Test(preload, reading_nothing_asks_nobody)
{
	struct iovec none = { buf, 0 };

	d = double_returns(-EAGAIN);
	cr_expect_eq(read(fd, buf, 0), 0);
	cr_expect_eq(readv(fd, &none, 1), 0);
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(double_refs(fd), 1);
	cr_expect_eq(recv(fd, buf, 0, 0), -1);
	cr_expect_eq(errno, EAGAIN, "recv does ask");
	d = double_returns(0);
	cr_expect_eq(write(fd, buf, 0), 0);
	cr_expect_str_eq(d->op, "send", "an empty datagram is one");
}

Test(preload, bad_vectors_are_refused_before_the_operation)
{
	struct iovec huge = { buf, (size_t)SSIZE_MAX + 1 }, one = { buf, 1 };
	/* volatile: the compiler knows these functions, and would object */
	volatile int negative = -1, many = IOV_MAX + 1;

	d = double_returns(1);
	cr_expect_eq(readv(fd, &one, negative), -1);
	cr_expect_eq(errno, EINVAL);
	errno = 0;
	cr_expect_eq(writev(fd, &one, many), -1);
	cr_expect_eq(errno, EINVAL);
	errno = 0;
	cr_expect_eq(readv(fd, &huge, 1), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(double_refs(fd), 1);
}

Test(preload, a_position_is_refused_except_the_current_one)
{
	struct iovec one = { buf, 1 };

	d = double_returns(1);
	cr_expect_eq(preadv2(fd, &one, 1, -1, 0), 1);
	expect_iov("recv", buf, 1, 0);
	cr_expect_eq(preadv2(fd, &one, 1, -1, RWF_NOWAIT), 1);
	expect_iov("recv", buf, 1, MSG_DONTWAIT);
	cr_expect_eq(preadv64v2(fd, &one, 1, -1, 0), 1);
	expect_iov("recv", buf, 1, 0);
	cr_expect_eq(pwritev2(fd, &one, 1, -1, 0), 1);
	expect_iov("send", buf, 1, 0);
	cr_expect_eq(preadv64v2(fd, &one, 1, -1, RWF_NOWAIT), 1);
	expect_iov("recv", buf, 1, MSG_DONTWAIT);
	cr_expect_eq(pwritev64v2(fd, &one, 1, -1, 0), 1);
	expect_iov("send", buf, 1, 0);
	d = double_returns(1);
	cr_expect_eq(preadv2(fd, &one, 1, 0, 0), -1);
	cr_expect_eq(errno, ESPIPE);
	cr_expect_eq(pwritev2(fd, &one, 1, -1, 1 << 30), -1);
	cr_expect_eq(errno, EOPNOTSUPP);
	cr_expect_eq(d->calls, 0);
}

/* libc's threads read and write, so the descriptor is made the kernel's first. */
static void begun(const char *name, int ret, const struct aiocb *cb)
{
	cr_expect_eq(ret, 0, "%s", name);
	cr_expect_str_eq(d->log, "convert ", "%s: %s", name, d->log);
	cr_expect_eq(aio_suspend(&cb, 1, NULL), 0);
	cr_expect_eq(aio_return((struct aiocb *)cb), 1, "%s: %s", name, strerror(aio_error(cb)));
}

Test(preload, asynchronous_requests_convert)
{
	struct aiocb cb = { .aio_fildes = fd, .aio_buf = buf, .aio_nbytes = 1, .aio_lio_opcode = LIO_WRITE };
	struct aiocb64 cb64 = { .aio_fildes = fd, .aio_buf = buf, .aio_nbytes = 1, .aio_lio_opcode = LIO_WRITE };
	struct aiocb *list = &cb;
	struct aiocb64 *list64 = &cb64;

	cr_assert_eq(send(peer, "ab", 2, 0), 2);
#define begins(call, cb) do { d = double_returns(0); begun(#call, call, cb); } while (0)
	begins(aio_read(&cb), &cb);
	begins(aio_read64(&cb64), (struct aiocb *)&cb64);
	begins(aio_write(&cb), &cb);
	begins(aio_write64(&cb64), (struct aiocb *)&cb64);
	begins(lio_listio(LIO_WAIT, &list, 1, NULL), &cb);
	begins(lio_listio64(LIO_WAIT, &list64, 1, NULL), (struct aiocb *)&cb64);
#undef begins
	cr_expect_eq(recv(peer, buf, sizeof(buf), MSG_DONTWAIT), 4);
}

/* FN_KERNEL in syscalls.def: not wrapped, since the number is a real socket. */
Test(preload, what_is_not_wrapped_is_right_by_itself)
{
	struct iovec one = { buf, 1 };
	struct statx stx;
	struct stat st;

	d = double_returns(1);
#define expect_errno(e, expr)			\
	do {					\
		errno = 0;			\
		cr_expect_eq((expr), -1, #expr);	\
		cr_expect_eq(errno, e, #expr);	\
	} while (0)
	expect_errno(ESPIPE, pread(fd, buf, 1, 0));
	expect_errno(ESPIPE, preadv(fd, &one, 1, 0));
	expect_errno(ESPIPE, pwrite(fd, buf, 1, 0));
	expect_errno(ESPIPE, pwritev(fd, &one, 1, 0));
	expect_errno(ESPIPE, lseek(fd, 0, SEEK_SET));
	expect_errno(EINVAL, tee(fd, peer, 1, 0));
	expect_errno(EBADF, vmsplice(fd, &one, 1, 0));
	cr_expect_eq(isatty(fd), 0);
	cr_expect_eq(isfdtype(fd, S_IFSOCK), 1);
	cr_expect_eq(fstat(fd, &st), 0);
	cr_expect(S_ISSOCK(st.st_mode));
	cr_expect_eq(statx(fd, "", AT_EMPTY_PATH, STATX_MODE, &stx), 0);
	cr_expect(S_ISSOCK(stx.stx_mode));
	cr_expect_eq(d->calls, 0);
}

Test(preload, addresses_travel_in_a_message)
{
	char from[16], to[16] = "any name";
	socklen_t len = sizeof(from);

	d = double_returns(2);
	d->namelen = 28;
	cr_expect_eq(recvfrom(fd, buf, 10, MSG_TRUNC, (struct sockaddr *)from, &len), 2);
	expect_iov("recvmsg", buf, 10, MSG_TRUNC);
	cr_expect_eq(d->msg.msg_name, from);
	cr_expect_eq(d->msg.msg_namelen, sizeof(from));
	cr_expect_eq(len, 28, "the whole length, though it was cut");
	cr_expect_eq(sendto(fd, buf, 10, MSG_DONTWAIT, (struct sockaddr *)to, sizeof(to)), 2);
	expect_iov("sendmsg", buf, 10, MSG_DONTWAIT);
	cr_expect(!memcmp(d->copied, to, sizeof(to)));
	cr_expect_eq(d->msg.msg_namelen, sizeof(to));
	d = double_returns(-EAGAIN);
	len = 16;
	cr_expect_eq(recvfrom(fd, buf, 10, 0, (struct sockaddr *)from, &len), -1);
	cr_expect_eq(len, 16, "untouched on an error");
}

Test(preload, bad_messages_are_refused_before_the_operation)
{
	struct msghdr msg = { .msg_iovlen = IOV_MAX + 1 };
	socklen_t negative = (socklen_t)-1;

	d = double_returns(1);
	cr_expect_eq(recvmsg(fd, &msg, 0), -1);
	cr_expect_eq(errno, EMSGSIZE);
	errno = 0;
	cr_expect_eq(sendmsg(fd, &msg, 0), -1);
	cr_expect_eq(errno, EMSGSIZE);
	cr_expect_eq(recvfrom(fd, buf, 1, 0, (struct sockaddr *)buf, &negative), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(recvfrom(fd, buf, 1, 0, (struct sockaddr *)buf, NULL), -1);
	cr_expect_eq(errno, EFAULT);
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(double_refs(fd), 1);
}

/* On a kernel's socket. */
Test(preload, descriptors_that_a_message_brings_are_looked_at)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))), byte = 1;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = (struct cmsghdr *)control;
	int pair[2], brought;

	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) };
	memcpy(CMSG_DATA(c), &pair[0], sizeof(int));
	d = double_returns(0);
	cr_assert_eq(sendmsg(pair[0], &msg, 0), 1);
	memset(control, 0, sizeof(control));
	cr_assert_eq(recvmsg(pair[1], &msg, 0), 1);
	memcpy(&brought, CMSG_DATA(c), sizeof(int));
	cr_expect_gt(brought, pair[1]);
	cr_expect_eq(d->met, brought);
	cr_expect_eq(d->calls, 0);
}

/* ---- several messages ---- */

static struct mmsghdr msgs[4];

Test(preload, recvmmsg_stops_at_an_error_and_reports_what_came)
{
	d = double_returns(5);
	d->result[1] = 6;
	d->result[2] = -EAGAIN;
	d->results = 3;
	cr_expect_eq(recvmmsg(fd, msgs, 4, MSG_DONTWAIT, NULL), 2);
	cr_expect_eq(errno, 0);
	cr_expect_eq(msgs[0].msg_len, 5);
	cr_expect_eq(msgs[1].msg_len, 6);
	cr_expect_eq(d->calls, 3);
	cr_expect_eq(double_refs(fd), 1);
	d = double_returns(-EAGAIN);
	cr_expect_eq(recvmmsg(fd, msgs, 4, MSG_DONTWAIT, NULL), -1);
	cr_expect_eq(errno, EAGAIN);
}

Test(preload, recvmmsg_waits_for_one_only_when_asked)
{
	d = double_returns(1);
	d->result[1] = -EAGAIN;
	d->results = 2;
	cr_expect_eq(recvmmsg(fd, msgs, 4, MSG_WAITFORONE, NULL), 1);
	cr_expect_eq(d->flags, MSG_DONTWAIT, "from the second message on");
	d = double_returns(1);
	cr_expect_eq(recvmmsg(fd, msgs, 1, MSG_WAITFORONE, NULL), 1);
	cr_expect_eq(d->flags, 0, "the first one waits; the flag itself does not go down");
}

Test(preload, recvmmsg_looks_at_the_time_after_each_message)
{
	struct timespec ts = { .tv_sec = 1 };

	d = double_returns(1);
	d->takes = 400000000;
	cr_expect_eq(recvmmsg(fd, msgs, 2, 0, &ts), 2);
	cr_expect_eq(ts.tv_nsec, 200000000, "the time left");
	ts = (struct timespec){ .tv_nsec = 500000000 };
	cr_expect_eq(recvmmsg(fd, msgs, 4, 0, &ts), 2, "over after the second");
	cr_expect_eq(ts.tv_sec, 0);
	cr_expect_eq(ts.tv_nsec, 0);
	ts.tv_nsec = 1000000000;
	cr_expect_eq(recvmmsg(fd, msgs, 4, 0, &ts), -1);
	cr_expect_eq(errno, EINVAL);
}

Test(preload, recvmmsg_ends_with_urgent_data)
{
	d = double_returns(1);
	d->msg_flags = MSG_OOB;
	cr_expect_eq(recvmmsg(fd, msgs, 4, 0, NULL), 1);
}

Test(preload, several_messages_may_be_the_kernels_one_by_one)
{
	struct iovec iov = { buf, 4 };

	memset(msgs, 0, sizeof(msgs));
	msgs[0].msg_hdr = msgs[1].msg_hdr = (struct msghdr){ .msg_iov = &iov, .msg_iovlen = 1 };
	d = double_returns(DOUBLE_TO_KERNEL);
	cr_expect_eq(sendmmsg(fd, msgs, 2, 0), 2);
	cr_expect_eq(recv(peer, buf, sizeof(buf), 0), 8);
	cr_expect_eq(send(peer, "abcdef", 6, 0), 6);
	cr_expect_eq(recvmmsg(fd, msgs, 4, MSG_DONTWAIT, NULL), 2);
	cr_expect_eq(msgs[0].msg_len, 4);
	cr_expect_eq(msgs[1].msg_len, 2);
	cr_expect_eq(errno, 0);
	cr_expect_eq(recvmmsg(fd, msgs, 4, MSG_DONTWAIT, NULL), -1);
	cr_expect_eq(errno, EAGAIN);
}

Test(preload, sendmmsg_reports_an_error_only_when_none_went)
{
	d = double_returns(3);
	d->result[1] = -EPIPE;
	d->results = 2;
	cr_expect_eq(sendmmsg(fd, msgs, 4, MSG_NOSIGNAL), 1);
	cr_expect_eq(msgs[0].msg_len, 3);
	cr_expect_eq(d->flags, MSG_NOSIGNAL);
	cr_expect_eq(errno, 0);
	d = double_returns(-EPIPE);
	cr_expect_eq(sendmmsg(fd, msgs, 4, 0), -1);
	cr_expect_eq(errno, EPIPE);
	cr_expect_eq(sendmmsg(fd, msgs, 0, 0), 0);
}

/* ---- two descriptors ---- */

Test(preload, sendfile_goes_to_the_socket_it_writes)
{
	int file = open("/proc/self/exe", O_RDONLY);
	off_t off = 3;

	d = double_returns(100);
	cr_expect_eq(sendfile(fd, file, &off, 100), 100);
	expect("sendfile", fd, file, L(&off), 100);
	cr_expect_eq(sendfile64(fd, file, NULL, 100), 100);
	expect("sendfile", fd, file, 0, 100);
	d = double_returns(100);
	cr_expect_eq(sendfile(peer, fd, NULL, 1), -1);
	cr_expect_eq(errno, EINVAL, "a socket is nothing to send from");
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(double_refs(fd), 1);
}

Test(preload, splice_needs_a_pipe_on_the_other_side)
{
	int pipes[2], other = double_file(NULL);

	cr_assert_eq(pipe(pipes), 0);
	d = double_returns(10);
	cr_expect_eq(splice(fd, NULL, pipes[1], NULL, 10, SPLICE_F_MOVE), 10);
	expect("splice_out", fd, pipes[1], 10, SPLICE_F_MOVE);
	cr_expect_eq(splice(pipes[0], NULL, fd, NULL, 11, SPLICE_F_MORE), 10);
	expect("splice_in", fd, pipes[0], 11, SPLICE_F_MORE);
	d = double_returns(10);
	cr_expect_eq(splice(fd, NULL, other, NULL, 10, 0), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(splice(fd, NULL, peer, NULL, 10, 0), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(d->calls, 0);
}

/* ---- numbers ---- */

Test(preload, close_knows_three_sorts_of_numbers)
{
	int k = dup(peer), in = fcntl(peer, F_DUPFD, 200);

	d = double_returns(0);
	cr_expect_eq(close(k), 0);
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(close(k), -1);
	cr_expect_eq(errno, EBADF);
	d->internal_fd = in;
	errno = 0;
	cr_expect_eq(close(in), -1);
	cr_expect_eq(errno, EBADF, "internal: not there for the program");
	cr_expect_geq(fcntl(in, F_GETFD), 0, "and still open");
	d->internal_fd = -1;
	cr_expect_eq(close(in), 0);
	cr_expect_eq(__close(fd), 0);
	cr_expect_str_eq(d->op, "fd_close");
	cr_expect_eq(close(-1), -1);
	cr_expect_eq(close(INT_MAX), -1);
}

Test(preload, closing_is_the_shims_where_a_number_may_be_taken_for_a_moment)
{
	int k = dup(peer);

	d = double_returns(0);
	double_lowest(0);
	cr_expect_eq(close(k), 0);
	expect("fd_close", k);
	dup2(peer, k);
	expect("fd_dup2", peer, k, 0, false);
	dup3(peer, k, O_CLOEXEC);
	expect("fd_dup2", peer, k, O_CLOEXEC, true);
	double_lowest(192);
}

Test(preload, ranges_are_the_shims)
{
	d = double_returns(0);
	cr_expect_eq(close_range(100, 200, CLOSE_RANGE_CLOEXEC), 0);
	expect("fd_close_range", 100, 200, CLOSE_RANGE_CLOEXEC);
	closefrom(500);
	expect("fd_closefrom", 500);
	closefrom(-5);
	expect("fd_closefrom", 0);
}

Test(preload, dup_concerns_us_by_either_number)
{
	int k = dup(peer);

	d = double_returns(44);
	cr_expect_eq(dup2(peer, k), k);
	cr_expect_eq(d->calls, 0);
	cr_expect_eq(dup(fd), 44);
	expect("fd_dup", fd);
	cr_expect_eq(dup2(fd, 44), 44);
	expect("fd_dup2", fd, 44, 0, false);
	cr_expect_eq(dup2(peer, fd), 44);
	expect("fd_dup2", peer, fd, 0, false);
	cr_expect_eq(dup3(fd, 44, O_CLOEXEC), 44);
	expect("fd_dup2", fd, 44, O_CLOEXEC, true);
	d->internal_fd = 300;
	cr_expect_eq(dup2(peer, 300), 44);
	expect("fd_dup2", peer, 300, 0, false);
}

Test(preload, fcntl_parts_the_descriptor_from_the_description)
{
	struct flock lock = { .l_type = F_RDLCK };

	d = double_returns(0);
	cr_expect_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	expect("fcntl", fd, F_SETFL, O_NONBLOCK);
	cr_expect_eq(fcntl64(fd, F_GETLK, &lock), 0);
	expect("fcntl", fd, F_GETLK, L(&lock));
	cr_expect_eq(fcntl(fd, F_DUPFD_CLOEXEC, 12), 0);
	expect("fd_fcntl_dup", fd, F_DUPFD_CLOEXEC, 12);
	d = double_returns(0);
	cr_expect_eq(fcntl(fd, F_GETFD), FD_CLOEXEC, "the kernel's");
	cr_expect_eq(fcntl(fd, F_SETFD, 0), 0);
	cr_expect_eq(fcntl(fd, F_GETFD), 0);
	cr_expect_eq(d->calls, 0);
}

Test(preload, ioctl_passes_its_pointer)
{
	int n = 0;

	d = double_returns(0);
	cr_expect_eq(ioctl(fd, FIONREAD, &n), 0);
	expect("ioctl", fd, FIONREAD, L(&n));
	d = double_returns(-EINVAL);
	cr_expect_eq(sockatmark(fd), -1);
	cr_expect_eq(d->arg[1], SIOCATMARK);
	cr_assert_eq(write(fd, "abc", 3), -1);
	cr_expect_eq(ioctl(peer, FIONREAD, &n), 0);
	cr_expect_eq(n, 0);
}

/* ---- readiness ---- */

Test(preload, poll_turns_milliseconds_into_a_timespec)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec ts = { .tv_sec = 7, .tv_nsec = 8 };
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	d = double_returns(1);
	cr_expect_eq(poll(&p, 1, 2500), 1);
	expect("poll", L(&p), 1);
	cr_expect_eq(d->ts.tv_sec, 2);
	cr_expect_eq(d->ts.tv_nsec, 500000000);
	cr_expect_eq(poll(&p, 1, -1), 1);
	cr_expect(d->forever);
	cr_expect_eq(__poll_chk(&p, 1, 0, sizeof(p)), 1);
	cr_expect_not(d->forever);
	cr_expect_eq(ppoll(&p, 1, &ts, &mask), 1);
	cr_expect_eq(d->ts.tv_sec, 7);
	cr_expect_eq(d->ts.tv_nsec, 8);
	cr_expect(sigismember(&d->mask, SIGUSR2));
	d = double_returns(1);
	cr_expect_eq(__ppoll_chk(&p, 1, &ts, &mask, sizeof(p)), 1);
	expect("poll", L(&p), 1);
	cr_expect_eq(d->ts.tv_sec, 7);
	cr_expect(sigismember(&d->mask, SIGUSR2));
	ts.tv_nsec = 1000000000;
	cr_expect_eq(ppoll(&p, 1, &ts, NULL), -1);
	cr_expect_eq(errno, EINVAL);
}

Test(preload, select_writes_the_time_left)
{
	struct timeval tv = { .tv_sec = 3, .tv_usec = 1500000 };
	struct timespec ts = { .tv_sec = 2 };
	fd_set set;

	FD_ZERO(&set);
	d = double_returns(0);
	d->takes = 1750000000;
	cr_expect_eq(select(fd + 1, &set, NULL, NULL, &tv), 0);
	expect("select", fd + 1, L(&set), 0, 0);
	cr_expect_eq(d->ts.tv_sec, 4);
	cr_expect_eq(d->ts.tv_nsec, 500000000);
	cr_expect_eq(tv.tv_sec, 2);
	cr_expect_eq(tv.tv_usec, 750000);
	d->takes = 10000000000;
	cr_expect_eq(select(fd + 1, &set, NULL, NULL, &tv), 0);
	cr_expect_eq(tv.tv_sec, 0);
	cr_expect_eq(tv.tv_usec, 0);
	cr_expect_eq(pselect(fd + 1, &set, NULL, NULL, &ts, NULL), 0);
	cr_expect_eq(ts.tv_sec, 2, "pselect does not");
	tv.tv_usec = -1;
	cr_expect_eq(select(fd + 1, &set, NULL, NULL, &tv), -1);
	cr_expect_eq(errno, EINVAL);
}

Test(preload, epoll_reaches_its_operations)
{
	struct timespec ts = { .tv_nsec = 5 };
	struct epoll_event ev[4] = { { .events = EPOLLIN, .data.u64 = 99 } };

	d = double_returns(21);
	cr_expect_eq(epoll_create1(EPOLL_CLOEXEC), 21);
	expect("epoll_create1", EPOLL_CLOEXEC);
	cr_expect_eq(epoll_create(1), 21);
	expect("epoll_create1", 0);
	cr_expect_eq(epoll_create(0), -1);
	cr_expect_eq(errno, EINVAL);
	errno = 0;
	cr_expect_eq(epoll_ctl(fd, EPOLL_CTL_ADD, 5, ev), 21);
	expect("epoll_ctl", fd, EPOLL_CTL_ADD, 5);
	cr_expect(!memcmp(d->copied, ev, sizeof(*ev)));
	cr_expect_eq(epoll_wait(fd, ev, 4, 1), 21);
	expect("epoll_wait", fd, L(ev), 4);
	cr_expect_eq(d->ts.tv_nsec, 1000000);
	cr_expect_eq(epoll_pwait(fd, ev, 4, -1, NULL), 21);
	cr_expect(d->forever);
	cr_expect_eq(epoll_pwait2(fd, ev, 4, &ts, NULL), 21);
	cr_expect_eq(d->ts.tv_nsec, 5);
	cr_expect_eq(epoll_wait(fd, ev, 0, 1), -1);
	cr_expect_eq(errno, EINVAL);
	cr_expect_eq(double_refs(fd), 1);
}

/* ---- other ways in ---- */

/* sockperf looks its functions up at run time. */
Test(preload, dlsym_finds_the_wrappers)
{
	ssize_t (*by_default)(int, void *, size_t) = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_DEFAULT, "read");
	ssize_t (*by_next)(int, void *, size_t) = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");

	d = double_returns(3);
	cr_expect_eq(by_default(fd, buf, 4), 3);
	cr_expect_eq(by_next(fd, buf, 4), 3);
	cr_expect_eq(d->calls, 2);
}

Test(preload, fortified_reads_fit)
{
	d = double_returns(1);
	cr_expect_eq(__read_chk(fd, buf, 4, 4), 1);
	cr_expect_eq(__recv_chk(fd, buf, 4, 4, MSG_PEEK), 1);
	cr_expect_eq(__recvfrom_chk(fd, buf, 4, 4, MSG_PEEK, NULL, NULL), 1);
	cr_expect_eq(d->calls, 3);
}

Test(preload, fortified_reads_that_overflow_end_the_program, .signal = SIGABRT)
{
	__read_chk(peer, buf, 5, 4);
}

Test(preload, fortified_poll_that_overflows_ends_the_program, .signal = SIGABRT)
{
	struct pollfd p = { .fd = fd };

	__poll_chk(&p, 2, 0, sizeof(p));
}

Test(preload, fortified_ppoll_that_overflows_ends_the_program, .signal = SIGABRT)
{
	struct pollfd p = { .fd = fd };
	struct timespec none = { 0 };

	__ppoll_chk(&p, 2, &none, NULL, sizeof(p));
}

/* Our constructor is the last of the libraries'; theirs have called us by then. */
Test(preload, calls_before_the_constructor_work)
{
	cr_assert(early.before_us);
	cr_expect_eq(early.wrote, 1);
	cr_expect_eq(early.ready, 1);
	cr_expect_eq(early.got, 'e');
	cr_expect_eq(early.closed, 0);
	cr_expect_eq(early.bad_errno, EBADF);
	cr_expect_geq(early.socket, 0);
	cr_expect_geq(early.epoll, 0);
	cr_expect_gt(early.pid, 0);
	cr_expect(early.handler_ran);
	cr_expect_eq(early.child, 7);
}
