/* SPDX-License-Identifier: BSD-3-Clause */
/* Listeners: open on the kernel's side from listen() on, and on the stack from the first wait on them. */
#ifndef FN_LISTEN_H
#define FN_LISTEN_H

#include "shim/file.h"

/* Counts whatever may make another attempt to open stack sides worth while: a new listener, a port that became free, a
 * fork. A set remembers the count at its last attempt. */
extern _Atomic(unsigned) fn_listen_epoch;

/* Open f's stack side if it can be had; fd is its number. Called without the lock. */
void fn_listen_attach(struct fn_file *f, int fd);

/* Has the image a listener whose clients may come through a port, not over the fabric alone? */
bool fn_listen_for_ports(void);
/*
 * All such listeners (before privileges go); for those with SO_REUSEPORT that nothing has waited on yet only the ports are
 * opened. Without the lock.
 */
void fn_listen_attach_all(void);

/* A port has become free: those on which this image has waited before. Without the lock. */
void fn_listen_retry(void);

/* What accept() will want of the kernel beside a number is got now. Without the lock. */
void fn_listen_accept_ready(void);

/* The kernel's socket under fd listens: f is a listener of ours from now on. */
void fn_listen_begin(struct fn_file *f, int fd, int backlog);

/* The kernel's socket of f listens no more: nor does the stack's side, in whatever image. With the engine locked. */
void fn_listen_ended(struct fn_file *f);

/*
 * Another program is about to have the kernel's socket of f (exec, SCM_RIGHTS, the end of this image): it blocks again if
 * the program wants that. This image makes it non-blocking anew when it accepts from it.
 */
void fn_listen_plain(struct fn_file *f, int fd);
/* The same for all listeners that a new program inherits, or (at the end of the image) for all. */
void fn_listen_plain_all(bool inherited_only);

#endif
