/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end of an image. Its sockets are closed, and what was sent arrives: exit waits until the peers have acknowledged it,
 * FASTNET_EXIT_DRAIN_MS at most. Sockets that another image holds live on.
 */
#include <stdio.h>

#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/info.h"
#include "shim/keeper.h"
#include "shim/last.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/port.h"
#include "shim/relay.h"
#include "shim/shim.h"

static bool close_all(void)
{
	bool any = false;

	for (unsigned fd = 0; fd < fn_fdtable.top; fd++) {
		struct fn_file *f = fn_fdtable.file[fd];

		if (!f || !f->sk)
			continue;
		any = true;
		fn_engine_drop(f);
		f->ops = &fn_kernel_ops;
		f->kind = FN_FILE_KERNEL;
	}
	return any;
}

/* One round, then a short sleep on the ports. */
static bool drain_round(uint64_t now, uint64_t until)
{
	struct pollfd fds[FN_PORT_WAIT_FDS];
	struct timespec ts;
	uint64_t left;
	bool nap, more;
	unsigned n;

	fn_engine_lock();
	fn_engine_poll(now);
	fn_stack_flush(fn_engine.st);
	more = fn_stack_draining(fn_engine.st) || fn_stack_staged(fn_engine.st);
	n = fn_ports_wait_fds(fds, FN_PORT_WAIT_FDS, &nap);
	left = fn_engine_deadline();
	left = left > now ? left - now : 0;
	fn_engine_unlock();
	left = fn_min(fn_min(left, until - now), FN_MSEC);
	ts = (struct timespec){ .tv_nsec = (long)left };
	if (more)
		fn_sys_ppoll(fds, n, &ts, NULL);
	return more;
}

/* Others of the family go on driving the stack: what was sent is on its way, the rest is theirs to send. */
static bool leave_to_family(uint64_t now)
{
	bool others;

	fn_engine_lock();
	fn_engine_poll(now);	/* what has come, and was not read: its sender is to know */
	fn_dual_check(now);	/* and what nobody is there to accept: fallback.c */
	close_all();
	fn_engine_poll(now);
	fn_stack_flush(fn_engine.st);
	others = fn_family_others();
	fn_engine_unlock();
	return others;
}

void fn_engine_drain(void)
{
	uint64_t now, until = fn_now() + fn_config.exit_drain_ms * FN_MSEC;

	do
		now = fn_now();
	while (now < until && drain_round(now, until));
}

static void drain(void)
{
	if (fn_engine.st && !leave_to_family(fn_now()))
		fn_engine_drain();
}

/* What fastnet-stat cannot ask of a process any more: where its sockets went, by the names that --json has. */
static void account(void)
{
	char text[512];
	size_t len = 0;

	if (!fn_log_on(FN_LOG_INFO))
		return;
	text[0] = 0;
	for (unsigned r = 0; r < FN_REASON_COUNT && len < sizeof text; r++)
		if (fastnet_info.reasons[r])
			len += (size_t)snprintf(text + len, sizeof text - len, " %s %lu", fn_reason_name(r),
						(unsigned long)fastnet_info.reasons[r]);
	if (!len)
		return;
	if (fn_engine.st && len < sizeof text)
		snprintf(text + len, sizeof text - len, " tcp_passive_open %lu tcp_active_open %lu udp_in %lu udp_out %lu",
			 (unsigned long)fn_engine.st->stats.tcp_passive_open,
			 (unsigned long)fn_engine.st->stats.tcp_active_open, (unsigned long)fn_engine.st->stats.udp_in,
			 (unsigned long)fn_engine.st->stats.udp_out);
	fn_log(FN_LOG_INFO, "sockets:%s", text);
}

void fn_shim_exit(void)
{
	fn_listen_plain_all(false);
	drain();
	account();
	fn_keeper_quit();
}

void fn_shim_thread_exit_raw(int status)
{
	if (fn_engine.barred)	/* a filter may allow nothing but the end */
		return;
	if (!fn_last_ended((int)fn_sys(SYS_gettid, 0))) {
		fn_shim_thread_exit();
		return;
	}
	fn_shim_exit();
	fn_sys(SYS_exit_group, status);
}

/*
 * An exec that fails ends nothing: in a family the others find out that this image has gone, and only then close what it
 * held. Who has no family gets the relay for that. Without one, the sockets are closed beforehand.
 */
static bool leave_by_exec(void)
{
	bool survives;

	fn_fabric_settle();
	fn_engine_lock();
	survives = fn_family_others() || fn_relay_need() >= 0;
	if (survives)
		fn_family_leaving(true);
	fn_engine_unlock();
	return survives;
}

static bool leaving;

void fn_shim_exec(void)
{
	if (fn_engine.st && fn_engine_any_sock())
		leaving = leave_by_exec();
	if (!leaving)
		drain();
	account();
	fn_keeper_quit();
}

size_t fn_shim_exec_word_size(void)
{
	return fn_fabric_handover_size();
}

bool fn_shim_exec_word(char *text)
{
	return fn_fabric_handover(text);
}

void fn_shim_exec_failed(void)
{
	fn_fabric_handover_undo();
	if (!leaving)
		return;
	leaving = false;
	fn_engine_lock();
	fn_family_leaving(false);
	fn_engine_unlock();
}
