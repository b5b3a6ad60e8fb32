/* SPDX-License-Identifier: BSD-3-Clause */
/* What opening a port takes that only a privileged process can have, got while the process is one. */
#ifndef FN_RESERVE_H
#define FN_RESERVE_H

#include <stdbool.h>
#include <stddef.h>

struct fn_nic_conf;

/* Privileges are about to go, and no port is open, for others hold them: get now what opening them will want. Again and
 * again it does nothing. With the engine's lock held. */
void fn_reserve_take(void);
/* Can the port be opened without privileges, with what is there? */
bool fn_reserve_serves(const struct fn_nic_conf *c);
/* The device to open without privileges for the i-th port: its own, or one that stands in for it (in buf). */
const char *fn_reserve_devargs(const struct fn_nic_conf *c, unsigned i, char *buf, size_t len);
/* The ports are open, or cannot be: what is left is closed. With the engine's lock held. */
void fn_reserve_drop(void);

/*
 * What socket(2) gives a driver that is opening a port: fd is the kernel's answer, -errno where it refused. A descriptor, or
 * that -errno. Descriptors that a driver gets without privileges answer a request to leave an interface's flags and its
 * address as they are with success, as they would a privileged one.
 */
int fn_reserve_socket(int fd, int domain);

#endif
