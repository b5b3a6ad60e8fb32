/* SPDX-License-Identifier: BSD-3-Clause */
/* The stack under attack, its peer, and the programs on its sockets. Targets bring the steps. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "fuzz.h"
#include "stack/cksum.h"

#define ARENA		(16u << 20)
#define BUFFERS		128
#define STEPS_MAX	20000
#define US		fn_be32(0x0a000001)
#define PEER		fn_be32(0x0a000002)

static const uint8_t peer_mac[6] = {2, 0, 0, 0, 0, 2};

uint8_t fuzz_u8(struct fuzz_in *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->p++;
}

uint16_t fuzz_u16(struct fuzz_in *in)
{
	uint16_t hi = fuzz_u8(in);

	return (uint16_t)(hi << 8 | fuzz_u8(in));
}

size_t fuzz_bytes(struct fuzz_in *in, uint8_t *buf, size_t n)
{
	n = fn_min(n, in->left);
	memcpy(buf, in->p, n);
	in->p += n;
	in->left -= n;
	return n;
}

/* ---- frames ---- */

void fuzz_frame(struct fuzz *f, const uint8_t *frame, size_t len)
{
	fn_pair_inject(f->wire, 0, frame, len);
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

void fuzz_fix(uint8_t *frame, size_t len)
{
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
	size_t ihl = len > FN_ETHER_LEN ? (ip->ver_ihl & 15) * 4u : 0, l4, at;
	uint16_t sum;

	if (ihl < FN_IP4_LEN || len < FN_ETHER_LEN + ihl)
		return;
	ip->csum = 0;
	ip->csum = fn_cksum_fold(fn_cksum_add(0, ip, ihl));
	at = ip->proto == FN_IPPROTO_TCP ? 16 : ip->proto == FN_IPPROTO_UDP ? 6 : 2;
	l4 = fn_be16(ip->len);
	if (l4 < ihl + at + 2 || FN_ETHER_LEN + l4 > len || (ip->frag & fn_be16(FN_IP4_MF | FN_IP4_OFFSET)))
		return;
	l4 -= ihl;
	frame += FN_ETHER_LEN + ihl;
	put16(frame + at, 0);
	sum = fn_cksum_fold(fn_cksum_add(at == 2 ? 0 : fn_cksum_pseudo4(ip->src, ip->dst, ip->proto, (uint32_t)l4), frame, l4));
	put16(frame + at, sum);
}

void fuzz_ip4(struct fuzz *f, uint8_t proto, uint16_t id, uint16_t frag, const void *payload, size_t len, bool fix)
{
	uint8_t frame[FUZZ_FRAME] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
	struct fn_ip4_hdr *ip = (struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);

	len = fn_min(len, sizeof(frame) - FN_ETHER_LEN - FN_IP4_LEN);
	*ip = (struct fn_ip4_hdr){.ver_ihl = 0x45, .len = fn_be16((uint16_t)(FN_IP4_LEN + len)), .id = fn_be16(id),
		.frag = fn_be16(frag), .ttl = 64, .proto = proto, .src = PEER, .dst = US};
	ip->csum = fn_cksum_fold(fn_cksum_add(0, ip, FN_IP4_LEN));
	if (len)
		memcpy(ip + 1, payload, len);
	if (fix)
		fuzz_fix(frame, FN_ETHER_LEN + FN_IP4_LEN + len);
	fuzz_frame(f, frame, FN_ETHER_LEN + FN_IP4_LEN + len);
}

void fuzz_tcp(struct fuzz *f, const struct fuzz_seg *seg)
{
	uint8_t buf[FUZZ_FRAME] = {0};
	struct fn_tcp_hdr *th = (struct fn_tcp_hdr *)buf;
	size_t opt = fn_min(seg->opt_len, (size_t)40) & ~(size_t)3, hlen = sizeof(*th) + opt, len = fn_min(seg->len, (size_t)1460);

	*th = (struct fn_tcp_hdr){.sport = fn_be16(seg->sport ? seg->sport : FUZZ_PEER_PORT),
		.dport = fn_be16(seg->dport ? seg->dport : FUZZ_PORT), .seq = fn_be32(seg->seq), .ack = fn_be32(seg->ack),
		.off = (uint8_t)(hlen / 4 << 4), .flags = seg->flags, .win = fn_be16(seg->win), .urg = fn_be16(seg->urg)};
	if (opt)
		memcpy(th + 1, seg->opt, opt);
	if (len)
		memcpy(buf + hlen, seg->data, len);
	fuzz_ip4(f, FN_IPPROTO_TCP, 0, FN_IP4_DF, buf, hlen + len, true);
}

/* ---- what the stack sends ---- */

static void see_timestamp(struct fuzz *f, const uint8_t *p, const uint8_t *end)
{
	while (p < end && *p != FN_TCPOPT_EOL) {
		if (*p == FN_TCPOPT_NOP) {
			p++;
			continue;
		}
		if (end - p < 2 || p[1] < 2 || p[1] > end - p)
			abort();	/* the stack sent a malformed option */
		if (*p == FN_TCPOPT_TS)
			memcpy(&f->ts, p + 2, 4);
		p += p[1];
	}
}

/* The peer looks at a frame: its checksums must be right, and the connection's numbers are noted. */
static void see(struct fuzz *f, uint8_t *frame, size_t len)
{
	const struct fn_ip4_hdr *ip = (const struct fn_ip4_hdr *)(frame + FN_ETHER_LEN);
	const struct fn_tcp_hdr *th = (const struct fn_tcp_hdr *)(ip + 1);
	uint32_t l4, hlen;

	if (len < FN_ETHER_LEN || ((struct fn_ether_hdr *)frame)->type != fn_be16(FN_ETHER_TYPE_IP4))
		return;
	if (len != FN_ETHER_LEN + (uint32_t)fn_be16(ip->len) || fn_cksum_fold(fn_cksum_add(0, ip, (ip->ver_ihl & 15) * 4u)))
		abort();
	if (ip->proto != FN_IPPROTO_TCP)
		return;
	l4 = (uint32_t)len - FN_ETHER_LEN - FN_IP4_LEN;
	if (fn_cksum_fold(fn_cksum_add(fn_cksum_pseudo4(ip->src, ip->dst, FN_IPPROTO_TCP, l4), th, l4)))
		abort();
	hlen = (th->off >> 4) * 4u;
	if (hlen < FN_TCP_LEN || hlen > l4)
		abort();
	see_timestamp(f, (const uint8_t *)(th + 1), (const uint8_t *)th + hlen);
	if (th->flags & FN_TCP_SYN)
		f->syn_nxt = fn_be32(th->seq) + 1;
	if (th->sport != fn_be16(FUZZ_PORT) || th->dport != fn_be16(FUZZ_PEER_PORT) || (th->flags & FN_TCP_RST))
		return;
	f->rcv_nxt = fn_be32(th->seq) + l4 - hlen + !!(th->flags & FN_TCP_SYN) + !!(th->flags & FN_TCP_FIN);
}

void fuzz_poll(struct fuzz *f)
{
	static uint8_t frame[FUZZ_FRAME];
	unsigned rounds = 0;
	size_t len;

	while (fn_stack_poll(f->st, f->now))
		if (++rounds > STEPS_MAX)
			abort();
	fn_stack_flush(f->st);
	while ((len = fn_pair_sniff(f->wire, 0, frame, sizeof(frame))))
		see(f, frame, len);
}

void fuzz_sleep(struct fuzz *f, uint64_t ns)
{
	uint64_t until = f->now + ns, next;
	unsigned rounds = 0;

	while (f->now < until) {
		next = fn_stack_deadline(f->st);
		next = fn_max(next, f->now + 1);
		f->now = fn_min(next, until);
		fn_pair_set_time(f->wire, f->now);
		fuzz_poll(f);
		if (++rounds > STEPS_MAX)
			abort();	/* timers without end */
	}
}

/* ---- life ---- */

static void on_ready(void *ctx, struct fn_sock *sk, unsigned events)
{
}

static int grow_fixed(void *ctx, size_t size)
{
	return size <= ARENA ? 0 : -1;
}

static void need(bool ok)
{
	if (!ok)
		abort();
}

static struct fn_stack *create_stack(struct fn_arena *arena)
{
	static const struct fn_stack_ops ops = {.ready = on_ready};
	struct fn_stack_conf conf;

	fn_stack_conf_init(&conf);
	memset(conf.seed, 7, sizeof(conf.seed));
	conf.max_tcp = 16;
	conf.max_udp = 4;
	conf.sndbuf = conf.rcvbuf = conf.tcp_sndbuf = conf.tcp_rcvbuf = 32 << 10;
	conf.sndbuf_max = conf.rcvbuf_max = 64 << 10;
	return fn_stack_create(arena, &conf, &ops, NULL, 0);
}

/* A fresh stack. Its tables cost more to make than most inputs, so from the second time on it is a copy of the first. */
static struct fn_stack *fresh_stack(void)
{
	static struct fn_arena *arena;
	static struct fn_stack *st;
	static uint8_t *mem, *copy;
	static size_t size;

	if (st) {
		memset(mem + size, 0, arena->used - size);
		memcpy(mem, copy, size);
		return st;
	}
	mem = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	need(mem != MAP_FAILED);
	arena = fn_arena_init(mem, ARENA, ARENA, grow_fixed, NULL);
	st = create_stack(arena);
	need(st);
	size = arena->used;
	copy = malloc(size);
	need(copy);
	memcpy(copy, mem, size);
	return st;
}

static void make_stack(struct fuzz *f)
{
	struct fn_pair_conf wire = {.seed = 1, .buffers = BUFFERS, .release_ns = 1};
	struct fn_nic *nic;

	f->wire = fn_pair_create(&wire);
	need(f->wire);
	f->st = fresh_stack();
	nic = fn_pair_nic(f->wire, 0);
	nic->ip4 = US;
	nic->ip4_mask = fn_be32(0xffffff00);
	need(!fn_stack_add_nic(f->st, nic));
}

/* The peer asks who we are, so the stack knows it. */
static void introduce_peer(struct fuzz *f)
{
	uint8_t frame[FN_ETHER_LEN + sizeof(struct fn_arp_hdr)];
	struct fn_ether_hdr *eh = (struct fn_ether_hdr *)frame;
	struct fn_arp_hdr arp = {.htype = fn_be16(1), .ptype = fn_be16(FN_ETHER_TYPE_IP4), .hlen = 6, .plen = 4,
		.op = fn_be16(FN_ARP_REQUEST), .spa = PEER, .tpa = US};

	memset(eh->dst, 0xff, 6);
	memcpy(eh->src, peer_mac, 6);
	memcpy(arp.sha, peer_mac, 6);
	eh->type = fn_be16(FN_ETHER_TYPE_ARP);
	memcpy(eh + 1, &arp, sizeof(arp));
	fuzz_frame(f, frame, sizeof(frame));
	fuzz_poll(f);
}

static void make_sockets(struct fuzz *f)
{
	struct fn_ep ep = {.port = fn_be16(FUZZ_PORT)};

	f->listener = fn_sock_open(f->st, FN_SOCK_TCP, f);
	f->udp = fn_sock_open(f->st, FN_SOCK_UDP, f);
	need(f->listener && f->udp && !fn_sock_bind(f->listener, &ep) && !fn_tcp_listen(f->listener, 4));
	ep.port = fn_be16(FUZZ_UDP_PORT);
	need(!fn_sock_bind(f->udp, &ep));
}

static void connect_peer(struct fuzz *f, const uint8_t *opt, size_t opt_len)
{
	struct fuzz_seg seg = {.seq = 1000, .win = 65535, .flags = FN_TCP_SYN, .opt = opt, .opt_len = opt_len};

	fuzz_tcp(f, &seg);
	fuzz_poll(f);
	f->snd_nxt = 1001;
	seg = (struct fuzz_seg){.seq = 1001, .ack = f->rcv_nxt, .win = 65535, .flags = FN_TCP_ACK};
	fuzz_tcp(f, &seg);
	fuzz_poll(f);
	f->conn = fn_tcp_accept(f->listener, f);
}

struct fuzz *fuzz_open(const uint8_t *syn_opt, size_t syn_opt_len, bool must)
{
	static struct fuzz f;

	memset(&f, 0, sizeof(f));
	make_stack(&f);
	introduce_peer(&f);
	make_sockets(&f);
	connect_peer(&f, syn_opt, syn_opt_len);
	need(f.conn || !must);
	return &f;
}

void fuzz_close(struct fuzz *f)
{
	fuzz_poll(f);
	if (f->conn)
		fn_sock_close(f->conn);
	if (f->listener)
		fn_sock_close(f->listener);
	fn_sock_close(f->udp);
	fuzz_sleep(f, 3000 * FN_NSEC);
	need(!f->st->tcp_pool.used);
	need(!f->st->udp_pool.used);
	need(!fn_stack_staged(f->st));
	need(!f->st->loop.count);
	need(!fn_pair_outstanding(f->wire, 0));
	need(!fn_pair_outstanding(f->wire, 1));
	fn_pair_destroy(f->wire);
}

/* ---- the programs ---- */

static void app_tcp_io(struct fuzz *f, uint8_t what, uint8_t arg)
{
	static uint8_t buf[8192];
	struct iovec iov = {buf, (size_t)(arg + 1) * 32};
	static const unsigned recv_flags[4] = {0, MSG_PEEK, MSG_OOB, MSG_TRUNC};
	static const unsigned send_flags[4] = {0, MSG_OOB, MSG_MORE, 0};

	if (what & 1)
		fn_tcp_recv(f->conn, &iov, 1, 0, recv_flags[what >> 1 & 3], NULL);
	else
		fn_tcp_send(f->conn, &iov, 1, 0, send_flags[what >> 1 & 3]);
}

static void app_udp_io(struct fuzz *f, uint8_t what, uint8_t arg)
{
	static uint8_t buf[8192];
	struct iovec iov = {buf, (size_t)arg * 32};
	struct fn_ep to = {.ip4 = PEER, .port = fn_be16(4001)};
	struct fn_udp_meta meta;

	if (what & 1)
		fn_udp_recv(f->udp, &iov, 1, what & 2 ? MSG_PEEK : 0, &meta);
	else
		fn_udp_send(f->udp, &iov, 1, &to, NULL);
}

static void app_option(struct fuzz *f, uint8_t what, uint8_t arg)
{
	static const enum fn_opt opts[8] = {FN_OPT_NODELAY, FN_OPT_CORK, FN_OPT_QUICKACK, FN_OPT_OOBINLINE, FN_OPT_KEEPALIVE,
		FN_OPT_RCVBUF, FN_OPT_SNDBUF, FN_OPT_LINGER};

	bool size = opts[what & 7] == FN_OPT_RCVBUF || opts[what & 7] == FN_OPT_SNDBUF;

	fn_sock_setopt(f->conn, opts[what & 7], size ? arg * 256 : arg & 1);
	fn_sock_poll(f->conn);
	fn_sock_poll(f->listener);
	fn_tcp_readable(f->conn);
	fn_tcp_outq(f->conn);
	fn_tcp_at_mark(f->conn);
}

static void app_close_accept(struct fuzz *f, uint8_t what)
{
	if (f->conn) {
		fn_sock_close(f->conn);
		f->conn = NULL;
	}
	if (what & 1)
		f->conn = fn_tcp_accept(f->listener, f);
	if (!f->conn && (what & 2)) {
		struct fn_ep to = {.ip4 = PEER, .port = fn_be16(FUZZ_PEER_PORT)}, from = {.port = fn_be16(FUZZ_PORT)};

		f->conn = fn_sock_open(f->st, FN_SOCK_TCP, f);
		if (f->conn && what & 4) {
			fn_sock_setopt(f->conn, FN_OPT_REUSEADDR, 1);
			fn_sock_bind(f->conn, &from);
		}
		if (f->conn)
			fn_sock_connect(f->conn, &to);
	}
}

void fuzz_app(struct fuzz *f, struct fuzz_in *in)
{
	uint8_t what = fuzz_u8(in), arg = fuzz_u8(in);

	switch (what >> 5) {
	case 0:
	case 1:
	case 2:
		if (f->conn)
			app_tcp_io(f, what, arg);
		break;
	case 3:
		app_udp_io(f, what, arg);
		break;
	case 4:
		if (f->conn)
			app_option(f, what, arg);
		break;
	case 5:
		if (f->conn)
			fn_sock_shutdown(f->conn, what & 3);
		break;
	case 6:
		app_close_accept(f, what);
		break;
	case 7:
		if (f->conn)
			fn_sock_take_error(f->conn);
		break;
	}
	fuzz_poll(f);
}

int fuzz_run(const uint8_t *data, size_t size, struct fuzz *f, fuzz_step *step)
{
	struct fuzz_in in = {data, size};

	while (in.left) {
		uint8_t op = fuzz_u8(&in);

		switch (op & 3) {
		case 0:
		case 1:
			step(f, &in, op);
			break;
		case 2:
			fuzz_sleep(f, 1000ull << (op >> 2) % 28);
			break;
		case 3:
			fuzz_app(f, &in);
			break;
		}
	}
	fuzz_close(f);
	return 0;
}
