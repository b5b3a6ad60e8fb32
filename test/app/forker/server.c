/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that echo, and a main thread that forks meanwhile, by fork() and by clone(2). The first byte of a connection says
 * what it is: e: echo; c: what this process has, as text, when that is what was sent behind the c (for 20 s at most); f and a
 * number: so many children, then "done". Children call nothing that takes a lock of libc's: there are threads.
 */
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *echo(void *arg)
{
	int fd = (int)(long)arg;
	char buf[65536];
	ssize_t n;

	while ((n = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (send(fd, buf, (size_t)n, 0) != n)
			break;
	close(fd);
	return NULL;
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

static int lines(const char *path)
{
	FILE *f = fopen(path, "r");
	int n = 0, c;

	while (f && (c = getc(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static void tell(int fd)
{
	char want[128] = "", have[128];
	ssize_t n = recv(fd, want, sizeof(want) - 1, 0);

	want[n > 0 ? n - 1 : 0] = 0;
	for (int i = 0; i < 200; i++) {
		snprintf(have, sizeof(have), "%d descriptors, %d threads", entries("/proc/self/fd"),
			 entries("/proc/self/task"));
		if (!want[0] || !strcmp(want, have))
			break;
		usleep(100000);
	}
	n = (ssize_t)strlen(have);
	snprintf(have + n, sizeof(have) - (size_t)n, "; %d mappings", lines("/proc/self/maps"));
	send(fd, have, strlen(have), 0);
}

static void child(int i, int own)
{
	char c;

	switch (i % 5) {
	case 1:
		close_range(3, 100, 0);
		break;
	case 2:
		send(own, "child\n", 6, 0);
		break;
	case 3:
		syscall(SYS_kill, (long)getpid(), (long)SIGKILL);
		break;
	case 4:
		recv(own, &c, 1, MSG_DONTWAIT);
		break;
	}
	_exit(0);
}

static void multiply(int fd)
{
	char text[32] = "";
	int count;

	recv(fd, text, sizeof(text) - 1, 0);
	count = atoi(text);
	for (int i = 0; i < count; i++) {
		pid_t pid = i & 1 ? (pid_t)syscall(SYS_clone, (long)SIGCHLD, NULL, NULL, NULL, NULL) : fork();

		if (!pid)
			child(i, fd);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
			perror("fork");
			exit(1);
		}
	}
	send(fd, "done\n", 5, 0);
}

int main(int argc, char **argv)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(argc > 1 ? argv[1] : "8000")) };
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, (struct sockaddr *)&sin, sizeof(sin)) || listen(l, 64)) {
		perror("listen");
		return 1;
	}
	for (;;) {
		int fd = accept(l, NULL, NULL);
		pthread_t t;
		char what = 0;

		if (fd < 0 || recv(fd, &what, 1, 0) < 0)
			continue;
		if (what == 'e') {
			pthread_create(&t, NULL, echo, (void *)(long)fd);
			pthread_detach(t);
			continue;
		}
		if (what == 'c')
			tell(fd);
		if (what == 'f')
			multiply(fd);
		close(fd);
	}
}
