/* SPDX-License-Identifier: BSD-3-Clause */
/* Which setting is which member of the stack's configuration. */
#include "shim/conf_stack.h"

void fn_conf_stack(struct fn_stack_conf *c, const struct fn_conf *f)
{
	fn_stack_conf_init(c);
	c->max_tcp = f->max_tcp;
	c->max_udp = f->max_udp;
	c->tcp_sndbuf = (uint32_t)f->sndbuf;
	c->tcp_rcvbuf = (uint32_t)f->rcvbuf;
	c->sndbuf_max = (uint32_t)f->sndbuf_max;
	c->rcvbuf_max = (uint32_t)f->rcvbuf_max;
	c->time_wait_ms = f->time_wait_ms;
	c->fin_timeout_ms = f->fin_timeout_ms;
	c->rto_min_ms = f->rto_min_ms;
	c->delack_ms = f->delack_ms;
	c->syn_retries = f->syn_retries;
	c->synack_retries = f->synack_retries;
	c->retries2 = f->retries2;
	c->syn_cookies = f->syn_cookies;
	c->cc = (enum fn_cc_id)f->congestion;
}
