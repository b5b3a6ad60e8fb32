/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How handlers are set, read back and called, when the library has them behind its own; and handlers that close, fork, wait
 * or end the process while their thread waits in the library.
 */
#include <dlfcn.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <ucontext.h>

#include "oracle.h"

static char buf[4096];
static volatile sig_atomic_t calls, depth, deepest;
static volatile int handler_fd;
static void *volatile guarded;
static sigjmp_buf back, deep_back;

static void first(int sig) { calls++; }
static void second(int sig) { calls++; }
static void leaves(int sig);

static const char *name_of_handler(void (*handler)(int))
{
	return handler == SIG_DFL ? "SIG_DFL" : handler == SIG_IGN ? "SIG_IGN" : handler == SIG_ERR ? "SIG_ERR" :
	       handler == SIG_HOLD ? "SIG_HOLD" : handler == leaves ? "leaves" : handler == first ? "first" : handler == second ? "second" : "somebody's";
}

/* What sigaction() says of sig. */
static void is_set(const char *by, int sig)
{
	struct sigaction act;

	if (sigaction(sig, NULL, &act))
		return;
	say("%s: %s, flags %x, blocks SIGUSR2: %d", by, name_of_handler(act.sa_handler), (unsigned)act.sa_flags,
	    sigismember(&act.sa_mask, SIGUSR2));
}

static void set(int sig, void (*handler)(int), int flags)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = flags }, old;

	sigaddset(&act.sa_mask, SIGUSR2);
	if (!sigaction(sig, &act, &old))
		say("was %s, flags %x", name_of_handler(old.sa_handler), (unsigned)old.sa_flags);
	is_set("sigaction", sig);
}

typedef void handler(int);

/* 4.3BSD's: libc has it for programs linked long ago. */
struct bsd_vec {
	handler *handler;
	int mask, flags;
};

extern int old_sigvec(int sig, const struct bsd_vec *vec, struct bsd_vec *old);
__asm__(".symver old_sigvec, sigvec@GLIBC_2.2.5");

static void sigvec_is(int flags)
{
	struct bsd_vec vec = { second, 0, flags }, old = { SIG_ERR, -1, -1 };
	int ret = old_sigvec(SIGUSR1, &vec, &old);

	say("sigvec: %d, was %s, flags %x", ret, name_of_handler(old.handler), (unsigned)old.flags);
	is_set("sigvec", SIGUSR1);
}

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static void old_ways(void)
{
	static const char *const names[] = { "signal", "bsd_signal", "ssignal", "sysv_signal", "__sysv_signal", "sigset" };

	for (unsigned i = 0; i < COUNT(names); i++) {
		handler *(*f)(int, handler *) = dlsym(RTLD_DEFAULT, names[i]);

		set(SIGUSR1, first, SA_RESTART);
		if (!f) {
			say("%s is not there", names[i]);
			continue;
		}
		say("%s: was %s", names[i], name_of_handler(f(SIGUSR1, second)));
		is_set(names[i], SIGUSR1);
		say("%s: was %s", names[i], name_of_handler(f(SIGUSR1, SIG_IGN)));
		say("%s: was %s", names[i], name_of_handler(f(SIGUSR1, SIG_DFL)));
		say("%s: was %s", names[i], name_of_handler(f(SIGUSR1, first)));
		raise(SIGUSR1);
		is_set("after one", SIGUSR1);
		say("%s: SIGKILL %s, 99 %s", names[i], name_of_handler(f(SIGKILL, first)), name_of_handler(f(99, first)));
	}
	set(SIGUSR1, first, SA_RESTART);
	TRY(siginterrupt(SIGUSR1, 1));
	is_set("siginterrupt on", SIGUSR1);
	TRY(siginterrupt(SIGUSR1, 0));
	is_set("siginterrupt off", SIGUSR1);
	TRY(sigignore(SIGUSR1));
	is_set("sigignore", SIGUSR1);
	set(SIGUSR1, first, 0);
	say("sigset: was %s", name_of_handler(sigset(SIGUSR1, SIG_HOLD)));
	say("sigset: was %s", name_of_handler(sigset(SIGUSR1, second)));
	sigvec_is(0);
	sigvec_is(2);
	sigvec_is(4);
	signal(SIGUSR1, SIG_DFL);
}

/* Faults are the program's own. */
static void fault(int sig, siginfo_t *info, void *context)
{
	say("fault %d at the page: %d", sig, info->si_addr == guarded);
	siglongjmp(deep_back, 1);
}

static void faults(void)
{
	struct sigaction act = { .sa_sigaction = fault, .sa_flags = SA_SIGINFO }, old;
	char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	guarded = page;
	TRY(sigaction(SIGSEGV, &act, &old));
	say("SIGSEGV was %s", name_of_handler(old.sa_handler));
	TRY(sigaction(SIGSEGV, NULL, &old));
	say("SIGSEGV is ours: %d, flags %x", old.sa_sigaction == fault, (unsigned)old.sa_flags);
	for (volatile int i = 0; i < 3; i++)
		if (!sigsetjmp(deep_back, 1))
			*(volatile char *)page = 1;
	say("SIGSEGV: %s", (uintptr_t)signal(SIGSEGV, SIG_DFL) == (uintptr_t)fault ? "ours" : "not ours");
	munmap(page, 4096);
	/* what nobody has ever set ends a process, sent or not */
	say("SIGBUS was %s", name_of_handler(signal(SIGBUS, SIG_DFL)));
	for (int sig = SIGILL; sig <= SIGFPE; sig += SIGFPE - SIGILL) {
		int status = 0;
		pid_t pid = fork();

		if (!pid) {
			raise(sig);
			_exit(1);
		}
		waitpid(pid, &status, 0);
		say("signal %d ends a process: %d", sig, WIFSIGNALED(status) && WTERMSIG(status) == sig);
	}
}

static void leaves(int sig)
{
	calls++;
	siglongjmp(deep_back, 1);
}

static void divide_by_zero(void)
{
	volatile int zero = 0, something = 7;	/* a compiler knows what a constant divided by a number can be */

	something /= zero;
}

/* Memory behind the end of its file. */
static void behind_the_end(void)
{
	int file = memfd_create("empty", MFD_CLOEXEC);
	volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);

	close(file);
	(void)*page;
}

static void break_point(void) { __asm__ volatile("int3"); }
static void no_instruction(void) { __asm__ volatile("ud2"); }

/* What a processor may raise, made so and by raise(): the handler is left each time. */
static const struct {
	int sig;
	const char *name;
	void (*make)(void);
} faulty[] = {
	{ SIGTRAP, "SIGTRAP", break_point }, { SIGSYS, "SIGSYS", NULL }, { SIGFPE, "SIGFPE", divide_by_zero },
	{ SIGILL, "SIGILL", no_instruction }, { SIGBUS, "SIGBUS", behind_the_end },
};

static void left_by_faults(void)
{
	int slot, fd = connect_out(&slot);

	for (volatile unsigned i = 0; i < COUNT(faulty); i++) {
		int sig = faulty[i].sig;

		calls = 0;
		signal(sig, leaves);
		for (volatile int k = 0; k < 3; k++) {
			if (!sigsetjmp(deep_back, 1))
				raise(sig);
			if (faulty[i].make && !sigsetjmp(deep_back, 1))
				faulty[i].make();
		}
		say("%s: %s, handler left %d times", faulty[i].name,
		    signal(sig, SIG_DFL) == leaves ? "ours" : "not ours", (int)calls);
		send(fd, &"abcdefghijklmno"[3 * i], 3, 0);
		say("peer has %ld", peer("recv %d 3", slot));
		peer("send %d 3", slot);
		GET(recv(fd, buf, 10, 0), buf);
	}
	close(fd);
	say("peer sees the end: %ld", peer("take %d", slot));
}

/* ---- what a handler sees, when it has waited for the end of a call ---- */

static volatile struct seen {
	int code, value, own_pid, blocked, context_blocked, itself_blocked, on_stack;
} seen;
static char *alt_stack;

static void look(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	sigset_t now;

	calls++;
	sigprocmask(SIG_BLOCK, NULL, &now);
	seen.code = info->si_code;
	seen.value = info->si_code == SI_QUEUE ? info->si_value.sival_int : 0;
	seen.own_pid = info->si_code != SI_TIMER && info->si_pid == getpid();
	seen.blocked = sigismember(&now, SIGUSR2);
	seen.itself_blocked = sigismember(&now, sig);
	seen.context_blocked = sigismember(&uc->uc_sigmask, SIGUSR2);
	seen.on_stack = (char *)&now >= alt_stack && (char *)&now < alt_stack + SIGSTKSZ;
}

/* A child signals the parent when that waits, or by and by while it does not. */
static pid_t signaller(int sig, int value, bool queued)
{
	pid_t pid = fork(), to = getppid();

	if (pid)
		return pid;
	usleep(20000);
	if (queued)
		sigqueue(to, sig, (union sigval){ .sival_int = value });
	else
		kill(to, sig);
	_exit(0);
}

static void waits_for(int fd, int sig, int flags, const char *what)
{
	struct sigaction act = { .sa_sigaction = look, .sa_flags = SA_SIGINFO | flags };
	pid_t pid;

	sigaddset(&act.sa_mask, SIGUSR2);
	sigaction(sig, &act, NULL);
	memset((void *)&seen, 0, sizeof(seen));
	calls = 0;
	pid = signaller(sig, 77, true);
	TRY(recv(fd, buf, 1, 0));
	waitpid(pid, NULL, 0);
	say("%s: %d calls, code %d, value %d, from us %d, SIGUSR2 blocked %d, before %d, itself blocked %d, on its stack %d",
	    what, (int)calls, seen.code, seen.value, seen.own_pid, seen.blocked, seen.context_blocked, seen.itself_blocked,
	    seen.on_stack);
	is_set(what, sig);
	signal(sig, SIG_DFL);
}

static void flags_of_handlers(void)
{
	int slot, fd = connect_out(&slot);
	stack_t stack = { .ss_size = SIGSTKSZ }, old;

	stack.ss_sp = alt_stack = malloc(stack.ss_size);
	sigaltstack(&stack, &old);
	waits_for(fd, SIGUSR1, 0, "plain");
	waits_for(fd, SIGUSR1, SA_NODEFER, "SA_NODEFER");
	waits_for(fd, SIGUSR1, SA_ONSTACK, "SA_ONSTACK");
	waits_for(fd, SIGUSR1, (int)SA_RESETHAND, "SA_RESETHAND");
	waits_for(fd, SIGUSR1, (int)SA_RESETHAND | SA_NODEFER | SA_ONSTACK, "all three");
	waits_for(fd, SIGTRAP, 0, "SIGTRAP");
	waits_for(fd, SIGSEGV, SA_ONSTACK, "SIGSEGV, SA_ONSTACK");
	waits_for(fd, SIGFPE, (int)SA_RESETHAND, "SIGFPE, SA_RESETHAND");
	sigaltstack(&old, NULL);
	free(alt_stack);
	close(fd);
}

/* The signal of a fault that somebody sends waits for the end of the call, as every other: its handler may leave for good. */
static void left_by_sent_faults(void)
{
	static const int sigs[] = { SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS };
	int slot, fd = connect_out(&slot);

	for (volatile unsigned i = 0; i < COUNT(sigs); i++)
		for (volatile int k = 0; k < 4; k++) {
			pid_t pid;

			if (k < 2)
				sigaction(sigs[i], &(struct sigaction){ .sa_handler = leaves, .sa_flags = k ? SA_RESTART : 0 }, NULL);
			else
				signal(sigs[i], leaves);
			is_set("to be left", sigs[i]);
			calls = 0;
			pid = signaller(sigs[i], 0, k == 3);
			if (!sigsetjmp(deep_back, 1))
				recv(fd, buf, 1, 0);
			waitpid(pid, NULL, 0);
			say("signal %d, sent and left: %d", sigs[i], (int)calls);
			signal(sigs[i], SIG_DFL);
			send(fd, &"abcd"[k], 1, 0);
			say("peer has %ld", peer("recv %d 1", slot));
		}
	peer("send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	close(fd);
	say("peer sees the end: %ld", peer("take %d", slot));
}

static void again(int sig)
{
	calls++;
	if (++depth > deepest)
		deepest = depth;
	if (calls < 4)
		raise(sig);
	send(handler_fd, &"abcd"[4 - depth], 1, MSG_DONTWAIT);
	depth--;
}

/* A handler without its signal blocked, which comes again in it. */
static void nested(int flags)
{
	int slot, fd = connect_out(&slot);
	pid_t pid;

	handler_fd = fd;
	calls = depth = deepest = 0;
	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = again, .sa_flags = flags }, NULL);
	pid = signaller(SIGUSR1, 0, false);
	TRY(recv(fd, buf, 1, 0));
	waitpid(pid, NULL, 0);
	say("nested, flags %x: %d calls, %d deep", (unsigned)flags, (int)calls, (int)deepest);
	say("peer has %ld", peer("recv %d 4", slot));
	signal(SIGUSR1, SIG_DFL);
	close(fd);
}

/* ---- what a handler does ---- */

static void close_it(int sig)
{
	calls++;
	close(handler_fd);
}

static void closes(int flags)
{
	int slot, fd = handler_fd = connect_out(&slot);
	pid_t pid;

	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = close_it, .sa_flags = flags }, NULL);
	calls = 0;
	pid = signaller(SIGUSR1, 0, false);
	TRY(recv(fd, buf, 1, 0));
	say("closed by the handler, flags %x: %d", (unsigned)flags, (int)calls);
	waitpid(pid, NULL, 0);
	say("peer sees the end: %ld", peer("take %d", slot));
	signal(SIGUSR1, SIG_DFL);
}

static void fork_it(int sig)
{
	pid_t pid = fork();

	calls++;
	if (!pid) {
		send(handler_fd, "abcde", 5, 0);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* As inetd's child would: another program gets the connection on its standard output. */
static void exec_it(int sig)
{
	pid_t pid = fork();

	calls++;
	if (!pid) {
		dup2(handler_fd, STDOUT_FILENO);
		execl("/bin/sh", "sh", "-c", "printf abcd", NULL);
		_exit(1);
	}
	waitpid(pid, NULL, 0);
}

/* A connection whose recv() is restarted around a handler that starts a process; the peer reads n bytes of that one's. */
static int started_by(void (*act)(int), const char *what, int ms, int n, int *slot)
{
	int fd = handler_fd = connect_out(slot);
	pid_t pid;

	sigaction(SIGUSR1, &(struct sigaction){ .sa_handler = act, .sa_flags = SA_RESTART }, NULL);
	calls = 0;
	pid = signaller(SIGUSR1, 0, false);
	peer("later %d send %d 3", ms, *slot);
	GET(recv(fd, buf, 10, 0), buf);
	say("%s by the handler: %d", what, (int)calls);
	say("peer has %ld", peer("recv %d %d", *slot, n));
	waitpid(pid, NULL, 0);
	signal(SIGUSR1, SIG_DFL);
	return fd;
}

static void executes(void)
{
	int slot, fd = started_by(exec_it, "executed", 500, 4, &slot);

	TRY(send(fd, "efgh", 4, 0));
	say("peer has %ld", peer("recv %d 4", slot));
	close(fd);
	say("peer sees the end: %ld", peer("take %d", slot));
}

/* SIGCHLD's handler is postgres' of old. */
static void forks(void)
{
	int slot;

	close(started_by(fork_it, "forked", 150, 5, &slot));
}

static void exit_it(int sig)
{
	send(handler_fd, "abcd", 4, 0);
	_exit(7);
}

static void quick_exit_it(int sig)
{
	send(handler_fd, "abcd", 4, 0);
	quick_exit(8);
}

/* The process ends in a handler that came while it waited: its bytes and its end arrive. */
static void ends(handler *how, const char *what)
{
	int slot, fd = handler_fd = connect_out(&slot), status = 0;
	pid_t pid = fork();

	if (!pid) {
		signal(SIGALRM, how);
		ualarm(20000, 0);
		for (;;)
			recv(fd, buf, 1, 0);
	}
	close(fd);
	say("peer has %ld", peer("recv %d 4", slot));
	say("peer sees the end: %ld", peer("take %d", slot));
	waitpid(pid, &status, 0);
	say("%s: exited %d with %d", what, WIFEXITED(status), WEXITSTATUS(status));
}

static void jump_deep(int sig)
{
	siglongjmp(back, 1);
}

/* The handler waits in the library itself; a second signal's leaves both. */
static void wait_it(int sig)
{
	calls++;
	ualarm(20000, 0);
	recv(handler_fd, buf, 1, 0);
	say("a handler's wait ended by itself");
}

static void jumps_out_of_two(void)
{
	int slot, fd = handler_fd = connect_out(&slot);

	signal(SIGALRM, jump_deep);
	for (volatile int i = 0; i < 10; i++) {
		pid_t pid;

		signal(SIGUSR1, wait_it);
		calls = 0;
		pid = signaller(SIGUSR1, 0, false);
		if (!sigsetjmp(back, 1))
			recv(fd, buf, 1, 0);
		waitpid(pid, NULL, 0);
		if (calls != 1)
			say("%d calls", (int)calls);
	}
	signal(SIGALRM, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	peer("send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	close(fd);
	say("peer sees the end: %ld", peer("take %d", slot));
}

/* ---- signals that are taken without a handler ---- */

static void taken(void)
{
	int slot, fd = connect_out(&slot), sfd, ep = epoll_create1(EPOLL_CLOEXEC);
	struct signalfd_siginfo si;
	struct epoll_event ev[2];
	sigset_t usr1, pending;
	siginfo_t info;
	pid_t pid;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	sfd = signalfd(-1, &usr1, SFD_CLOEXEC | SFD_NONBLOCK);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN, .data.u32 = 1 });
	epoll_ctl(ep, EPOLL_CTL_ADD, sfd, &(struct epoll_event){ .events = EPOLLIN, .data.u32 = 2 });
	pid = signaller(SIGUSR1, 5, true);
	TRY(epoll_wait(ep, ev, 2, 1000));
	say("it is %u", ev[0].data.u32);
	TRY(read(sfd, &si, sizeof(si)));
	say("signal %u, value %d", si.ssi_signo, si.ssi_int);
	waitpid(pid, NULL, 0);
	pid = signaller(SIGUSR1, 6, true);
	TRY(poll((struct pollfd[]){ { .fd = fd, .events = POLLIN }, { .fd = sfd, .events = POLLIN } }, 2, 1000));
	TRY(sigtimedwait(&usr1, &info, &(struct timespec){ 1, 0 }));
	say("value %d", info.si_value.sival_int);
	waitpid(pid, NULL, 0);
	raise(SIGUSR1);
	peer("later 20 send %d 3", slot);
	GET(recv(fd, buf, 10, 0), buf);
	sigpending(&pending);
	say("still pending: %d", sigismember(&pending, SIGUSR1));
	TRY(sigwaitinfo(&usr1, &info));
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	close(sfd);
	close(ep);
	close(fd);
}

void t_handler(void)
{
	int slot, fd = connect_out(&slot);	/* from here on the library has handlers behind its own */

	old_ways();
	faults();
	left_by_faults();
	left_by_sent_faults();
	flags_of_handlers();
	nested(0);
	nested(SA_NODEFER);
	closes(0);
	closes(SA_RESTART);
	forks();
	executes();
	ends(exit_it, "_exit");
	ends(quick_exit_it, "quick_exit");
	jumps_out_of_two();
	taken();
	close(fd);
}
