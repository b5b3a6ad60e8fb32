/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls on descriptors and names: made, bound, connected, accepted, duplicated, closed. */
#include <stdarg.h>
#include <sys/mman.h>

#include "seq.h"

void detail(struct result *r, const char *format, ...)
{
	size_t n = strlen(r->detail);
	va_list args;

	va_start(args, format);
	vsnprintf(r->detail + n, sizeof(r->detail) - n, format, args);
	va_end(args);
}

static void outcome(struct result *r, long ret)
{
	r->ret = ret;
	r->err = ret < 0 ? errno : 0;
}

/* A handle that is set while it has a descriptor loses it: the number is closed first. */
static void made(struct world *w, long handle, int fd, struct result *r)
{
	int err = errno;

	if (fd >= 0 && w->fd[handle] >= 0)
		close(w->fd[handle]);
	if (fd >= 0)
		w->fd[handle] = fd;
	errno = err;
	outcome(r, fd);
}

/* ---- addresses ---- */

static int port_of(int fd)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	getsockname(fd, (struct sockaddr *)&ss, &len);
	if (ss.ss_family != AF_INET && ss.ss_family != AF_INET6)
		return 0;
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);	/* at the same place in both */
}

static bool is_dgram(int fd)
{
	int type = 0;
	socklen_t len = sizeof(type);

	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
	return type == SOCK_DGRAM;
}

socklen_t target_address(const struct world *w, int fd, long target, bool binding, struct sockaddr_storage *ss)
{
	struct sockaddr_in *in = (struct sockaddr_in *)ss;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
	int port = is_dgram(fd) ? w->peer_udp : w->peer_port;

	memset(ss, 0, sizeof(*ss));
	in->sin_family = AF_INET;
	in->sin_port = binding ? 0 : htons((uint16_t)port);
	in->sin_addr = w->peer;
	switch ((enum target)target) {
	case T_PEER: case T_SHORT: case T_FOREIGN: case T_NULL:
		break;
	case T_CLOSED:
		in->sin_port = htons(1);
		break;
	case T_DARK:
		in->sin_addr = w->dark;
		break;
	case T_LOOP:
		in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in->sin_port = binding ? 0 : htons(1);
		break;
	case T_SELF:
		in->sin_addr = w->local;
		in->sin_port = binding ? 0 : htons(1);
		break;
	case T_ANY:
		in->sin_addr.s_addr = INADDR_ANY;
		in->sin_port = binding ? 0 : htons(1);
		break;
	case T_UNSPEC:
		in->sin_family = AF_UNSPEC;
		break;
	case T_MAPPED:
		*in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6 };
		in6->sin6_port = binding ? 0 : htons((uint16_t)port);
		in6->sin6_addr.s6_addr[10] = in6->sin6_addr.s6_addr[11] = 0xff;
		memcpy(&in6->sin6_addr.s6_addr[12], binding ? &w->local : &w->peer, 4);
		return sizeof(*in6);
	}
	if (target == T_FOREIGN)
		in->sin_family = AF_UNIX;
	return target == T_SHORT ? 7 : target == T_NULL ? 0 : sizeof(*in);
}

static const char *who4(const struct world *w, const void *ip)
{
	uint32_t a;

	memcpy(&a, ip, 4);
	return a == w->local.s_addr ? "self" : a == w->peer.s_addr ? "peer" : a == htonl(INADDR_LOOPBACK) ? "loop" :
	       a == w->dark.s_addr ? "dark" : a ? "other" : "any";
}

/* An address without its port: who, whether there is a port, the length. */
void address_text(const struct world *w, const struct sockaddr_storage *ss, socklen_t len, struct result *r)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)ss;
	const char *port = in6->sin6_port ? "" : " no port";

	if (!len)
		detail(r, " none");
	else if (ss->ss_family == AF_INET)
		detail(r, " %s%s", who4(w, &((const struct sockaddr_in *)ss)->sin_addr), port);
	else if (ss->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		detail(r, " mapped %s%s", who4(w, &in6->sin6_addr.s6_addr[12]), port);
	else if (ss->ss_family == AF_INET6)
		detail(r, " %s%s", IN6_IS_ADDR_UNSPECIFIED(&in6->sin6_addr) ? "any6" : "other6", port);
	else
		detail(r, " family %d", ss->ss_family);
	detail(r, " length %u", len);
}

static void name(struct world *w, long h, struct result *r, int (*call)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	outcome(r, call(w->fd[h], (struct sockaddr *)&ss, &len));
	if (!r->ret)
		address_text(w, &ss, len, r);
}

static int get_name(int fd, struct sockaddr *sa, socklen_t *len)
{
	return getsockname(fd, sa, len);
}

static int get_peer(int fd, struct sockaddr *sa, socklen_t *len)
{
	return getpeername(fd, sa, len);
}

void call_sockname(struct world *w, const long *a, struct result *r)
{
	name(w, a[0], r, get_name);
}

void call_peername(struct world *w, const long *a, struct result *r)
{
	name(w, a[0], r, get_peer);
}

/* ---- made ---- */

void call_socket(struct world *w, const long *a, struct result *r)
{
	made(w, a[0], socket((int)a[1], (int)a[2], 0), r);
}

static void two(struct world *w, const long *a, int ret, const int *pair, struct result *r)
{
	outcome(r, ret);
	if (ret < 0)
		return;
	made(w, a[0], pair[0], r);
	made(w, a[1], pair[1], r);
}

void call_socketpair(struct world *w, const long *a, struct result *r)
{
	int pair[2] = { -1, -1 };

	two(w, a, socketpair(AF_UNIX, (int)a[2], 0, pair), pair, r);
}

void call_pipe(struct world *w, const long *a, struct result *r)
{
	int pair[2] = { -1, -1 };

	two(w, a, pipe2(pair, O_NONBLOCK), pair, r);
}

void call_file(struct world *w, const long *a, struct result *r)
{
	int fd = memfd_create("seq", MFD_CLOEXEC);
	char byte;

	for (long i = 0; i < a[1]; i++) {
		byte = (char)('0' + i % 10);
		if (pwrite(fd, &byte, 1, i) != 1)
			break;
	}
	made(w, a[0], fd, r);
}

/* ---- bound, connected, listening ---- */

void call_bind(struct world *w, const long *a, struct result *r)
{
	struct sockaddr_storage ss;
	socklen_t len = target_address(w, w->fd[a[0]], a[1], true, &ss);

	outcome(r, bind(w->fd[a[0]], (struct sockaddr *)&ss, len));
}

void call_listen(struct world *w, const long *a, struct result *r)
{
	struct pollfd p = { .fd = w->fd[a[0]], .events = POLLIN };

	outcome(r, listen(w->fd[a[0]], (int)a[1]));
	/* a listener on a port answers from the first wait on it (README, Limits) */
	if (!r->ret)
		poll(&p, 1, 0);
}

void call_connect(struct world *w, const long *a, struct result *r)
{
	struct sockaddr_storage ss;
	socklen_t len = target_address(w, w->fd[a[0]], a[1], false, &ss);

	outcome(r, connect(w->fd[a[0]], (struct sockaddr *)&ss, len));
}

void call_connectto(struct world *w, const long *a, struct result *r)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = w->local };
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	in.sin_port = htons((uint16_t)port_of(w->fd[a[1]]));
	getsockname(w->fd[a[1]], (struct sockaddr *)&ss, &len);
	if (ss.ss_family == AF_INET)
		in.sin_addr = ((struct sockaddr_in *)&ss)->sin_addr;
	if (in.sin_addr.s_addr == INADDR_ANY)
		in.sin_addr = w->local;
	outcome(r, connect(w->fd[a[0]], (struct sockaddr *)&in, sizeof(in)));
}

static void accepted(struct world *w, const long *a, int flags, bool four, struct result *r)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	int fd;

	if (four)
		fd = accept4(w->fd[a[0]], (struct sockaddr *)&ss, &len, flags);
	else
		fd = accept(w->fd[a[0]], (struct sockaddr *)&ss, &len);
	made(w, a[1], fd, r);
	if (r->ret >= 0)
		address_text(w, &ss, len, r);
}

void call_accept(struct world *w, const long *a, struct result *r)
{
	accepted(w, a, 0, false, r);
}

void call_accept4(struct world *w, const long *a, struct result *r)
{
	accepted(w, a, (int)a[2], true, r);
}

/* ---- ended ---- */

void call_shutdown(struct world *w, const long *a, struct result *r)
{
	outcome(r, shutdown(w->fd[a[0]], (int)a[1]));
}

void call_close(struct world *w, const long *a, struct result *r)
{
	int fd = w->fd[a[0]];

	w->fd[a[0]] = -1;
	outcome(r, close(fd));
}

/* ---- numbers ---- */

void call_dup(struct world *w, const long *a, struct result *r)
{
	made(w, a[1], dup(w->fd[a[0]]), r);
}

void call_dup2(struct world *w, const long *a, struct result *r)
{
	outcome(r, dup2(w->fd[a[0]], w->fd[a[1]]));
}

void call_dup3(struct world *w, const long *a, struct result *r)
{
	outcome(r, dup3(w->fd[a[0]], w->fd[a[1]], a[2] & SOCK_CLOEXEC ? O_CLOEXEC : 0));
}

void call_dupfd(struct world *w, const long *a, struct result *r)
{
	made(w, a[1], fcntl(w->fd[a[0]], F_DUPFD, (int)a[2]), r);
}

void call_getfl(struct world *w, const long *a, struct result *r)
{
	outcome(r, fcntl(w->fd[a[0]], F_GETFL));
}

void call_nonblock(struct world *w, const long *a, struct result *r)
{
	int fl = fcntl(w->fd[a[0]], F_GETFL);

	outcome(r, fl < 0 ? fl : fcntl(w->fd[a[0]], F_SETFL, a[1] ? fl | O_NONBLOCK : fl & ~O_NONBLOCK));
}

void call_getfd(struct world *w, const long *a, struct result *r)
{
	outcome(r, fcntl(w->fd[a[0]], F_GETFD));
}

void call_setfd(struct world *w, const long *a, struct result *r)
{
	outcome(r, fcntl(w->fd[a[0]], F_SETFD, (int)a[1]));
}

/* ---- processes ---- */

void call_fork(struct world *w, const long *a, struct result *r)
{
	(void)w, (void)a;
	outcome(r, actor_fork());
}

/* Both are done by the subject itself (subject.c). */
void call_signal(struct world *w, const long *a, struct result *r)
{
	(void)w, (void)a, (void)r;
}

void call_exit(struct world *w, const long *a, struct result *r)
{
	(void)w, (void)a, (void)r;
}
