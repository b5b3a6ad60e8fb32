/* SPDX-License-Identifier: BSD-3-Clause */
/* The quick calls: what they do themselves, what they leave to the long way, and the reference that goes with it. */
#include "sock_fixture.h"

#include "shim/quick.h"

enum { CONN = 5, UDP = 6, NONE = 7 };

static _Atomic(struct fn_file *) table[16];
struct fn_fdtable fn_fdtable = { .file = table, .size = 16 };
__thread struct fn_thread fn_this_thread;

static struct fn_sock *peer;
static struct fn_file *conn;
static char buf[1 << 20];
static bool taken;	/* by another thread */

struct fn_file *fn_fd_get_slow(int fd)
{
	cr_assert(taken || !fn_lock_held(&engine_lock));
	table[fd]->refs++;
	return table[fd];
}

static void quick_setup(void)
{
	sock_setup();
	conn = file_connected(&peer);
	table[CONN] = conn;
	table[UDP] = file_new(AF_INET, SOCK_DGRAM);
	table[NONE] = NULL;
	conn->refs = table[UDP]->refs = 1;
}
TestSuite(sock_quick, .init = quick_setup, .fini = tcp_teardown);

static struct fn_quick quick_read(int fd, size_t n)
{
	struct fn_quick q = fn_quick_recv(fd, &(struct iovec){ buf, n });

	cr_assert(!fn_lock_held(&engine_lock));
	return q;
}

static struct fn_quick quick_write(int fd, size_t n)
{
	struct fn_quick q = fn_quick_send(fd, &(struct iovec){ buf, n });

	cr_assert(!fn_lock_held(&engine_lock));
	return q;
}

/* Nothing has happened, and the file comes with a reference. */
static void expect_not(struct fn_quick q, struct fn_file *f)
{
	cr_expect_eq(q.ret, FN_NOT_BEGUN);
	cr_expect_eq(q.file, f);
	cr_expect(!f || f->refs == 2);
}

Test(sock_quick, what_is_there_is_read_without_a_reference)
{
	struct fn_quick q;

	give_now(peer, 10);
	q = quick_read(CONN, 4);
	cr_expect_eq(q.ret, 4);
	cr_expect_null(q.file);
	q = quick_read(CONN, 100);
	cr_expect_eq(q.ret, 6);
	cr_expect_null(q.file);
	cr_expect_eq(conn->refs, 1);
	cr_expect_eq(memcmp(buf, "efghij", 6), 0);
}

Test(sock_quick, nothing_to_read_goes_on_elsewhere)
{
	struct fn_quick q = quick_read(CONN, 4);

	cr_expect_eq(q.ret, -EAGAIN);
	cr_expect_eq(q.file, conn);
	cr_expect_eq(conn->refs, 2);
}

Test(sock_quick, less_than_the_low_water_mark_goes_on_elsewhere)
{
	struct gift g = { peer, 8 };
	struct fn_quick q;

	give_now(peer, 2);
	conn->sk->rcvlowat = 5;
	q = quick_read(CONN, 10);
	cr_expect_eq(q.ret, 2);
	cr_expect_eq(q.file, conn);
	/* the two bytes are read: what goes on has the whole buffer before it, and gives the call's result */
	later(10, give, &g);
	memset(buf, 0, sizeof(buf));
	memcpy(buf, "ab", 2);
	cr_expect_eq(fn_tcp_recv_on(conn, &(struct iovec){ buf, 10 }, 2), 10);
	cr_expect_eq(memcmp(buf, "ababcdefgh", 10), 0);
}

Test(sock_quick, the_end_is_told_with_a_reference)
{
	struct fn_quick q;

	fn_sock_shutdown(peer, FN_SHUT_WR);
	fn_stack_flush(B.st);
	pass(MS);
	q = quick_read(CONN, 4);
	cr_expect_eq(q.ret, 0);
	cr_expect_eq(q.file, conn);
	cr_expect_eq(fn_tcp_recv_on(conn, &(struct iovec){ buf, 4 }, 0), 0);
}

Test(sock_quick, a_write_leaves_at_once)
{
	struct fn_quick q = quick_write(CONN, 64);
	struct iovec iov[2] = { { buf, 10 }, { buf, 20 } };

	cr_expect_eq(q.ret, 64);
	cr_expect_null(q.file);
	cr_expect_eq(fn_stack_staged(A.st), 0);
	q = fn_quick_writev(CONN, iov, 2, 30);
	cr_expect_eq(q.ret, 30);
	cr_expect_null(q.file);
	cr_expect_eq(conn->refs, 1);
	pass(200 * MS);		/* Nagle: the second write waits for the first one's ACK */
	cr_expect_eq(fn_tcp_readable(peer), 94);
}

Test(sock_quick, a_write_that_does_not_fit_goes_on_elsewhere)
{
	struct fn_quick q = quick_write(CONN, sizeof(buf));

	cr_expect_gt(q.ret, 0);
	cr_expect_lt(q.ret, (ssize_t)sizeof(buf));
	cr_expect_eq(q.file, conn);
	cr_expect_eq(conn->refs, 2);
}

Test(sock_quick, other_files_and_odd_buffers_take_the_long_way)
{
	expect_not(quick_read(UDP, 4), table[UDP]);
	expect_not(quick_read(NONE, 4), NULL);
	expect_not(quick_read(CONN, 0), conn);
	conn->refs = table[UDP]->refs = 1;
	expect_not(quick_write(UDP, 4), table[UDP]);
	expect_not(quick_write(NONE, 4), NULL);
	expect_not(quick_write(CONN, 0), conn);
	conn->refs = 1;
	expect_not(fn_quick_recv(CONN, &(struct iovec){ NULL, 4 }), conn);
	conn->refs = 1;
	expect_not(fn_quick_send(CONN, &(struct iovec){ NULL, 4 }), conn);
}

Test(sock_quick, nobody_waits_for_the_lock)
{
	struct fn_quick q;

	give_now(peer, 10);
	taken = fn_lock_try(&engine_lock);
	cr_assert(taken);
	q = fn_quick_recv(CONN, &(struct iovec){ buf, 4 });
	expect_not(q, conn);
	conn->refs = 1;
	expect_not(fn_quick_send(CONN, &(struct iovec){ buf, 4 }), conn);
	fn_lock_release(&engine_lock);
	cr_expect_eq(fn_tcp_readable(conn->sk), 10);
}
