/* SPDX-License-Identifier: BSD-3-Clause */
/* Numbers and descriptions: dup and its kin, fcntl, close-on-exec, close_range, calls for other kinds of files, fork. */
#include <sys/stat.h>
#include <sys/syscall.h>
#include <linux/close_range.h>

#include "oracle.h"

static char buf[64];

static void dups(int (*make)(int *))
{
	int slot, fd = make(&slot), a, b, c;

	a = dup(fd);
	b = fcntl(fd, F_DUPFD_CLOEXEC, 100);
	c = dup2(fd, 150);
	say("dup is the lowest: %d, at least 100: %d, dup2: %d", a > fd, b >= 100, c);
	say("close-on-exec: %d %d %d %d", fcntl(fd, F_GETFD), fcntl(a, F_GETFD), fcntl(b, F_GETFD), fcntl(c, F_GETFD));
	nonblock(a, true);
	say("non-blocking by the other number: %d", !!(fcntl(c, F_GETFL) & O_NONBLOCK));
	TRY(recv(c, buf, 1, 0));
	TRY(close(fd));
	TRY(send(a, "a", 1, 0));
	TRY(send(b, "b", 1, 0));
	TRY(write(c, "c", 1));
	say("peer got: %ld", peer("recv %d 3", slot));
	TRY(dup2(a, a) == a);
	TRY(dup3(a, a, 0));
	TRY(dup3(a, 151, O_CLOEXEC));
	TRY(dup3(a, 151, O_APPEND));
	TRY(fcntl(151, F_GETFD));
	TRY(dup2(o.control, 151));
	TRY(dup2(9999, 151));
	TRY(fcntl(151, F_GETFD));
	TRY(close(151));
	TRY(close(a));
	TRY(close(b));
	TRY(close(c));
	say("peer at end: %ld", peer("take %d", slot));
}

static void last_close(int (*make)(int *))
{
	int slot, fd = make(&slot), a = dup(fd);

	TRY(close(fd));
	TRY(close(fd));
	TRY(send(a, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	TRY(close(a));
	say("peer at end: %ld", peer("take %d", slot));
	TRY(recv(a, buf, 1, 0));
	TRY(send(a, buf, 1, 0));
	TRY(getsockopt(a, SOL_SOCKET, SO_ERROR, buf, &(socklen_t){ 4 }));
	TRY(fcntl(a, F_GETFL));
	TRY(shutdown(a, SHUT_WR));
}

static void flags(int (*make)(int *))
{
	int slot, fd = make(&slot), on = 1;

	say("flags %x", fcntl(fd, F_GETFL));
	TRY(fcntl(fd, F_SETFL, O_NONBLOCK | O_APPEND));
	say("flags %x", fcntl(fd, F_GETFL));
	TRY(ioctl(fd, FIONBIO, &(int){ 0 }));
	say("flags %x", fcntl(fd, F_GETFL));
	TRY(ioctl(fd, FIONBIO, &on));
	TRY(fcntl(fd, F_SETFL, O_DIRECT));
	say("flags %x", fcntl(fd, F_GETFL));
	TRY(fcntl(fd, F_SETFL, O_SYNC | O_CREAT | O_TRUNC));
	say("flags %x", fcntl(fd, F_GETFL));
	TRY(fcntl(fd, F_SETFD, FD_CLOEXEC));
	TRY(fcntl(fd, F_GETFD));
	TRY(ioctl(fd, FIONCLEX));
	TRY(fcntl(fd, F_GETFD));
	TRY(ioctl(fd, FIOCLEX));
	TRY(fcntl(fd, F_GETFD));
	TRY(fcntl(fd, F_SETOWN, 99999999));
	TRY(fcntl(fd, F_SETOWN, getpid()));
	say("owner is this process: %d", fcntl(fd, F_GETOWN) == getpid());
	TRY(fcntl(fd, F_SETOWN, -getpgrp()));
	say("owner is this group: %d", fcntl(fd, F_GETOWN) == -getpgrp());
	TRY(fcntl(fd, F_SETOWN, 0));
	TRY(fcntl(fd, F_GETOWN));
	TRY(fcntl(fd, F_SETSIG, SIGUSR1));
	TRY(fcntl(fd, F_GETSIG));
	TRY(fcntl(fd, F_SETSIG, 1000));
	TRY(fcntl(fd, 12345));
	TRY(fcntl(fd, F_GET_SEALS));
	TRY(fcntl(fd, F_GETPIPE_SZ));
	TRY(fcntl(fd, F_DUPFD, -1));
	TRY(fcntl(fd, F_DUPFD, 1 << 30));
	close(fd);
}

static void other_kinds(int (*make)(int *))
{
	int slot, fd = make(&slot);
	struct stat st;

	TRY(fstat(fd, &st));
	say("is a socket: %d", S_ISSOCK(st.st_mode));
	TRY(isatty(fd));
	TRY(lseek(fd, 0, SEEK_CUR));
	TRY(pread(fd, buf, 1, 0));
	TRY(pwrite(fd, buf, 1, 0));
	TRY(ftruncate(fd, 0));
	TRY(fsync(fd));
	TRY(ioctl(fd, 0x5678, buf));
	TRY(ioctl(fd, TIOCGWINSZ, buf));
	TRY(ioctl(fd, FIOQSIZE, buf));
	TRY(fchmod(fd, 0600) == 0);
	close(fd);
}

static void ranges(int (*make)(int *))
{
	int slot, fd = make(&slot), a = dup2(fd, 120), b = dup2(fd, 121), c = dup2(fd, 122);

	TRY(close_range(121, 121, 0));
	TRY(fcntl(121, F_GETFD));
	TRY(close_range(120, 140, CLOSE_RANGE_CLOEXEC));
	say("close-on-exec: %d %d %d", fcntl(a, F_GETFD), fcntl(b, F_GETFD), fcntl(c, F_GETFD));
	TRY(send(a, "a", 1, 0));
	TRY(close_range(120, 140, 0));
	TRY(send(a, "a", 1, 0));
	TRY(close_range(140, 120, 0));
	TRY(close_range(120, 140, 0x100));
	TRY(send(fd, "b", 1, 0));
	say("peer got: %ld", peer("recv %d 2", slot));
	TRY(syscall(SYS_close, fd));
	say("peer at end: %ld", peer("take %d", slot));
	TRY(syscall(SYS_close, fd));
}

/* A child has the connection as well: it ends with the last of the two. */
static void forked(int (*make)(int *))
{
	int slot, fd = make(&slot), status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(send(fd, "abc", 3, 0) == 3 && recv(fd, buf, 3, 0) == 3 ? 7 : 1);
	say("peer got: %ld", peer("recv %d 3", slot));
	peer("send %d 3", slot);
	waitpid(pid, &status, 0);
	say("child: %d", WEXITSTATUS(status));
	TRY(send(fd, "def", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		usleep(200000);
		_exit(send(fd, "ghi", 3, 0) == 3 ? 7 : 1);
	}
	TRY(close(fd));
	say("peer got: %ld", peer("recv %d 3", slot));
	say("peer at end: %ld", peer("take %d", slot));
	waitpid(pid, &status, 0);
	say("child: %d", WEXITSTATUS(status));
}

/* ---- all numbers but those of the connection and the like, as programs do it that want to have nothing open ---- */

/* Numbers from 3 on that are not closed: the connection's, and the peer's control. */
static bool kept(int n, int fd)
{
	return n == fd || n == o.control;
}

/* The peer wants the alphabet, and sends it. */
static void talks(const char *after, int fd, int slot, const char *text)
{
	ssize_t sent = send(fd, text, 3, 0);

	say("after %s: sent %zd, peer got %ld", after, sent, sent == 3 ? peer("recv %d 3", slot) : -1);
	peer("send %d 3", slot);
	GET(recv(fd, buf, 3, MSG_WAITALL), buf);
}

/* What lies between 3, the two that are kept, and the end. */
static int close_others(int fd, int flags)
{
	unsigned low = (unsigned)(fd < o.control ? fd : o.control), high = (unsigned)(fd < o.control ? o.control : fd);

	return (low > 3 ? close_range(3, low - 1, flags) : 0) | (high > low + 1 ? close_range(low + 1, high - 1, flags) : 0) |
	       close_range(high + 1, ~0u, flags);
}

/* How many of the numbers up to LAST could be closed; daemons go over all there may be. */
#define LAST 1100
static int close_one_by_one(int fd)
{
	int n = 0, others = 0;

	for (int i = 3; i <= LAST; i++)
		if (!kept(i, fd)) {
			if (!close(i))
				n++;
			else if (errno != EBADF)
				others++;
		}
	return others ? -others : n;
}

/* Every number up to LAST becomes /dev/null, but for a driver's (EBUSY; README, Limits), of which there are none without a
 * port; how many. */
static int take_all(int fd)
{
	int null = open("/dev/null", O_RDWR), wrong = 0, taken = 1, busy = 0;
	struct stat st, is;

	fstat(null, &is);
	for (int i = 3; i <= LAST; i++) {
		if (kept(i, fd) || i == null)
			continue;
		if (dup2(null, i) == i && !fstat(i, &st) && st.st_ino == is.st_ino)
			taken++;
		else if (errno == EBUSY && !one_host())
			busy++;
		else
			wrong++;
	}
	say("%d numbers, %d of them could not be had; a driver's are some: %d", taken + wrong + busy, wrong, busy < 20);
	return taken;
}

/* The connection talks after each of the ways to have nothing else. */
static void everything_else(int (*make)(int *))
{
	int slot, fd = make(&slot), status = -1, taken;
	pid_t pid;

	TRY(close_others(fd, CLOSE_RANGE_CLOEXEC));
	TRY(close_others(fd, 0));
	talks("close_range", fd, slot, "abc");
	TRY(close_one_by_one(fd));
	talks("close", fd, slot, "def");
	taken = take_all(fd);
	talks("dup2", fd, slot, "ghi");
	say("closed as many: %d", close_one_by_one(fd) == taken);
	talks("close again", fd, slot, "jkl");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		closefrom((fd < o.control ? o.control : fd) + 1);
		_exit(send(fd, "mno", 3, 0) == 3 && recv(fd, buf, 3, 0) == 3 && send(fd, "pqr", 3, 0) == 3 ? 7 : 1);
	}
	say("peer got: %ld", peer("recv %d 3", slot));
	peer("send %d 3", slot);
	say("peer got: %ld", peer("recv %d 3", slot));
	waitpid(pid, &status, 0);
	say("child after closefrom: %d", WEXITSTATUS(status));
	talks("all", fd, slot, "stu");
	close(fd);
	say("peer at end: %ld", peer("take %d", slot));
}

void t_fd(void)
{
	for (unsigned i = 0; i < COUNT(ways); i++) {
		say("-- %s", ways[i].name);
		dups(ways[i].make);
		last_close(ways[i].make);
		flags(ways[i].make);
		other_kinds(ways[i].make);
		ranges(ways[i].make);
		forked(ways[i].make);
		everything_else(ways[i].make);
	}
}
