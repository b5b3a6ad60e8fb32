/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP (RFC 768, RFC 1122 4.1): sockets, datagrams in and out, errors. Must not know IP beyond fn_path and the header of what
 * it received. A queued datagram has .data at its payload, its headers stay in front.
 *
 * SO_SNDBUF is not charged: a datagram belongs to the device from the moment it is staged. A full device makes a writer
 * wait (fn_udp_writable).
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "cksum.h"
#include "recover.h"
#include "udp.h"
#include "user.h"

#define PAYLOAD_MAX	(65535 - FN_IP4_LEN - FN_UDP_LEN)
#define MTU_MIN		552	/* Linux ip_rt_min_pmtu */
#define CHUNK		64	/* sockets an allocation */

static struct fn_udp *udp_of(struct fn_sock *sk)
{
	return fn_container_of(sk, struct fn_udp, sk);
}

static struct fn_udp_hdr *udp_hdr(const struct fn_pkt *p)
{
	return (struct fn_udp_hdr *)(p->buf + p->l4);
}

int fn_udp_init(struct fn_stack *st)
{
	fn_pool_init(&st->udp_pool, st->arena, sizeof(struct fn_udp), CHUNK, st->conf.max_udp);
	return 0;
}

/* ---- life ---- */

struct fn_sock *fn_udp_open(struct fn_stack *st)
{
	struct fn_udp *u = fn_pool_alloc(&st->udp_pool);

	if (!u)
		return NULL;
	fn_sock_init(st, &st->udp_pool, &u->sk, FN_SOCK_UDP);
	u->mtu_discover = IP_PMTUDISC_WANT;
	return &u->sk;
}

static void waiter_remove(struct fn_stack *st, struct fn_udp *u)
{
	struct fn_udp **at = &st->udp_wait;

	if (!u->waiting)
		return;
	while (*at != u)
		at = &(*at)->next_waiter;
	*at = u->next_waiter;
	u->waiting = false;
}

void fn_udp_close(struct fn_sock *sk)
{
	struct fn_stack *st = sk->st;

	waiter_remove(st, udp_of(sk));
	fn_demux_unbind(st, sk);
	fn_pktq_purge(&sk->rxq);
	sk->kind = 0;
	fn_pool_free(&st->udp_pool, udp_of(sk));
}

/* ---- after a death under the lock ---- */

static void udp_settle(struct fn_udp *u)
{
	struct fn_sock *sk = &u->sk;

	if (!fn_recover_queue(&sk->rxq))
		sk->rxq = (struct fn_pktq){ 0 };
	sk->rx_charged = 0;
	for (struct fn_pkt *p = sk->rxq.head; p; p = p->next) {
		sk->rx_charged += p->truesize;
		fn_recover_hold(p);
	}
	u->waiting = false;
	u->next_waiter = NULL;
	u->path.nic = NULL;
	fn_demux_relink(sk->st, sk);
}

void fn_udp_recover(struct fn_stack *st)
{
	for (uint32_t i = 1; i < st->udp_pool.made; i++) {
		struct fn_udp *u = fn_pool_at(&st->udp_pool, i);

		if (u->sk.kind)
			udp_settle(u);
	}
}

/* One without a user was about to be given to somebody, or to be closed. */
void fn_udp_recovered(struct fn_stack *st)
{
	for (uint32_t i = 1; i < st->udp_pool.made; i++) {
		struct fn_udp *u = fn_pool_at(&st->udp_pool, i);

		if (u->sk.kind && !u->sk.user)
			fn_udp_close(&u->sk);
	}
}

int fn_udp_autobind(struct fn_sock *sk)
{
	int err;

	if (sk->local.port)
		return 0;
	sk->local.port = fn_demux_ephemeral(sk->st, sk, sk->local.ip4, NULL);
	err = sk->local.port ? fn_demux_bind(sk->st, sk) : -EAGAIN;	/* Linux inet_autobind */
	if (err)
		sk->local.port = 0;
	return err;
}

static bool may_broadcast(const struct fn_sock *sk, uint32_t dst)
{
	return sk->opts & FN_SO_BROADCAST || (fn_be32(dst) & 0xf0000000) == 0xe0000000 || !fn_ip4_is_bcast(sk->st, dst);
}

/* The path to a remote end; the last one is kept. */
static int udp_path(struct fn_udp *u, const struct fn_ep *to, uint32_t src)
{
	int err;

	if (u->path.nic && u->path.dst == to->ip4 && u->path_src == src && u->path_peer == to->peer)
		return 0;
	err = fn_path_to(u->sk.st, &u->path, to, src, FN_IPPROTO_UDP);
	if (err) {
		u->path.nic = NULL;
		return err;
	}
	u->path_src = src;
	u->path_peer = to->peer;
	return 0;
}

int fn_udp_connect(struct fn_sock *sk, const struct fn_ep *remote)
{
	struct fn_udp *u = udp_of(sk);
	uint32_t src = sk->opts & FN_SO_BOUND_ADDR ? sk->local.ip4 : 0;
	int err;

	err = udp_path(u, remote, src);
	if (err)
		return err;
	if (!may_broadcast(sk, remote->ip4))
		return -EACCES;
	err = fn_udp_autobind(sk);
	if (err)
		return err;
	sk->local.ip4 = u->path.src;
	sk->remote = (struct fn_ep){.ip4 = u->path.dst, .port = remote->port};
	return 0;
}

int fn_udp_assume(struct fn_sock *sk, const struct fn_ep *local, const struct fn_ep *remote)
{
	int err = 0;

	udp_of(sk)->path.nic = NULL;
	sk->remote = (struct fn_ep){.ip4 = remote->ip4, .port = remote->port};
	sk->opts |= FN_SO_BOUND_PORT | FN_SO_BOUND_ADDR;
	if (sk->local.port != local->port) {
		if (sk->local.port)
			fn_demux_unbind(sk->st, sk);
		sk->local.port = local->port;
		sk->local.ip4 = local->ip4;
		err = local->port ? fn_demux_bind(sk->st, sk) : 0;
	}
	sk->local.ip4 = local->ip4;
	if (err)
		sk->local = (struct fn_ep){0};
	return err;
}

void fn_udp_refused(struct fn_sock *sk)
{
	sk->error = ECONNREFUSED;
	fn_sock_ready(sk, POLLERR);
}

/* As Linux __udp_disconnect: what bind() chose stays. */
int fn_udp_disconnect(struct fn_sock *sk)
{
	sk->remote = (struct fn_ep){0};
	udp_of(sk)->path.nic = NULL;
	if (!(sk->opts & FN_SO_BOUND_PORT)) {
		fn_demux_unbind(sk->st, sk);
		sk->local.port = 0;
	}
	if (!(sk->opts & FN_SO_BOUND_ADDR))
		sk->local.ip4 = 0;
	return 0;
}

/* Linux inet_shutdown: an unconnected socket is shut down and says ENOTCONN. */
int fn_udp_shutdown(struct fn_sock *sk, unsigned how)
{
	sk->shut |= (uint8_t)how;
	fn_sock_ready(sk, FN_POLL_STATE);
	return sk->remote.port || sk->remote.ip4 ? 0 : -ENOTCONN;
}

/* ---- input ---- */

static uint32_t chain_truesize(const struct fn_pkt *p)
{
	uint32_t n = 0;

	for (; p; p = p->seg)
		n += p->truesize;
	return n;
}

/* Queue p, whose headers are in front of .data; as Linux, one datagram may exceed the buffer, and shutdown() stops none. */
static int udp_queue(struct fn_stack *st, struct fn_sock *sk, struct fn_pkt *p)
{
	if (sk->rx_charged > sk->rcvbuf)
		return fn_drop(st, p, FN_DROP_UDP_RCVBUF);
	if (p->seg)
		p->truesize = chain_truesize(p);
	sk->rx_charged += p->truesize;
	fn_pktq_push(&sk->rxq, p);
	st->stats.udp_in++;
	fn_sock_ready(sk, FN_POLL_DATA);
	return 0;
}

/* A copy with its headers, from the NIC's buffers to send from. */
static struct fn_pkt *datagram_copy(struct fn_pkt *p)
{
	uint32_t hlen = (uint32_t)(p->data - (p->buf + p->l3)), l4 = (uint32_t)(p->l4 - p->l3);
	struct fn_pkt *c;

	fn_pkt_push(p, hlen);
	c = fn_nic_copy(p->nic, p);
	fn_pkt_pull(p, hlen);
	if (!c)
		return NULL;
	c->l3 = (uint16_t)(c->data - c->buf);
	c->l4 = (uint16_t)(c->l3 + l4);
	c->time = p->time;
	fn_pkt_pull(c, hlen);
	return c;
}

/* A broadcast: every socket that it fits gets one (Linux __udp4_lib_mcast_deliver). */
static fn_cold int udp_broadcast(struct fn_stack *st, struct fn_pkt *p, const struct fn_ep *local,
				 const struct fn_ep *remote)
{
	struct fn_sock *sk = NULL, *next;
	struct fn_pkt *c;

	next = fn_demux_next(st, FN_SOCK_UDP, local, remote, NULL);
	while ((sk = next)) {
		next = fn_demux_next(st, FN_SOCK_UDP, local, remote, sk);
		c = next ? datagram_copy(p) : p;
		if (c)
			udp_queue(st, sk, c);
		if (!next)
			return 0;
	}
	return fn_drop(st, p, FN_DROP_UDP_NO_SOCK);
}

static bool csum_ok(const struct fn_pkt *p, const struct fn_ip4_hdr *ip, const struct fn_udp_hdr *udp)
{
	if (p->flags & FN_PKT_L4_CSUM_OK || !udp->csum)
		return true;
	return !fn_cksum_fold(fn_cksum_pkt(p, 0) + fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_UDP, p->pkt_len));
}

/* Cut p to the length that its UDP header tells. */
static void udp_trim(struct fn_pkt *p, uint32_t len)
{
	struct fn_pkt *s = p;
	uint32_t left = len;

	for (; s->seg && left > s->len; s = s->seg)
		left -= s->len;
	s->len = fn_min(s->len, left);
	for (s = s->seg; s; s = s->seg)
		s->len = 0;
	p->pkt_len = len;
}

static fn_cold int udp_no_sock(struct fn_stack *st, struct fn_pkt *p)
{
	fn_icmp_send_error(st, p, FN_ICMP_UNREACH, FN_ICMP_UNREACH_PORT, 0);
	return fn_drop(st, p, FN_DROP_UDP_NO_SOCK);
}

int fn_udp_input(struct fn_stack *st, struct fn_pkt *p)
{
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);
	const struct fn_udp_hdr *udp = (const struct fn_udp_hdr *)p->data;
	struct fn_ep local, remote;
	struct fn_sock *sk;
	uint32_t len;

	if (p->len < FN_UDP_LEN)
		return fn_drop(st, p, FN_DROP_UDP_SHORT);
	len = fn_be16(udp->len);
	if (len < FN_UDP_LEN || len > p->pkt_len)
		return fn_drop(st, p, FN_DROP_UDP_SHORT);
	if (len < p->pkt_len)
		udp_trim(p, len);
	if (!csum_ok(p, ip, udp))
		return fn_drop(st, p, FN_DROP_UDP_CSUM);
	local = (struct fn_ep){.ip4 = ip->dst, .port = udp->dport};
	remote = (struct fn_ep){.ip4 = ip->src, .port = udp->sport};
	fn_pkt_pull(p, FN_UDP_LEN);
	if (p->peer && st->ops.from_peer && !st->ops.from_peer(st->ops_ctx, p->peer, &local, &remote))
		return fn_drop(st, p, FN_DROP_UDP_SOURCE);
	if (fn_unlikely(p->flags & FN_PKT_LINK_BCAST))
		return udp_broadcast(st, p, &local, &remote);
	if (!(p->flags & FN_PKT_HASH_VALID))
		p->hash = fn_hash4(st, remote.ip4, local.ip4, remote.port, local.port);
	sk = fn_demux_bound(st, FN_SOCK_UDP, &local, &remote, p->hash);
	return fn_likely(sk) ? udp_queue(st, sk, p) : udp_no_sock(st, p);
}

/* As Linux __udp4_lib_err: only a connected socket hears of it, and of what is not fatal only a packet that was too big. */
int fn_udp_icmp(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote, uint8_t type, uint8_t code,
		uint32_t mtu)
{
	uint32_t hash = fn_hash4(st, remote->ip4, local->ip4, remote->port, local->port);
	struct fn_sock *sk = fn_demux_bound(st, FN_SOCK_UDP, local, remote, hash);
	bool fatal, too_big = type == FN_ICMP_UNREACH && code == FN_ICMP_UNREACH_FRAG;
	int err = fn_icmp_errno(type, code, &fatal);
	struct fn_udp *u;

	if (!sk)
		return -FN_DROP_ICMP_NO_SOCK;
	u = udp_of(sk);
	if (too_big && u->path.nic && u->path.dst == remote->ip4 && mtu < u->path.mtu)
		u->path.mtu = fn_max(mtu, (uint32_t)MTU_MIN);
	if (too_big)
		fatal = u->mtu_discover != IP_PMTUDISC_DONT;
	if (!err || !fatal || !sk->remote.port)
		return 0;
	sk->error = err;
	fn_sock_ready(sk, POLLERR);
	return 0;
}

/* ---- receiving ---- */

/* -EFAULT: a pointer is bad. */
static ssize_t copy_to_iov(const struct iovec *iov, int iovcnt, const struct fn_pkt *p)
{
	size_t done = 0, in_iov = 0, in_pkt = 0, n;
	int i = 0;

	while (p && i < iovcnt) {
		n = fn_min(iov[i].iov_len - in_iov, (size_t)p->len - in_pkt);
		if (n && fn_user_copy((uint8_t *)iov[i].iov_base + in_iov, p->data + in_pkt, n))
			return -EFAULT;
		done += n;
		in_iov += n;
		in_pkt += n;
		if (in_iov == iov[i].iov_len) {
			i++;
			in_iov = 0;
		}
		if (in_pkt == p->len) {
			p = p->seg;
			in_pkt = 0;
		}
	}
	return (ssize_t)done;
}

static void fill_meta(const struct fn_pkt *p, struct fn_udp_meta *m)
{
	const struct fn_ip4_hdr *ip = fn_pkt_ip4(p);
	const struct fn_udp_hdr *udp = udp_hdr(p);

	*m = (struct fn_udp_meta){.from = {.ip4 = ip->src, .port = udp->sport}, .to = {.ip4 = ip->dst, .port = udp->dport},
		.len = p->pkt_len, .time = p->time, .ttl = ip->ttl, .tos = ip->tos, .ifindex = p->nic->ifindex};
}

ssize_t fn_udp_recv(struct fn_sock *sk, const struct iovec *iov, int iovcnt, unsigned flags, struct fn_udp_meta *meta)
{
	struct fn_pkt *p = sk->rxq.head;
	ssize_t n;

	if (fn_unlikely(sk->error))
		return -fn_sock_take_error(sk);
	if (!p) {
		if (meta)
			*meta = (struct fn_udp_meta){0};
		return sk->shut & FN_SHUT_RD ? 0 : -EAGAIN;
	}
	n = copy_to_iov(iov, iovcnt, p);
	if (meta)
		fill_meta(p, meta);
	if (flags & MSG_PEEK)
		return n;
	fn_pktq_remove(&sk->rxq, p);	/* -EFAULT loses it, as in udp_recvmsg */
	sk->rx_charged -= p->truesize;
	fn_pkt_free(p);
	return n;
}

size_t fn_udp_readable(const struct fn_sock *sk)
{
	return sk->rxq.head ? sk->rxq.head->pkt_len : 0;
}

size_t fn_udp_outq(const struct fn_sock *sk)
{
	return 0;
}

unsigned fn_udp_poll(struct fn_sock *sk)
{
	const struct fn_udp *u = udp_of(sk);
	unsigned ev = 0;

	if (sk->error)
		ev |= POLLERR;
	if (sk->rxq.head)
		ev |= POLLIN | POLLRDNORM;
	if (sk->shut & FN_SHUT_RD)
		ev |= POLLIN | POLLRDNORM | POLLRDHUP;
	if ((sk->shut & (FN_SHUT_RD | FN_SHUT_WR)) == (FN_SHUT_RD | FN_SHUT_WR))
		ev |= POLLHUP;
	if (!u->waiting)
		ev |= POLLOUT | POLLWRNORM | POLLWRBAND;
	return ev;
}

/* ---- sending ---- */

/* The writer comes back when the device has room: at most each RETRY of fn_stack_deadline(). */
static ssize_t udp_wait_room(struct fn_udp *u)
{
	struct fn_stack *st = u->sk.st;

	u->sk.nospace = true;
	if (!u->waiting) {
		u->waiting = true;
		u->next_waiter = st->udp_wait;
		st->udp_wait = u;
	}
	return -EAGAIN;
}

void fn_udp_writable(struct fn_stack *st)
{
	struct fn_udp *u = st->udp_wait, *next;

	if (fn_stack_staged(st))
		return;
	st->udp_wait = NULL;
	for (; u; u = next) {
		next = u->next_waiter;
		u->waiting = false;
		u->sk.nospace = false;
		fn_sock_ready(&u->sk, POLLOUT | POLLWRNORM | POLLWRBAND);
	}
}

static ssize_t iov_length(const struct iovec *iov, int iovcnt)
{
	size_t n = 0;

	for (int i = 0; i < iovcnt; i++) {
		n += iov[i].iov_len;
		if (n > PAYLOAD_MAX || iov[i].iov_len > PAYLOAD_MAX)
			return -EMSGSIZE;
	}
	return (ssize_t)n;
}

/* Buffers for `len` bytes with the payload copied in; NULL: none left, or *bad, a pointer. */
static struct fn_pkt *payload_build(struct fn_nic *nic, const struct iovec *iov, size_t len, bool *bad)
{
	struct fn_pkt *first = fn_nic_alloc(nic), *p = first;
	size_t in_iov = 0, n;

	*bad = false;

	while (p && len) {
		if (p->len == nic->tx_payload && !(p = p->seg = fn_nic_alloc(nic)))
			break;
		n = fn_min(len, iov->iov_len - in_iov);
		n = fn_min(n, (size_t)(nic->tx_payload - p->len));
		if (n && fn_user_copy(p->data + p->len, (const uint8_t *)iov->iov_base + in_iov, n)) {
			*bad = true;
			p = NULL;
			break;
		}
		p->len += (uint32_t)n;
		first->pkt_len += (uint32_t)n;
		len -= n;
		in_iov += n;
		if (in_iov == iov->iov_len) {
			iov++;
			in_iov = 0;
		}
	}
	if (!p && first)
		fn_pkt_free(first);
	return p ? first : NULL;
}

/* The header in front; its checksum left to the device where it can do it and the packet stays whole. */
static void header_build(struct fn_pkt *p, const struct fn_path *path, uint16_t sport, uint16_t dport, bool whole)
{
	struct fn_udp_hdr *h = fn_pkt_push(p, FN_UDP_LEN);
	uint64_t pseudo = fn_cksum_pseudo4(path->src, path->dst, FN_IPPROTO_UDP, p->pkt_len);

	*h = (struct fn_udp_hdr){.sport = sport, .dport = dport, .len = fn_be16((uint16_t)p->pkt_len)};
	if (whole && path->nic->caps & FN_NIC_TX_UDP_CSUM && !path->local) {
		p->flags |= FN_PKT_TX_UDP_CSUM;
		h->csum = (uint16_t)~fn_cksum_fold(pseudo);
		return;
	}
	h->csum = fn_cksum_fold(fn_cksum_pkt(p, 0) + pseudo);
	if (!h->csum)	/* RFC 768: 0 says that there is none */
		h->csum = 0xffff;
}

/* Is there a destination (udp_sendmsg)? */
static ssize_t check_to(const struct fn_sock *sk, const struct fn_ep *to)
{
	if (!to)
		return sk->remote.port || sk->remote.ip4 ? 0 : -EDESTADDRREQ;
	return to->port ? 0 : -EINVAL;
}

/* The socket's own state is looked at when the datagram is made (sock_alloc_send_pskb). */
static ssize_t check_state(struct fn_sock *sk)
{
	if (fn_unlikely(sk->error))
		return -fn_sock_take_error(sk);
	return sk->shut & FN_SHUT_WR ? -EPIPE : 0;
}

static uint8_t path_ttl(const struct fn_sock *sk, uint32_t dst)
{
	return (fn_be32(dst) & 0xf0000000) == 0xe0000000 ? 1 : sk->ttl;	/* IP_MULTICAST_TTL's default */
}

static ssize_t udp_transmit(struct fn_udp *u, const struct iovec *iov, size_t len, uint16_t dport)
{
	struct fn_path *path = &u->path;
	struct fn_stack *st = u->sk.st;
	bool whole = len + FN_UDP_LEN + FN_IP4_LEN <= path->mtu;
	unsigned pieces = whole ? 1 : (unsigned)(len / (path->mtu - 2 * FN_IP4_LEN) + 2);
	struct fn_pkt *p;
	bool bad;
	int err;

	if (!whole && u->mtu_discover >= IP_PMTUDISC_DO)
		return -EMSGSIZE;
	if (!path->local && fn_nic_tx_room(path->nic) < pieces && !fn_nic_flush(path->nic) &&
	    fn_nic_tx_room(path->nic) < pieces)
		return udp_wait_room(u);
	p = payload_build(path->nic, iov, len, &bad);
	if (!p)
		return bad ? -EFAULT : udp_wait_room(u);
	header_build(p, path, u->sk.local.port, dport, whole);
	path->df = whole ? u->mtu_discover != IP_PMTUDISC_DONT : u->mtu_discover >= IP_PMTUDISC_DO;
	path->tos = u->sk.tos;
	path->ttl = path_ttl(&u->sk, path->dst);
	err = fn_ip4_output(st, path, p);
	if (err == -EMSGSIZE || err == -EHOSTUNREACH)
		return err;
	st->stats.udp_out++;
	/* the device has its buffer: an edge for who waits to write (sock_wfree), whether there was no room before or not */
	fn_sock_ready(&u->sk, POLLOUT | POLLWRNORM | POLLWRBAND);
	return (ssize_t)len;	/* what the device or ARP's queue refused is lost, and counted */
}

ssize_t fn_udp_send(struct fn_sock *sk, const struct iovec *iov, int iovcnt, const struct fn_ep *to,
		    const struct fn_ep *src)
{
	struct fn_udp *u = udp_of(sk);
	ssize_t len = iov_length(iov, iovcnt), err;
	uint32_t from = src && src->ip4 ? src->ip4 : sk->local.ip4;

	if (len < 0)
		return len;
	err = fn_udp_autobind(sk);
	if (!err)
		err = check_to(sk, to);
	if (err)
		return err;
	if (!to)
		to = &sk->remote;
	if (fn_ip4_is_bcast(sk->st, from))	/* bound to a group: any source */
		from = 0;
	err = udp_path(u, to, from);
	if (err)
		return err == -EADDRNOTAVAIL ? -EINVAL : err;
	if (!may_broadcast(sk, to->ip4))
		return -EACCES;
	err = check_state(sk);
	if (err)
		return err;
	return udp_transmit(u, iov, (size_t)len, to->port);
}

/* ---- options ---- */

int fn_udp_setopt(struct fn_sock *sk, enum fn_opt opt, int value)
{
	if (opt != FN_OPT_MTU_DISCOVER)
		return -ENOPROTOOPT;
	if (value < IP_PMTUDISC_DONT || value > IP_PMTUDISC_OMIT)
		return -EINVAL;
	udp_of(sk)->mtu_discover = (uint8_t)value;
	sk->opts = (uint16_t)(value == IP_PMTUDISC_DO ? sk->opts | FN_SO_DONTFRAG : sk->opts & ~FN_SO_DONTFRAG);
	return 0;
}

int fn_udp_getopt(struct fn_sock *sk, enum fn_opt opt, int *value)
{
	struct fn_udp *u = udp_of(sk);

	switch (opt) {
	case FN_OPT_MTU_DISCOVER:
		*value = u->mtu_discover;
		return 0;
	case FN_OPT_MTU:
		if (!sk->remote.port || !u->path.nic)
			return -ENOTCONN;
		*value = (int)u->path.mtu;
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}
