/* SPDX-License-Identifier: BSD-3-Clause */
/* See dgram.h. Routes are kept in a table of this image, which forgets: what is not there is asked of the kernel. */
#include "shim/dgram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/stat.h>

#include "shim/addr.h"
#include "shim/decide.h"
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"
#include "shim/kroute.h"
#include "shim/listen.h"
#include "shim/room.h"
#include "shim/sockfile.h"
#include "shim/uid.h"

#define ROUTES	2048		/* 64 KiB, of which only what is used is there */
#define OLDER	1024		/* more than the kernel's buffer of a socket holds (212992 bytes, 768 at least for each) */
#define CALL_NS	(FN_MSEC)	/* how often who only sends looks whether somebody has answered, at first; then ever more rarely */
#define LEAVE_NS (FN_NSEC)	/* who sends sees at once that nothing is taken any more; this is to come by */

/* Between a local port and a remote end; both ways. */
struct route {
	uint32_t ip4;		/* of the remote end */
	uint16_t port, own;	/* its port, ours */
	uint16_t peer;		/* 0: the kernel has it */
	uint8_t asked;		/* times in a row that there was somebody, who could not be reached yet */
	bool heard;		/* something has come this way since */
	uint32_t src;		/* the kernel's choice of our address */
	uint64_t until;
};
static struct route routes[ROUTES];

bool fn_dgram_fabric(void)
{
	return fn_config.fabric && !fn_config.nnics;
}

/* ---- the table; with the lock held ---- */

static struct route *place_of(const struct fn_ep *remote, uint16_t own)
{
	uint64_t h = ((uint64_t)remote->ip4 << 32 | (uint32_t)remote->port << 16 | own) * 0x9e3779b97f4a7c15ull;

	return &routes[h >> 53];
}

_Static_assert(ROUTES == 1 << 11, "place_of() gives 11 bits");

static bool is_route(const struct route *r, const struct fn_ep *remote, uint16_t own)
{
	return r->ip4 == remote->ip4 && r->port == remote->port && r->own == own;
}

static struct route *find(const struct fn_ep *remote, uint16_t own, uint64_t now)
{
	struct route *r = place_of(remote, own);

	return is_route(r, remote, own) && now < r->until ? r : NULL;
}

static struct route *note(const struct fn_ep *remote, uint16_t own, unsigned peer, uint32_t src, uint64_t now)
{
	struct route *r = place_of(remote, own);
	uint8_t asked = is_route(r, remote, own) ? r->asked : 0;

	*r = (struct route){ .ip4 = remote->ip4, .port = remote->port, .own = own, .peer = (uint16_t)peer, .asked = asked,
			     .src = src, .until = now + FN_DGRAM_NS };
	return r;
}

/* It is asked for again soon: after CALL_NS, and twice as much each time. */
static void ask_soon(struct route *r, uint64_t now)
{
	if (r->asked < 7)
		r->until = now + ((uint64_t)CALL_NS << r->asked++);
}

static void forget(unsigned number)
{
	for (unsigned i = 0; i < ROUTES; i++)
		if (routes[i].peer == number)
			routes[i].until = 0;
}

/* ---- what the kernel says ---- */

static uint32_t source_for(uint32_t own, uint32_t to)
{
	return own ? own : fn_kroute_source(to);
}

/* ---- calling somebody ---- */

static struct peer *called(uint64_t cookie)
{
	uid_t us = fn_uid_own();

	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->calls && p->cookie == cookie && p->met_as == us && p->state != FN_PEER_GONE)
			return p;
	}
	return NULL;
}

/* By a socket that is connected to the name of `at`, and is taken. FN_DGRAM_CALLED, -errno. */
static int call(struct fn_rendezvous *at, int sock)
{
	struct peer *p;
	int fd;

	if (!fn_fabric_room()) {
		fn_fd_internal_close(sock);
		return -EBUSY;
	}
	p = fn_peer_new(FN_PEER_CALLED, sock);
	if (!p)
		return -ENOSPC;
	p->calls = true;
	p->cookie = at->cookie;
	p->uid = at->speaker;
	fd = fn_peer_channel(p);
	if (fd < 0) {
		fn_peer_bury(p);
		return fd;
	}
	/* our memory follows when he has answered and is known */
	fn_peer_send(p->sock, FN_PEER_HELLO, 0, 0, fd);
	fn_fd_internal_close(fd);
	fn_peer_watch(p);
	return FN_DGRAM_CALLED;
}

bool fn_dgram_answered(struct peer *p, const struct fn_peer_msg *m, int fd)
{
	return m->type == FN_PEER_WELCOME && m->version == FN_PEER_VERSION && !m->status && fn_peer_join_called(p, fd);
}

/* Has every image that has f that peer? A socket that does not live on the stack yet is ours alone. */
static bool covers(unsigned number, const struct fn_file *f)
{
	return !f->sk || f->sk->images == fn_engine.mine || !(f->sk->images & ~fn_shm_images(fn_fabric.nic, (int)number));
}

/* Its number, or FN_DGRAM_CALLED. */
static int number_of(struct peer *p)
{
	uint64_t now = fn_now();

	if (p->state == FN_PEER_CALLED && now - p->since > CALL_NS) {
		p->since = now;
		fn_peer_event(p, false);
	}
	return p->state == FN_PEER_UP ? p->number : FN_DGRAM_CALLED;
}

/* The number of the peer that we are to ourselves, for datagrams to a socket of ours. */
static int self_for(const struct fn_file *to)
{
	int ret = to->sk && fn_fabric.nic ? fn_fabric_self() : FN_DGRAM_CALLED;

	return ret > 0 && ret != FN_DGRAM_CALLED && !covers((unsigned)ret, to) ? 0 : ret;
}

/* Other images read from f, and do not share its stack side: what is sent to it by shared memory would be this image's alone. */
static bool has_readers(const struct fn_file *f)
{
	int place = fn_rendezvous_place(f);

	return place >= 0 && !fn_rendezvous_alone((unsigned)place) && (!f->sk || f->sk->images == fn_engine.mine);
}

static int known(const struct fn_file *f, const struct fn_rendezvous *at, bool *is_known)
{
	bool shared = false, refused;
	const struct fn_file *own;
	struct peer *p;
	int ret = 0;

	fn_engine_lock();
	own = fn_rendezvous_own(at->cookie, &shared);
	p = own ? NULL : called(at->cookie);
	refused = has_readers(f);
	*is_known = own || p || refused;
	if (refused)
		ret = -EBUSY;
	else if (own)
		ret = shared ? 0 : self_for(own);
	else if (p)
		ret = number_of(p);
	if (ret > 0 && ret != FN_DGRAM_CALLED && !covers((unsigned)ret, f))
		ret = -EBUSY;
	fn_engine_unlock();
	return ret;
}

/* What another user made is not ours to speak for, as others see it. */
static bool is_foreign(int fd)
{
	uid_t us = fn_uid_own();
	struct stat st;

	return us && (fn_sys(SYS_fstat, fd, &st) < 0 || st.st_uid != us);
}

int fn_dgram_reach(struct fn_file *f, int fd, uint32_t ip4, uint16_t port)
{
	struct fn_ep own = { 0 }, to = { .ip4 = ip4, .port = htons(port) };
	struct fn_rendezvous at;
	bool is_known;
	int ret;

	if (!fn_dgram_fabric() || fn_fabric.closed || f->kernel_only || is_foreign(fd) || !fn_kroute_is_host(ip4))
		return 0;
	if (f->sk)
		own = f->sk->local;
	own.ip4 = source_for(own.ip4, ip4);
	ret = fn_rendezvous_find_datagram(&own, &to, &at);
	if (ret < 0)
		return ret == -ENOENT ? 0 : ret;
	ret = known(f, &at, &is_known);
	return is_known ? ret : fn_fabric_meet(&at, call);
}

/* ---- routes ---- */

/* As inet_autobind: the kernel gives a port to who sends without one. */
static void autobind(struct fn_file *f, int fd)
{
	struct sockaddr_storage any = { .ss_family = (sa_family_t)f->domain };

	fn_sys(SYS_bind, fd, &any, f->domain == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	f->any_port = true;
	fn_engine_lock();
	fn_dgram_take_names(f, fd);
	fn_engine_unlock();
}

/* May datagrams of f go to the process of that number? In a family it may have become another's since. */
static bool is_way(const struct fn_file *f, unsigned number)
{
	const struct peer *p = fn_peer_by_number(number);

	return p && p->state == FN_PEER_UP && covers(number, f);
}

static unsigned resolve(struct fn_file *f, int fd, const struct fn_ep *to, struct fn_ep *src)
{
	struct sockaddr_storage ss;
	struct fn_verdict v;
	uint64_t now = fn_now();
	struct route *r;
	bool way;

	fn_addr_make(f->domain, to, &ss);
	v = fn_decide(f, fd, FN_POLICY_CONNECT, (struct sockaddr *)&ss);
	src->ip4 = v.stack ? source_for(0, to->ip4) : 0;
	fn_engine_lock();
	way = v.stack && v.peer != FN_DGRAM_CALLED && is_way(f, v.peer);
	r = note(to, f->sk->local.port, way ? v.peer : 0, src->ip4, now);
	/* soon there may be an answer, or those be gone who share the socket */
	if ((v.stack && !way) || (v.reason == FN_REASON_FABRIC_FAILED && v.arg == EBUSY))
		ask_soon(r, now);
	else
		r->asked = 0;
	fn_engine_unlock();
	return way ? v.peer : 0;
}

unsigned fn_dgram_route(struct fn_file *f, int fd, struct fn_ep *to, size_t len, struct fn_ep *src)
{
	const struct route *r;
	unsigned peer = 0;

	to->peer = 0;
	if (fn_unlikely(!f->sk->local.port))
		autobind(f, fd);
	fn_engine_lock();
	r = find(to, f->sk->local.port, fn_now());
	if (r && r->peer && fn_unlikely(!is_way(f, r->peer)))
		r = NULL;
	if (fn_likely(r != NULL)) {
		peer = r->peer;
		src->ip4 = r->src;
	}
	fn_engine_unlock();
	if (fn_unlikely(!r))
		peer = resolve(f, fd, to, src);
	if (!peer || fn_unlikely(!fn_shm_takes(fn_fabric.nic, (int)peer, len)))
		return 0;
	to->peer = (uint16_t)peer;
	return peer;
}

/* ---- our own sockets ---- */

static bool shares_port(int fd)
{
	int on = 0;
	socklen_t len = sizeof(on);

	return !fn_sys_getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &len) && on;
}

/* Who has left address and port open wants answers only; they come by the channel that the questions took. */
int fn_dgram_bound(struct fn_file *f, int fd)
{
	struct sockaddr_storage own;
	socklen_t len = sizeof(own);
	struct fn_ep ep;

	if (f->kernel_only || fn_room_scarce() || shares_port(fd) || fn_sys(SYS_getsockname, fd, &own, &len) < 0 ||
	    fn_addr_get(f, FN_ADDR_BIND, (void *)&own, len, &ep) != FN_ADDR_IP4 || (f->any_port && !ep.ip4))
		return 0;
	f->named = true;
	fn_fabric_listen(f, fd);
	/* one that is waited on in a set, which asks the kernel alone so far */
	return f->epoll_items ? fn_dgram_start(f, fd) : 0;
}

/* Without an answer to such questions nobody's word can be taken (source_ok()). */
static bool may_ask(void)
{
	struct fn_ep nobody = { .ip4 = htonl(INADDR_LOOPBACK) };
	struct fn_rendezvous at;
	int ret = fn_rendezvous_find_datagram(&nobody, &nobody, &at);

	return ret >= 0 || ret == -ENOENT;
}

static void begin_reading(const struct fn_file *f)
{
	fn_engine_lock();
	fn_rendezvous_reads(f);
	fn_fabric_attached(f);
	fn_engine_unlock();
}

int fn_dgram_start(struct fn_file *f, int fd)
{
	int ret;

	if (f->kind != FN_FILE_SOCKET)
		return f->kind == FN_FILE_UDP ? 0 : -EALREADY;	/* the kernel's since */
	ret = fn_engine_start(false) && fn_fabric.nic && may_ask() ? fn_decide_datagrams(f, fd) : -ENETDOWN;
	if (ret < 0 && ret != -EALREADY)
		return ret;
	begin_reading(f);
	return f->kind == FN_FILE_UDP ? 0 : -EALREADY;
}

bool fn_dgram_open(struct fn_file *f, int fd)
{
	int ret = fn_dgram_start(f, fd);

	if (ret < 0 && ret != -EALREADY)
		fn_decide_not_taken(f, fd, ret);
	return ret == 0;
}

static bool get_name(const struct fn_file *f, int fd, long call, enum fn_addr_use use, struct fn_ep *ep)
{
	struct sockaddr_storage ss = { 0 };
	socklen_t len = sizeof(ss);

	return fn_sys(call, fd, &ss, &len) == 0 && fn_addr_get(f, use, (void *)&ss, len, ep) == FN_ADDR_IP4;
}

int fn_dgram_take_names(struct fn_file *f, int fd)
{
	struct fn_ep local = { 0 }, remote = { 0 };
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	bool connected = fn_sys(SYS_getpeername, fd, &ss, &len) == 0, ours;
	int ret;

	ours = get_name(f, fd, SYS_getsockname, FN_ADDR_BIND, &local) &&
	       (!connected || (get_name(f, fd, SYS_getpeername, FN_ADDR_CONNECT, &remote) && fn_kroute_is_host(remote.ip4)));
	if (!ours)	/* nobody who can come by the fabric is heard */
		local = remote = (struct fn_ep){ 0 };
	ret = fn_udp_assume(f->sk, &local, &remote);
	f->side = !ours || ret < 0 ? FN_SIDE_KERNEL : connected ? FN_SIDE_BOTH : FN_SIDE_ANY;
	return ret;
}

static int by_kernel(long call, struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	int ret = (int)fn_sys(call, fd, addr, len);

	fn_engine_lock();
	fn_dgram_take_names(f, fd);
	fn_engine_unlock();
	return ret;
}

int fn_dgram_connect(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	/* an error of the connection before outlives it */
	f->kernel_sends = f->side != FN_SIDE_ANY;
	return by_kernel(SYS_connect, f, fd, addr, len);
}

/* A port that the kernel chose has been given up by connect(AF_UNSPEC); else it says EINVAL. */
int fn_dgram_bind(struct fn_file *f, int fd, const struct sockaddr *addr, socklen_t len)
{
	int ret = by_kernel(SYS_bind, f, fd, addr, len);
	struct fn_info_decision d;
	struct fn_verdict v;

	if (ret < 0)
		return ret;
	f->any_port = !((const struct sockaddr_in *)addr)->sin_port;	/* sin6_port lies there as well */
	if (f->named || f->kernel_only)
		return ret;
	v = fn_decide_ask(f, fd, FN_POLICY_LISTEN, addr, &d);
	if (v.stack)
		fn_dgram_bound(f, fd);
	if (!v.stack || f->named)
		fn_decide_tell(f, &d, &v);
	if (f->named)
		begin_reading(f);
	return ret;
}

void fn_dgram_unlisten(const struct fn_file *f)
{
	bool others = f->sk && f->sk->images & ~fn_engine.mine;

	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->state == FN_PEER_FREE || p->listener != f)
			continue;
		p->listener = NULL;
		if (others && p->number > 0 && covers((unsigned)p->number, f))
			continue;	/* they hear of it */
		if (p->number > 0)
			fn_shm_peer_close(fn_fabric.nic, p->number);
		fn_peer_bury(p);
	}
}

void fn_dgram_retire(struct fn_file *f)
{
	fn_engine_lock();
	f->kernel_only = true;
	if (f->named)
		fn_fabric_unlisten(f);
	f->named = false;
	fn_engine_unlock();
}

/* ---- sockets of several images ---- */

/* Those who come to f by us alone have the kernel from now on. */
static void leave_to_all(const struct fn_file *f, bool alone)
{
	bool shares = f->sk && f->sk->images & ~fn_engine.mine;

	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->listener != f || p->leaves || p->number <= 0 || p->state == FN_PEER_GONE ||
		    (covers((unsigned)p->number, f) && (alone || shares)))
			continue;
		p->leaves = true;
		p->since = fn_now() + LEAVE_NS;
		fn_shm_peer_close(fn_fabric.nic, p->number);
	}
}

/* fastnet-stat shows it. */
static void tell(struct fn_file *f, bool shared)
{
	int fd = fn_fd_number(f, -1);

	if (shared != f->shared && fd >= 0)
		fn_decide_note(f, fd, shared ? FN_REASON_FABRIC_SHARED : FN_REASON_FABRIC_LISTEN);
	f->shared = shared;
}

void fn_dgram_tick(void)
{
	for (unsigned i = 0; i < fn_rendezvous_count(); i++) {
		struct fn_file *f = (struct fn_file *)fn_rendezvous_file(i);
		bool alone;

		if (!f || !f->sk || !fn_rendezvous_has_kin(i))
			continue;
		alone = fn_rendezvous_alone(i);
		leave_to_all(f, alone);
		tell(f, !alone);
		if (alone)
			fn_group_come(i);
	}
}

void fn_dgram_forked(void)
{
	for (unsigned i = 0; fn_fabric.nic && i < fn_rendezvous_count(); i++) {
		if (!fn_rendezvous_file(i) || fn_rendezvous_file(i)->type != SOCK_DGRAM)
			continue;
		leave_to_all(fn_rendezvous_file(i), true);
		fn_fabric_watch_place(i);
	}
}

/* ---- other processes ---- */

static bool goes_to(const struct fn_file *f, unsigned number)
{
	const struct route *r;

	if (f->kind != FN_FILE_UDP || f->side != FN_SIDE_BOTH)
		return false;
	r = place_of(&f->sk->remote, f->sk->local.port);
	return r->peer == number && r->ip4 == f->sk->remote.ip4 && r->port == f->sk->remote.port && r->own == f->sk->local.port;
}

/* What its program has not read is lost, as in the kernel; who is connected hears of it as if it had come a moment later. */
void fn_dgram_gone(const struct peer *p)
{
	unsigned number = (unsigned)p->number;
	bool untaken = p->calls && fn_shm_untaken(fn_fabric.nic, p->number);

	for (unsigned fd = 0; untaken && fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] && goes_to(fn_fdtable.file[fd], number))
			fn_udp_refused(fn_fdtable.file[fd]->sk);
	forget(number);
}

/* Somebody sends to that port by the fabric for the first time; what it has sent before by the kernel is received first. */
static void older_first(uint16_t port)
{
	for (struct fn_file *f = fn_engine.duals; f; f = f->next_dual)
		if (f->kind == FN_FILE_UDP && f->sk->local.port == port)
			f->kernel_older = OLDER;
}

/*
 * Does the address that p names belong to its user, or is it where we have called p? A socket may have been closed since: a
 * port that nobody has could have been anybody's, and such an answer is not kept.
 */
static fn_cold bool source_ok(const struct peer *p, const struct fn_ep *local, const struct fn_ep *remote)
{
	uint64_t now = fn_engine.st->now;
	struct fn_rendezvous at;
	int ret;

	if (!fn_kroute_is_host(remote->ip4) || !fn_kroute_is_host(local->ip4))
		return false;
	if (fn_engine.is_relay)		/* it has nothing to ask with, and takes what comes for others */
		return !p->uid || p->uid == fn_uid_own();
	ret = fn_rendezvous_find_datagram(local, remote, &at);
	if (ret == -ENOENT)
		return !p->uid || ntohs(remote->port) >= fn_fabric.unprivileged;
	if (ret < 0 || !(p->self || (p->calls && p->cookie == at.cookie) || !p->uid || p->uid == at.uid))
		return false;
	note(remote, local->port, (unsigned)p->number, fn_kroute_source(remote->ip4), now);
	return true;
}

bool fn_dgram_from_peer(void *ctx, uint16_t peer, const struct fn_ep *local, const struct fn_ep *remote)
{
	struct route *r = find(remote, local->port, fn_engine.st->now);
	const struct peer *p;

	if (fn_unlikely(!r || r->peer != peer)) {
		p = fn_peer_by_number(peer);
		if (!p || !source_ok(p, local, remote))
			return false;
		r = find(remote, local->port, fn_engine.st->now);
	}
	if (fn_unlikely(r && !r->heard)) {
		older_first(local->port);
		r->heard = true;
	}
	return true;
}
