/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls of a script on the verbs of stack/sock.h: the thin part of the shim that a script needs (numbers, blocking,
 * errno). Every byte written or read follows the pattern, so that a wrong or moved byte is found.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "world.h"

#define XFER_MAX (16 << 20)

const struct expr *arg_at(const struct call *call, int i)
{
	const struct expr *e = call->args;

	while (e && i--)
		e = e->next;
	return e;
}

bool arg_int(struct world *w, const struct call *call, int i, int64_t *v)
{
	const struct expr *e = arg_at(call, i);

	*v = 0;
	if (!e)
		return world_error(w, call->name_pos, "expected at least %d arguments for %s", i + 1, call->name);
	if (e->kind != EX_INT)
		return world_error(w, e->pos, "expected a number as argument %d of %s", i + 1, call->name);
	*v = e->value;
	return true;
}

struct file *arg_file(struct world *w, const struct call *call, int i)
{
	int64_t fd;

	if (!arg_int(w, call, i, &fd) || fd < 0 || fd >= FDS_MAX || !w->file[fd].used)
		return NULL;
	return &w->file[fd];
}

/* A call on a number that is not open is EBADF, unless the script itself is wrong (*ok false). */
static struct file *file_of(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = arg_file(w, call, 0);

	*ok = !w->error[0];
	return f;
}

/* {sa_family = AF_INET, sin_port = htons(8080), sin_addr = inet_addr("…")}, or "...": the default in *ep */
static bool arg_addr(struct world *w, const struct call *call, int i, struct fn_ep *ep)
{
	const struct expr *e = arg_at(call, i);

	if (!e || e->kind == EX_ANY)
		return true;
	if (e->kind != EX_STRUCT)
		return world_error(w, e->pos, "expected an address or \"...\"");
	for (const struct expr *m = e->kid; m; m = m->next) {
		if (m->name && !strcmp(m->name, "sin_port"))
			ep->port = (uint16_t)m->value;
		else if (m->name && !strcmp(m->name, "sin_addr"))
			ep->ip4 = (uint32_t)m->value;
	}
	return true;
}

static int new_file(struct world *w, struct fn_sock *sk, bool tcp, bool nonblock)
{
	int fd = FD_FIRST;

	while (fd < FDS_MAX && w->file[fd].used)
		fd++;
	if (fd == FDS_MAX)
		return -EMFILE;
	w->file[fd] = (struct file){ .used = true, .sk = sk, .tcp = tcp, .nonblock = nonblock, .linger = -1 };
	sk->user = &w->file[fd];
	return fd;
}

static int64_t do_socket(struct world *w, const struct call *call, bool *ok)
{
	struct fn_sock *sk;
	int64_t type;
	bool tcp;

	*ok = arg_int(w, call, 1, &type);
	if (!*ok)
		return 0;
	tcp = (type & 15) == SOCK_STREAM;
	sk = fn_sock_open(w->st, tcp ? FN_SOCK_TCP : FN_SOCK_UDP, w);
	return sk ? new_file(w, sk, tcp, type & SOCK_NONBLOCK) : -ENOBUFS;
}

static int64_t do_bind(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	struct fn_ep ep = { .ip4 = w->link.our_ip, .port = htons(CONN_LOCAL_PORT) };

	if (!f)
		return -EBADF;
	*ok = arg_addr(w, call, 1, &ep);
	if (ep.port)
		w->conns.lport = ntohs(ep.port);
	return *ok ? fn_sock_bind(f->sk, &ep) : 0;
}

static int64_t do_listen(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	int64_t backlog;

	if (!f)
		return -EBADF;
	*ok = arg_int(w, call, 1, &backlog);
	return *ok ? fn_tcp_listen(f->sk, (int)backlog) : 0;
}

static int64_t do_accept(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	const struct expr *flags = arg_at(call, 3);
	struct fn_sock *sk;
	int fd;

	if (!f)
		return -EBADF;
	sk = fn_tcp_accept(f->sk, w);
	if (!sk)
		return -EAGAIN;
	fd = new_file(w, sk, true, flags && flags->value & SOCK_NONBLOCK);
	if (fd >= 0)
		w->last_fd = fd;
	return fd;
}

static int64_t start_connect(struct world *w, const struct call *call, struct file *f, bool *ok)
{
	const struct expr *addr = arg_at(call, 1);
	struct fn_ep ep = { .ip4 = w->link.their_ip, .port = htons(CONN_LOCAL_PORT) };
	bool unspec = addr && addr->kind == EX_STRUCT && addr->kid && addr->kid->name &&
		      !strcmp(addr->kid->name, "sa_family") && addr->kid->value == AF_UNSPEC;

	*ok = arg_addr(w, call, 1, &ep);
	if (!*ok)
		return 0;
	if (unspec)
		return fn_sock_disconnect(f->sk);
	if (!conn_get(&w->conns, ntohs(ep.port), 0)) {
		*ok = world_error(w, call->name_pos, "expected at most %d connections", CONNS_MAX);
		return 0;
	}
	w->last_fd = (int)(f - w->file);
	f->wr_off = f->rd_off = 0;
	return fn_sock_connect(f->sk, &ep);
}

static int64_t do_connect(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	int64_t r;

	if (!f)
		return -EBADF;
	if (!w->pending.started) {
		r = start_connect(w, call, f, ok);
		if (r != -EINPROGRESS || f->nonblock)
			return r;
		w->pending.started = true;
	}
	if (!(fn_sock_poll(f->sk) & (POLLOUT | POLLERR | POLLHUP)))
		return -EAGAIN;
	return -fn_sock_take_error(f->sk);
}

/* flags is argument i, or none */
static bool transfer_args(struct world *w, const struct call *call, int i, int64_t *len, int64_t *flags)
{
	*flags = 0;
	if (!arg_int(w, call, 2, len) || (arg_at(call, i) && !arg_int(w, call, i, flags)))
		return false;
	if (*len < 0 || *len > XFER_MAX)
		return world_error(w, arg_at(call, 2)->pos, "expected at most %d bytes", XFER_MAX);
	return true;
}

static int64_t send_stream(struct world *w, struct file *f, size_t len, unsigned flags, bool block)
{
	size_t done = w->pending.done;
	uint8_t *buf = malloc(len + 1);
	struct iovec iov = { buf, len };
	ssize_t r;

	if (!buf)
		return -ENOMEM;
	pattern_fill(buf, f->wr_off - (uint32_t)done, len);
	r = fn_tcp_send(f->sk, &iov, 1, done, flags & (MSG_OOB | MSG_MORE));
	free(buf);
	if (r > 0)
		f->wr_off += (uint32_t)r;
	if (!block || (r <= 0 && r != -EAGAIN))
		return r < 0 && done ? (int64_t)done : r;
	w->pending.done += r > 0 ? (size_t)r : 0;
	return w->pending.done < len ? -EAGAIN : (int64_t)len;
}

static int64_t send_datagram(struct world *w, struct file *f, size_t len, const struct fn_ep *to)
{
	uint8_t *buf = malloc(len + 1);
	struct iovec iov = { buf, len };
	ssize_t r;

	if (!buf)
		return -ENOMEM;
	pattern_fill(buf, 0, len);
	r = fn_udp_send(f->sk, &iov, 1, to, NULL);
	free(buf);
	return r;
}

/* write(fd, ..., len), send(fd, ..., len, flags), sendto(fd, ..., len, flags, address, ...) */
static int64_t do_send(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	struct fn_ep to = { .ip4 = w->link.their_ip, .port = htons(CONN_LOCAL_PORT) };
	bool named = !strcmp(call->name, "sendto");
	int64_t len, flags;

	if (!f)
		return -EBADF;
	*ok = transfer_args(w, call, 3, &len, &flags) && arg_addr(w, call, 4, &to);
	if (!*ok)
		return 0;
	if (f->tcp)
		return send_stream(w, f, (size_t)len, (unsigned)flags, !f->nonblock && !(flags & MSG_DONTWAIT));
	if (named && !conn_get(&w->conns, ntohs(to.port), 0))
		*ok = world_error(w, call->name_pos, "expected at most %d remote ports", CONNS_MAX);
	return *ok ? send_datagram(w, f, (size_t)len, named ? &to : NULL) : 0;
}

/* What was read must be the next of the pattern; urgent data taken out of it ends that. */
static bool check_read(struct world *w, const struct call *call, const uint8_t *buf, uint32_t off, size_t len)
{
	int bad = pattern_check(buf, off, len);

	if (bad < 0 || w->urgent)
		return true;
	return world_error(w, call->name_pos, "%s gives a wrong byte at offset %u of the stream", call->name,
			   off + (uint32_t)bad);
}

static int64_t recv_stream(struct world *w, const struct call *call, struct file *f, size_t len, unsigned flags, bool *ok)
{
	size_t done = w->pending.done;
	uint8_t *buf = calloc(1, len + 1);
	struct iovec iov = { buf, len };
	ssize_t r;

	if (!buf)
		return -ENOMEM;
	r = fn_tcp_recv(f->sk, &iov, 1, done, flags & (MSG_PEEK | MSG_OOB | MSG_TRUNC), NULL);
	if (r > 0 && !(flags & (MSG_OOB | MSG_TRUNC)))
		*ok = check_read(w, call, buf + done, f->rd_off, (size_t)r);
	free(buf);
	if (r > 0 && !(flags & (MSG_OOB | MSG_PEEK)))
		f->rd_off += (uint32_t)r;
	if (f->nonblock || !(flags & MSG_WAITALL) || flags & MSG_DONTWAIT || (r <= 0 && r != -EAGAIN))
		return done && r <= 0 ? (int64_t)done : r;
	w->pending.done += r > 0 ? (size_t)r : 0;
	return w->pending.done < len ? -EAGAIN : (int64_t)len;
}

static int64_t recv_datagram(struct world *w, const struct call *call, struct file *f, size_t len, unsigned flags, bool *ok)
{
	uint8_t *buf = calloc(1, len + 1);
	struct iovec iov = { buf, len };
	struct fn_udp_meta meta;
	ssize_t r;

	if (!buf)
		return -ENOMEM;
	r = fn_udp_recv(f->sk, &iov, 1, flags & MSG_PEEK, &meta);
	if (r > 0)
		*ok = check_read(w, call, buf, 0, (size_t)r);
	free(buf);
	return r >= 0 && flags & MSG_TRUNC ? (int64_t)meta.len : r;
}

static int64_t do_recv(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	int64_t len, flags;

	if (!f)
		return -EBADF;
	*ok = transfer_args(w, call, 3, &len, &flags);
	if (!*ok)
		return 0;
	if (f->tcp)
		return recv_stream(w, call, f, (size_t)len, (unsigned)flags, ok);
	return recv_datagram(w, call, f, (size_t)len, (unsigned)flags, ok);
}

static int64_t do_shutdown(struct world *w, const struct call *call, bool *ok)
{
	static const unsigned how[] = { FN_SHUT_RD, FN_SHUT_WR, FN_SHUT_RD | FN_SHUT_WR };
	struct file *f = file_of(w, call, ok);
	int64_t v;

	if (!f)
		return -EBADF;
	*ok = arg_int(w, call, 1, &v);
	if (!*ok)
		return 0;
	return v >= SHUT_RD && v <= SHUT_RDWR ? fn_sock_shutdown(f->sk, how[v]) : -EINVAL;
}

/* With SO_LINGER and a time, close waits until everything is acknowledged or the time is over (socket(7)). */
static int64_t do_close(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);

	if (!f)
		return -EBADF;
	if (f->tcp && f->linger > 0 && !f->nonblock) {
		if (!w->pending.started)
			fn_sock_shutdown(f->sk, FN_SHUT_WR);
		w->pending.started = true;
		if (fn_tcp_unsent(f->sk) && (w->now - w->pending.start) / 1000000000 < f->linger)
			return -EAGAIN;
	}
	fn_sock_close(f->sk);
	f->used = false;
	return 0;
}

static bool poll_member(const struct expr *e, const char *name, int i, int64_t *v)
{
	for (; e; e = e->next, i--) {
		if (e->name ? !strcmp(e->name, name) : i == 0) {
			*v = e->value;
			return e->kind == EX_INT;
		}
	}
	return false;
}

/* poll([{fd=4, events=POLLIN, revents=POLLIN}, …], 1, timeout) */
static int64_t do_poll(struct world *w, const struct call *call, bool *ok)
{
	const struct expr *list = arg_at(call, 0);
	int64_t ready = 0, timeout;

	*ok = arg_int(w, call, 2, &timeout);
	if (*ok && list->kind != EX_LIST)
		*ok = world_error(w, list->pos, "expected [{fd=4, events=POLLIN, revents=POLLIN}]");
	for (const struct expr *e = *ok ? list->kid : NULL; e; e = e->next) {
		int64_t fd, events, revents, got;

		if (!poll_member(e->kid, "fd", 0, &fd) || !poll_member(e->kid, "events", 1, &events) ||
		    !poll_member(e->kid, "revents", 2, &revents)) {
			*ok = world_error(w, e->pos, "expected {fd=4, events=POLLIN, revents=POLLIN}");
			return 0;
		}
		got = POLLNVAL;
		if (fd >= 0 && fd < FDS_MAX && w->file[fd].used)
			got = fn_sock_poll(w->file[fd].sk) & (events | POLLERR | POLLHUP);
		ready += got != 0;
		if (got != revents && (got || !timeout))
			*ok = world_error(w, e->pos, "poll gives revents 0x%llx for fd %lld, expected 0x%llx", (long long)got,
					  (long long)fd, (long long)revents);
	}
	if (ready || !*ok || !timeout || (timeout > 0 && (w->now - w->pending.start) / 1000000 >= timeout))
		return ready;
	return -EAGAIN;
}

static int64_t ioctl_value(struct file *f, int64_t request)
{
	switch (request) {
	case FIONREAD:
		return (int64_t)(f->tcp ? fn_tcp_readable(f->sk) : fn_udp_readable(f->sk));
	case SIOCOUTQ:
		return (int64_t)(f->tcp ? fn_tcp_outq(f->sk) : fn_udp_outq(f->sk));
	case SIOCOUTQNSD:
		return (int64_t)fn_tcp_outq_unsent(f->sk);
	case SIOCATMARK:
		return fn_tcp_at_mark(f->sk);
	default:
		return -EINVAL;
	}
}

static int64_t do_ioctl(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	const struct expr *e = arg_at(call, 2);
	int64_t request, v;

	if (!f)
		return -EBADF;
	*ok = arg_int(w, call, 1, &request);
	if (*ok && (!e || e->kind != EX_LIST || !e->kid || e->kid->kind != EX_INT))
		*ok = world_error(w, e ? e->pos : call->name_pos, "expected the value as [number]");
	if (!*ok)
		return 0;
	if (request == FIONBIO) {
		f->nonblock = e->kid->value;
		return 0;
	}
	v = ioctl_value(f, request);
	if (v < 0)
		return v;
	if (v != e->kid->value)
		*ok = world_error(w, e->pos, "ioctl gives %lld, expected %lld", (long long)v, (long long)e->kid->value);
	return 0;
}

static int64_t do_fcntl(struct world *w, const struct call *call, bool *ok)
{
	struct file *f = file_of(w, call, ok);
	int64_t cmd, v;

	if (!f)
		return -EBADF;
	*ok = arg_int(w, call, 1, &cmd);
	if (*ok && cmd == F_GETFL)
		return O_RDWR | (f->nonblock ? O_NONBLOCK : 0);
	*ok = *ok && arg_int(w, call, 2, &v);
	if (*ok)
		f->nonblock = v & O_NONBLOCK;
	return 0;
}

static const struct verb {
	const char *name;
	int args;			/* at least */
	int64_t (*run)(struct world *w, const struct call *call, bool *ok);
} verbs[] = {
	{ "socket", 3, do_socket }, { "bind", 3, do_bind }, { "listen", 2, do_listen }, { "accept", 3, do_accept },
	{ "accept4", 4, do_accept }, { "connect", 3, do_connect }, { "write", 3, do_send }, { "send", 4, do_send },
	{ "sendto", 6, do_send }, { "read", 3, do_recv }, { "recv", 4, do_recv }, { "recvfrom", 6, do_recv },
	{ "shutdown", 2, do_shutdown }, { "close", 1, do_close }, { "poll", 3, do_poll }, { "ioctl", 3, do_ioctl },
	{ "fcntl", 2, do_fcntl }, { "setsockopt", 5, call_setsockopt }, { "getsockopt", 5, call_getsockopt },
};

static const struct verb *verb_of(const struct call *call)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (!strcmp(verbs[i].name, call->name))
			return &verbs[i];
	}
	return NULL;
}

bool call_known(struct world *w, const struct call *call)
{
	const struct verb *v = verb_of(call);

	if (!v)
		return world_error(w, call->name_pos, "expected a call that the runner has (see README), found \"%s\"",
				   call->name);
	if (call->nargs < v->args)
		return world_error(w, call->name_pos, "expected %d arguments for %s, found %d", v->args, call->name,
				   call->nargs);
	return true;
}

static void show_result(char *buf, size_t room, int64_t r)
{
	if (r < 0)
		snprintf(buf, room, "-1 %s", name_errno((int)-r));
	else
		snprintf(buf, room, "%lld", (long long)r);
}

static bool same_result(struct world *w, const struct event *ev, int64_t r)
{
	const struct call *call = &ev->call;
	char got[64], want[64];
	int64_t expected = call->result->value;

	if (call->result->kind == EX_ANY)
		return true;
	if (call->err)
		expected = -call->err;
	if (r == expected || (r < 0 && expected == -1 && !call->err))
		return true;
	show_result(got, sizeof(got), r);
	show_result(want, sizeof(want), expected);
	return world_error(w, ev->pos, "%s returned %s, expected %s (at %.6f s)", call->name, got, want,
			   (double)w->now / 1e9);
}

/* A call with a time to return has returned. */
static bool returned(struct world *w, const struct event *ev, int64_t r)
{
	int64_t late = w->now - w->pending.end;

	w->pending.ev = NULL;
	if (late > w->tolerance || late < -w->tolerance)
		return world_error(w, ev->pos, "%s returned at %.6f s, expected %.6f s", ev->call.name,
				   (double)w->now / 1e9, (double)w->pending.end / 1e9);
	return same_result(w, ev, r);
}

bool call_start(struct world *w, const struct event *ev)
{
	int64_t end = w->pending.end, r;
	const struct expr *first = arg_at(&ev->call, 0);
	bool ok = true, waits;

	if (w->pending.ev)
		return world_error(w, ev->pos, "expected no other call while line %d waits", w->pending.ev->pos.line);
	w->pending = (struct pending){ .start = w->now, .end = end };
	r = verb_of(&ev->call)->run(w, &ev->call, &ok);
	fn_stack_flush(w->st);
	if (!ok)
		return false;
	waits = r == -EAGAIN && (!first || first->kind != EX_INT || first->value < 0 || first->value >= FDS_MAX ||
				 (w->file[first->value].used && !w->file[first->value].nonblock));
	if (!waits || ev->call.err == EAGAIN)
		return ev->end >= 0 ? returned(w, ev, r) : same_result(w, ev, r);
	if (ev->end < 0)
		return world_error(w, ev->pos, "%s would block: expected a time when it returns, +0...0.2, or O_NONBLOCK",
				   ev->call.name);
	w->pending.ev = ev;
	return true;
}

bool call_retry(struct world *w)
{
	const struct event *ev = w->pending.ev;
	bool ok = true;
	int64_t r;

	if (!ev)
		return true;
	r = verb_of(&ev->call)->run(w, &ev->call, &ok);
	fn_stack_flush(w->st);
	if (!ok)
		return false;
	return r == -EAGAIN || returned(w, ev, r);
}

bool call_finish(struct world *w)
{
	const struct event *ev = w->pending.ev;

	if (!ev || w->now < w->pending.end + w->tolerance)
		return true;
	return world_error(w, ev->pos, "%s still waits at %.6f s, expected it to return at %.6f s", ev->call.name,
			   (double)w->now / 1e9, (double)w->pending.end / 1e9);
}
