/* SPDX-License-Identifier: BSD-3-Clause */
/* Names of listeners, and the questions to the kernel that make them trustworthy; see rendezvous.h. */
#include "shim/rendezvous.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "shim/engine.h"
#include "shim/fabric_priv.h"
#include "shim/fdtable.h"
#include "shim/kin.h"
#include "shim/lock.h"
#include "shim/peer.h"
#include "shim/uid.h"

static struct place {
	const struct fn_file *file;	/* NULL: free */
	int fd;				/* internal; -1: paused, or another image has the name */
	int asking;			/* internal: connected to that one, who is to answer; -1 */
	unsigned rest;			/* ticks until it is asked again */
	uid_t uid;			/* who listened on it */
	uid_t owner;			/* of the kernel's socket */
	uint64_t cookie;
	bool forked;			/* another image has the listener too */
	bool watched;
	bool waiting, refuses;		/* fn_rendezvous_waits(), fn_rendezvous_refuse() */
	bool ceded;			/* fn_rendezvous_cede() */
	bool datagrams;
	struct fn_board board;
	struct fn_kin kin;		/* of datagrams */
	uint64_t calm;			/* and until then more of those may begin to read */
} places[FN_RENDEZVOUS_MAX];
static unsigned top;			/* places in use are below */
static bool paused;
static bool missing;			/* there are names that we might get */

#define REST_TICKS	100		/* a second: whoever has not answered is not asked all the time */
#define CALM_NS		FN_NSEC		/* a server's workers begin at the same time */

/* The socket by which the kernel is asked whose a listener is: one for the image, of the namespaces that it is in. */
static struct {
	struct fn_lock lock;		/* a question and its answer; nothing is taken under it */
	int fd;				/* internal; -1 */
	uint32_t seq;
} diag = { .fd = -1 };

#define NAME_FORMAT	"fastnet/listener/%u/%016llx"

static socklen_t name_of(uint64_t cookie, struct sockaddr_un *un)
{
	int n;

	memset(un, 0, sizeof(*un));
	un->sun_family = AF_UNIX;
	n = snprintf(un->sun_path + 1, sizeof(un->sun_path) - 1, NAME_FORMAT, FN_PEER_VERSION,
		     (unsigned long long)cookie);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (unsigned)n);
}

uint64_t fn_rendezvous_named(int fd)
{
	struct sockaddr_un un, own;
	socklen_t len = sizeof(own);
	unsigned long long cookie;
	unsigned version;

	memset(&own, 0, sizeof(own));
	if (fn_sys(SYS_getsockname, fd, &own, &len) < 0 || own.sun_family != AF_UNIX || len >= sizeof(own) ||
	    sscanf(own.sun_path + 1, "fastnet/listener/%u/%16llx", &version, &cookie) != 2 || name_of(cookie, &un) != len ||
	    memcmp(&un, &own, len) != 0)
		return 0;
	return cookie;
}

/* ---- our own listeners ---- */

static int make_name(uint64_t cookie)
{
	struct sockaddr_un un;
	socklen_t len = name_of(cookie, &un);
	int fd = fn_fd_internal_if_room(fn_sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), ret;

	if (fd < 0)
		return fd;
	ret = (int)fn_sys(SYS_bind, fd, &un, len);
	if (ret == 0)
		ret = (int)fn_sys(SYS_listen, fd, SOMAXCONN);
	if (ret < 0) {
		fn_fd_internal_close(fd);
		return ret;
	}
	return fd;
}

/* Another image has the name: who may have made it is asked for it. The socket on which the answer comes, or -errno. */
static int ask_for(uint64_t cookie, uid_t owner)
{
	struct fn_rendezvous at = { .cookie = cookie, .uid = owner };
	int sock = fn_rendezvous_connect(&at), ret;

	if (sock < 0)
		return sock;
	ret = fn_peer_send(sock, FN_PEER_JOIN, cookie, 0, -1);
	if (ret == 0)
		return sock;
	fn_fd_internal_close(sock);
	return ret;
}

/* p has got that; false: and it is no use. */
static bool have(struct place *p, struct fn_handover *h)
{
	int ret = fn_board_adopt(&p->board, h->fd[FN_HANDOVER_IN], h->fd[FN_HANDOVER_OUT], h->fd[FN_HANDOVER_MEMORY]);

	if (ret < 0 && ret != -EEXIST) {
		fn_handover_close(h);
		return false;
	}
	p->fd = h->fd[FN_HANDOVER_NAME];
	p->forked = true;
	if (p->fd >= 0)
		fn_fd_internal_track(&p->fd);
	for (unsigned i = FN_HANDOVER_IN; ret == -EEXIST && i < FN_HANDOVER_FDS; i++)
		fn_fd_internal_close(h->fd[i]);
	return true;
}

static void stop_asking(struct place *p)
{
	fn_fd_internal_close(p->asking);
	p->asking = -1;
}

/* p's name is made, or somebody is asked for it. -errno: neither. */
static int make_or_ask(struct place *p)
{
	p->fd = make_name(p->cookie);
	if (p->fd >= 0) {
		fn_fd_internal_track(&p->fd);
		return 0;
	}
	if (p->fd == -EADDRINUSE) {
		p->forked = true;
		p->asking = p->datagrams ? -1 : ask_for(p->cookie, p->owner);
		if (p->asking >= 0)
			fn_fd_internal_track(&p->asking);
	}
	p->asking = fn_max(p->asking, -1);
	p->fd = -1;
	p->rest = REST_TICKS;
	return p->forked ? 0 : -ENOENT;
}

static struct place *free_place(void)
{
	for (unsigned i = 0; i < FN_RENDEZVOUS_MAX; i++) {
		if (places[i].file)
			continue;
		top = fn_max(top, i + 1);
		return &places[i];
	}
	return NULL;
}

/* Two files of one listener in one image: the first one has its name. */
static bool known(uint64_t cookie)
{
	return fn_rendezvous_by(cookie);
}

void fn_rendezvous_open(struct fn_file *f, int fd)
{
	struct place new = { .file = f, .fd = -1, .asking = -1, .uid = (uid_t)fn_sys(SYS_geteuid, 0),
			     .datagrams = f->type == SOCK_DGRAM }, *p;
	socklen_t len = sizeof(new.cookie);
	struct fn_handover h;
	struct stat st;
	bool come;

	if (!fn_config.fabric || fn_sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &new.cookie, &len) < 0 ||
	    fn_sys(SYS_fstat, fd, &st) < 0)
		return;
	new.owner = st.st_uid;
	come = fn_handover_take(new.cookie, &h);
	fn_engine_lock();
	if (!fn_fabric_room())	/* since the last tick */
		fn_rendezvous_pause();
	p = known(new.cookie) ? NULL : free_place();
	if (p) {
		*p = new;
		come = come && have(p, &h);
		if (p->fd < 0 && !paused && make_or_ask(p) < 0 && !come)
			p->file = NULL;
		missing |= p->file && p->fd < 0;
	} else if (come) {
		fn_handover_close(&h);
	}
	fn_engine_unlock();
}

static struct place *place_of(const struct fn_file *f)
{
	for (unsigned i = 0; i < top; i++)
		if (places[i].file == f)
			return &places[i];
	return NULL;
}

uint64_t fn_rendezvous_close(const struct fn_file *f)
{
	struct place *p = place_of(f);

	if (!p)
		return 0;
	fn_fd_internal_close(p->fd);
	stop_asking(p);
	fn_board_close(&p->board);
	fn_kin_close(&p->kin, f->refs != 0);	/* it may be the kernel's from now on */
	p->file = NULL;
	return p->cookie;
}

static struct place *place_by(uint64_t cookie)
{
	for (unsigned i = 0; i < top; i++)
		if (places[i].file && places[i].cookie == cookie)
			return &places[i];
	return NULL;
}

struct fn_file *fn_rendezvous_own(uint64_t cookie, bool *forked)
{
	struct place *p = place_by(cookie);

	if (!p || p->ceded)
		return NULL;
	*forked = p->datagrams ? !fn_rendezvous_alone((unsigned)(p - places)) : p->forked;
	return (struct fn_file *)p->file;
}

struct fn_file *fn_rendezvous_by(uint64_t cookie)
{
	struct place *p = place_by(cookie);

	return p ? (struct fn_file *)p->file : NULL;
}

void fn_rendezvous_reads(const struct fn_file *f)
{
	struct place *p = place_of(f);

	if (!p || p->kin.reads)
		return;
	fn_kin_reads(&p->kin);
	p->calm = fn_now() + CALM_NS;
}

bool fn_rendezvous_has_kin(unsigned i)
{
	return places[i].file && fn_kin_any(&places[i].kin);
}

bool fn_rendezvous_alone(unsigned i)
{
	struct place *p = &places[i];
	bool alone = !p->datagrams || fn_kin_alone(&p->kin);

	if (!alone)
		p->calm = fn_now() + CALM_NS;
	return alone && (!fn_kin_any(&p->kin) || fn_now() >= p->calm);
}

unsigned fn_rendezvous_kin(unsigned i, const int **end)
{
	*end = places[i].kin.end;
	return FN_KIN_MAX;
}

unsigned fn_rendezvous_count(void)
{
	return top;
}

int fn_rendezvous_watched(unsigned i)
{
	return i < top && places[i].file && places[i].watched ? places[i].fd : -1;
}

struct fn_board *fn_rendezvous_board(unsigned i)
{
	return i < top && places[i].file && places[i].watched && places[i].board.shared ? &places[i].board : NULL;
}

void fn_rendezvous_fork_prepare(void)
{
	for (unsigned i = 0; i < top; i++) {
		if (places[i].file && places[i].datagrams)
			fn_kin_expect(&places[i].kin);
		else if (places[i].file)
			fn_board_make(&places[i].board, places[i].cookie);
	}
}

int fn_rendezvous_place(const struct fn_file *f)
{
	struct place *p = place_of(f);

	return p ? (int)(p - places) : -1;
}

const struct fn_file *fn_rendezvous_file(unsigned i)
{
	return places[i].file;
}

int fn_rendezvous_watch(const struct fn_file *f)
{
	struct place *p = place_of(f);

	if (!p)
		return -1;
	p->watched = true;
	return (int)(p - places);
}

void fn_rendezvous_leave(void)
{
	paused = false;
	for (unsigned i = 0; i < top; i++) {
		if (!places[i].file)
			continue;
		fn_fd_internal_close(places[i].fd);
		stop_asking(&places[i]);
		fn_board_close(&places[i].board);
		fn_kin_close(&places[i].kin, true);
		places[i].file = NULL;
	}
}

int fn_rendezvous_share(unsigned i, struct fn_handover *h)
{
	struct place *p = &places[i];
	int ret;

	if (i >= top || !p->file)
		return -ENOENT;
	ret = fn_board_make(&p->board, p->cookie);
	if (ret < 0)
		return ret;
	*h = (struct fn_handover){ .fd = { p->fd, p->board.in, p->board.out, p->board.memory } };
	p->forked = true;
	return 0;
}

int fn_rendezvous_asking(unsigned i)
{
	return i < top && places[i].file ? places[i].asking : -1;
}

bool fn_rendezvous_may_have(unsigned i, uint64_t cookie, uid_t uid)
{
	return i < top && places[i].file && places[i].cookie == cookie && (uid == places[i].owner || !uid) &&
	       fn_uid_known(uid);
}

void fn_rendezvous_waits(unsigned i, bool yes)
{
	places[i].waiting = yes;
}

bool fn_rendezvous_waiting(unsigned i)
{
	return places[i].file && places[i].waiting;
}

/* unix_stream_connect(), of SOCK_SEQPACKET too: ECONNREFUSED; what is in the queue can be accepted */
static void refuse(struct place *p)
{
	fn_sys(SYS_shutdown, p->fd, SHUT_RD);
	p->refuses = true;
}

void fn_rendezvous_refuse(unsigned i)
{
	struct place *p = &places[i];

	if (p->fd >= 0 && !p->forked && !p->board.shared)
		refuse(p);
}

bool fn_rendezvous_refuses(unsigned i)
{
	return places[i].file && places[i].refuses;
}

bool fn_rendezvous_cede(unsigned i)
{
	struct place *p = &places[i];

	if (!p->file || p->ceded || p->datagrams)
		return false;
	p->ceded = true;
	stop_asking(p);
	if (p->fd >= 0)
		refuse(p);
	return true;
}

bool fn_rendezvous_ceded(unsigned i)
{
	return i < top && places[i].file && places[i].ceded;
}

void fn_rendezvous_shut(unsigned i)
{
	struct place *p = &places[i];

	if (!p->file || p->fd < 0)
		return;
	fn_fd_internal_close(p->fd);
	p->fd = -1;
	p->refuses = p->waiting = false;
	p->rest = REST_TICKS;
	missing = true;
	if (p->file->type != SOCK_DGRAM)
		return;
	stop_asking(p);
	fn_board_close(&p->board);
	fn_kin_close(&p->kin, true);
	p->file = NULL;
}

void fn_rendezvous_give(const struct fn_file *f)
{
	const struct place *p = place_of(f);

	if (p && !p->watched && !p->datagrams)
		fn_rendezvous_close(f);
}

void fn_rendezvous_pause(void)
{
	if (paused)
		return;
	paused = true;
	for (unsigned i = 0; i < top; i++) {
		if (!places[i].file)
			continue;
		fn_fd_internal_close(places[i].fd);
		stop_asking(&places[i]);
		places[i].fd = -1;
	}
}

/* Has the answer to p's question come? Who has it may have ended: then the name can be had. */
static void hear(struct place *p)
{
	struct fn_handover h;
	int ret = fn_handover_look(p->asking, &h);

	if (ret == -EAGAIN)
		return;
	stop_asking(p);
	if (ret == 0 && have(p, &h))
		return;
	if (p->uid == fn_uid_own())
		p->fd = fn_max(make_name(p->cookie), -1);
	if (p->fd >= 0)
		fn_fd_internal_track(&p->fd);
}

/* p has no name. True: it has one now, or asks by another socket. */
static bool regain(struct place *p, uid_t uid)
{
	bool asked = p->asking >= 0;

	if (asked)
		hear(p);
	else if (p->uid != uid)
		return false;
	else if (p->rest)
		p->rest--;
	else
		make_or_ask(p);
	missing |= p->fd < 0;
	return p->fd >= 0 || (!asked && p->asking >= 0);
}

void fn_rendezvous_resume(void (*watch)(unsigned place))
{
	uid_t uid;

	if (fn_likely(!paused && !missing))
		return;
	paused = missing = false;
	uid = fn_uid_own();
	for (unsigned i = 0; i < top; i++)
		if (places[i].file && places[i].fd < 0 && !places[i].ceded && regain(&places[i], uid) && places[i].watched)
			watch(i);
}

void fn_rendezvous_forked(bool child)
{
	if (child) {	/* the parent's answers come by its socket */
		diag.lock = (struct fn_lock){ 0 };
		fn_rendezvous_namespace();
	}
	for (unsigned i = 0; i < top; i++) {
		places[i].forked = true;
		if (places[i].file && places[i].datagrams)
			fn_kin_forked(&places[i].kin, child);
		if (child && places[i].file && places[i].file->kind == FN_FILE_KERNEL)	/* there was no place in the family */
			fn_rendezvous_close(places[i].file);
		/* a child waits on its own account */
		if (child && places[i].file && !places[i].file->sk) {
			places[i].watched = false;
			if (!places[i].datagrams)
				fn_board_forked(&places[i].board);
		}
	}
}

/* ---- other processes' ---- */

struct question {
	struct nlmsghdr nh;
	struct inet_diag_req_v2 req;
};

/* The one message of the answer, which is there. */
static int read_answer(uint32_t seq, uint8_t protocol, struct fn_rendezvous *at)
{
	uint8_t buf[1024] __attribute__((aligned(8)));
	const struct nlmsghdr *nh = (const struct nlmsghdr *)buf;
	const struct inet_diag_msg *m = NLMSG_DATA(nh);
	const struct nlmsgerr *err = NLMSG_DATA(nh);
	ssize_t n;

	do {
		n = fn_sys(SYS_recvfrom, diag.fd, buf, sizeof(buf), MSG_DONTWAIT, NULL, NULL);
		if (n < 0 && n != -EINTR)
			return (int)n;
	} while (n < (ssize_t)sizeof(*nh) || nh->nlmsg_seq != seq);
	if (n >= (ssize_t)NLMSG_LENGTH(sizeof(*err)) && nh->nlmsg_type == NLMSG_ERROR)
		return err->error ? err->error : -ENOENT;
	if (n < (ssize_t)NLMSG_LENGTH(sizeof(*m)) || nh->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    (protocol == IPPROTO_TCP && m->idiag_state != TCP_LISTEN))
		return -ENOENT;
	at->cookie = m->id.idiag_cookie[0] | (uint64_t)m->id.idiag_cookie[1] << 32;
	at->uid = m->idiag_uid;
	at->backlog = m->idiag_wqueue;	/* of a listener (net/ipv4/tcp_diag.c) */
	return 0;
}

/*
 * Of several listeners (SO_REUSEPORT) the kernel tells the one that its keyed hash gives to a client of that address and port
 * (inet_diag_find_one_icsk, reuseport_select_sock): each question is another client's, of an address that nobody has.
 */
static int ask_locked(struct question *q, struct fn_rendezvous *at)
{
	int ret;

	if (diag.fd < 0) {
		diag.fd = fn_fd_internal_if_room(fn_sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
		if (diag.fd < 0)
			return diag.fd;
		fn_fd_internal_track(&diag.fd);
	}
	q->nh.nlmsg_seq = ++diag.seq;
	if (q->req.sdiag_protocol == IPPROTO_TCP)
		q->req.id.idiag_dport = (uint16_t)diag.seq;
	/* the kernel answers in the call that asks */
	ret = (int)fn_sys(SYS_sendto, diag.fd, q, sizeof(*q), 0, NULL, 0);
	return ret < 0 ? ret : read_answer(q->nh.nlmsg_seq, q->req.sdiag_protocol, at);
}

static int ask(struct question *q, struct fn_rendezvous *at)
{
	int ret;

	q->nh = (struct nlmsghdr){ .nlmsg_len = sizeof(*q), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST };
	fn_lock_take(&diag.lock);
	ret = ask_locked(q, at);
	fn_lock_release(&diag.lock);
	return ret;
}

int fn_rendezvous_find(uint32_t ip4, uint16_t port, struct fn_rendezvous *at)
{
	struct question q = {
		.req = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_TCP, .idiag_states = 1u << TCP_LISTEN,
			 .id = { .idiag_sport = htons(port), .idiag_src = { ip4 },
				 .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } },
	};

	return ask(&q, at);
}

#define LOOPBACK 1	/* LOOPBACK_IFINDEX: the interface by which a host hears from itself */

int fn_rendezvous_find_datagram(const struct fn_ep *from, const struct fn_ep *to, struct fn_rendezvous *at)
{
	/* udp_dump_one() looks for who receives a packet with these ends */
	struct question q = {
		.req = { .sdiag_family = AF_INET, .sdiag_protocol = IPPROTO_UDP, .idiag_states = ~0u,
			 .id = { .idiag_sport = from->port, .idiag_src = { from->ip4 }, .idiag_dport = to->port,
				 .idiag_dst = { to->ip4 }, .idiag_if = LOOPBACK,
				 .idiag_cookie = { INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE } } },
	};

	return ask(&q, at);
}

void fn_rendezvous_namespace(void)
{
	fn_lock_take(&diag.lock);
	fn_fd_internal_close(diag.fd);
	diag.fd = -1;
	fn_lock_release(&diag.lock);
}

bool fn_rendezvous_speaks(const struct fn_rendezvous *at)
{
	return (at->speaker == at->uid || !at->speaker) && fn_uid_known(at->speaker);
}

int fn_rendezvous_connect(struct fn_rendezvous *at)
{
	struct sockaddr_un un;
	socklen_t len = name_of(at->cookie, &un), size;
	struct ucred cred;
	int fd = fn_fd_internal(fn_sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)), on = 1, ret;

	if (fd < 0)
		return fd;
	ret = fn_sys_setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on));
	if (ret == 0)
		ret = (int)fn_sys(SYS_connect, fd, &un, len);
	size = sizeof(cred);
	if (ret == 0)
		ret = fn_sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size);
	if (ret == 0) {
		at->speaker = cred.uid;
		ret = fn_rendezvous_speaks(at) ? 0 : -EPERM;
	}
	if (ret < 0) {
		fn_fd_internal_close(fd);
		return ret;
	}
	return fd;
}

bool fn_rendezvous_is_named(int fd)
{
	struct fn_rendezvous at = { 0 };
	socklen_t len = sizeof(at.cookie);
	struct stat st;
	int sock;

	if (fn_sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &at.cookie, &len) < 0 || fn_sys(SYS_fstat, fd, &st) < 0)
		return false;
	at.uid = st.st_uid;
	sock = fn_rendezvous_connect(&at);
	if (sock >= 0)
		fn_fd_internal_close(sock);
	return sock >= 0;
}
