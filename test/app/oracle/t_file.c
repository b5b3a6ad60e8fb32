/* SPDX-License-Identifier: BSD-3-Clause */
/* sendfile and splice between files, pipes and a connection. */
#include <pthread.h>
#include <sys/sendfile.h>

#include "oracle.h"

static char buf[256];

/* A file of n bytes of the alphabet. */
static int make_file(long n)
{
	FILE *f = tmpfile();
	int fd;

	for (long i = 0; i < n; i++)
		putc((int)('a' + i % 26), f);
	fflush(f);
	fd = dup(fileno(f));
	fclose(f);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static void sendfile_offsets(void)
{
	int slot, fd = connect_out(&slot), file = make_file(1040);
	off_t off = 0;

	TRY(sendfile(fd, file, &off, 26));
	say("offset %ld, position %ld", (long)off, (long)lseek(file, 0, SEEK_CUR));
	TRY(sendfile(fd, file, NULL, 26));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	off = 1014;
	TRY(sendfile(fd, file, &off, 100));
	say("offset %ld", (long)off);
	TRY(sendfile(fd, file, &off, 100));
	off = 5000;
	TRY(sendfile(fd, file, &off, 100));
	say("offset %ld", (long)off);
	off = -1;
	TRY(sendfile(fd, file, &off, 100));
	TRY(sendfile(fd, file, NULL, 0));
	lseek(file, 0, SEEK_SET);
	TRY(sendfile(fd, file, NULL, 100000));
	say("position %ld", (long)lseek(file, 0, SEEK_CUR));
	say("peer got: %ld", peer("recv %d %d", slot, 26 + 26 + 26 + 1040));
	close(file);
	close(fd);
}

static void sendfile_errors(void)
{
	int slot, fd = connect_out(&slot), file = make_file(100), ends[2], other, slot2;
	char path[] = "/tmp/oracle.XXXXXX";
	off_t off = 0;

	if (pipe2(ends, O_CLOEXEC))
		return;
	other = mkstemp(path);
	close(other);
	other = open(path, O_WRONLY);
	unlink(path);
	TRY(sendfile(fd, 9999, &off, 10));
	TRY(sendfile(9999, file, &off, 10));
	TRY(sendfile(fd, ends[0], NULL, 10));
	TRY(sendfile(fd, ends[0], &off, 10));
	TRY(sendfile(fd, other, &off, 10));
	TRY(sendfile(fd, other, NULL, 10));
	close(other);
	other = open("/tmp", O_RDONLY | O_DIRECTORY);
	TRY(sendfile(fd, other, &off, 10));
	close(other);
	other = connect_out(&slot2);
	TRY(sendfile(fd, other, NULL, 10));
	TRY(sendfile(fd, other, &off, 10));
	close(other);
	TRY(shutdown(fd, SHUT_WR));
	on_signal(SIGPIPE, 0);
	TRY(sendfile(fd, file, &off, 10));
	say("signals: %d", (int)signals);
	signal(SIGPIPE, SIG_IGN);
	other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	TRY(sendfile(other, file, &off, 10));
	close(other);
	close(ends[0]);
	close(ends[1]);
	close(file);
	close(fd);
}

static void sendfile_big(void)
{
	int slot, fd = accept_in(&slot), file = make_file(26 * 40000);
	off_t off = 0;
	long n, total = 0;

	peer("later 0 recv %d %d", slot, 26 * 40000);
	TRY(sendfile(fd, file, &off, 26 * 40000));
	say("offset %ld", (long)off);
	close(fd);

	/* non-blocking: in parts, and EAGAIN when the buffer is full */
	fd = connect_out(&slot);
	nonblock(fd, true);
	peer("rcvbuf %d 8192", slot);
	off = 0;
	for (int idle = 0; idle < 20 && total < 26 * 40000;) {
		n = sendfile(fd, file, &off, (size_t)(26 * 40000 - total));
		idle = n > 0 ? 0 : idle + 1;
		total += n > 0 ? n : 0;
		if (n < 0)
			poll(NULL, 0, 10);
	}
	say("offset is what was sent: %d", off == total);
	if (total < 26 * 40000)
		TRY(sendfile(fd, file, &off, 1));
	else
		say("sendfile(fd, file, &off, 1) -> -1 EAGAIN");
	say("peer got it: %d", peer_beside(fd, "recv %d %ld", slot, total) == total);
	close(file);
	close(fd);
}

static void splice_to_socket(void)
{
	int slot, fd = connect_out(&slot), ends[2], file = make_file(1000);
	off_t off = 0;

	if (pipe2(ends, O_CLOEXEC))
		return;
	TRY(splice(ends[0], NULL, fd, NULL, 10, SPLICE_F_NONBLOCK));
	TRY(write(ends[1], "abcdefghij", 10));
	TRY(splice(ends[0], NULL, fd, NULL, 4, 0));
	TRY(splice(ends[0], NULL, fd, NULL, 100, 0));
	say("peer got: %ld", peer("recv %d 10", slot));
	TRY(splice(ends[0], NULL, fd, NULL, 0, 0));
	TRY(splice(ends[0], &off, fd, NULL, 1, 0));
	TRY(splice(ends[0], NULL, fd, &off, 1, 0));
	TRY(splice(file, &off, fd, NULL, 10, 0));
	TRY(splice(fd, NULL, fd, NULL, 10, 0));
	close(ends[1]);
	TRY(splice(ends[0], NULL, fd, NULL, 10, 0));
	close(ends[0]);
	close(file);
	close(fd);
}

static void splice_from_socket(void)
{
	int slot, fd = accept_in(&slot), ends[2];

	if (pipe2(ends, O_CLOEXEC))
		return;
	nonblock(fd, true);
	TRY(splice(fd, NULL, ends[1], NULL, 10, 0));
	TRY(splice(fd, NULL, ends[1], NULL, 10, SPLICE_F_NONBLOCK));
	peer("send %d 20", slot);
	until_readable(fd, 20);
	TRY(splice(fd, NULL, ends[1], NULL, 5, 0));
	TRY(splice(fd, NULL, ends[1], NULL, 100, SPLICE_F_NONBLOCK));
	GET(read(ends[0], buf, 100), buf);
	nonblock(fd, false);
	peer("later 100 send %d 6", slot);
	TRY(splice(fd, NULL, ends[1], NULL, 100, 0));
	GET(read(ends[0], buf, 100), buf);
	peer("shut %d", slot);
	until(fd, POLLRDHUP);
	TRY(splice(fd, NULL, ends[1], NULL, 100, 0));
	close(ends[0]);
	close(ends[1]);
	close(fd);

	fd = connect_out(&slot);
	if (pipe2(ends, O_CLOEXEC))
		return;
	peer("send %d 5", slot);
	until_readable(fd, 5);
	close(ends[0]);
	on_signal(SIGPIPE, 0);
	TRY(splice(fd, NULL, ends[1], NULL, 100, 0));
	say("signals: %d", (int)signals);
	signal(SIGPIPE, SIG_IGN);
	GET(recv(fd, buf, 100, 0), buf);
	close(ends[1]);
	close(fd);
}

struct splicer {
	int fd, pipe;
	long moved, ms;
	int error, tid;
};

static void *splices(void *arg)
{
	struct splicer *s = arg;

	__atomic_store_n(&s->tid, gettid(), __ATOMIC_RELEASE);
	elapsed();
	s->moved = splice(s->fd, NULL, s->pipe, NULL, 100, 0);
	s->error = errno;
	s->ms = elapsed();
	return NULL;
}

/* What a splice does that sleeps for the first bytes when the peer does `what`. */
static void splice_asleep(const char *what, int n, int inlined, int lowat)
{
	int slot, fd = connect_out(&slot), ends[2];
	struct splicer s = { .fd = fd };
	struct timeval timeo = { 2, 0 };
	pthread_t thread;

	if (pipe2(ends, O_CLOEXEC))
		return;
	s.pipe = ends[1];
	set_int(fd, SOL_SOCKET, SO_OOBINLINE, inlined);
	set_int(fd, SOL_SOCKET, SO_RCVLOWAT, lowat);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeo, sizeof(timeo));
	if (pthread_create(&thread, NULL, splices, &s))
		return;
	while (!__atomic_load_n(&s.tid, __ATOMIC_ACQUIRE))
		usleep(1000);
	until_asleep(s.tid);
	peer("%s %d %d", what, slot, n);
	pthread_join(thread, NULL);
	say("asleep, then %s %d, inline %d, low water %d: %ld %s, after the time: %d", what, n, inlined, lowat, s.moved,
	    s.moved < 0 ? error_name(s.error) : "", s.ms >= 2000);
	nonblock(fd, true);
	GET(recv(fd, buf, 100, 0), buf);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

static void splice_asleep_each(void)
{
	splice_asleep("oob", 33, 0, 1);
	splice_asleep("oob", 33, 1, 1);
	splice_asleep("oob", 33, 1, 10);
	splice_asleep("send", 3, 0, 1);
	splice_asleep("send", 3, 0, 10);
	splice_asleep("send", 20, 0, 10);
	splice_asleep("shut", 0, 0, 1);
}

/* Calls that never wait, in a loop: nothing but they drive the stack. */
static void splice_asked_often(void)
{
	int slot, fd = accept_in(&slot), ends[2], n = -1;

	if (pipe2(ends, O_CLOEXEC))
		return;
	nonblock(fd, true);
	peer("send %d 3", slot);
	for (int k = 0; k < 3000 && n < 0; k++, usleep(1000))
		n = (int)splice(fd, NULL, ends[1], NULL, 100, SPLICE_F_NONBLOCK);
	say("asked often, splice gave %d", n);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

void t_file(void)
{
	sendfile_offsets();
	sendfile_errors();
	sendfile_big();
	splice_to_socket();
	splice_from_socket();
	splice_asleep_each();
	splice_asked_often();
}
