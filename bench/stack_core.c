/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The core alone: a server on the shim's own calls over one end of a test wire, a client on the bare stack at the other.
 * What is counted is the server's side, from NIC rx to NIC tx; the wire's work and the client's are left out. Over the
 * fabric (phases fabric-…) both are peers in one process, and what nic_shm does at the server's end is counted too: there
 * it is the sender's and the receiver's own work.
 * Run natively it prints nanoseconds; under callgrind (bench/stack, the script) the counted region is dumped a phase, and
 * time is virtual: what is done once in so many microseconds is done as often as natively.
 *
 * Usage: stack-core PHASE ROUNDS, PHASE: rr crr in out tso idle; tso is out with devices that cut. fabric-rr, fabric-in,
 * fabric-out: over the fabric, a round of bulk data is 64 KiB there.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/quick.h"
#include "shim/shim.h"
#include "stack/nic_pair.h"
#include "stack/nic_shm.h"

#ifdef HAVE_VALGRIND_CALLGRIND_H
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_TOGGLE_COLLECT do { } while (0)
#define RUNNING_ON_VALGRIND	0
#endif

#define ARENA_SIZE	(1ul << 30)
#define PAYLOAD		(64ul << 20)	/* conf.def: fabric_memory */
#define RING_SLOTS	1024		/* peer.h */
#define SERVER_IP	htonl(0x0a090002)
#define CLIENT_IP	htonl(0x0a090001)

static struct fn_pair *wire;		/* NULL: over the fabric */
static struct { struct fn_nic *nic; void *payload; int peer; } end_of[2];
static struct fn_stack *client;
static struct fn_nic_ops bare;		/* the wire's operations; the server's NIC has them with the counter stopped */
static uint64_t counted_ns, counted_since, virtual_ns = FN_NSEC;
static bool virtual_clock;
static uint16_t port;
static int listener, epfd;

/* err: -errno of a call, as the shim returns it. */
static void die(const char *what, long err)
{
	fprintf(stderr, "%s: %s\n", what, strerror((int)-err));
	exit(1);
}

/* ---- time: clock_gettime() of everything in this program is linked to come here ---- */

#define STEP_NS	2000	/* what a counted stretch takes natively, or the client's turn */

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (!virtual_clock)
		return __real_clock_gettime(id, ts);
	ts->tv_sec = (time_t)(virtual_ns / FN_NSEC);
	ts->tv_nsec = (long)(virtual_ns % FN_NSEC);
	return 0;
}

/* ---- the counted region ---- */

static void count(bool on)
{
	if (on)
		counted_since = fn_now();
	CALLGRIND_TOGGLE_COLLECT;
	if (on)
		return;
	counted_ns += fn_now() - counted_since;
	virtual_ns += STEP_NS;
}

/* The value of what is not counted: the wire's work. */
#define uncounted(expr)				\
	({					\
		CALLGRIND_TOGGLE_COLLECT;	\
		__auto_type ret_ = (expr);	\
		CALLGRIND_TOGGLE_COLLECT;	\
		ret_;				\
	})

static uint16_t wire_rx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	return uncounted(bare.rx(nic, burst, n));
}

static uint16_t wire_tx(struct fn_nic *nic, struct fn_pkt **burst, uint16_t n)
{
	return uncounted(bare.tx(nic, burst, n));
}

static struct fn_pkt *wire_alloc(struct fn_nic *nic)
{
	return uncounted(bare.alloc(nic));
}

static void wire_free(struct fn_nic *nic, struct fn_pkt *p)
{
	(void)uncounted((bare.free(nic, p), 0));
}

/* ---- the two ends ---- */

static int grow(void *ctx, size_t size)
{
	return size <= ARENA_SIZE ? 0 : -ENOMEM;
}

static void no_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
}

static void *memory(size_t size)
{
	void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		die("mmap", -errno);
	return mem;
}

static struct fn_nic *make_nic(unsigned end, uint32_t ip, struct fn_arena *a)
{
	struct fn_shm_conf conf = { .payload_len = PAYLOAD };
	struct fn_nic *nic;

	if (wire) {
		nic = fn_pair_nic(wire, end);
		nic->ip4 = ip;
		nic->ip4_mask = htonl(0xffffff00);
		return nic;
	}
	conf.payload = end_of[end].payload = memory(PAYLOAD);
	return end_of[end].nic = fn_shm_create(a, &conf);
}

/* The two ends become each other's peers. */
static void meet(void)
{
	void *ring[2] = { memory(fn_ring_size(RING_SLOTS)), memory(fn_ring_size(RING_SLOTS)) };

	for (unsigned i = 0; i < 2; i++) {
		struct fn_shm_pair pair = { .tx = ring[i], .rx = ring[!i], .tx_slots = RING_SLOTS, .rx_slots = RING_SLOTS,
					    .payload = end_of[!i].payload, .payload_len = PAYLOAD };

		end_of[i].peer = fn_shm_peer_add(end_of[i].nic, &pair);
		if (end_of[i].peer < 0)
			die("meet", end_of[i].peer);
	}
}

static struct fn_stack *make_stack(unsigned end, uint32_t ip, const struct fn_stack_ops *ops)
{
	struct fn_arena *a = fn_arena_init(memory(ARENA_SIZE), ARENA_SIZE, ARENA_SIZE, grow, NULL);
	struct fn_stack_conf conf;
	struct fn_stack *st;

	fn_stack_conf_init(&conf);
	conf.seed[0] = (uint8_t)(end + 1);
	conf.max_tcp = 1 << 18;
	conf.time_wait_ms = 1;
	st = fn_stack_create(a, &conf, ops, NULL, fn_now());
	fn_stack_add_nic(st, make_nic(end, ip, a));
	return st;
}

static void run_client(void)
{
	uint64_t now = fn_now();

	virtual_ns += STEP_NS;
	if (wire)
		fn_pair_set_time(wire, now);
	fn_stack_poll(client, now);
	fn_stack_flush(client);
	if (wire)
		fn_pair_set_time(wire, now);
}

/* A call on a file of ours as most wrappers of preload/ do it: one reference, the operation, the reference back. */
#define call(fd, op, ...)							\
	({									\
		struct fn_file *f_ = fn_fd_get(fd);				\
		__auto_type ret_ = f_ ? f_->ops->op(f_, fd, __VA_ARGS__) : -EBADF; \
		if (f_)								\
			fn_file_put(f_);					\
		ret_;								\
	})

/* epoll_wait(), read() and write() as preload/ has them. */
static int wait_slow(int fd, struct epoll_event *ev, int max, int ms)
{
	static const struct timespec zero;

	return (int)fn_guard_left(call(fd, epoll_wait, ev, max, &zero, NULL));
}

static int wait_server(struct epoll_event *ev, int max)
{
	return fn_quick_wait(epfd, ev, max, 0, wait_slow);
}

static ssize_t read_server(int fd, void *buf, size_t n)
{
	struct iovec iov = { buf, n };
	struct fn_quick q;

	fn_guard_enter(true);
	q = fn_quick_recv(fd, &iov);
	if (!q.file)
		return fn_guard_left(q.ret);
	q.ret = fn_tcp_recv_on(q.file, &iov, q.ret);
	fn_file_put(q.file);
	return fn_guard_left(q.ret);
}

static ssize_t write_server(int fd, const void *buf, size_t n)
{
	struct iovec iov = { (void *)buf, n };
	struct fn_quick q;

	fn_guard_enter(true);
	q = fn_quick_send(fd, &iov);
	if (!q.file)
		return fn_guard_left(q.ret);
	q.ret = fn_tcp_send_on(q.file, fd, &iov, 1, iov.iov_len, 0, q.ret);
	fn_file_put(q.file);
	return fn_guard_left(q.ret);
}

/* tso: the devices cut what is sent. */
static void make_wire(bool tso)
{
	static struct fn_nic_ops counted;
	struct fn_pair_conf pc = { .seed = 1, .buffers = 60000, .queue = 16384, .caps = FN_NIC_TX_IP_CSUM | FN_NIC_TX_TCP_CSUM |
				   FN_NIC_RX_CSUM };

	if (tso)
		pc.caps |= FN_NIC_TX_TSO | FN_NIC_TX_SEGS;
	wire = fn_pair_create(&pc);
	bare = counted = *fn_pair_nic(wire, 0)->ops;
	counted.rx = wire_rx;
	counted.tx = wire_tx;
	counted.alloc = wire_alloc;
	counted.free = wire_free;
	fn_pair_nic(wire, 0)->ops = &counted;
}

static void setup(void)
{
	static const struct fn_stack_ops server_ops = { .ready = fn_engine_ready }, client_ops = { .ready = no_ready };
	struct sockaddr_in any = { .sin_family = AF_INET };
	socklen_t len = sizeof(any);
	struct epoll_event ev = { .events = EPOLLIN };
	int err;

	fn_conf_init(&fn_config);
	fn_config.nnics = 1;
	fn_config.nics[0].ip4 = SERVER_IP;
	fn_config.nics[0].ip4_mask = htonl(0xffffff00);
	err = fn_engine_init();
	if (err < 0)
		die("fn_engine_init", err);
	fn_engine.st = make_stack(0, SERVER_IP, &server_ops);
	client = make_stack(1, CLIENT_IP, &client_ops);
	if (!wire)
		meet();
	fn_shim_active = true;
	listener = fn_shim_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	err = call(listener, bind, (struct sockaddr *)&any, sizeof(any));
	if (!err)
		err = call(listener, listen, 65535);
	if (!err)
		err = (int)fn_sys(SYS_getsockname, listener, &any, &len);
	if (err)
		die("listener", err);
	port = any.sin_port;
	epfd = fn_shim_epoll_create1(0);
	ev.data.fd = listener;
	err = call(epfd, epoll_ctl, EPOLL_CTL_ADD, listener, &ev);
	if (err)
		die("epoll_ctl", err);
	for (int i = 0; i < 4; i++) {
		run_client();
		wait_server(&ev, 1);
	}
}

static struct fn_sock *open_client(void)
{
	struct fn_sock *sk = fn_sock_open(client, FN_SOCK_TCP, NULL);
	struct fn_ep to = { .ip4 = wire ? SERVER_IP : htonl(INADDR_LOOPBACK), .port = port, .peer = (uint16_t)end_of[1].peer };
	int err = sk ? fn_sock_connect(sk, &to) : -ENOMEM;

	if (err != -EINPROGRESS)
		die("connect", err);
	run_client();
	return sk;
}

/* What a server does with its listener; the accepted number. */
static int accept_server(void)
{
	struct epoll_event ev;
	int fd;

	wait_server(&ev, 1);
	fd = call(listener, accept, NULL, NULL, SOCK_NONBLOCK);
	if (fd < 0)
		return fd;
	ev.events = EPOLLIN;
	ev.data.fd = fd;
	call(epfd, epoll_ctl, EPOLL_CTL_ADD, fd, &ev);
	return fd;
}

static int connect_pair(struct fn_sock **sk)
{
	int fd = -EAGAIN;

	*sk = open_client();
	for (int i = 0; i < 100 && fd == -EAGAIN; i++) {
		fd = accept_server();
		run_client();
	}
	if (fd < 0)
		die("accept", fd);
	return fd;
}

/* ---- phases ---- */

static ssize_t client_send(struct fn_sock *sk, size_t n)
{
	static char buf[65536];
	struct iovec iov = { buf, n };
	ssize_t ret = fn_tcp_send(sk, &iov, 1, 0, 0);

	fn_stack_flush(client);
	return ret;
}

static ssize_t client_recv(struct fn_sock *sk)
{
	static char buf[1 << 20];
	struct iovec iov = { buf, sizeof(buf) };

	return fn_tcp_recv(sk, &iov, 1, 0, 0, NULL);
}

/* The answer, all of it. What came instead tells what went wrong. */
static void client_answered(struct fn_sock *sk)
{
	ssize_t n = client_recv(sk);

	if (n == 64)
		return;
	fprintf(stderr, "client: %zd instead of 64 bytes, TCP state %d, %d packets under way; ", n, sk->tcp_state,
		wire ? (int)fn_pair_outstanding(wire, 0) : 0);
	die("its error", n < 0 ? n : 0);
}

/* Request in, event, read, write, response out, ACK in. */
static void serve(int fd)
{
	static char buf[4096];
	struct epoll_event ev;
	ssize_t n = 0;

	count(true);
	if (wait_server(&ev, 1) == 1) {
		n = read_server(fd, buf, sizeof(buf));
		n = write_server(fd, buf, (size_t)n);
	}
	count(false);
	if (n != 64)
		die("send", n);
}

static void phase_rr(long rounds)
{
	struct fn_sock *sk;
	int fd = connect_pair(&sk);

	for (long i = 0; i < rounds; i++) {
		fn_sock_setopt(sk, FN_OPT_QUICKACK, 1);
		client_send(sk, 64);
		serve(fd);
		run_client();
		client_answered(sk);
		run_client();
	}
}

/* The client reads the answer and the end, and closes too. */
static void finish_client(struct fn_sock *sk)
{
	client_answered(sk);
	fn_sock_close(sk);
}

/*
 * A connection: SYN, accept, 64 B each way, close on both sides, the server first, as soon as it has answered. Each
 * overlaps with the next one, so that few waits are for nothing, as at a server that has work.
 */
static void phase_crr(long rounds)
{
	struct fn_sock *first, *before = NULL;

	connect_pair(&first);	/* the two ends know each other's link address */
	for (long i = 0; i < rounds; i++) {
		struct fn_sock *sk = open_client();
		int fd;

		count(true);
		wait_server(&(struct epoll_event){ 0 }, 1);
		count(false);
		run_client();
		if (before)
			finish_client(before);
		client_send(sk, 64);
		count(true);
		fd = accept_server();
		count(false);
		if (fd < 0)
			die("accept", fd);
		run_client();
		serve(fd);
		count(true);
		fn_fd_close(fd);
		count(false);
		before = sk;
	}
}

/* ---- bulk data: rounds are MSSes of 1448 bytes, or 64 KiB ---- */

static char bulk_buf[1 << 18];

static void bulk(long rounds, void (*client_turn)(struct fn_sock *sk), ssize_t (*server_turn)(int fd))
{
	uint64_t total = 0, want = (uint64_t)rounds * (wire ? 1448 : 65536);
	struct fn_sock *sk;
	int fd = connect_pair(&sk);

	while (total < want) {
		ssize_t n;

		client_turn(sk);
		run_client();
		count(true);
		n = server_turn(fd);
		count(false);
		total += n > 0 ? (uint64_t)n : 0;
		run_client();
	}
}

static void client_fills(struct fn_sock *sk)
{
	while (client_send(sk, 16384) > 0)
		;
}

static void client_drains(struct fn_sock *sk)
{
	while (client_recv(sk) > 0)
		;
}

static ssize_t server_reads(int fd)
{
	struct epoll_event ev;

	return wait_server(&ev, 1) == 1 ? read_server(fd, bulk_buf, sizeof(bulk_buf)) : 0;
}

static ssize_t server_writes(int fd)
{
	ssize_t n = write_server(fd, bulk_buf, 1 << 16);
	struct epoll_event ev;

	wait_server(&ev, 1);
	return n;
}

static void phase_in(long rounds)
{
	bulk(rounds, client_fills, server_reads);
}

static void phase_out(long rounds)
{
	bulk(rounds, client_drains, server_writes);
}

/* Arena bytes of an idle established connection. */
static void phase_idle(long rounds)
{
	struct rlimit files;
	struct fn_sock *sk;
	size_t before;

	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	connect_pair(&sk);
	before = fn_engine.st->arena->used;
	for (long i = 0; i < rounds; i++)
		connect_pair(&sk);
	printf("idle %ld connections: %.0f bytes of arena each\n", rounds,
	       (double)(fn_engine.st->arena->used - before) / (double)rounds);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(long rounds);
	} phases[] = {
		{ "rr", phase_rr }, { "crr", phase_crr }, { "in", phase_in }, { "out", phase_out }, { "tso", phase_out },
		{ "idle", phase_idle },
	};
	long rounds = argc > 2 ? atol(argv[2]) : 10000;
	const char *phase = argc > 1 ? argv[1] : "";
	bool fabric = !strncmp(phase, "fabric-", 7);

	phase += fabric ? 7 : 0;
	virtual_clock = RUNNING_ON_VALGRIND;	/* asked once: asking takes instructions that nobody else executes */
	for (size_t i = 0; i < sizeof(phases) / sizeof(*phases); i++) {
		if (strcmp(phase, phases[i].name))
			continue;
		if (!fabric)
			make_wire(!strcmp(phase, "tso"));
		setup();
		phases[i].run(rounds);
		if (strcmp(phase, "idle"))
			printf("%s %ld rounds: %.0f ns each (with the wire's work at the server's end)\n", argv[1],
			       rounds, (double)counted_ns / (double)rounds);
		return 0;
	}
	fprintf(stderr, "usage: stack-core [fabric-]rr|crr|in|out|tso|idle ROUNDS\n");
	return 2;
}
