/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of accelerated sockets: what file_tcp.c and file_udp.c share with each other, with the decision (decide.c) and
 * with listeners (file_listen.c).
 */
#ifndef FN_SOCKFILE_H
#define FN_SOCKFILE_H

#include "shim/engine.h"
#include "shim/file.h"
#include "shim/reason.h"

/* How far connect() got (fn_sock.conn, for all images), Linux's socket->state. An accepted one is made with 0. */
enum fn_conn {
	FN_CONN_DONE,		/* SS_CONNECTED */
	FN_CONN_BUSY,		/* SS_CONNECTING */
	FN_CONN_NONE,		/* SS_UNCONNECTED */
	FN_CONN_ENDING,		/* SS_DISCONNECTING: only connect(AF_UNSPEC) makes it new */
};

/* Which side of a datagram socket is in use (fn_file.side). */
enum fn_side {
	FN_SIDE_ANY,		/* not connected: the stack's, and the kernel's when fn_file.dual */
	FN_SIDE_STACK,		/* connected to a peer that the stack reaches */
	FN_SIDE_KERNEL,		/* connected to a peer that the kernel reaches */
	FN_SIDE_BOTH,		/* connected to a peer of this host: each datagram takes either way (dgram.h) */
};

/*
 * The first connect() of f, whose kind is FN_FILE_TCP, with f->sk made and its options copied: starts it, and waits for
 * the outcome if `wait`. 0 or -errno as connect(2); -ENETUNREACH, -EHOSTUNREACH, -EADDRNOTAVAIL and
 * -EADDRINUSE at once mean that nothing was sent (conn is FN_CONN_NONE). Called without locks.
 */
int fn_tcp_file_connect(struct fn_file *f, int fd, const struct fn_ep *to, bool wait);

/* f, which is not connected, goes to the kernel for good, with its flags. FN_TO_KERNEL. Called without locks. */
int fn_tcp_file_back(struct fn_file *f, int fd, enum fn_reason reason, uint32_t arg);

/* sockopt.c: the operations of both kinds. */
int fn_sock_pending_error(struct fn_file *f);
void fn_sock_keep_error(struct fn_file *f, int err);

/* sockctl.c: ioctl(2) and fcntl(2) of both kinds. */
int fn_sock_ioctl(struct fn_file *f, int fd, unsigned long req, void *arg);
int fn_sock_fcntl(struct fn_file *f, int fd, int cmd, long arg);

/* splice.c: sendfile(2) and splice(2) on a connection. */
ssize_t fn_tcp_sendfile(struct fn_file *f, int fd, int in_fd, off_t *off, size_t count);
ssize_t fn_tcp_splice_in(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags);
ssize_t fn_tcp_splice_out(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags);
/* The same with datagrams, each call one. */
ssize_t fn_udp_sendfile(struct fn_file *f, int fd, int in_fd, off_t *off, size_t count);
ssize_t fn_udp_splice_in(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags);
ssize_t fn_udp_splice_out(struct fn_file *f, int fd, int pipe, size_t len, unsigned flags);

/* file_udp.c: UDP_CORK went off: what was gathered leaves. Does not wait. */
void fn_udp_uncork(struct fn_file *f, int fd);

/* file_tcp.c: what a send of 0 bytes or a refused one returns: `err` (-E* of the stack) as Linux reports it, with SIGPIPE
 * unless MSG_NOSIGNAL. */
ssize_t fn_tcp_send_error(ssize_t err, unsigned flags);
/* file_tcp.c: a splice waits for the first bytes, or an urgent byte before which it ends: 0, else as fn_wait_file(). */
int fn_tcp_wait_splice(struct fn_file *f, uint64_t deadline);

#endif
