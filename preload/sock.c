/* SPDX-License-Identifier: BSD-3-Clause */
/* A socket's life and options: each wrapper hands its arguments to the file's operation, or to the next in the chain. */
#include <netinet/in.h>
#include <sys/ioctl.h>

#include "preload/guard.h"
#include "shim/addr.h"
#include "shim/convert.h"
#include "stack/user.h"

int fn_ours_socket(int domain, int type, int protocol)
{
	int fd = (int)fn_guarded(false, fn_shim_socket(domain, type, protocol));

	return fd == FN_TO_KERNEL ? fn_real.socket(domain, type, protocol) : (int)fn_errno(fd);
}

/* move_addr_to_kernel: the address is looked at again and again. 0, -EINVAL, -EFAULT. */
static int addr_get(struct sockaddr_storage *ss, const struct sockaddr *addr, socklen_t len)
{
	return len > sizeof(*ss) ? -EINVAL : fn_user_get(ss, addr, len);
}

int fn_ours_bind(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_file *f = fn_enter(fd);
	struct sockaddr_storage ss;
	int ret = addr_get(&ss, addr, len);

	return fn_done(f, fd, ret < 0 ? ret : fn_op(f, bind, fd, (struct sockaddr *)&ss, len), fn_real.bind(fd, addr, len));
}

int fn_ours_listen(int fd, int backlog)
{
	struct fn_file *f = fn_enter(fd);

	return fn_call(f, listen, fn_real.listen(fd, backlog), fd, backlog);
}

int fn_ours_accept(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct fn_file *f = fn_enter_point(fd);

	return fn_call(f, accept, fn_real.accept(fd, addr, len), fd, addr, len, 0);
}

int fn_ours_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	struct fn_file *f = fn_enter_point(fd);

	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return fn_done(f, fd, -EINVAL, -1);
	return fn_call(f, accept, fn_real.accept4(fd, addr, len, flags), fd, addr, len, flags);
}

int fn_ours_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
	struct fn_file *f = fn_enter_point(fd);
	struct sockaddr_storage ss;
	int ret = addr_get(&ss, addr, len);

	return fn_done(f, fd, ret < 0 ? ret : fn_op(f, connect, fd, (struct sockaddr *)&ss, len),
		       fn_real.connect(fd, addr, len));
}

int fn_ours_shutdown(int fd, int how)
{
	struct fn_file *f = fn_enter(fd);

	return fn_call(f, shutdown, fn_real.shutdown(fd, how), fd, how);
}

/* As fn_enter(), for a descriptor of anybody's. */
static struct fn_file *enter_any(int fd)
{
	fn_guard_enter(false);
	return fn_fd_get(fd);
}

/* The kernel says that fd is an AF_UNIX socket: the addresses of the connection if it is the end of a converted one. */
static __attribute__((noinline)) int converted_name(int fd, bool local, struct sockaddr *addr, socklen_t *len, socklen_t room)
{
	struct fn_convert_name name;

	if (!fn_convert_lookup(fd, &name))
		return 0;
	*len = room;
	return (int)fn_errno(fn_addr_put(name.domain, local ? &name.local : &name.remote, addr, len));
}

int fn_wrap_getsockname(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct fn_file *f = enter_any(fd);
	socklen_t room = len && fn_user_may_read_all(len, sizeof(*len)) ? *len : 0;
	int ret = fn_call(f, getsockname, fn_real.getsockname(fd, addr, len), fd, addr, len);

	if (ret == 0 && fn_active() && room >= sizeof(addr->sa_family) && addr->sa_family == AF_UNIX &&
	    *len == sizeof(addr->sa_family))
		return converted_name(fd, true, addr, len, room);
	return ret;
}

int fn_wrap_getpeername(int fd, struct sockaddr *addr, socklen_t *len)
{
	struct fn_file *f = enter_any(fd);
	socklen_t room = len && fn_user_may_read_all(len, sizeof(*len)) ? *len : 0;
	int ret = fn_call(f, getpeername, fn_real.getpeername(fd, addr, len), fd, addr, len);

	if (ret == 0 && fn_active() && room >= sizeof(addr->sa_family) && addr->sa_family == AF_UNIX &&
	    *len > sizeof(struct sockaddr_in))
		return converted_name(fd, false, addr, len, room);
	return ret;
}

static __attribute__((noinline)) int getsockopt_ours(int fd, int level, int name, void *value, socklen_t *len)
{
	struct fn_file *f = fn_enter(fd);
	/* a bad one is as bad as none */
	socklen_t *good = len && fn_user_may_write_all(len, sizeof(*len)) ? len : NULL;

	return fn_call(f, getsockopt, fn_real.getsockopt(fd, level, name, value, len), fd, level, name, value, good);
}

/* On a number that may be a converted connection's. */
static __attribute__((noinline)) int getsockopt_converted(int fd, int level, int name, void *value, socklen_t *len)
{
	int ret = (int)fn_guarded(false, fn_convert_getsockopt(fd, level, name, value, len));

	return ret == FN_TO_KERNEL ? fn_real.getsockopt(fd, level, name, value, len) : (int)fn_errno(ret);
}

int fn_wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	if (fn_ours(fd))
		return getsockopt_ours(fd, level, name, value, len);
	if (fn_unlikely(fn_convert_any))
		return getsockopt_converted(fd, level, name, value, len);
	return fn_real.getsockopt(fd, level, name, value, len);
}

static __attribute__((noinline)) int setsockopt_ours(int fd, int level, int name, const void *value, socklen_t len)
{
	struct fn_file *f = fn_enter(fd);

	return fn_call(f, setsockopt, fn_real.setsockopt(fd, level, name, value, len), fd, level, name, value, len);
}

static __attribute__((noinline)) int setsockopt_converted(int fd, int level, int name, const void *value, socklen_t len)
{
	int ret = (int)fn_guarded(false, fn_convert_setsockopt(fd, level, name, value, len));

	return ret == FN_TO_KERNEL ? fn_real.setsockopt(fd, level, name, value, len) : (int)fn_errno(ret);
}

int fn_wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	if (fn_ours(fd))
		return setsockopt_ours(fd, level, name, value, len);
	if (fn_unlikely(fn_convert_any))
		return setsockopt_converted(fd, level, name, value, len);
	return fn_real.setsockopt(fd, level, name, value, len);
}

/* libc's goes to the kernel without passing by our ioctl(). */
int fn_wrap_sockatmark(int fd)
{
	int mark;

	return fn_wrap_ioctl(fd, SIOCATMARK, &mark) < 0 ? -1 : mark;
}
