/* SPDX-License-Identifier: BSD-3-Clause */
/* Ports: the configured NICs, opened through the plugin, one family of processes a port. */
#ifndef FN_PORT_H
#define FN_PORT_H

#include <poll.h>

#include "stack/stack.h"

/* Is one configured that is not open, and could be? */
bool fn_ports_to_come(void);
/* Take the configured ports that no other family of processes has; returns how many. Who has the others is recorded.
 * With the lock held. */
int fn_ports_hold(void);
/* Load now what opening a port takes from the file system, for it is about to go. With the lock held. */
void fn_ports_prepare(void);
/* The interfaces are not asked for their state any more: fn_ports_tick() does nothing. */
void fn_ports_still(void);
/* Open every port that is held and attach it to st; returns how many are open. With the lock held. */
int fn_ports_open(struct fn_stack *st);

/* Is `ip4` (network order) the address of a configured port? */
bool fn_port_has_address(uint32_t ip4);

/* Descriptors to ppoll for received packets, into fds; returns how many. *nap: some port has none, so that a sleeper must
 * look itself every millisecond. */
unsigned fn_ports_wait_fds(struct pollfd *fds, unsigned max, bool *nap);
#define FN_PORT_WAIT_FDS 32

/* A port that another family holds: an internal descriptor that hangs up when it may be free, -1: none. */
int fn_ports_held_fd(void);

/* In a child of fork that shares the stack. */
void fn_ports_child(void);

/* In a child of fork that does not: descriptors are closed, and DPDK, which cannot be started twice in one process, is not
 * used there any more. */
void fn_ports_lose(void);

/* DPDK's own thread, where this process has it: before the call, when the kernel still lets us; then it makes system call n,
 * which concerns nobody but the calling thread. */
void fn_ports_thread_ready(void);
void fn_ports_thread_call(long n, const long arg[5]);

/* Before the first of the others. */
void fn_ports_init(void);
/* The holder of a port that we want has gone since the last attempt. */
bool fn_ports_changed(void);
/* Counters, link state and messages of the ports, about once a second. Without the lock. */
void fn_ports_tick(uint64_t now);
/* After a sleep on the descriptors of fn_ports_wait_fds(). With the lock held. */
void fn_ports_awake(void);

#endif
