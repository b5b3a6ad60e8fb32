/* SPDX-License-Identifier: BSD-3-Clause */
/* See convert_opt.h: the asker's side, in whatever image the converted number is. */
#include "shim/convert_opt.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#include "shim/engine.h"

bool fn_convert_any;

/* A relay that does not answer has been stopped. */
#define PATIENCE_S	1

socklen_t fn_convert_opt_address(uint64_t key, struct sockaddr_un *un)
{
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "fastnet/opt/%016llx", (unsigned long long)key);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)n);
}

/* Who knows of an option. */
enum who { THE_END, THE_RELAY, ANY_TCP };

static enum who who_knows(int level, int name)
{
	if (level != SOL_SOCKET)
		return THE_RELAY;
	switch (name) {
	case SO_KEEPALIVE:
	case SO_LINGER:
		return THE_RELAY;
	/* who made a pair is nobody that a program should take for its peer */
	case SO_PEERCRED:
	case SO_PEERSEC:
	case SO_PEERGROUPS:
	case SO_DOMAIN:
	case SO_PROTOCOL:
		return ANY_TCP;
	default:
		return THE_END;
	}
}

/* What is the same on every connection, and what has no effect on one. */
static int of_any_tcp(int domain, struct fn_opt_question *q, void *value, socklen_t *len)
{
	int fd = fn_sys_socket(domain, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP), ret;

	if (fd < 0)
		return fd;
	ret = q->set ? fn_sys_setsockopt(fd, q->level, q->name, value, *len) :
		       fn_sys_getsockopt(fd, q->level, q->name, value, len);
	fn_sys_close(fd);
	return ret;
}

static int open_towards(uint64_t key)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval tv = { .tv_sec = PATIENCE_S };
	int fd = fn_sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret = fd < 0 ? fd : (int)fn_sys(SYS_bind, fd, &un, offsetof(struct sockaddr_un, sun_path));

	fn_sys_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	fn_sys_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (ret == 0)
		ret = (int)fn_sys(SYS_connect, fd, &un, fn_convert_opt_address(key, &un));
	if (ret < 0 && fd >= 0)
		fn_sys_close(fd);
	return ret < 0 ? ret : fd;
}

static long ask(int fd, int end, const struct fn_opt_question *q, struct fn_opt_answer *a)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { (void *)q, sizeof(*q) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = (struct cmsghdr *)control;
	long ret;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &end, sizeof(end));
	ret = fn_sys(SYS_sendmsg, fd, &msg, MSG_NOSIGNAL);
	return ret < 0 ? ret : fn_sys(SYS_recvfrom, fd, a, sizeof(*a), 0, NULL, NULL);
}

/* The answer, or FN_TO_KERNEL when there is nobody to give one: then the kernel's end says what it is. */
static int of_relay(int end, const struct fn_convert_name *name, struct fn_opt_question *q, void *value, socklen_t *len)
{
	struct fn_opt_answer a;
	int fd = open_towards(name->key);
	long n = fd < 0 ? fd : ask(fd, end, q, &a);

	if (fd >= 0)
		fn_sys_close(fd);
	if (n != (long)sizeof(a) || a.len > FN_OPT_VALUE)
		return FN_TO_KERNEL;
	if (a.ret == FN_TO_KERNEL)
		return of_any_tcp(name->domain, q, value, len);
	if (a.ret < 0 || q->set)
		return a.ret;
	*len = fn_min((socklen_t)a.len, *len);
	memcpy(value, a.value, *len);
	return 0;
}

static int option(int fd, struct fn_opt_question *q, void *value, socklen_t *len)
{
	enum who who = who_knows(q->level, q->name);
	struct fn_convert_name name;

	if (who == THE_END || !value || (int)*len < 0 || !fn_convert_lookup(fd, &name))
		return FN_TO_KERNEL;
	if (who == ANY_TCP)
		return of_any_tcp(name.domain, q, value, len);
	q->len = fn_min(*len, (socklen_t)FN_OPT_VALUE);
	if (q->set)
		memcpy(q->value, value, q->len);
	return of_relay(fd, &name, q, value, len);
}

int fn_convert_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	struct fn_opt_question q = { .level = level, .name = name };

	return len ? option(fd, &q, value, len) : FN_TO_KERNEL;
}

int fn_convert_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	struct fn_opt_question q = { .set = true, .level = level, .name = name };

	return option(fd, &q, (void *)value, &len);
}
