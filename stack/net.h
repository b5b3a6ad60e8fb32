/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between the layers inside the stack: Ethernet, ARP, IPv4, routes, demultiplexing, and what TCP and UDP ask of them.
 * Nothing here is for the shim.
 */
#ifndef FN_NET_H
#define FN_NET_H

#include "stack.h"
#include "wire.h"

/* ---- input: each takes p with .data at its header and owns it; returns 0 or -FN_DROP_* ---- */
int fn_ether_input(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p);
int fn_arp_input(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p);
int fn_ip4_input(struct fn_stack *st, struct fn_nic *nic, struct fn_pkt *p);
int fn_icmp_input(struct fn_stack *st, struct fn_pkt *p);
int fn_udp_input(struct fn_stack *st, struct fn_pkt *p);
int fn_tcp_input(struct fn_stack *st, struct fn_pkt *p);
/* A frame, .data at its Ethernet header: true when it was the next segment of a connection, without anything unusual at any
 * layer, and is taken; else nothing was done to it, and it goes to fn_ether_input(). */
bool fn_tcp_express(struct fn_stack *st, const struct fn_nic *nic, struct fn_pkt *p);

fn_inline struct fn_ip4_hdr *fn_pkt_ip4(const struct fn_pkt *p)
{
	return (struct fn_ip4_hdr *)(p->buf + p->l3);
}

/* An ICMP error (type, code, mtu in host order) quotes a packet of ours: local and remote end as we sent it, seq (host
 * order) for TCP. 0, or -FN_DROP_ICMP_NO_SOCK/-FN_DROP_ICMP_SEQ. */
int fn_tcp_icmp(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote, uint32_t seq, uint8_t type,
		uint8_t code, uint32_t mtu);
int fn_udp_icmp(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote, uint8_t type, uint8_t code,
		uint32_t mtu);
/* Errors for a neighbour that does not answer: like a host-unreachable for every socket that waits for it. */
void fn_tcp_neigh_failed(struct fn_stack *st, uint32_t next_hop);

/* The errno that Linux gives for an ICMP error (icmp_err_convert in net/ipv4/icmp.c); *fatal as there. 0: none. */
int fn_icmp_errno(uint8_t type, uint8_t code, bool *fatal);

/* ---- routes and neighbours ---- */
struct fn_neigh;

/* How packets leave for one destination: what a connection caches. */
struct fn_path {
	struct fn_nic *nic;
	struct fn_neigh *neigh;		/* never freed while the stack lives, may become unresolved; NULL: local */
	uint32_t src, dst;		/* network order */
	uint32_t next_hop;		/* dst or the gateway: neigh is looked up again when it serves another address now */
	uint32_t mtu;			/* of the path, IP bytes */
	uint8_t ttl, tos, proto;
	bool df;
	bool local;			/* dst is one of our own addresses: no TSO, nothing leaves */
};

/* Fill path for dst (0: this host, as Linux); src 0 chooses the interface's address; TTL 64, TOS 0, DF set.
 * -ENETUNREACH, -EHOSTUNREACH (no room for a neighbour), -EADDRNOTAVAIL, -EINVAL (127/8 leaving the host). */
int fn_path_init(struct fn_stack *st, struct fn_path *path, uint32_t dst, uint32_t src, uint8_t proto);
/* The same for a remote end, which may be a process behind the fabric: then through st->fabric, whatever its address. */
int fn_path_to(struct fn_stack *st, struct fn_path *path, const struct fn_ep *remote, uint32_t src, uint8_t proto);

/* Routes or addresses are others now. */
void fn_paths_changed(struct fn_stack *st);

/* True for 255.255.255.255, a broadcast address of one of our networks (RFC 1122 3.2.1.3), or a multicast group. */
bool fn_ip4_is_bcast(const struct fn_stack *st, uint32_t ip4);

/* prefix/mask in network order, gw 0: on link. -ENOSPC, -EEXIST. */
int fn_route_add(struct fn_stack *st, uint32_t prefix, uint32_t mask, uint32_t gw, struct fn_nic *nic);

/*
 * Send one IP packet: p->data is the L4 header, checksum fields of the L4 header done (or left to the device by
 * FN_PKT_TX_*_CSUM). Pushes IP and Ethernet headers and stages it on the NIC; waits for ARP if needed (a FN_PKT_KEEP
 * packet waits as a copy). Fragments what exceeds the MTU unless path->df. Consumes p unless FN_PKT_KEEP is set; with
 * FN_PKT_KEEP .data is put back to where it was. 0, or -EMSGSIZE, -EHOSTUNREACH, -ENOBUFS, -ENETDOWN (nothing was sent,
 * p is consumed all the same).
 */
int fn_ip4_output(struct fn_stack *st, const struct fn_path *path, struct fn_pkt *p);

/* Confirmed forward progress of a connection: the neighbour is alive (RFC 4861 7.3.1's idea, as Linux dst_confirm).
 * n may be NULL (a local path). */
void fn_neigh_confirm(struct fn_stack *st, struct fn_neigh *n);

/* A buffer to send from, with room for headers; counts NO_PKT_MEM. */
struct fn_pkt *fn_nic_alloc_failed(struct fn_nic *nic);
fn_inline struct fn_pkt *fn_nic_alloc(struct fn_nic *nic)
{
	struct fn_pkt *p = nic->ops->alloc(nic);

	return fn_likely(p != NULL) ? p : fn_nic_alloc_failed(nic);
}
/* The same for `len` bytes of payload, or as many of them as it takes. A large one is not left less than half full: it is
 * charged, and lent, as a whole. */
fn_inline struct fn_pkt *fn_nic_alloc_for(struct fn_nic *nic, size_t len)
{
	struct fn_pkt *p = NULL;

	if (fn_unlikely(len && nic->tx_large && len >= nic->tx_large / 2))	/* none at all: known to the compiler */
		p = nic->ops->alloc_large(nic);
	return p ? p : fn_nic_alloc(nic);
}
/* A copy of a chain's bytes from .data on, in as many buffers of nic as it takes (.seg); the offloads asked for come
 * along, .l2 to .l4 do not. NULL: no buffers. */
struct fn_pkt *fn_nic_copy(struct fn_nic *nic, const struct fn_pkt *src);
/*
 * Stage an Ethernet frame that begins at .l2; sends when a burst is full. Consumes p, on errors too, unless FN_PKT_KEEP.
 * A kept packet's .data may be moved while it is staged; one that is staged already is not staged twice (its header was
 * rewritten in place). -ENOBUFS when the queue is full, -ENETDOWN without a link.
 */
fn_inline int fn_nic_send(struct fn_nic *nic, struct fn_pkt *p);
int fn_nic_send_slow(struct fn_nic *nic, struct fn_pkt *p);	/* its rare half */
/* Give the device what is staged, if anything; true when it took everything. */
bool fn_nic_flush(struct fn_nic *nic);
fn_inline int fn_nic_send(struct fn_nic *nic, struct fn_pkt *p)
{
	unsigned n = nic->txq_len;

	/* the last place of each burst is the slow half's: it flushes */
	if (fn_unlikely((n & (FN_NIC_BURST - 1)) == FN_NIC_BURST - 1 || p->flags & FN_PKT_QUEUED || !nic->up ||
			nic->choked || n == FN_NIC_TXQ))
		return fn_nic_send_slow(nic, p);
	p->flags |= FN_PKT_QUEUED;
	nic->txq[n] = p;
	nic->txq_len = (uint16_t)(n + 1);
	nic->st->staged++;
	return 0;
}
/* Packets that can be staged now without -ENOBUFS. */
unsigned fn_nic_tx_room(const struct fn_nic *nic);

/*
 * A packet of ours, quoted from its IP header on (len bytes of it are there), met an error: tell its socket. From a real
 * ICMP message or from a neighbour that does not answer. 0, or -FN_DROP_ICMP_*.
 */
int fn_icmp_quoted(struct fn_stack *st, const void *quote, size_t len, uint8_t type, uint8_t code, uint32_t mtu);

/* Send an ICMP error about p (its IP header at .l3); rate-limited; p stays the caller's. mtu in host order. */
void fn_icmp_send_error(struct fn_stack *st, const struct fn_pkt *p, uint8_t type, uint8_t code, uint32_t mtu);

/* ---- demultiplexing (demux.c) ---- */
/* Toeplitz hash with the stack's key, of a packet as it is received: src = remote. */
uint32_t fn_hash4(const struct fn_stack *st, uint32_t src, uint32_t dst, uint16_t sport, uint16_t dport);

/* Connections, by the full 4-tuple (TCP). */
struct fn_sock *fn_demux_conn(const struct fn_stack *st, uint32_t hash, const struct fn_ep *local,
			      const struct fn_ep *remote);
/*
 * The one that was found last, or NULL when the ends are others: packets of a connection come in trains, and a hash and a
 * walk cost 66 instructions more (bench/stack). What the caller finds otherwise it stores in st->last_conn.
 */
fn_inline struct fn_sock *fn_demux_last(const struct fn_stack *st, uint32_t src, uint32_t dst, uint16_t sport,
					uint16_t dport, uint16_t peer)
{
	struct fn_sock *sk = st->last_conn;

	return sk && sk->remote.ip4 == src && sk->remote.port == sport && sk->remote.peer == peer &&
	       sk->local.port == dport && sk->local.ip4 == dst ? sk : NULL;
}
void fn_demux_add_hashed(struct fn_stack *st, struct fn_sock *sk, uint32_t hash);	/* sk->hash is set here */
void fn_demux_del_conn(struct fn_stack *st, struct fn_sock *sk);
/* sk, with the ends of old, takes its place. */
void fn_demux_replace_conn(struct fn_stack *st, struct fn_sock *old, struct fn_sock *sk);

/* Listeners and UDP sockets, by local port and address; the most specific match wins (exact remote, exact local
 * address, any); among SO_REUSEPORT equals the hash decides. */
struct fn_sock *fn_demux_bound(const struct fn_stack *st, enum fn_sock_kind kind, const struct fn_ep *local,
			       const struct fn_ep *remote, uint32_t hash);
/* Each socket that fits, one after another (broadcasts); after NULL: the first. */
struct fn_sock *fn_demux_next(const struct fn_stack *st, enum fn_sock_kind kind, const struct fn_ep *local,
			      const struct fn_ep *remote, const struct fn_sock *after);
/* 0 or -EADDRINUSE by Linux's bind rules, as far as other bound sockets go. */
int fn_demux_bind(struct fn_stack *st, struct fn_sock *sk);
/* And as far as connections on its port go; a walk through the whole table if there are any. Of sk .kind, .local and .opts. */
bool fn_demux_conns_clash(const struct fn_stack *st, const struct fn_sock *sk);
/* Leave the port's chain, as a listener too; harmless when sk is not in it. */
void fn_demux_unbind(struct fn_stack *st, struct fn_sock *sk);
/* TCP: a bound socket begins to listen: checked again, as Linux does, for two sockets with SO_REUSEADDR may be bound to one
 * port but not listen there. 0 or -EADDRINUSE. */
int fn_demux_listen(struct fn_stack *st, struct fn_sock *sk);
/* Provided by TCP, asked by fn_demux_ephemeral(): sk holds a 4-tuple that a new active open would like. True when it is in
 * TIME_WAIT and RFC 6191 lets the tuple be used again; nothing is changed by asking. */
bool fn_tcp_tw_reusable(const struct fn_sock *sk);
/* A free ephemeral local port for that remote end (RFC 6056 algorithm 4), network order; 0: none. TCP: a port whose
 * 4-tuple is in TIME_WAIT counts as free when RFC 6191 lets it. remote NULL (bind): a random port that nobody uses. */
uint16_t fn_demux_ephemeral(struct fn_stack *st, struct fn_sock *sk, uint32_t laddr, const struct fn_ep *remote);

/* SipHash-2-4 (Aumasson, Bernstein 2012). */
uint64_t fn_siphash(const uint8_t key[16], const void *data, size_t len);
/* The same of three words, each little-endian: what a connection costs two of (bench/stack). */
uint64_t fn_siphash3(const uint8_t key[16], uint32_t a, uint32_t b, uint32_t c);

/* ---- init, called by fn_stack_create() ---- */
/* Random numbers and keys from conf.seed. */
void fn_stack_seed(struct fn_stack *st);
int fn_demux_init(struct fn_stack *st);
int fn_arp_init(struct fn_stack *st);
int fn_ip4_init(struct fn_stack *st);
int fn_icmp_init(struct fn_stack *st);
int fn_routes_init(struct fn_stack *st);
int fn_udp_init(struct fn_stack *st);
int fn_tcp_init(struct fn_stack *st);
void fn_arp_announce(struct fn_stack *st, struct fn_nic *nic);

/* ---- the two kinds of socket, called by sock.c ---- */
/* What every new socket has: kind, stack, index in `pool`, default buffers, TTL. The kind calls it on what it took from
 * its pool (fn_tcp_open, and for a connection that a listener takes). */
void fn_sock_init(struct fn_stack *st, struct fn_pool *pool, struct fn_sock *sk, enum fn_sock_kind kind);
struct fn_sock *fn_tcp_open(struct fn_stack *st);
struct fn_sock *fn_udp_open(struct fn_stack *st);
int fn_tcp_connect(struct fn_sock *sk, const struct fn_ep *remote);
int fn_udp_connect(struct fn_sock *sk, const struct fn_ep *remote);
int fn_tcp_disconnect(struct fn_sock *sk);
int fn_udp_disconnect(struct fn_sock *sk);
int fn_tcp_shutdown(struct fn_sock *sk, unsigned how);
int fn_udp_shutdown(struct fn_sock *sk, unsigned how);
void fn_tcp_close(struct fn_sock *sk);
void fn_udp_close(struct fn_sock *sk);
unsigned fn_udp_poll(struct fn_sock *sk);
/* The options of the kind. TCP is told of TTL, TOS, SNDBUF, RCVBUF and RCVLOWAT too, after sock.c has stored them, so that it
 * can change a connection's path or tell a writer; its answer is not used then. */
int fn_tcp_setopt(struct fn_sock *sk, enum fn_opt opt, int value);
int fn_udp_setopt(struct fn_sock *sk, enum fn_opt opt, int value);
int fn_udp_getopt(struct fn_sock *sk, enum fn_opt opt, int *value);
/* Linux SOCK_MIN_SNDBUF and SOCK_MIN_RCVBUF, x86-64 */
#define FN_SNDBUF_MIN	4608
#define FN_RCVBUF_MIN	2304
int fn_tcp_getopt(struct fn_sock *sk, enum fn_opt opt, int *value);
/* Called once in each poll, behind its receive burst and its timers: merged ACKs, pending output. */
void fn_tcp_end_burst(struct fn_stack *st);
/* st->starved has no buffer to send from, not even an ACK: segments out of order that stand in its buffers are given up. */
void fn_tcp_prune(struct fn_stack *st);
unsigned fn_tcp_draining(const struct fn_stack *st);

#endif
