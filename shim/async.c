/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SIGIO and SIGURG, as kill_fasync() and send_sigurg() of Linux send them. A file that has O_ASYNC or an owner carries a
 * watch; one that has neither pays nothing. A kernel's side sends its own signals, for flag and owner are its as well.
 * Must not wait.
 *
 * The kernel lets a process queue a signal with a kernel's si_code to its own main thread's number only from that thread;
 * from others si_code is SI_SIGIO, si_fd and si_band are right all the same.
 */
#include "shim/async.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/keeper.h"
#include "shim/sys.h"

/* What fs/fcntl.c says of an event: band_table[]. In the order in which one excludes the next. */
static const struct {
	unsigned event;
	int code;
	long band;
} bands[] = {
	{ POLLERR, POLL_ERR, POLLERR },
	{ POLLHUP, POLL_HUP, POLLHUP | POLLERR },
	{ POLLIN, POLL_IN, POLLIN | POLLRDNORM },
	{ POLLPRI, POLL_PRI, POLLPRI | POLLRDBAND },
	{ POLLOUT, POLL_OUT, POLLOUT | POLLWRNORM | POLLWRBAND },
};

/* To the owner, with `info` where it is this process or a thread of it; to others the kernel lets only bare signals go. */
static long queue(const struct fn_file *f, int sig, siginfo_t *info)
{
	int self = (int)fn_sys(SYS_getpid, 0);

	if (f->owner_tid)
		return fn_sys(SYS_rt_tgsigqueueinfo, self, f->owner, sig, info);
	return f->owner == self ? fn_sys(SYS_rt_sigqueueinfo, self, sig, info) : -EPERM;
}

static void bare(const struct fn_file *f, int sig)
{
	siginfo_t info = { .si_signo = sig, .si_code = SI_KERNEL };

	if (queue(f, sig, &info) < 0)
		fn_sys(f->owner_tid ? SYS_tkill : SYS_kill, f->owner, sig);
}

/* Signals whose own codes have meanings (sig_specific_sicodes()); SIGIO is not asked about. */
static bool has_codes(int sig)
{
	return sig == SIGILL || sig == SIGFPE || sig == SIGSEGV || sig == SIGBUS || sig == SIGTRAP || sig == SIGCHLD ||
	       sig == SIGSYS;
}

static void send_sigio(const struct fn_file *f, int code, long band)
{
	siginfo_t info = { .si_signo = f->owner_sig, .si_code = has_codes(f->owner_sig) ? SI_SIGIO : code };

	if (!f->owner_sig) {
		bare(f, SIGIO);
		return;
	}
	info.si_band = band;
	info.si_fd = f->async_fd;
	if (queue(f, f->owner_sig, &info) == 0)
		return;
	info.si_code = SI_SIGIO;
	if (queue(f, f->owner_sig, &info) < 0 && fn_sys(f->owner_tid ? SYS_tkill : SYS_kill, f->owner, f->owner_sig) < 0)
		bare(f, SIGIO);		/* the queue is full */
}

static bool async_wake(struct fn_watch *w, unsigned events)
{
	const struct fn_file *f = fn_container_of(w, struct fn_file, async);

	if (!f->owner || events & FN_EVENT_TOLD)
		return false;
	/* a new mark; the urgent byte itself comes with POLLIN */
	if (events & POLLPRI && !(events & POLLIN))
		bare(f, SIGURG);
	if (!(f->flags & O_ASYNC))
		return false;
	for (size_t i = 0; i < fn_array_size(bands); i++) {
		if (!(events & bands[i].event))
			continue;
		send_sigio(f, bands[i].code, bands[i].band);
		break;
	}
	/* a FIN is told as what it is (tcp_fin), and once more as something to read (tcp_data_queue) */
	if (events & POLLRDHUP && events & POLLIN && !(events & POLLERR))
		send_sigio(f, POLL_IN, POLLIN | POLLRDNORM);
	return false;
}

bool fn_async_is(const struct fn_watch *w)
{
	return w->wake == async_wake;
}

static void link_watch(struct fn_file *f)
{
	bool want = f->flags & O_ASYNC || f->owner;

	if (want && !f->async.pprev) {
		f->async.wake = async_wake;
		fn_watch_add(f, &f->async);
	} else if (!want) {
		fn_watch_del(&f->async);
	}
	/* with the fabric alone nobody else takes in what comes while the program makes no calls on sockets */
	if (want && fn_config.fabric) {
		fn_engine.signals = true;
		fn_keeper_start();
	}
}

void fn_async_update(struct fn_file *f, int fd)
{
	fn_engine_lock();
	if (f->flags & O_ASYNC)
		f->async_fd = fd;
	link_watch(f);
	fn_engine_unlock();
	/* the kernel has one signal for a socket's datagrams, whoever sends them */
	if (f->async.pprev && f->type == SOCK_DGRAM && fn_dgram_fabric())
		fn_dgram_retire(f);
}

void fn_async_take(struct fn_file *f, int fd)
{
	struct f_owner_ex ex = { 0 };

	f->owner_sig = fn_sys_fcntl(fd, F_GETSIG, 0);
	if (fn_sys_fcntl(fd, F_GETOWN_EX, (long)&ex) == 0) {
		f->owner = ex.type == F_OWNER_PGRP ? -ex.pid : ex.pid;
		f->owner_tid = ex.type == F_OWNER_TID;
	}
	f->async_fd = fd;
	link_watch(f);
}
