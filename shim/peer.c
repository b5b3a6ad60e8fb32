/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages and memory files between two processes; see peer.h. Whatever comes is copied, then checked. */
#include "shim/peer.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "shim/fdtable.h"
#include "shim/sys.h"
#include "stack/shm_ring.h"

#define PAGE		4096ul
#define SEALS_FIXED	(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Linux 5.1, not in every libc header */
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* ---- messages ---- */

int fn_peer_send(int sock, enum fn_peer_type type, uint64_t cookie, int status, int fd)
{
	struct fn_peer_msg m = { .magic = FN_PEER_MAGIC, .version = FN_PEER_VERSION, .type = (uint16_t)type,
				 .status = status, .slots = FN_PEER_SLOTS, .cookie = cookie };
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))) = { 0 };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (struct cmsghdr *)control;
	ssize_t n;

	if (fd >= 0) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	n = fn_sys(SYS_sendmsg, sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	return n < 0 ? (int)n : 0;
}

void fn_peer_ring(int sock)
{
	char bell = 0;

	/* no room: it has been rung often enough */
	fn_sys(SYS_sendto, sock, &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
}

/* The sender's user and the first descriptor; further ones are closed. */
static void read_control(struct msghdr *msg, int *fd, uid_t *uid)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		struct ucred cred;
		int got;

		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&cred, CMSG_DATA(c), sizeof(cred));
			*uid = cred.pid ? cred.uid : (uid_t)-1;	/* 0: the sender is not known */
		}
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (*fd < 0)
				*fd = got;
			else
				fn_sys_close(got);
		}
	}
}

static int receive(int sock, struct fn_peer_msg *m, int *fd, uid_t *uid, int flags)
{
	char control[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))] __attribute__((aligned(8)));
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control) };
	ssize_t n;

	*fd = -1;
	*uid = (uid_t)-1;
	/* who closes with something unread sets an error, once, that comes before what he had sent (unix_release_sock) */
	do
		n = fn_sys(SYS_recvmsg, sock, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | flags);
	while (n == -EINTR || n == -ECONNRESET);
	if (n == -EAGAIN)
		return -EAGAIN;
	if (n <= 0)
		return -ECONNRESET;
	read_control(&msg, fd, uid);
	if (n == sizeof(*m) && m->magic == FN_PEER_MAGIC)
		return 1;
	if (*fd >= 0)
		fn_sys_close(*fd);
	*fd = -1;
	return n == 1 ? 0 : -EPROTO;
}

int fn_peer_recv(int sock, struct fn_peer_msg *m, int *fd, uid_t *uid)
{
	return receive(sock, m, fd, uid, 0);
}

int fn_peer_look(int sock, struct fn_peer_msg *m, int *fd)
{
	uid_t uid;

	return receive(sock, m, fd, &uid, MSG_PEEK) == 1 ? 1 : -EAGAIN;
}

uid_t fn_peer_uid(int sock)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return fn_sys_getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0 ? (uid_t)-1 : cred.uid;
}

/* ---- memory files ---- */

size_t fn_peer_ring_size(void)
{
	return (fn_ring_size(FN_PEER_SLOTS) + PAGE - 1) & ~(PAGE - 1);
}

int fn_peer_memory(const char *name, size_t size, bool shared)
{
	struct rlimit lim;
	int fd, ret;

	if (fn_sys(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &lim) == 0 && size > lim.rlim_cur)
		return -EFBIG;	/* growing would raise SIGXFSZ */
	fd = fn_fd_internal((int)fn_sys(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
	if (fd < 0)
		return fd;
	ret = (int)fn_sys(SYS_ftruncate, fd, size);
	if (ret < 0) {
		fn_fd_internal_close(fd);
		return ret;
	}
	if (shared && (ret = fn_sys_fcntl(fd, F_ADD_SEALS, SEALS_FIXED)) < 0) {
		fn_fd_internal_close(fd);
		return ret;
	}
	return fd;
}

int fn_peer_seal(int fd)
{
	return fn_sys_fcntl(fd, F_ADD_SEALS, SEALS_FIXED | F_SEAL_FUTURE_WRITE);
}

/* Linux 5.14, not in every libc header */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

int fn_peer_back_mapped(void *mem, size_t size)
{
	int ret;

	do
		ret = (int)fn_sys(SYS_madvise, mem, size, MADV_POPULATE_WRITE);
	while (ret == -EINTR);
	return ret;
}

int fn_peer_memory_alone(size_t size, void **mem)
{
	int fd = fn_peer_memory("fastnet-alone", size, false), ret;

	if (fd < 0)
		return fd;
	*mem = fn_peer_map(fd, size);
	ret = *mem ? fn_peer_seal(fd) : -ENOMEM;
	/* a kernel that cannot do it later does it now */
	if (!ret && fn_peer_back_mapped(*mem, PAGE) < 0)
		ret = fn_peer_back(fd, size);
	if (!ret)
		return fd;
	fn_peer_unmap(*mem, size);
	*mem = NULL;
	fn_fd_internal_close(fd);
	return ret;
}

int fn_peer_back(int fd, size_t size)
{
	int ret;

	do
		ret = (int)fn_sys(SYS_fallocate, fd, 0, 0, size);
	while (ret == -EINTR);
	return ret;
}

static void *map(int fd, void *room, size_t size, int prot)
{
	void *mem = (void *)fn_sys(SYS_mmap, room, size, prot, MAP_SHARED | MAP_NORESERVE | (room ? MAP_FIXED : 0), fd, 0);

	if ((unsigned long)mem > -4096ul)
		return NULL;
	fn_sys(SYS_madvise, mem, size, MADV_DONTDUMP);
	return mem;
}

void *fn_peer_map(int fd, size_t size)
{
	return map(fd, NULL, size, PROT_READ | PROT_WRITE);
}

/* Its size, when it can never change and `seals` are set; 0: no. */
static size_t fixed_size(int fd, int seals)
{
	int got = fn_sys_fcntl(fd, F_GET_SEALS, 0);
	struct statfs fs;
	struct stat st;

	if (got < 0 || (got & seals) != seals || fn_sys(SYS_fstat, fd, &st) < 0 || st.st_size <= 0)
		return 0;
	/* in huge pages a fault may find none, and be a SIGBUS */
	if (fn_sys(SYS_fstatfs, fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC)
		return 0;
	return (size_t)st.st_size;
}

void *fn_peer_map_shared(int fd, void *room, size_t size)
{
	return fixed_size(fd, SEALS_FIXED) == size ? map(fd, room, size, PROT_READ | PROT_WRITE) : NULL;
}

const void *fn_peer_map_payload(int fd, void *room, size_t room_size, size_t *size)
{
	*size = fixed_size(fd, SEALS_FIXED | F_SEAL_FUTURE_WRITE);
	if (!*size || *size > FN_PEER_PAYLOAD_MAX || *size % PAGE || (room && *size > room_size))
		return NULL;
	return map(fd, room, *size, PROT_READ);
}

void *fn_peer_room(size_t size)
{
	void *mem = size && size % PAGE == 0 ?
		(void *)fn_sys(SYS_mmap, NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : NULL;

	return (unsigned long)mem > -4096ul ? NULL : mem;
}

void fn_peer_unmap(const void *mem, size_t size)
{
	if (mem)
		fn_sys(SYS_munmap, mem, size);
}
