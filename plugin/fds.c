/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The descriptors that EAL and the drivers open: kept above the program's numbers, closed at exec, and listed for the
 * host. They are found by looking at what is open before and after, for no driver tells.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plugin/dpdk.h"

#define FD_MAX		65536
#define FD_SPARE	64	/* numbers that must remain above the floor */

static bool set_has(const struct dpdk_fdset *set, int fd)
{
	return set->bit[fd / 64] >> (fd % 64) & 1;
}

static void set_add(struct dpdk_fdset *set, int fd)
{
	if (fd >= 0 && fd < FD_MAX)
		set->bit[fd / 64] |= 1ull << (fd % 64);
}

static void set_del(struct dpdk_fdset *set, int fd)
{
	if (fd >= 0 && fd < FD_MAX)
		set->bit[fd / 64] &= ~(1ull << (fd % 64));
}

/* Without /proc: ask for each number that a program usually has. */
static void snapshot_by_asking(struct dpdk_fdset *set)
{
	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			set_add(set, fd);
}

void dpdk_fds_snapshot(struct dpdk_fdset *set)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *e;

	memset(set, 0, sizeof(*set));
	if (!dir) {
		snapshot_by_asking(set);
		return;
	}
	while ((e = readdir(dir)))
		if (e->d_name[0] != '.')
			set_add(set, atoi(e->d_name));
	set_del(set, dirfd(dir));
	closedir(dir);
}

void dpdk_fds_plug(struct dpdk_fdset *plugged, int floor)
{
	struct rlimit limit;
	int fd, first;

	memset(plugged, 0, sizeof(*plugged));
	if (floor <= 0 || floor > FD_MAX || getrlimit(RLIMIT_NOFILE, &limit) ||
	    limit.rlim_cur < (rlim_t)floor + FD_SPARE)
		return;
	first = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (first < 0)
		return;
	for (fd = first; fd >= 0 && fd < floor; fd = fcntl(first, F_DUPFD_CLOEXEC, 0))
		set_add(plugged, fd);
	if (fd >= 0)
		close(fd);
}

void dpdk_fds_unplug(const struct dpdk_fdset *plugged)
{
	for (int fd = 0; fd < FD_MAX; fd++)
		if (plugged->bit[fd / 64] && set_has(plugged, fd))
			close(fd);
}

/* The socket's address family, or -1. */
static int domain_of(int fd)
{
	int domain;
	socklen_t len = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ? -1 : domain;
}

/* Of a kind that EAL and its drivers open: another thread of the program may have opened something meanwhile. Pipes
 * are EAL's first two. */
static bool is_drivers(int fd, int *pipes)
{
	static const char *const kinds[] = {
		"/dev/net/tun", "/dev/vfio", "/dev/vhost", "/dev/uio", "/dev/hugepages", "/dev/infiniband", "anon_inode:bpf",
		"anon_inode:[eventfd]", "anon_inode:[eventpoll]", "anon_inode:[timerfd]", "/memfd:", "/sys/", "anon_inode:[vfio",
		"anon_inode:[infiniband", "anon_hugepage", "/dev/mem",
	};
	char link[64], target[128];
	ssize_t n;
	int domain = domain_of(fd);

	if (domain >= 0)
		return domain == AF_PACKET || domain == AF_XDP || domain == AF_NETLINK;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return false;
	target[n] = 0;
	for (size_t i = 0; i < fn_array_size(kinds); i++)
		if (!strncmp(target, kinds[i], strlen(kinds[i])))
			return true;
	return !strncmp(target, "pipe:", 5) && (*pipes)-- > 0;
}

int dpdk_fds_collect(int *fds, int max, const struct dpdk_fdset *before, int pipes)
{
	struct dpdk_fdset *now = malloc(sizeof(*now));
	int n = 0;

	if (!now)
		return 0;
	dpdk_fds_snapshot(now);
	for (int fd = 0; fd < FD_MAX && n < max; fd++) {
		if (!set_has(now, fd) || set_has(before, fd) || !is_drivers(fd, &pipes))
			continue;
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		fds[n++] = fd;
	}
	free(now);
	return n;
}
