/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Names of converted connections: "\0fastnet/tcp4/10.9.0.2:80/10.9.0.1:4711/1f/abcdef" (domain, local and remote end, a number
 * that makes it the only one, the key under which the relay is asked). An accepted or connected socket of somebody else's cannot pass for one: the program's end of a
 * pair has no name itself, and its peer was made by this user or by root.
 */
#include "shim/convert_name.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/bell.h"
#include "shim/engine.h"

#define PREFIX	"fastnet/tcp"
#define SHORTEST (offsetof(struct sockaddr_un, sun_path) + 1 + sizeof(PREFIX "4/1.1.1.1:1/1.1.1.1:1/0/0") - 1)

static int put_end(char *to, size_t room, const struct fn_ep *ep)
{
	const uint8_t *a = (const uint8_t *)&ep->ip4;

	return snprintf(to, room, "%u.%u.%u.%u:%u", a[0], a[1], a[2], a[3], ntohs(ep->port));
}

void fn_convert_bind_name(int far, const struct fn_file *f)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char local[24], remote[24];
	uint32_t number;

	put_end(local, sizeof(local), &f->sk->local);
	put_end(remote, sizeof(remote), &f->sk->remote);
	for (int tries = 0; tries < 4; tries++) {
		int n;

		fn_sys(SYS_getrandom, &number, sizeof(number), 0);
		n = snprintf(un.sun_path + 1, sizeof(un.sun_path) - 1, PREFIX "%c/%s/%s/%x/%llx",
			     f->domain == AF_INET6 ? '6' : '4', local, remote, number,
			     (unsigned long long)fn_bell_key());
		if (fn_sys(SYS_bind, far, &un, offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)n) != -EADDRINUSE)
			return;
	}
}

static bool read_end(const char **p, struct fn_ep *ep)
{
	unsigned a[4], port;
	int n = 0;

	if (sscanf(*p, "/%3u.%3u.%3u.%3u:%5u%n", &a[0], &a[1], &a[2], &a[3], &port, &n) != 5 ||
	    (a[0] | a[1] | a[2] | a[3]) > 255 || port > 65535)
		return false;
	*p += n;
	*ep = (struct fn_ep){ .ip4 = htonl(a[0] << 24 | a[1] << 16 | a[2] << 8 | a[3]), .port = htons((uint16_t)port) };
	return true;
}

static bool read_name(const struct sockaddr_un *un, struct fn_convert_name *name)
{
	const char *p = un->sun_path + 1;
	unsigned long long key;

	if (un->sun_path[0] || strncmp(p, PREFIX, strlen(PREFIX)))
		return false;
	p += strlen(PREFIX);
	if (*p != '4' && *p != '6')
		return false;
	name->domain = *p++ == '6' ? AF_INET6 : AF_INET;
	if (!read_end(&p, &name->local) || !read_end(&p, &name->remote) ||
	    sscanf(p, "/%8x/%16llx", &name->number, &key) != 2)
		return false;
	name->key = key;
	return true;
}

uint32_t fn_convert_own_name(int far, int *domain)
{
	struct fn_convert_name name;
	struct sockaddr_un un;
	socklen_t len = sizeof(un) - 1;

	memset(&un, 0, sizeof(un));
	if (fn_sys(SYS_getsockname, far, &un, &len) < 0 || len < SHORTEST || !read_name(&un, &name))
		return 0;
	*domain = name.domain;
	return name.number;
}

/* Of a pair both ends have the credentials of who made it (unix_socketpair). */
static bool trusted(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return fn_sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
	       (!cred.uid || cred.uid == (uid_t)fn_sys(SYS_geteuid, 0) || cred.uid == (uid_t)fn_sys(SYS_getuid, 0));
}

bool fn_convert_lookup(int fd, struct fn_convert_name *name)
{
	struct sockaddr_un own, peer;
	socklen_t own_len = sizeof(own), len = sizeof(peer) - 1;

	memset(&peer, 0, sizeof(peer));
	return fn_sys(SYS_getpeername, fd, &peer, &len) == 0 && peer.sun_family == AF_UNIX && len >= SHORTEST &&
	       len < sizeof(peer) && read_name(&peer, name) && fn_sys(SYS_getsockname, fd, &own, &own_len) == 0 &&
	       own_len == offsetof(struct sockaddr_un, sun_path) && trusted(fd);
}
