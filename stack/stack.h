/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A TCP/IP stack in one arena. Whoever holds its lock drives it: fn_stack_poll() receives, runs timers and transmits.
 * The stack calls no system, reads no clock and makes no thread: time comes as an argument, random numbers from a seed.
 * Same arena, same packets, same `now`, same seed: the same bytes out.
 */
#ifndef FN_STACK_H
#define FN_STACK_H

#include "arena.h"
#include "compiler.h"
#include "nic.h"
#include "pkt.h"
#include "sock.h"
#include "stats.h"
#include "wheel.h"

#define FN_NICS_MAX	8
#define FN_NSEC		1000000000ull
#define FN_MSEC		1000000ull

struct fn_demux;
struct fn_arp;
struct fn_ip4;
struct fn_icmp;
struct fn_routes;
struct fn_udp;
struct fn_tcp;
struct fn_tcp_stack;	/* what TCP keeps for the whole stack: secrets, SYN queues, TIME_WAIT */

struct fn_stack_ops {
	/* Something happened on sk (sk->user is not NULL): events are the POLL* bits whose condition may have come true.
	 * May be called often; may not call the stack. */
	void (*ready)(void *ctx, struct fn_sock *sk, unsigned events);
	/* A datagram has come from process `peer` of the fabric, from `remote` to `local` as it says: may it have sent that?
	 * NULL: it may. */
	bool (*from_peer)(void *ctx, uint16_t peer, const struct fn_ep *local, const struct fn_ep *remote);
};

struct fn_stack_conf {
	uint8_t seed[32];		/* keys and random numbers come from it */
	uint32_t max_tcp;		/* TCP sockets, TIME_WAIT included */
	uint32_t max_udp;
	uint32_t sndbuf, rcvbuf;	/* UDP's defaults as getsockopt shows them (net.core.?mem_default) */
	uint32_t tcp_sndbuf, tcp_rcvbuf; /* TCP's (tcp_wmem[1], tcp_rmem[1]) */
	uint32_t sndbuf_max, rcvbuf_max; /* limit of auto-tuning (tcp_wmem[2], tcp_rmem[2]) */
	uint16_t port_first, port_last;	/* ephemeral ports, host order */
	uint16_t fabric_first, fabric_last; /* those of connections to other processes: none that the kernel gives */
	uint32_t time_wait_ms;		/* 60,000 as Linux */
	uint32_t fin_timeout_ms;	/* 60,000 */
	uint32_t rto_min_ms;		/* 200 as Linux; RFC 6298 says 1,000 (see COMPLIANCE) */
	uint32_t delack_ms;		/* 40 */
	uint32_t syn_retries, synack_retries, retries2;	/* 6, 5, 15 */
	bool syn_cookies;
	enum fn_cc_id cc;
};

struct fn_stack {
	uint64_t now;			/* ns, of the last fn_stack_poll() */
	struct fn_stack_ops ops;
	void *ops_ctx;
	struct fn_nic *nic[FN_NICS_MAX];
	uint8_t nics;
	struct fn_nic *fabric;		/* of .nic: the one whose peers are processes (nic_shm.h); NULL: none */
	uint32_t staged;		/* packets given to a NIC that its device has not taken */
	struct fn_nic *starved;		/* had no buffer to send from since the last round; NULL: none */
	struct fn_pktq loop;		/* packets to our own addresses, taken by the next poll */
	struct fn_demux *demux;
	struct fn_sock *last_conn;	/* demux.c's: the connection found last, or NULL */
	struct fn_tcp *express;		/* tcp_fast.c's: the connection that the last ordinary frame was for, or NULL */
	struct fn_tcp_stack *tcp;
	struct fn_tcp *burst;		/* TCP's: connections touched since the last fn_tcp_end_burst() */
	struct fn_arp *arp;
	struct fn_ip4 *ip4;
	struct fn_icmp *icmp;
	struct fn_routes *routes;
	struct fn_arena *arena;
	struct fn_udp *udp_wait;	/* sockets that wait for room to send */
	/* what a death under the lock leaves behind (recover.c) */
	struct fn_sock *busy;		/* being changed in a way that its own numbers do not show; NULL: none */
	uint64_t holder;		/* the shim's: the process image that has the lock (a bit) */
	uint32_t lent;			/* buffers that images fill without the lock (FN_PKT_LENT) */
	uint64_t link_check;		/* when the devices are asked for their link state again */
	struct fn_pool tcp_pool;	/* struct fn_tcp */
	struct fn_pool udp_pool;	/* struct fn_udp */
	struct fn_stack_conf conf;
	uint64_t rng[4];		/* xoshiro256** (Blackman, Vigna 2018); not for secrets */
	uint8_t key[16];		/* SipHash: ISNs, cookies, port offsets */
	uint8_t rss_key[40];		/* Toeplitz */
	struct fn_stats stats;
	struct fn_wheel wheel;
};

/* Linux's defaults, all but the seed. */
void fn_stack_conf_init(struct fn_stack_conf *conf);

/* A stack in a fresh arena; NULL when the arena is too small. */
struct fn_stack *fn_stack_create(struct fn_arena *a, const struct fn_stack_conf *conf, const struct fn_stack_ops *ops,
				 void *ops_ctx, uint64_t now);

/* Attach a NIC whose addresses are set (the record lies in the arena or lives as long as the stack); adds its connected
 * route and its default route, announces the address (gratuitous ARP). -ENOSPC, -EINVAL. */
int fn_stack_add_nic(struct fn_stack *st, struct fn_nic *nic);

/*
 * One round: receive a burst of each NIC, run due timers, transmit. Returns packets received plus timers fired: 0 means
 * that there was nothing to do. `now` never goes back.
 */
unsigned fn_stack_poll(struct fn_stack *st, uint64_t now);

/* Put what is staged on the NICs; true when everything went out. */
bool fn_stack_flush_staged(struct fn_stack *st);	/* the same, when there mostly is something */
/* Packets staged and not yet given to a device. */
fn_inline unsigned fn_stack_staged(const struct fn_stack *st)
{
	return st->staged;
}

fn_inline bool fn_stack_flush(struct fn_stack *st)
{
	return !st->staged || fn_stack_flush_staged(st);
}

/*
 * Whoever held the lock (.holder) died at an unknown moment: everything derived is made again, connections that it left
 * torn are reset. Counted. With the lock held; any events may have been missed, so all programs must look.
 */
void fn_stack_recover(struct fn_stack *st);
/* That image died without the lock: buffers it was filling are free. With the lock held. */
void fn_stack_forget_image(struct fn_stack *st, uint64_t image);

/* When fn_stack_poll() must be called even if no packet comes (ns); FN_NEVER: not at all. */
uint64_t fn_stack_deadline(const struct fn_stack *st);

/* TCP sockets that still have something to deliver (data or FIN) though the program has closed them: exit waits for it. */
unsigned fn_stack_draining(const struct fn_stack *st);

/*
 * The process that is the fabric's number `peer` has ended, and all that it published has been received: its connections
 * end as its kernel would end them, with end of file, or a reset where it left bytes unread. tcp_gone.c.
 */
void fn_tcp_peer_gone(struct fn_stack *st, uint16_t peer);
/* The same for one connection, of a process that has ended before. */
void fn_tcp_conn_gone(struct fn_sock *sk);
/* Before that: something of what it has left behind. Takes .text. tcp_left.c. */
void fn_tcp_left(struct fn_stack *st, const struct fn_left *left);
/* There is a connection between these ends; */
bool fn_tcp_left_known(struct fn_stack *st, const struct fn_left *left);
/* and nothing of what has come, or was left, for it stands behind what has not. */
bool fn_tcp_left_whole(struct fn_stack *st, const struct fn_left *left);
/* A process may have lost what was on its way to it, or to us: all that is not acknowledged is sent again. tcp_gone.c. */
void fn_tcp_peer_again(struct fn_stack *st, uint16_t peer);
/* The images that hold sk (fn_sock.images) have changed: who survives them is to know. Any kind of socket. tcp_left.c. */
void fn_tcp_held(struct fn_sock *sk);
/*
 * Text that a living peer has written and not sent (fn_shm_unsent()): how many bytes there are before it that have not come, 0
 * if it is next; -EAGAIN: its program is to read first; -ENOENT: nobody waits for it, or it is there. What is next comes in, with
 * left->text, which is taken; false: there was no room. Behind the last one, what is to be said about it is.
 */
int64_t fn_tcp_wants(struct fn_stack *st, const struct fn_left *left);
bool fn_tcp_take_written(struct fn_stack *st, const struct fn_left *left);
void fn_tcp_written_taken(struct fn_stack *st);
/* Deadlines that were met while nothing could be sent to it (fn_nic_ops.absent) are kept now. */
void fn_tcp_peer_late(struct fn_stack *st, uint16_t peer);
/* A connection's far end is another number of the fabric's now: the connection; NULL: there is none, or nothing but its end. */
struct fn_sock *fn_tcp_peer_moved(struct fn_stack *st, const struct fn_ep *local, const struct fn_ep *remote, uint16_t peer);
/* Does any connection still name it? Its number must not become another's before. */
bool fn_tcp_peer_used(const struct fn_stack *st, uint16_t peer);

/* True when ip4 (network order) is one of the stack's own addresses. */
bool fn_stack_is_local(const struct fn_stack *st, uint32_t ip4);

uint64_t fn_stack_random(struct fn_stack *st);

/* Count a drop and free the packet; returns -reason, so that a ladder of checks reads `return fn_drop(st, p, …)`. */
fn_cold int fn_drop(struct fn_stack *st, struct fn_pkt *p, enum fn_drop reason);

/* What new data is told as: somebody who waits for urgent data looks, too (sock_def_readable). */
#define FN_POLL_DATA	(POLLIN | POLLPRI | POLLRDNORM | POLLRDBAND)

/* Tell the shim. */
fn_inline void fn_sock_ready(struct fn_sock *sk, unsigned events)
{
	if (sk->user)
		sk->st->ops.ready(sk->st->ops_ctx, sk, events);
}

#endif
