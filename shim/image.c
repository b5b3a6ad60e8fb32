/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The process image: configuration at start, and the stack in its arena when it is needed. The arena is a memfd that
 * grows under a large mapping; the file, not the mapping, is what costs memory.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "shim/conf_stack.h"
#include "shim/crash.h"
#include "shim/engine.h"
#include "shim/fabric.h"
#include "shim/fdtable.h"
#include "shim/handover.h"
#include "shim/info.h"
#include "shim/keeper.h"
#include "shim/log.h"
#include "shim/meet.h"
#include "shim/port.h"
#include "shim/shim.h"
#include "shim/wait.h"

/* A fresh process touches little: 4 MB of memfd cost 2.7 ms. */
#define ARENA_FIRST	(1ul << 20)
#define ARENA_STEP	(1ul << 20)
#define ARENA_STEP_MAX	(16ul << 20)

bool fn_shim_active;

static struct {
	int fd;			/* internal */
	uint8_t *base;
	size_t backed;
	bool fixed;		/* never asked for more */
} arena = { .fd = -1 };

/* ---- configuration ---- */

static void report(void *ctx, const char *text)
{
	fn_log(FN_LOG_ERROR, "%s", text);
}

static void count_error(void *ctx, const char *text)
{
}

/* An inert library has no PID in its record: tools tell so. */
static void fill_info(const char *program, bool inert)
{
	struct timespec ts;
	size_t n = strlen(program);

	clock_gettime(CLOCK_REALTIME, &ts);
	fastnet_info.pid = inert ? 0 : getpid();
	fastnet_info.start = (uint64_t)ts.tv_sec * FN_NSEC + (uint64_t)ts.tv_nsec;
	n = fn_min(n, sizeof(fastnet_info.program) - 1);
	memcpy(fastnet_info.program, program, n);
	memcpy(fastnet_info.file, fn_config.file, sizeof(fastnet_info.file));
	fastnet_info.conf_errors = fn_config.errors;
	fastnet_info.fabric = fn_config.fabric;
	fastnet_info.ports = fn_config.nnics;
	for (unsigned i = 0; i < fn_config.nnics; i++) {
		struct fn_info_port *p = &fastnet_info.port[i];

		memcpy(p->name, fn_config.nics[i].name, sizeof(p->name));
		memcpy(p->devargs, fn_config.nics[i].devargs, sizeof(p->devargs));
		p->ip4 = fn_config.nics[i].ip4;
		p->ip4_mask = fn_config.nics[i].ip4_mask;
		p->ip4_gw = fn_config.nics[i].ip4_gw;
	}
}

void fn_shim_init(const char *program)
{
	struct fn_conf_report quiet = { .fn = count_error }, loud = { .fn = report };
	bool secure = getauxval(AT_SECURE);
	unsigned errors;

	fn_handover_begin();
	errors = fn_conf_load(&fn_config, environ, secure, &quiet);
	fn_log_init(&fn_config);
	if (errors && !fn_config.disable) {	/* once more, now that it is known where messages go */
		fn_conf_load(&fn_config, environ, secure, &loud);
		if (fn_config.on_error == FN_ON_ERROR_ABORT)
			_exit(1);
	}
	fn_ports_init();
	fill_info(fn_conf_basename(program), secure || fn_config.disable);
	fn_shim_active = !secure && !fn_config.disable && !errors && (fn_config.nnics || fn_config.fabric);
	if (fn_shim_active)
		fn_meet_inherited();
	fn_handover_end();
}

/* ---- arena ---- */

/* Back [0, size) of the arena. An error here, not a SIGBUS later: allocated, not only sized. */
static int arena_grow(void *ctx, size_t size)
{
	size_t step = fn_min(fn_max(arena.backed / 2, ARENA_STEP), ARENA_STEP_MAX);
	size_t want = fn_min(fn_max(size, arena.backed + step), (size_t)fn_config.arena_max);
	struct rlimit lim;
	int ret;

	want = (want + 4095) & ~4095ul;
	if (size <= arena.backed)
		return 0;
	if (size > want || arena.fixed)
		return -ENOMEM;
	if (fn_sys(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &lim) == 0 && want > lim.rlim_cur)
		return -EFBIG;	/* growing would raise SIGXFSZ */
	/* from where it ends: what is there already would be looked at page by page again */
	do
		ret = (int)fn_sys(SYS_fallocate, arena.fd, 0, arena.backed, want - arena.backed);
	while (ret == -EINTR);
	if (ret < 0)
		return ret;
	arena.backed = want;
	return 0;
}

/* A filter does not let us grow: some more than a fresh process has, for all its life. */
#define ARENA_FIXED	(16ul << 20)
void fn_arena_fix(void)
{
	fn_engine_lock();
	if (arena.base && !arena.fixed)
		arena_grow(NULL, ARENA_FIXED);
	arena.fixed = true;
	fn_engine_unlock();
}

static struct fn_arena *arena_make(void)
{
	size_t reserve = fn_config.arena_max;
	struct fn_arena *a;

	arena.fd = fn_fd_internal_if_room((int)fn_sys(SYS_memfd_create, "fastnet-arena", MFD_CLOEXEC));
	if (arena.fd < 0)
		return NULL;
	fn_fd_internal_track(&arena.fd);
	arena.backed = 0;
	if (arena_grow(NULL, ARENA_FIRST) < 0)
		return NULL;
	arena.base = (uint8_t *)fn_sys(SYS_mmap, NULL, reserve, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
				       arena.fd, 0);
	if ((unsigned long)arena.base > -4096ul)
		return NULL;
	fn_sys(SYS_madvise, arena.base, reserve, MADV_DONTDUMP);
	a = fn_arena_init(arena.base, reserve, arena.backed, arena_grow, NULL);
	fastnet_info.arena = (uintptr_t)arena.base;
	fastnet_info.arena_reserve = reserve;
	return a;
}

static void arena_drop(void)
{
	if (arena.base && (unsigned long)arena.base < -4096ul)
		fn_sys(SYS_munmap, arena.base, fn_config.arena_max);
	arena.base = NULL;
	fn_fd_internal_close(arena.fd);
	arena.fd = -1;
	fastnet_info.arena = fastnet_info.stack = 0;
}

/* ---- the stack ---- */

static struct fn_stack *stack_make(void)
{
	static const struct fn_stack_ops ops = { .ready = fn_engine_ready };
	struct fn_stack_conf conf;
	struct fn_arena *a = arena_make();

	fn_conf_stack(&conf, &fn_config);
	fn_sys(SYS_getrandom, conf.seed, sizeof(conf.seed), 0);
	return a ? fn_stack_create(a, &conf, &ops, NULL, fn_now()) : NULL;
}

void fn_engine_lose_stack(void)
{
	fn_engine.st = NULL;
	fn_engine.ports = 0;
	fn_ports_lose();
	arena_drop();
}

/* Not tried again before this time: a port that cannot be had now may be had later. */
#define RETRY_NS	(1000 * FN_MSEC)
static uint64_t retry_at;
static bool succeeded;		/* the last attempt has */

/* nginx's worker opens its port as root and writes its messages as www-data. */
static void keep_log(void)
{
	static int fd = -1;

	if (fd >= 0)
		return;
	fd = fn_fd_internal(fn_log_open());
	if (fd >= 0)
		fn_fd_internal_track(&fd);
	fn_log_keep(&fd);
}

static void open_ports(struct fn_stack *st)
{
	fn_thread_self()->inside = true;
	fn_engine.ports = fn_ports_open(st);
	fn_thread_self()->inside = false;
}

static bool start_locked(bool ports)
{
	struct fn_stack *st;
	int held = ports ? fn_ports_hold() : 0;
	bool fabric;

	if (!held && !fn_config.fabric)
		return false;
	st = stack_make();
	if (!st) {
		fn_log(FN_LOG_WARNING, "no memory for the stack; sockets stay with the kernel");
		arena_drop();
		return false;
	}
	if (held)
		open_ports(st);
	fabric = fn_fabric_start(st);
	if (!fn_engine.ports && !fabric) {
		arena_drop();
		return false;
	}
	fastnet_info.stack = (uintptr_t)st;
	fn_engine.st = st;
	fn_engine_poll(fn_now());
	if (fn_engine.ports)
		fn_keeper_start();
	return true;
}

/* The stack is there, of the fabric's or another port's making. One that others share stays as it is: what a driver maps is
 * in this image only. */
static void open_late(void)
{
	int before = fn_engine.ports;

	if (fn_engine.shares || fn_ports_hold() <= before)
		return;
	open_ports(fn_engine.st);
	if (fn_engine.ports && !before)
		fn_keeper_start();
	if (fn_engine.watcher)	/* it sleeps without the new one */
		fn_thread_ring(fn_engine.watcher);
}

bool fn_engine_start(bool ports)
{
	uint64_t now;
	bool ok;

	if (fn_engine.st && (!ports || fn_engine.ports == (int)fn_config.nnics))
		return true;
	if (!fn_shim_active || fn_engine.barred || fn_engine_init() < 0)
		return fn_engine.st != NULL;
	now = fn_now();
	fn_engine_lock();
	ok = fn_engine.st != NULL;
	/* a child, whose parent has it; whoever has left a port's stack is not to take the port from who comes next */
	if (!ok && succeeded && !fn_config.nnics)
		retry_at = 0;
	if (fn_shim_active && (now >= retry_at || fn_ports_changed())) {
		fn_crash_backtraces();
		keep_log();
		if (ok)
			open_late();
		else
			ok = start_locked(ports);
		if (ports || !ok)
			retry_at = now + RETRY_NS;
		succeeded = ok;
	}
	fn_engine_unlock();
	return ok;
}
