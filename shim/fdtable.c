/* SPDX-License-Identifier: BSD-3-Clause */
/* The fd table: see fdtable.h. Every change goes with one of the kernel's; nothing is guessed. */
#include "shim/fdtable.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "shim/convert.h"
#include "shim/keeper.h"
#include "shim/room.h"
#include "shim/spare.h"

struct fn_fdtable fn_fdtable = { .floor = 3, .near = ~0u, .lowest = FN_FD_INTERNAL };

int fn_fdtable_init(unsigned floor)
{
	void *mem;

	if (fn_fdtable.size)
		return 0;
	mem = (void *)fn_sys(SYS_mmap, NULL, sizeof(*fn_fdtable.file) * FN_FD_MAX, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if ((unsigned long)mem > -4096ul)
		return -ENOMEM;
	fn_fdtable.file = mem;
	fn_fdtable.floor = floor;
	__atomic_store_n(&fn_fdtable.size, FN_FD_MAX, __ATOMIC_RELEASE);
	return 0;
}

/* One more reference to f unless it has none any more. */
fn_inline bool hold_live(struct fn_file *f)
{
	uint32_t refs = atomic_load_explicit(&f->refs, memory_order_relaxed);

	/* pairs with the release in fn_file_new() */
	while (fn_likely(refs) && !atomic_compare_exchange_weak_explicit(&f->refs, &refs, refs + 1,
									  memory_order_acquire, memory_order_relaxed))
		;
	return refs;
}

static struct fn_file *get_again(int fd, struct fn_file *held);

/* A leaf as long as nobody closes fd meanwhile: every call of a program on one of our descriptors begins here. */
struct fn_file *fn_fd_get_slow(int fd)
{
	struct fn_file *f = atomic_load_explicit(&fn_fdtable.file[fd], memory_order_acquire);

	if (fn_unlikely(!f))
		return NULL;
	if (fn_unlikely(!hold_live(f)))
		return get_again(fd, NULL);
	/* type-stable memory: it may have become another file meanwhile */
	if (fn_unlikely(atomic_load_explicit(&fn_fdtable.file[fd], memory_order_relaxed) != f))
		return get_again(fd, f);
	return f;
}

static fn_cold struct fn_file *get_again(int fd, struct fn_file *held)
{
	if (held)
		fn_file_put(held);
	return fn_fd_get_slow(fd);
}

bool fn_fd_install(int fd, struct fn_file *f)
{
	if ((unsigned)fd < fn_fdtable.floor || (unsigned)fd >= fn_fdtable.size)
		return false;
	for (unsigned top = fn_fdtable.top; top <= (unsigned)fd;)
		if (atomic_compare_exchange_weak(&fn_fdtable.top, &top, (unsigned)fd + 1))
			break;
	fn_fd_mean(fd, false);
	/* pairs with the acquire in fn_fd_get_slow() */
	atomic_store_explicit(&fn_fdtable.file[fd], f, memory_order_release);
	return true;
}

int fn_fd_raise(int fd, bool cloexec)
{
	int to;

	if (fn_likely((unsigned)fd >= fn_fdtable.floor || fd < 3))
		return fd;
	to = fn_sys_fcntl(fd, cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, fn_fdtable.floor);
	if (to < 0)	/* RLIMIT_NOFILE: it is the kernel's then */
		return fd;
	fn_sys_close(fd);
	return to;
}

int fn_fd_number(const struct fn_file *f, int fd)
{
	if (fd >= 0 && fn_fdtable.file[fd] == f)
		return fd;
	for (unsigned i = 0; i < fn_fdtable.top; i++)
		if (fn_fdtable.file[i] == f)
			return (int)i;
	return -1;
}

bool fn_fd_hold(struct fn_file *f)
{
	bool numbered;

	fn_lock_take(&fn_fdtable.lock);
	numbered = fn_fd_number(f, -1) >= 0 && hold_live(f);	/* close_range() takes numbers without that lock */
	fn_lock_release(&fn_fdtable.lock);
	return numbered;
}

struct fn_file *fn_fd_remove(int fd)
{
	if ((unsigned)fd >= fn_fdtable.size)
		return NULL;
	return atomic_exchange_explicit(&fn_fdtable.file[fd], NULL, memory_order_acq_rel);
}

void fn_fd_forget(int fd, struct fn_file *f)
{
	struct fn_file *was = f;

	if (atomic_compare_exchange_strong(&fn_fdtable.file[fd], &was, NULL))
		fn_file_put(f);
}

/* ---- what is meant for another program ---- */

static _Atomic(uint64_t) meant[FN_FD_MAX / 64];

bool fn_fd_meant(int fd)
{
	return (unsigned)fd < FN_FD_MAX && atomic_load_explicit(&meant[fd / 64], memory_order_relaxed) >> (fd % 64) & 1;
}

void fn_fd_mean(int fd, bool yes)
{
	uint64_t bit = 1ull << (fd % 64);

	if ((unsigned)fd >= FN_FD_MAX || fn_fd_meant(fd) == yes)
		return;
	if (yes)
		atomic_fetch_or(&meant[fd / 64], bit);
	else
		atomic_fetch_and(&meant[fd / 64], ~bit);
}

/* ---- internal descriptors ---- */

#define INTERNAL_MAX	65536
static _Atomic(uint64_t) internal_bits[INTERNAL_MAX / 64];
static _Atomic(uint32_t) internal_count;

#define TRACKED_MAX	2048	/* one a peer process, one a listener, few others */
static int *tracked[TRACKED_MAX];

static void internal_mark(int fd, bool on)
{
	uint64_t bit = 1ull << (fd % 64);

	if (fd >= INTERNAL_MAX)
		return;
	if (on)
		atomic_fetch_or(&internal_bits[fd / 64], bit);
	else
		atomic_fetch_and(&internal_bits[fd / 64], ~bit);
	atomic_fetch_add(&internal_count, on ? 1 : -1u);
}

/* Below a limit of less than that: in the last quarter, where the program comes last. */
static int number_below(int fd)
{
	struct rlimit lim;
	int moved;

	if (fn_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) < 0)
		return -EMFILE;
	moved = fn_sys_fcntl(fd, F_DUPFD_CLOEXEC, (long)(fn_min(lim.rlim_cur, (rlim_t)FN_FD_INTERNAL) / 4 * 3));
	if (moved < 0)
		moved = fn_sys_fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (moved >= 0 && moved < fn_fdtable.lowest)
		fn_fdtable.lowest = moved;
	return moved;
}

int fn_fd_internal(int fd)
{
	int moved;

	if (fd < 0)
		return fd;
	moved = fn_sys_fcntl(fd, F_DUPFD_CLOEXEC, FN_FD_INTERNAL);
	if (moved == -EINVAL || moved == -EMFILE)
		moved = number_below(fd);
	fn_sys_close(fd);
	if (moved >= 0) {
		internal_mark(moved, true);
		fn_room_taken(moved);
	}
	return moved;
}

int fn_fd_internal_if_room(int fd)
{
	if (fd < 0 || fn_room_for(fd))
		return fn_fd_internal(fd);
	fn_sys_close(fd);
	return -EMFILE;
}

unsigned fn_fd_internal_count(void)
{
	return internal_count;
}

unsigned fn_fd_internal_below(void)
{
	struct rlimit lim;
	unsigned n = 0;

	if (!internal_count || fn_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) < 0)
		return 0;
	for (int fd = fn_fdtable.lowest; fd < INTERNAL_MAX && (rlim_t)fd < lim.rlim_cur; fd++)
		n += fn_fd_is_internal(fd);
	return n;
}

void fn_fd_internal_claim(int fd)
{
	struct fn_file *f = fn_fd_remove(fd);	/* opened through our own wrappers: it may have got an entry */

	if (f)
		fn_file_put(f);
	if (!fn_fd_is_internal(fd))
		internal_mark(fd, true);
}

bool fn_fd_is_internal(int fd)
{
	if (fn_likely(atomic_load_explicit(&internal_count, memory_order_relaxed) == 0) || (unsigned)fd >= INTERNAL_MAX)
		return false;
	return atomic_load_explicit(&internal_bits[fd / 64], memory_order_relaxed) >> (fd % 64) & 1;
}

void fn_fd_internal_close(int fd)
{
	if (fd < 0)
		return;
	internal_mark(fd, false);
	for (int i = 0; i < TRACKED_MAX; i++)
		if (tracked[i] && *tracked[i] == fd)
			tracked[i] = NULL;
	fn_sys_close(fd);
}

void fn_fd_internal_close_at(int *where)
{
	int fd = *where;

	*where = -1;
	internal_mark(fd, false);
	fn_sys_close(fd);
}

void fn_fd_internal_track(int *where)
{
	for (int i = 0; i < TRACKED_MAX; i++)
		if (!tracked[i] || tracked[i] == where) {
			tracked[i] = where;
			return;
		}
}

void fn_fd_internal_moved(int *from, int *to)
{
	*to = *from;
	*from = -1;
	for (int i = 0; i < TRACKED_MAX; i++)
		if (tracked[i] == from)
			tracked[i] = to;
}

/* Internal descriptor fd gets a number from `least` on; the old one is open still, and nobody's. */
static int internal_move(int fd, int least)
{
	int i, moved;

	for (i = 0; i < TRACKED_MAX && !(tracked[i] && *tracked[i] == fd); i++)
		;
	if (i == TRACKED_MAX)
		return -EBUSY;	/* a driver's: it knows no other number */
	moved = fn_sys_fcntl(fd, F_DUPFD_CLOEXEC, least);
	if (moved < 0)
		return moved;
	internal_mark(moved, true);
	*tracked[i] = moved;
	internal_mark(fd, false);
	return 0;
}

/* The program wants number fd for itself: move the internal descriptor on it elsewhere. */
static int internal_evict(int fd)
{
	return internal_move(fd, FN_FD_INTERNAL);
}

bool fn_fd_internal_lift(int number)
{
	bool all = true;

	for (int fd = fn_fdtable.lowest; fd < number && fd < INTERNAL_MAX; fd++) {
		if (!fn_fd_is_internal(fd))
			continue;
		if (internal_move(fd, number) == 0)
			fn_sys_close(fd);
		else
			all = false;
	}
	return all;
}

/* ---- close, dup and their kin ---- */

int fn_fd_close(int fd)
{
	struct fn_file *f;
	bool held;
	int ret;

	if (fn_fd_is_internal(fd))
		return -EBADF;
	held = fn_keeper_hold();
	fn_lock_take(&fn_fdtable.lock);
	f = fn_fd_remove(fd);
	ret = f && fn_spare_keep(f, fd) ? 0 : FN_TO_KERNEL;
	fn_lock_release(&fn_fdtable.lock);
	if (ret == FN_TO_KERNEL)
		ret = fn_sys_close(fd);
	fn_keeper_let(held);
	if (f)
		fn_file_put(f);
	return ret;
}

/* The kernel has made `to` a duplicate of a number that stands for f (NULL: of the kernel's): the table follows. */
static int alias(int to, struct fn_file *f, bool cloexec)
{
	if (to >= 0 && f && fn_fd_install(to, f)) {
		fn_file_hold(f);
		fn_fd_mean(to, !cloexec);
	}
	return to;
}

/* A number that has no entry (below the floor) is for code that knows none: what it is a duplicate of is the kernel's
 * first. */
static bool for_kernel(const struct fn_file *f, int to)
{
	return f && to >= 0 && ((unsigned)to < fn_fdtable.floor || (unsigned)to >= FN_FD_MAX);
}

static int dup_once(int fd, int cmd, int min)
{
	struct fn_file *f = fn_fd_get(fd);
	bool cloexec = cmd == F_DUPFD_CLOEXEC;
	int to, ret;

	fn_lock_take(&fn_fdtable.lock);
	to = fn_sys_fcntl(fd, cmd, min);
	to = alias(f ? fn_fd_raise(to, cloexec) : to, f, cloexec);
	fn_lock_release(&fn_fdtable.lock);
	if (for_kernel(f, to)) {
		fn_sys_close(to);
		ret = fn_convert(f);
		to = ret < 0 ? ret : fn_sys_fcntl(fd, cmd, min);
	}
	if (f)
		fn_file_put(f);
	return to;
}

int fn_fd_fcntl_dup(int fd, int cmd, int min)
{
	int to = dup_once(fd, cmd, min);

	if (to == -EMFILE && fn_room_make())
		to = dup_once(fd, cmd, min);
	fn_room_watch(to);
	return to;
}

int fn_fd_dup(int fd)
{
	return fn_fd_fcntl_dup(fd, F_DUPFD, 0);
}

int fn_fd_dup2(int from, int to, int flags, bool is_dup3)
{
	struct fn_file *f, *old = NULL;
	bool held;
	int ret;

	if (fn_fd_is_internal(from))
		return -EBADF;
	if (!is_dup3 && from == to) {
		ret = fn_sys_fcntl(from, F_GETFD, 0);
		return ret < 0 ? ret : to;
	}
	f = fn_fd_get(from);
	ret = for_kernel(f, to) ? fn_convert(f) : 0;
	if (ret < 0) {
		fn_file_put(f);
		return ret;
	}
	held = fn_keeper_hold();
	fn_lock_take(&fn_fdtable.lock);
	ret = fn_fd_is_internal(to) ? internal_evict(to) : 0;
	if (ret == 0 && fn_sys_fcntl(from, F_GETFD, 0) >= 0 && from != to && !(flags & ~O_CLOEXEC))
		old = fn_fd_remove(to);
	if (ret == 0)
		ret = (int)fn_sys(SYS_dup3, from, to, flags);
	if (ret < 0 && old)	/* EBUSY, or `to` beyond the limit: it stands for what it stood for */
		fn_fd_install(to, old), old = NULL;
	else
		alias(ret, f && f->kind != FN_FILE_KERNEL ? f : NULL, flags & O_CLOEXEC);
	fn_lock_release(&fn_fdtable.lock);
	fn_keeper_let(held);
	if (old)
		fn_file_put(old);
	if (f)
		fn_file_put(f);
	return ret;
}

static void close_entries(unsigned first, unsigned last)
{
	unsigned end = atomic_load(&fn_fdtable.top);

	for (unsigned fd = first; fd <= last && fd < end; fd++) {
		struct fn_file *f;

		if (!fn_fd_ours((int)fd))
			continue;
		f = fn_fd_remove((int)fd);
		fn_sys_close((int)fd);
		if (f)
			fn_file_put(f);
	}
}

static int kernel_close_range(unsigned first, unsigned last, int flags)
{
	return first > last ? 0 : (int)fn_sys(SYS_close_range, first, last, flags);
}

/* All but internal ones. */
static int close_kernels(unsigned first, unsigned last, int flags)
{
	unsigned from = first;

	for (unsigned fd = first; fd <= last && fd < INTERNAL_MAX && internal_count; fd++) {
		int ret;

		if (!fn_fd_is_internal((int)fd))
			continue;
		ret = fd > from ? kernel_close_range(from, fd - 1, flags) : 0;
		if (ret < 0)
			return ret;
		from = fd + 1;
	}
	return kernel_close_range(from, last, flags);
}

int fn_fd_close_range(unsigned first, unsigned last, int flags)
{
	bool held;
	int ret;

	if (first > last || (flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)))
		return (int)fn_sys(SYS_close_range, first, last, flags);
	if (flags & CLOSE_RANGE_CLOEXEC)	/* ours have that flag already */
		return (int)fn_sys(SYS_close_range, first, last, flags);
	close_entries(first, last);
	held = fn_keeper_hold();
	ret = close_kernels(first, last, flags);
	fn_keeper_let(held);
	return ret;
}

void fn_fd_close_program(void)
{
	close_kernels(0, ~0u, 0);
}

void fn_fd_closefrom(int first)
{
	fn_fd_close_range(first < 0 ? 0 : (unsigned)first, ~0u, 0);
}
