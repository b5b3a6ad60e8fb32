/* SPDX-License-Identifier: BSD-3-Clause */
/* Each setting of TCP's and UDP's reaches its own member of the stack's configuration, and no other. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "shim/conf_stack.h"

static void report(void *ctx, const char *text)
{
	cr_expect(false, "%s", text);
}

static struct fn_stack_conf of(const char *text)
{
	static const struct fn_conf_report rep = { report, NULL };
	static struct fn_conf f;
	struct fn_stack_conf c;

	fn_conf_init(&f);
	fn_conf_text(&f, "f.conf", text, strlen(text), &rep);
	memset(&c, 0x55, sizeof(c));
	fn_conf_stack(&c, &f);
	return c;
}

/* A default is written twice, here for the stack alone and in conf.def for users. */
Test(conf_stack, the_settings_defaults_are_the_stacks)
{
	struct fn_stack_conf c = of(""), d;

	memset(&d, 0x55, sizeof(d));
	fn_stack_conf_init(&d);
#define same(m)	cr_expect_eq(c.m, d.m, #m " is %u and %u", (unsigned)c.m, (unsigned)d.m)
	same(max_tcp);
	same(max_udp);
	same(sndbuf);
	same(rcvbuf);
	same(tcp_sndbuf);
	same(tcp_rcvbuf);
	same(sndbuf_max);
	same(rcvbuf_max);
	same(port_first);
	same(port_last);
	same(fabric_first);
	same(fabric_last);
	same(time_wait_ms);
	same(fin_timeout_ms);
	same(rto_min_ms);
	same(delack_ms);
	same(syn_retries);
	same(synack_retries);
	same(retries2);
	same(syn_cookies);
	same(cc);
#undef same
}

Test(conf_stack, each_setting_has_its_member)
{
	struct fn_stack_conf c = of("[fastnet]\nmax_tcp = 1001\nmax_udp = 1002\nsndbuf = 10003\nrcvbuf = 10004\n"
				    "sndbuf_max = 10005\nrcvbuf_max = 10006\ntime_wait_ms = 1007\nfin_timeout_ms = 1008\n"
				    "rto_min_ms = 109\ndelack_ms = 110\nsyn_retries = 11\nsynack_retries = 12\n"
				    "retries2 = 13\nsyn_cookies = no\ncongestion = reno\n");

	cr_expect_eq(c.max_tcp, 1001);
	cr_expect_eq(c.max_udp, 1002);
	cr_expect_eq(c.tcp_sndbuf, 10003);
	cr_expect_eq(c.tcp_rcvbuf, 10004);
	cr_expect_eq(c.sndbuf_max, 10005);
	cr_expect_eq(c.rcvbuf_max, 10006);
	cr_expect_eq(c.time_wait_ms, 1007);
	cr_expect_eq(c.fin_timeout_ms, 1008);
	cr_expect_eq(c.rto_min_ms, 109);
	cr_expect_eq(c.delack_ms, 110);
	cr_expect_eq(c.syn_retries, 11);
	cr_expect_eq(c.synack_retries, 12);
	cr_expect_eq(c.retries2, 13);
	cr_expect(!c.syn_cookies);
	cr_expect_eq(c.cc, FN_CC_RENO);
	/* datagrams have Linux's net.core.?mem_default */
	cr_expect_eq(c.sndbuf, 212992);
	cr_expect_eq(c.rcvbuf, 212992);
	c = of("[fastnet]\ncongestion = cubic\n");
	cr_expect_eq(c.cc, FN_CC_CUBIC);
}
