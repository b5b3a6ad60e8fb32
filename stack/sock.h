/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stack's sockets as the shim sees them: non-blocking verbs on a stack socket, level-triggered state on request,
 * edges by callback. No fd, no errno, no blocking, no thread here.
 *
 * Every function is called with the stack's lock held. Errors are -E* (<errno.h>); addresses and ports are in network
 * byte order. A pointer to a socket is the caller's reference until fn_sock_close().
 */
#ifndef FN_SOCK_H
#define FN_SOCK_H

#include <sys/types.h>
#include <sys/uio.h>

#include "compiler.h"
#include "pkt.h"

struct fn_stack;
struct tcp_info;

/* One end of a connection. */
struct fn_ep {
	uint32_t ip4;
	uint16_t port;
	uint16_t peer;			/* a remote end behind the fabric: the process' number (nic_shm.h); else 0 */
};

enum fn_sock_kind {
	FN_SOCK_TCP = 1,
	FN_SOCK_UDP,
};

/* RFC 9293 3.3.2, with the numbers of Linux (TCP_INFO, ss). */
enum fn_tcp_state {
	FN_TCP_ESTABLISHED = 1,
	FN_TCP_SYN_SENT,
	FN_TCP_SYN_RCVD,
	FN_TCP_FIN_WAIT1,
	FN_TCP_FIN_WAIT2,
	FN_TCP_TIME_WAIT,		/* always a slim object (struct fn_tcp_tw) */
	FN_TCP_CLOSED,
	FN_TCP_CLOSE_WAIT,
	FN_TCP_LAST_ACK,
	FN_TCP_LISTEN,
	FN_TCP_CLOSING,
	FN_TCP_NEW_SYN_RCVD,		/* a passive open before its ACK: a slim object (struct fn_tcp_req) */
};

/* What both kinds have; the first member of struct fn_tcp and struct fn_udp. */
struct fn_sock {
	struct fn_sock *hash_next;	/* demux chain */
	struct fn_ep local, remote;
	uint32_t hash;			/* Toeplitz of the 4-tuple */
	uint8_t kind;			/* enum fn_sock_kind; 0: a free object */
	uint8_t tcp_state;		/* enum fn_tcp_state, for tools */
	uint8_t shut;			/* FN_SHUT_* */
	uint8_t nic_index;		/* of the interface it is bound to by route */
	void *user;			/* the shim's file; NULL once closed */
	struct fn_stack *st;
	struct fn_sock *bind_next;	/* chain of its local port (demux.c) */
	uint32_t index;			/* in its pool */
	uint16_t opts;			/* enum fn_sock_flag */
	uint8_t ttl, tos;
	/* --- 64 bytes: what TCP's slim objects (TIME_WAIT, half-open) have as well --- */
	struct fn_pktq rxq;		/* what the program has not read: in order (TCP), whole datagrams (UDP) */
	uint32_t rx_charged;		/* truesize of what is queued for receiving */
	uint32_t rcvbuf;		/* SO_RCVBUF as getsockopt shows it: doubled */
	uint32_t tx_charged;		/* truesize of what is queued for sending, until released by the device */
	uint32_t sndbuf;		/* SO_SNDBUF as getsockopt shows it: doubled */
	int32_t rcvlowat;
	int error;			/* SO_ERROR: a positive errno, cleared by fn_sock_take_error() */
	int soft_error;			/* last ICMP hint, reported when a connection attempt times out */
	uint64_t images;		/* the shim's: which process images hold it (a bit each) */
	uint8_t conn;			/* the shim's: how far connect() got */
	bool nospace;			/* a writer met a full buffer: tell it when there is room (SOCK_NOSPACE) */
};

enum fn_sock_flag {
	FN_SO_REUSEADDR		= 1 << 0,
	FN_SO_REUSEPORT		= 1 << 1,
	FN_SO_BROADCAST		= 1 << 2,
	FN_SO_KEEPALIVE		= 1 << 3,
	FN_SO_OOBINLINE		= 1 << 4,
	FN_SO_LINGER		= 1 << 5,
	FN_SO_DONTFRAG		= 1 << 6,	/* IP_MTU_DISCOVER: IP_PMTUDISC_DO (UDP) */
	FN_SO_RCVBUF_LOCKED	= 1 << 7,	/* set by the program: no auto-tuning */
	FN_SO_SNDBUF_LOCKED	= 1 << 8,
	FN_SO_BOUND_ADDR	= 1 << 9,	/* the local address was chosen by bind() */
	FN_SO_BOUND_PORT	= 1 << 10,	/* the local port was chosen by bind(), not at connect */
	/* demux.c's own marks */
	FN_SO_IN_BOUND		= 1 << 11,	/* stands in its local port's chain */
	FN_SO_IN_CONN		= 1 << 12,	/* stands in the table of connections */
	FN_SO_LISTENING		= 1 << 13,	/* found by fn_demux_bound() before sockets that are only bound */
	FN_SO_RECVERR		= 1 << 14,	/* IP_RECVERR (TCP): what ICMP says fails an open connection */
	FN_SO_EPHEMERAL		= 1 << 15,	/* the local port was chosen by the stack, for this connection alone */
};

#define FN_SHUT_RD	1	/* shutdown(SHUT_RD), or FIN received: reads end */
#define FN_SHUT_WR	2	/* shutdown(SHUT_WR): writes fail with EPIPE */

/* ---- life ---- */

/* A closed socket with the stack's default buffers; NULL when the pool is empty (counted). */
struct fn_sock *fn_sock_open(struct fn_stack *st, enum fn_sock_kind kind, void *user);

/*
 * Name the local end. ip4 0 is any of the stack's addresses; port 0 leaves it to connect. -EADDRNOTAVAIL for an address
 * that is not the stack's, -EADDRINUSE by Linux's rules (SO_REUSEADDR, SO_REUSEPORT, listeners), -EINVAL when bound.
 */
int fn_sock_bind(struct fn_sock *sk, const struct fn_ep *local);

/*
 * The same of a name that the host's kernel has given, which knows all that is bound but not our connections: they are
 * no hindrance. Whoever names a port asks about them before, as Linux does in bind(): whether one keeps it from a socket
 * with these options (FN_SO_REUSEADDR, FN_SO_REUSEPORT). A port that the kernel has chosen itself cannot be refused.
 */
int fn_sock_bind_given(struct fn_sock *sk, const struct fn_ep *local);
bool fn_sock_name_kept(const struct fn_stack *st, enum fn_sock_kind kind, const struct fn_ep *local, unsigned opts);

/*
 * TCP: send a SYN; -EINPROGRESS. UDP: fix the remote end; 0. -ENETUNREACH, -EHOSTUNREACH, -EADDRNOTAVAIL (no port free),
 * -EADDRINUSE (the 4-tuple exists), -EALREADY, -EISCONN as connect(2) says. The outcome of a TCP attempt: POLLOUT with
 * error 0 (tcp_state ESTABLISHED or beyond), or error set.
 */
int fn_sock_connect(struct fn_sock *sk, const struct fn_ep *remote);

/* A socket that is not connected has no name any more, whoever chose it. */
void fn_sock_unname(struct fn_sock *sk);

/* UDP connect to AF_UNSPEC: forget the remote end. TCP: reset and back to CLOSED (as tcp_disconnect). */
int fn_sock_disconnect(struct fn_sock *sk);

/* backlog as listen(2), already cut to somaxconn by the caller; again on a listener changes the backlog. */
int fn_tcp_listen(struct fn_sock *sk, int backlog);

/* The next established connection of a listener, its .user set; NULL when there is none. */
struct fn_sock *fn_tcp_accept(struct fn_sock *listener, void *user);

/*
 * A connection that somebody else has answered for us (the fabric, nic_shm.h): the SYN as it was sent, our number in the
 * SYN-ACK, what came behind. The SYN-ACK had FN_OFFER_WINDOW, the window scale FN_OFFER_WSCALE, FN_OFFER_MSS and no further option.
 */
struct fn_offer {
	struct fn_pkt *syn;		/* .l3 at its IPv4 header, .data at TCP's */
	struct fn_pktq text;		/* payload only */
	uint32_t isn;
	bool fin, rst;			/* behind the text */
	uint32_t urg;			/* bytes of the text up to the urgent one, with it, perhaps more than there are; 0 */
	uint32_t skip;			/* the first bytes are not read, unless SO_OOBINLINE: they were urgent, and others are now */
	struct fn_sock *sk;		/* what has become of it */
};
#define FN_OFFER_WINDOW	65535
#define FN_OFFER_WSCALE	7
#define FN_OFFER_MSS	(65535 - 40)	/* what an IPv4 packet takes behind two headers */

/* The connection goes through a listener's steps, into its queue. Takes all packets. 0, -ENOENT: not for that listener, -EEXIST:
 * its ends are in use, -ENOBUFS. */
int fn_tcp_claim(struct fn_sock *listener, struct fn_offer *o);

/* how: FN_SHUT_*; -ENOTCONN as Linux. On a listener FN_SHUT_RD ends listening. */
int fn_sock_shutdown(struct fn_sock *sk, unsigned how);

/*
 * The last reference of the program is gone; sk must not be used afterwards. TCP: FIN after what is queued; RST when
 * unread data is thrown away (RFC 2525 2.17) or with SO_LINGER 0. A listener resets what it has not accepted.
 */
void fn_sock_close(struct fn_sock *sk);

/* TCP: true while something sent (data or FIN) is not acknowledged yet: what close with SO_LINGER and exit wait for. */
bool fn_tcp_unsent(const struct fn_sock *sk);

/* ---- state ---- */

/*
 * Beside the events that are told: the state has changed, so that whatever somebody waits for may be true now, whether it
 * is among the events or not (a wake-up without a key, Linux's sk_state_change). No EPOLL* or POLL* bit.
 */
#define FN_POLL_STATE	(1u << 25)

/* Level-triggered POLLIN POLLPRI POLLOUT POLLERR POLLHUP POLLRDHUP (same values as EPOLL*, plus POLLRDNORM POLLWRNORM
 * POLLRDBAND as tcp_poll and datagram_poll of Linux set them). */
unsigned fn_sock_poll(struct fn_sock *sk);
/* The same, of a TCP socket. */
unsigned fn_tcp_poll(struct fn_sock *sk);

/* SO_ERROR: return (positive) and clear. */
int fn_sock_take_error(struct fn_sock *sk);

/* ---- data ---- */

/* flags of send and recv: only these reach the stack; MSG_DONTWAIT, NOSIGNAL, WAITALL are the shim's. Values are MSG_*. */

/*
 * Copy from iov, skipping its first `skip` bytes, into transmit buffers; returns bytes taken (> 0), or -EAGAIN (buffer
 * full; .nospace set), -EPIPE, the pending error, -ENOTCONN. flags: MSG_OOB, MSG_MORE. Sends what the window, Nagle and
 * CORK allow before it returns (staged on the NIC until fn_stack_flush()).
 */
ssize_t fn_tcp_send(struct fn_sock *sk, const struct iovec *iov, int iovcnt, size_t skip, unsigned flags);

/* The same of one element without flags. */
ssize_t fn_tcp_write(struct fn_sock *sk, const struct iovec *iov);

/*
 * sendfile: a chain of buffers for up to `want` bytes, described in iov[*iovcnt] (in: room, out: used), so that the
 * caller can fill them without the lock; fn_tcp_commit() appends the first `bytes` of them (0 gives all back) and frees
 * the rest. NULL: *err is -EAGAIN, -EPIPE, ….
 */
struct fn_pkt *fn_tcp_reserve(struct fn_sock *sk, size_t want, struct iovec *iov, int *iovcnt, int *err);
ssize_t fn_tcp_commit(struct fn_sock *sk, struct fn_pkt *chain, size_t bytes, unsigned flags);

/*
 * Copy received bytes to iov, skipping its first `skip` bytes; returns bytes (> 0), 0 at end of file, -EAGAIN, the pending
 * error (cleared), -ENOTCONN. flags: MSG_PEEK, MSG_OOB (-EINVAL when there is none), MSG_TRUNC (count without copying).
 * Stops at the urgent mark. *rxtime (may be NULL): arrival of the last byte's segment, ns.
 */
ssize_t fn_tcp_recv(struct fn_sock *sk, const struct iovec *iov, int iovcnt, size_t skip, unsigned flags,
		    uint64_t *rxtime);

/* The same to one element without flags. */
ssize_t fn_tcp_read(struct fn_sock *sk, const struct iovec *iov);

/* What a read says that finds nothing: 0 at end of file, the pending error (cleared), -ENOTCONN, -EAGAIN. */
ssize_t fn_tcp_recv_nothing(struct fn_sock *sk);

/* Bytes that can be read (FIONREAD), stopping at the urgent mark as Linux does. */
size_t fn_tcp_readable(const struct fn_sock *sk);
/* SIOCOUTQ (not acknowledged) and SIOCOUTQNSD (not sent). */
size_t fn_tcp_outq(const struct fn_sock *sk);
/* The text from that sequence number on, which has not been acknowledged: until piece() is false, or all of it, true. */
bool fn_tcp_text_from(const struct fn_sock *sk, uint32_t seq, bool (*piece)(void *ctx, const uint8_t *data, uint32_t len), void *ctx);
size_t fn_tcp_outq_unsent(const struct fn_sock *sk);
/* sockatmark(3): the next byte read is the urgent one. */
bool fn_tcp_at_mark(const struct fn_sock *sk);
/* So it is, and it has come: what splices stops here. */
bool fn_tcp_blocked_by_mark(const struct fn_sock *sk);
/* A read would find nothing and yet take something: the urgent byte, which it skips. */
bool fn_tcp_must_skip(const struct fn_sock *sk);

/* What recvmsg tells about a datagram. */
struct fn_udp_meta {
	struct fn_ep from;
	struct fn_ep to;	/* for IP_PKTINFO */
	size_t len;		/* true length, for MSG_TRUNC */
	uint64_t time;		/* arrival, ns of the stack's clock */
	uint8_t ttl, tos;
	uint32_t ifindex;	/* of the interface it came by, as the kernel counts; 0: none of the kernel's */
};

/* A port for a datagram socket that has none, as every send begins (inet_send_prepare). 0, -EAGAIN or another error. */
int fn_udp_autobind(struct fn_sock *sk);
/*
 * One datagram to `to` (NULL: the connected end); src (NULL: by route) is IP_PKTINFO's. Returns its length, or
 * -EMSGSIZE, -EDESTADDRREQ, -EAGAIN, -ENETUNREACH, -EACCES (broadcast without SO_BROADCAST), the pending error (cleared).
 */
ssize_t fn_udp_send(struct fn_sock *sk, const struct iovec *iov, int iovcnt, const struct fn_ep *to,
		    const struct fn_ep *src);
/* One datagram, cut to iov; returns bytes copied, -EAGAIN, or the pending error (cleared). flags: MSG_PEEK. */
ssize_t fn_udp_recv(struct fn_sock *sk, const struct iovec *iov, int iovcnt, unsigned flags, struct fn_udp_meta *meta);
/*
 * The socket has these names from now on, which somebody else, the host's kernel, has given it: of those, what is 0 is
 * open. 0, -EADDRINUSE: another socket of the stack has the port, and sk none.
 */
int fn_udp_assume(struct fn_sock *sk, const struct fn_ep *local, const struct fn_ep *remote);
/* What was sent last has met nobody. */
void fn_udp_refused(struct fn_sock *sk);
/* FIONREAD: length of the next datagram; SIOCOUTQ. */
size_t fn_udp_readable(const struct fn_sock *sk);
size_t fn_udp_outq(const struct fn_sock *sk);

/* ---- options ---- */

/* Values and units are setsockopt's; those with more than an int have a function of their own. */
enum fn_opt {
	FN_OPT_REUSEADDR, FN_OPT_REUSEPORT, FN_OPT_BROADCAST, FN_OPT_KEEPALIVE, FN_OPT_OOBINLINE,
	FN_OPT_SNDBUF,		/* already doubled and cut to wmem_max by the caller */
	FN_OPT_RCVBUF, FN_OPT_RCVLOWAT,
	FN_OPT_LINGER,		/* -1: off, else seconds */
	FN_OPT_TTL, FN_OPT_TOS, FN_OPT_MTU_DISCOVER, FN_OPT_MTU, FN_OPT_RECVERR,
	FN_OPT_NODELAY, FN_OPT_CORK, FN_OPT_QUICKACK, FN_OPT_MAXSEG,
	FN_OPT_KEEPIDLE, FN_OPT_KEEPINTVL, FN_OPT_KEEPCNT,	/* seconds, seconds, count */
	FN_OPT_SYNCNT, FN_OPT_LINGER2, FN_OPT_USER_TIMEOUT,	/* count, seconds, ms */
	FN_OPT_DEFER_ACCEPT, FN_OPT_WINDOW_CLAMP, FN_OPT_NOTSENT_LOWAT,
	FN_OPT_CONGESTION,	/* enum fn_cc_id */
};

enum fn_cc_id { FN_CC_CUBIC, FN_CC_RENO };

/* 0, -EINVAL for a value out of range (Linux's ranges), -ENOPROTOOPT for an option of the other kind. */
int fn_sock_setopt(struct fn_sock *sk, enum fn_opt opt, int value);
int fn_sock_getopt(struct fn_sock *sk, enum fn_opt opt, int *value);

/* TCP_INFO with real figures; fields that have no meaning here are 0. */
void fn_tcp_info(const struct fn_sock *sk, struct tcp_info *info);

#endif
