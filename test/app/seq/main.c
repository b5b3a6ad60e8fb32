/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments. */
#include "seq.h"

static void usage(void)
{
	fprintf(stderr, "usage: seq peer CONTROL PEER-ADDRESS SUBJECT-ADDRESS CPU\n"
			"       seq subject CONTROL PEER-ADDRESS SUBJECT-ADDRESS CPU\n"
			"       seq drive NATIVE-COMMAND PRELOADED-COMMAND [FROM-TO | table | FILE]...\n"
			"       seq print SEED | table\n");
	exit(2);
}

static int print(const char *what)
{
	static struct script s;

	if (strcmp(what, "table")) {
		generate(&s, strtoull(what, NULL, 10));
		for (int i = 0; i < s.count; i++)
			puts(s.line[i]);
		return 0;
	}
	for (int i = 0; i < table_count(); i++) {
		s.count = 0;
		table_script(&s, i);
		printf("# %s\n", table_name(i));
		for (int k = 0; k < s.count; k++)
			puts(s.line[k]);
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct in_addr peer, subject;

	if (argc == 3 && !strcmp(argv[1], "print"))
		return print(argv[2]);
	if (argc >= 5 && !strcmp(argv[1], "drive"))
		return run_drive(argc - 2, argv + 2);
	if (argc != 6 || !inet_aton(argv[3], &peer) || !inet_aton(argv[4], &subject))
		usage();
	if (!strcmp(argv[1], "peer"))
		return run_peer(argv[2], peer, subject, atoi(argv[5]));
	if (!strcmp(argv[1], "subject"))
		return run_subject(argv[2], subject, peer, atoi(argv[5]));
	usage();
}
