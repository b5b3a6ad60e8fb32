/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A double of the shim for the tests of preload/: a small fd table, operations that record their arguments and return
 * what the test said, and virtual time. Knows nothing of sockets.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "shim/addr.h"
#include "shim/convert.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/meet.h"
#include "shim/plain.h"
#include "shim/quick.h"
#include "shim/crash.h"
#include "shim/fault.h"
#include "shim/shim.h"
#include "shim/signal.h"
#include "test/unit/preload.h"

#define FDS 1024

static _Atomic(struct fn_file *) table[FDS];
static struct fn_file files[FDS];
static struct double_state state = { .internal_fd = -1, .exit_fd = -1 };

/* Never to be had: every call of quick.h goes the long way, where the operations are. */
struct fn_engine fn_engine = { .lock = { 1 } };

bool fn_engine_trylock_slow(void)
{
	return false;
}

void fn_family_unlock(void)
{
}

__thread struct fn_thread fn_this_thread;

struct fn_fdtable fn_fdtable = { .lowest = FN_FD_INTERNAL };
bool fn_shim_active;
struct fn_signal_ops fn_signal_ops;
__thread struct fn_guard fn_this_guard;

struct double_state *double_state(void)
{
	return &state;
}

void double_lowest(int fd)
{
	fn_fdtable.lowest = fd;
}

struct double_state *double_returns(long result)
{
	uint64_t now = state.now;
	int internal_fd = state.internal_fd;

	memset(&state, 0, sizeof(state));
	state.now = now;
	state.internal_fd = internal_fd;
	state.exit_fd = -1;
	state.result[0] = result;
	state.results = 1;
	return &state;
}

/* Note a call by name with up to six arguments, and give its result. Criterion has sockets of its own: until a test
 * began everything is the kernel's. */
static long call(const char *op, int args, ...)
{
	int i = fn_min(state.calls, state.results - 1);
	va_list ap;

	state.op = op;
	if (strlen(state.log) + strlen(op) + 2 < sizeof(state.log))
		strcat(strcat(state.log, op), " ");
	state.calls++;
	va_start(ap, args);
	for (int a = 0; a < args; a++)
		state.arg[a] = va_arg(ap, long);
	va_end(ap);
	return i < 0 ? FN_TO_KERNEL : state.result[i];
}

#define L(x) ((long)(x))

/* ---- operations ---- */

static void note_iov(int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	state.fd = fd;
	state.iovcnt = iovcnt;
	state.flags = flags;
	if (iovcnt)
		state.iov = *iov;
}

static ssize_t op_recv(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	note_iov(fd, iov, iovcnt, flags);
	return call("recv", 0);
}

static ssize_t op_send(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, unsigned flags)
{
	note_iov(fd, iov, iovcnt, flags);
	return call("send", 0);
}

static ssize_t op_recvmsg(struct fn_file *f, int fd, struct msghdr *msg, unsigned flags)
{
	state.msg = *msg;
	note_iov(fd, msg->msg_iov, (int)msg->msg_iovlen, flags);
	msg->msg_flags = state.msg_flags;
	msg->msg_namelen = state.namelen;
	state.now += state.takes;
	return call("recvmsg", 0);
}

static ssize_t op_sendmsg(struct fn_file *f, int fd, const struct msghdr *msg, unsigned flags)
{
	state.msg = *msg;
	if (msg->msg_name)
		memcpy(state.copied, msg->msg_name, msg->msg_namelen);
	note_iov(fd, msg->msg_iov, (int)msg->msg_iovlen, flags);
	return call("sendmsg", 0);
}

static ssize_t op_sendfile(struct fn_file *f, int fd, int in_fd, off_t *off, size_t count)
{
	return call("sendfile", 4, L(fd), L(in_fd), L(off), L(count));
}

static ssize_t op_splice_in(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	return call("splice_in", 4, L(fd), L(pipe), L(len), L(flags));
}

static ssize_t op_splice_out(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags)
{
	return call("splice_out", 4, L(fd), L(pipe), L(len), L(flags));
}

static int op_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	memcpy(state.copied, addr, len);
	return (int)call("bind", 2, L(fd), L(len));
}

static int op_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	memcpy(state.copied, addr, len);
	return (int)call("connect", 2, L(fd), L(len));
}

static int op_listen(struct fn_file *f, int fd, int backlog)
{
	return (int)call("listen", 2, L(fd), L(backlog));
}

static int op_accept(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return (int)call("accept", 4, L(fd), L(addr), L(len), L(flags));
}

static int op_shutdown(struct fn_file *f, int fd, int how)
{
	return (int)call("shutdown", 2, L(fd), L(how));
}

static int op_getsockname(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)call("getsockname", 3, L(fd), L(addr), L(len));
}

static int op_getpeername(struct fn_file *f, int fd, struct sockaddr *addr, socklen_t *len)
{
	return (int)call("getpeername", 3, L(fd), L(addr), L(len));
}

static int op_getsockopt(struct fn_file *f, int fd, int level, int name, void *value, socklen_t *len)
{
	return (int)call("getsockopt", 5, L(fd), L(level), L(name), L(value), L(len));
}

static int op_setsockopt(struct fn_file *f, int fd, int level, int name, const void *value, socklen_t len)
{
	return (int)call("setsockopt", 5, L(fd), L(level), L(name), L(value), L(len));
}

static int op_ioctl(struct fn_file *f, int fd, unsigned long req, void *arg)
{
	return (int)call("ioctl", 3, L(fd), L(req), L(arg));
}

static int op_fcntl(struct fn_file *f, int fd, int cmd, long arg)
{
	return (int)call("fcntl", 3, L(fd), L(cmd), arg);
}

static int op_epoll_ctl(struct fn_file *f, int epfd, int op, int fd, struct epoll_event *ev)
{
	memcpy(state.copied, ev, sizeof(*ev));
	return (int)call("epoll_ctl", 3, L(epfd), L(op), L(fd));
}

static void note_wait(const struct timespec *ts, const sigset_t *mask)
{
	state.forever = !ts;
	if (ts)
		state.ts = *ts;
	state.has_mask = mask;
	if (mask)
		state.mask = *mask;
	state.now += state.takes;
}

static int op_epoll_wait(struct fn_file *f, int epfd, struct epoll_event *ev, int max, const struct timespec *ts,
			 const sigset_t *mask)
{
	note_wait(ts, mask);
	return (int)call("epoll_wait", 3, L(epfd), L(ev), L(max));
}

static const struct fn_file_ops ops = {
	.recv = op_recv, .send = op_send, .recvmsg = op_recvmsg, .sendmsg = op_sendmsg, .sendfile = op_sendfile,
	.splice_in = op_splice_in, .splice_out = op_splice_out, .bind = op_bind, .connect = op_connect,
	.listen = op_listen, .accept = op_accept, .shutdown = op_shutdown, .getsockname = op_getsockname,
	.getpeername = op_getpeername, .getsockopt = op_getsockopt, .setsockopt = op_setsockopt, .ioctl = op_ioctl,
	.fcntl = op_fcntl, .epoll_ctl = op_epoll_ctl, .epoll_wait = op_epoll_wait,
};
static const struct fn_file_ops no_ops;

/* ---- files ---- */

static int new_file(const struct fn_file_ops *o, int *peer)
{
	int fds[2];

	if (fn_sys(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || fds[0] >= FDS)
		return -1;
	files[fds[0]].refs = 1;
	files[fds[0]].ops = o;
	fn_fdtable.file = table;
	__atomic_store_n(&fn_fdtable.size, FDS, __ATOMIC_RELEASE);	/* Criterion's own thread is in epoll_wait() already */
	table[fds[0]] = &files[fds[0]];
	if (peer)
		*peer = fds[1];
	else
		fn_sys_close(fds[1]);
	return fds[0];
}

int double_file(int *peer)
{
	return new_file(&ops, peer);
}

int double_file_bare(int *peer)
{
	return new_file(&no_ops, peer);
}

unsigned double_refs(int fd)
{
	return files[fd].refs;
}

bool double_is_active(void)
{
	return fn_shim_active;
}

void double_active(bool active)
{
	fn_shim_active = active;
}

bool double_restarts(int sig)
{
	return fn_signal_ops.restarts(sig);
}

struct fn_file *fn_fd_get_slow(int fd)
{
	struct fn_file *f = table[fd];

	if (f)
		fn_file_hold(f);
	return f;
}

void fn_file_put_slow(struct fn_file *f)
{
}

int fn_fd_close(int fd)
{
	table[fd] = NULL;
	files[fd].refs--;
	fn_sys_close(fd);
	return (int)call("fd_close", 1, L(fd));
}

int fn_fd_dup(int fd)
{
	return (int)call("fd_dup", 1, L(fd));
}

int fn_fd_dup2(int from, int to, int flags, bool is_dup3)
{
	return (int)call("fd_dup2", 4, L(from), L(to), L(flags), L(is_dup3));
}

int fn_fd_fcntl_dup(int fd, int cmd, int min)
{
	return (int)call("fd_fcntl_dup", 3, L(fd), L(cmd), L(min));
}

int fn_fd_close_range(unsigned first, unsigned last, int flags)
{
	if (!state.results)
		return (int)fn_sys(SYS_close_range, first, last, flags);
	return (int)call("fd_close_range", 3, L(first), L(last), L(flags));
}

void fn_fd_closefrom(int first)
{
	call("fd_closefrom", 1, L(first));
}

bool fn_fd_is_internal(int fd)
{
	return fd == state.internal_fd;
}

/* ---- the rest of the shim ---- */

uint64_t fn_now(void)
{
	return state.now;
}

void fn_shim_init(const char *program)
{
	fn_shim_active = true;
}

int fn_shim_socket(int domain, int type, int protocol)
{
	return (int)call("socket", 3, L(domain), L(type), L(protocol));
}

int fn_shim_epoll_create1(int flags)
{
	return (int)call("epoll_create1", 1, L(flags));
}

int fn_shim_poll(struct pollfd *fds, nfds_t n, const struct timespec *ts, const sigset_t *mask)
{
	if (!n || !fn_fd_ours(fds[0].fd))
		return FN_TO_KERNEL;
	note_wait(ts, mask);
	return (int)call("poll", 2, L(fds), L(n));
}

int fn_shim_select(int n, fd_set *rd, fd_set *wr, fd_set *ex, const struct timespec *ts, const sigset_t *mask)
{
	if (!n || !fn_fd_ours(n - 1))
		return FN_TO_KERNEL;
	note_wait(ts, mask);
	return (int)call("select", 4, L(n), L(rd), L(wr), L(ex));
}

void fn_shim_fork_prepare(void)
{
	call("fork_prepare", 0);
}

void fn_shim_fork_parent(void)
{
	call("fork_parent", 0);
}

void fn_shim_fork_child(void)
{
	call("fork_child", 0);
}

void fn_shim_fork_done(int pid)
{
	call("fork_done", 1, L(pid));
}

void fn_shim_reaped(void)
{
	call("reaped", 0);
}

void fn_shim_thread_exit_raw(int status)
{
	call("thread_exit_raw", 1, L(status));
}

void fn_shim_clone_child(void)
{
	call("clone_child", 0);
}

bool fn_shim_may_share(void)
{
	return state.may_share;
}

int fn_shim_retire(void)
{
	return (int)call("retire", 0);
}

size_t fn_shim_exec_word_size(void)
{
	return 0;
}

bool fn_shim_exec_word(char *text)
{
	return false;
}

void fn_shim_exec_failed(void)
{
	call("exec_failed", 0);
}

void fn_shim_exit(void)
{
	call("exit", 0);
	if (state.exit_fd > 0)
		fn_sys_write(state.exit_fd, "x", 1);
}

void fn_shim_exec(void)
{
	call("exec", 0);
}

void fn_shim_alone(void)
{
	call("alone", 0);
}

int fn_shim_own_files(void)
{
	return (int)call("own_files", 0);
}

void fn_shim_namespace(bool net)
{
}

void fn_shim_together(void)
{
	call("together", 0);
}

void fn_shim_chroot(void)
{
	call("privileges", 0);
}

long fn_shim_confine(long n, long a, long b, long c, long d, long e)
{
	call("privileges", 0);
	return fn_sys(n, a, b, c, d, e);
}

void fn_fd_internal_close(int fd)
{
}

bool fn_shim_inside(void)
{
	return false;
}

void fn_shim_begin_inside(void)
{
}

void fn_shim_privileges(void)
{
	call("privileges", 0);
}

void fn_shim_identity(long n, const unsigned id[3])
{
	fn_shim_privileges();
}

bool fn_shim_signal(int sig, siginfo_t *info, void *context)
{
	state.signals++;
	state.last_signal = sig;
	return false;
}

bool fn_shim_sent_fault(int sig, const siginfo_t *info, void *context)
{
	return fn_shim_signal(sig, (siginfo_t *)info, context);
}

void fn_shim_cancelled(unsigned long thread)
{
	call("cancelled", 1, L(thread));
}

void fn_guard_enter_slow(bool point)
{
	call(point ? "point" : "no_point", 0);
}

long fn_guard_finish(long ret)
{
	fn_this_guard.pending = 0;
	call("finish", 1, ret);
	return ret;
}

/* ---- conversion: nothing here is ever converted ---- */

int fn_convert_fd(int fd)
{
	call("convert", fd);
	return 0;
}

int fn_convert_sent(int fd)
{
	return fn_convert_fd(fd);
}

int fn_convert_inheritable(void)
{
	return 0;
}

bool fn_convert_catch_up(void)
{
	return true;
}

void fn_meet(int fd, bool sent)
{
	state.met = fd;
}

bool fn_convert_any;

int fn_convert_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	(void)fd, (void)level, (void)name, (void)value, (void)len;
	return FN_TO_KERNEL;
}

int fn_convert_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	(void)fd, (void)level, (void)name, (void)value, (void)len;
	return FN_TO_KERNEL;
}

bool fn_convert_lookup(int fd, struct fn_convert_name *name)
{
	(void)fd, (void)name;
	return false;
}

int fn_addr_put(int domain, const struct fn_ep *ep, struct sockaddr *sa, socklen_t *len)
{
	(void)domain, (void)ep, (void)sa, (void)len;
	return -EINVAL;
}

void fn_fd_mean(int fd, bool meant)
{
	(void)fd, (void)meant;
}

/* ---- what the quick calls would reach ---- */

struct fn_quick fn_quick_not(int fd, bool locked)
{
	return (struct fn_quick){ FN_NOT_BEGUN, fn_fd_get(fd) };
}

int fn_quick_wait(int epfd, struct epoll_event *ev, int max, int ms, int (*slow)(int, struct epoll_event *, int, int))
{
	fn_guard_enter(true);
	return slow(epfd, ev, max, ms);
}

/* There are no sets of the kernel's alone. */
int fn_plain_over(int fd, const struct fn_file *f, struct epoll_event *ev, int n) { return n; }
bool fn_plain_take(int fd) { return false; }
int fn_plain_ms_left(uint64_t began, int ms) { return ms; }
void fn_plain_resume(struct fn_file *f) { }

struct fn_quick fn_quick_leave(struct fn_file *f, ssize_t n) { return (struct fn_quick){ n, f }; }
struct fn_quick fn_quick_recv_on(struct fn_file *f, ssize_t n) { return (struct fn_quick){ n, f }; }
void fn_engine_push(void) { }
bool fn_stack_flush_staged(struct fn_stack *st) { return true; }

ssize_t fn_tcp_recv(struct fn_sock *sk, const struct iovec *iov, int iovcnt, size_t skip, unsigned flags, uint64_t *time)
{
	return -EAGAIN;
}

ssize_t fn_tcp_send(struct fn_sock *sk, const struct iovec *iov, int iovcnt, size_t skip, unsigned flags)
{
	return -EAGAIN;
}

bool fn_crash_handles(uintptr_t h) { return false; }
bool fn_crash_ready(void) { return false; }
struct sigaction fn_crash_action(void) { return (struct sigaction){ 0 }; }
bool fn_fault_mended(int sig, const siginfo_t *info, void *context) { return false; }
void fn_shim_thread_exit(void) { }
ssize_t fn_tcp_read(struct fn_sock *sk, const struct iovec *iov) { return -EAGAIN; }
ssize_t fn_tcp_write(struct fn_sock *sk, const struct iovec *iov) { return -EAGAIN; }
ssize_t fn_tcp_recv_on(struct fn_file *f, const struct iovec *iov, ssize_t n) { return n; }

ssize_t fn_tcp_send_on(struct fn_file *f, int fd, const struct iovec *iov, int iovcnt, size_t want, unsigned flags,
		       ssize_t n)
{
	return n;
}
