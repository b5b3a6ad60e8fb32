/* SPDX-License-Identifier: BSD-3-Clause */
/* Arguments, and which sections run. */
#include <sys/un.h>

#include "oracle.h"

struct oracle o = { .control = -1 };
volatile int minus_one = -1;

static const struct {
	const char *name;
	void (*run)(void);
} sections[] = {
	{ "connect", t_connect }, { "life", t_life },	{ "data", t_data }, { "flags", t_flags },
	{ "block", t_block },	  { "signal", t_signal }, { "handler", t_handler }, { "eintr", t_eintr },
	{ "thread", t_thread },	  { "epoll", t_epoll }, { "listen", t_listen }, { "options", t_options },
	{ "fd", t_fd },		  { "file", t_file },	{ "udp", t_udp }, { "ubind", t_ubind },
	{ "frag", t_frag },
	{ "async", t_async }, { "convert", t_convert }, { "efault", t_efault },
	{ "clone", t_clone },  { "apart", t_apart }, { "raw", t_raw },
	{ "names", t_names },	  { "program", t_program }, { "give", t_give },
	{ "plain", t_plain },
};

static void usage(void)
{
	fprintf(stderr, "usage: oracle peer PATH PEER-ADDRESS SUBJECT-ADDRESS\n"
			"       oracle subject PATH PEER-ADDRESS SUBJECT-ADDRESS [SECTION...]\n");
	exit(2);
}

static int dial(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	for (int i = 0; i < 200; i++) {
		if (!connect(fd, (struct sockaddr *)&sun, sizeof(sun)))
			return fd;
		usleep(20000);	/* the peer is about to start */
	}
	perror(path);
	exit(2);
}

static bool wanted(const char *name, char **list, int count)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(list[i], name))
			return true;
	return !count;
}

static bool known(const char *name)
{
	for (unsigned i = 0; i < COUNT(sections); i++)
		if (!strcmp(sections[i].name, name))
			return true;
	return false;
}

static int run_subject(char **list, int count)
{
	o.nobody.s_addr = htonl((ntohl(o.local.s_addr) & 0xffffff00) | 99);
	for (unsigned i = 0; i < COUNT(sections); i++)
		if (wanted(sections[i].name, list, count)) {
			begin(sections[i].name);
			sections[i].run();
			peer("reset");
		}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 5 || !inet_aton(argv[3], &o.peer) || !inet_aton(argv[4], &o.local))
		usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(argv[1], "peer"))
		return run_peer(argv[2], o.peer, o.local);
	if (strcmp(argv[1], "subject"))
		usage();
	for (int i = 5; i < argc; i++)
		if (!known(argv[i])) {
			fprintf(stderr, "oracle: %s is no section\n", argv[i]);
			return 2;
		}
	o.control = dial(argv[2]);
	return run_subject(argv + 5, argc - 5);
}
