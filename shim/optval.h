/* SPDX-License-Identifier: BSD-3-Clause */
/* How option values travel between the program's memory and ours: lengths, truncation, ranges as Linux has them. */
#ifndef FN_OPTVAL_H
#define FN_OPTVAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define FN_CC_NAME_MAX 16	/* TCP_CA_NAME_MAX, include/net/tcp.h */

/* An int of the socket and TCP levels: -EINVAL when shorter. */
int fn_optval_get_int(const void *value, socklen_t len, int *v);
/* An int of the IP level: a byte will do as well; nothing is 0 unless `some` (ip_setsockopt). */
int fn_optval_get_byte(const void *value, socklen_t len, bool some, int *v);
/* A struct timeval into ns, rounded up to the kernel's tick as Linux rounds; 0: none, 1: do not wait at all. -EINVAL, -EDOM. */
int fn_optval_get_timeo(const void *value, socklen_t len, uint64_t *ns);
/* SO_SNDBUF (or SO_RCVBUF) as it is kept: cut to wmem_max (rmem_max) unless forced, doubled, at least the minimum. */
int fn_optval_buf(bool send, int value, bool force);
/* A congestion control's name: enum fn_cc_id, -EINVAL when empty, -ENOENT when the stack has none of that name. */
int fn_optval_cc(const void *value, socklen_t len);
const char *fn_optval_cc_name(int id);

/* Hand size bytes to the program, cut to *len, which becomes what was written. 0. */
int fn_optval_put(const void *from, socklen_t size, void *value, socklen_t *len);
/* An int of the IP level: one byte when there is no room for more and it fits (ip_getsockopt). */
int fn_optval_put_byte(int v, void *value, socklen_t *len);
int fn_optval_put_timeo(uint64_t ns, void *value, socklen_t *len);

#endif
