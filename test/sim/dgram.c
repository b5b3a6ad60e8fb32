/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The programs of UDP sockets, in pairs: each sends numbered datagrams to the other. What arrives must be what was sent,
 * whole; twice only where the wire doubles; and all of it where nothing on the way may lose.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "sim.h"
#include "stack/wire.h"

static uint64_t dgram_key(const struct sim_dgram *d, uint32_t number)
{
	return sim_mix(d->key + number);
}

/* A datagram is its number, one byte, and its stream. */
static void dgram_check(struct sim_dgram *d, const uint8_t *buf, size_t n, const struct fn_udp_meta *meta)
{
	struct sim *s = d->app.s;
	const struct sim_dgram *from = d->peer;
	uint32_t number = buf[0];

	sim_check(s, n && number < from->sent, "UDP: a datagram that nobody sent");
	sim_check(s, n == from->len[number] && meta->len == n, "UDP: %zu bytes (said: %zu) of %u", n, meta->len,
		  from->len[number]);
	sim_check(s, sim_stream_check(dgram_key(from, number), 0, buf + 1, n - 1) == n - 1,
		  "UDP: datagram %u has wrong bytes", number);
	sim_check(s, meta->from.ip4 == sim_ip(from->app.side) && meta->from.port == from->port, "UDP: wrong sender");
	sim_check(s, meta->to.ip4 == sim_ip(d->app.side), "UDP: wrong destination");
	sim_check(s, d->seen[number]++ < (s->wire_conf.dup_ppm ? 200 : 1), "UDP: datagram %u came twice", number);
	d->got++;
	s->bytes += n;
	s->progress = s->now;
}

static void dgram_receive(struct sim_dgram *d)
{
	static uint8_t buf[65536];
	struct iovec iov[2] = {{buf, 100}, {buf + 100, sizeof(buf) - 100}};
	struct fn_udp_meta meta;
	ssize_t n;

	for (;;) {
		size_t next = fn_udp_readable(d->sk);

		n = fn_udp_recv(d->sk, iov, 2, 0, &meta);
		if (n == -EAGAIN)
			break;
		if (n == -EHOSTUNREACH)
			continue;
		sim_check(d->app.s, n >= 0, "UDP: receive: %s", strerror((int)-n));
		sim_check(d->app.s, next == (size_t)n, "UDP: %zu readable, %zd read", next, n);
		dgram_check(d, buf, (size_t)n, &meta);
	}
	sim_check(d->app.s, !(fn_sock_poll(d->sk) & POLLIN), "UDP: POLLIN, but nothing to read");
}

static void dgram_send(struct sim_dgram *d)
{
	static uint8_t buf[65536];
	struct sim *s = d->app.s;
	struct fn_ep to = {.ip4 = sim_ip(d->peer->app.side), .port = d->peer->port};
	uint32_t len = (uint32_t)sim_range(&s->rng, 1, d->size_max);
	struct iovec iov[2] = {{buf, len / 2}, {buf + len / 2, len - len / 2}};
	ssize_t n;

	buf[0] = (uint8_t)d->sent;
	sim_stream_fill(dgram_key(d, d->sent), 0, buf + 1, len - 1);
	d->len[d->sent++] = (uint16_t)len;
	n = fn_udp_send(d->sk, iov, 2, d->connected ? NULL : &to, NULL);
	if (n == -EAGAIN || n == -EHOSTUNREACH) {
		/* No room, or the line was too bad for ARP: try again. */
		d->sent--;
		d->next = s->now + FN_MSEC;
		return;
	}
	sim_check(s, n == (ssize_t)len, "UDP: sending %u bytes: %zd", len, n);
	d->next = s->now + sim_range(&s->rng, 0, d->gap);
	s->progress = s->now;
}

void sim_dgram_run(struct sim_dgram *d)
{
	struct sim *s = d->app.s;

	dgram_receive(d);
	while (d->sent < d->count && s->now >= d->next && !s->closing)
		dgram_send(d);
	/* Behind the last one it waits a while for what may not come. */
	if (s->closing || sim_dgram_done(d))
		return;
	d->app.due = d->sent < d->count ? d->next : s->now + FN_NSEC;
}

bool sim_dgram_done(const struct sim_dgram *d)
{
	return d->sent == d->count && (d->got >= d->peer->count || d->app.s->now >= d->peer->next + FN_NSEC);
}

void sim_dgram_open(struct sim_dgram *d)
{
	struct sim *s = d->app.s;
	struct fn_ep ep = {.port = d->port}, to = {.ip4 = sim_ip(d->peer->app.side), .port = d->peer->port};
	int err;

	d->sk = fn_sock_open(s->side[d->app.side].st, FN_SOCK_UDP, d);
	sim_check(s, d->sk, "no socket");
	err = fn_sock_bind(d->sk, &ep);
	if (!err && d->connected)
		err = fn_sock_connect(d->sk, &to);
	sim_check(s, !err, "UDP: bind or connect: %s", strerror(-err));
}

void sim_dgram_judge(struct sim_dgram *d)
{
	static const enum fn_drop room[] = {FN_DROP_UDP_RCVBUF, FN_DROP_NO_PKT_MEM, FN_DROP_ARP_QUEUE_FULL, FN_DROP_ARP_FAILED,
		FN_DROP_IP4_FRAG_FULL, FN_DROP_IP4_FRAG_TIMEOUT, FN_DROP_TX_FULL};
	struct sim *s = d->app.s;
	uint64_t lost = s->side[0].nic->stats.rx_missed + s->side[1].nic->stats.rx_missed;
	unsigned i, side;

	for (side = 0; side < 2; side++)
		for (i = 0; i < fn_array_size(room); i++)
			lost += s->side[side].st->stats.drop[room[i]];
	sim_check(s, s->lossy || lost || d->got >= d->peer->count, "UDP: %u of %u datagrams arrived, and nothing lost one", d->got,
		  d->peer->count);
}
