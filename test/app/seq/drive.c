/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver: feeds the same scripts to the native subject and to the one under the library, and compares what they
 * print. A difference is tried again; one that comes back is shrunk and printed. One that does not is counted as
 * unstable: the machine was late, or one of the two answers differently from time to time.
 */
#include <sys/stat.h>

#include "seq.h"

#define SCRIPT_MS	60000	/* a script that takes longer hangs */
#define END_MS		2000	/* a subject ends with its input so soon */
#define KILL_MS		300000	/* it may get next to no time, and until then the port is its own */
#define RETRIES		3
#define FAILURES	8	/* so many are shrunk and printed */

static struct subject native = { .pid = 0 }, fast = { .pid = 0 };
static int passed, failed, unstable, number;
static bool verbose;	/* the traces of those that are the same, too */

/* ---- one subject ---- */

static void start(struct subject *s)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) {
		perror("pipe");
		exit(2);
	}
	s->pid = fork();
	if (s->pid == 0) {
		setpgid(0, 0);
		dup2(in[0], 0);
		dup2(out[1], 1);
		execl("/bin/sh", "sh", "-c", s->command, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	s->in = in[1];
	s->out = out[0];
	s->used = false;
}

/* Whether it has gone by itself within a time. */
static bool gone(struct subject *s, int *status, int ms)
{
	for (int i = 0; i < ms; i++) {
		if (waitpid(s->pid, status, WNOHANG) == s->pid)
			return true;
		usleep(1000);
	}
	return false;
}

/* The next one finds its port and the peer free: this one has gone by then, however long the kernel takes. */
static int stop(struct subject *s)
{
	int status = 0;

	if (!s->pid)
		return 0;
	close(s->in);
	/* it ends with its input; one that hangs does not */
	if (!gone(s, &status, END_MS)) {
		printf("# the subject %s does not end with its input\n", s == &fast ? "under the library" : "in the kernel");
		kill(-s->pid, SIGKILL);
		if (!gone(s, &status, KILL_MS))
			printf("# nor when it is killed\n");
	}
	kill(-s->pid, SIGKILL);		/* its child */
	close(s->out);
	s->pid = 0;
	return status;
}

static void append(struct trace *t, const char *data, size_t n)
{
	if (t->len + n + 1 > t->room) {
		t->room = (t->len + n + 1) * 2;
		t->text = realloc(t->text, t->room);
	}
	memcpy(t->text + t->len, data, n);
	t->len += n;
	t->text[t->len] = 0;
}

static bool at_end(const struct trace *t)
{
	return t->len >= 2 && !strcmp(t->text + t->len - 2, ".\n") && (t->len == 2 || t->text[t->len - 3] == '\n');
}

static void read_trace(struct subject *s, struct trace *t)
{
	struct pollfd p = { .fd = s->out, .events = POLLIN };
	char part[4096], text[64];
	ssize_t n = -1;
	int status;

	while (!at_end(t) && poll(&p, 1, SCRIPT_MS) > 0 && (n = read(s->out, part, sizeof(part))) > 0)
		append(t, part, (size_t)n);
	t->ended = at_end(t);
	if (t->ended)
		return;
	status = stop(s);
	snprintf(text, sizeof(text), "\n%s, status %#x\n", n ? "hangs" : "died", (unsigned)status);
	append(t, text, strlen(text));
}

static void feed(struct subject *s, const struct script *script)
{
	char text[LINES * LINE + 2], *t = text;

	if (!s->pid)
		start(s);
	for (int i = 0; i < script->count; i++)
		t += sprintf(t, "%s\n", script->line[i]);
	t += sprintf(t, ".\n");
	for (char *from = text; from < t;) {
		ssize_t n = write(s->in, from, (size_t)(t - from));

		if (n <= 0)
			break;
		from += n;
	}
}

bool same(const struct script *s, struct trace *a, struct trace *b)
{
	a->len = b->len = 0;
	feed(&native, s);
	feed(&fast, s);
	read_trace(&native, a);
	read_trace(&fast, b);
	native.used = fast.used = true;
	return a->ended && b->ended && !strcmp(a->text, b->text);
}

/* ---- comparison ---- */

static const char *next_line(const char *text, char *line, size_t room)
{
	size_t len = strcspn(text, "\n");

	snprintf(line, room, "%.*s", (int)len, text);
	return text[len] ? text + len + 1 : text + len;
}

/* Both traces, up to where they part and a little further. */
static void print_difference(const struct trace *a, const struct trace *b)
{
	const char *x = a->text, *y = b->text;
	char p[2048], q[2048];
	int after = 0;

	while ((*x || *y) && after < 6) {
		x = next_line(x, p, sizeof(p));
		y = next_line(y, q, sizeof(q));
		if (!strcmp(p, q)) {
			printf("#    %s\n", p);
			continue;
		}
		after++;
		printf("#  - %s\n#  + %s\n", p, q);
	}
}

static void print_script(const struct script *s)
{
	for (int i = 0; i < s->count; i++)
		printf("#    %s\n", s->line[i]);
}

/* first: of both, when they were different. */
static void failure(const char *name, struct script *s, const struct trace first[2])
{
	struct trace a = { 0 }, b = { 0 };

	failed++;
	printf("not ok %d - %s\n", ++number, name);
	if (failed > FAILURES)
		return;
	shrink(s);
	printf("#  a smallest script:\n");
	print_script(s);
	printf("#  native (-) and under the library (+):\n");
	if (same(s, &a, &b)) {
		printf("#  now they say the same; the whole script said at first:\n");
		print_difference(&first[0], &first[1]);
	} else {
		print_difference(&a, &b);
	}
	fflush(stdout);
	free(a.text);
	free(b.text);
}

/* Different once more, in the same processes or in fresh ones? */
static bool comes_back(const struct script *s)
{
	struct trace a = { 0 }, b = { 0 };
	bool back = false;

	for (int i = 0; i < RETRIES && !back; i++) {
		if (i == RETRIES - 1) {
			stop(&fast);
			stop(&native);
		}
		back = !same(s, &a, &b);
	}
	free(a.text);
	free(b.text);
	return back;
}

/* true: the same. */
static bool check(const char *name, struct script *s)
{
	struct trace t[2] = { { 0 }, { 0 } };
	bool ok = same(s, &t[0], &t[1]);

	if (!ok && comes_back(s)) {
		failure(name, s, t);
	} else if (!ok) {
		unstable++;
		printf("# %s: once different, then the same\n", name);
		print_difference(&t[0], &t[1]);
		ok = true;
	} else {
		passed++;
		if (verbose)
			printf("# %s\n%s", name, t[0].text);
	}
	if (!ok)
		fflush(stdout);
	free(t[0].text);
	free(t[1].text);
	return ok;
}

static void seeds(uint64_t from, uint64_t to)
{
	static struct script s;
	char name[64];
	int before = failed;

	for (uint64_t seed = from; seed <= to; seed++) {
		s.count = 0;
		generate(&s, seed);
		snprintf(name, sizeof(name), "seed %llu", (unsigned long long)seed);
		check(name, &s);
	}
	if (failed == before)
		printf("ok %d - seeds %llu to %llu\n", ++number, (unsigned long long)from, (unsigned long long)to);
}

static void table(void)
{
	static struct script s;

	for (int i = 0; i < table_count(); i++) {
		s.count = 0;
		table_script(&s, i);
		if (check(table_name(i), &s))
			printf("ok %d - %s\n", ++number, table_name(i));
	}
}

static bool read_script(const char *path, struct script *s)
{
	FILE *f = fopen(path, "r");
	char line[LINE];

	s->count = 0;
	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = 0;
		if (*line && *line != '#')
			script_add(s, "%s", line);
	}
	if (f)
		fclose(f);
	return f;
}

static void file(const char *path)
{
	static struct script s;
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	if (!read_script(path, &s)) {
		failed++;
		printf("not ok %d - %s: %s\n", ++number, base, strerror(errno));
	} else if (check(base, &s)) {
		printf("ok %d - %s\n", ++number, base);
	}
}

/* The kernel stamps what arrives while any socket of the host wants it (net_enable_timestamp): one always does. */
static void stamp_always(void)
{
	int on = 1;

	setsockopt(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), SOL_SOCKET, SO_TIMESTAMP, &on, sizeof(on));
}

int run_drive(int argc, char **argv)
{
	unsigned long long from, to;

	stamp_always();
	native.command = argv[0];
	fast.command = argv[1];
	signal(SIGPIPE, SIG_IGN);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "verbose"))
			verbose = true;
		else if (!strcmp(argv[i], "table"))
			table();
		else if (sscanf(argv[i], "%llu-%llu", &from, &to) == 2)
			seeds(from, to);
		else
			file(argv[i]);
	}
	stop(&native);
	stop(&fast);
	printf("# %d unstable\n", unstable);
	/* a late machine is an exception; more than that is something else */
	if (unstable > 2 + (passed + failed) / 100) {
		failed++;
		printf("not ok %d - too many are unstable\n", ++number);
	}
	printf("%d passed, %d failed\n", passed + unstable, failed);
	return failed != 0;
}
