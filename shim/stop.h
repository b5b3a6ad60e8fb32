/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sleep that SIGSTOP and SIGCONT end, as the kernel ends epoll_wait() and calls with SO_RCVTIMEO (signal(7)), and so does a
 * debugger that attaches. The kernel begins a ppoll() anew then, with the time that is left; but it cannot where that time
 * lies in memory that cannot be written (poll_select_finish(), fs/select.c), and gives EINTR. Owns such times; knows nothing
 * of what is waited for.
 */
#ifndef FN_STOP_H
#define FN_STOP_H

#include <poll.h>
#include <stdint.h>

/* A shorter rest is slept as any other. ns. */
#define FN_STOP_LEAST	1000000

/*
 * ppoll() for `left` ns, FN_STOP_LEAST at least, or somewhat less. -EINTR too when a handler is due: asked with all signals
 * blocked, for no timespec can be zeroed here (wait.c). Inside a call of the library.
 */
int fn_stop_sleep(struct pollfd *fds, unsigned n, uint64_t left);

#endif
