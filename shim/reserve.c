/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker gives up its privileges while another process still has the port (nginx, at a reload), and wants the port when
 * that one has gone. Of what net_af_packet does, making AF_PACKET sockets is all that is privileged: they are made before,
 * bound to nothing and deaf, and given to the driver when it asks the kernel in vain.
 *
 * net_af_xdp loads a program into the kernel and attaches it, or looks up the one that is attached; all of it is refused to
 * the unprivileged (bpf(2): BPF_PROG_LOAD, BPF_MAP_CREATE, BPF_PROG_GET_FD_BY_ID), and done before it would take the
 * traffic away from the process that has the port. The same interface is served by net_af_packet then. net_tap makes an
 * interface, which the old process' end takes away: nothing can be kept for it.
 *
 * A child of fork has what its parent kept, as the same open files: the first of them to open the port has it for good.
 */
#include "shim/reserve.h"

#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "plugin/plugin.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/log.h"

/* Of one port: the driver's first socket, which asks for the interface, one a queue, and one that admits a MAC address. */
#define BESIDE_QUEUES	2
#define RESERVE_MAX	(FN_CONF_NICS * (BESIDE_QUEUES + 16))

static struct {
	int fd[RESERVE_MAX];	/* internal */
	unsigned n;
	unsigned given;		/* of them to the driver, as duplicates */
} reserve;

static bool is_af_packet(const struct fn_nic_conf *c)
{
	return !strncmp(c->devargs, "net_af_packet", 13) || !strncmp(c->devargs, "eth_af_packet", 13);
}

static bool is_af_xdp(const struct fn_nic_conf *c)
{
	return !strncmp(c->devargs, "net_af_xdp", 10);
}

/* The driver makes as many as its devargs say, whatever the configuration's `queues`. */
static unsigned sockets_of(const struct fn_nic_conf *c)
{
	const char *q = is_af_packet(c) ? strstr(c->devargs, ",qpairs=") : NULL;
	int n = q ? atoi(q + 8) : 1;

	return is_af_packet(c) || is_af_xdp(c) ? BESIDE_QUEUES + (unsigned)fn_min(fn_max(n, 1), 16) : 0;
}

void fn_reserve_take(void)
{
	static const int room = FN_PLUGIN_PACKET_RCVBUF;	/* more than who has no privileges may ask for */
	unsigned want = 0;

	for (unsigned i = 0; i < fn_config.nnics; i++)
		want += sockets_of(&fn_config.nics[i]);
	while (reserve.n < want) {
		/* protocol 0: it hears nothing until it is bound */
		int fd = fn_fd_internal(fn_sys_socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));

		if (fd < 0)
			return;
		fn_sys_setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room));
		reserve.fd[reserve.n] = fd;
		fn_fd_internal_track(&reserve.fd[reserve.n++]);
	}
}

bool fn_reserve_serves(const struct fn_nic_conf *c)
{
	return sockets_of(c) && reserve.n - reserve.given >= sockets_of(c);
}

const char *fn_reserve_devargs(const struct fn_nic_conf *c, unsigned i, char *buf, size_t len)
{
	const char *iface = strstr(c->devargs, ",iface=");

	if (!is_af_xdp(c) || !iface)
		return c->devargs;
	fn_log(FN_LOG_WARNING, "port %s: no right to open %s any more (CAP_NET_ADMIN); net_af_packet takes its place", c->name,
	       c->devargs);
	snprintf(buf, len, "net_af_packet_r%u,%.*s", i, (int)(1 + strcspn(iface + 1, ",")) - 1, iface + 1);
	return buf;
}

void fn_reserve_drop(void)
{
	while (reserve.n)
		fn_fd_internal_close(reserve.fd[--reserve.n]);
	reserve.given = 0;
}

/* ---- what the driver gets ---- */

/* Would it change anything? A flag that is set and need not be does no harm. */
static bool as_it_is(int fd, unsigned long req, const struct ifreq *want)
{
	struct ifreq now = *want;

	if (fn_sys(SYS_ioctl, fd, req == SIOCSIFFLAGS ? SIOCGIFFLAGS : SIOCGIFHWADDR, &now) < 0)
		return false;
	if (req == SIOCSIFFLAGS)
		return !(want->ifr_flags & ~now.ifr_flags) &&
		       !((want->ifr_flags ^ now.ifr_flags) & ~(IFF_PROMISC | IFF_ALLMULTI));
	return !memcmp(now.ifr_hwaddr.sa_data, want->ifr_hwaddr.sa_data, 6);
}

static int driver_ioctl(struct fn_file *f, int fd, unsigned long req, void *arg)
{
	int ret = (int)fn_sys(SYS_ioctl, fd, req, arg);

	if (ret == -EPERM && (req == SIOCSIFFLAGS || req == SIOCSIFHWADDR) && as_it_is(fd, req, arg))
		return 0;
	return ret;
}

static const struct fn_file_ops driver_ops = { .ioctl = driver_ioctl };

/* Its own entry in the table: gone when the driver closes it, or when the port is open and it becomes an internal one. */
static int for_driver(int fd)
{
	struct fn_file *f = fn_file_new(FN_FILE_KERNEL, &driver_ops);

	if (f && !fn_fd_install(fd, f))
		fn_file_put(f);
	return fd;
}

int fn_reserve_socket(int fd, int domain)
{
	if (!reserve.n)
		return fd;
	if (fd < 0) {
		if (fd != -EPERM || domain != AF_PACKET || reserve.given == reserve.n)
			return fd;
		/* a number of its own: the plugin finds the driver's descriptors by comparing what is open */
		fd = fn_sys_fcntl(reserve.fd[reserve.given], F_DUPFD_CLOEXEC, FN_FD_INTERNAL);
		if (fd == -EINVAL || fd == -EMFILE)
			fd = fn_sys_fcntl(reserve.fd[reserve.given], F_DUPFD_CLOEXEC, fn_fdtable.floor);
		reserve.given += fd >= 0;
	}
	return fd < 0 ? fd : for_driver(fd);
}
