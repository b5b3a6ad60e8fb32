/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The peers of this image: meeting, memory, bells, death. One table; all of it changes under the engine's lock, and no call
 * made under it can block.
 *
 * Images that share a stack have a table each, of those that they have met and those that they were forked with, whose memory
 * and sockets they have; nic_shm knows of each peer which images these are, and that no other touches it. A connection's
 * peer is known to every image that has the connection, for it came by accept, connect or fork. The first of them that
 * sees a peer's end declares it dead; the others find that out (fn_fabric_tick()). A peer whose last image has gone is an
 * orphan, which any image buries.
 */
#include "shim/fabric_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>

#include "shim/bell.h"
#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/known.h"
#include "shim/kroute.h"
#include "shim/listen.h"
#include "shim/log.h"
#include "shim/spare.h"
#include "shim/uid.h"
#include "shim/wait.h"
#include "stack/shm_page.h"

#define HOLDER_MARK	0x80000
#define KIN_MARK	0x40000
#define BOARD_MARK	0x20000
#define RENDEZVOUS_MARK	0x10000		/* marks below it are places in the table */
#define TICK_NS		(10 * FN_MSEC)
#define GREET_NS	(10 * FN_NSEC)

struct fn_fabric fn_fabric = { .payload_fd = -1, .look = FN_NEVER };

/* ---- what is watched ---- */

static void watch(int fd, uint64_t what)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = FN_FABRIC_MARK(what) };
	int epfd = fn_engine_side_epfd();

	if (epfd >= 0)
		fn_sys_epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev);
	fn_engine.side_due = 0;
}

void fn_fabric_watch_place(unsigned i)
{
	struct fn_board *board = fn_rendezvous_board(i);
	int fd = fn_rendezvous_watched(i), asking = fn_rendezvous_asking(i);
	const int *kin;
	unsigned n = fd >= 0 ? fn_rendezvous_kin(i, &kin) : 0;

	for (unsigned k = 0; k < n; k++)
		if (kin[k])
			watch(kin[k], KIN_MARK);
	if (asking >= 0)
		watch(asking, RENDEZVOUS_MARK + i);
	if (fd >= 0)
		watch(fd, RENDEZVOUS_MARK + i);
	if (board)
		watch(board->out, BOARD_MARK + i);
}

void fn_peer_watch(struct peer *p)
{
	if (p->sock >= 0)
		watch(p->sock, (uint64_t)(p - fn_peer_at(0)));
	if (p->told >= 0)
		watch(p->told, (uint64_t)(p - fn_peer_at(0)));
}

void fn_fabric_watch_holder(int fd, unsigned i)
{
	watch(fd, HOLDER_MARK + i);
}

void fn_fabric_watch_all(void)
{
	if (!fn_fabric.nic)
		return;
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_peer_at(i)->state != FN_PEER_FREE)
			fn_peer_watch(fn_peer_at(i));
	for (unsigned i = 0; i < fn_rendezvous_count(); i++)
		fn_fabric_watch_place(i);
	fn_holders_watch_all();
}

/* ---- memory ---- */

/* The rings are there: the peer gets its number. */
static int join(struct peer *p, bool first)
{
	uint8_t *a = p->channel, *b = a + fn_peer_ring_size();
	struct fn_shm_pair pair = { .tx = first ? a : b, .rx = first ? b : a, .tx_slots = FN_PEER_SLOTS,
				    .rx_slots = FN_PEER_SLOTS, .payload = p->payload, .payload_len = p->payload_size,
				    .copies = p->copies, .copies_len = fn_peer_copies_size() };
	int number = fn_shm_peer_add(fn_fabric.nic, &pair);

	if (number < 0)
		return number;
	fn_peer_numbered(p, number);
	if (fn_engine.shared->asleep)	/* another thread sleeps: this peer is to ring it too */
		fn_shm_arm(fn_fabric.nic);
	return 0;
}

/* The payload memory that p, of user p->uid, may see: descriptor to hand over, and to close if *alone; -errno. */
static int payload_for(struct peer *p, bool *alone)
{
	bool told = p->state == FN_PEER_WELCOMED || p->state == FN_PEER_CALLED;

	*alone = p->copies_fd >= 0;
	if (*alone)
		return p->copies_fd;
	/* what the dead image of a family had sent is not to be overwritten by the others (fn_fabric_image_gone()) */
	*alone = !fn_uid_may_see(p->uid, fn_fabric.payload_uid) || (told && p->sender != p->uid) || fn_family_others();
	return *alone ? fn_peer_memory_alone(fn_peer_copies_size(), &p->copies) : fn_fabric.payload_fd;
}

/* ---- death ---- */

/* Nobody accepts from that listener any more: what waits there is reset, as the kernel does. */
static void bury_group(struct peer *p)
{
	struct fn_stack *st = fn_engine.st;

	fn_shm_peer_dead(fn_fabric.nic, p->number);
	fn_stack_poll(st, st->now);
	fn_tcp_peer_gone(st, (uint16_t)p->number);
	p->state = FN_PEER_GONE;
	fn_fabric.tick = 0;
}

void fn_peer_take_left(const struct peer *p)
{
	for (unsigned where = FN_LEFT_OURS; where <= FN_LEFT_PAGE; where++) {
		struct fn_left left = { .where = (uint8_t)where };

		while (fn_shm_left(fn_fabric.nic, p->number, &left))
			fn_tcp_left(fn_engine.st, &left);
	}
}

/* All that has come of p is read. */
static void tell_liar(const struct peer *p)
{
	if (!fn_shm_broken(fn_fabric.nic, p->number))
		return;
	fn_log_limited(FN_LOG_WARNING, "a process of user %u wrote what cannot be into its channel; its connections end",
		       (unsigned)p->uid);
	fn_engine.st->stats.fabric_refused++;
}

/* What a liar goes on publishing is not taken. */
void fn_peer_bury(struct peer *p)
{
	struct fn_stack *st = fn_engine.st;
	bool buried;

	if (p->state == FN_PEER_GROUP)
		fn_half_event(p);
	buried = fn_peer_lives(p) && fn_shm_is_dead(fn_fabric.nic, p->number);

	fn_known_forget();
	/* other images' descriptors of it: they wake up, and so does it */
	if (fn_peer_lives(p) && fn_peer_images(p->number) & ~fn_engine.bit && p->sock >= 0)
		fn_sys(SYS_shutdown, p->sock, SHUT_RDWR);
	fn_peer_hang_up(p);
	p->cookie = 0;
	if (!fn_peer_lives(p)) {
		fn_peer_free(p);
		return;
	}
	if (p->state == FN_PEER_GROUP) {
		bury_group(p);
		return;
	}
	p->state = FN_PEER_GONE;
	for (unsigned i = 0; i < FN_PEER_SLOTS && !fn_shm_drained(fn_fabric.nic, p->number); i++)
		fn_stack_poll(st, st->now);
	fn_dgram_gone(p);
	if (!buried) {
		tell_liar(p);
		fn_peer_take_left(p);
	}
	fn_shm_peer_dead(fn_fabric.nic, p->number);
	if (!buried)
		fn_tcp_peer_gone(st, (uint16_t)p->number);
	fn_peer_unmap_channel(p);
	fn_peer_unmap(p->copies, fn_peer_copies_size());
	p->copies = NULL;
	fn_fabric.tick = 0;
}

/* Its number may be another's: no connection is left, none that it offers, and nothing of its memory is in use. */
static bool is_over(const struct peer *p)
{
	if (p->state != FN_PEER_GONE || !fn_peer_lives(p))
		return p->state == FN_PEER_GONE;
	return !fn_tcp_peer_used(fn_engine.st, (uint16_t)p->number) && !fn_shm_offered(fn_fabric.nic, p->number, 0) &&
	       fn_shm_peer_del(fn_fabric.nic, p->number);
}

/* It came, and has not said in time what it must say. */
static bool said_too_little(const struct peer *p, uint64_t now)
{
	return (p->state == FN_PEER_MET || p->state == FN_PEER_WELCOMED) && p->sock >= 0 && now > p->since + GREET_NS;
}

void fn_fabric_tick(uint64_t now)
{
	if (fn_likely(now < fn_fabric.tick && now < fn_fabric.look_at) || !fn_fabric.nic)
		return;
	fn_fabric.tick = now + TICK_NS;
	fn_group_look_again();
	fn_group_deferred(now);
	fn_fabric_tick_images();
	fn_dgram_tick();
	fn_holders_tick();
	fn_unsent_tick(now);
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		/* another image has been quicker */
		if (p->number > 0 && p->state != FN_PEER_GONE && (!fn_peer_lives(p) || fn_shm_is_dead(fn_fabric.nic, p->number)))
			fn_peer_bury(p);
		if (p->number > 0 && p->state != FN_PEER_GONE && fn_shm_broken(fn_fabric.nic, p->number))
			fn_peer_bury(p);
		if (p->adrift && p->state == FN_PEER_GROUP && !fn_group_hung_up(p))
			fn_peer_bury(p);
		if (said_too_little(p, now)) {
			fn_engine.st->stats.fabric_refused++;
			fn_peer_bury(p);
		}
		if (fn_half_over(p))
			fn_peer_bury(p);
		if (p->leaves && p->state != FN_PEER_GONE && now > p->since)
			fn_peer_bury(p);
		if (is_over(p) || (p->state >= FN_PEER_MET && p->state <= FN_PEER_WELCOMED && p->sock < 0))
			fn_peer_free(p);
	}
}

/* ---- messages ---- */

static void got_hello(struct peer *p, const struct fn_peer_msg *m, int fd)
{
	int status = 0, payload = -1;
	bool alone = false;

	if (m->version != FN_PEER_VERSION || m->slots != FN_PEER_SLOTS)
		status = -EPROTO;
	p->channel = !status && fd >= 0 ? fn_peer_map_shared(fd, p->channel_room, fn_peer_channel_size()) : NULL;
	p->channel_size = fn_peer_channel_size();
	if (!status && !p->channel)
		status = -ENOMEM;
	if (!status)
		fn_half_channel(p, fd);
	if (!status && (payload = payload_for(p, &alone)) < 0)
		status = payload;
	if (!status)
		status = join(p, false);
	/* nobody there any more: what it has sent is read all the same */
	fn_peer_send(p->sock, FN_PEER_WELCOME, 0, status, status ? -1 : payload);
	fn_fd_internal_close(alone ? payload : p->copies_fd);
	p->copies_fd = -1;
	if (!status) {
		fn_group_joined(p);
	} else {
		fn_engine.st->stats.fabric_refused++;
		fn_peer_hang_up(p);
	}
}

/* Who offers connections has answered: its memory. */
bool fn_peer_welcomed(struct peer *p, const struct fn_peer_msg *m, int fd)
{
	if (m->version != FN_PEER_VERSION || m->status || !fn_peer_take_payload(p, fd))
		return false;
	fn_shm_peer_payload(fn_fabric.nic, p->number, p->payload, p->payload_size);
	p->state = FN_PEER_UP;
	p->met_twice = fn_half_shared(p);
	fn_half_end(p);
	return true;
}

bool fn_peer_join_called(struct peer *p, int fd)
{
	bool alone = false, ok;
	int payload;

	if (!fn_peer_take_payload(p, fd))
		return false;
	payload = payload_for(p, &alone);
	ok = payload >= 0 && join(p, true) == 0;
	if (ok) {
		fn_peer_send(p->sock, FN_PEER_PAYLOAD, 0, 0, payload);
		p->state = FN_PEER_UP;
	}
	if (alone)
		fn_fd_internal_close(payload);
	return ok;
}

/* False: it is to be buried. */
static bool got_message(struct peer *p, const struct fn_peer_msg *m, int fd)
{
	if (p->state == FN_PEER_WELCOMED && m->type == FN_PEER_HELLO && !p->channel) {
		got_hello(p, m, fd);
		return true;
	}
	if (p->state == FN_PEER_CALLED)
		return fn_dgram_answered(p, m, fd);
	if (p->state == FN_PEER_GREETED && m->type == FN_PEER_WELCOME)
		return fn_peer_welcomed(p, m, fd);
	if (p->state == FN_PEER_WELCOMED && m->type == FN_PEER_PAYLOAD && p->channel) {
		if (!fn_peer_take_payload(p, fd))
			return false;
		fn_half_payload(p, fd);
		fn_shm_peer_payload(fn_fabric.nic, p->number, p->payload, p->payload_size);
		p->state = FN_PEER_UP;
		return true;
	}
	return p->state == FN_PEER_UP && p->met_twice && m->type == FN_PEER_WELCOME;
}

static int take_message(struct peer *p, const struct fn_peer_msg *m, int *fd, bool to_up)
{
	bool ok;

	if (p->state == FN_PEER_MET || p->state == FN_PEER_GROUP)
		ok = fn_group_message(p, m, fd, to_up);
	else if (m->type == FN_PEER_HOLDER)
		ok = fn_holder_come(p, m->cookie, fd);
	else
		ok = got_message(p, m, *fd);
	return ok ? 1 : -EPROTO;
}

/*
 * A bell for a thread that sleeps, whoever of us has read it; in another image it may not have been heard. It may have been
 * for an offer, which is made once: who does not listen any more does not see it, and those who do are told.
 */
static void rung(const struct peer *p)
{
	uint64_t accepting;

	if (fn_engine.watcher)
		fn_thread_ring(fn_engine.watcher);
	if (fn_likely(!(fn_engine.shared->asleep & ~fn_engine.bit)) || !fn_peer_lives(p))
		return;
	fn_shm_rearm(fn_fabric.nic, p->number);
	accepting = fn_shm_accepting(fn_fabric.nic, p->number);
	if (!(accepting & fn_engine.bit))
		fn_bell_ring(accepting);
}

void fn_peer_event(struct peer *p, bool to_up)
{
	struct fn_peer_msg m;
	uid_t uid;
	int fd, ret;

	if (!fn_half_event(p)) {
		if (!to_up)
			fn_peer_bury(p);
		return;
	}
	while (p->sock >= 0 && !(to_up && p->state == FN_PEER_UP) && fn_group_hears(p) &&
	       (ret = fn_peer_recv(p->sock, &m, &fd, &uid)) != -EAGAIN) {
		p->sender = uid;
		if (ret == 1)
			ret = take_message(p, &m, &fd, to_up);
		fn_engine.st->stats.fabric_refused += ret == -EPROTO;
		if (fd >= 0)
			fn_sys_close(fd);
		if (ret == 0)
			rung(p);
		if (ret >= 0)
			continue;
		if (to_up)	/* in the middle of something; the end is seen again */
			fn_engine.side_due = 0;
		else if (p->state != FN_PEER_GROUP || !fn_group_hung_up(p))
			fn_peer_bury(p);
		return;
	}
	if (p->sock < 0 && !to_up && p->state != FN_PEER_FREE && p->state != FN_PEER_GONE && !p->self)
		fn_peer_bury(p);
}

/* A client, or the answer of another image that has the name. */
static void place_event(unsigned i)
{
	if (fn_rendezvous_asking(i) >= 0 && fn_fabric_room())
		fn_rendezvous_resume(fn_fabric_watch_place);
	fn_group_come(i);
}

void fn_fabric_event(uint64_t mark)
{
	uint64_t what = mark >> 1;

	if (!fn_fabric.nic)
		return;
	if (what >= HOLDER_MARK)
		fn_holder_event((unsigned)(what - HOLDER_MARK));
	else if (what >= KIN_MARK)
		fn_dgram_tick();
	else if (what >= BOARD_MARK)
		fn_group_read((unsigned)(what - BOARD_MARK));
	else if (what >= RENDEZVOUS_MARK)
		place_event((unsigned)(what - RENDEZVOUS_MARK));
	else if (what < fn_peers_top() && fn_peer_at(what)->state != FN_PEER_FREE)
		fn_peer_event(fn_peer_at(what), false);
}

/* ---- the NIC's side ---- */

static int grow_copies(void *ctx, int number, size_t size)
{
	const struct peer *p = fn_peer_by_number((unsigned)number);

	return p ? fn_peer_back_mapped(p->copies, size) : -ENOENT;
}

/* nic_shm has written to a peer that sleeps. */
static void ring(void *ctx, int number)
{
	struct peer *p = fn_peer_by_number((unsigned)number);

	if (!p)	/* other images' */
		fn_bell_ring(fn_peer_images(number) & ~fn_engine.bit);
	else if ((p->self || p->state == FN_PEER_GROUP) && fn_engine.watcher)
		fn_thread_ring(fn_engine.watcher);
	else if (p->sock >= 0)
		fn_peer_ring(p->sock);
}

static void again(void *ctx, int number)
{
	fn_tcp_peer_again(fn_engine.st, (uint16_t)number);
}

static void late(void *ctx, int number)
{
	fn_tcp_peer_late(fn_engine.st, (uint16_t)number);
}

static int grow(void *ctx, size_t size)
{
	return fn_peer_back(fn_fabric.payload_fd, size);
}

bool fn_fabric_arm(void)
{
	return !fn_fabric.nic || fn_shm_arm(fn_fabric.nic);
}

void fn_fabric_disarm(void)
{
	/* another image may still sleep */
	if (fn_fabric.nic && !(fn_engine.shared->asleep & ~fn_engine.mine))
		fn_shm_disarm(fn_fabric.nic);
}

bool fn_fabric_half_met(void)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		unsigned state = fn_peer_at(i)->state;

		if (state >= FN_PEER_MET && state <= FN_PEER_WELCOMED && state != FN_PEER_CALLED)
			return true;	/* whom we have called sends nothing before it is up */
	}
	return false;
}

bool fn_fabric_pending(void)
{
	return fn_fabric.nic && fn_fabric.nic->ops->rx_pending(fn_fabric.nic);
}

bool fn_fabric_beside(void)
{
	int cpu = sched_getcpu();

	if (!fn_fabric.nic || cpu < 0)
		return false;
	fn_shm_run_on(fn_fabric.nic, (uint32_t)cpu);
	return fn_shm_beside(fn_fabric.nic);
}

/* A connect is answered by our own NIC, once its SYN has left; what is there otherwise are two full rings at most. */
void fn_fabric_catch_up(const struct fn_sock *sk)
{
	struct peer *p = sk->remote.peer && fn_fabric.nic ? fn_peer_by_number(sk->remote.peer) : NULL;
	unsigned rounds = p && p->state == FN_PEER_GROUP ? 1 : 0;

	/* nothing is taken in before its payload memory is there */
	if (p && (p->state == FN_PEER_GREETED || p->state == FN_PEER_WELCOMED))
		fn_peer_event(p, true);
	if (rounds)
		fn_group_introduce(NULL, p->number);
	for (unsigned i = 0; p && i < 2 * FN_PEER_SLOTS; i++) {
		if (i >= rounds && fn_shm_drained(fn_fabric.nic, sk->remote.peer) && (sk->tcp_state != FN_TCP_SYN_SENT || i > 2))
			break;
		fn_stack_poll(fn_engine.st, fn_engine.st->now);
	}
}

bool fn_fabric_has_all(const struct fn_sock *sk)
{
	const struct peer *p = sk->remote.peer && fn_fabric.nic ? fn_peer_by_number(sk->remote.peer) : NULL;

	return p && p->state == FN_PEER_UP && !p->self && fn_shm_drained(fn_fabric.nic, sk->remote.peer);
}

bool fn_fabric_source_ok(const struct fn_sock *sk)
{
	const struct peer *p = fn_peer_by_number(sk->remote.peer);

	if (ntohl(sk->remote.ip4) >> 24 != 127 && !fn_kroute_is_host(sk->remote.ip4))
		return false;
	return ntohs(sk->remote.port) >= fn_fabric.unprivileged || (p && !p->uid);
}

static bool make_payload(void)
{
	size_t size = fn_config.fabric_memory & ~4095ul;

	fn_fabric.payload_fd = fn_peer_memory("fastnet-payload", size, false);
	if (fn_fabric.payload_fd < 0)
		return false;
	fn_fd_internal_track(&fn_fabric.payload_fd);
	fn_fabric.payload_uid = fn_uid_own();
	fn_fabric.payload = fn_peer_map(fn_fabric.payload_fd, size);
	return fn_fabric.payload && fn_peer_seal(fn_fabric.payload_fd) == 0;
}

/* Ports of our end: above what the kernel gives to its own sockets, or below when there is too little room. */
static void choose_ports(struct fn_stack *st)
{
	unsigned first = 32768, last = 60999;
	char buf[32];

	fn_fabric.unprivileged = 1024;	/* net/ipv4/af_inet.c: PROT_SOCK */
	if (fn_read_text("/proc/sys/net/ipv4/ip_unprivileged_port_start", buf, sizeof(buf)))
		sscanf(buf, "%u", &fn_fabric.unprivileged);
	if (fn_read_text("/proc/sys/net/ipv4/ip_local_port_range", buf, sizeof(buf)))
		sscanf(buf, "%u %u", &first, &last);
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
		.grow_copies = grow_copies, .ring = ring,
		.again = again, .offered = fn_group_offered, .introduce = fn_group_introduce, .deaf = fn_group_deaf, .moved = fn_group_moved,
		.back = fn_group_back, .late = late, .image = &fn_engine.bit };
	struct fn_nic *nic;

	if (!fn_config.fabric)
		return false;
	if (!make_payload()) {
		fn_log(FN_LOG_WARNING, "no memory for the fabric; local connections stay with the kernel");
		return false;
	}
	conf.payload = fn_fabric.payload;
	nic = fn_shm_create(st->arena, &conf);
	if (!nic || fn_stack_add_nic(st, nic) < 0)
		return false;
	choose_ports(st);
	st->ops.from_peer = fn_dgram_from_peer;
	fn_fabric.nic = nic;
	fn_fabric.id = 1 + (uint32_t)(fn_stack_random(st) % FN_PAGE_ID_MAX);
	fn_engine.fabric = true;
	return true;
}

/* ---- meeting ---- */

struct peer *fn_peer_self(void)
{
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_peer_at(i)->self)
			return fn_peer_at(i);
	return NULL;
}

/* A stack reaches itself by a channel whose one ring is both. */
int fn_fabric_self(void)
{
	struct peer *p;
	int number;
	struct fn_shm_pair pair = { .tx_slots = FN_PEER_SLOTS, .rx_slots = FN_PEER_SLOTS, .payload = fn_fabric.payload,
				    .payload_len = fn_config.fabric_memory & ~4095ul };
	void *mem;

	p = fn_peer_self();
	if (p)
		return p->number;
	mem = (void *)fn_sys(SYS_mmap, NULL, fn_peer_ring_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	p = (unsigned long)mem > -4096ul ? NULL : fn_peer_new(FN_PEER_UP, -1);
	if (!p)
		return -ENOMEM;
	p->self = fn_engine.to_itself = true;
	p->uid = fn_uid_own();
	p->channel = pair.tx = pair.rx = mem;
	p->channel_size = fn_peer_ring_size();
	number = fn_shm_peer_add(fn_fabric.nic, &pair);
	if (number > 0)
		fn_peer_numbered(p, number);
	return number;
}

int fn_peer_channel(struct peer *p)
{
	int fd = fn_peer_memory("fastnet-channel", fn_peer_channel_size(), true), ret;

	if (fd < 0)
		return fd;
	p->channel_size = fn_peer_channel_size();
	ret = fn_peer_back(fd, p->channel_size);
	if (!ret)
		p->channel = fn_peer_map(fd, p->channel_size);
	if (p->channel)
		return fd;
	fn_fd_internal_close(fd);
	return ret ? ret : -ENOMEM;
}

int fn_peer_greet(struct peer *p)
{
	int fd = fn_peer_channel(p), ret, payload;
	bool alone = false;

	if (fd < 0)
		return fd;
	payload = payload_for(p, &alone);
	ret = payload < 0 ? payload : join(p, true);
	/* nobody there: that is seen when the socket is read */
	if (!ret) {
		fn_peer_send(p->sock, FN_PEER_HELLO, 0, 0, fd);
		fn_peer_send(p->sock, FN_PEER_PAYLOAD, 0, 0, payload);
	}
	if (alone)
		fn_fd_internal_close(payload);
	fn_fd_internal_close(fd);
	return ret;
}

/* ---- listeners ---- */

static void close_for(int why)
{
	fn_engine_lock();
	fn_fabric.closed = why;
	fn_rendezvous_leave();
	fn_engine_unlock();
}

void fn_fabric_namespace(bool net)
{
	fn_rendezvous_namespace();
	fn_spare_forget();
	fn_engine_lock();
	fn_known_forget();
	fn_engine_unlock();
	if (net)
		close_for(-EXDEV);
}

bool fn_fabric_forgo(void)
{
	close_for(-EPERM);
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_peer_at(i)->state != FN_PEER_FREE)
			return false;
	return true;
}

void fn_fabric_listen(struct fn_file *f, int fd)
{
	if (fn_fabric.closed)
		return;
	fn_rendezvous_open(f, fd);
	fn_engine_lock();
	fn_known_forget();
	fn_engine_unlock();
}

void fn_fabric_attached(const struct fn_file *f)
{
	int place = fn_fabric.nic ? fn_rendezvous_watch(f) : -1;

	if (place < 0)
		return;
	fn_fabric_watch_place((unsigned)place);
	fn_group_read((unsigned)place);
}
