/* SPDX-License-Identifier: BSD-3-Clause */
/* Who serves a socket: the one place that knows kernel sockets and stack sockets both. */
#ifndef FN_DECIDE_H
#define FN_DECIDE_H

#include "shim/file.h"
#include "shim/info.h"
#include "shim/policy.h"

/* ---- decide.c ---- */

/* A reason that needs no address: what the socket is, an option, or what has become of it. */
void fn_decide_record(int fd, int family, int type, enum fn_reason reason, uint32_t arg);

/* f goes to the kernel for good, for a reason that is recorded already; fd: the number of the call. Without locks. */
void fn_decide_kernel(struct fn_file *f, int fd, enum fn_reason reason, uint32_t arg);
/* The same for a reason that none has recorded yet; and because the stack could not take it, with that -errno. */
void fn_decide_leave(struct fn_file *f, int fd, enum fn_reason reason, uint32_t arg);
void fn_decide_not_taken(struct fn_file *f, int fd, int err);

/* Make f, an undecided datagram socket, the stack's, on both sides. -EALREADY: it is; -errno: it stays what it was. */
int fn_decide_datagrams(struct fn_file *f, int fd);

/* Does the stack reach `to` for the datagram socket f (else the kernel's side does)? */
bool fn_udp_route(struct fn_file *f, int fd, const struct fn_ep *to);

/*
 * connect(2) on what was a listener: the socket is undecided once more, and goes where the policy says, its registrations
 * with it. Called without locks; as an operation.
 */
int fn_decide_ended(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len);

/*
 * bind(2) on what was connected and is no more: the kernel's socket is bound, and the stack's has that name. As an operation,
 * without locks; f is no accepted one, whose number is a dup of a socket of others' as well.
 */
int fn_decide_bind_again(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len);

/* ---- verdict.c ---- */

/* getsockname() of the kernel's socket. */
bool fn_decide_own_name(int fd, struct sockaddr_storage *ss);

/* The verdict for f, named by fd, recorded for tools. */
struct fn_verdict fn_decide(struct fn_file *f, int fd, enum fn_policy_verb verb, const struct sockaddr *addr);

/*
 * The same in two steps, where it may still turn out that f goes elsewhere: what is told is where it went. d holds the
 * question in between.
 */
struct fn_verdict fn_decide_ask(struct fn_file *f, int fd, enum fn_policy_verb verb, const struct sockaddr *addr,
				struct fn_info_decision *d);
void fn_decide_tell(struct fn_file *f, struct fn_info_decision *d, const struct fn_verdict *v);

/* That on a socket which the stack could not take, with its -errno: what its port lacks, if it does, is the reason. */
struct fn_verdict fn_verdict_not_taken(int err);

/* A reason that holds from now on for a bound socket, beside that of its decision. */
void fn_decide_note(const struct fn_file *f, int fd, enum fn_reason reason);

#endif
