/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Ports: the plugin, the configured NICs it opens, and who may open them. One family of processes holds a port: the name
 * of an abstract UNIX socket (scoped to the network namespace, gone at death) is the lock, and its hang-up the news that
 * the port may be free.
 */
#include "shim/port.h"

#include <dlfcn.h>
#include <errno.h>
#include <net/if.h>
#include <linux/capability.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "config.h"
#include "plugin/plugin.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/info.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/reserve.h"
#include "shim/wait.h"

struct port {
	struct fn_nic *nic;
	struct fn_port *port;
	int hold;		/* internal: the name; -1: not ours */
	int wait;		/* internal: connected to the holder, hangs up with it; -1 */
	int holder;		/* PID */
	int fds[FN_PLUGIN_FDS];
	unsigned nfds;
};

static struct port ports[FN_CONF_NICS];
static const struct fn_plugin_ops *plugin;
static bool changed;
static bool lost;	/* DPDK runs in the parent, and its memory is the parent's */

bool fn_port_has_address(uint32_t ip4)
{
	for (unsigned i = 0; i < fn_config.nnics; i++)
		if (fn_config.nics[i].ip4 == ip4)
			return true;
	return false;
}

/* ---- the plugin ---- */

static void host_log(void *ctx, enum fn_plugin_level level, const char *fmt, ...)
{
	char text[480];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fn_log((enum fn_log_level)level, "%s", text);
}

static struct fn_plugin_host host = { .abi = FN_PLUGIN_ABI, .log = host_log };

/* Where the installation puts it, else beside libfastnet.so. */
static void *open_plugin(char *err, size_t len)
{
	char path[512];
	Dl_info self;
	void *h = NULL;

	if (dladdr(&host, &self) && self.dli_fname && strrchr(self.dli_fname, '/')) {
		int n = (int)(strrchr(self.dli_fname, '/') - self.dli_fname);

		snprintf(path, sizeof(path), "%.*s/fastnet/fastnet-nic-dpdk.so", n, self.dli_fname);
		h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (!h) {
			snprintf(path, sizeof(path), "%.*s/fastnet-nic-dpdk.so", n, self.dli_fname);
			h = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		}
	}
	if (!h)
		snprintf(err, len, "%s", dlerror());
	return h;
}

static int load_plugin(char *err, size_t len)
{
	const struct fn_plugin_ops *(*entry)(const struct fn_plugin_host *);
	void *h;

	if (plugin)
		return 0;
	h = open_plugin(err, len);
	if (!h)
		return -ENOENT;
	entry = (const struct fn_plugin_ops *(*)(const struct fn_plugin_host *))dlsym(h, FN_PLUGIN_SYMBOL);
	host.level = (enum fn_plugin_level)fn_config.log_level;
	plugin = entry ? entry(&host) : NULL;
	if (!plugin) {
		snprintf(err, len, "the plugin is of another version");
		return -ENOEXEC;
	}
	return 0;
}

bool fn_ports_to_come(void)
{
	bool all = true;

	for (unsigned i = 0; i < fn_config.nnics; i++)
		all = all && ports[i].port;
	return !all && !lost;
}

/* ---- who holds a port ---- */

static socklen_t hold_name(const struct fn_nic_conf *c, struct sockaddr_un *un)
{
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, "fastnet/port/%s", c->devargs);
	if (n > (int)sizeof(un->sun_path) - 2)
		n = (int)sizeof(un->sun_path) - 2;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)n);
}

/* Somebody has the name: who, and a connection that ends with them. */
static void watch_holder(struct port *p, const struct sockaddr_un *un, socklen_t len)
{
	struct ucred cred = { 0 };
	socklen_t size = sizeof(cred);
	int fd;

	if (p->wait >= 0)
		return;
	fd = fn_fd_internal(fn_sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	if (fd < 0)
		return;
	if (fn_sys(SYS_connect, fd, un, len) < 0) {
		fn_fd_internal_close(fd);
		return;
	}
	if (fn_sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0)
		p->holder = cred.pid;
	p->wait = fd;
	fn_fd_internal_track(&p->wait);
}

/* 0: ours; -EADDRINUSE: another family's. */
static int take_hold(struct port *p, const struct fn_nic_conf *c)
{
	struct sockaddr_un un;
	socklen_t len = hold_name(c, &un);
	int fd, ret;

	if (p->hold >= 0)
		return 0;
	fd = fn_fd_internal(fn_sys_socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (fd < 0)
		return fd;
	ret = (int)fn_sys(SYS_bind, fd, &un, len);
	if (ret == 0)
		ret = (int)fn_sys(SYS_listen, fd, 64);
	if (ret < 0) {
		fn_fd_internal_close(fd);
		if (ret == -EADDRINUSE)
			watch_holder(p, &un, len);
		return ret;
	}
	p->hold = fd;
	p->holder = 0;
	fn_fd_internal_track(&p->hold);
	fn_fd_internal_close(p->wait);
	p->wait = -1;
	return 0;
}

static void drop_hold(struct port *p)
{
	fn_fd_internal_close(p->hold);
	p->hold = -1;
}

int fn_ports_held_fd(void)
{
	for (unsigned i = 0; i < fn_config.nnics; i++)
		if (ports[i].holder && ports[i].wait >= 0)
			return ports[i].wait;
	return -1;
}

bool fn_ports_changed(void)
{
	struct pollfd pfd = { .fd = fn_ports_held_fd(), .events = POLLIN };
	struct timespec zero = { 0, 0 };

	if (pfd.fd >= 0 && fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0) {
		for (unsigned i = 0; i < fn_config.nnics; i++) {
			if (ports[i].wait != pfd.fd)
				continue;
			fn_fd_internal_close(ports[i].wait);
			ports[i].wait = -1;
			ports[i].holder = 0;
		}
		changed = true;
		fn_listen_epoch++;
	}
	return changed;
}

/* ---- opening ---- */

static void record(unsigned i, enum fn_info_port_state state, int holder, int error)
{
	fastnet_info.port[i].state = state;
	fastnet_info.port[i].holder = holder;
	fastnet_info.port[i].error = error;
}

static int failed(unsigned i, int err, const char *text)
{
	const struct fn_nic_conf *c = &fn_config.nics[i];

	fn_log(FN_LOG_ERROR, "port %s (%s) cannot be opened: %s", c->name, c->devargs, text);
	record(i, FN_INFO_PORT_FAILED, 0, -err);
	if (fn_config.on_error == FN_ON_ERROR_ABORT)
		fn_sys(SYS_exit_group, 1);
	return err;
}

static bool is_pci(const struct fn_nic_conf *c)
{
	return strncmp(c->devargs, "net_", 4) && strncmp(c->devargs, "eth_", 4);
}

/* Linux's virtual devices want CAP_NET_RAW or CAP_NET_ADMIN. */
static bool has_caps(const struct fn_nic_conf *c)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (strncmp(c->devargs, "net_af_", 7) && strncmp(c->devargs, "net_tap", 7))
		return true;
	return fn_sys(SYS_capget, &h, d) < 0 || d[0].effective & (1u << CAP_NET_RAW | 1u << CAP_NET_ADMIN);
}

static void port_conf(struct fn_port_conf *pc, const struct fn_nic_conf *c, const struct fn_stack *st)
{
	*pc = (struct fn_port_conf){
		.name = c->name, .devargs = c->devargs, .eal_args = fn_config.eal_args,
		.mac = c->has_mac ? c->mac : NULL, .rss_key = st ? st->rss_key : NULL, .mtu = c->mtu, .queues = c->queues,
		.buffers = c->buffers, .ports = fn_config.nnics, .hugepages = (enum fn_port_huge)fn_config.hugepages,
		.csum = (enum fn_port_csum)c->csum, .tso = (enum fn_port_tso)c->tso, .numa_node = -1, .fd_floor = FN_FD_INTERNAL,
	};
	for (unsigned i = 0; i < fn_config.nnics; i++)
		pc->pci |= is_pci(&fn_config.nics[i]);
}

/* The descriptors that the port opened are internal ones: the program cannot close them. */
static void claim_fds(struct port *p)
{
	int own[FN_PLUGIN_OWN_FDS];
	int n = plugin->own_fds(p->port, own, fn_array_size(own));

	for (int i = 0; i < n; i++)
		fn_fd_internal_claim(own[i]);
	n = plugin->wait_fds(p->port, p->fds, FN_PLUGIN_FDS);
	p->nfds = n > 0 ? (unsigned)n : 0;
}

static int open_port(unsigned i, struct fn_stack *st)
{
	const struct fn_nic_conf *c = &fn_config.nics[i];
	struct port *p = &ports[i];
	struct fn_port_conf pc;
	char err[256] = "", devargs[FN_CONF_DEVARGS];
	int ret;

	if (p->port)
		return 0;
	if (p->hold < 0)
		return -EADDRINUSE;
	ret = load_plugin(err, sizeof(err));
	if (ret < 0) {
		drop_hold(p);
		return failed(i, ret, err);
	}
	p->nic = fn_arena_alloc(st->arena, sizeof(*p->nic));
	if (!p->nic)
		return -ENOMEM;
	p->nic->ip4 = c->ip4;
	p->nic->ip4_mask = c->ip4_mask;
	p->nic->ip4_gw = c->ip4_gw;
	memcpy(p->nic->name, c->name, sizeof(p->nic->name));
	port_conf(&pc, c, st);
	if (!has_caps(c))
		pc.devargs = fn_reserve_devargs(c, i, devargs, sizeof(devargs));
	ret = plugin->open(&pc, p->nic, &p->port, err, sizeof(err));
	if (ret < 0) {
		drop_hold(p);
		return failed(i, ret, err);
	}
	claim_fds(p);
	p->nic->ifindex = if_nametoindex(p->port->ifname);
	record(i, FN_INFO_PORT_OPEN, 0, 0);
	fn_log(FN_LOG_INFO, "port %s (%s) is open", c->name, c->devargs);
	return fn_stack_add_nic(st, p->nic);
}

void fn_ports_prepare(void)
{
	struct fn_port_conf pc;
	char err[256] = "";
	int own[FN_PLUGIN_OWN_FDS], n, ret = load_plugin(err, sizeof(err));

	if (ret < 0 || !fn_config.nnics)
		return;
	port_conf(&pc, &fn_config.nics[0], NULL);
	ret = plugin->prepare(&pc, err, sizeof(err));
	if (ret < 0)
		fn_log(FN_LOG_WARNING, "port %s will not be opened after chroot: %s", fn_config.nics[0].name, err);
	n = plugin->own_fds(NULL, own, fn_array_size(own));
	for (int i = 0; i < n; i++)
		fn_fd_internal_claim(own[i]);
}

static int hold_port(unsigned i)
{
	const struct fn_nic_conf *c = &fn_config.nics[i];
	int before = ports[i].holder, ret;

	if (lost) {
		record(i, FN_INFO_PORT_FAILED, 0, ECHILD);
		return -ECHILD;
	}
	/*
	 * nginx's worker, in the second half of its life, when it kept nothing of its privileges: it does not even take the
	 * name, for it could not open the port, and would keep it from one that can.
	 */
	if (!has_caps(c) && !fn_reserve_serves(c)) {
		fn_log_limited(FN_LOG_WARNING, "port %s: no right to open it any more (CAP_NET_RAW); sockets stay with the kernel",
			       c->name);
		record(i, FN_INFO_PORT_FAILED, 0, EPERM);
		return -EPERM;
	}
	ret = take_hold(&ports[i], c);

	if (ret == -EADDRINUSE) {
		if (ports[i].holder != before)
			fn_log(FN_LOG_WARNING, "port %s is held by PID %d; sockets stay with the kernel until it is free",
			       c->name, ports[i].holder);
		record(i, FN_INFO_PORT_HELD, ports[i].holder, 0);
	} else if (ret < 0)
		failed(i, ret, strerror(-ret));
	return ret;
}

int fn_ports_hold(void)
{
	int held = 0;

	changed = false;
	for (unsigned i = 0; i < fn_config.nnics; i++)
		held += hold_port(i) == 0;
	return held;
}

int fn_ports_open(struct fn_stack *st)
{
	int open = 0;

	for (unsigned i = 0; i < fn_config.nnics; i++)
		open += open_port(i, st) == 0;
	fn_reserve_drop();
	return open;
}

void fn_ports_init(void)
{
	for (unsigned i = 0; i < FN_CONF_NICS; i++)
		ports[i].hold = ports[i].wait = -1;
}

unsigned fn_ports_wait_fds(struct pollfd *fds, unsigned max, bool *nap)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fn_config.nnics; i++) {
		if (!ports[i].port)
			continue;
		plugin->arm(ports[i].port);
		if (!ports[i].port->wakes)
			*nap = true;
		for (unsigned k = 0; k < ports[i].nfds && n < max; k++)
			fds[n++] = (struct pollfd){ .fd = ports[i].fds[k], .events = POLLIN };
	}
	return n;
}

static bool still;

void fn_ports_still(void)
{
	still = true;
}

void fn_ports_tick(uint64_t now)
{
	static uint64_t next;

	if (now < next || still)
		return;
	next = now + FN_NSEC;
	fn_thread_self()->inside = true;
	for (unsigned i = 0; i < fn_config.nnics; i++)
		if (ports[i].port)
			plugin->tick(ports[i].port);
	fn_thread_self()->inside = false;
}

void fn_ports_awake(void)
{
	for (unsigned i = 0; i < fn_config.nnics; i++)
		if (ports[i].port)
			plugin->disarm(ports[i].port);
}

static void lose_port(struct port *p)
{
	int own[FN_PLUGIN_OWN_FDS], n;

	drop_hold(p);
	if (!p->port)
		return;
	n = plugin->own_fds(p->port, own, fn_array_size(own));
	for (int i = 0; i < n; i++)
		fn_fd_internal_close(own[i]);
	p->port = NULL;
	p->nic = NULL;
	p->nfds = 0;
}

void fn_ports_thread_ready(void)
{
	int fd = -1;

	if (!plugin)
		return;
	fn_thread_self()->inside = true;
	fd = plugin->thread_ready();
	fn_thread_self()->inside = false;
	if (fd >= 0)
		fn_fd_internal_claim(fd);
}

void fn_ports_thread_call(long n, const long arg[5])
{
	if (plugin)
		plugin->thread_call(n, arg);
}

void fn_ports_lose(void)
{
	bool had = lost;

	for (unsigned i = 0; i < fn_config.nnics; i++) {
		if (ports[i].port)
			lost = true;
		lose_port(&ports[i]);
	}
	if (lost && !had)
		fn_ports_thread_call(0, NULL);
}

/* What a driver asks of the kernel with sockets of its own is nobody's business, least of all before fork has returned. */
void fn_ports_child(void)
{
	fn_thread_self()->inside = true;
	for (unsigned i = 0; i < fn_config.nnics; i++)
		if (ports[i].port)
			plugin->child_after_fork(ports[i].port);
	fn_thread_self()->inside = false;
}
