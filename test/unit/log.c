/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages: where they go, what stands in them, what is left out. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "shim/log.h"

static char dir[] = "/tmp/fastnet-log-XXXXXX";
static char path[64];
static char text[4096];

static void to_file(enum fn_log_level level)
{
	static struct fn_conf conf;

	cr_assert_not_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/log", dir);
	fn_conf_init(&conf);
	strcpy(conf.log, path);
	conf.log_level = level;
	fn_log_init(&conf);
}

/* What was written so far; the file goes away. */
static const char *written(void)
{
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = 0;
	unlink(path);
	rmdir(dir);
	return text;
}

Test(log, nothing_before_init)
{
	cr_expect_not(fn_log_on(FN_LOG_ERROR));
	fn_log(FN_LOG_ERROR, "to nobody");
}

Test(log, a_line_in_a_file)
{
	unsigned year, month, day, hour, minute, second, ms;
	char expected[128];

	to_file(FN_LOG_WARNING);
	errno = 77;
	fn_log(FN_LOG_WARNING, "port %s is held", "eth0");
	cr_expect_eq(errno, 77);
	written();
	cr_expect_eq(sscanf(text, "%4u-%2u-%2uT%2u:%2u:%2u.%3uZ ", &year, &month, &day, &hour, &minute, &second, &ms), 7);
	cr_expect(year >= 2024 && month >= 1 && month <= 12 && day >= 1 && day <= 31, "%s", text);
	snprintf(expected, sizeof expected, " fastnet: %s[%d]: warning: port eth0 is held\n", program_invocation_short_name,
		 (int)getpid());
	cr_expect_str_eq(strchr(text, ' '), expected);
}

Test(log, less_important_messages_are_left_out)
{
	to_file(FN_LOG_WARNING);
	fn_log(FN_LOG_NOTICE, "one");
	fn_log(FN_LOG_ERROR, "two");
	written();
	cr_expect_null(strstr(text, "one"));
	cr_expect_not_null(strstr(text, "error: two\n"));
}

Test(log, lines_are_appended)
{
	to_file(FN_LOG_DEBUG);
	fn_log(FN_LOG_DEBUG, "one");
	fn_log(FN_LOG_DEBUG, "two");
	written();
	cr_expect(strstr(text, "one\n") && strstr(strstr(text, "one\n"), "two\n"), "%s", text);
}

Test(log, a_long_message_is_cut_to_one_line)
{
	static char lots[2000];

	memset(lots, 'x', sizeof lots - 1);
	to_file(FN_LOG_ERROR);
	fn_log(FN_LOG_ERROR, "%s", lots);
	written();
	cr_expect_lt(strlen(text), 610);
	cr_expect_eq(strchr(text, '\n'), text + strlen(text) - 1);
}

Test(log, a_file_that_cannot_be_opened_is_no_harm)
{
	static struct fn_conf conf;

	fn_conf_init(&conf);
	strcpy(conf.log, "/nonexistent/log");
	fn_log_init(&conf);
	errno = 0;
	fn_log(FN_LOG_ERROR, "lost");
	cr_expect_eq(errno, 0);
}

Test(log, no_descriptor_stays_open)
{
	int before = dup(0), after;

	close(before);
	to_file(FN_LOG_ERROR);
	fn_log(FN_LOG_ERROR, "x");
	written();
	after = dup(0);
	close(after);
	cr_expect_eq(after, before);
}

Test(log, repeated_messages_are_counted)
{
	struct fn_log_limit l = { 0 };
	uint32_t dropped = 99;

	cr_expect(fn_log_limit(&l, &dropped));
	cr_expect_eq(dropped, 0);
	for (int i = 0; i < 5; i++)
		cr_expect_not(fn_log_limit(&l, &dropped));
	/* as if ten seconds had gone by */
	l.next = 1;
	cr_expect(fn_log_limit(&l, &dropped));
	cr_expect_eq(dropped, 5);
}

Test(log, limited_message_says_how_many_were_dropped)
{
	to_file(FN_LOG_ERROR);
	for (int i = 0; i < 4; i++)
		fn_log_limited(FN_LOG_ERROR, "again %d", i);
	written();
	cr_expect_not_null(strstr(text, "again 0\n"));
	cr_expect_null(strstr(text, "again 1"));
}
