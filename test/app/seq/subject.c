/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The subject: reads scripts from its standard input, runs them line by line, and writes what it has seen. After a line
 * that may send packets it waits until the network is quiet: markers, datagrams that go to the peer and back, are
 * behind every packet sent before them, and the peer acknowledges at once what it has got when it sees one.
 */
#include <sched.h>

#include "seq.h"

#define MUCH_ROUNDS 10	/* 1,000,000 bytes by pieces of what two small buffers hold */
#define ROUNDS	3	/* a handshake, or bytes held for an ACK and their own ACK, are over after so many */

static struct {
	int control;		/* to the peer: orders and answers */
	int mark;		/* datagrams to the peer's */
	uint32_t number;
	bool slept;		/* an accept in this script */
} s;

void pin(int cpu)
{
	cpu_set_t set;

	/* one CPU sends a process's packets in their order; without it markers could overtake */
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static int dial(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	for (int i = 0; i < 500; i++) {
		if (!connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
			return fd;
		usleep(20000);	/* the peer is about to start */
	}
	perror(path);
	exit(3);
}

static const char *ask(const char *order)
{
	static char answer[2048];
	ssize_t n;

	if (send(s.control, order, strlen(order), 0) < 0 || (n = recv(s.control, answer, sizeof(answer) - 1, 0)) <= 0) {
		fprintf(stderr, "the peer has gone at '%s'\n", order);
		exit(3);
	}
	answer[n] = 0;
	return answer;
}

/* ---- quiet ---- */

static bool round_trip(void)
{
	struct pollfd p = { .fd = s.mark, .events = POLLIN };
	uint32_t number = ++s.number, got = 0;

	for (int tries = 0; tries < 3; tries++) {
		send(s.mark, &number, sizeof(number), 0);
		while (poll(&p, 1, 1000) > 0) {
			if (recv(s.mark, &got, sizeof(got), MSG_DONTWAIT) == sizeof(got) && got == number)
				return true;
		}
	}
	return false;
}

static void quiet(void)
{
	for (int i = 0; i < ROUNDS; i++)
		if (!round_trip()) {
			printf("  the network does not answer\n");
			return;
		}
}

static void report(void)
{
	const char *text = ask("report");

	if (strcmp(text, "-"))
		printf("  peer:%s\n", text);
}

/* ---- lines ---- */

/* Is the result a descriptor, which an accept that has slept makes vary? Linux takes its number first (OPEN). */
static bool is_number(const struct op *op)
{
	static const int makers[] = { V_socket, V_socketpair, V_pipe, V_file, V_accept, V_accept4, V_dup, V_dup2, V_dup3,
				      V_dupfd, V_epcreate };

	for (unsigned i = 0; i < COUNT(makers); i++)
		if (makers[i] == op->verb)
			return s.slept;
	return false;
}

static void outcome(const struct op *op, const struct result *r)
{
	if (r->ret < 0)
		printf("-1 %s%s\n", error_name(r->err), r->detail);
	else if (is_much(op) && r->ret && r->ret < op->arg[1])
		printf("a part%s\n", r->detail);
	else if (is_number(op))
		printf("descriptor%s\n", r->detail);
	else
		printf("%ld%s\n", r->ret, r->detail);
}

static bool any_blocked(void)
{
	for (int i = 0; i < ACTORS; i++)
		if (actor_blocked(i))
			return true;
	return false;
}

/* Whether a sleeper is told one edge or two that come close together is open: what its set still holds is passed over. */
static void pass_over(const struct op *op, const struct result *r)
{
	struct epoll_event ev[HANDLES];

	if (r->ret <= 0 || (op->verb != V_epwait && op->verb != V_epmax && op->verb != V_eppwait))
		return;
	quiet();
	epoll_wait(actors_world()->fd[op->arg[0]], ev, HANDLES, 0);
}

/* Blocked calls that have come back; true if any. */
static bool settle(void)
{
	bool any = false;

	for (int i = 0; i < ACTORS; i++)
		if (actor_blocked(i) && actor_settle(i)) {
			printf("  line %d comes back: ", actor_line(i));
			outcome(actor_op(i), actor_result(i));
			pass_over(actor_op(i), actor_result(i));
			any = true;
		}
	return any;
}

static int port_of_handle(const char *text)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);
	long h = 0;

	value_of('f', text, &h);
	getsockname(actors_world()->fd[h], (struct sockaddr *)&ss, &len);
	return ss.ss_family == AF_INET || ss.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in *)&ss)->sin_port) : 0;
}

/* An order; a handle in it stands for its port. While a call is blocked what it may take comes in one segment. */
static void run_order(const char *line)
{
	char order[LINE], what[32] = "", handle[32] = "";
	int n = 0, rest = 0;

	snprintf(order, sizeof(order), "%s", line);
	if (sscanf(line, "%31s f%31[0-9]%n", what, handle, &rest) == 2 && rest)
		snprintf(order, sizeof(order), "%s %d%s", what, port_of_handle(handle), line + rest);
	else if (any_blocked() && sscanf(line, "send %31s %d", what, &n) == 2 && n > 1400)
		snprintf(order, sizeof(order), "send %s 1400", what);
	rule_order(order);
	printf("%s\n", ask(order));
}

static void send_signal(const struct op *op)
{
	int who = (int)op->arg[0];

	if (who < ACTORS && actor_blocked(who) && is_much(actor_op(who)))
		printf("left open, ");	/* how much has gone, and will be told by the peer */
	else if (who < ACTORS && actor_blocked(who))
		actor_signal(who, (int)op->arg[1]);
	else
		printf("not blocked, ");
	printf("0\n");
}

/* What the main thread does itself: false for the other verbs. */
static bool own_verb(const struct op *op)
{
	if (op->verb == V_signal)
		send_signal(op);
	else if (op->verb == V_exit)
		printf("%d\n", actor_blocked(A_CHILD) ? -1 : actor_end_child());
	return op->verb == V_signal || op->verb == V_exit;
}

/*
 * The call sleeps: until what the network has under way has arrived, or for longer? Only the latter is blocked; how soon
 * the peer answers is open.
 */
static bool comes_back(const struct op *op)
{
	/* the peer reads when it is asked for quiet, a part of much each time */
	int rounds = is_much(op) ? MUCH_ROUNDS : 1;

	s.slept |= op->verb == V_accept || op->verb == V_accept4;
	for (int i = 0; i < rounds; i++) {
		quiet();
		if (actor_settle(op->actor))
			return true;
	}
	return false;
}

static void run_line(const char *line, int number)
{
	struct op op;
	bool net = true;

	printf("%d %s = ", number, line);
	if (!op_parse(&op, line)) {
		printf("cannot be read\n");
		return;
	}
	if (op.actor == A_PEER) {
		run_order(strchr(line, ' ') + 1);
	} else if (!own_verb(&op)) {
		net = verbs[op.verb].net && op.verb != V_epctl && (op.verb != V_epwait || op.arg[1]);
		net |= closes_one(&op);
		if (takes_some(&op) || meets_splice(&op) || (any_blocked() && (may_sleep(&op) || takes_away(&op))))
			printf("left open\n");
		else if (!actor_issue(op.actor, &op, number))
			printf("busy\n");
		else if (actor_await(op.actor) || comes_back(&op))
			outcome(&op, actor_result(op.actor));
		else
			printf("blocked\n");
		actor_watch_child();
	}
	if (!net && !any_blocked())
		return;
	do {
		fflush(stdout);
		quiet();
	} while (settle());
	report();
}

/* ---- a script ---- */

static void end_script(void)
{
	for (int i = 0; i < ACTORS; i++)
		if (actor_blocked(i)) {
			printf("end: line %d ", actor_line(i));
			if (!actor_interrupt(i)) {
				printf("hangs\n.\n");
				fflush(stdout);
				_exit(4);
			}
			outcome(actor_op(i), actor_result(i));
			quiet();
			report();
			settle();
		}
	printf("end: child %d\n", actor_end_child());
	actors_forget();
	quiet();
	report();
	ask("reset");
	quiet();
	s.slept = false;
	rule_forget();
}

static void hello(struct world *w)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = w->peer };
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr = w->local };
	int mark_port;

	sscanf(ask("hello"), "%d %d %d", &w->peer_port, &w->peer_udp, &mark_port);
	s.mark = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	to.sin_port = htons((uint16_t)mark_port);
	if (bind(s.mark, (struct sockaddr *)&own, sizeof(own)) || connect(s.mark, (struct sockaddr *)&to, sizeof(to)) ||
	    !round_trip()) {
		fprintf(stderr, "no way to the peer\n");
		exit(3);
	}
}

int run_subject(const char *control, struct in_addr own, struct in_addr peer, int cpu)
{
	struct world w = { .local = own, .peer = peer };
	char line[LINE];
	int number = 0;

	pin(cpu);
	w.dark.s_addr = htonl((ntohl(own.s_addr) & 0xffffff00) | 99);
	s.control = dial(control);
	hello(&w);
	actors_start(&w);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (strcmp(line, ".")) {
			run_line(line, ++number);
			continue;
		}
		end_script();
		printf(".\n");
		fflush(stdout);
		number = 0;
	}
	return 0;
}
