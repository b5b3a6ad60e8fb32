/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See bell.h. The names are abstract (scoped to the network namespace, gone at death) and hold a random key, the image and
 * a count of the bells that it has had: an image number is free when its last owner has said goodbye, but that one's bell
 * is closed by its exit or exec only.
 */
#include "shim/bell.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "shim/engine.h"
#include "shim/fdtable.h"

/* The child's, between fn_bell_fork_prepare() and fork; -1: none. */
static int child_bell = -1;

static uint64_t number(uint64_t *n)
{
	while (!*n)
		fn_sys(SYS_getrandom, n, sizeof(*n), 0);
	return *n;
}

uint64_t fn_bell_key(void)
{
	return number(&fn_engine.shared->bell_key);
}

static socklen_t bell_name(unsigned image, struct sockaddr_un *un)
{
	struct fn_shared *sh = fn_engine.shared;
	uint64_t key = fn_bell_key();
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "fastnet/bell/%016llx/%u/%x",
		     (unsigned long long)key, image, sh->bells[image]);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)n);
}

/*
 * The kernel drops whatever does not begin with the secret before it is queued (unix_dgram_sendmsg: sk_filter), so that no
 * stranger ends a sleep or fills the queue. Where it does not, is_trusted() still keeps strangers' words from being believed.
 */
static void close_to_strangers(int bell)
{
	uint64_t secret = number(&fn_engine.shared->bell_secret);
	uint32_t word[2];
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_LEN, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, sizeof(struct fn_letter), 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct fn_letter, secret)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct fn_letter, secret) + sizeof(word[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { fn_array_size(code), code };

	memcpy(word, &secret, sizeof(word));
	code[3].k = ntohl(word[0]);	/* BPF loads what is in network byte order */
	code[5].k = ntohl(word[1]);
	fn_sys_setsockopt(bell, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

int fn_bell_make(unsigned image)
{
	struct sockaddr_un un;
	socklen_t len;
	int fd = fn_fd_internal(fn_sys_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), on = 1, ret;

	if (fd < 0)
		return fd;
	fn_engine.shared->bells[image]++;
	fn_engine.shared->holders[image] = 0;
	len = bell_name(image, &un);
	close_to_strangers(fd);
	ret = fn_sys_setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	if (ret == 0)
		ret = (int)fn_sys(SYS_bind, fd, &un, len);
	if (ret < 0) {
		fn_fd_internal_close(fd);
		return ret;
	}
	return fd;
}

int fn_bell_need(void)
{
	int fd;

	if (fn_engine.bell >= 0)
		return 0;
	fd = fn_bell_make(fn_engine.image);
	if (fd < 0)
		return fd;
	fn_engine.bell = fd;
	fn_fd_internal_track(&fn_engine.bell);
	return 0;
}

int fn_bell_send(unsigned image, const struct fn_letter *l, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct sockaddr_un un;
	struct fn_letter sealed = *l;
	struct iovec iov = { &sealed, sizeof(sealed) };
	struct msghdr msg = { .msg_name = &un, .msg_iov = &iov, .msg_iovlen = 1 };
	int ret = fn_bell_need();

	if (ret < 0)
		return ret;
	sealed.secret = number(&fn_engine.shared->bell_secret);
	msg.msg_namelen = bell_name(image, &un);
	if (fd >= 0) {
		struct cmsghdr *c = (struct cmsghdr *)control;

		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
	}
	/* before it is: a letter that nobody is told of, because we die here, would lie there and end every sleep at once */
	fn_engine.shared->rung |= 1ull << image;
	ret = (int)fn_sys(SYS_sendmsg, fn_engine.bell, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	return ret < 0 ? ret : 0;
}

static const struct fn_letter ring = { .kind = FN_LETTER_RING };

/*
 * An image counts as asleep until its letter is there: whoever dies in between leaves it to be rung by who inherits the
 * lock, instead of asleep for ever. One whose bell is full has letters enough.
 */
static bool ring_asleep(unsigned image)
{
	int ret = fn_bell_send(image, &ring, -1);

	if (ret < 0 && ret != -EAGAIN)
		return false;
	fn_engine.shared->asleep &= ~(1ull << image);
	return true;
}

void fn_bell_ring(uint64_t images)
{
	images &= fn_engine.shared->asleep;
	for (unsigned i = 0; images; i++, images >>= 1)
		if (images & 1)
			ring_asleep(i);
}

void fn_bell_ring_one(void)
{
	struct fn_shared *sh = fn_engine.shared;

	for (unsigned i = 0; i < FN_IMAGES; i++)
		if (i != fn_engine.image && sh->asleep >> i & 1 && ring_asleep(i))
			return;
}

/* Whoever could look into this process anyway. A sender's PID tells nothing: it may have gone on to another program. */
static bool is_trusted(uid_t uid)
{
	return !uid || uid == (uid_t)fn_sys(SYS_geteuid, 0) || uid == (uid_t)fn_sys(SYS_getuid, 0);
}

/* The first descriptor; others, for which there is room by alignment, are closed. */
static void take_rights(const struct cmsghdr *c, int *fd)
{
	int got;

	for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
		memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
		if (*fd < 0)
			*fd = got;
		else
			fn_sys_close(got);
	}
}

/* The sender's user and the descriptor of a message. */
static uid_t read_control(struct msghdr *msg, int *fd)
{
	uid_t uid = (uid_t)-1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		struct ucred cred;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			uid = cred.uid;
		} else if (c->cmsg_type == SCM_RIGHTS) {
			take_rights(c, fd);
		}
	}
	return uid;
}

bool fn_bell_take(struct fn_letter *l, int *fd)
{
	for (;;) {
		char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))] __attribute__((aligned(8)));
		struct iovec iov = { l, sizeof(*l) };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
				      .msg_controllen = sizeof(control) };
		ssize_t n;

		*fd = -1;
		if (fn_engine.bell < 0)
			return false;
		n = fn_sys(SYS_recvmsg, fn_engine.bell, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n < 0 && n != -EINTR)
			return false;
		if (n >= 0 && is_trusted(read_control(&msg, fd)) && n == sizeof(*l))
			return true;
		if (*fd >= 0)
			fn_sys_close(*fd);
	}
}

void fn_bell_fork_prepare(unsigned child)
{
	if (fn_bell_need() == 0)
		child_bell = fn_bell_make(child);
}

void fn_bell_fork_parent(void)
{
	fn_fd_internal_close(child_bell);
	child_bell = -1;
}

void fn_bell_fork_child(bool shares)
{
	fn_fd_internal_close(fn_engine.bell);
	fn_engine.bell = -1;
	if (shares && child_bell >= 0) {
		fn_engine.bell = child_bell;
		fn_fd_internal_track(&fn_engine.bell);
	} else {
		fn_fd_internal_close(child_bell);
	}
	child_bell = -1;
}
