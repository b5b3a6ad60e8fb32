/* SPDX-License-Identifier: BSD-3-Clause */
/* What connects have found out: for whom, for how long, and what ends it. */
#include <criterion/criterion.h>

#include "shim/known.h"

#define IP	0x0100007fu
#define PORT	7000
#define NOW	1000000000ull

static struct fn_page page, other;

/* Asked at `now`; the kernel's answer is `number`, by p. What was known before that. */
static int ask(uint64_t now, int number, const struct fn_page *p)
{
	struct fn_known at;
	int known = fn_known_find(IP, PORT, now, &at);

	if (!known)
		fn_known_note(&at, number, p);
	return known;
}

static void setup(void)
{
	fn_known_forget();
	ask(NOW, 5, &page);
	ask(NOW, 5, &page);
}

TestSuite(known, .init = setup);

Test(known, second_answer_holds)
{
	fn_known_forget();
	cr_expect_eq(ask(NOW, 5, &page), 0);
	cr_expect_eq(ask(NOW, 5, &page), 0, "what the page said before the first answer is not known");
	cr_expect_eq(ask(NOW, 5, &page), 5);
}

Test(known, for_its_address_alone)
{
	struct fn_known at;

	cr_expect_eq(fn_known_find(IP, PORT + 1, NOW, &at), 0);
	cr_expect_eq(fn_known_find(IP + 1, PORT, NOW, &at), 0);
	for (unsigned port = 1; port < 65536; port++)
		cr_assert_eq(fn_known_find(IP, (uint16_t)port, NOW, &at), port == PORT ? 5 : 0);
}

Test(known, for_a_time)
{
	cr_expect_eq(ask(NOW + FN_KNOWN_NS - 1, 5, &page), 5);
	cr_expect_eq(ask(NOW + FN_KNOWN_NS, 5, &page), 0);
	cr_expect_eq(ask(NOW + FN_KNOWN_NS, 5, &page), 5);
}

Test(known, until_somebody_leaves)
{
	fn_page_leave(&page);
	cr_expect_eq(ask(NOW, 5, &page), 0);
	cr_expect_eq(ask(NOW, 5, &page), 5);
}

/* He left between the question and its answer: the answer was of before. */
Test(known, who_leaves_meanwhile_is_asked_again)
{
	struct fn_known at;

	cr_assert_eq(fn_known_find(IP, PORT, NOW + FN_KNOWN_NS, &at), 0);
	fn_page_leave(&page);
	fn_known_note(&at, 5, &page);
	cr_expect_eq(ask(NOW + FN_KNOWN_NS, 5, &page), 0);
	cr_expect_eq(ask(NOW + FN_KNOWN_NS, 5, &page), 5);
}

Test(known, another_listener_is_new)
{
	fn_page_leave(&page);
	cr_expect_eq(ask(NOW, 6, &other), 0);
	cr_expect_eq(ask(NOW, 6, &other), 0);
	cr_expect_eq(ask(NOW, 6, &other), 6);
}

Test(known, forgotten)
{
	fn_known_forget();
	cr_expect_eq(ask(NOW, 5, &page), 0);
}
