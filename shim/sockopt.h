/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Socket options. One table (opt.def) lists them for both halves of a socket's life: before the decision they are written
 * through to the kernel's socket and noted, or decide for the kernel; afterwards the stack or the file answers.
 */
#ifndef FN_SOCKOPT_H
#define FN_SOCKOPT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct fn_file;

/* SO_TIMESTAMP and its kin exclude each other (Linux __sock_set_timestamps). */
enum fn_stamp { FN_STAMP_OFF, FN_STAMP_US, FN_STAMP_NS };

/* What a socket file keeps of the options itself. */
struct fn_sockopts {
	uint64_t noted;		/* bits by opt.def: that were set: copied at acceleration, or when it ends */
	int linger_sec;		/* l_linger of the last time it was on: Linux shows it when it is off, too */
	uint8_t stamp;		/* enum fn_stamp */
	int priority;		/* SO_PRIORITY: a port has one queue, so it is only remembered */
	bool stamp_new;		/* SO_TIMESTAMP_NEW's layout */
	bool pktinfo, pktinfo6, recvttl, recvtos;	/* ancillary data wanted */
	bool v6only;
	bool cork;		/* UDP_CORK */
};

enum fn_opt_verdict {
	FN_VERDICT_HARMLESS,	/* does not concern what the stack carries */
	FN_VERDICT_NOTE,	/* to be copied at acceleration */
	FN_VERDICT_DECIDE,	/* the stack does not serve it: the socket is the kernel's */
};

/* What the table says of an option, whatever its value. An unknown option decides. */
enum fn_opt_verdict fn_sockopt_lookup(int level, int name);

/*
 * setsockopt() on the kernel's socket of the undecided f has succeeded: note it in f. The verdict takes the value into
 * account: what switches an option off that is off anyway does not decide.
 */
enum fn_opt_verdict fn_sockopt_note(struct fn_file *f, int level, int name, const void *value, socklen_t len);

/*
 * At acceleration, with f->sk made: read every noted option back from the kernel's socket fd and set it on f and f->sk.
 * 0, or -E* when the stack refuses a value (the caller decides for the kernel). Called without the engine's lock.
 */
int fn_sockopt_copy(struct fn_file *f, int fd);

/* The other way: fd, the kernel's socket, gets what f and f->sk have. With the engine's lock held. */
void fn_sockopt_give(struct fn_file *f, int fd);

/*
 * A kernel socket that somebody else has made: what differs from a fresh one is noted. 0, or -EOPNOTSUPP with *arg
 * (FN_REASON_OPTION) when an option is set that decides for the kernel.
 */
int fn_sockopt_meet(struct fn_file *f, int fd, uint32_t *arg);

/* An accepted connection takes over what its listener's file has; the stack's part is the stack's. */
void fn_sockopt_inherit(struct fn_file *f, const struct fn_file *listener);

/* setsockopt(2), getsockopt(2) on an accelerated file; -E*, or FN_TO_KERNEL. Called without the engine's lock. */
int fn_sockopt_set(struct fn_file *f, int fd, int level, int name, const void *value, socklen_t len);
int fn_sockopt_get(struct fn_file *f, int fd, int level, int name, void *value, socklen_t *len);

#endif
