/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions by their other names, which libc exports and old or generated code calls, on a connection: they are the same
 * functions. And those that write text to a descriptor without a stream.
 */
#include <stdarg.h>
#include <sys/pidfd.h>

#include "oracle.h"

static char buf[64];

/* No header declares these any more, or only where a program is fortified. */
ssize_t __read(int fd, void *to, size_t n);
ssize_t __write(int fd, const void *from, size_t n);
ssize_t __send(int fd, const void *from, size_t n, int flags);
int __connect(int fd, const struct sockaddr *addr, socklen_t len);
int __close(int fd);
int __dup2(int from, int to);
int __fcntl(int fd, int cmd, ...);
int __poll(struct pollfd *fds, nfds_t n, int ms);
int __select(int n, fd_set *rd, fd_set *wr, fd_set *ex, struct timeval *tv);
pid_t __fork(void);
pid_t __vfork(void) __attribute__((returns_twice));
int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
void (*bsd_signal(int sig, void (*handler)(int)))(int);
void (*ssignal(int sig, void (*handler)(int)))(int);
void (*sysv_signal(int sig, void (*handler)(int)))(int);
int __dprintf_chk(int fd, int flag, const char *format, ...);
int __vdprintf_chk(int fd, int flag, const char *format, va_list ap);
/* sigvec() is for programs from before glibc 2.21: only its old version is there. */
struct old_vec {
	void (*handler)(int);
	int mask, flags;
};
int old_sigvec(int sig, const struct old_vec *vec, struct old_vec *old);
__asm__(".symver old_sigvec, sigvec@GLIBC_2.2.5");

/* ---- a connection by underscored names alone ---- */

static void select_names(int fd, const char *when)
{
	struct timeval now = { 0, 0 };
	fd_set rd, wr;
	int n;

	FD_ZERO(&rd);
	FD_ZERO(&wr);
	FD_SET(fd, &rd);
	FD_SET(fd, &wr);
	n = __select(fd + 1, &rd, &wr, NULL, &now);
	say("%s: __select %d, readable %d, writable %d", when, n, !!FD_ISSET(fd, &rd), !!FD_ISSET(fd, &wr));
}

static void underscored(void)
{
	struct sockaddr_in sin = addr_of(o.peer, (int)peer("listen"));
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), slot;
	struct pollfd p = { .fd = fd, .events = POLLIN };

	TRY(__connect(fd, (struct sockaddr *)&sin, sizeof(sin)));
	TRY(__connect(fd, (struct sockaddr *)&sin, sizeof(sin)));
	slot = (int)peer("accept");
	TRY(__write(fd, "abc", 3));
	TRY(__send(fd, "de", 2, 0));
	say("peer got: %ld", peer("recv %d 5", slot));
	TRY(__poll(&p, 1, 0));
	select_names(fd, "idle");
	peer("send %d 3", slot);
	TRY(__poll(&p, 1, 3000));
	select_names(fd, "three bytes");
	GET(__read(fd, buf, 2), buf);
	TRY(__fcntl(fd, F_SETFL, O_NONBLOCK));
	say("flags %x", __fcntl(fd, F_GETFL));
	GET(__read(fd, buf, 2), buf);
	GET(__read(fd, buf, 2), buf);
	TRY(__dup2(fd, 70));
	TRY(__close(fd));
	TRY(__write(70, "f", 1));
	say("peer got: %ld", peer("recv %d 1", slot));
	TRY(__dup2(fd, 71));
	TRY(__close(fd));
	TRY(__close(70));
	say("peer at end: %ld", peer("take %d", slot));
}

/* ---- text ---- */

__attribute__((format(printf, 2, 3))) static int by_list(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = vdprintf(fd, format, ap);
	va_end(ap);
	return n;
}

__attribute__((format(printf, 2, 3))) static int by_list_chk(int fd, const char *format, ...)
{
	va_list ap;
	int n;

	va_start(ap, format);
	n = __vdprintf_chk(fd, 1, format, ap);
	va_end(ap);
	return n;
}

static void text(int (*make)(int *))
{
	int slot, fd = make(&slot);
	FILE *f;

	TRY(dprintf(fd, "%s", "abc"));
	TRY(__dprintf_chk(fd, 1, "%c%s", 'd', "ef"));
	TRY(by_list(fd, "%s", "gh"));
	TRY(by_list_chk(fd, "%s%c", "ij", 'k'));
	say("peer got: %ld", peer("recv %d 11", slot));
	f = fdopen(fd, "r+");
	say("fdopen: %d", f != NULL);
	TRY(fputs("lm", f) >= 0);
	TRY(fflush(f));
	say("peer got: %ld", peer("recv %d 2", slot));
	TRY(fclose(f));
	say("peer at end: %ld", peer("take %d", slot));
	TRY(dprintf(fd, "n"));
	TRY(by_list_chk(fd, "n"));
}

/* ---- children ---- */

static void ends(const char *name, pid_t pid)
{
	int status = -1;

	if (waitpid(pid, &status, 0) != pid)
		say("%s: no child: %s", name, error_name(errno));
	else
		say("%s: child exits with %d", name, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static int talks(int fd)
{
	char in[4] = "";

	if (__write(fd, "abc", 3) != 3 || recv(fd, in, 3, MSG_WAITALL) != 3)
		return 50;
	return in[0] == 'a' && in[2] == 'c' ? 4 : 51;
}

static void goes_on(int fd, int slot)
{
	say("peer got: %ld", peer("recv %d 3", slot));
	TRY(__send(fd, "defg", 4, 0));
	say("peer got: %ld", peer("recv %d 4", slot));
	TRY(__close(fd));
	say("peer at end: %ld", peer("take %d", slot));
}

static void children(int (*make)(int *))
{
	int slot, fd = make(&slot);
	pid_t pid;

	fflush(stdout);
	peer("send %d 3", slot);
	pid = __fork();
	if (!pid)
		_exit(talks(fd));
	ends("__fork", pid);
	goes_on(fd, slot);
	fd = make(&slot);
	peer("send %d 3", slot);
	pid = __vfork();
	if (!pid)
		_exit(talks(fd));
	ends("__vfork", pid);
	goes_on(fd, slot);
}

/* ---- handlers: who restarts, who is there once ---- */

static volatile sig_atomic_t handled;
static int answer_on = -1;

static void count(int sig)
{
	handled++;
	if (answer_on >= 0)
		__send(answer_on, "x", 1, 0);
}

static int set_by_sigaction(int sig)
{
	struct sigaction act = { .sa_handler = count }, old;

	return __sigaction(sig, &act, &old) || __sigaction(sig, NULL, &old) || old.sa_handler != count;
}

static int set_by_bsd(int sig)
{
	return bsd_signal(sig, count) == SIG_ERR || bsd_signal(sig, count) != count;
}

static int set_by_ssignal(int sig)
{
	return ssignal(sig, count) == SIG_ERR || ssignal(sig, count) != count;
}

static int set_by_sysv(int sig)
{
	return sysv_signal(sig, count) == SIG_ERR || sysv_signal(sig, count) != count;
}

static int set_by_sysv_too(int sig)
{
	return __sysv_signal(sig, count) == SIG_ERR || __sysv_signal(sig, count) != count;
}

static int set_by_vec(int sig)
{
	struct old_vec vec = { .handler = count }, old;

	return old_sigvec(sig, &vec, &old) || old_sigvec(sig, NULL, &old) || old.handler != count;
}

static int set_by_vec_interrupt(int sig)
{
	struct old_vec vec = { .handler = count, .flags = 2 };	/* SV_INTERRUPT */

	return old_sigvec(sig, &vec, NULL);
}

static const struct {
	const char *name;
	int (*set)(int sig);
	bool once, restarts;
} setters[] = {
	{ "__sigaction", set_by_sigaction, false, false }, { "bsd_signal", set_by_bsd, false, true },
	{ "ssignal", set_by_ssignal, false, true },	   { "sysv_signal", set_by_sysv, true, false },
	{ "__sysv_signal", set_by_sysv_too, true, false }, { "sigvec", set_by_vec, false, true },
	{ "sigvec SV_INTERRUPT", set_by_vec_interrupt, false, false },
};

/* The handler writes to the connection on which the call waits that it interrupts. The child stays until the handler has
 * run: its end would be one more thing to wake up for. */
static void handler(unsigned i, int fd, int slot)
{
	struct sigaction old;
	int told[2];
	pid_t pid;

	handled = 0;
	say("%s: set %d", setters[i].name, setters[i].set(SIGUSR1));
	answer_on = fd;
	fflush(stdout);
	if (pipe(told))
		return;
	pid = fork();
	if (!pid) {
		until_asleep(getppid());
		kill(getppid(), SIGUSR1);
		(void)!write(told[1], "x", 1);
		for (;;)
			pause();
	}
	if (setters[i].restarts)
		peer("later 200 send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	while (read(told[0], buf, 1) < 0)
		;
	answer_on = -1;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	close(told[0]);
	close(told[1]);
	__sigaction(SIGUSR1, NULL, &old);
	say("handled %d, still there %d", handled, old.sa_handler == count);
	say("peer has: %ld", peer("take %d", slot));
	if (setters[i].once != (old.sa_handler == SIG_DFL))
		say("%s", setters[i].once ? "it was to be there once" : "it was to stay");
}

static void handlers(void)
{
	int slot, fd = connect_out(&slot);

	for (unsigned i = 0; i < COUNT(setters); i++)
		handler(i, fd, slot);
	close(fd);
}

/* ---- a number taken out of the own process; calls for other kinds of files ---- */

static void taken(int (*make)(int *))
{
	int slot, fd = make(&slot), me = pidfd_open(getpid(), 0), more;

	more = pidfd_getfd(me, fd, 0);
	say("pidfd_getfd: %d, close-on-exec %d", more > fd, fcntl(more, F_GETFD));
	close(fd);
	TRY(__write(more, "abc", 3));
	say("peer got: %ld", peer("recv %d 3", slot));
	TRY(pidfd_getfd(me, fd, 0));
	TRY(pidfd_getfd(me, more, 1));
	TRY(pidfd_getfd(more, more, 0));
	close(more);
	close(me);
	say("peer at end: %ld", peer("take %d", slot));
}

static void other_kinds(int (*make)(int *))
{
	int slot, fd = make(&slot), pair[2], file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct iovec iov = { "abc", 3 };

	if (pipe(pair))
		return;
	TRY(copy_file_range(file, NULL, fd, NULL, 10, 0));
	TRY(copy_file_range(fd, NULL, file, NULL, 10, 0));
	TRY(tee(fd, pair[1], 10, 0));
	TRY(tee(pair[0], fd, 10, SPLICE_F_NONBLOCK));
	TRY(vmsplice(fd, &iov, 1, 0));
	TRY(__send(fd, "abc", 3, 0));
	say("peer got: %ld", peer("recv %d 3", slot));
	close(pair[0]);
	close(pair[1]);
	close(file);
	close(fd);
	say("peer at end: %ld", peer("take %d", slot));
}

void t_names(void)
{
	underscored();
	for (unsigned i = 0; i < COUNT(ways); i++) {
		say("-- %s", ways[i].name);
		text(ways[i].make);
		children(ways[i].make);
		taken(ways[i].make);
		other_kinds(ways[i].make);
	}
	handlers();
}
