/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The stack on a port, without libfastnet.so: what is served here and fails under a program is the shim's. For 10.9.0.2:
 *	UDP and TCP 7	echo
 *	TCP 9		takes a file and keeps it
 *	TCP 19		gives the file that 9 has kept
 *	TCP 80		HTTP keep-alive: 1 KiB for every request, for wrk and ab
 * SIGTERM ends it and prints what it counted.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "stack/stack.h"
#include "stack/wire.h"
#include "test/plugin/host.h"

#define ARENA_SIZE	(512u << 20)
#define FILE_SIZE	(256u << 20)
#define CONNS		4096
#define BODY		1024
#define SPIN_NS		50000u

enum service { LISTENER, UDP_ECHO, ECHO, SINK, SOURCE, HTTP };

struct conn {
	struct fn_sock *sk;	/* NULL: free */
	enum service service, of;	/* of: what a listener's connections are */
	struct conn *next;	/* in the ready list */
	bool listed;
	char match;		/* HTTP: how much of the empty line has been seen */
	uint64_t sent, owed;	/* bytes given to the stack and to be given */
	size_t held;		/* ECHO: bytes in buf, from .sent on */
	char buf[16384];
};

static struct conn conns[CONNS], *ready_head;
static struct fn_stack *st;
static uint8_t *file;
static size_t file_len;
static uint64_t requests;
static char answer[BODY + 128];
static size_t answer_len;

static void on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
	struct conn *c = sk->user;

	if (c->listed)
		return;
	c->listed = true;
	c->next = ready_head;
	ready_head = c;
}

static struct conn *new_conn(enum service service)
{
	for (struct conn *c = conns; c < conns + CONNS; c++) {
		if (c->sk || c->listed)
			continue;
		memset(c, 0, offsetof(struct conn, buf));
		c->service = service;
		return c;
	}
	return NULL;
}

static void drop(struct conn *c)
{
	fn_sock_close(c->sk);
	c->sk = NULL;
}

static void open_service(enum fn_sock_kind kind, uint16_t port, enum service of)
{
	struct conn *c = new_conn(kind == FN_SOCK_UDP ? UDP_ECHO : LISTENER);
	struct fn_ep ep = { .port = fn_be16(port) };

	c->of = of;
	c->sk = fn_sock_open(st, kind, c);
	if (!c->sk || fn_sock_bind(c->sk, &ep) || (kind == FN_SOCK_TCP && fn_tcp_listen(c->sk, 1024))) {
		printf("port %u cannot be opened\n", port);
		exit(1);
	}
}

static void run_listener(struct conn *l)
{
	for (;;) {
		struct conn *c = new_conn(l->of);
		struct fn_sock *sk = c ? fn_tcp_accept(l->sk, c) : NULL;

		if (!sk)
			return;
		c->sk = sk;
		fn_sock_setopt(sk, FN_OPT_NODELAY, 1);
		c->owed = c->service == SOURCE ? file_len : 0;
		if (c->service == SINK)
			file_len = 0;
		on_ready(NULL, sk, POLLIN);
	}
}

static void run_udp(struct conn *c)
{
	static char buf[65536];
	struct fn_udp_meta meta;
	ssize_t n;

	for (;;) {
		struct iovec iov = { buf, sizeof(buf) };

		n = fn_udp_recv(c->sk, &iov, 1, 0, &meta);
		if (n < 0)
			return;
		iov.iov_len = (size_t)n;
		fn_udp_send(c->sk, &iov, 1, &meta.from, NULL);
	}
}

/* Give the stack what is owed from `from`; false: closed by an error. */
static bool push(struct conn *c, const void *from, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)from, len };
	ssize_t n = len ? fn_tcp_send(c->sk, &iov, 1, 0, 0) : 0;

	if (n == -EAGAIN)
		n = 0;
	if (n < 0) {
		drop(c);
		return false;
	}
	c->sent += (uint64_t)n;
	return true;
}

static ssize_t pull(struct conn *c, void *to, size_t len)
{
	struct iovec iov = { to, len };
	ssize_t n = fn_tcp_recv(c->sk, &iov, 1, 0, 0, NULL);

	if (n <= 0 && n != -EAGAIN)
		drop(c);
	return n;
}

static void run_echo(struct conn *c)
{
	for (;;) {
		if (c->sent < c->held && !push(c, c->buf + c->sent, c->held - c->sent))
			return;
		if (c->sent < c->held)
			return;
		c->sent = c->held = 0;
		ssize_t n = pull(c, c->buf, sizeof(c->buf));

		if (n <= 0)
			return;
		c->held = (size_t)n;
	}
}

static void run_sink(struct conn *c)
{
	ssize_t n;

	while ((n = pull(c, file + file_len, FILE_SIZE - file_len)) > 0)
		file_len += (size_t)n;
}

static void run_source(struct conn *c)
{
	uint64_t before;

	do {
		before = c->sent;
		if (!push(c, file + c->sent, c->owed - c->sent))
			return;
	} while (c->sent != before && c->sent < c->owed);
	if (c->sent == c->owed)
		drop(c);
}

/* Answers still owed, one after the other. */
static bool http_answer(struct conn *c)
{
	while (c->sent < c->owed) {
		uint64_t before = c->sent;
		size_t at = c->sent % answer_len;

		if (!push(c, answer + at, answer_len - at))
			return false;
		if (c->sent == before)
			break;
	}
	return true;
}

static void run_http(struct conn *c)
{
	static const char end[] = "\r\n\r\n";
	ssize_t n;

	while ((n = pull(c, c->buf, sizeof(c->buf))) > 0) {
		for (ssize_t i = 0; i < n; i++) {
			c->match = (char)(c->buf[i] == end[(int)c->match] ? c->match + 1 : c->buf[i] == '\r');
			if (c->match == 4) {
				c->match = 0;
				c->owed += answer_len;
				requests++;
			}
		}
		if (!http_answer(c))
			return;
	}
	if (c->sk)
		http_answer(c);
}

static void run_conn(struct conn *c)
{
	if (!c->sk)
		return;
	switch (c->service) {
	case LISTENER:
		run_listener(c);
		break;
	case UDP_ECHO:
		run_udp(c);
		break;
	case ECHO:
		run_echo(c);
		break;
	case SINK:
		run_sink(c);
		break;
	case SOURCE:
		run_source(c);
		break;
	case HTTP:
		run_http(c);
		break;
	}
}

static void run_ready(void)
{
	while (ready_head) {
		struct conn *list = ready_head;

		ready_head = NULL;
		for (struct conn *c = list, *next; c; c = next) {
			next = c->next;
			c->listed = false;
			run_conn(c);
		}
	}
}

static unsigned serve(struct fn_nic *nic)
{
	unsigned did = fn_stack_poll(st, host_now());

	if (did) {
		run_ready();
		fn_stack_flush(st);
	}
	return did;
}

static void run(const struct host_options *o, const struct fn_plugin_ops *ops, struct fn_port *port)
{
	uint64_t now = host_now(), last = now, tick = now;

	while (!host_stop) {
		if (serve(port->nic)) {
			last = now;
		} else if (!o->spin && now - last > SPIN_NS) {
			uint64_t due = fn_stack_deadline(st);

			if (due > now)
				host_sleep(ops, port, fn_min(due - now, FN_NSEC), serve);
		}
		now = host_now();
		if (now - tick > FN_NSEC) {
			ops->tick(port);
			tick = now;
		}
	}
}

static void make_stack(struct fn_nic *nic)
{
	static const struct fn_stack_ops ops = { .ready = on_ready };
	struct fn_stack_conf conf;
	void *mem = mmap(NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct fn_arena *a = fn_arena_init(mem, ARENA_SIZE, ARENA_SIZE, NULL, NULL);

	fn_stack_conf_init(&conf);
	memset(conf.seed, 7, sizeof(conf.seed));
	st = fn_stack_create(a, &conf, &ops, NULL, host_now());
	nic->ip4 = fn_be32(0x0a090002);
	nic->ip4_mask = fn_be32(0xffffff00);
	nic->ip4_gw = fn_be32(0x0a090001);
	if (!st || fn_stack_add_nic(st, nic)) {
		printf("the stack cannot be made\n");
		exit(1);
	}
	open_service(FN_SOCK_UDP, 7, UDP_ECHO);
	open_service(FN_SOCK_TCP, 7, ECHO);
	open_service(FN_SOCK_TCP, 9, SINK);
	open_service(FN_SOCK_TCP, 19, SOURCE);
	open_service(FN_SOCK_TCP, 80, HTTP);
}

static void make_answer(void)
{
	answer_len = (size_t)snprintf(answer, sizeof(answer),
				      "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n", BODY);
	memset(answer + answer_len, 'x', BODY);
	answer_len += BODY;
	file = mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

static void report(const struct fn_nic *nic, const struct fn_port *port)
{
	struct rusage ru;

	getrusage(RUSAGE_SELF, &ru);
	for (unsigned i = 0; i < FN_DROP_COUNT; i++)
		if (st->stats.drop[i])
			printf("drop %s %lu\n", fn_drop_name(i), st->stats.drop[i]);
	for (unsigned i = 0; fn_stat_name(i); i++)
		if (((const uint64_t *)&st->stats)[i])
			printf("stat %s %lu\n", fn_stat_name(i), ((const uint64_t *)&st->stats)[i]);
	printf("total: rx %lu tx %lu missed %lu full %lu oversize %lu requests %lu\n", nic->stats.rx_packets,
	       nic->stats.tx_packets, nic->stats.rx_missed, nic->stats.tx_full, port->oversize, requests);
	printf("total: sleeps %lu woken %lu idle %lu user_ms %lu system_ms %lu\n", host_slept.sleeps, host_slept.woken,
	       host_slept.idle, ru.ru_utime.tv_sec * 1000 + ru.ru_utime.tv_usec / 1000,
	       ru.ru_stime.tv_sec * 1000 + ru.ru_stime.tv_usec / 1000);
}

int main(int argc, char **argv)
{
	struct host_options o;
	static struct fn_nic nic;
	struct fn_port *port;
	const struct fn_plugin_ops *ops;

	host_parse(&o, argc, argv);
	make_answer();
	ops = host_open(&o, &nic, &port);
	make_stack(&nic);
	printf("serving\n");
	fflush(stdout);
	run(&o, ops, port);
	ops->tick(port);
	report(&nic, port);
	ops->close(port);
	return 0;
}
