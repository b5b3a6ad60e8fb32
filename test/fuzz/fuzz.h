/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the fuzz targets share: a stack at one end of a test wire, with a listener, an established connection and a UDP
 * socket; a hand-played peer at the other end; and a reader of the fuzzer's bytes. A target turns bytes into steps.
 * Every run ends with the sockets closed and time passed, and nothing may be left over.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "stack/nic_pair.h"
#include "stack/stack.h"
#include "stack/wire.h"

#define FUZZ_PORT	80	/* the listener's */
#define FUZZ_PEER_PORT	4000	/* of the peer's end of the connection */
#define FUZZ_UDP_PORT	53
#define FUZZ_FRAME	2048

/* ---- the fuzzer's bytes; past the end they are zero ---- */
struct fuzz_in {
	const uint8_t *p;
	size_t left;
};

uint8_t fuzz_u8(struct fuzz_in *in);
uint16_t fuzz_u16(struct fuzz_in *in);
/* Up to n bytes into buf; returns how many there were. */
size_t fuzz_bytes(struct fuzz_in *in, uint8_t *buf, size_t n);

/* ---- the world ---- */
struct fuzz {
	struct fn_pair *wire;
	struct fn_stack *st;
	struct fn_sock *listener, *conn, *udp;
	uint64_t now;
	/* the peer's view of the connection, host order */
	uint32_t snd_nxt;		/* next byte that the peer sends */
	uint32_t rcv_nxt;		/* behind the last byte seen from the stack */
	uint32_t syn_nxt;		/* behind the last SYN that the stack sent from any port */
	uint32_t ts;			/* the stack's last timestamp, when it sent one */
};

/* The world, the same object each time. syn_opt: options of the peer's SYN, a multiple of 4; the connection `must` come
 * about, or may fail for its options. */
struct fuzz *fuzz_open(const uint8_t *syn_opt, size_t syn_opt_len, bool must);
/* Close, let time pass, and trap when a socket or a buffer did not come back. */
void fuzz_close(struct fuzz *f);

/* Let the stack work, and see what it sends. */
void fuzz_poll(struct fuzz *f);
void fuzz_sleep(struct fuzz *f, uint64_t ns);

/* A program's act, chosen by one byte: read, write, options, shutdown, close, accept, connect … */
void fuzz_app(struct fuzz *f, struct fuzz_in *in);

/*
 * The loop of a target that takes steps: of each input byte two bits choose the target's own step (0, 1), time that passes
 * (2) or a program's act (3); the other six are for whoever is chosen. Closes the world. Returns 0, what libFuzzer wants.
 */
typedef void fuzz_step(struct fuzz *f, struct fuzz_in *in, uint8_t op);
int fuzz_run(const uint8_t *data, size_t size, struct fuzz *f, fuzz_step *step);

/* ---- frames towards the stack ---- */
void fuzz_frame(struct fuzz *f, const uint8_t *frame, size_t len);
/* Make the checksums of an IPv4 frame right, as far as its lengths allow. */
void fuzz_fix(uint8_t *frame, size_t len);
/* An IPv4 packet from the peer: checksums filled in when fix is set. frag in host order. */
void fuzz_ip4(struct fuzz *f, uint8_t proto, uint16_t id, uint16_t frag, const void *payload, size_t len, bool fix);
/* A TCP segment of the connection, or of another port. */
struct fuzz_seg {
	uint16_t sport, dport;		/* 0: the connection's */
	uint32_t seq, ack;
	uint16_t win, urg;
	uint8_t flags;
	const uint8_t *opt;
	size_t opt_len;
	const uint8_t *data;
	size_t len;
};
void fuzz_tcp(struct fuzz *f, const struct fuzz_seg *seg);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
