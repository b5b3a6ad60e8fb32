/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Datagram sockets over the fabric. Such a socket is the kernel's in every respect: bind() and connect() are made of the
 * kernel's socket, whose names the stack's takes over, and each datagram goes either way: to a process under Fastnet through
 * shared memory, else through the kernel. Who has an address is asked of the kernel, and asked again after FN_DGRAM_NS; a
 * socket of a process under Fastnet is met by its name (rendezvous.h). Owns the routes; sees no packet.
 *
 * A socket that several images have is read by whichever is first, and one may end or be busy: so it goes by shared memory only with a
 * peer that all of these have (they share a stack, and have it since before the fork), and nobody new is met as long as
 * more than one of them reads from it (kin.h).
 *
 * What comes from another process counts only when the kernel says that its user has the address it names (dgram.c: source_ok()).
 */
#ifndef FN_DGRAM_H
#define FN_DGRAM_H

#include "shim/file.h"

#define FN_DGRAM_NS	100000000ull	/* a question costs 3 us */

struct peer;

/* Are datagram sockets of the image the fabric's? Not with a port of the configuration: they are that port's then. */
bool fn_dgram_fabric(void);

/* f has just been bound: make its name, when somebody may want to reach it. 0, or fn_dgram_start()'s -errno. No locks. */
int fn_dgram_bound(struct fn_file *f, int fd);

/*
 * f is to be waited on, read from or sent on: open its stack side. False: it has none, the kernel serves it. fd is any of its
 * numbers. Without locks. fn_dgram_start() leaves it at an error: -EALREADY where another thread has decided it.
 */
int fn_dgram_start(struct fn_file *f, int fd);
bool fn_dgram_open(struct fn_file *f, int fd);
fn_inline bool fn_dgram_wants(const struct fn_file *f)
{
	return fn_unlikely(f->named && f->kind == FN_FILE_SOCKET);
}
/* Name and peer of f's stack side are those of the kernel's socket. 0, or -EADDRINUSE. With the engine's lock held. */
int fn_dgram_take_names(struct fn_file *f, int fd);

/*
 * Where a datagram of len bytes to `to` goes: the process' number, to->peer is set, and *src: where it comes from when f is
 * bound to no address. 0: to the kernel. Without locks.
 */
unsigned fn_dgram_route(struct fn_file *f, int fd, struct fn_ep *to, size_t len, struct fn_ep *src);

/* connect(2), bind(2); as operations of the file. */
int fn_dgram_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len);
int fn_dgram_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len);

/*
 * The number of the process under Fastnet that has ip4 (network order), port (host order), for f, which is fd;
 * FN_DGRAM_CALLED: it has been called, and has not answered yet; 0: there is none; -errno. Waits for nobody. Without locks.
 */
#define FN_DGRAM_CALLED	0xffff
int fn_dgram_reach(struct fn_file *f, int fd, uint32_t ip4, uint16_t port);

/* Others get the kernel's socket of f, or it does what the stack's does not: nobody comes by the fabric any more. Without locks. */
void fn_dgram_retire(struct fn_file *f);

/* ---- with the engine's lock held ---- */
/* Our socket f hears no more from other processes. */
void fn_dgram_unlisten(const struct fn_file *f);
/*
 * Sockets that other images read from as well are the kernel's for those who have not met them, and for those who have met one
 * image alone: now and then, and in the parent of a fork.
 */
void fn_dgram_tick(void);
void fn_dgram_forked(void);
/* p is dead, or not wanted; before its number is. */
void fn_dgram_gone(const struct peer *p);
/* p, whom we have called, has answered. False: it is to be buried. */
struct fn_peer_msg;
bool fn_dgram_answered(struct peer *p, const struct fn_peer_msg *m, int fd);
/* fn_stack_ops.from_peer */
bool fn_dgram_from_peer(void *ctx, uint16_t peer, const struct fn_ep *local, const struct fn_ep *remote);

#endif
