/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Groups: the processes that accept from one listener. Who connects makes a page in which it offers connections, and an inbox
 * (a socket pair, one end of which it keeps), and leaves both with the listener's rendezvous; it waits for nobody. Who
 * accepts from the listener takes them there, and introduces himself through the inbox: a socket pair of his own, over which
 * the two then speak as peers do (peer.h). The inbox's other end is open as long as anybody may accept.
 *
 * Page and inbox are one message, and what is offered there is its maker's until it is claimed: who hears his inbox hang up
 * before leaves it again. A board (board.h) gives to all who accept what one of them has taken: the client's socket while it
 * has said nothing, then page and inbox. So none of them has anything alone, whatever becomes of him, but for a moment.
 */
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "shim/bell.h"
#include "shim/decide.h"
#include "shim/dgram.h"
#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"
#include "shim/holders.h"
#include "shim/known.h"
#include "shim/uid.h"
#include "shim/wait.h"
#include "stack/shm_page.h"

/* Linux 5.14, not in every libc header */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* ---- claimers of what we offer (group_offer.c) ---- */

/* Somebody accepts there: a peer in the making. */
static void introduced(struct peer *group, uint32_t id, int sock, bool to_up)
{
	struct peer *p = fn_peer_new(FN_PEER_WELCOMED, fn_fd_internal(sock));
	int on = 1;

	if (!p)
		return;
	/* whoever made the socket pair need not be who speaks: each message tells (fabric.c: payload_for()) */
	fn_sys_setsockopt(p->sock, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	p->uid = fn_peer_uid(p->sock);
	p->group = group;
	p->id = id;
	fn_half_introduced(p);
	fn_peer_watch(p);
	fn_peer_event(p, to_up);
}

void fn_group_joined(struct peer *p)
{
	if (!p->group)
		return;
	fn_shm_group_join(fn_fabric.nic, p->number, p->group->number, p->id);
	fn_peer_ring(p->sock);	/* what we have offered before may have found it asleep */
}

void fn_group_introduce(void *ctx, int group)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->state == FN_PEER_GROUP && p->number == group)
			fn_peer_event(p, true);
		if (p->state == FN_PEER_WELCOMED && p->group && p->group->number == group)
			fn_peer_event(p, true);
	}
}

void fn_group_moved(void *ctx, const struct fn_ep *local, const struct fn_ep *remote, int number)
{
	struct fn_sock *sk = fn_tcp_peer_moved(fn_engine.st, local, remote, (uint16_t)number);

	if (sk)
		fn_fabric_held(sk);
}

bool fn_group_back(void *ctx, int group, size_t from, size_t to)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		const struct peer *p = fn_peer_at(i);

		if (p->state == FN_PEER_GROUP && p->number == group)
			return fn_sys(SYS_madvise, (uint8_t *)p->page + from, to - from, MADV_POPULATE_WRITE) == 0;
	}
	return false;
}

/* ---- what is offered to us ---- */

/* Other users together have no more than half of the places, and a quarter of the descriptors. */
static bool too_many(uid_t uid)
{
	uid_t us = fn_uid_own();
	struct rlimit lim;
	unsigned n = 0;

	if (uid == us || !uid)
		return false;
	for (unsigned i = 0; i < fn_peers_top(); i++)
		n += fn_peer_at(i)->state != FN_PEER_FREE && fn_peer_at(i)->uid && fn_peer_at(i)->uid != us;
	return n >= FN_SHM_PEERS / 2 ||
	       (fn_sys(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) == 0 && n >= lim.rlim_cur / 4);
}

static unsigned clients_of(const struct fn_file *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < fn_peers_top(); i++)
		n += fn_peer_at(i)->listener == f && fn_peer_at(i)->state != FN_PEER_GONE;
	return n;
}

/* It has not left anything yet. Whoever of us is there when it does takes it: we may be busy, or gone, then. */
static void post_half(struct peer *p, struct fn_board *board)
{
	struct fn_notice n = { .page = p->sock, .inbox = p->sock, .uid = p->uid, .half = true };

	if (board && p->sock >= 0 && !p->notice && fn_board_post(board, &n, clients_of(p->listener), true) == 0)
		p->notice = n.serial;
}

/* One who is received by the last numbers that there are could not be served. */
#define CONTACT_FDS	8

/* POLLIN: somebody waits there, or it is shut down, which POLLRDHUP says. */
static short look_at(int listener)
{
	struct pollfd pfd = { .fd = listener, .events = POLLIN | POLLRDHUP };
	struct timespec zero = { 0, 0 };

	return listener >= 0 && fn_sys_ppoll(&pfd, 1, &zero, NULL) > 0 ? pfd.revents : 0;
}

static bool can_receive(int listener)
{
	int lowest = fn_sys_fcntl(listener, F_DUPFD_CLOEXEC, 0), last;

	last = lowest < 0 ? lowest : fn_sys_fcntl(listener, F_DUPFD_CLOEXEC, lowest + CONTACT_FDS);
	if (lowest >= 0)
		fn_sys_close(lowest);
	if (last >= 0)
		fn_sys_close(last);
	return last >= 0;
}

/* fd: internal, or -errno. */
static void receive(unsigned place, int fd)
{
	bool datagrams = fn_rendezvous_file(place)->type == SOCK_DGRAM;
	uid_t uid = fd >= 0 ? fn_peer_uid(fd) : 0;
	struct peer *p;
	int on = 1;

	/* with a relay among us (fn_fabric_room()) nobody new could be served; of one whom our namespace does not
	 * name, no address can be proven. Who is refused has the kernel (fallback.c) */
	if (fd < 0 || !fn_fabric_room() || too_many(uid) || (datagrams && !fn_uid_known(uid))) {
		fn_engine.st->stats.fabric_refused++;
		fn_fd_internal_close(fd);
		return;
	}
	p = fn_peer_new(datagrams ? FN_PEER_WELCOMED : FN_PEER_MET, fd);
	if (!p)
		return;
	if (datagrams)	/* whose word a message is */
		fn_sys_setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	p->uid = uid;
	p->listener = fn_rendezvous_file(place);
	fn_peer_watch(p);
	fn_peer_event(p, false);
	if (p->state == FN_PEER_MET)
		post_half(p, fn_rendezvous_board(place));
}

/* Whoever connects there from now on is the kernel's. Who has come, or has offered something, is served. */
static void cede(unsigned place)
{
	const struct fn_file *f = fn_rendezvous_file(place);

	if (!fn_rendezvous_cede(place))
		return;
	if (fn_group_come(place))
		fn_rendezvous_shut(place);
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_peer_at(i)->listener == f && fn_peer_at(i)->page)
			fn_page_cede(fn_peer_at(i)->page);
	fn_known_forget();
	fn_decide_note(f, fn_fd_number(f, -1), FN_REASON_FABRIC_CEDED);
}

void fn_fabric_cede(const struct fn_ep *local)
{
	for (unsigned i = 0; i < fn_rendezvous_count(); i++) {
		const struct fn_file *f = fn_rendezvous_file(i);
		const struct fn_ep *own = f && f->sk ? &f->sk->local : NULL;

		if (own && own->port == local->port && (!own->ip4 || own->ip4 == local->ip4))
			cede(i);
	}
}

bool fn_group_come(unsigned place)
{
	int listener = fn_rendezvous_watched(place), fd = -EAGAIN;
	short seen;

	if (listener >= 0 && !fn_rendezvous_alone(place))	/* whoever comes waits (fn_dgram_tick()), and has the kernel */
		return true;
	while ((seen = look_at(listener))) {
		if (!can_receive(listener)) {
			fd = -EMFILE;
			break;
		}
		fd = (int)fn_sys(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			break;
		receive(place, fn_fd_internal(fd));
	}
	fn_rendezvous_waits(place, fd == -EMFILE);
	if (seen & POLLRDHUP && !fn_rendezvous_refuses(place))	/* by another image that has the name */
		cede(place);
	return fd != -EMFILE;
}

void fn_fabric_shut(void)
{
	for (unsigned i = 0; i < fn_rendezvous_count(); i++) {
		const struct fn_file *f = fn_rendezvous_file(i);

		/* where nobody has looked yet is nobody known, and who waits there is not sent away */
		if (!f || (f->type != SOCK_DGRAM && fn_rendezvous_watched(i) < 0))
			continue;
		fn_rendezvous_refuse(i);
		if (f->type == SOCK_DGRAM || fn_group_come(i))
			fn_rendezvous_shut(i);
	}
}

/* Page and inbox are there. The rendezvous' socket has done its work: a pair of our own takes its place. */
static bool attach(struct peer *p)
{
	size_t room = (size_t)atomic_load(&p->page->memory) * 4096;
	int end[2], on = 1, told, ret;

	if (!room || room > FN_PEER_PAYLOAD_MAX || fn_peer_pair(end) < 0)
		return false;
	fn_sys_setsockopt(end[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	fn_fd_internal_close(p->sock);
	p->sock = end[0];
	fn_fd_internal_track(&p->sock);
	p->state = FN_PEER_GREETED;
	p->room_size = room;
	/* whoever reads of us finds the rest in the socket that comes with it */
	ret = fn_peer_greet(p);
	p->us = fn_fabric.id;
	told = ret < 0 ? ret : fn_peer_send(p->inbox, FN_PEER_ATTACH, p->us, 0, end[1]);
	fn_fd_internal_close(end[1]);
	if (ret < 0)
		return false;
	fn_shm_offers(fn_fabric.nic, p->number, p->page);
	if (fn_rendezvous_ceded((unsigned)fn_rendezvous_place(p->listener)))
		fn_page_cede(p->page);
	/* pairs with the fence in fn_shm_mail_ring(): before we sleep, it is known that there is somebody new to ring */
	atomic_fetch_add(&p->page->joined, 1);
	fn_peer_watch(p);
	/* whoever offered has gone: what it left can be accepted */
	if (told < 0)
		fn_peer_bury(p);
	return true;
}

static struct fn_board *board_of(const struct peer *p)
{
	int place = fn_rendezvous_place(p->listener);

	return place < 0 ? NULL : fn_rendezvous_board((unsigned)place);
}

/* With a board, all who accept from the listener hear of the client there, we too. This record has done its work. */
static bool posted(struct peer *p)
{
	struct fn_board *board = board_of(p);
	struct fn_notice n = { .page = p->page_fd, .inbox = p->inbox, .uid = p->uid };

	if (!board || fn_board_post(board, &n, clients_of(p->listener), false) < 0)
		return false;
	fn_fd_internal_close(p->sock);
	p->sock = -1;		/* it is freed (fn_peer_event()) */
	fn_group_read((unsigned)fn_rendezvous_place(p->listener));
	return true;
}

/* A client of ours is put up on the board, which was made after it had come. */
static void post_known(struct peer *p, struct fn_board *board)
{
	struct fn_notice n = { .page = p->page_fd, .inbox = p->inbox, .uid = p->uid };

	if (fn_board_post(board, &n, clients_of(p->listener), true) == 0)
		p->notice = n.serial;
	fn_fd_internal_close(p->page_fd);
	p->page_fd = -1;
}

void fn_group_post(unsigned place)
{
	struct fn_board *board = fn_rendezvous_board(place);
	const struct fn_file *f = fn_rendezvous_file(place);

	if (!board)
		return;
	fn_group_read(place);
	for (unsigned i = 0; f && i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->listener == f && p->state == FN_PEER_MET)
			post_half(p, board);
		if (p->listener == f && p->page_fd >= 0 && (p->state == FN_PEER_GREETED || p->state == FN_PEER_UP))
			post_known(p, board);
	}
}

/* What place i has is shared with other images, and we look at the board from now on. */
static int share(unsigned i, struct fn_handover *h)
{
	int ret = fn_rendezvous_share(i, h);

	if (ret < 0)
		return ret;
	fn_group_post(i);
	fn_fabric_watch_place(i);
	return 0;
}

/* Another image has got the listener. Who is refused sees that we hang up, as who has been answered does: for all of us. */
static bool asked(struct peer *p, const struct fn_peer_msg *m)
{
	int place = fn_rendezvous_place(p->listener);
	bool ok = place >= 0 && fn_rendezvous_may_have((unsigned)place, m->cookie, p->uid);
	struct fn_handover h;

	if (ok && share((unsigned)place, &h) == 0)
		fn_handover_send(p->sock, &h);
	if (!ok)
		return false;
	fn_sys(SYS_shutdown, p->sock, SHUT_RDWR);
	fn_fd_internal_close(p->sock);
	p->sock = -1;		/* it is freed (fn_peer_event()) */
	return true;
}

/* The first message in the inbox. */
static bool take_page(struct peer *p)
{
	struct fn_peer_msg m;
	uid_t uid;
	int fd, ret = fn_peer_recv(p->inbox, &m, &fd, &uid);

	if (fd >= 0 && ret == 1 && m.version == FN_PEER_VERSION && m.type == FN_PEER_PAGE)
		p->page = fn_peer_map_shared(fd, NULL, FN_PAGE_SIZE);
	p->page_fd = fd >= 0 ? fn_fd_internal(fd) : -1;
	fn_fd_internal_track(&p->page_fd);
	return p->page != NULL;
}

static bool met_message(struct peer *p, const struct fn_peer_msg *m, int *fd)
{
	if (m->version != FN_PEER_VERSION || !p->listener)
		return false;
	if (m->type == FN_PEER_JOIN)
		return asked(p, m);
	if (m->type != FN_PEER_INBOX || *fd < 0)
		return false;
	p->inbox = fn_fd_internal(*fd);
	*fd = -1;
	fn_fd_internal_track(&p->inbox);
	return p->inbox >= 0 && take_page(p) && (posted(p) || attach(p));
}

/* We have put it up ourselves, or have it from our parent. */
static bool is_known(const struct fn_file *f, uint64_t notice)
{
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_peer_at(i)->listener == f && fn_peer_at(i)->notice == notice)
			return true;
	return false;
}

/* A client that is about to leave something: whoever of us sees that first has it, and puts up the rest. False: not now. */
static bool take_half(const struct fn_file *f, const struct fn_notice *n)
{
	int sock = fn_fd_internal(n->inbox);
	struct peer *p = sock < 0 ? NULL : fn_peer_new(FN_PEER_MET, sock);

	fn_sys_close(n->page);
	if (!p)
		return false;
	p->uid = n->uid;
	p->listener = f;
	p->notice = n->serial;
	fn_peer_watch(p);
	fn_peer_event(p, false);
	return true;
}

static bool take_notice(const struct fn_file *f, const struct fn_notice *n)
{
	bool known = is_known(f, n->serial);
	struct peer *p = known ? NULL : fn_peer_new(FN_PEER_MET, -1);

	if (!p) {
		fn_sys_close(n->page);
		fn_sys_close(n->inbox);
		return known;
	}
	p->uid = n->uid;
	p->listener = f;
	p->notice = n->serial;
	p->page = fn_peer_map_shared(n->page, NULL, FN_PAGE_SIZE);
	fn_sys_close(n->page);
	p->inbox = fn_fd_internal(n->inbox);
	fn_fd_internal_track(&p->inbox);
	if (!p->page || p->inbox < 0 || !attach(p))
		fn_peer_bury(p);
	return true;
}

void fn_group_read(unsigned place)
{
	struct fn_board *board = fn_rendezvous_board(place);
	bool taken = true;
	struct fn_notice n;

	while (board && taken && fn_board_next(board, &n) > 0) {
		taken = can_receive(n.page);
		if (taken) {
			taken = (n.half ? take_half : take_notice)(fn_rendezvous_file(place), &n);
		} else {
			fn_sys_close(n.page);
			fn_sys_close(n.inbox);
		}
		if (!taken)	/* no numbers, or no place: it stays for another of us, or for us (fn_group_look_again()) */
			fn_board_later(board, n.serial);
	}
}

void fn_group_again(const struct peer *p)
{
	struct fn_board *board = board_of(p);

	if (board && p->notice)
		fn_board_again(board, p->notice);
}

bool fn_group_looks_again(void)
{
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_peer_at(i)->deaf || (fn_peer_at(i)->adrift && fn_peer_at(i)->state == FN_PEER_GROUP))
			return true;
	for (unsigned i = 0; i < fn_rendezvous_count(); i++)
		if (fn_rendezvous_waiting(i) || (fn_rendezvous_board(i) && fn_board_doubts(fn_rendezvous_board(i))))
			return true;
	return false;
}

void fn_group_look_again(void)
{
	for (unsigned i = 0; i < fn_rendezvous_count(); i++) {
		if (fn_unlikely(fn_rendezvous_waiting(i)) && fn_group_come(i) && fn_rendezvous_refuses(i))
			fn_rendezvous_shut(i);
		if (fn_rendezvous_board(i) && fn_board_doubts(fn_rendezvous_board(i)))
			fn_group_read(i);
	}
	for (unsigned i = 0; i < fn_peers_top(); i++)
		if (fn_unlikely(fn_peer_at(i)->deaf))
			fn_peer_event(fn_peer_at(i), false);
}

bool fn_group_hears(struct peer *p)
{
	char byte;

	if (fn_likely(p->state != FN_PEER_GROUP && !(p->state == FN_PEER_WELCOMED && p->group)))
		return true;
	p->deaf = fn_sys(SYS_recvfrom, p->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL) > 0 && !can_receive(p->sock);
	if (p->deaf && p->state == FN_PEER_WELCOMED)
		p->since = fn_now();	/* it is not late */
	return !p->deaf;
}

bool fn_group_deaf(void *ctx, int group)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		const struct peer *p = fn_peer_at(i);

		if (p->deaf && (p->state == FN_PEER_GROUP ? p->number == group :
							    p->state == FN_PEER_WELCOMED && p->group && p->group->number == group))
			return true;
	}
	return false;
}

bool fn_group_message(struct peer *p, const struct fn_peer_msg *m, int *fd, bool to_up)
{
	if (p->state == FN_PEER_MET) {
		if (met_message(p, m, fd))
			return true;
		fn_sys(SYS_shutdown, p->sock, SHUT_RDWR);	/* others of us, or the board, may have it */
		return false;
	}
	if (m->version != FN_PEER_VERSION || m->type != FN_PEER_ATTACH || *fd < 0 || !m->cookie || m->cookie > FN_PAGE_ID_MAX)
		return true;	/* whoever it was, others accept from that listener too */
	introduced(p, (uint32_t)m->cookie, *fd, to_up);
	*fd = -1;
	return true;
}

#define SETTLE_NS	(500 * FN_MSEC)

/* Offers that nobody has claimed. */
static bool unsettled(void)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		const struct peer *p = fn_peer_at(i);
		if (p->state == FN_PEER_GROUP && fn_shm_offering(fn_fabric.nic, p->number))
			return true;
	}
	return false;
}

void fn_fabric_settle(void)
{
	uint64_t until = fn_now() + SETTLE_NS, now;
	struct timespec ts = { .tv_nsec = FN_MSEC };	/* a claim is seen in memory only */
	struct pollfd pfd = { .events = POLLIN };
	bool wait;

	if (!fn_engine.fabric)
		return;
	for (;;) {
		now = fn_now();
		fn_engine_lock();
		fn_engine_poll(now);
		fn_dual_check(now);
		wait = now < until && fn_fabric.nic && unsettled();
		pfd.fd = fn_engine.side_epfd;
		fn_engine_unlock();
		if (!wait)
			return;
		fn_sys_ppoll(&pfd, 1, &ts, NULL);
	}
}

void fn_fabric_fork_prepare(void)
{
	fn_rendezvous_fork_prepare();
	if (fn_engine_fork_shares())
		fn_fabric_expect();
	for (unsigned i = 0; i < fn_rendezvous_count(); i++) {
		fn_group_post(i);
		if (fn_fabric.nic)	/* boards that have just been made */
			fn_fabric_watch_place(i);
	}
}

/* ---- exec ---- */

/* Has the next program a descriptor of f? */
static bool inherited(const struct fn_file *f)
{
	for (unsigned fd = 0; f && fd < fn_fdtable.top; fd++)
		if (fn_fdtable.file[fd] == f && fn_sys_fcntl((int)fd, F_GETFD, 0) == 0)
			return true;
	return false;
}

size_t fn_fabric_handover_size(void)
{
	unsigned n = fn_config.fabric ? fn_rendezvous_count() : 0;

	return n ? sizeof(FN_HANDOVER_VAR) + n * FN_HANDOVER_TEXT : 0;
}

bool fn_fabric_handover(char *text)
{
	char *at = stpcpy(text, FN_HANDOVER_VAR), *begin = at;
	struct fn_handover h;

	fn_engine_lock();
	for (unsigned i = 0; i < fn_rendezvous_count(); i++)
		if (inherited(fn_rendezvous_file(i)) && share(i, &h) == 0 && fn_handover_inherit(&h, true) == 0)
			at = fn_handover_print(at, &h);
	fn_engine_unlock();
	return at > begin;
}

void fn_fabric_handover_undo(void)
{
	struct fn_handover h;

	fn_engine_lock();
	for (unsigned i = 0; i < fn_rendezvous_count(); i++)
		if (inherited(fn_rendezvous_file(i)) && fn_rendezvous_share(i, &h) == 0)
			fn_handover_inherit(&h, false);
	fn_engine_unlock();
}

/* Who has come to f before it ends, and is not known yet: others may have the listener, or are asking for it. */
static void last_come(const struct fn_file *f)
{
	int place = fn_fabric.nic ? fn_rendezvous_place(f) : -1;

	if (place >= 0)
		fn_group_come((unsigned)place);
}

/* An offer whose bell we have read, and no other image has heard, is theirs. */
static void offer_nothing(const struct peer *p)
{
	bool offered = fn_shm_offered(fn_fabric.nic, p->number, 0);

	fn_shm_offers(fn_fabric.nic, p->number, NULL);
	if (offered)
		fn_bell_ring(fn_shm_accepting(fn_fabric.nic, p->number));
}

/* NULL: of all listeners. */
static void offer_no_more(const struct fn_file *f)
{
	for (unsigned i = 0; i < fn_peers_top(); i++) {
		struct peer *p = fn_peer_at(i);

		if (p->state == FN_PEER_FREE || !p->listener || (f && p->listener != f))
			continue;
		p->listener = NULL;
		if (p->page)
			fn_page_leave(p->page);
		if (p->number > 0)
			offer_nothing(p);
		fn_peer_unmap(p->page, FN_PAGE_SIZE);
		p->page = NULL;
		fn_fd_internal_close(p->inbox);
		p->inbox = -1;
		if (p->state == FN_PEER_MET) {	/* it may still be met by another image; the place is freed (fn_fabric_tick()) */
			fn_fd_internal_close(p->sock);
			p->sock = -1;
		}
	}
}

void fn_fabric_unlisten(const struct fn_file *f)
{
	last_come(f);
	fn_rendezvous_close(f);
	if (f->type == SOCK_DGRAM) {
		fn_dgram_unlisten(f);
		return;
	}
	fn_known_forget();
	offer_no_more(f);
}

void fn_fabric_offer_nothing(void)
{
	offer_no_more(NULL);
}
