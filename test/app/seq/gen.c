/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Scripts from seeds. A rough model of what the handles are makes most calls meaningful; now and then a call goes to
 * any handle. What Linux leaves open is not generated: see OPEN.
 */
#include "seq.h"

#define PLACES	12	/* handles that scripts use */

enum kind { NONE, STREAM, LISTENER, CONN, DGRAM, EPOLL, UNIX, PIPE_IN, PIPE_OUT, REGULAR };

static struct {
	struct script *s;
	uint64_t state;
	uint8_t kind[PLACES];
	bool nonblock[PLACES];
	int slot[PLACES];	/* of the peer, of a connection */
	int slots;
	bool inherited[PLACES];	/* made before the fork */
	bool kernels[PLACES];	/* has gone to the kernel with a connect */
	bool gone;		/* a peer has gone: how soon that is seen is open */
	int pending;		/* connections of the peer's that nobody has accepted, to any listener */
	bool own, peers;	/* who has connected to a listener */
	bool child;
} g;

/* splitmix64 */
static uint64_t next(void)
{
	uint64_t z = g.state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static int below(int n)
{
	return (int)(next() % (unsigned)n);
}

static bool once_in(int n)
{
	return below(n) == 0;
}

#define PICK(...) ({ static const long list_[] = { __VA_ARGS__ }; list_[below((int)COUNT(list_))]; })

static int actor(void)
{
	if (g.child && once_in(4))
		return A_CHILD;
	return once_in(6) ? 1 + below(2) : 0;
}

/* Who makes calls that may block: not always a0, or the rest of the script would find it busy. */
static int patient(void)
{
	return once_in(8) ? 0 : 1 + below(2);
}

static void emit(int who, int verb, long a0, long a1, long a2, long a3, long a4)
{
	struct op op = { .actor = who, .verb = verb, .arg = { a0, a1, a2, a3, a4 } };
	char line[LINE];

	op_format(line, &op);
	script_add(g.s, "%s", line);
}
#define OP(who, verb, ...)	op_(who, verb, (long[ARGS]){ __VA_ARGS__ })
static void op_(int who, int verb, const long *a)
{
	emit(who, verb, a[0], a[1], a[2], a[3], a[4]);
}

/* A handle of that kind, of any kind once in a while, -1 when there is none. */
static int of_kind(enum kind kind)
{
	int list[PLACES], n = 0;

	if (once_in(25))
		return below(PLACES);
	for (int i = 0; i < PLACES; i++)
		if (g.kind[i] == kind)
			list[n++] = i;
	return n ? list[below(n)] : -1;
}

static int any_socket(void)
{
	int h = below(PLACES);

	for (int i = 0; i < PLACES; i++, h = (h + 1) % PLACES)
		if (g.kind[h] != NONE && g.kind[h] != PIPE_IN && g.kind[h] != PIPE_OUT && g.kind[h] != REGULAR)
			return h;
	return h;
}

/* A registration that outlives the image's last number of a connection is not served (OPEN): h, or one after it. */
static int may_go(int h)
{
	for (int i = 0; i < PLACES && g.child && g.inherited[h]; i++)
		h = (h + 1) % PLACES;
	return h;
}

static int vacant(void)
{
	for (int i = 0; i < PLACES; i++)
		if (g.kind[i] == NONE)
			return i;
	return may_go(below(PLACES));
}

static void is(int h, enum kind kind, bool nonblock)
{
	g.kind[h] = kind;
	g.nonblock[h] = nonblock;
	g.slot[h] = -1;
	g.inherited[h] = g.kernels[h] = false;
}

static long size(void)
{
	return PICK(0, 1, 1, 3, 10, 10, 100, 500, 1400, 1400, 4000, 8000);
}

static long send_flags(void)
{
	long f = 0;

	if (once_in(3))
		f |= MSG_NOSIGNAL;
	if (once_in(4))
		f |= MSG_DONTWAIT;
	if (once_in(12))
		f |= MSG_OOB;
	if (once_in(12))
		f |= MSG_MORE;
	return f;
}

static long recv_flags(bool wait)
{
	long f = wait ? 0 : MSG_DONTWAIT;

	if (once_in(6))
		f |= MSG_PEEK;
	/* a peek that waits, while another thread reads: to Linux an application's bug (tcp_recvmsg_locked), and seen as it likes */
	if (once_in(8) && (f & MSG_DONTWAIT || !(f & MSG_PEEK)))
		f |= MSG_WAITALL;
	if (once_in(12))
		f |= MSG_TRUNC;
	if (once_in(10))
		f |= MSG_OOB;
	if (once_in(40))
		f |= MSG_ERRQUEUE;
	return f;
}

/* ---- what a script does: each a line or a few ---- */

static void new_stream(void)
{
	int h = vacant();
	bool nonblock = once_in(2), six = once_in(10);

	OP(actor(), V_socket, h, six ? AF_INET6 : AF_INET, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0));
	is(h, STREAM, nonblock);
}

static void new_connection(void)
{
	int h = vacant(), who = actor();
	bool nonblock = once_in(3), six = once_in(12);

	OP(who, V_socket, h, six ? AF_INET6 : AF_INET, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0));
	OP(who, V_connect, h, six ? T_MAPPED : T_PEER);
	is(h, CONN, nonblock);
	g.slot[h] = g.slots++;
}

static void connect_somewhere(void)
{
	int h = of_kind(once_in(4) ? CONN : once_in(4) ? DGRAM : STREAM);
	long target = PICK(T_PEER, T_PEER, T_PEER, T_CLOSED, T_CLOSED, T_LOOP, T_UNSPEC, T_UNSPEC, T_SHORT, T_MAPPED,
			   T_FOREIGN);

	/* each image decides for itself about a socket that two have, and what is the kernel's stays so (OPEN) */
	if (h < 0 || g.kernels[h] || (g.inherited[h] && g.kind[h] != CONN))
		return new_stream();
	if (once_in(12) && g.nonblock[h])
		target = T_DARK;
	/* the laboratory's kernel cannot send from the port's address (OPEN) */
	if (target == T_LOOP && g.kind[h] == DGRAM)
		target = T_PEER;
	OP(actor(), V_connect, h, target);
	g.kernels[h] = target == T_LOOP;
	if (target == T_PEER && g.kind[h] == STREAM) {
		is(h, CONN, g.nonblock[h]);
		g.slot[h] = g.slots++;
	}
}

static void new_listener(void)
{
	int h = vacant(), who = actor();
	bool nonblock = once_in(2);

	OP(who, V_socket, h, once_in(10) ? AF_INET6 : AF_INET, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0));
	OP(who, V_bind, h, PICK(T_SELF, T_SELF, T_SELF, T_ANY, T_MAPPED));
	OP(who, V_listen, h, PICK(0, 1, 8, 8, 128));
	is(h, LISTENER, nonblock);
}

/* Over the fabric who comes first of two processes, and how many there is room for beside another's, is left open (OPEN). */
static bool comes_second(bool *one, bool other)
{
	if (getenv("SEQ_APART") && other)
		return true;
	*one = true;
	return false;
}

static void peer_connects(void)
{
	int h = of_kind(LISTENER);

	if (h < 0 || comes_second(&g.peers, g.own))
		return new_listener();
	script_add(g.s, "peer connect f%d", h);
	g.slots++;
	g.pending++;
}

static void take_connection(void)
{
	int l = of_kind(LISTENER), h = vacant();
	bool nonblock = once_in(2);

	if (l < 0)
		return new_listener();
	if (!g.pending && once_in(2))
		peer_connects();
	OP(g.pending ? actor() : patient(), once_in(3) ? V_accept : V_accept4, l, h, nonblock ? SOCK_NONBLOCK : 0);
	if (!g.pending && !once_in(4))
		peer_connects();
	if (g.pending) {
		g.pending--;
		is(h, CONN, nonblock);
		g.slot[h] = g.slots - 1 - g.pending;
	}
}

static void connect_to_self(void)
{
	int l = of_kind(LISTENER), h = vacant();
	bool nonblock = once_in(2);

	if (l < 0 || comes_second(&g.own, g.peers))
		return new_listener();
	OP(actor(), V_socket, h, AF_INET, SOCK_STREAM | (nonblock ? SOCK_NONBLOCK : 0));
	OP(actor(), V_connectto, h, l);
	is(h, CONN, nonblock);
	g.pending++;
}

static void new_datagrams(void)
{
	int h = vacant(), who = actor();
	bool nonblock = once_in(2);

	OP(who, V_socket, h, AF_INET, SOCK_DGRAM | (nonblock ? SOCK_NONBLOCK : 0));
	/* one that gets its port from a call that fails is served by the kernel alone (OPEN) */
	OP(who, V_bind, h, PICK(T_SELF, T_SELF, T_ANY));
	if (once_in(2))
		OP(who, V_connect, h, PICK(T_PEER, T_PEER, T_CLOSED));
	is(h, DGRAM, nonblock);
}

static void new_unix(void)
{
	int a = vacant(), b;
	bool nonblock = once_in(2);

	is(a, UNIX, nonblock);
	b = vacant();
	is(b, UNIX, nonblock);
	OP(actor(), V_socketpair, a, b, PICK(SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET) | (nonblock ? SOCK_NONBLOCK : 0));
}

static int talker(void)
{
	return of_kind(once_in(4) ? DGRAM : once_in(8) ? UNIX : CONN);
}

static void send_bytes(void)
{
	int h = talker(), who = actor();
	long n = size(), f = send_flags();
	long target = g.kind[h < 0 ? 0 : h] == DGRAM ? PICK(T_PEER, T_PEER, T_PEER, T_CLOSED, T_NULL) :
		      PICK(T_NULL, T_NULL, T_PEER);
	bool several;

	if (h < 0)
		return new_connection();
	if (g.kind[h] == DGRAM)
		f &= ~MSG_MORE;		/* several calls for one datagram: not served */
	/* what MSG_MORE holds back, if it is less than a segment, and nothing is sent before it */
	if (f & MSG_MORE && n > 1400)
		n = 1400;
	/* of several messages, how many go out before a reset or an ICMP error is back is open */
	if (g.kind[h] == DGRAM)
		several = target == T_PEER;
	else
		several = !g.gone && !(f & MSG_MORE);
	switch (below(several ? 7 : 6)) {
	case 0: case 1: OP(who, V_send, h, n, f); break;
	case 2: OP(who, V_write, h, n); break;
	case 3: OP(who, V_writev, h, n); break;
	case 4: OP(who, V_sendto, h, n, f, target); break;
	case 5: OP(who, V_sendmsg, h, n, f, target); break;
	case 6: OP(who, V_sendmmsg, h, n, f, target); break;
	}
	/* whether what waits for more goes with the next segment that comes is open: more is said at once */
	if (f & MSG_MORE)
		OP(who, once_in(4) ? V_shutdown : V_send, h, SHUT_WR, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Much at once: only by calls that wait until all of it is taken, for how much fits is left open. */
static void send_much(void)
{
	int h = of_kind(CONN);

	if (h >= 0 && !g.nonblock[h] && !g.gone)
		OP(patient(), once_in(2) ? V_write : V_send, h, PICK(50000, 65536, 200000, 300000, 1000000), 0);
}

static void receive(void)
{
	int h = talker();
	bool wait;
	int who;
	long n = PICK(0, 1, 3, 10, 100, 1400, 5000, 20000), f;

	if (h < 0)
		return new_connection();
	wait = g.nonblock[h] || once_in(3);
	who = wait && !g.nonblock[h] ? patient() : actor();
	f = recv_flags(wait);
	switch (below(8)) {
	case 0: case 1: case 2: OP(who, V_recv, h, n, f); break;
	case 3: OP(who, g.nonblock[h] || wait ? V_read : V_recv, h, n, f); break;
	case 4: OP(who, g.nonblock[h] || wait ? V_readv : V_recv, h, n, f); break;
	case 5: OP(who, V_recvfrom, h, n, f); break;
	case 6: OP(who, V_recvmsg, h, n, f); break;
	case 7: OP(who, V_recvmmsg, h, n, f | MSG_DONTWAIT); break;
	}
}

static void peer_acts(void)
{
	int h = of_kind(CONN), s = h >= 0 && g.slot[h] >= 0 ? g.slot[h] : g.slots ? below(g.slots) : -1;

	if (s < 0)
		return new_connection();
	switch (below(14)) {
	case 0: script_add(g.s, "peer oob %d", s); break;
	case 1: script_add(g.s, "peer shut %d", s); break;
	case 2: script_add(g.s, "peer close %d", s); g.gone = true; break;
	case 3: script_add(g.s, "peer rst %d", s); g.gone = true; break;
	case 4: script_add(g.s, "peer hold %d %d", s, below(2)); break;
	default: script_add(g.s, "peer send %d %ld", s, PICK(1, 1, 5, 10, 100, 1400, 1400, 6000)); break;
	}
}

static void peer_datagram(void)
{
	int h = of_kind(DGRAM);

	if (h >= 0)
		script_add(g.s, "peer datagram f%d %ld", h, PICK(0, 1, 10, 1000, 1400));
	else
		new_datagrams();
}

static void end_something(void)
{
	int h = once_in(2) ? of_kind(CONN) : any_socket();

	if (h < 0)
		return;
	/* a registration that outlives the image's last number of a connection is not served (OPEN) */
	if (!once_in(3) || (g.child && g.inherited[h])) {
		OP(actor(), V_shutdown, h, PICK(SHUT_RD, SHUT_WR, SHUT_WR, SHUT_RDWR, SHUT_RDWR, 7));
		return;
	}
	if (once_in(4))
		OP(actor(), V_linger, h, 1, 0);
	OP(actor(), V_close, h);
	is(h, NONE, false);
}

static void numbers(void)
{
	int h = any_socket(), to, who = actor();

	switch (below(8)) {
	case 0: case 1:
		to = vacant();
		OP(who, V_dup, h, to);
		g.kind[to] = g.kind[h], g.slot[to] = g.slot[h], g.nonblock[to] = g.nonblock[h], g.inherited[to] = g.inherited[h], g.kernels[to] = g.kernels[h];
		break;
	case 2:
		to = below(PLACES);
		if (g.child && g.inherited[to])
			return;
		OP(who, once_in(2) ? V_dup2 : V_dup3, h, to, SOCK_CLOEXEC);
		if (g.kind[to] != NONE)
			g.kind[to] = g.kind[h], g.slot[to] = g.slot[h], g.nonblock[to] = g.nonblock[h], g.inherited[to] = g.inherited[h], g.kernels[to] = g.kernels[h];
		break;
	case 3:
		to = vacant();
		OP(who, V_dupfd, h, to, PICK(0, 10, 40));
		g.kind[to] = g.kind[h], g.slot[to] = g.slot[h], g.nonblock[to] = g.nonblock[h], g.inherited[to] = g.inherited[h], g.kernels[to] = g.kernels[h];
		break;
	case 4: OP(who, V_getfl, h); break;
	case 5:
		to = below(2);
		OP(who, once_in(2) ? V_nonblock : V_ioctl, h, to, 0);
		if (g.s->count && strstr(g.s->line[g.s->count - 1], "nonblock"))
			g.nonblock[h] = to;
		break;
	case 6: OP(who, V_getfd, h); break;
	case 7: OP(who, V_setfd, h, below(2)); break;
	}
}

static void options_of(void)
{
	int h = any_socket(), who = actor(), o = below(options_count());

	if (once_in(3)) {
		if (strcmp(options[o].name, "quickack") && strcmp(options[o].name, "sndbuf") &&
		    strcmp(options[o].name, "rcvbuf"))
			OP(who, V_get, h, o);
		return;
	}
	switch (below(6)) {
	case 0: OP(who, V_linger, h, below(2), 0); return;
	case 1: OP(who, V_ioctl, h, PICK(FIONREAD, FIONREAD, TIOCOUTQ, SIOCATMARK), 0); return;
	case 2: OP(who, V_tcpstate, h); return;
	case 3: OP(who, once_in(2) ? V_sockname : V_peername, h); return;
	}
	/* a value that blocks for seconds, or buffers that hold less than a script sends, are left out */
	if (!strcmp(options[o].name, "rcvtimeo") || !strcmp(options[o].name, "sndtimeo"))
		OP(who, V_timeout, h, o, 0, 30000);
	else if (!strcmp(options[o].name, "sndbuf") || !strcmp(options[o].name, "rcvbuf"))
		OP(who, V_set, h, o, 300000);
	else if (strcmp(options[o].name, "usertimeout") && strcmp(options[o].name, "syncnt"))
		OP(who, once_in(6) ? V_setlen : V_set, h, o, PICK(0, 1, 1, -1, 5, 100, 65536), PICK(1, 2, 4, 8));
}

static long epoll_mask(void)
{
	long m = PICK(EPOLLIN, EPOLLOUT, EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLRDHUP, EPOLLRDHUP, 0, EPOLLPRI,
		      EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI);

	if (once_in(2))
		m |= EPOLLET;
	if (once_in(4))
		m |= EPOLLONESHOT;
	else if (once_in(10))
		m |= EPOLLEXCLUSIVE;
	return m;
}

static void epoll_sets(void)
{
	int e = of_kind(EPOLL), who = actor(), h;

	/* a set is an image's own: what a child does to it the parent does not see (OPEN) */
	who = who == A_CHILD ? 0 : who;

	if (e < 0 || once_in(12)) {
		e = vacant();
		OP(who, V_epcreate, e);
		is(e, EPOLL, false);
	}
	switch (below(5)) {
	case 0: case 1:
		h = any_socket();
		OP(who, V_epctl, e, PICK(EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL), h,
		   epoll_mask());
		break;
	case 2: case 3:
		OP(who, V_epwait, e, PICK(0, 0, 0, 20));
		break;
	case 4:
		OP(patient(), once_in(3) ? V_eppwait : V_epwait, e, -1);
		break;
	}
}

static void wait_for(void)
{
	int h = any_socket(), who = actor();

	switch (below(6)) {
	case 0: OP(who, V_masks, h); break;
	case 1: OP(patient(), V_poll, h, PICK(POLLIN, POLLOUT, POLLIN | POLLPRI, POLLRDHUP, 0), PICK(-1, 20)); break;
	case 2: OP(patient(), V_select, h, PICK(-1, 20)); break;
	case 3: OP(patient(), V_pollmany, h, any_socket(), PICK(POLLIN, POLLRDHUP), PICK(-1, 20)); break;
	default: OP(0, V_pollall, 0); break;
	}
}

static void between(void)
{
	int h = of_kind(CONN), a, b;

	if (h < 0)
		return new_connection();
	a = vacant();
	if (once_in(2)) {
		OP(0, V_file, a, PICK(0, 10, 5000));
		is(a, REGULAR, false);
		OP(actor(), V_sendfile, h, a, PICK(5, 100, 8000));
		return;
	}
	is(a, PIPE_IN, true);
	b = vacant();
	is(b, PIPE_OUT, true);
	OP(0, V_pipe, a, b);
	if (once_in(2)) {
		OP(0, V_write, b, PICK(1, 10, 3000));
		OP(actor(), V_splice, a, h, PICK(1, 100, 5000));
	} else if (g.nonblock[h]) {
		OP(actor(), V_splice, h, b, PICK(1, 100, 5000));
		OP(actor(), V_read, a, 5000);
	}
}

static void processes(void)
{
	if (!g.child) {
		OP(once_in(3) ? 1 : 0, V_fork, 0);
		g.child = true;
		memset(g.inherited, true, sizeof(g.inherited));
	} else if (once_in(3)) {
		OP(A_CHILD, V_exit, 0);
		g.child = false;
	}
}

static void signals(void)
{
	OP(0, V_signal, below(3), once_in(2) ? SIGUSR1 : SIGUSR2);
}

static const struct {
	void (*act)(void);
	int weight;
} acts[] = {
	{ new_stream, 3 },	{ new_connection, 5 }, { connect_somewhere, 4 }, { new_listener, 3 },
	{ peer_connects, 3 },	{ take_connection, 6 }, { connect_to_self, 1 },	  { new_datagrams, 3 },
	{ new_unix, 1 },	{ send_bytes, 14 },	{ send_much, 3 },	  { receive, 16 },
	{ peer_acts, 16 },	{ peer_datagram, 5 },	{ end_something, 7 },	  { numbers, 4 },
	{ options_of, 6 },	{ epoll_sets, 14 },	{ wait_for, 8 },	  { between, 2 },
	{ processes, 1 },	{ signals, 1 },
};

static void act(void)
{
	int total = 0, at;

	for (unsigned i = 0; i < COUNT(acts); i++)
		total += acts[i].weight;
	at = below(total);
	for (unsigned i = 0; i < COUNT(acts); i++) {
		at -= acts[i].weight;
		if (at < 0) {
			acts[i].act();
			return;
		}
	}
}

void generate(struct script *s, uint64_t seed)
{
	int length;

	memset(&g, 0, sizeof(g));
	g.s = s;
	g.state = seed * 0xd1342543de82ef95 + 1;
	length = 8 + below(40);
	while (s->count < length)
		act();
	OP(0, V_pollall, 0);
}
