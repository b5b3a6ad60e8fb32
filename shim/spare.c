/* SPDX-License-Identifier: BSD-3-Clause */
/* A stack of kernel sockets; see spare.h. A spare goes up to an internal number and comes down again: it has one number at
 * a time, so that whatever the program does with it without us (io_uring) ends when it closes it. */
#include "shim/spare.h"

#include <netinet/in.h>

#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/room.h"

#define SPARES	8	/* descriptors that the program cannot have */

static struct spare {
	int fd;			/* internal; -1 */
	int domain;
	bool nonblock;		/* its O_NONBLOCK */
} spares[SPARES];
static unsigned count;
static bool tracked;
static uint32_t epoch;

uint32_t fn_spare_epoch(void)
{
	return epoch;
}

static void track(void)
{
	for (unsigned i = 0; i < SPARES && !tracked; i++) {
		spares[i].fd = -1;
		fn_fd_internal_track(&spares[i].fd);
	}
	tracked = true;
}

static int number_for(const struct spare *s, int type)
{
	bool nonblock = type & SOCK_NONBLOCK;

	if (s->nonblock != nonblock && fn_sys_fcntl(s->fd, F_SETFL, nonblock ? O_NONBLOCK : 0) < 0)
		return -1;
	return fn_sys_fcntl(s->fd, type & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
}

int fn_spare_take(int domain, int type, int protocol)
{
	int fd = -1;

	if ((type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != SOCK_STREAM || (protocol && protocol != IPPROTO_TCP))
		return -1;
	fn_lock_take(&fn_fdtable.lock);
	if (count && spares[count - 1].domain == domain) {
		struct spare *s = &spares[--count];

		fd = number_for(s, type);
		fn_fd_internal_close_at(&s->fd);
	}
	fn_lock_release(&fn_fdtable.lock);
	return fd < 0 ? -1 : fd;
}

bool fn_spare_keep(const struct fn_file *f, int fd)
{
	struct spare *s = &spares[count];
	int moved;

	if (!f->untouched || f->kind != FN_FILE_TCP || f->spare_epoch != epoch || count == SPARES || fn_room_scarce() || fn_engine.barred ||
	    atomic_load_explicit(&f->refs, memory_order_relaxed) != 1)
		return false;
	track();
	moved = fn_fd_internal(fd);
	if (moved < 0)
		return true;	/* and it is closed */
	*s = (struct spare){ .fd = moved, .domain = f->domain, .nonblock = f->kernel_nonblock };
	count++;
	return true;
}

void fn_spare_forget_locked(void)
{
	epoch++;
	while (count)
		fn_fd_internal_close_at(&spares[--count].fd);
}

void fn_spare_forget(void)
{
	fn_lock_take(&fn_fdtable.lock);
	fn_spare_forget_locked();
	fn_lock_release(&fn_fdtable.lock);
}
