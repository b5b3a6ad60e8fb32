/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bytes in and out. Here stand the checks that the kernel makes at the entry of a call, before a protocol sees it:
 * counts, lengths, vectors; and what several messages or two descriptors in one call mean.
 */
#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>

#include "preload/exec.h"
#include "preload/guard.h"
#include "shim/engine.h"
#include "shim/quick.h"
#include "stack/user.h"

/* A write's vector up to so many elements is summed up in front of the lock. */
#define QUICK_IOVS	8

/* libc's, for buffers that the compiler knew to be too small; ends the process. */
extern void __chk_fail(void) __attribute__((noreturn));

static bool iov_readable(const struct iovec *iov, size_t count)
{
	return fn_user_readable(iov, count * sizeof(*iov)) == count * sizeof(*iov);
}

/* How many bytes a vector has room for, or -EINVAL, -EFAULT (import_iovec). */
static ssize_t iov_bytes(const struct iovec *iov, int count)
{
	size_t sum = 0;

	if (count < 0 || count > IOV_MAX)
		return -EINVAL;
	if (!iov_readable(iov, (size_t)count))
		return -EFAULT;
	for (int i = 0; i < count; i++) {
		if (iov[i].iov_len > SSIZE_MAX)
			return -EINVAL;
		sum = fn_min(sum + iov[i].iov_len, FN_RW_MAX);
	}
	return (ssize_t)sum;
}

/* read() of nothing gives 0 without asking the socket, recv() asks (sock_read_iter). */
static ssize_t read_iov(struct fn_file *f, int fd, const struct iovec *iov, int count, unsigned flags)
{
	ssize_t room;

	if (!f || !f->ops->recv)	/* an epoll set: nothing to read is no success there */
		return FN_TO_KERNEL;
	room = iov_bytes(iov, count);
	return room <= 0 ? room : fn_op(f, recv, fd, iov, count, flags);
}

static ssize_t write_iov(struct fn_file *f, int fd, const struct iovec *iov, int count, unsigned flags)
{
	ssize_t bytes;

	if (!f || !f->ops->send)
		return FN_TO_KERNEL;
	bytes = iov_bytes(iov, count);
	return bytes <= 0 ? bytes : fn_op(f, send, fd, iov, count, flags);
}

/* copy_msghdr_from_user: 0, -EMSGSIZE, -EINVAL, -EFAULT. The header itself can be read. */
static int check_msg(const struct msghdr *msg)
{
	if (msg->msg_name && (int)msg->msg_namelen < 0)
		return -EINVAL;
	if (msg->msg_iovlen > IOV_MAX)
		return -EMSGSIZE;
	return iov_readable(msg->msg_iov, msg->msg_iovlen) ? 0 : -EFAULT;
}

static ssize_t recv_msg(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags)
{
	int ret = fn_user_may_write_all(msg, sizeof(*msg)) ? check_msg(msg) : -EFAULT;

	return ret < 0 ? ret : fn_op(f, recvmsg, fd, msg, flags);
}

/* Name and ancillary data are read where they are, so a whole name is copied, and the data looked at, first. */
static ssize_t send_msg(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags)
{
	struct sockaddr_storage name;
	struct msghdr copy;
	int ret = fn_user_may_read_all(msg, sizeof(*msg)) ? check_msg(msg) : -EFAULT;

	if (ret < 0)
		return ret;
	if (msg->msg_control && fn_user_readable(msg->msg_control, msg->msg_controllen) < msg->msg_controllen)
		return -EFAULT;
	if (!msg->msg_name)
		return fn_op(f, sendmsg, fd, msg, flags);
	copy = *msg;
	copy.msg_namelen = fn_min(msg->msg_namelen, (socklen_t)sizeof(name));
	if (fn_user_get(&name, msg->msg_name, copy.msg_namelen))
		return -EFAULT;
	copy.msg_name = &name;
	return fn_op(f, sendmsg, fd, &copy, flags);
}

/* A plain read that is not done by fn_quick_recv(). */
static ssize_t recv_rest(struct fn_quick q, int fd, const struct iovec *iov)
{
	return q.ret == FN_NOT_BEGUN ? fn_op(q.file, recv, fd, iov, 1, 0) : fn_tcp_recv_on(q.file, iov, q.ret);
}

ssize_t fn_ours_read(int fd, void *buf, size_t n)
{
	struct iovec iov = fn_one_iov(buf, n);
	struct fn_quick q;

	fn_guard_enter(true);
	q = fn_quick_recv(fd, &iov);
	if (fn_likely(q.ret >= 0 && !q.file))
		return fn_guard_left(q.ret);
	return fn_done_quick(q, fd, n ? recv_rest(q, fd, &iov) : read_iov(q.file, fd, &iov, 1, 0),
			     fn_real.read(fd, buf, n));
}

ssize_t fn_ours_readv(int fd, const struct iovec *iov, int count)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_done(f, fd, read_iov(f, fd, iov, count, 0), fn_real.readv(fd, iov, count));
}

/*
 * A position other than -1 (the current one) is ESPIPE from the kernel, and so are flags that it does not know EOPNOTSUPP.
 * Of those it knows RWF_NOWAIT alone means something to a socket.
 */
static bool at_current(off_t off, int flags)
{
	return off == -1 && !(flags & ~(RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND));
}

ssize_t fn_ours_preadv2(int fd, const struct iovec *iov, int count, off_t off, int flags)
{
	struct fn_file *f;

	if (!at_current(off, flags))
		return fn_real.preadv2(fd, iov, count, off, flags);
	f = fn_enter_point(fd);
	return fn_done(f, fd, read_iov(f, fd, iov, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0),
		       fn_real.preadv2(fd, iov, count, off, flags));
}

static __attribute__((noinline)) ssize_t recv_flags(int fd, void *buf, size_t n, int flags)
{
	struct fn_file *f = fn_enter_point(fd);
	struct iovec iov = fn_one_iov(buf, n);

	return fn_call(f, recv, fn_real.recv(fd, buf, n, flags), fd, &iov, 1, flags);
}

ssize_t fn_ours_recv(int fd, void *buf, size_t n, int flags)
{
	struct iovec iov = fn_one_iov(buf, n);
	struct fn_quick q;

	if (fn_unlikely(flags))
		return recv_flags(fd, buf, n, flags);
	fn_guard_enter(true);
	q = fn_quick_recv(fd, &iov);
	if (fn_likely(q.ret >= 0 && !q.file))
		return fn_guard_left(q.ret);
	return fn_done_quick(q, fd, recv_rest(q, fd, &iov), fn_real.recv(fd, buf, n, flags));
}

static ssize_t recv_from(struct fn_file *f, int fd, struct iovec iov, int flags, struct sockaddr *addr, socklen_t *len)
{
	struct msghdr msg = { .msg_name = addr, .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t ret;

	if (!len || !fn_user_may_write_all(len, sizeof(*len)))
		return -EFAULT;
	msg.msg_namelen = *len;
	ret = recv_msg(f, fd, &msg, flags);
	if (ret >= 0)
		*len = msg.msg_namelen;
	return ret;
}

ssize_t fn_ours_recvfrom(int fd, void *buf, size_t n, int flags, struct sockaddr *addr, socklen_t *len)
{
	struct fn_file *f;

	if (!addr)
		return fn_ours_recv(fd, buf, n, flags);
	f = fn_enter_point(fd);
	return fn_done(f, fd, recv_from(f, fd, fn_one_iov(buf, n), flags, addr, len),
		       fn_real.recvfrom(fd, buf, n, flags, addr, len));
}

static __attribute__((noinline)) ssize_t recvmsg_ours(int fd, struct msghdr *msg, int flags)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_done(f, fd, recv_msg(f, fd, msg, flags), fn_real.recvmsg(fd, msg, flags));
}

/* From a kernel's socket a message may bring a listener. */
static __attribute__((noinline)) ssize_t recvmsg_rights(int fd, struct msghdr *msg, int flags)
{
	ssize_t n = fn_real.recvmsg(fd, msg, flags);

	if (n >= 0 && msg->msg_control && msg->msg_controllen)
		fn_exec_meet_rights(msg);
	return n;
}

ssize_t fn_wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	if (fn_ours(fd))
		return recvmsg_ours(fd, msg, flags);
	if (fn_unlikely(msg && msg->msg_control && msg->msg_controllen && fn_active()))
		return recvmsg_rights(fd, msg, flags);
	return fn_real.recvmsg(fd, msg, flags);
}

/* Write the time left until `end` back; false when there is none (do_recvmmsg: looked at after each message only). */
static bool time_remains(struct timespec *timeout, uint64_t end)
{
	uint64_t now = fn_now(), left = end > now ? end - now : 0;

	timeout->tv_sec = (time_t)(left / 1000000000);
	timeout->tv_nsec = (long)(left % 1000000000);
	return left != 0;
}

/* As do_recvmmsg(): an error after the first message ends the call, and is the next one's. So does a message that is
 * the kernel's; when the first is, the call is. */
static int recv_many(struct fn_file *f, int fd, struct mmsghdr *msgs, unsigned count, unsigned flags,
		     struct timespec *timeout)
{
	unsigned wait_for_one = flags & MSG_WAITFORONE, done = 0;
	uint64_t end = 0;
	ssize_t ret = 0;

	flags &= ~MSG_WAITFORONE;
	if (timeout && !fn_user_may_write_all(timeout, sizeof(*timeout)))
		return -EFAULT;
	if (timeout && (timeout->tv_sec < 0 || (unsigned long)timeout->tv_nsec >= 1000000000))
		return -EINVAL;
	/* an error that waits is told before anything is received, though there be data (sock_error) */
	if (!(flags & MSG_ERRQUEUE) && f->ops->take_error)
		ret = f->ops->take_error(f);
	if (ret < 0)
		return (int)ret;
	if (timeout)
		end = fn_now() + (uint64_t)fn_min(timeout->tv_sec, 1000000000) * 1000000000 + (uint64_t)timeout->tv_nsec;
	while (done < count) {
		ret = fn_user_may_write_all(&msgs[done], sizeof(*msgs)) ? recv_msg(f, fd, &msgs[done].msg_hdr, flags) : -EFAULT;
		if (ret < 0)
			break;
		msgs[done].msg_len = (unsigned)ret;
		if (wait_for_one)
			flags |= MSG_DONTWAIT;
		if (timeout && !time_remains(timeout, end)) {
			done++;
			break;
		}
		if (msgs[done++].msg_hdr.msg_flags & MSG_OOB)
			break;
	}
	if (done && ret < 0 && ret != -EAGAIN && ret != -EINTR && ret != -FN_RESTART && ret != FN_TO_KERNEL &&
	    f->ops->keep_error)
		f->ops->keep_error(f, (int)-ret);
	return done ? (int)done : (int)ret;
}

static __attribute__((noinline)) int recvmmsg_ours(int fd, struct mmsghdr *msgs, unsigned count, int flags,
						   struct timespec *timeout)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_done(f, fd, f && f->ops->recvmsg ? recv_many(f, fd, msgs, count, flags, timeout) : FN_TO_KERNEL,
		       fn_real.recvmmsg(fd, msgs, count, flags, timeout));
}

int fn_wrap_recvmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags, struct timespec *timeout)
{
	int n;

	if (fn_ours(fd))
		return recvmmsg_ours(fd, msgs, count, flags, timeout);
	n = fn_real.recvmmsg(fd, msgs, count, flags, timeout);
	for (int i = 0; i < n && fn_active(); i++)
		if (msgs[i].msg_hdr.msg_control && msgs[i].msg_hdr.msg_controllen)
			fn_exec_meet_rights(&msgs[i].msg_hdr);
	return n;
}

ssize_t fn_wrap___read_chk(int fd, void *buf, size_t n, size_t size)
{
	if (n > size)
		__chk_fail();
	return fn_wrap_read(fd, buf, n);
}

ssize_t fn_wrap___recv_chk(int fd, void *buf, size_t n, size_t size, int flags)
{
	if (n > size)
		__chk_fail();
	return fn_wrap_recv(fd, buf, n, flags);
}

ssize_t fn_wrap___recvfrom_chk(int fd, void *buf, size_t n, size_t size, int flags, struct sockaddr *addr,
			       socklen_t *len)
{
	if (n > size)
		__chk_fail();
	return fn_wrap_recvfrom(fd, buf, n, flags, addr, len);
}

/* A write that is not done by fn_quick_send() or fn_quick_writev(). */
static ssize_t send_rest(struct fn_quick q, int fd, const struct iovec *iov, int count, size_t want, unsigned flags)
{
	return q.ret == FN_NOT_BEGUN ? fn_op(q.file, send, fd, iov, count, flags) :
				       fn_tcp_send_on(q.file, fd, iov, count, want, flags, q.ret);
}

ssize_t fn_ours_write(int fd, const void *buf, size_t n)
{
	struct iovec iov = fn_one_iov(buf, n);
	struct fn_quick q;

	fn_guard_enter(true);
	q = fn_quick_send(fd, &iov);
	if (fn_likely(!q.file && q.ret >= 0))
		return fn_guard_left(q.ret);
	return fn_done_quick(q, fd, send_rest(q, fd, &iov, 1, iov.iov_len, 0), fn_real.write(fd, buf, n));
}

static ssize_t writev_slow(int fd, const struct iovec *iov, int count)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_done(f, fd, write_iov(f, fd, iov, count, 0), fn_real.writev(fd, iov, count));
}

/* The sum of a vector for fn_quick_writev(); 0: more than a handful, which has a price of its own, or nothing, or with
 * something wrong that is found on the long way. */
static size_t quick_total(const struct iovec *iov, size_t count)
{
	size_t total = 0;

	if (count - 1 >= QUICK_IOVS || !fn_user_may_read_all(iov, count * sizeof(*iov)))
		return 0;
	for (size_t i = 0; i < count; i++) {
		if (!iov[i].iov_base || iov[i].iov_len >= FN_RW_MAX / QUICK_IOVS)
			return 0;
		total += iov[i].iov_len;
	}
	return total;
}

ssize_t fn_ours_writev(int fd, const struct iovec *iov, int count)
{
	size_t want = quick_total(iov, (size_t)count);
	struct fn_quick q;

	if (fn_unlikely(!want))
		return writev_slow(fd, iov, count);
	fn_guard_enter(true);
	q = fn_quick_writev(fd, iov, count, want);
	if (fn_likely(!q.file && q.ret >= 0))
		return fn_guard_left(q.ret);
	return fn_done_quick(q, fd, send_rest(q, fd, iov, count, want, 0), fn_real.writev(fd, iov, count));
}

ssize_t fn_ours_pwritev2(int fd, const struct iovec *iov, int count, off_t off, int flags)
{
	struct fn_file *f;

	if (!at_current(off, flags))
		return fn_real.pwritev2(fd, iov, count, off, flags);
	f = fn_enter_point(fd);
	return fn_done(f, fd, write_iov(f, fd, iov, count, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0),
		       fn_real.pwritev2(fd, iov, count, off, flags));
}

static __attribute__((noinline)) ssize_t send_flags(int fd, const void *buf, size_t n, int flags)
{
	struct fn_file *f = fn_enter_point(fd);
	struct iovec iov = fn_one_iov(buf, n);

	return fn_call(f, send, fn_real.send(fd, buf, n, flags), fd, &iov, 1, flags);
}

ssize_t fn_ours_send(int fd, const void *buf, size_t n, int flags)
{
	struct iovec iov = fn_one_iov(buf, n);
	struct fn_quick q;

	if (fn_unlikely(flags & ~MSG_NOSIGNAL))
		return send_flags(fd, buf, n, flags);
	fn_guard_enter(true);
	q = fn_quick_send(fd, &iov);
	if (fn_likely(!q.file && q.ret >= 0))
		return fn_guard_left(q.ret);
	return fn_done_quick(q, fd, send_rest(q, fd, &iov, 1, iov.iov_len, (unsigned)flags), fn_real.send(fd, buf, n, flags));
}

static ssize_t send_to(struct fn_file *f, int fd, struct iovec iov, int flags, const struct sockaddr *addr,
		       socklen_t len)
{
	struct msghdr msg = { .msg_name = (void *)addr, .msg_namelen = len, .msg_iov = &iov, .msg_iovlen = 1 };

	if (len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	return send_msg(f, fd, &msg, flags);
}

ssize_t fn_ours_sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *addr, socklen_t len)
{
	struct fn_file *f;

	if (!addr)
		return fn_ours_send(fd, buf, n, flags);
	f = fn_enter_point(fd);
	return fn_done(f, fd, send_to(f, fd, fn_one_iov(buf, n), flags, addr, len),
		       fn_real.sendto(fd, buf, n, flags, addr, len));
}

static ssize_t sendmsg_slow(int fd, const struct msghdr *msg, int flags)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_done(f, fd, send_msg(f, fd, msg, flags), fn_real.sendmsg(fd, msg, flags));
}

/* Without name, ancillary data and flags: a writev(). */
static __attribute__((noinline)) ssize_t sendmsg_ours(int fd, const struct msghdr *msg, int flags)
{
	struct fn_quick q;
	size_t want;

	if (fn_unlikely(flags & ~MSG_NOSIGNAL || !fn_user_may_read_all(msg, sizeof(*msg)) || msg->msg_name || msg->msg_control))
		return sendmsg_slow(fd, msg, flags);
	want = quick_total(msg->msg_iov, msg->msg_iovlen);
	if (fn_unlikely(!want))
		return sendmsg_slow(fd, msg, flags);
	fn_guard_enter(true);
	q = fn_quick_writev(fd, msg->msg_iov, (int)msg->msg_iovlen, want);
	if (fn_likely(!q.file && q.ret >= 0))
		return fn_guard_left(q.ret);
	return fn_done_quick(q, fd, send_rest(q, fd, msg->msg_iov, (int)msg->msg_iovlen, want, (unsigned)flags),
			     fn_real.sendmsg(fd, msg, flags));
}

/* On a kernel's socket a message may hand over descriptors of ours. */
static __attribute__((noinline)) ssize_t sendmsg_rights(int fd, const struct msghdr *msg, int flags)
{
	int ret = fn_exec_convert_rights(msg);

	return ret < 0 ? fn_errno(ret) : fn_real.sendmsg(fd, msg, flags);
}

ssize_t fn_wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	if (fn_ours(fd))
		return sendmsg_ours(fd, msg, flags);
	if (fn_unlikely(fn_any() && fn_user_may_read_all(msg, sizeof(*msg)) && msg->msg_control && msg->msg_controllen))
		return sendmsg_rights(fd, msg, flags);
	return fn_real.sendmsg(fd, msg, flags);
}

/* As __sys_sendmmsg(): at most UIO_MAXIOV messages, an error only when none went. */
static int send_many(struct fn_file *f, int fd, struct mmsghdr *msgs, unsigned count, unsigned flags)
{
	unsigned done = 0;
	ssize_t ret = 0;

	count = fn_min(count, (unsigned)IOV_MAX);
	while (done < count) {
		ret = fn_user_may_write_all(&msgs[done], sizeof(*msgs)) ? send_msg(f, fd, &msgs[done].msg_hdr, flags) : -EFAULT;
		if (ret < 0)
			break;
		msgs[done++].msg_len = (unsigned)ret;
	}
	return done ? (int)done : (int)ret;
}

static __attribute__((noinline)) int sendmmsg_rights(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	for (unsigned i = 0; i < fn_min(count, (unsigned)IOV_MAX); i++) {
		const struct msghdr *msg = &msgs[i].msg_hdr;
		int ret = msg->msg_control && msg->msg_controllen ? fn_exec_convert_rights(msg) : 0;

		if (ret < 0)
			return (int)fn_errno(ret);
	}
	return fn_real.sendmmsg(fd, msgs, count, flags);
}

static __attribute__((noinline)) int sendmmsg_ours(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_done(f, fd, f && f->ops->sendmsg ? send_many(f, fd, msgs, count, flags) : FN_TO_KERNEL,
		       fn_real.sendmmsg(fd, msgs, count, flags));
}

int fn_wrap_sendmmsg(int fd, struct mmsghdr *msgs, unsigned count, int flags)
{
	if (fn_ours(fd))
		return sendmmsg_ours(fd, msgs, count, flags);
	if (fn_unlikely(fn_any() && msgs))
		return sendmmsg_rights(fd, msgs, count, flags);
	return fn_real.sendmmsg(fd, msgs, count, flags);
}

/* A socket is nothing to send from: where `in` is ours the kernel says so (EINVAL, ESPIPE with an offset). */
/* No cancellation point in libc, so its wait is none either. */
static ssize_t send_file(struct fn_file *f, int out, int in, off_t *off, size_t n)
{
	ssize_t ret;
	int state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	ret = fn_op(f, sendfile, out, in, off, n);
	pthread_setcancelstate(state, NULL);
	return ret;
}

ssize_t fn_wrap_sendfile(int out, int in, off_t *off, size_t n)
{
	struct fn_file *f;

	if (fn_likely(!fn_ours(out) || fn_ours(in)))
		return fn_real.sendfile(out, in, off, n);
	f = fn_enter(out);
	return fn_done_again(f, f = fn_enter(out), send_file(f, out, in, off, fn_min(n, FN_RW_MAX)),
			     fn_real.sendfile(out, in, off, n));
}
fn_alias(sendfile64, sendfile);

/* A pipe's end that is open for `mode`? */
static bool is_pipe(int fd, long mode)
{
	long fl = fn_sys(SYS_fcntl, fd, F_GETFL, 0) & O_ACCMODE;
	struct stat st;

	return (fl == mode || fl == O_RDWR) && !fn_sys(SYS_fstat, fd, &st) && S_ISFIFO(st.st_mode);
}

/* Whatever is wrong with the arguments (no pipe, its wrong end, an offset, two sockets) the kernel says before it moves a
 * byte. */
ssize_t fn_wrap_splice(int in, off_t *in_off, int out, off_t *out_off, size_t n, unsigned flags)
{
	bool from = fn_ours(in), to = fn_ours(out);
	struct fn_file *f;

	if (fn_likely(from == to) || in_off || out_off || !is_pipe(from ? out : in, from ? O_WRONLY : O_RDONLY))
		return fn_real.splice(in, in_off, out, out_off, n, flags);
	f = fn_enter_point(from ? in : out);
	if (from)
		return fn_call(f, splice_out, fn_real.splice(in, in_off, out, out_off, n, flags), in, out, n, flags);
	return fn_call(f, splice_in, fn_real.splice(in, in_off, out, out_off, n, flags), out, in, n, flags);
}
