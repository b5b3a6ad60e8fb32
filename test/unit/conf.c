/* SPDX-License-Identifier: BSD-3-Clause */
/* fastnet.conf and FASTNET_*: what is read, and that a wrong value is named with its place and leaves the default. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/conf.h"

static struct fn_conf conf;
static char said[8][512];
static unsigned nsaid;

static void report(void *ctx, const char *text)
{
	cr_assert_eq(ctx, said);
	cr_assert_lt(nsaid, 8);
	snprintf(said[nsaid++], sizeof said[0], "%s", text);
}

static const struct fn_conf_report rep = { report, said };

static void setup(void)
{
	nsaid = 0;
	fn_conf_init(&conf);
}

static void text(const char *t)
{
	fn_conf_text(&conf, "f.conf", t, strlen(t), &rep);
}

static void env(const char *var)
{
	char *const envp[] = { "HOME=/", (char *)var, NULL };

	fn_conf_env(&conf, envp, &rep);
}

static void says(const char *expected)
{
	cr_expect_eq(nsaid, 1, "%u messages", nsaid);
	cr_expect_str_eq(said[0], expected);
	cr_expect_eq(conf.errors, nsaid);
}

static uint32_t ip(const char *s)
{
	return inet_addr(s);
}

#define NIC "[nic eth0]\ntype = dpdk\ndevargs = net_af_packet0,iface=v1\naddress = 10.9.0.2/24\n"

TestSuite(conf, .init = setup);

/* ---- settings ---- */

Test(conf, defaults)
{
	cr_expect_not(conf.disable);
	cr_expect_eq(conf.fd_base, 3);
	cr_expect_eq(conf.spin_us, FN_CONF_AUTO);
	cr_expect_eq(conf.on_error, FN_ON_ERROR_KERNEL);
	cr_expect_str_eq(conf.log, "syslog");
	cr_expect_eq(conf.log_level, FN_LOG_WARNING);
	cr_expect_eq(conf.exit_drain_ms, 3000);
	cr_expect_eq(conf.rcvbuf_max, 6u << 20);
	cr_expect(conf.syn_cookies);
	cr_expect_str_eq(conf.file, "");
	cr_expect_eq(conf.nnics + conf.nrules + conf.errors, 0);
}

Test(conf, every_kind_of_setting_from_a_file)
{
	text("# comment\n[fastnet]\nspin_us = 70 ; trailing comment\nfd_base=100\nsndbuf_max = 8M\non_error = abort\n"
	     "syn_cookies = off\nlog = /var/log/fn.log\ncongestion = reno\neal_args = -l 1 --huge-dir /x\n");
	cr_expect_eq(conf.errors, 0);
	cr_expect_eq(conf.spin_us, 70);
	cr_expect_eq(conf.fd_base, 100);
	cr_expect_eq(conf.sndbuf_max, 8u << 20);
	cr_expect_eq(conf.on_error, FN_ON_ERROR_ABORT);
	cr_expect_not(conf.syn_cookies);
	cr_expect_str_eq(conf.log, "/var/log/fn.log");
	cr_expect_eq(conf.congestion, FN_CONF_RENO);
	cr_expect_str_eq(conf.eal_args, "-l 1 --huge-dir /x");
}

Test(conf, environment_wins_over_what_was_read_before)
{
	text("[fastnet]\nspin_us = 70\n");
	env("FASTNET_SPIN_US=auto");
	cr_expect_eq(conf.spin_us, FN_CONF_AUTO);
	env("FASTNET_DISABLE=1");
	cr_expect(conf.disable);
	cr_expect_eq(conf.errors, 0);
}

Test(conf, wrong_number_names_file_line_key_and_range)
{
	text("[fastnet]\n\nfd_base = two\n");
	says("f.conf:3: [fastnet] fd_base: expected a number from 3 to 1048576, not \"two\"");
	cr_expect_eq(conf.fd_base, 3);
}

Test(conf, numbers_are_whole_and_in_range)
{
	static const char *const bad[] = { "2", "1048577", "-3", "+4", " ", "4x", "0x10", "99999999999999999999999", "4.0" };

	for (size_t i = 0; i < fn_array_size(bad); i++) {
		char var[64];

		snprintf(var, sizeof var, "FASTNET_FD_BASE=%s", bad[i]);
		nsaid = 0;
		env(var);
		cr_expect_eq(nsaid, 1, "%s", var);
		cr_expect_eq(conf.fd_base, 3, "%s", var);
	}
}

Test(conf, sizes_do_not_overflow)
{
	env("FASTNET_SNDBUF=18014398509481984K");
	says("FASTNET_SNDBUF: expected bytes from 4608 to 1073741824 (K, M or G may follow), not \"18014398509481984K\"");
	cr_expect_eq(conf.sndbuf, 16384);
}

Test(conf, wrong_word_lists_the_right_ones)
{
	env("FASTNET_LOG_LEVEL=loud");
	says("FASTNET_LOG_LEVEL: expected one of error|warning|notice|info|debug, not \"loud\"");
}

Test(conf, log_is_a_word_or_an_absolute_path)
{
	env("FASTNET_LOG=stderr");
	cr_expect_str_eq(conf.log, "stderr");
	env("FASTNET_LOG=/tmp/x");
	cr_expect_str_eq(conf.log, "/tmp/x");
	env("FASTNET_LOG=file");
	says("FASTNET_LOG: expected none|stderr|syslog|file of at most 255 characters, not \"file\"");
}

Test(conf, text_must_fit)
{
	char var[400] = "FASTNET_LOG=/";

	memset(var + 13, 'x', 255);
	env(var);
	cr_expect_eq(nsaid, 1);
	cr_expect_str_eq(conf.log, "syslog");
	var[13 + 254] = 0;
	env(var);
	cr_expect_eq(strlen(conf.log), 255);
}

Test(conf, unknown_keys_are_errors)
{
	text("[fastnet]\nspin = 3\n");
	says("f.conf:2: [fastnet] spin: no such setting");
}

Test(conf, unknown_variable_is_told_but_no_error)
{
	env("FASTNET_SPIN=3");
	cr_expect_eq(nsaid, 1);
	cr_expect_str_eq(said[0], "FASTNET_SPIN: no such setting; ignored");
	cr_expect_eq(conf.errors, 0);
}

Test(conf, other_variables_are_not_ours)
{
	env("FASTNETX=1");
	env("fastnet_spin_us=1");
	env("FASTNET_SPIN_US");
	cr_expect_eq(conf.errors, 0);
	cr_expect_eq(conf.spin_us, FN_CONF_AUTO);
}

Test(conf, disable_and_conf_belong_to_the_environment)
{
	text("[fastnet]\ndisable = 1\n");
	says("f.conf:2: [fastnet] disable: only the environment can say this");
}

Test(conf, unknown_section)
{
	text("[network]\nx = 1\n");
	says("f.conf:2: [network] x: expected this in a section [fastnet], [nic NAME] or [rules]");
}

Test(conf, line_that_is_no_key)
{
	text("[fastnet]\nspin_us = 1\nwhat is this\nfd_base = 9\n");
	says("f.conf:3: expected [SECTION], KEY = VALUE or a comment");
	cr_expect_eq(conf.fd_base, 9);
}

Test(conf, overlong_line)
{
	char t[600] = "[fastnet]\nfd_base = 9\neal_args = ";

	memset(t + strlen(t), 'x', 400);
	strcat(t, "\nspin_us = 4\n");
	text(t);
	cr_expect_eq(nsaid, 1);
	cr_expect(!strncmp(said[0], "f.conf:3: expected at most", 26), "%s", said[0]);
	cr_expect_eq(conf.spin_us, 4);
}

Test(conf, indented_keys_are_keys)
{
	text("[fastnet]\n  spin_us = 1\n\tfd_base = 5\r\n");
	cr_expect_eq(conf.errors, 0);
	cr_expect_eq(conf.spin_us, 1);
	cr_expect_eq(conf.fd_base, 5);
}

Test(conf, nul_bytes_do_not_end_a_line_early)
{
	static const char t[] = "[fastnet]\nfd_base = 5\0" "0\nspin_us = 1\n";

	fn_conf_text(&conf, "f.conf", t, sizeof t - 1, &rep);
	cr_expect_eq(conf.errors, 1);
	cr_expect_eq(conf.fd_base, 3);
	cr_expect_eq(conf.spin_us, 1);
}

/* ---- ports ---- */

Test(conf, nic_section)
{
	text(NIC "gateway = 10.9.0.1\nmac = 02:00:00:00:0a:0B\nmtu = 9000\nqueues = 2\nbuffers = 4096\ncsum = trust\ntso = off\n");
	cr_assert_eq(nsaid, 0, "%s", said[0]);
	cr_assert_eq(conf.nnics, 1);
	cr_expect_str_eq(conf.nics[0].name, "eth0");
	cr_expect_str_eq(conf.nics[0].devargs, "net_af_packet0,iface=v1");
	cr_expect_eq(conf.nics[0].ip4, ip("10.9.0.2"));
	cr_expect_eq(conf.nics[0].ip4_mask, ip("255.255.255.0"));
	cr_expect_eq(conf.nics[0].ip4_gw, ip("10.9.0.1"));
	cr_expect(conf.nics[0].has_mac);
	cr_expect_arr_eq(conf.nics[0].mac, "\x02\0\0\0\x0a\x0b", 6);
	cr_expect_eq(conf.nics[0].mtu, 9000);
	cr_expect_eq(conf.nics[0].queues, 2);
	cr_expect_eq(conf.nics[0].buffers, 4096);
	cr_expect_eq(conf.nics[0].csum, FN_NIC_CSUM_TRUST);
	cr_expect_eq(conf.nics[0].tso, FN_NIC_TSO_OFF);
}

Test(conf, nic_defaults)
{
	text(NIC);
	cr_assert_eq(conf.nnics, 1);
	cr_expect_eq(conf.nics[0].ip4_gw, 0);
	cr_expect_not(conf.nics[0].has_mac);
	cr_expect_eq(conf.nics[0].mtu, 0);
	cr_expect_eq(conf.nics[0].queues, 0);
	cr_expect_eq(conf.nics[0].csum, FN_NIC_CSUM_AUTO);
	cr_expect_eq(conf.nics[0].tso, FN_NIC_TSO_AUTO);
	cr_expect_eq(conf.nics[0].line, 2);
}

Test(conf, nic_with_a_wrong_value_is_left_out)
{
	text(NIC "mtu = 12\n[nic eth1]\ntype = dpdk\ndevargs = net_tap0\naddress = 10.8.0.2/16\n");
	says("f.conf:5: [nic eth0] mtu: expected bytes from 68 to 65535, not \"12\"");
	cr_assert_eq(conf.nnics, 1);
	cr_expect_str_eq(conf.nics[0].name, "eth1");
}

Test(conf, nic_without_address)
{
	text("[nic eth0]\ntype = dpdk\ndevargs = net_tap0\n\n[fastnet]\nfd_base = 9\n");
	says("f.conf:2: [nic eth0] address: missing; a port needs it");
	cr_expect_eq(conf.nnics, 0);
	cr_expect_eq(conf.fd_base, 9);
}

Test(conf, addresses_of_no_host)
{
	static const char *const bad[] = {
		"10.9.0.2", "10.9.0.0/24", "10.9.0.255/24", "127.0.0.1/8", "0.0.0.0/24", "224.0.0.1/4", "10.9.0.2/0",
		"10.9.0.2/33", "10.9.0.2/", "10.9.2/24", "fe80::1/64", "10.9.0.2/24x",
	};

	for (size_t i = 0; i < fn_array_size(bad); i++) {
		char var[128];

		snprintf(var, sizeof var, "FASTNET_NIC=dpdk:net_tap0 address=%s", bad[i]);
		nsaid = 0;
		env(var);
		cr_expect_eq(nsaid, 1, "%s", bad[i]);
		cr_expect_eq(conf.nnics, 0, "%s", bad[i]);
	}
}

Test(conf, point_to_point_prefix)
{
	env("FASTNET_NIC=dpdk:net_tap0 address=10.9.0.0/31 gateway=10.9.0.1");
	cr_expect_eq(conf.errors, 0);
	cr_expect_eq(conf.nnics, 1);
}

Test(conf, macs_of_no_station)
{
	static const char *const bad[] = { "01:00:00:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00", "02-00-00-00-00-01",
					   "02:00:00:00:00:0g", "02:00:00:00:00:011", "" };

	for (size_t i = 0; i < fn_array_size(bad); i++) {
		char var[128];

		snprintf(var, sizeof var, "FASTNET_NIC=dpdk:net_tap0 address=10.9.0.2/24 mac=%s", bad[i]);
		nsaid = 0;
		env(var);
		cr_expect_eq(nsaid, 1, "%s", bad[i]);
		cr_expect_eq(conf.nnics, 0, "%s", bad[i]);
	}
}

Test(conf, gateway_lies_in_the_subnet)
{
	text(NIC "gateway = 10.8.0.1\n");
	says("f.conf:2: [nic eth0] gateway: expected an address inside the port's own subnet");
}

Test(conf, nic_env_replaces_the_files)
{
	text(NIC);
	env("FASTNET_NIC=dpdk:net_af_packet0,iface=veth1 address=10.9.0.2/24 gateway=10.9.0.1;"
	    " dpdk:0000:01:00.0 address=192.168.0.9/16 name=lan ;");
	cr_assert_eq(nsaid, 0, "%s", said[0]);
	cr_assert_eq(conf.nnics, 2);
	cr_expect_str_eq(conf.nics[0].name, "net_af_packet0");
	cr_expect_str_eq(conf.nics[0].devargs, "net_af_packet0,iface=veth1");
	cr_expect_eq(conf.nics[0].ip4_gw, ip("10.9.0.1"));
	cr_expect_str_eq(conf.nics[1].name, "lan");
	cr_expect_str_eq(conf.nics[1].devargs, "0000:01:00.0");
	cr_expect_eq(conf.nics[1].line, 0);
	env("FASTNET_NIC=");
	cr_expect_eq(conf.nnics, 0);
	cr_expect_eq(conf.errors, 0);
}

Test(conf, nic_env_long_device_is_kept_whole_and_its_name_cut)
{
	env("FASTNET_NIC=dpdk:net_af_packet_with_a_very_long_name,iface=veth1 address=10.9.0.2/24");
	cr_expect_eq(conf.errors, 0);
	cr_assert_eq(conf.nnics, 1);
	cr_expect_str_eq(conf.nics[0].devargs, "net_af_packet_with_a_very_long_name,iface=veth1");
	cr_expect_str_eq(conf.nics[0].name, "net_af_packet_w");
}

Test(conf, nic_env_error_names_its_position)
{
	env("FASTNET_NIC=dpdk:a address=10.9.0.2/24;dpdk:b address=10.8.0.2/24 mtu=x");
	says("FASTNET_NIC, part 2, character 59: mtu: expected bytes from 68 to 65535, not \"x\"");
	cr_expect_eq(conf.nnics, 1);
}

Test(conf, nic_env_without_a_type)
{
	env("FASTNET_NIC=address=10.9.0.2/24");
	cr_expect_eq(conf.nnics, 0);
	cr_expect_gt(nsaid, 0);
	cr_expect_str_eq(said[0], "FASTNET_NIC, part 1, character 1: expected dpdk:DEVICE[,KEY=VALUE…] KEY=VALUE …, "
				  "not \"address=10.9.0.2/24\"");
}

Test(conf, ports_do_not_share_name_device_or_address)
{
	env("FASTNET_NIC=dpdk:a address=10.9.0.2/24;dpdk:a,x=1 address=10.8.0.2/24");
	cr_expect_str_eq(said[0], "FASTNET_NIC, part 2, character 28: there is a port a already");
	nsaid = 0;
	env("FASTNET_NIC=dpdk:a address=10.9.0.2/24;dpdk:b address=10.9.0.2/24");
	cr_expect_str_eq(said[0], "FASTNET_NIC, part 2, character 28: address: port a has this address already");
	cr_expect_eq(conf.nnics, 1);
}

Test(conf, too_many_ports)
{
	char var[1024] = "FASTNET_NIC=";

	for (int i = 0; i < FN_CONF_NICS + 1; i++)
		sprintf(var + strlen(var), "dpdk:net_tap%d address=10.%d.0.2/24;", i, i);
	env(var);
	cr_expect_eq(nsaid, 1);
	cr_expect_eq(conf.nnics, FN_CONF_NICS);
}

/* ---- rules ---- */

Test(conf, rules)
{
	text("[rules]\nrule = kernel tcp connect address=10.0.0.0/8 port=80-90 program=nginx user=65534\n"
	     "rule = accelerate\nrule=kernel udp listen address=2001:db8::/32 port=53 user=root\n");
	cr_assert_eq(nsaid, 0, "%s", said[0]);
	cr_assert_eq(conf.nrules, 3);
	cr_expect_eq(conf.rules[0].verdict, FN_RULE_KERNEL);
	cr_expect_eq(conf.rules[0].proto, FN_RULE_TCP);
	cr_expect_eq(conf.rules[0].verb, FN_RULE_CONNECT);
	cr_expect_eq(conf.rules[0].family, AF_INET);
	cr_expect_eq(conf.rules[0].prefix, 8);
	cr_expect_eq(conf.rules[0].port_first, 80);
	cr_expect_eq(conf.rules[0].port_last, 90);
	cr_expect_str_eq(conf.rules[0].program, "nginx");
	cr_expect(conf.rules[0].has_uid);
	cr_expect_eq(conf.rules[0].uid, 65534);
	cr_expect_eq(conf.rules[0].line, 2);
	cr_expect_eq(conf.rules[1].verdict, FN_RULE_ACCELERATE);
	cr_expect_eq(conf.rules[1].port_first, 0);
	cr_expect_eq(conf.rules[1].port_last, 65535);
	cr_expect_eq(conf.rules[2].proto, FN_RULE_UDP);
	cr_expect_eq(conf.rules[2].verb, FN_RULE_LISTEN);
	cr_expect_eq(conf.rules[2].family, AF_INET6);
	cr_expect_eq(conf.rules[2].port_last, 53);
	cr_expect(conf.rules[2].has_uid);
	cr_expect_eq(conf.rules[2].uid, 0);
}

Test(conf, rules_of_the_environment_come_first)
{
	text("[rules]\nrule = accelerate\n");
	env("FASTNET_RULES=kernel udp; kernel port=25");
	cr_assert_eq(conf.nrules, 3);
	cr_expect_eq(conf.rules[0].proto, FN_RULE_UDP);
	cr_expect_eq(conf.rules[0].number, 1);
	cr_expect_eq(conf.rules[1].port_first, 25);
	cr_expect_eq(conf.rules[1].number, 2);
	cr_expect_eq(conf.rules[2].line, 2);
}

Test(conf, wrong_rules)
{
	static const char *const bad[] = {
		"", "tcp", "allow tcp", "kernel sctp", "kernel tcp kernel", "kernel port=90-80", "kernel port=65536",
		"kernel port=80-", "kernel port=", "kernel address=10.0.0.0/33", "kernel address=host", "kernel user=nobody-here",
		"kernel program=", "kernel program=/bin/nc", "kernel color=red", "kernel user=", "kernel address=1.2.3.4/-1",
	};

	for (size_t i = 0; i < fn_array_size(bad); i++) {
		char t[128];

		snprintf(t, sizeof t, "[rules]\nrule = %s\n", bad[i]);
		nsaid = 0;
		text(t);
		cr_expect_eq(nsaid, 1, "\"%s\"", bad[i]);
		cr_expect(!strncmp(said[0], "f.conf:2: [rules] rule: ", 24), "%s", said[0]);
		cr_expect_eq(conf.nrules, 0, "\"%s\"", bad[i]);
	}
}

Test(conf, rule_error_names_the_part)
{
	env("FASTNET_RULES=kernel udp;kernel port=x");
	says("FASTNET_RULES, part 2, character 19: port: expected a port or a range of ports, as 80 or 8000-8999, not \"x\"");
}

/* ---- load ---- */

static void write_file(char *path, const char *t)
{
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, t, strlen(t)), (ssize_t)strlen(t));
	close(fd);
}

Test(conf, load_reads_file_then_environment)
{
	char path[] = "/tmp/fastnet-conf-XXXXXX", var[64];
	char *const envp[] = { "FASTNET_FD_BASE=7", var, NULL };

	write_file(path, "[fastnet]\nfd_base = 5\nspin_us = 6\n");
	snprintf(var, sizeof var, "FASTNET_CONF=%s", path);
	errno = 77;
	cr_expect_eq(fn_conf_load(&conf, envp, false, &rep), 0);
	cr_expect_eq(errno, 77);
	unlink(path);
	cr_expect_str_eq(conf.file, path);
	cr_expect_eq(conf.fd_base, 7);
	cr_expect_eq(conf.spin_us, 6);
}

Test(conf, privileged_programs_do_not_listen_to_the_environment)
{
	char *const envp[] = { "FASTNET_FD_BASE=7", "FASTNET_CONF=/nonexistent", NULL };

	cr_expect_eq(fn_conf_load(&conf, envp, true, &rep), 0);
	cr_expect_eq(conf.fd_base, 3);
}

Test(conf, named_file_must_exist)
{
	char *const envp[] = { "FASTNET_CONF=/nonexistent/f", NULL };

	cr_expect_eq(fn_conf_load(&conf, envp, false, &rep), 1);
	says("FASTNET_CONF: cannot read /nonexistent/f: No such file or directory");
}

Test(conf, a_directory_is_no_file)
{
	char *const envp[] = { "FASTNET_CONF=/", NULL };

	cr_expect_eq(fn_conf_load(&conf, envp, false, &rep), 1);
	says("FASTNET_CONF: cannot read /: Is a directory");
}

Test(conf, file_larger_than_a_read)
{
	static char t[20000];
	char path[] = "/tmp/fastnet-conf-XXXXXX", var[64];
	char *const envp[] = { var, NULL };

	strcpy(t, "[fastnet]\n");
	for (int i = 0; i < 600; i++)
		strcat(t, "# a comment of some length\n");
	strcat(t, "fd_base = 5x\n");
	write_file(path, t);
	snprintf(var, sizeof var, "FASTNET_CONF=%s", path);
	cr_expect_eq(fn_conf_load(&conf, envp, false, &rep), 1);
	unlink(path);
	cr_expect(strstr(said[0], ":602: [fastnet] fd_base"), "%s", said[0]);
}

/* ---- the sample ---- */

static FILE *sample(void)
{
	const char *dir = getenv("srcdir");
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/etc/fastnet.conf", dir ? dir : ".");
	f = fopen(path, "r");
	cr_assert_not_null(f, "%s", path);
	return f;
}

/* Every line `# key = value` of the sample shows a default, and every key that a file can set is shown. */
Test(conf, sample_shows_the_defaults)
{
	static struct fn_conf defaults;
	static char t[16384];
	char line[256];
	size_t len = strlen(strcpy(t, "[fastnet]\n"));
	unsigned keys = 0, known = 0;
	FILE *f = sample();

	while (fgets(line, sizeof line, f))
		if (line[0] == '#' && line[1] == ' ' && line[2 + strcspn(line + 2, " ")] && strstr(line, " =")) {
			len += (size_t)snprintf(t + len, sizeof t - len, "%s", line + 2);
			keys++;
		}
	fclose(f);
#define FN_CONF(kind, name, def, min, max, unit, help) known++;
#define FN_CONF_ENV(kind, name, def, min, max, unit, help)
#include "shim/conf.def"
	text(t);
	cr_expect_eq(keys, known, "%u of %u", keys, known);
	cr_expect_eq(nsaid, 0, "%s", said[0]);
	fn_conf_init(&defaults);
	cr_expect_arr_eq(&conf, &defaults, sizeof conf);
}

/* Behind a `#` without a space stands an example: without the `#` it is right, and shows every key of a port. */
Test(conf, samples_port_and_rules_are_right)
{
	static const char *const keys[] = {"type", "devargs", "address", "gateway", "mac", "mtu", "queues", "buffers",
		"csum", "tso"};
	static char t[16384];
	const struct fn_nic_conf *n = &conf.nics[0];
	char line[256], key[32];
	size_t len = 0;
	FILE *f = sample();

	while (fgets(line, sizeof line, f))
		if (line[0] == '#' && line[1] > ' ')
			len += (size_t)snprintf(t + len, sizeof t - len, "%s", line + 1);
	fclose(f);
	for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++) {
		snprintf(key, sizeof key, "\n%s = ", keys[i]);
		cr_expect(strstr(t, key), "%s is not shown", keys[i]);
	}
	text(t);
	cr_expect_eq(nsaid, 0, "%s", said[0]);
	cr_assert_eq(conf.nnics, 1);
	cr_expect_str_eq(n->name, "eth0");
	cr_expect_str_eq(n->devargs, "net_af_packet0,iface=veth1");
	cr_expect_eq(n->ip4, ip("10.9.0.2"));
	cr_expect_eq(n->ip4_mask, ip("255.255.255.0"));
	cr_expect_eq(n->ip4_gw, ip("10.9.0.1"));
	cr_expect(n->has_mac && n->mac[5] == 2);
	cr_expect_eq(n->mtu, 1500);
	cr_expect_eq(n->queues, 1);
	cr_expect_eq(n->buffers, 16383);
	cr_expect(n->csum == FN_NIC_CSUM_AUTO && n->tso == FN_NIC_TSO_AUTO);
	cr_expect_eq(conf.nrules, 3);
}
