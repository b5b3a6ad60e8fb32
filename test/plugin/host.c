/* SPDX-License-Identifier: BSD-3-Clause */
/* Loading the plugin and opening a port as libfastnet.so would; checks what opening must leave alone. */
#include "test/plugin/host.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

volatile int host_stop;
struct host_sleep_stats host_slept;

static void on_stop(int sig)
{
	host_stop = 1;
}

static void log_line(void *ctx, enum fn_plugin_level level, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "log %d: ", level);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static struct fn_plugin_host host = {
	.abi = FN_PLUGIN_ABI,
	.level = FN_PLUGIN_INFO,
	.log = log_line,
};

uint64_t host_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static const char *value_of(const char *arg, const char *key)
{
	size_t n = strlen(key);

	return !strncmp(arg, key, n) && arg[n] == '=' ? arg + n + 1 : NULL;
}

static void parse_mac(struct host_options *o, const char *text)
{
	static uint8_t mac[6];

	if (sscanf(text, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) == 6)
		o->conf.mac = mac;
}

static void parse_csum(struct host_options *o, const char *text)
{
	if (!strcmp(text, "verify"))
		o->conf.csum = FN_PORT_CSUM_VERIFY;
	else if (!strcmp(text, "trust"))
		o->conf.csum = FN_PORT_CSUM_TRUST;
}

static void parse_tso(struct host_options *o, const char *text)
{
	if (!strcmp(text, "on"))
		o->conf.tso = FN_PORT_TSO_ON;
	else if (!strcmp(text, "off"))
		o->conf.tso = FN_PORT_TSO_OFF;
}

static void parse_one(struct host_options *o, const char *arg)
{
	const char *v;

	if ((v = value_of(arg, "mac")))
		parse_mac(o, v);
	else if ((v = value_of(arg, "mtu")))
		o->conf.mtu = (uint32_t)atoi(v);
	else if ((v = value_of(arg, "instants")))
		o->instants = (unsigned)atoi(v);
	else if ((v = value_of(arg, "queues")))
		o->conf.queues = (uint32_t)atoi(v);
	else if ((v = value_of(arg, "buffers")))
		o->conf.buffers = (uint32_t)atoi(v);
	else if ((v = value_of(arg, "csum")))
		parse_csum(o, v);
	else if ((v = value_of(arg, "tso")))
		parse_tso(o, v);
	else if ((v = value_of(arg, "eal")))
		o->conf.eal_args = v;
	else if ((v = value_of(arg, "huge")))
		o->conf.hugepages = !strcmp(v, "yes") ? FN_PORT_HUGE_YES :
				    !strcmp(v, "auto") ? FN_PORT_HUGE_AUTO : FN_PORT_HUGE_NO;
	else if (!strcmp(arg, "spin"))
		o->spin = true;
	else if (!strcmp(arg, "fork"))
		o->fork_test = true;
	else if (!strcmp(arg, "deaths"))
		o->death_test = true;
	else if (!strcmp(arg, "debug"))
		host.level = FN_PLUGIN_DEBUG;
	else {
		fprintf(stderr, "argument %s is not known\n", arg);
		exit(2);
	}
}

void host_parse(struct host_options *o, int argc, char **argv)
{
	memset(o, 0, sizeof(*o));
	if (argc < 3) {
		fprintf(stderr, "usage: %s PLUGIN DEVARGS [KEY=VALUE…]\n", argv[0]);
		exit(2);
	}
	o->plugin = argv[1];
	o->conf.name = "port0";
	o->conf.devargs = argv[2];
	o->conf.numa_node = -1;
	o->conf.fd_floor = 192;
	o->conf.ports = 1;
	o->conf.hugepages = FN_PORT_HUGE_NO;	/* a test beside this one may have some set aside, for itself */
	for (int i = 3; i < argc; i++)
		parse_one(o, argv[i]);
}

/* What must be the same before and after. */
struct untouched {
	cpu_set_t cpus;
	sigset_t mask;
	struct sigaction rt[NSIG];
	int next_fd;
};

static void untouched_get(struct untouched *u)
{
	memset(u, 0, sizeof(*u));
	sched_getaffinity(0, sizeof(u->cpus), &u->cpus);
	sigprocmask(SIG_SETMASK, NULL, &u->mask);
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		sigaction(sig, NULL, &u->rt[sig]);
	u->next_fd = dup(2);
	close(u->next_fd);
}

static void untouched_check(const struct untouched *before)
{
	struct untouched after;
	bool same;

	untouched_get(&after);
	same = CPU_EQUAL(&before->cpus, &after.cpus) && !memcmp(&before->mask, &after.mask, sizeof(after.mask));
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		same = same && before->rt[sig].sa_handler == after.rt[sig].sa_handler;
	same = same && before->next_fd == after.next_fd;
	printf("untouched: %s (next descriptor %d)\n", same ? "yes" : "NO", after.next_fd);
}

const struct fn_plugin_ops *host_open(const struct host_options *o, struct fn_nic *nic, struct fn_port **port)
{
	const struct fn_plugin_ops *(*entry)(const struct fn_plugin_host *);
	const struct fn_plugin_ops *ops;
	struct untouched before;
	char err[256] = "";
	void *so;
	uint64_t start = host_now();
	int rc, fds[FN_PLUGIN_FDS], nfds;

	signal(SIGTERM, on_stop);
	signal(SIGINT, on_stop);
	so = dlopen(o->plugin, RTLD_NOW | RTLD_LOCAL);
	if (!so) {
		printf("cannot load: %s\n", dlerror());
		exit(1);
	}
	*(void **)&entry = dlsym(so, FN_PLUGIN_SYMBOL);
	ops = entry ? entry(&host) : NULL;
	if (!ops) {
		printf("the plugin speaks another ABI\n");
		exit(1);
	}
	untouched_get(&before);
	rc = ops->open(&o->conf, nic, port, err, sizeof(err));
	if (rc) {
		printf("open: %d %s\n", rc, err);
		exit(1);
	}
	untouched_check(&before);
	nfds = ops->wait_fds(*port, fds, FN_PLUGIN_FDS);
	printf("open: %s on %s in %.0f ms, %s; mtu %u caps 0x%x tx_payload %u mac %02x:%02x:%02x:%02x:%02x:%02x hugepages %d "
	       "unfinished checksums %s, %d descriptors to sleep on (first %d)\n",
	       (*port)->driver, (*port)->ifname, (double)(host_now() - start) / 1e6, ops->version, nic->mtu, nic->caps,
	       nic->tx_payload, nic->mac[0], nic->mac[1], nic->mac[2], nic->mac[3], nic->mac[4], nic->mac[5],
	       (*port)->hugepages, (*port)->csum_trusted ? "taken" : "refused", nfds, nfds ? fds[0] : -1);
	fflush(stdout);
	return ops;
}

bool host_pending(const struct fn_nic *nic)
{
	return !nic->ops->rx_pending || nic->ops->rx_pending(nic);
}

void host_sleep(const struct fn_plugin_ops *ops, struct fn_port *port, uint64_t ns, unsigned (*serve)(struct fn_nic *nic))
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u) };
	struct pollfd p[FN_PLUGIN_FDS];
	int fds[FN_PLUGIN_FDS], n = ops->wait_fds(port, fds, FN_PLUGIN_FDS), events;

	for (int i = 0; i < n; i++)
		p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	ops->arm(port);
	if (serve(port->nic)) {
		ops->disarm(port);
		return;
	}
	host_slept.sleeps++;
	events = ppoll(p, (nfds_t)n, &ts, NULL);
	ops->disarm(port);
	if (events > 0) {
		host_slept.woken++;
		host_slept.idle += !serve(port->nic);
	}
}
