/* SPDX-License-Identifier: BSD-3-Clause */
/* See handover.h. Whatever a variable or a message names is looked at before it is believed. */
#include "shim/handover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/fdtable.h"
#include "shim/peer.h"
#include "shim/rendezvous.h"

/* What has come over exec, and waits for its listener. */
static struct {
	unsigned count;
	struct {
		uint64_t cookie;
		struct fn_handover h;
	} of[FN_RENDEZVOUS_MAX];
} come;

void fn_handover_close(struct fn_handover *h)
{
	for (unsigned i = 0; i < FN_HANDOVER_FDS; i++) {
		fn_fd_internal_close(h->fd[i]);
		h->fd[i] = -1;
	}
}

static void make_internal(struct fn_handover *h)
{
	for (unsigned i = 0; i < FN_HANDOVER_FDS; i++)
		h->fd[i] = fn_fd_internal(h->fd[i]);
}

/* ---- over exec ---- */

/* The variable's value, which has its end in the environment's memory for good; NULL: there is none. */
static const char *take_variable(void)
{
	const char *value = NULL;
	char **to = environ;

	for (char **e = environ; e && *e; e++) {
		if (!strncmp(*e, FN_HANDOVER_VAR, strlen(FN_HANDOVER_VAR)))
			value = *e + strlen(FN_HANDOVER_VAR);
		else
			*to++ = *e;
	}
	if (value)
		*to = NULL;
	return value;
}

/* The next "name.in.out.memory,", with 0 for what there is not: where it ends; NULL: there is none. */
static const char *parse(const char *at, struct fn_handover *h)
{
	char *end;

	for (unsigned i = 0; i < FN_HANDOVER_FDS; i++) {
		unsigned long fd = strtoul(at, &end, 10);

		if (end == at || fd > INT32_MAX || *end != (i + 1 < FN_HANDOVER_FDS ? '.' : ','))
			return NULL;
		h->fd[i] = fd ? (int)fd : -1;
		at = end + 1;
	}
	return at;
}

/*
 * Of which listener that is; 0: it is something else. A shell between us and who wrote the variable may have closed what it
 * names, and others may have the numbers.
 */
static uint64_t listener_of(struct fn_handover *h)
{
	uint64_t cookie = fn_board_of(h->fd[FN_HANDOVER_IN], h->fd[FN_HANDOVER_OUT], h->fd[FN_HANDOVER_MEMORY]);

	return h->fd[FN_HANDOVER_NAME] < 0 || fn_rendezvous_named(h->fd[FN_HANDOVER_NAME]) == cookie ? cookie : 0;
}

void fn_handover_begin(void)
{
	const char *at = take_variable();
	struct fn_handover h;

	while (at && come.count < FN_RENDEZVOUS_MAX && (at = parse(at, &h))) {
		uint64_t cookie = listener_of(&h);

		if (!cookie)
			continue;
		make_internal(&h);
		come.of[come.count].cookie = cookie;
		come.of[come.count++].h = h;
	}
}

bool fn_handover_take(uint64_t cookie, struct fn_handover *h)
{
	for (unsigned i = 0; i < come.count; i++) {
		if (come.of[i].cookie != cookie)
			continue;
		*h = come.of[i].h;
		come.of[i] = come.of[--come.count];
		return true;
	}
	return false;
}

void fn_handover_end(void)
{
	while (come.count)
		fn_handover_close(&come.of[--come.count].h);
}

char *fn_handover_print(char *at, const struct fn_handover *h)
{
	for (unsigned i = 0; i < FN_HANDOVER_FDS; i++)
		at += sprintf(at, "%d%c", fn_max(h->fd[i], 0), i + 1 < FN_HANDOVER_FDS ? '.' : ',');
	return at;
}

int fn_handover_inherit(const struct fn_handover *h, bool on)
{
	int ret = 0;

	for (unsigned i = 0; i < FN_HANDOVER_FDS && ret >= 0; i++)
		ret = h->fd[i] < 0 ? 0 : fn_sys_fcntl(h->fd[i], F_SETFD, on ? 0 : FD_CLOEXEC);
	return ret;
}

/* ---- by a message ---- */

int fn_handover_send(int sock, const struct fn_handover *h)
{
	struct fn_peer_msg m = { .magic = FN_PEER_MAGIC, .version = FN_PEER_VERSION, .type = FN_PEER_JOINED };
	char control[CMSG_SPACE(sizeof(h->fd))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = (struct cmsghdr *)control;
	long ret;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(h->fd));
	memcpy(CMSG_DATA(c), h->fd, sizeof(h->fd));
	ret = fn_sys(SYS_sendmsg, sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	return ret < 0 ? (int)ret : 0;
}

/* The descriptors of a message, of which there may be fewer (EMFILE). */
static unsigned take_rights(struct msghdr *msg, struct fn_handover *h)
{
	unsigned n = 0;
	int fd;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (n < FN_HANDOVER_FDS)
				h->fd[n++] = fd;
			else
				fn_sys_close(fd);
		}
	}
	return n;
}

int fn_handover_look(int sock, struct fn_handover *h)
{
	char control[CMSG_SPACE(sizeof(h->fd)) + CMSG_SPACE(sizeof(struct ucred))] __attribute__((aligned(8)));
	struct fn_peer_msg m;
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	unsigned n;
	long ret;

	*h = (struct fn_handover){ .fd = { -1, -1, -1, -1 } };
	do
		ret = fn_sys(SYS_recvmsg, sock, &msg, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (ret == -EINTR);
	if (ret <= 0)
		return ret < 0 ? (int)ret : -ECONNRESET;
	n = take_rights(&msg, h);
	make_internal(h);
	if (ret == sizeof(m) && m.magic == FN_PEER_MAGIC && m.type == FN_PEER_JOINED && n == FN_HANDOVER_FDS && listener_of(h))
		return 0;
	fn_handover_close(h);
	return -EPROTO;
}
