/* SPDX-License-Identifier: BSD-3-Clause */
/* Calls on a connection: what blocks, for how long, what ends it, and what a caller is told. */
#include "sock_fixture.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(sock_tcp, .init = sock_setup, .fini = tcp_teardown);

static char buf[1 << 20];
static volatile sig_atomic_t pipes;

static void count_pipe(int sig) { pipes++; }

static void shut(void *sk) { fn_sock_shutdown(sk, FN_SHUT_WR); }

/* Closed with data it has not read: a reset. */
static void reset(void *sk)
{
	fn_sock_setopt(sk, FN_OPT_LINGER, 0);
	fn_sock_close(sk);
}

Test(sock_tcp, waitall_gives_what_came_when_the_time_is_over)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	uint64_t start;

	f->rcvtimeo = 200 * MS;
	give_now(peer, 5);
	start = now;
	cr_assert_eq(receive(f, buf, 100, MSG_WAITALL), 5);
	cr_assert_eq(now - start, 200 * MS);
	cr_assert_eq(receive(f, buf, 100, MSG_WAITALL), -EAGAIN);
}

Test(sock_tcp, waitall_gathers)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	struct gift g[2] = { { peer, 5 }, { peer, 20 } };

	later(10, give, &g[0]);
	later(30, give, &g[1]);
	cr_assert_eq(receive(f, buf, 10, MSG_WAITALL), 10);
	cr_assert_eq(memcmp(buf, "abcdeabcde", 10), 0);
	cr_assert_eq(receive(f, buf, 100, 0), 15);
}

Test(sock_tcp, a_handler_ends_a_read_unless_it_restarts)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	struct gift g = { peer, 3 };

	interrupt(10, false);
	cr_assert_eq(receive(f, buf, 10, 0), -EINTR);
	interrupt(10, true);
	later(50, give, &g);
	cr_assert_eq(receive(f, buf, 10, 0), 3);
	/* with a timeout of its own a call is never restarted (signal(7)) */
	f->rcvtimeo = 1000 * MS;
	interrupt(10, true);
	cr_assert_eq(receive(f, buf, 10, 0), -EINTR);
}

Test(sock_tcp, a_handler_ends_a_read_that_has_begun)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);

	give_now(peer, 3);
	interrupt(10, true);
	cr_assert_eq(receive(f, buf, 10, MSG_WAITALL), 3);
}

Test(sock_tcp, a_read_of_nothing_waits_once)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	struct gift g = { peer, 3 };

	cr_assert_eq(receive(f, buf, 0, MSG_DONTWAIT), -EAGAIN);
	later(20, give, &g);
	cr_assert_eq(receive(f, buf, 0, 0), 0);
	cr_assert_eq(receive(f, buf, 10, MSG_DONTWAIT), 3, "it has taken none");
	f->rcvtimeo = 50 * MS;
	cr_assert_eq(receive(f, buf, 0, 0), 0);
}

Test(sock_tcp, peek_and_waitall_see_each_byte_once)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	struct gift g = { peer, 6 };

	give_now(peer, 4);
	later(20, give, &g);
	cr_assert_eq(receive(f, buf, 10, MSG_PEEK | MSG_WAITALL), 10);
	cr_assert_eq(memcmp(buf, "abcdabcdef", 10), 0);
	later(20, shut, peer);
	cr_assert_eq(receive(f, buf, 50, MSG_PEEK | MSG_WAITALL), 10);
	cr_assert_eq(receive(f, buf, 50, 0), 10);
	cr_assert_eq(receive(f, buf, 50, MSG_PEEK | MSG_WAITALL), 0);
}

Test(sock_tcp, an_error_behind_data_is_the_next_calls)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);

	give_now(peer, 5);
	reset(peer);
	pass(10 * MS);
	cr_assert_eq(receive(f, buf, 100, MSG_WAITALL), 5);
	cr_assert_eq(receive(f, buf, 100, 0), -ECONNRESET);
	cr_assert_eq(receive(f, buf, 100, 0), 0);
}

Test(sock_tcp, low_water_holds_a_blocking_read_only)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	struct gift g = { peer, 9 };

	cr_assert_eq(fn_sock_setopt(f->sk, FN_OPT_RCVLOWAT, 8), 0);
	give_now(peer, 3);
	cr_assert_eq(receive(f, buf, 100, MSG_DONTWAIT), 3);
	give_now(peer, 3);
	later(10, give, &g);
	cr_assert_eq(receive(f, buf, 100, 0), 12);
}

/* The peer reads everything that has come, every 5 ms. */
static void drain(void *sk)
{
	static char sink[1 << 16];

	while (fn_tcp_recv(sk, &(struct iovec){ sink, sizeof(sink) }, 1, 0, 0, NULL) > 0)
		;
	fn_stack_flush(B.st);
	later(5, drain, sk);
}

Test(sock_tcp, a_blocking_send_takes_everything)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);

	later(5, drain, peer);
	cr_assert_eq(transmit(f, buf, sizeof(buf), 0), (ssize_t)sizeof(buf));
}

Test(sock_tcp, a_full_buffer_is_a_part_then_eagain)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	uint64_t start;
	ssize_t n;

	fn_sock_setopt(f->sk, FN_OPT_SNDBUF, 65536);
	f->sndtimeo = 100 * MS;
	start = now;
	n = transmit(f, buf, sizeof(buf), 0);
	cr_assert(n > 0 && n < (ssize_t)sizeof(buf));
	cr_assert_geq(now - start, 100 * MS);
	while (transmit(f, buf, 1, MSG_DONTWAIT) == 1)	/* the last buffer may have room for a few */
		;
	cr_assert_eq(transmit(f, buf, 1, 0), -EAGAIN);
	cr_assert_eq(transmit(f, buf, 1, MSG_DONTWAIT), -EAGAIN);
	interrupt(10, true);
	cr_assert_eq(transmit(f, buf, 1, 0), -EINTR);
}

Test(sock_tcp, epipe_comes_with_sigpipe)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);

	signal(SIGPIPE, count_pipe);
	pipes = 0;
	cr_assert_eq(f->ops->shutdown(f, -1, SHUT_WR), 0);
	cr_assert_eq(transmit(f, "x", 1, MSG_NOSIGNAL), -EPIPE);
	cr_assert_eq(pipes, 0);
	cr_assert_eq(transmit(f, "x", 1, 0), -EPIPE);
	cr_assert_eq(transmit(f, "", 0, 0), -EPIPE);
	cr_assert_eq(pipes, 2);
	cr_assert_eq(f->ops->shutdown(f, -1, 3), -EINVAL);
}

Test(sock_tcp, vectors_are_checked)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	struct iovec bad = { buf, (size_t)-1 };
	struct msghdr msg = { .msg_iov = &bad, .msg_iovlen = 1025 };

	cr_assert_eq(f->ops->recv(f, -1, &bad, 1, 0), -EINVAL);
	cr_assert_eq(f->ops->send(f, -1, &bad, 1, 0), -EINVAL);
	cr_assert_eq(f->ops->sendmsg(f, -1, &msg, 0), -EMSGSIZE);
	cr_assert_eq(f->ops->recvmsg(f, -1, &msg, 0), -EMSGSIZE);
}

/* ---- connecting ---- */

static struct sockaddr_in port_of_peer(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr = { B.ip }, .sin_port = fn_be16(port) };
}

Test(sock_tcp, connect_without_waiting_tells_the_outcome_once)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	struct sockaddr_in to = port_of_peer(80);

	peer_listen(80);
	f->sk->conn = FN_CONN_NONE;
	f->flags = O_NONBLOCK;
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -EINPROGRESS);
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -EALREADY);
	cr_assert_eq(transmit(f, "x", 1, MSG_NOSIGNAL), -EAGAIN);
	pass(10 * MS);
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), 0);
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -EISCONN);
}

Test(sock_tcp, a_refused_connect_may_be_tried_again)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	struct sockaddr_in to = port_of_peer(81);
	int err;
	socklen_t len = sizeof(err);

	f->sk->conn = FN_CONN_NONE;
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -ECONNREFUSED);
	f->flags = O_NONBLOCK;
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -EINPROGRESS);
	pass(10 * MS);
	cr_assert_eq(f->ops->getsockopt(f, -1, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	cr_assert_eq(err, ECONNREFUSED);
	/* the error has been told, so the failure has no name any more */
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -ECONNABORTED);
	peer_listen(80);
	to = port_of_peer(80);
	f->flags = 0;
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), 0);
}

Test(sock_tcp, connect_ends_with_its_time)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	struct sockaddr_in to = port_of_peer(80);
	uint64_t start = now;

	to.sin_addr.s_addr = IP(10, 0, 0, 77);
	f->sk->conn = FN_CONN_NONE;
	f->sndtimeo = 200 * MS;
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -EINPROGRESS);
	cr_assert_eq(now - start, 200 * MS);
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -EALREADY);
	interrupt(10, true);
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -EINTR);
}

Test(sock_tcp, a_new_destination_may_be_the_kernels)
{
	struct fn_file *f = file_new(AF_INET, SOCK_STREAM);
	struct sockaddr_in to = port_of_peer(81);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	f->sk->conn = FN_CONN_NONE;
	f->flags = O_NONBLOCK;
	stack_reaches = 0;
	cr_assert_eq(f->ops->connect(f, fd, (void *)&to, sizeof(to)), FN_TO_KERNEL);
	cr_assert_eq(kernel_decisions, 1);
	cr_assert_null(f->sk);
	cr_assert(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	/* an accepted one cannot go there */
	f = file_new(AF_INET, SOCK_STREAM);
	f->sk->conn = FN_CONN_NONE;
	f->accepted = true;
	cr_assert_eq(f->ops->connect(f, -1, (void *)&to, sizeof(to)), -ENETUNREACH);
}

/* ---- closing ---- */

Test(sock_tcp, linger_waits_for_the_ack)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	uint64_t start;

	fn_sock_setopt(f->sk, FN_OPT_LINGER, 5);
	f->flags = O_NONBLOCK;
	cr_assert_eq(transmit(f, "abc", 3, 0), 3);
	start = now;
	file_close(f);
	cr_assert(now > start && now - start < 1000 * MS);
	cr_assert_eq(fn_tcp_recv(peer, &(struct iovec){ buf, 10 }, 1, 0, 0, NULL), 3);
	cr_assert_eq(fn_tcp_recv(peer, &(struct iovec){ buf, 10 }, 1, 0, 0, NULL), 0);
}

Test(sock_tcp, linger_ends_with_its_time)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	uint64_t start;

	fn_sock_setopt(f->sk, FN_OPT_LINGER, 2);
	fn_pair_conf(wire)->loss_ppm = 1000000;
	cr_assert_eq(transmit(f, "abc", 3, 0), 3);
	start = now;
	file_close(f);
	cr_assert_eq(now - start, 2 * SEC);
}

Test(sock_tcp, unread_data_leaves_nothing_to_linger_for)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	uint64_t start;

	fn_sock_setopt(f->sk, FN_OPT_LINGER, 5);
	give_now(peer, 3);
	start = now;
	file_close(f);
	cr_assert_eq(now, start);
	pass(10 * MS);
	cr_assert_eq(fn_tcp_recv(peer, &(struct iovec){ buf, 10 }, 1, 0, 0, NULL), -ECONNRESET);
}

/* ---- files and pipes ---- */

static int file_of(size_t n)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	for (size_t i = 0; i < n; i++)
		cr_assert_eq(write(fd, &(char){ (char)('a' + i % 26) }, 1), 1);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

Test(sock_tcp, sendfile_moves_its_offset_or_the_files)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	int fd = file_of(3000);
	off_t off = 2990;

	cr_assert_eq(f->ops->sendfile(f, -1, fd, &off, 100), 10);
	cr_assert_eq(off, 3000);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), 0);
	cr_assert_eq(f->ops->sendfile(f, -1, fd, &off, 100), 0);
	cr_assert_eq(f->ops->sendfile(f, -1, fd, NULL, 2000), 2000);
	cr_assert_eq(lseek(fd, 0, SEEK_CUR), 2000);
	pass(10 * MS);
	cr_assert_eq(fn_tcp_recv(peer, &(struct iovec){ buf, 5000 }, 1, 0, 0, NULL), 2010);
	cr_assert_eq(buf[0], 'a' + 2990 % 26);
	for (unsigned i = 0; i < 2000; i++)
		cr_assert_eq(buf[10 + i], (char)('a' + i % 26));
	off = -1;
	cr_assert_eq(f->ops->sendfile(f, -1, fd, &off, 1), -EINVAL);
	close(fd);
}

Test(sock_tcp, sendfile_stops_where_the_buffer_is_full)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	int fd = file_of(300000);
	off_t off = 0;
	ssize_t n;

	fn_sock_setopt(f->sk, FN_OPT_SNDBUF, 65536);
	f->flags = O_NONBLOCK;
	n = f->ops->sendfile(f, -1, fd, &off, 300000);
	cr_assert(n > 0 && n < 300000);
	cr_assert_eq(off, n);
	while (n >= 0) {
		pass(10 * MS);
		n = f->ops->sendfile(f, -1, fd, &off, 300000 - (size_t)off);
		if (n == -EAGAIN)
			break;
		cr_assert_geq(n, 0);
		cr_assert(off < 300000);
	}
	cr_assert_eq(n, -EAGAIN);
	/* blocking, with a peer that reads: the rest goes */
	f->flags = 0;
	later(5, drain, peer);
	n = f->ops->sendfile(f, -1, fd, &off, 300000);
	cr_assert_eq(off, 300000);
	close(fd);
}

Test(sock_tcp, sendfile_names_what_is_wrong_with_its_source)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	int ends[2], dir = open("/", O_RDONLY | O_DIRECTORY);
	off_t off = 0;

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(f->ops->sendfile(f, -1, 9999, &off, 1), -EBADF);
	cr_assert_eq(f->ops->sendfile(f, -1, 9999, NULL, 1), -EBADF);
	cr_assert_eq(f->ops->sendfile(f, -1, ends[0], NULL, 1), -EINVAL);
	cr_assert_eq(f->ops->sendfile(f, -1, ends[0], &off, 1), -ESPIPE);
	cr_assert_eq(f->ops->sendfile(f, -1, dir, &off, 1), -EINVAL);
	cr_assert_eq(fn_tcp_outq(f->sk), 0, "buffers were given back");
	close(dir);
	close(ends[0]);
	close(ends[1]);
}

/* Calls that never wait are all that drives the stack when a program makes no others. */
Test(sock_tcp, a_splice_that_does_not_wait_looks_at_the_network)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	int ends[2];
	ssize_t n;

	cr_assert_eq(pipe(ends), 0);
	f->flags = O_NONBLOCK;
	fn_pair_conf(wire)->delay_ns = 0;
	cr_assert_eq(fn_tcp_send(peer, &(struct iovec){ "abc", 3 }, 1, 0, 0), 3);
	fn_stack_flush(B.st);
	cr_assert_eq(f->ops->splice_out(f, -1, ends[1], 10, SPLICE_F_NONBLOCK), 3);
	cr_assert_eq(read(ends[0], buf, 10), 3);
	while ((n = transmit(f, buf, sizeof(buf), 0)) > 0)
		pass(10 * MS);
	cr_assert_eq(n, -EAGAIN);
	while (fn_tcp_recv(peer, &(struct iovec){ buf, sizeof(buf) }, 1, 0, 0, NULL) > 0)
		;
	fn_stack_flush(B.st);
	cr_assert_eq(write(ends[1], "abc", 3), 3);
	cr_assert_eq(f->ops->splice_in(f, -1, ends[0], 3, SPLICE_F_NONBLOCK), 3);
	close(ends[0]);
	close(ends[1]);
}

Test(sock_tcp, splice_both_ways)
{
	struct fn_sock *peer;
	struct fn_file *f = file_connected(&peer);
	int ends[2];

	cr_assert_eq(pipe(ends), 0);
	cr_assert_eq(f->ops->splice_in(f, -1, ends[0], 10, SPLICE_F_NONBLOCK), -EAGAIN);
	cr_assert_eq(write(ends[1], "abcdef", 6), 6);
	cr_assert_eq(f->ops->splice_in(f, -1, ends[0], 4, 0), 4);
	cr_assert_eq(f->ops->splice_in(f, -1, ends[0], 100, 0), 2);
	pass(10 * MS);
	cr_assert_eq(fn_tcp_recv(peer, &(struct iovec){ buf, 10 }, 1, 0, 0, NULL), 6);
	give_now(peer, 8);
	cr_assert_eq(f->ops->splice_out(f, -1, ends[1], 3, 0), 3);
	cr_assert_eq(f->ops->splice_out(f, -1, ends[1], 100, SPLICE_F_NONBLOCK), 5);
	cr_assert_eq(read(ends[0], buf, 100), 8);
	cr_assert_eq(memcmp(buf, "abcdefgh", 8), 0);
	f->flags = O_NONBLOCK;
	cr_assert_eq(f->ops->splice_out(f, -1, ends[1], 3, 0), -EAGAIN);
	close(ends[1]);
	cr_assert_eq(f->ops->splice_in(f, -1, ends[0], 10, 0), 0);
	close(ends[0]);
}
