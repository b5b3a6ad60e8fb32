/* SPDX-License-Identifier: BSD-3-Clause */
/* Socket addresses, both ways; see addr.h. Must not know a socket's state. */
#include "shim/addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "stack/user.h"

#define SIN6_LEN_RFC2133	24	/* sockaddr_in6 without sin6_scope_id: Linux accepts it */

static int get_in(const struct sockaddr *sa, socklen_t len, struct fn_ep *ep)
{
	struct sockaddr_in sin;

	if (len < sizeof(sin))
		return -EINVAL;
	memcpy(&sin, sa, sizeof(sin));
	*ep = (struct fn_ep){ .ip4 = sin.sin_addr.s_addr, .port = sin.sin_port };
	return FN_ADDR_IP4;
}

/* :: as a local address holds every IPv4 address too; as a destination it is ::1. */
static int get_in6(const struct fn_file *f, enum fn_addr_use use, const struct sockaddr *sa, socklen_t len,
		   struct fn_ep *ep)
{
	struct sockaddr_in6 sin6 = { 0 };

	if (len < SIN6_LEN_RFC2133)
		return -EINVAL;
	memcpy(&sin6, sa, fn_min((size_t)len, sizeof(sin6)));
	*ep = (struct fn_ep){ .port = sin6.sin6_port };
	if (IN6_IS_ADDR_V4MAPPED(&sin6.sin6_addr)) {
		if (f->opt.v6only)
			return use == FN_ADDR_BIND ? -EINVAL : -ENETUNREACH;
		memcpy(&ep->ip4, &sin6.sin6_addr.s6_addr[12], sizeof(ep->ip4));
		return FN_ADDR_IP4;
	}
	if (use == FN_ADDR_BIND && IN6_IS_ADDR_UNSPECIFIED(&sin6.sin6_addr) && !f->opt.v6only)
		return FN_ADDR_IP4;
	return FN_ADDR_IP6;
}

/* AF_INET addresses on an AF_INET6 socket: datagrams may, streams may not. */
static int get_in_on_in6(const struct fn_file *f, enum fn_addr_use use, const struct sockaddr *sa, socklen_t len,
			 struct fn_ep *ep)
{
	if (f->type != SOCK_DGRAM || use == FN_ADDR_BIND)
		return -EAFNOSUPPORT;
	if (f->opt.v6only)
		return use == FN_ADDR_SEND ? -ENETUNREACH : -EAFNOSUPPORT;
	return get_in(sa, len, ep);
}

static int get_unspec(const struct fn_file *f, enum fn_addr_use use, const struct sockaddr *sa, socklen_t len,
		      struct fn_ep *ep)
{
	int ret;

	if (use == FN_ADDR_CONNECT)
		return FN_ADDR_UNSPEC;
	if (f->domain == AF_INET6)
		return use == FN_ADDR_SEND ? FN_ADDR_UNSPEC : -EAFNOSUPPORT;
	ret = get_in(sa, len, ep);
	/* bind() takes it for compatibility with the any address only (inet_bind), sendto() always (udp_sendmsg) */
	if (ret == FN_ADDR_IP4 && use == FN_ADDR_BIND && ep->ip4)
		return -EAFNOSUPPORT;
	return ret;
}

int fn_addr_get(const struct fn_file *f, enum fn_addr_use use, const struct sockaddr *sa, socklen_t len,
		struct fn_ep *ep)
{
	if ((int)len < 0 || len > sizeof(struct sockaddr_storage))
		return -EINVAL;
	if (!sa && len)
		return -EFAULT;
	if (len < sizeof(sa->sa_family))
		return -EINVAL;
	/* udp_sendmsg and inet_bind look at the length first, the connects at the family */
	if (f->domain == AF_INET && use != FN_ADDR_CONNECT && len < sizeof(struct sockaddr_in))
		return -EINVAL;
	if (sa->sa_family == AF_UNSPEC)
		return get_unspec(f, use, sa, len, ep);
	if (f->domain == AF_INET && len < sizeof(struct sockaddr_in))
		return -EINVAL;
	if (f->domain == AF_INET6 && f->type == SOCK_STREAM && len < SIN6_LEN_RFC2133)
		return -EINVAL;
	if (f->domain == AF_INET)
		return sa->sa_family == AF_INET ? get_in(sa, len, ep) : -EAFNOSUPPORT;
	if (sa->sa_family == AF_INET6)
		return get_in6(f, use, sa, len, ep);
	if (sa->sa_family == AF_INET)
		return get_in_on_in6(f, use, sa, len, ep);
	return use == FN_ADDR_SEND ? -EINVAL : -EAFNOSUPPORT;
}

socklen_t fn_addr_make(int domain, const struct fn_ep *ep, struct sockaddr_storage *ss)
{
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ss;
	struct sockaddr_in *sin = (struct sockaddr_in *)ss;

	memset(ss, 0, sizeof(*sin6));
	if (domain != AF_INET6) {
		sin->sin_family = AF_INET;
		sin->sin_port = ep->port;
		sin->sin_addr.s_addr = ep->ip4;
		return sizeof(*sin);
	}
	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = ep->port;
	/* the any address is shown as ::, not as ::ffff:0.0.0.0 */
	if (ep->ip4) {
		memset(&sin6->sin6_addr.s6_addr[10], 0xff, 2);
		memcpy(&sin6->sin6_addr.s6_addr[12], &ep->ip4, sizeof(ep->ip4));
	}
	return sizeof(*sin6);
}

int fn_addr_put(int domain, const struct fn_ep *ep, struct sockaddr *sa, socklen_t *len)
{
	struct sockaddr_storage ss;
	socklen_t full;

	if (!len || !fn_user_may_write_all(len, sizeof(*len)))
		return -EFAULT;
	if ((int)*len < 0)
		return -EINVAL;
	full = fn_addr_make(domain, ep, &ss);
	if ((*len && !sa) || fn_user_put(sa, &ss, fn_min(*len, full)))
		return -EFAULT;
	*len = full;
	return 0;
}
