/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peers of this image: meeting, memory, bells, death. One table; all of it changes under the engine's lock, and no call
 * made under it can block. New peers are met only while no other image shares the stack: its memory would not be there.
 */
#include "shim/fabric.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>

#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/kroute.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/peer.h"
#include "shim/rendezvous.h"
#include "shim/uid.h"
#include "shim/wait.h"
#include "stack/nic_shm.h"

#define RENDEZVOUS_MARK	0x10000		/* marks below it are places in peers[] */
#define TICK_NS		(10 * FN_MSEC)
#define REFUSED		16		/* listeners that did not answer are not asked again for a while */
#define REFUSED_NS	FN_NSEC

enum state {
	FREE,
	GREETED,	/* we have sent HELLO */
	WELCOMED,	/* we have answered it; its payload memory is to come */
	UP,
	GONE,		/* dead, or not wanted; its memory may still be read by our program */
};

static struct peer {
	uint8_t state;			/* enum state */
	bool self;
	int number;			/* nic_shm's; 0: none yet */
	int sock;			/* internal; -1 */
	int status;			/* GREETED: what came of it */
	uid_t uid;
	uid_t met_as;			/* who we were then */
	uint64_t cookie;		/* of the listener by which we met it; 0: it met us, or that listener has ended */
	void *channel;
	size_t channel_size;
	const void *payload;
	size_t payload_size;
	void *copies;			/* of another user: our payload memory for it alone */
} peers[FN_SHM_PEERS];
static unsigned top;			/* peers in use are below */
static struct peer *by_number[FN_SHM_PEERS];

static struct {
	struct fn_nic *nic;		/* NULL: no fabric */
	int payload_fd;			/* internal */
	void *payload;
	uid_t payload_uid;		/* who we were when it was made */
	uint64_t tick;
	struct {
		uint64_t cookie, until;
	} refused[REFUSED];
	unsigned next_refused;
} fabric = { .payload_fd = -1 };

/* ---- the table ---- */

static struct peer *peer_new(enum state state, int sock)
{
	unsigned i;

	for (i = 0; i < FN_SHM_PEERS && peers[i].state != FREE; i++)
		;
	if (i == FN_SHM_PEERS)
		return NULL;
	top = fn_max(top, i + 1);
	peers[i] = (struct peer){ .state = (uint8_t)state, .sock = sock, .uid = (uid_t)-1, .met_as = fn_uid_own() };
	if (sock >= 0)
		fn_fd_internal_track(&peers[i].sock);
	return &peers[i];
}

static void watch(int fd, uint64_t what)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = FN_FABRIC_MARK(what) };
	int epfd = fn_engine_side_epfd();

	if (epfd >= 0)
		fn_sys_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
	fn_engine.side_due = 0;
}

void fn_fabric_watch_all(void)
{
	int fd;

	if (!fabric.nic)
		return;
	for (unsigned i = 0; i < top; i++)
		if (peers[i].state != FREE && peers[i].sock >= 0)
			watch(peers[i].sock, i);
	for (unsigned i = 0; i < fn_rendezvous_count(); i++)
		if ((fd = fn_rendezvous_watched(i)) >= 0)
			watch(fd, RENDEZVOUS_MARK + i);
}

static size_t copies_size(void)
{
	return fn_min(fn_config.fabric_memory & ~4095ul, (size_t)FN_SHM_COPIES);
}

static void hang_up(struct peer *p)
{
	fn_fd_internal_close(p->sock);
	p->sock = -1;
}

static void peer_free(struct peer *p)
{
	hang_up(p);
	if (p->number > 0)
		by_number[p->number] = NULL;
	fn_peer_unmap(p->channel, p->channel_size);
	if (!p->self)
		fn_peer_unmap(p->payload, p->payload_size);
	fn_peer_unmap(p->copies, copies_size());
	*p = (struct peer){ .sock = -1 };
}

/* Nothing can be met by an image that shares its stack, nor for it. */
static bool alone(void)
{
	return !fn_engine.shares || !fn_family_others();
}

/* ---- memory ---- */

/* The rings are there: the peer gets its number. */
static int join(struct peer *p, bool first)
{
	uint8_t *a = p->channel, *b = a + fn_peer_ring_size();
	struct fn_shm_pair pair = { .tx = first ? a : b, .rx = first ? b : a, .tx_slots = FN_PEER_SLOTS,
				    .rx_slots = FN_PEER_SLOTS, .payload = p->payload, .payload_len = p->payload_size,
				    .copies = p->copies, .copies_len = copies_size() };
	int number = fn_shm_peer_add(fabric.nic, &pair);

	if (number < 0)
		return number;
	p->number = number;
	by_number[number] = p;
	if (fn_engine.shared->asleep)	/* another thread sleeps: this peer is to ring it too */
		fn_shm_arm(fabric.nic);
	return 0;
}

/* The payload memory that p, of user p->uid, may see: descriptor to hand over, and to close if *alone; -errno. */
static int payload_for(struct peer *p, bool *alone)
{
	*alone = !fn_uid_may_see(p->uid, fabric.payload_uid);
	return *alone ? fn_peer_memory_alone(copies_size(), &p->copies) : fabric.payload_fd;
}

static bool take_payload(struct peer *p, int fd)
{
	p->payload = fd >= 0 ? fn_peer_map_payload(fd, &p->payload_size) : NULL;
	return p->payload != NULL;
}

/* ---- death ---- */

/* The peer is gone: all that it published is taken, then its connections end. What a liar goes on publishing is not. */
static void bury(struct peer *p)
{
	struct fn_stack *st = fn_engine.st;

	hang_up(p);
	p->cookie = 0;
	if (p->number <= 0) {
		peer_free(p);
		return;
	}
	for (unsigned i = 0; i < FN_PEER_SLOTS && !fn_shm_drained(fabric.nic, p->number); i++)
		fn_stack_poll(st, st->now);
	fn_shm_peer_dead(fabric.nic, p->number);
	fn_tcp_peer_gone(st, (uint16_t)p->number);
	fn_peer_unmap(p->channel, p->channel_size);
	fn_peer_unmap(p->copies, copies_size());
	p->channel = p->copies = NULL;
	p->state = GONE;
	fabric.tick = 0;
}

void fn_fabric_tick(uint64_t now)
{
	if (fn_likely(now < fabric.tick) || !fabric.nic)
		return;
	fabric.tick = now + TICK_NS;
	for (unsigned i = 0; i < top; i++) {
		struct peer *p = &peers[i];

		if (p->number > 0 && p->state != GONE && fn_shm_broken(fabric.nic, p->number)) {
			fn_log_limited(FN_LOG_WARNING, "a process of user %u wrote what cannot be into its channel; its connections end",
				       (unsigned)p->uid);
			bury(p);
		}
		if (p->state == GONE && !fn_tcp_peer_used(fn_engine.st, (uint16_t)p->number) &&
		    fn_shm_peer_del(fabric.nic, p->number))
			peer_free(p);
	}
}

/* ---- messages ---- */

static void got_hello(struct peer *p, const struct fn_peer_msg *m, int fd)
{
	int status = 0, payload = -1;
	bool alone_fd = false;

	if (m->version != FN_PEER_VERSION || m->slots != FN_PEER_SLOTS)
		status = -EPROTO;
	else if (!alone())
		status = -EBUSY;
	p->channel = !status && fd >= 0 ? fn_peer_map_channel(fd) : NULL;
	p->channel_size = fn_peer_channel_size();
	if (!status && !p->channel)
		status = -ENOMEM;
	if (!status && (payload = payload_for(p, &alone_fd)) < 0)
		status = payload;
	if (!status)
		status = join(p, false);
	if (fn_peer_send(p->sock, FN_PEER_WELCOME, 0, status, status ? -1 : payload) < 0 || status)
		bury(p);
	if (alone_fd)
		fn_fd_internal_close(payload);
}

/* The listener's process has answered: ours is the rest. */
static void got_welcome(struct peer *p, const struct fn_peer_msg *m, int fd, uid_t uid)
{
	int payload = -1;
	bool alone_fd = false;

	p->uid = uid;
	if (m->version != FN_PEER_VERSION)
		p->status = -EPROTO;
	else if (m->status)
		p->status = m->status < 0 ? m->status : -EPROTO;
	else if (!take_payload(p, fd))
		p->status = -ENOMEM;
	else if ((payload = payload_for(p, &alone_fd)) < 0)
		p->status = payload;
	else
		p->status = join(p, true);
	if (!p->status)
		p->status = fn_peer_send(p->sock, FN_PEER_PAYLOAD, 0, 0, payload);
	if (alone_fd)
		fn_fd_internal_close(payload);
	if (!p->status)
		p->state = UP;
}

/* A listener has ended there: whoever has the socket now is asked anew. */
static void got_unlisten(struct peer *p, uint64_t cookie)
{
	if (p->cookie == cookie)
		p->cookie = 0;
}

/* False: it is to be buried. */
static bool got_message(struct peer *p, const struct fn_peer_msg *m, int fd, uid_t uid)
{
	if (p->state == WELCOMED && m->type == FN_PEER_HELLO && !p->channel) {
		got_hello(p, m, fd);
		return true;
	}
	if (p->state == GREETED && m->type == FN_PEER_WELCOME && !p->status) {
		got_welcome(p, m, fd, uid);
		return true;
	}
	if (p->state == WELCOMED && m->type == FN_PEER_PAYLOAD && p->channel) {
		if (!take_payload(p, fd))
			return false;
		fn_shm_peer_payload(fabric.nic, p->number, p->payload, p->payload_size);
		p->state = UP;
		return true;
	}
	if (p->state == UP && m->type == FN_PEER_UNLISTEN) {
		got_unlisten(p, m->cookie);
		return true;
	}
	return false;
}

static void peer_event(struct peer *p)
{
	struct fn_peer_msg m;
	uid_t uid;
	int fd, ret;

	while (p->sock >= 0 && (ret = fn_peer_recv(p->sock, &m, &fd, &uid)) != -EAGAIN) {
		if (ret == 1 && !got_message(p, &m, fd, uid))
			ret = -EPROTO;
		if (fd >= 0)
			fn_sys_close(fd);
		/* a bell for a thread that sleeps, whoever of us has read it */
		if (ret == 0 && fn_engine.watcher)
			fn_thread_ring(fn_engine.watcher);
		if (ret >= 0)
			continue;
		if (p->state == GREETED)	/* its connect is waiting for the outcome */
			p->status = p->status ? p->status : ret;
		else
			bury(p);
		return;
	}
}

/* Somebody comes: the one who connects speaks first. */
static void rendezvous_event(unsigned i)
{
	int listener = fn_rendezvous_watched(i), fd;
	struct peer *p;

	while (listener >= 0 && (fd = (int)fn_sys(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
		fd = fn_fd_internal(fd);
		p = fd >= 0 ? peer_new(WELCOMED, fd) : NULL;
		if (!p) {
			fn_fd_internal_close(fd);
			return;
		}
		p->uid = fn_peer_uid(fd);
		watch(fd, (uint64_t)(p - peers));
		peer_event(p);
	}
}

void fn_fabric_event(uint64_t mark)
{
	uint64_t what = mark >> 1;

	if (!fabric.nic)
		return;
	if (what >= RENDEZVOUS_MARK)
		rendezvous_event((unsigned)(what - RENDEZVOUS_MARK));
	else if (what < top && peers[what].state != FREE)
		peer_event(&peers[what]);
}

/* ---- the NIC's side ---- */

static int grow_copies(void *ctx, int number, size_t size)
{
	return fn_peer_back_mapped(by_number[number]->copies, size);
}

/* nic_shm has written to a peer that sleeps. */
static void ring(void *ctx, int number)
{
	struct peer *p = by_number[number];

	if (p && p->self && fn_engine.watcher)
		fn_thread_ring(fn_engine.watcher);
	else if (p && p->sock >= 0)
		fn_peer_ring(p->sock);
}

static int grow(void *ctx, size_t size)
{
	return fn_peer_back(fabric.payload_fd, size);
}

bool fn_fabric_arm(void)
{
	return !fabric.nic || fn_shm_arm(fabric.nic);
}

void fn_fabric_disarm(void)
{
	/* another image may still sleep */
	if (fabric.nic && !(fn_engine.shared->asleep & ~fn_engine.mine))
		fn_shm_disarm(fabric.nic);
}

bool fn_fabric_pending(void)
{
	return fabric.nic && fabric.nic->ops->rx_pending(fabric.nic);
}

bool fn_fabric_beside(void)
{
	int cpu = sched_getcpu();

	if (!fabric.nic || cpu < 0)
		return false;
	fn_shm_run_on(fabric.nic, (uint32_t)cpu);
	return fn_shm_beside(fabric.nic);
}

bool fn_fabric_source_ok(const struct fn_sock *sk)
{
	const struct peer *p = by_number[sk->remote.peer];

	if (ntohl(sk->remote.ip4) >> 24 != 127 && !fn_kroute_is_host(sk->remote.ip4))
		return false;
	/* net.ipv4.ip_unprivileged_port_start's default */
	return ntohs(sk->remote.port) >= 1024 || (p && !p->uid);
}

static bool make_payload(void)
{
	size_t size = fn_config.fabric_memory & ~4095ul;

	fabric.payload_fd = fn_peer_memory("fastnet-payload", size, false);
	if (fabric.payload_fd < 0)
		return false;
	fn_fd_internal_track(&fabric.payload_fd);
	fabric.payload_uid = fn_uid_own();
	fabric.payload = fn_peer_map(fabric.payload_fd, size);
	return fabric.payload && fn_peer_seal(fabric.payload_fd) == 0;
}

/* Ports of our end: above what the kernel gives to its own sockets, or below when there is too little room. */
static void choose_ports(struct fn_stack *st)
{
	unsigned first = 32768, last = 60999;
	char buf[32] = "";
	int fd = (int)fn_sys(SYS_openat, AT_FDCWD, "/proc/sys/net/ipv4/ip_local_port_range", O_RDONLY | O_CLOEXEC, 0);

	if (fd >= 0) {
		fn_sys_read(fd, buf, sizeof(buf) - 1);
		fn_sys_close(fd);
		sscanf(buf, "%u %u", &first, &last);
	}
	if (last < 65535 && 65535 - last >= 2048) {
		st->conf.fabric_first = (uint16_t)(last + 1);
		st->conf.fabric_last = 65535;
	} else if (first > 4096) {
		st->conf.fabric_first = (uint16_t)(first / 2);
		st->conf.fabric_last = (uint16_t)(first - 1);
	}
}

bool fn_fabric_start(struct fn_stack *st)
{
	struct fn_shm_conf conf = { .payload_len = fn_config.fabric_memory & ~4095ul, .grow = grow,
				    .grow_copies = grow_copies, .ring = ring };
	struct fn_nic *nic;

	if (!fn_config.fabric)
		return false;
	if (!make_payload()) {
		fn_log(FN_LOG_WARNING, "no memory for the fabric; local connections stay with the kernel");
		return false;
	}
	conf.payload = fabric.payload;
	nic = fn_shm_create(st->arena, &conf);
	if (!nic || fn_stack_add_nic(st, nic) < 0)
		return false;
	choose_ports(st);
	fabric.nic = nic;
	fn_engine.fabric = true;
	return true;
}

/* ---- meeting ---- */

static bool refused_lately(uint64_t cookie, uint64_t now)
{
	for (unsigned i = 0; i < REFUSED; i++)
		if (fabric.refused[i].cookie == cookie && now < fabric.refused[i].until)
			return true;
	return false;
}

static void note_refused(uint64_t cookie)
{
	unsigned i = fabric.next_refused++ % REFUSED;

	fabric.refused[i].cookie = cookie;
	fabric.refused[i].until = fn_now() + REFUSED_NS;
}

/* Whoever we met when we were another user is met anew. */
static int known(uint64_t cookie)
{
	uid_t us = fn_uid_own();

	for (unsigned i = 0; i < top; i++)
		if (peers[i].state == UP && peers[i].cookie == cookie && peers[i].met_as == us)
			return peers[i].number;
	return 0;
}

/* A stack reaches itself by a channel whose one ring is both. */
static int meet_self(void)
{
	struct peer *p;
	struct fn_shm_pair pair = { .tx_slots = FN_PEER_SLOTS, .rx_slots = FN_PEER_SLOTS, .payload = fabric.payload,
				    .payload_len = fn_config.fabric_memory & ~4095ul };
	void *mem;

	for (unsigned i = 0; i < top; i++)
		if (peers[i].self)
			return peers[i].number;
	mem = (void *)fn_sys(SYS_mmap, NULL, fn_peer_ring_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	p = (unsigned long)mem > -4096ul ? NULL : peer_new(UP, -1);
	if (!p)
		return -ENOMEM;
	p->self = fn_engine.to_itself = true;
	p->uid = fn_uid_own();
	p->channel = pair.tx = pair.rx = mem;
	p->channel_size = fn_peer_ring_size();
	p->number = fn_shm_peer_add(fabric.nic, &pair);
	if (p->number > 0)
		by_number[p->number] = p;
	return p->number;
}

/* Some number of a file of ours; -1: it has none any more. */
static int number_of(const struct fn_file *f)
{
	for (unsigned fd = 0; fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] == f)
			return (int)fd;
	return -1;
}

/* The listener is this image's, and no other image's as far as can be known: its number, or that of the peer that we are
 * to ourselves. 0: neither. */
static int own(const struct fn_rendezvous *at)
{
	bool forked = false;
	struct fn_file *f;
	int fd = -1, ret = 0;

	fn_engine_lock();
	f = fn_rendezvous_own(at->cookie, &forked);
	if (f && !f->sk && !forked)
		fd = number_of(f);
	if (fd >= 0)
		fn_file_hold(f);
	fn_engine_unlock();
	if (fd >= 0) {
		fn_listen_attach(f, fd);
		fn_file_put(f);
	}
	fn_engine_lock();
	f = fn_rendezvous_own(at->cookie, &forked);
	if (f && f->sk)
		ret = meet_self();
	fn_engine_unlock();
	return ret;
}

static struct peer *greet(const struct fn_rendezvous *at, int sock)
{
	struct peer *p = peer_new(GREETED, sock);
	int fd;

	if (!p) {
		fn_fd_internal_close(sock);
		return NULL;
	}
	p->cookie = at->cookie;
	p->channel_size = fn_peer_channel_size();
	fd = fn_peer_memory("fastnet-channel", p->channel_size, true);
	if (fd >= 0 && fn_peer_back(fd, p->channel_size) == 0)
		p->channel = fn_peer_map(fd, p->channel_size);
	p->status = p->channel ? fn_peer_send(sock, FN_PEER_HELLO, at->cookie, 0, fd) : -ENOMEM;
	fn_fd_internal_close(fd);
	if (p->status < 0) {
		peer_free(p);
		return NULL;
	}
	watch(sock, (uint64_t)(p - peers));
	return p;
}

/* Until the other process has answered, or has not in time. We go on answering others meanwhile: they may be waiting for us. */
static int await_welcome(struct peer *p)
{
	uint64_t until = fn_now() + fn_config.fabric_wait_ms * FN_MSEC, now;
	struct pollfd pfd[2];
	struct timespec ts;
	int ret;

	for (;;) {
		now = fn_now();
		fn_engine_lock();
		fn_engine_poll(now);
		fn_dual_check(now);
		ret = p->state == UP ? p->number : p->status ? p->status : now >= until ? -ETIMEDOUT : 0;
		if (ret < 0) {
			note_refused(p->cookie);
			if (p->number > 0)
				bury(p);
			else
				peer_free(p);
		}
		pfd[0] = (struct pollfd){ .fd = p->sock, .events = POLLIN };
		pfd[1] = (struct pollfd){ .fd = fn_engine.side_epfd, .events = POLLIN };
		fn_engine_unlock();
		if (ret)
			return ret;
		ts = (struct timespec){ .tv_sec = (time_t)((until - now) / FN_NSEC), .tv_nsec = (long)((until - now) % FN_NSEC) };
		fn_sys_ppoll(pfd, 2, &ts, NULL);
	}
}

static int meet(const struct fn_rendezvous *at)
{
	int sock = fn_rendezvous_connect(at);
	struct peer *p = NULL;

	if (sock < 0)
		return sock == -ECONNREFUSED ? 0 : sock;
	if (!fn_engine_start() || !fabric.nic) {
		fn_fd_internal_close(sock);
		return -ENOMEM;
	}
	fn_engine_lock();
	if (alone())
		p = greet(at, sock);
	else
		fn_fd_internal_close(sock);
	fn_engine_unlock();
	return p ? await_welcome(p) : -EBUSY;
}

int fn_fabric_reach(uint32_t ip4, uint16_t port)
{
	struct fn_rendezvous at;
	bool refused;
	int ret;

	if (!fn_config.fabric)
		return 0;
	ret = fn_rendezvous_find(ip4, port, &at);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	ret = own(&at);
	if (ret)
		return ret;
	if (fn_engine.fabric) {
		fn_engine_lock();
		ret = known(at.cookie);
		refused = !ret && refused_lately(at.cookie, fn_now());
		fn_engine_unlock();
		if (ret || refused)
			return ret;
	}
	return meet(&at);
}

/* ---- listeners ---- */

void fn_fabric_listen(struct fn_file *f, int fd)
{
	fn_rendezvous_open(f, fd);
}

void fn_fabric_attached(const struct fn_file *f)
{
	int place = fabric.nic ? fn_rendezvous_watch(f) : -1;

	if (place >= 0)
		watch(fn_rendezvous_watched((unsigned)place), RENDEZVOUS_MARK + (unsigned)place);
}

void fn_fabric_unlisten(const struct fn_file *f)
{
	uint64_t cookie = fn_rendezvous_close(f);

	if (!cookie)
		return;
	for (unsigned i = 0; i < top; i++)
		if (peers[i].state == UP && !peers[i].self)
			fn_peer_send(peers[i].sock, FN_PEER_UNLISTEN, cookie, 0, -1);
}

/* ---- fork ---- */

/* A child that shares no stack has no peers: their sockets would keep them from hearing that we are gone. */
static void forget_peers(void)
{
	for (unsigned i = 0; i < top; i++)
		if (peers[i].state != FREE)
			peer_free(&peers[i]);
	top = 0;
	fn_engine.to_itself = false;
}

void fn_fabric_forked(bool child, bool shares)
{
	fn_rendezvous_forked(child);
	if (!child || shares)
		return;
	forget_peers();
	fn_peer_unmap(fabric.payload, fn_config.fabric_memory & ~4095ul);
	fn_fd_internal_close(fabric.payload_fd);
	fabric.payload_fd = -1;
	fabric.payload = NULL;
	fabric.nic = NULL;
	fn_engine.fabric = false;
}
