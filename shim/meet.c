/* SPDX-License-Identifier: BSD-3-Clause */
/* See meet.h. Nothing of the socket is changed here: who only hands it on must not be noticed. */
#include "shim/meet.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "shim/convert.h"
#include "shim/decide.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/listen.h"
#include "shim/rendezvous.h"
#include "shim/sockopt.h"

/* Descriptors that are asked where /proc is not to be had. */
#define FEW 256

static int get_int(int fd, int level, int name)
{
	int value = -1;
	socklen_t len = sizeof(value);

	return fn_sys_getsockopt(fd, level, name, &value, &len) == 0 ? value : -1;
}

static bool listens(int fd)
{
	int domain;

	if (get_int(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1 || get_int(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM)
		return false;
	domain = get_int(fd, SOL_SOCKET, SO_DOMAIN);
	return (domain == AF_INET || domain == AF_INET6) && get_int(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP;
}

static bool is_converted(int fd)
{
	struct fn_convert_name name;

	return get_int(fd, SOL_SOCKET, SO_DOMAIN) == AF_UNIX && fn_convert_lookup(fd, &name);
}

/* Of a listener tcp_get_info() shows the backlog as the segments that are sacked. */
static int backlog_of(int fd)
{
	struct tcp_info info = { 0 };
	socklen_t len = sizeof(info);

	fn_sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len);
	return (int)info.tcpi_sacked;
}

/* An undecided file for fd, under its number; NULL: there is no room, or no place for it. */
static struct fn_file *install(int fd)
{
	struct fn_file *f = fn_file_new(FN_FILE_SOCKET, &fn_socket_ops);
	bool done;

	if (!f)
		return NULL;
	f->domain = get_int(fd, SOL_SOCKET, SO_DOMAIN);
	f->type = SOCK_STREAM;
	f->protocol = IPPROTO_TCP;
	fn_file_hold(f);
	fn_lock_take(&fn_fdtable.lock);
	done = !fn_fd_ours(fd) && fn_fd_install(fd, f);
	fn_lock_release(&fn_fdtable.lock);
	if (done)
		return f;
	fn_file_put(f);
	fn_file_put(f);
	return NULL;
}

/*
 * A listener that came in a message is the sender's as well. One that has no name in the fabric accepts from the kernel
 * alone: what would come to us by the fabric only, and wait while we do not accept, could never be his.
 */
static bool is_kernels(const struct fn_verdict *v, int fd, bool sent)
{
	return sent && v->reason == FN_REASON_FABRIC_LISTEN && !fn_rendezvous_is_named(fd);
}

static void decide(struct fn_file *f, int fd, bool sent)
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	struct fn_info_decision d;
	struct fn_verdict v;
	uint32_t arg = 0;

	if (fn_sockopt_meet(f, fd, &arg) < 0) {
		fn_decide_leave(f, fd, FN_REASON_OPTION, arg);
		return;
	}
	if (fn_sys(SYS_getsockname, fd, &own, &len) < 0) {
		fn_decide_leave(f, fd, FN_REASON_INHERITED, 0);
		return;
	}
	v = fn_decide_ask(f, fd, FN_POLICY_LISTEN, (void *)&own, &d);
	if (is_kernels(&v, fd, sent)) {
		v.stack = false;
		v.reason = FN_REASON_INHERITED;
	}
	fn_decide_tell(f, &d, &v);
	if (v.stack)
		fn_listen_begin(f, fd, backlog_of(fd));
	else
		fn_decide_kernel(f, fd, v.reason, v.arg);
}

void fn_meet(int fd, bool sent)
{
	struct fn_file *f;

	if (fn_engine.barred)
		return;
	fn_convert_any |= is_converted(fd);
	if ((unsigned)fd < fn_config.fd_base || (unsigned)fd >= FN_FD_MAX || fn_fd_ours(fd) || fn_fd_is_internal(fd) ||
	    !listens(fd) || fn_engine_init() < 0)
		return;
	f = install(fd);
	if (!f)
		return;
	decide(f, fd, sent);
	fn_file_put(f);
}

/* linux_dirent64 */
struct entry {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

void fn_meet_inherited(void)
{
	char buf[4096] __attribute__((aligned(8)));
	int dir = (int)fn_sys(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	long n;

	for (int fd = 0; dir < 0 && fd < FEW; fd++)
		fn_meet(fd, false);
	while (dir >= 0 && (n = fn_sys(SYS_getdents64, dir, buf, sizeof(buf))) > 0)
		for (long at = 0; at < n; at += ((struct entry *)(buf + at))->len)
			fn_meet(atoi(((struct entry *)(buf + at))->name), false);
	if (dir >= 0)
		fn_sys_close(dir);
}
