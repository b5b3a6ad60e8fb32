/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * EAL's own thread (eal-intr-thread). It waits for interrupts of devices, of which ports over a kernel interface have none:
 * with those only it is ended, for it would keep what the program's main thread gives up for itself alone (capset, a
 * seccomp filter), and unshare(CLONE_NEWUSER) fails in a process of several threads. Where it is needed it makes such a
 * call as well: it is reached as an interrupt of ours, an eventfd. Owns that eventfd; must not touch a device.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_interrupts.h>

#include "plugin/dpdk.h"

#define YIELDS	10000	/* until a thread that has ended is out of the process: microseconds */

static struct {
	struct rte_intr_handle *handle;
	int fd, floor;		/* -1: not made */
	pid_t owner;		/* whose thread it is; a forked child has none */
	bool ended, ready;
	long n;			/* what it is to do */
	const long *arg;
	pid_t tid;
	_Atomic(uint32_t) done;	/* a futex */
} thread = { .fd = -1 };

/* In the thread. For SYS_exit the order is the same: nobody touches what it stands on afterwards. */
static void on_event(void *unused)
{
	uint64_t count;
	long n = thread.n;

	if (read(thread.fd, &count, sizeof(count)) < 0 || thread.done)
		return;
	thread.tid = (pid_t)syscall(SYS_gettid);
	if (n != SYS_exit)
		syscall(n, thread.arg[0], thread.arg[1], thread.arg[2], thread.arg[3], thread.arg[4]);
	/* pairs with the load in dpdk_thread_call() */
	atomic_store(&thread.done, 1);
	syscall(SYS_futex, &thread.done, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	if (n == SYS_exit)	/* pthread_exit() would load libgcc, which may not be there after a chroot */
		syscall(SYS_exit, 0);
}

static bool make_event(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return false;
	thread.fd = fcntl(fd, F_DUPFD_CLOEXEC, thread.floor);
	if (thread.fd < 0)
		thread.fd = fd;
	else
		close(fd);
	return true;
}

void dpdk_thread_born(int floor)
{
	thread.owner = getpid();
	thread.floor = floor;
}

int dpdk_thread_ready(void)
{
	thread.ready = false;
	if (thread.ended || !thread.owner || thread.owner != getpid())
		return -ESRCH;
	thread.ready = thread.handle != NULL;
	if (thread.ready)
		return thread.fd;
	if (!make_event())
		return -errno;
	thread.handle = rte_intr_instance_alloc(RTE_INTR_INSTANCE_F_PRIVATE);
	if (thread.handle && !rte_intr_fd_set(thread.handle, thread.fd) &&
	    !rte_intr_type_set(thread.handle, RTE_INTR_HANDLE_EXT) &&
	    !rte_intr_callback_register(thread.handle, on_event, NULL)) {
		thread.ready = true;
		return thread.fd;
	}
	rte_intr_instance_free(thread.handle);
	thread.handle = NULL;
	close(thread.fd);
	thread.fd = -1;
	return -ENOMEM;
}

void dpdk_thread_call(long n, const long arg[5])
{
	const uint64_t one = 1;

	if (!thread.ready)
		return;
	thread.n = n;
	thread.arg = arg;
	thread.done = 0;
	if (write(thread.fd, &one, sizeof(one)) != sizeof(one))
		return;
	while (!thread.done)
		syscall(SYS_futex, &thread.done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
}

void dpdk_thread_end(void)
{
	if (dpdk_thread_ready() < 0)
		return;
	dpdk_thread_call(SYS_exit, NULL);
	thread.ended = true;
	thread.ready = false;
	for (int i = 0; i < YIELDS && !syscall(SYS_tgkill, thread.owner, thread.tid, 0); i++)
		sched_yield();
	close(thread.fd);
	thread.fd = -1;
	dpdk_eal_fds_closed();	/* it has made another epoll set for the last event */
}
