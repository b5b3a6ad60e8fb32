/* SPDX-License-Identifier: BSD-3-Clause */
/* See kin.h. */
#include "shim/kin.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/fdtable.h"
#include "shim/sys.h"

static void say(int end)
{
	fn_sys(SYS_sendto, end, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
}

static void drop(int *end)
{
	if (*end)
		fn_fd_internal_close(*end);
	*end = 0;
}

static bool take_in(struct fn_kin *k, int end)
{
	for (unsigned i = 0; i < FN_KIN_MAX; i++) {
		if (k->end[i])
			continue;
		k->end[i] = end;
		fn_fd_internal_track(&k->end[i]);
		return true;
	}
	return false;
}

void fn_kin_expect(struct fn_kin *k)
{
	int end[2];

	if (k->born[0] || k->many || fn_sys(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, end) < 0)
		return;
	end[0] = fn_fd_internal(end[0]);
	end[1] = fn_fd_internal(end[1]);
	if (end[0] < 0 || end[1] < 0) {
		fn_fd_internal_close(end[0]);
		fn_fd_internal_close(end[1]);
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		k->born[i] = end[i];
		fn_fd_internal_track(&k->born[i]);
		if (k->reads)	/* and so will the child */
			say(end[i]);
	}
	fn_kin_alone(k);	/* room for one more */
}

void fn_kin_forked(struct fn_kin *k, bool child)
{
	int ours = k->born[child], theirs = k->born[!child];

	k->born[0] = k->born[1] = 0;
	if (theirs)
		fn_fd_internal_close(theirs);
	if (ours && take_in(k, ours))
		return;
	fn_fd_internal_close(ours ? ours : -1);
	k->many = true;
}

void fn_kin_reads(struct fn_kin *k)
{
	if (k->reads)
		return;
	k->reads = true;
	for (unsigned i = 0; i < FN_KIN_MAX; i++)
		if (k->end[i])
			say(k->end[i]);
	for (unsigned i = 0; i < 2; i++)
		if (k->born[i])
			say(k->born[i]);
}

bool fn_kin_any(const struct fn_kin *k)
{
	bool any = k->many;

	for (unsigned i = 0; i < FN_KIN_MAX; i++)
		any |= k->end[i] != 0;
	return any;
}

bool fn_kin_alone(struct fn_kin *k)
{
	struct pollfd p[FN_KIN_MAX];
	struct timespec zero = { 0, 0 };
	bool alone = !k->many;

	if (fn_likely(!fn_kin_any(k)))
		return true;
	for (unsigned i = 0; i < FN_KIN_MAX; i++)
		p[i] = (struct pollfd){ .fd = k->end[i] ? k->end[i] : -1, .events = POLLIN };
	if (fn_sys_ppoll(p, FN_KIN_MAX, &zero, NULL) < 0)
		return false;
	for (unsigned i = 0; i < FN_KIN_MAX; i++) {
		if (p[i].revents & (POLLHUP | POLLERR | POLLNVAL))
			drop(&k->end[i]);
		else if (p[i].revents & POLLIN)
			alone = false;
	}
	return alone;
}

void fn_kin_close(struct fn_kin *k, bool keep)
{
	if (!keep) {
		for (unsigned i = 0; i < FN_KIN_MAX; i++)
			drop(&k->end[i]);
		drop(&k->born[0]);
		drop(&k->born[1]);
	} else {
		fn_kin_reads(k);
	}
	memset(k, 0, sizeof(*k));
}
