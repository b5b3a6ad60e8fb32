/* SPDX-License-Identifier: BSD-3-Clause */
/* Who serves a socket: each step of the order, and that an earlier step wins. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "shim/policy.h"

static struct fn_conf conf;
static struct fn_policy rec;
static uint8_t addr[16], bound[16];
static int port_state[FN_CONF_NICS];
static unsigned asked_port, asked_route;

/* The host has 192.168.1.5, and a route to 172.16/12 besides its default. */
static bool is_host(void *ctx, uint32_t ip4)
{
	return ip4 == inet_addr("192.168.1.5");
}

static bool has_route(void *ctx, uint32_t ip4)
{
	asked_route++;
	return (ntohl(ip4) & 0xfff00000) == 0xac100000;
}

static int port(void *ctx, unsigned i)
{
	asked_port++;
	return port_state[i];
}

/* A Fastnet process listens on port 6379 of each of the host's addresses; that of 6380 cannot be reached. */
static int fabric(void *ctx, uint32_t ip4, uint16_t number)
{
	return number == 6379 ? 7 : number == 6380 ? -EPERM : 0;
}

static const struct fn_policy_ops ops = { .is_host = is_host, .has_route = has_route, .port = port, .fabric = fabric };

static void configure(const char *text)
{
	fn_conf_text(&conf, "f.conf", text, strlen(text), NULL);
	cr_assert_eq(conf.errors, 0);
}

#define ETH0 "[nic eth0]\ntype = dpdk\ndevargs = a\naddress = 10.9.0.2/24\ngateway = 10.9.0.1\n"
#define ETH1 "[nic eth1]\ntype = dpdk\ndevargs = b\naddress = 10.0.0.2/8\n"

static void setup(void)
{
	fn_conf_init(&conf);
	configure("[fastnet]\nfabric = no\n");	/* where it matters a test says yes */
	memset(port_state, 0, sizeof port_state);
	asked_port = asked_route = 0;
	rec = (struct fn_policy){ .conf = &conf, .ops = &ops, .verb = FN_POLICY_CONNECT, .family = AF_INET,
				  .type = SOCK_STREAM, .addr = addr, .port = 80, .program = "nginx", .uid = 33 };
}

static struct fn_verdict decide(const char *to)
{
	cr_assert_eq(inet_pton(rec.family, to, addr), 1);
	return fn_policy_decide(&rec);
}

static void expect(const char *to, enum fn_reason reason, uint32_t arg)
{
	struct fn_verdict v = decide(to);

	cr_expect_eq(v.reason, reason, "%s: %s, expected %s", to, fn_reason_name(v.reason), fn_reason_name(reason));
	cr_expect_eq(v.arg, arg, "%s: %u", to, v.arg);
	cr_expect_eq(v.stack, fn_reason_stack(reason), "%s", to);
	cr_expect(v.stack || v.kernel);
	cr_expect(v.stack || v.nic == FN_POLICY_NO_NIC);
}

TestSuite(policy, .init = setup);

Test(policy, unsupported_sockets)
{
	static const struct { int family, type, protocol; enum fn_reason reason; uint32_t arg; } t[] = {
		{ AF_UNIX, SOCK_STREAM, 0, FN_REASON_FAMILY, AF_UNIX },
		{ AF_NETLINK, SOCK_RAW, 0, FN_REASON_FAMILY, AF_NETLINK },
		{ AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP, FN_REASON_TYPE, SOCK_RAW },
		{ AF_INET6, SOCK_SEQPACKET, 0, FN_REASON_TYPE, SOCK_SEQPACKET },
		{ AF_INET, SOCK_STREAM, IPPROTO_SCTP, FN_REASON_PROTO, IPPROTO_SCTP },
		{ AF_INET, SOCK_STREAM, 262, FN_REASON_PROTO, 262 },
		{ AF_INET, SOCK_DGRAM, IPPROTO_ICMP, FN_REASON_PROTO, IPPROTO_ICMP },
		{ AF_INET, SOCK_STREAM, IPPROTO_UDP, FN_REASON_PROTO, IPPROTO_UDP },
		{ AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0, FN_REASON_UNDECIDED, 0 },
		{ AF_INET6, SOCK_DGRAM, IPPROTO_UDP, FN_REASON_UNDECIDED, 0 },
	};

	for (size_t i = 0; i < fn_array_size(t); i++) {
		uint32_t arg = 99;

		cr_expect_eq(fn_policy_socket(t[i].family, t[i].type, t[i].protocol, &arg), t[i].reason, "%zu", i);
		cr_expect_eq(arg, t[i].arg, "%zu", i);
	}
}

Test(policy, nothing_configured)
{
	expect("10.9.0.1", FN_REASON_NO_PORT, 0);
	cr_expect_eq(asked_port + asked_route, 0);
}

Test(policy, connect_into_a_subnet)
{
	configure(ETH0 ETH1);
	expect("10.9.0.7", FN_REASON_PORT, 0);
	/* the longer prefix wins, whatever the order */
	expect("10.1.0.7", FN_REASON_PORT, 1);
	cr_expect_eq(decide("10.9.0.7").ip4, inet_addr("10.9.0.7"));
	cr_expect_eq(asked_route, 0);
}

Test(policy, connect_to_ourselves)
{
	configure(ETH0);
	expect("10.9.0.2", FN_REASON_SELF, 0);
	expect("127.0.0.1", FN_REASON_LOCAL, 0);
	expect("127.8.8.8", FN_REASON_LOCAL, 0);
	expect("0.0.0.0", FN_REASON_LOCAL, 0);
	expect("192.168.1.5", FN_REASON_LOCAL, 0);
}

Test(policy, connect_through_a_gateway)
{
	configure(ETH0);
	expect("8.8.8.8", FN_REASON_GATEWAY, 0);
	expect("172.16.0.9", FN_REASON_KERNEL_ROUTE, 0);
}

Test(policy, no_gateway)
{
	configure(ETH1);
	expect("8.8.8.8", FN_REASON_NO_ROUTE, 0);
	cr_expect_eq(asked_route, 0);
}

Test(policy, multicast_is_the_kernels)
{
	configure(ETH0);
	rec.type = SOCK_DGRAM;
	expect("224.0.0.1", FN_REASON_MULTICAST, 0);
	expect("255.255.255.255", FN_REASON_MULTICAST, 0);
	expect("10.9.0.255", FN_REASON_PORT, 0);
}

Test(policy, held_and_broken_ports)
{
	configure(ETH0);
	port_state[0] = 4711;
	expect("10.9.0.7", FN_REASON_PORT_HELD, 4711);
	port_state[0] = -ENODEV;
	expect("10.9.0.7", FN_REASON_PORT_FAILED, ENODEV);
}

Test(policy, bound_before_connect)
{
	configure(ETH0 ETH1);
	rec.bound = bound;
	inet_pton(AF_INET, "10.0.0.2", bound);
	expect("10.1.0.7", FN_REASON_PORT, 1);
	/* eth1 has neither a route to there nor a gateway, though its subnet holds 10.9.0.7 */
	expect("10.9.0.7", FN_REASON_PORT, 1);
	expect("8.8.8.8", FN_REASON_NO_ROUTE, 0);
	/* bound to eth0: its gateway, whatever the kernel's routes say */
	inet_pton(AF_INET, "10.9.0.2", bound);
	expect("172.16.0.9", FN_REASON_GATEWAY, 0);
	inet_pton(AF_INET, "192.168.1.5", bound);
	expect("10.1.0.7", FN_REASON_BOUND_ELSEWHERE, 0);
	inet_pton(AF_INET, "0.0.0.0", bound);
	expect("10.1.0.7", FN_REASON_PORT, 1);
}

Test(policy, listen)
{
	struct fn_verdict v;

	configure(ETH0 ETH1);
	rec.verb = FN_POLICY_LISTEN;
	expect("10.0.0.2", FN_REASON_PORT, 1);
	cr_expect_not(decide("10.0.0.2").kernel);
	expect("127.0.0.1", FN_REASON_LOCAL, 0);
	expect("192.168.1.5", FN_REASON_LOCAL, 0);
	expect("10.9.0.9", FN_REASON_NOT_A_PORT, 0);
	expect("0.0.0.0", FN_REASON_WILDCARD, 0);
	v = decide("0.0.0.0");
	cr_expect(v.stack && v.kernel);
	cr_expect_eq(v.nic, FN_POLICY_NO_NIC);
}

Test(policy, wildcard_listen_while_ports_are_held)
{
	configure(ETH0 ETH1);
	rec.verb = FN_POLICY_LISTEN;
	port_state[0] = 12;
	expect("0.0.0.0", FN_REASON_WILDCARD, 0);
	port_state[1] = 13;
	expect("0.0.0.0", FN_REASON_PORT_HELD, 12);
}

Test(policy, ipv6_sockets)
{
	configure(ETH0);
	rec.family = AF_INET6;
	expect("::ffff:10.9.0.7", FN_REASON_PORT, 0);
	cr_expect_eq(decide("::ffff:10.9.0.7").ip4, inet_addr("10.9.0.7"));
	expect("2001:db8::1", FN_REASON_IP6, 0);
	expect("::1", FN_REASON_IP6, 0);
	expect("::", FN_REASON_LOCAL, 0);
	rec.verb = FN_POLICY_LISTEN;
	expect("::", FN_REASON_WILDCARD, 0);
	rec.v6only = true;
	expect("::", FN_REASON_IP6, 0);
}

/* ---- rules ---- */

Test(policy, first_rule_wins)
{
	configure(ETH0 "[rules]\nrule = accelerate port=81\nrule = kernel port=80-90\n");
	expect("10.9.0.7", FN_REASON_RULE, 8);
	rec.port = 81;
	expect("10.9.0.7", FN_REASON_PORT, 0);
	rec.port = 91;
	expect("10.9.0.7", FN_REASON_PORT, 0);
}

Test(policy, each_field_of_a_rule)
{
	configure(ETH0 "[rules]\nrule = kernel udp connect address=10.9.0.128/25 port=80 program=nginx user=33\n");
	rec.type = SOCK_DGRAM;
	expect("10.9.0.200", FN_REASON_RULE, 7);
	expect("10.9.0.100", FN_REASON_PORT, 0);
	rec.port = 79;
	expect("10.9.0.200", FN_REASON_PORT, 0);
	rec.port = 80;
	rec.type = SOCK_STREAM;
	expect("10.9.0.200", FN_REASON_PORT, 0);
	rec.type = SOCK_DGRAM;
	rec.program = "nginx2";
	expect("10.9.0.200", FN_REASON_PORT, 0);
	rec.program = NULL;
	expect("10.9.0.200", FN_REASON_PORT, 0);
	rec.program = "nginx";
	rec.uid = 34;
	expect("10.9.0.200", FN_REASON_PORT, 0);
	rec.uid = 33;
	rec.verb = FN_POLICY_LISTEN;
	rec.port = 80;
	expect("10.9.0.2", FN_REASON_PORT, 0);
}

Test(policy, rules_and_families)
{
	configure(ETH0 "[rules]\nrule = kernel address=10.9.0.7\nrule = kernel address=2001:db8::/33\n");
	rec.family = AF_INET6;
	expect("::ffff:10.9.0.7", FN_REASON_RULE, 7);
	expect("::ffff:10.9.0.8", FN_REASON_PORT, 0);
	expect("2001:db8:7fff::1", FN_REASON_RULE, 8);
	expect("2001:db8:8000::1", FN_REASON_IP6, 0);
	rec.family = AF_INET;
	expect("32.1.13.184", FN_REASON_GATEWAY, 0);
}

Test(policy, rule_of_the_environment)
{
	char *const envp[] = { "FASTNET_RULES=accelerate udp;kernel", NULL };

	configure(ETH0);
	fn_conf_env(&conf, envp, NULL);
	expect("10.9.0.7", FN_REASON_RULE, FN_REASON_ENV_RULE | 2);
}

Test(policy, accelerate_overrides_the_kernels_route_but_invents_none)
{
	configure(ETH0 "[rules]\nrule = accelerate\n");
	expect("172.16.0.9", FN_REASON_GATEWAY, 0);
	expect("127.0.0.1", FN_REASON_LOCAL, 0);
	rec.family = AF_INET6;
	expect("2001:db8::1", FN_REASON_IP6, 0);
}

Test(policy, rules_leave_other_protocols_alone)
{
	configure(ETH0 "[rules]\nrule = kernel\n");
	rec.family = AF_UNIX;
	cr_expect_eq(fn_policy_decide(&rec).reason, FN_REASON_FAMILY);
}

/* ---- reasons in words ---- */

static void words(unsigned r, uint32_t arg, const char *expected)
{
	char buf[200];

	cr_expect_str_eq(fn_reason_text(buf, sizeof buf, r, arg, "/etc/fastnet/fastnet.conf", "eth0"), expected);
}

Test(policy, reasons_in_words)
{
	words(FN_REASON_FAMILY, AF_UNIX, "kernel: AF_UNIX");
	words(FN_REASON_FAMILY, 77, "kernel: family 77");
	words(FN_REASON_TYPE, SOCK_RAW, "kernel: SOCK_RAW");
	words(FN_REASON_PROTO, IPPROTO_SCTP, "kernel: protocol SCTP");
	words(FN_REASON_OPTION, FN_REASON_OPTION(SOL_SOCKET, SO_MARK), "kernel: option SO_MARK");
	words(FN_REASON_OPTION, FN_REASON_OPTION(300, 9), "kernel: option level 300 number 9");
	words(FN_REASON_RULE, 12, "kernel: rule at fastnet.conf:12");
	words(FN_REASON_RULE, FN_REASON_ENV_RULE | 2, "kernel: rule at FASTNET_RULES, number 2");
	words(FN_REASON_PORT_HELD, 17, "kernel: port held by PID 17");
	words(FN_REASON_PORT_FAILED, ENODEV, "kernel: port cannot be opened: No such device");
	words(FN_REASON_PORT, 0, "accelerated: port eth0");
	words(FN_REASON_NO_ROUTE, 5, "kernel: no route through a port");
	words(9999, 0, "reason 9999");
}

Test(policy, reasons_without_names)
{
	char buf[20];

	cr_expect_str_eq(fn_reason_text(buf, sizeof buf, FN_REASON_RULE, 12, NULL, NULL), "kernel: rule at lin");
	cr_expect_str_eq(fn_reason_text(buf, sizeof buf, FN_REASON_PORT_FAILED, 1u << 31, NULL, NULL), "kernel: port cannot");
}

#define FABRIC "[fastnet]\nfabric = on\n"

Test(policy, the_fabric_serves_what_listens_on_this_host)
{
	configure(FABRIC);
	rec.port = 6379;
	expect("127.0.0.1", FN_REASON_FABRIC, 0);
	cr_expect_eq(decide("127.0.0.1").peer, 7);
	cr_expect_eq(decide("192.168.1.5").peer, 7);
	expect("0.0.0.0", FN_REASON_LOCAL, 0);
	expect("10.9.0.1", FN_REASON_NO_PORT, 0);
	rec.port = 6380;
	expect("127.0.0.1", FN_REASON_FABRIC_FAILED, EPERM);
	rec.port = 80;
	expect("127.0.0.1", FN_REASON_FABRIC_NOBODY, 0);
	rec.type = SOCK_DGRAM;
	expect("127.0.0.1", FN_REASON_FABRIC_NOBODY, 0);
	rec.port = 6379;
	expect("127.0.0.1", FN_REASON_FABRIC, 0);
}

Test(policy, datagram_sockets_are_the_fabric_s_where_there_is_no_port)
{
	configure(FABRIC);
	rec.type = SOCK_DGRAM;
	rec.port = 6379;
	rec.bound = bound;
	memcpy(bound, &(uint32_t){ inet_addr("127.0.0.1") }, 4);
	expect("127.0.0.1", FN_REASON_FABRIC, 0);
	expect("10.9.0.1", FN_REASON_NO_PORT, 0);
	rec.verb = FN_POLICY_LISTEN;
	expect("127.0.0.1", FN_REASON_FABRIC_LISTEN, 0);
	expect("0.0.0.0", FN_REASON_FABRIC_LISTEN, 0);
	expect("224.0.0.251", FN_REASON_MULTICAST, 0);
	configure(FABRIC ETH0);
	expect("127.0.0.1", FN_REASON_LOCAL, 0);
	rec.verb = FN_POLICY_CONNECT;
	rec.bound = NULL;
	expect("127.0.0.1", FN_REASON_LOCAL, 0);
}

Test(policy, a_listener_on_this_host_is_open_to_the_fabric)
{
	configure(FABRIC);
	rec.verb = FN_POLICY_LISTEN;
	expect("127.0.0.1", FN_REASON_FABRIC_LISTEN, 0);
	expect("192.168.1.5", FN_REASON_FABRIC_LISTEN, 0);
	expect("0.0.0.0", FN_REASON_FABRIC_LISTEN, 0);
	cr_expect(decide("127.0.0.1").kernel);
	expect("10.9.0.2", FN_REASON_NOT_A_PORT, 0);
	configure(ETH0);
	expect("0.0.0.0", FN_REASON_WILDCARD, 0);
	port_state[0] = 99;
	expect("0.0.0.0", FN_REASON_FABRIC_LISTEN, 0);
}

Test(policy, a_rule_keeps_the_kernel_before_the_fabric)
{
	configure(FABRIC "[rules]\nrule = kernel tcp connect port=6379\n");
	rec.port = 6379;
	expect("127.0.0.1", FN_REASON_RULE, 4);
}
