/* SPDX-License-Identifier: BSD-3-Clause */
/* Bells and letters, on a double of the descriptors that are the library's own. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include "shim/bell.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "test/unit/traced.h"

struct fn_engine fn_engine;
static struct fn_shared shared;

int fn_fd_internal(int fd)
{
	return fd;
}

void fn_fd_internal_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

void fn_fd_internal_track(int *where)
{
	(void)where;
}

static void setup(void)
{
	fn_engine.shared = &shared;
	fn_engine.bell = -1;
}

/* Read what lies in `bell`, as its image would. */
static bool take_from(int bell, struct fn_letter *l, int *fd)
{
	int own = fn_engine.bell;
	bool took;

	fn_engine.bell = bell;
	took = fn_bell_take(l, fd);
	fn_engine.bell = own;
	return took;
}

Test(bell, a_letter_brings_socket_and_descriptor, .init = setup)
{
	struct fn_letter l = { .kind = FN_LETTER_ADOPT, .sk = (struct fn_sock *)&shared };
	int bell = fn_bell_make(1), pair[2], fd;

	cr_assert_geq(bell, 0);
	cr_assert_eq(pipe(pair), 0);
	cr_assert_eq(fn_bell_send(1, &l, pair[1]), 0);
	cr_assert(shared.rung & 1 << 1);
	l = (struct fn_letter){ 0 };
	cr_assert(take_from(bell, &l, &fd));
	cr_assert_eq(l.kind, FN_LETTER_ADOPT);
	cr_assert_eq(l.sk, (struct fn_sock *)&shared);
	cr_assert_eq(write(fd, "x", 1), 1);
	cr_assert_eq(read(pair[0], &l, 1), 1);
	cr_assert_not(take_from(bell, &l, &fd));
}

/* Who had the number before has said goodbye, and has not ended yet: its bell is still there. */
Test(bell, a_number_is_used_again_before_its_old_bell_is_gone, .init = setup)
{
	struct fn_letter l = { .kind = FN_LETTER_ADOPT };
	int old = fn_bell_make(1), fresh = fn_bell_make(1), fd;

	cr_assert_geq(old, 0);
	cr_assert_geq(fresh, 0, "%d", fresh);
	cr_assert_eq(fn_bell_send(1, &l, -1), 0);
	cr_assert_not(take_from(old, &l, &fd));
	cr_assert(take_from(fresh, &l, &fd));
}

Test(bell, nobody_and_a_full_one_are_told_apart, .init = setup)
{
	struct fn_letter l = { .kind = FN_LETTER_RING };
	int bell, ret = 0;

	cr_assert_eq(fn_bell_send(1, &l, -1), -ECONNREFUSED);
	bell = fn_bell_make(1);
	cr_assert_geq(bell, 0);
	for (int i = 0; i < 100000 && ret == 0; i++)
		ret = fn_bell_send(1, &l, -1);
	cr_assert_eq(ret, -EAGAIN);
}

/* ---- strangers ---- */

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Whoever has read the bell's name in /proc/net/unix: n bytes of what, with so many descriptors. */
static void say(int bell, const void *what, size_t n, unsigned fds)
{
	char control[CMSG_SPACE(3 * sizeof(int))] = { 0 };
	struct sockaddr_un un;
	struct iovec iov = { (void *)what, n };
	struct msghdr msg = { .msg_name = &un, .msg_namelen = sizeof(un), .msg_iov = &iov, .msg_iovlen = 1 };
	int sock = socket(AF_UNIX, SOCK_DGRAM, 0);

	cr_assert_eq(getsockname(bell, (struct sockaddr *)&un, &msg.msg_namelen), 0);
	if (fds) {
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(fds * sizeof(int));
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ CMSG_LEN(fds * sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		for (unsigned i = 0; i < fds; i++)
			((int *)CMSG_DATA(CMSG_FIRSTHDR(&msg)))[i] = sock;
	}
	sendmsg(sock, &msg, MSG_DONTWAIT);
	close(sock);
}

/* What wakes nobody and takes no room. */
Test(bell, a_stranger_is_not_heard, .init = setup)
{
	struct fn_letter l = { .kind = FN_LETTER_RING };
	int bell = fn_bell_make(1);
	struct pollfd pfd = { .fd = bell, .events = POLLIN };

	cr_assert_geq(bell, 0);
	for (unsigned i = 0; i < 40; i++) {
		say(bell, &l, i % 2 ? sizeof(l) : i, i % 3);
		l.secret = i < 20 ? i : ~shared.bell_secret;
	}
	cr_assert_eq(poll(&pfd, 1, 0), 0);
	l.kind = FN_LETTER_GIVE;
	cr_assert_eq(fn_bell_send(1, &l, -1), 0);
	cr_assert_eq(poll(&pfd, 1, 0), 1);
}

/* A member's, though it sends one only: the kernel puts two where the room for one is aligned. */
Test(bell, all_descriptors_of_a_letter_are_taken_care_of, .init = setup)
{
	struct fn_letter l = { .kind = FN_LETTER_GIVE };
	int bell = fn_bell_make(1), fd;
	unsigned before = descriptors();

	l.secret = shared.bell_secret;
	for (unsigned n = 1; n <= 3; n++) {
		say(bell, &l, sizeof(l), n);
		cr_assert(take_from(bell, &l, &fd));
		cr_assert_geq(fd, 0);
		close(fd);
		cr_assert_eq(descriptors(), before, "%u descriptors came", n);
	}
}

/* ---- death ---- */

static struct fn_shared *lasting;	/* what its members' deaths leave as it was */

static void ring_both(void)
{
	fn_bell_need();
	fn_bell_ring(1 << 1 | 1 << 2);
}

/* Killed after so many stops: whoever has no letter is still known to be asleep, so that somebody else rings it. */
static bool dies_at(unsigned stops, const int bell[3])
{
	struct fn_letter l;
	bool alive = true;
	pid_t pid;
	int fd;

	lasting->asleep = 1 << 1 | 1 << 2;
	lasting->rung = 0;
	pid = traced_child(ring_both);
	if (pid < 0)
		cr_skip_test("a child may not be traced here");
	for (unsigned i = 0; i < stops && alive; i++) {
		traced_go_on(pid);
		alive = traced_stops(pid);
	}
	if (alive) {
		kill(pid, SIGKILL);
		cr_assert_not(traced_stops(pid));
	}
	for (unsigned i = 1; i <= 2; i++) {
		bool has = take_from(bell[i], &l, &fd);

		cr_assert(has || lasting->asleep >> i & 1, "after %u stops image %u sleeps for ever", stops, i);
		cr_assert(!has || lasting->rung >> i & 1, "after %u stops image %u does not look for its letter", stops, i);
		cr_assert(alive || (has && !(lasting->asleep >> i & 1)));
	}
	return alive;
}

Test(bell, who_dies_while_it_rings_leaves_nobody_asleep, .init = setup, .timeout = 30)
{
	int bell[3];
	unsigned stops = 0;

	lasting = mmap(NULL, sizeof(*lasting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(lasting, MAP_FAILED);
	fn_engine.shared = lasting;
	bell[1] = fn_bell_make(1);
	bell[2] = fn_bell_make(2);
	cr_assert(bell[1] >= 0 && bell[2] >= 0);
	while (dies_at(stops, bell))
		stops++;
	cr_assert_geq(stops, 4u, "two letters are two system calls");
}
