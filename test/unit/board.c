/* SPDX-License-Identifier: BSD-3-Clause */
/* The board of a listener: notices for all its images, and one of them that is stopped while it holds the lock. */
#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shim/board.h"
#include "shim/engine.h"
#include "shim/fdtable.h"

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
}

static uint64_t now;

uint64_t fn_now(void)
{
	return now;
}

static struct fn_board board;

static void setup(void)
{
	cr_assert_eq(fn_board_make(&board, 1), 0);
}

TestSuite(board, .init = setup, .timeout = 30);

static int held[400];	/* the inboxes' other ends */
static unsigned posted;

/* A notice whose client lives; its number is its user. */
static void post(void)
{
	int page = memfd_create("page", 0), end[2];
	struct fn_notice n = { .page = page, .uid = posted };

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end), 0);
	n.inbox = end[1];
	held[posted++] = end[0];
	cr_assert_eq(fn_board_post(&board, &n, posted, false), 0);
	close(page);
	close(end[1]);
}

/* Everything that is new, in any order: from first to posted - 1, once each. */
static void expect(unsigned first)
{
	bool seen[400] = { false };
	struct fn_notice n;

	while (fn_board_next(&board, &n) > 0) {
		cr_assert(n.uid >= first && n.uid < posted && !seen[n.uid], "%u", (unsigned)n.uid);
		seen[n.uid] = true;
		close(n.page);
		close(n.inbox);
	}
	for (unsigned i = first; i < posted; i++)
		cr_assert(seen[i], "%u of %u to %u", i, first, posted);
}

Test(board, each_image_sees_each_notice_once)
{
	pid_t pid;
	int status;

	for (unsigned i = 0; i < 5; i++)
		post();
	expect(0);
	pid = fork();
	if (!pid) {
		fn_robust_child();
		fn_board_forked(&board);
		expect(0);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0);
	post();
	expect(5);
	expect(6);
}

Test(board, those_of_the_dead_are_taken_down)
{
	struct fn_notice n;
	unsigned left = 0;

	for (unsigned i = 0; i < 60; i++) {
		post();
		if (i % 10)
			close(held[i]);
		posted = i + 1;
	}
	fn_board_post(&board, &(struct fn_notice){ .page = 0, .inbox = 0, .uid = 99 }, 2, true);
	fn_board_forked(&board);
	while (fn_board_next(&board, &n) > 0)
		left++;
	cr_assert_lt(left, 60);
	cr_assert_geq(left, 6);
}

/* What a client has left stays, though it has hung up, until somebody has taken it. */
Test(board, half_of_a_client_is_there_until_it_is_taken)
{
	struct fn_notice n;
	int end[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, end), 0);
	n = (struct fn_notice){ .page = end[1], .inbox = end[1], .half = true, .uid = 7 };
	cr_assert_eq(fn_board_post(&board, &n, 0, true), 0);
	cr_assert_eq(write(end[0], "page", 4), 4);
	close(end[0]);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned k = 0; k < 60; k++) {	/* others come and go */
			struct fn_notice m = { .page = 0, .inbox = end[1] };

			fn_board_post(&board, &m, 0, true);
		}
		fn_board_forked(&board);
		for (memset(&n, 0, sizeof(n)); fn_board_next(&board, &n) > 0 && !n.half;)
			;
		cr_assert_eq(n.half, !i);
		if (i)
			break;
		cr_assert_eq(n.uid, 7);
		cr_assert_eq(read(n.inbox, &(char[9]){ 0 }, 9), 4);
	}
}

/* No number is free, but for so many; or all are again. */
static void numbers(int spare)
{
	static rlim_t before;
	struct rlimit lim;
	int fd[2];

	getrlimit(RLIMIT_NOFILE, &lim);
	if (!before)
		before = lim.rlim_cur;
	lim.rlim_cur = before;
	setrlimit(RLIMIT_NOFILE, &lim);
	if (spare < 0)
		return;
	for (int i = 0; i < 2; i++)
		fd[i] = dup(0);	/* numbers are given out from below */
	lim.rlim_cur = (rlim_t)fd[spare];
	setrlimit(RLIMIT_NOFILE, &lim);
	close(fd[0]);
	close(fd[1]);
}

/* They are there when there are numbers again, and it is known that they have to be looked for. */
Test(board, what_there_is_no_number_for_is_seen_later)
{
	struct fn_notice n;

	post();
	post();
	for (int spare = 0; spare < 2; spare++) {
		numbers(spare);
		for (unsigned i = 0; i < 3; i++) {
			cr_assert_eq(fn_board_next(&board, &n), 0);
			cr_assert(fn_board_doubts(&board));
		}
	}
	numbers(-1);
	expect(0);
	cr_assert(!fn_board_doubts(&board));
}

/* Who has seen it and could not take it leaves it where it is. */
Test(board, what_could_not_be_taken_is_next)
{
	struct fn_notice n;

	post();
	post();
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(fn_board_next(&board, &n), 1);
		cr_assert_eq(n.uid, 0);
		fn_board_later(&board, n.serial);
		cr_assert(fn_board_doubts(&board));
	}
	expect(0);
}

Test(board, tidying_without_numbers_loses_nothing)
{
	struct fn_notice n = { .page = 0 };

	for (unsigned i = 0; i < 40; i++)
		post();
	for (int spare = 0; spare < 2; spare++) {
		numbers(spare);
		n.inbox = held[0];
		n.uid = posted++;
		cr_assert_eq(fn_board_post(&board, &n, 0, false), 0);
	}
	numbers(-1);
	cr_assert_geq(board.shared->notices, posted);
	expect(0);
}

/* A child that is stopped while it has the lock; continued, it sees all that was posted until then, `all` notices. */
static pid_t stopped_with_lock(unsigned all)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		fn_robust_child();
		fn_robust_lock(&board.shared->lock);
		raise(SIGSTOP);
		fn_robust_unlock(&board.shared->lock);
		fn_board_forked(&board);
		posted = all;
		expect(0);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert(WIFSTOPPED(status));
	return pid;
}

static void go_on(pid_t pid)
{
	int status;

	kill(pid, SIGCONT);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0);
}

/* Who has the lock and only waits for a processor is waited for: the queue is not looked at beside it. */
Test(board, one_that_is_slow_with_the_lock_hides_nothing)
{
	struct fn_notice n;
	pid_t pid = stopped_with_lock(1);

	cr_assert(!fn_board_doubts(&board));
	post();
	for (unsigned i = 0; i < 9; i++, now += 100000000) {
		cr_assert_eq(fn_board_next(&board, &n), 0);
		cr_assert(fn_board_doubts(&board));
	}
	go_on(pid);
	expect(0);
	cr_assert(!fn_board_doubts(&board));
}

/* The others go on, and when it goes on itself nothing has been lost. */
Test(board, one_that_is_stopped_with_the_lock_holds_up_nobody)
{
	struct fn_notice n;
	pid_t pid;

	post();
	expect(0);
	pid = stopped_with_lock(100);
	cr_assert_eq(fn_board_next(&board, &n), 0);
	now += 1000000000;
	for (unsigned i = 1; i < 100; i++) {
		post();
		expect(i);
		cr_assert(fn_board_doubts(&board));
	}
	go_on(pid);
	post();
	expect(100);
	for (unsigned i = 0; i < 100; i++)
		expect(101);
	cr_assert(!fn_board_doubts(&board));
}

/* Somebody without the lock has moved the place that was looked at, so that a notice was passed over. */
Test(board, what_was_missed_because_of_another_is_found)
{
	for (unsigned i = 0; i < 5; i++)
		post();
	board.next = 3;
	board.shared->loose++;
	expect(3);
	cr_assert(fn_board_doubts(&board));
	for (unsigned i = 3; i < 5; i++)
		close(held[i]);
	posted = 3;
	expect(0);
}
