/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Actors: threads of the subject and one forked child, each of which makes the call it is given. A call that does not
 * come back is blocked when its task sleeps, sample after sample; calls with a time of their own are waited for. What
 * the actors and the subject's main thread share lies in memory that fork shares.
 */
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "seq.h"

#define SAMPLE_NS	1000000
#define SAMPLES		3	/* a task that sleeps so often in a row waits for something that is to come */
#define HANG_MS		8000
#define STAT_FD		500	/* out of the way: numbers of the scripts' descriptors are compared */

struct actor {
	sem_t go, done;
	struct op op;
	int line;
	struct result result;
	_Atomic(int) pid, tid;
	_Atomic(bool) timed;	/* the call ends by a time-out of its own */
	bool alive, busy, blocked;
	int stat_fd;
	char *buf;
};

static struct actor *actors;
static struct world world;
static int handles[HANDLES];
static bool timeouts;		/* the script has set some */
__thread volatile int sigpipes;

/* ---- the actor's side ---- */

/* Is it a call that ends by itself, however long it sleeps: by its own time-out, or when the child has begun? */
static bool is_timed(const struct op *op)
{
	static const int names[] = { SO_RCVTIMEO, SO_SNDTIMEO };
	const char *args = verbs[op->verb].args, *ms = strrchr(args, 'n');

	if (op->verb == V_poll || op->verb == V_select || op->verb == V_pollmany || op->verb == V_epwait ||
	    op->verb == V_epmax || op->verb == V_eppwait)
		return op->arg[ms - args] > 0;
	if (op->verb == V_fork)
		return true;
	for (unsigned i = 0; timeouts && verbs[op->verb].net && i < COUNT(names); i++) {
		struct timeval tv = { 0 };
		socklen_t len = sizeof(tv);

		getsockopt(handles[op->arg[0]], SOL_SOCKET, names[i], &tv, &len);
		if (tv.tv_sec || tv.tv_usec)
			return true;
	}
	return false;
}

static void perform(struct actor *a)
{
	struct world w = world;

	w.line = a->line;
	w.buf = a->buf;
	a->result.ret = a->result.err = 0;
	a->result.detail[0] = 0;
	a->timed = is_timed(&a->op);
	sigpipes = 0;
	verbs[a->op.verb].run(&w, a->op.arg, &a->result);
}

static void serve(struct actor *a)
{
	for (;;) {
		while (sem_wait(&a->go))
			;
		perform(a);
		sem_post(&a->done);
	}
}

static void *thread_main(void *arg)
{
	struct actor *a = arg;

	a->pid = getpid();
	a->tid = (int)syscall(SYS_gettid);
	sem_post(&a->done);
	serve(a);
	return NULL;
}

static void child_main(struct actor *a)
{
	a->pid = a->tid = getpid();
	a->buf = malloc(BUFFER);
	sem_post(&a->done);
	for (;;) {
		while (sem_wait(&a->go))
			;
		if (a->op.verb == V_exit)
			_exit(0);
		perform(a);
		sem_post(&a->done);
	}
}

long actor_fork(void)
{
	struct actor *c = &actors[A_CHILD];
	pid_t pid;

	if (c->alive) {
		errno = EAGAIN;
		return -1;
	}
	pid = fork();
	if (pid == 0)
		child_main(c);
	if (pid < 0)
		return -1;
	c->alive = true;
	while (sem_wait(&c->done))
		;
	return 0;
}

/* ---- the main thread's side ---- */

static void on_signal(int sig)
{
	if (sig == SIGPIPE)
		sigpipes++;
}

static void handlers(void)
{
	struct sigaction sa = { .sa_handler = on_signal };

	sigaction(SIGPIPE, &sa, NULL);
	sigaction(SIGUSR1, &sa, NULL);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGUSR2, &sa, NULL);
}

static void open_stat(struct actor *a)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", a->pid, a->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	a->stat_fd = fcntl(fd, F_DUPFD_CLOEXEC, STAT_FD);
	close(fd);
}

void actors_start(struct world *w)
{
	actors = mmap(NULL, sizeof(*actors) * ACTORS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(handles, -1, sizeof(handles));
	world = *w;
	world.fd = handles;
	handlers();
	for (int i = 0; i < ACTORS; i++) {
		struct actor *a = &actors[i];
		pthread_t thread;

		sem_init(&a->go, 1, 0);
		sem_init(&a->done, 1, 0);
		a->stat_fd = -1;
		if (i == A_CHILD)
			continue;
		a->buf = malloc(BUFFER);
		a->alive = !pthread_create(&thread, NULL, thread_main, a);
		while (sem_wait(&a->done))
			;
		open_stat(a);
	}
}

struct world *actors_world(void)
{
	return &world;
}

bool actor_issue(int actor, const struct op *op, int line)
{
	struct actor *a = &actors[actor];

	if (!a->alive || a->busy)
		return false;
	if (op->verb == V_timeout || op->verb == V_set || op->verb == V_setlen)
		timeouts = true;
	a->op = *op;
	a->line = line;
	a->busy = true;
	a->blocked = false;
	a->timed = false;
	sem_post(&a->go);
	return true;
}

static bool done_within(struct actor *a, long ns)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	ts.tv_nsec += ns;
	ts.tv_sec += ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	while (sem_timedwait(&a->done, &ts))
		if (errno == ETIMEDOUT)
			return false;
	a->busy = a->blocked = false;
	return true;
}

static bool asleep(const struct actor *a)
{
	char text[256], *state;
	ssize_t n = pread(a->stat_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return true;	/* it has died */
	text[n] = 0;
	state = strrchr(text, ')');
	return state && strchr("SZX", state[2]);
}

bool actor_await(int actor)
{
	struct actor *a = &actors[actor];
	int samples = 0;

	for (int ms = 0; ms < HANG_MS; ms++) {
		if (done_within(a, SAMPLE_NS))
			return true;
		samples = asleep(a) ? samples + 1 : 0;
		if (samples >= SAMPLES && !a->timed)
			break;
	}
	a->blocked = true;
	return false;
}

bool actor_settle(int actor)
{
	return actor_await(actor);
}

bool actor_blocked(int actor)
{
	return actors[actor].blocked;
}

const struct result *actor_result(int actor)
{
	return &actors[actor].result;
}

const struct op *actor_op(int actor)
{
	return &actors[actor].op;
}

int actor_line(int actor)
{
	return actors[actor].line;
}

void actor_signal(int actor, int sig)
{
	struct actor *a = &actors[actor];

	if (a->alive)
		syscall(SYS_tgkill, a->pid, a->tid, sig);
}

void actor_watch_child(void)
{
	struct actor *c = &actors[A_CHILD];

	if (c->alive && c->stat_fd < 0)
		open_stat(c);
}

/* The child's end: its wait status, or -1 when it had to be killed. */
int actor_end_child(void)
{
	struct actor *c = &actors[A_CHILD];
	int status = -1;

	if (!c->alive)
		return 0;
	c->op.verb = V_exit;
	sem_post(&c->go);
	for (int i = 0; i < 5000 && waitpid(c->pid, &status, WNOHANG) != c->pid; i++)
		usleep(1000);
	if (status < 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	close(c->stat_fd);
	*c = (struct actor){ .stat_fd = -1 };
	sem_init(&c->go, 1, 0);
	sem_init(&c->done, 1, 0);
	return status;
}

/* A blocked call is interrupted until it comes back. */
bool actor_interrupt(int actor)
{
	struct actor *a = &actors[actor];

	for (int i = 0; i < 50; i++) {
		actor_signal(actor, SIGUSR1);
		if (done_within(a, 100000000))
			return true;
	}
	return false;
}

void actors_forget(void)
{
	for (int i = 0; i < HANDLES; i++) {
		if (handles[i] >= 0)
			close(handles[i]);
		handles[i] = -1;
	}
	timeouts = false;
}
