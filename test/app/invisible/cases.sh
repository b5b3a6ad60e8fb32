# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2016
# The cases of run: each a function without arguments, whose output must not depend on time or chance. It runs in an empty
# directory; $here is this folder. need[] has the tools.
declare -A need
quick="descriptors limits environment procfs shells bash_descriptors bash_tcp make_gcc perl python tar_git ssh apt env_i
	setuid closeloop strace_calls gdb"
slow="node java openssl systemd_run rsync_find"

# Numbers are what Linux gives, none is taken, and there is no thread more.
descriptors()
{
	ls /proc/self/fd
	ls /proc/self/task | wc -l
	perl -e 'use Socket; socket(my $a, AF_INET, SOCK_STREAM, 0); socket(my $b, AF_UNIX, SOCK_STREAM, 0); open(my $c, "<", "/dev/null");
		print fileno($a), " ", fileno($b), " ", fileno($c), "\n"; close($a); open(my $d, "<", "/dev/null"); print fileno($d), "\n";
		print join(" ", sort { $a <=> $b } map { readlink("/proc/self/fd/$_") ? $_ : () } 0 .. 400), "\n"'
}

limits()
{
	ulimit -a | grep -v 'pending\|processes'
	bash -c 'ulimit -n 20; exec perl -MSocket -e "my @a; while (socket(my \$s, AF_INET, SOCK_STREAM, 0)) { push @a, \$s }
		print scalar(@a), \" \$!\n\""'
	bash -c 'trap "" XFSZ; ulimit -f 0; echo x >big; echo $?' 2>&1 | cat
}

environment()
{
	env | grep -v '^LD_PRELOAD=\|^FASTNET_\|^_=' | sort
	perl -e 'print join(" ", grep { !/^(LD_PRELOAD|FASTNET_.*)$/ } sort keys %ENV), "\n"'
	sh -c 'echo "$0 $1 $# $-"' a b c
}

# What a process can see of itself: signals, groups, capabilities, seccomp, timers, umask.
procfs()
{
	grep -E '^(Name|Umask|State|Uid|Gid|Groups|Threads|Sig[PBIC]|Shd|Cap|NoNew|Seccomp)' /proc/self/status
	cat /proc/self/timerslack_ns /proc/self/oom_score_adj /proc/self/comm
	cut -d' ' -f1-3 /proc/self/statm >/dev/null
	awk '{ print NF }' /proc/self/stat
	nproc
	taskset -p $$ | sed 's/.*: //'
}
need[procfs]="taskset"

shells()
{
	for s in dash bash; do
		$s -c 'echo a | cat | tr a b; (exit 3); echo $?; cat <<-X
			here $((1 + 2))
		X
		x=$(printf "%s" "$(echo nested)"); echo "$x"
		trap "echo caught" USR1; kill -USR1 $$; sleep 0.05 & wait $!; echo $?
		exec 3>out; echo three >&3; exec 3>&-; cat out; read -r y <out; echo "$y"
		nosuchprogram; echo $?; yes | head -n 2; kill -TERM $$' 2>&1
		echo "status $?"
	done
}

bash_descriptors()
{
	exec 7<>file 8>&7 {auto}>other
	echo "$auto"
	echo text >&8
	echo more >&"$auto"
	cat file other
	exec 7>&- 8>&-
	for i in {10..40}; do eval "exec $i</dev/null"; done
	ls /proc/$$/fd
	coproc CO { cat; }
	echo through >&"${CO[1]}"
	read -r line <&"${CO[0]}"
	echo "$line"
	paste <(echo one) <(echo two)
}

# /dev/tcp to a port that nobody listens on: refused, as it ever was.
bash_tcp()
{
	bash -c 'exec 5<>/dev/tcp/127.0.0.1/1' 2>&1 | sed 's/^.*: line/line/'
	python3 -c '
import socket, threading
s = socket.create_server(("127.0.0.1", 0)); print(s.fileno())
def one():
    c, a = s.accept(); c.sendall(c.recv(100).upper()); c.close()
t = threading.Thread(target=one); t.start()
c = socket.create_connection(s.getsockname()); c.sendall(b"hello"); print(c.recv(100), c.recv(100)); t.join()'
}
need[bash_tcp]="python3"

make_gcc()
{
	printf '#include <stdio.h>\nint f(int);\nint main(void) { printf("%%d\\n", f(20)); return f(0); }\n' >a.c
	printf 'int f(int x) { return x * 2 + 2; }\n' >b.c
	printf 'p: a.o b.o\n\tcc -o $@ $^\n%%.o: %%.c\n\tcc -O2 -c $<\nrun: p\n\t./p\n' >Makefile
	make -s -j2 p
	make run
	echo "status $?"
	cc -c nosuch.c
	echo "status $?"
}
need[make_gcc]="make cc"

perl()
{
	command perl -e '
		use POSIX; use IO::Handle; pipe(my $r, my $w); my $pid = fork;
		if (!$pid) { close $r; $w->autoflush(1); print $w "child\n"; POSIX::_exit(7) }
		close $w; print scalar <$r>; waitpid $pid, 0; print $? >> 8, "\n";
		$SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select undef, undef, undef, 3;
		print `echo backticks`; system("exit 5"); print $? >> 8, "\n";
		open(my $p, "|-", "tr a-z A-Z") or die; print $p "upper\n"; close $p;
		socketpair(my $a, my $b, 1, 1, 0); syswrite $a, "pair"; sysread $b, my $x, 10; print "$x\n"; '
}
need[perl]="perl"

python()
{
	python3 -c '
import os, subprocess, select, sys, threading, multiprocessing, socket, signal, tempfile, mmap
print(subprocess.check_output(["sh", "-c", "ls /proc/self/fd"], close_fds=True))
r, w = os.pipe(); print(r, w, select.select([r], [w], [], 0))
p = select.epoll(); p.register(w, select.EPOLLOUT); print(p.fileno(), p.poll(0))
a, b = socket.socketpair(); a.send(b"x"); print(b.recv(9), a.fileno(), b.fileno())
print(subprocess.run(["false"]).returncode, subprocess.run("exit 4", shell=True).returncode)
q = multiprocessing.get_context("fork").Queue()
def f(q): q.put(os.listdir("/proc/self/fd") and "child")
c = multiprocessing.get_context("fork").Process(target=f, args=(q,)); c.start(); print(q.get()); c.join(); print(c.exitcode)
t = threading.Thread(target=lambda: print("thread", len(os.listdir("/proc/self/task")))); t.start(); t.join()
s = socket.socket(); s.setblocking(False); print(s.connect_ex(("127.0.0.1", 1)) in (111, 115), s.fileno())
print(signal.getsignal(signal.SIGSEGV), signal.getsignal(signal.SIGPIPE))
os.kill(os.getpid(), signal.SIGTERM)'
	echo "status $?"
}
need[python]="python3"

tar_git()
{
	mkdir d
	seq 1 5000 >d/seq
	ln -s seq d/link
	tar --sort=name --mtime=@0 --owner=0 --group=0 -czf t.gz d
	tar -tvzf t.gz
	export GIT_AUTHOR_DATE=2000-01-01T00:00:00Z GIT_COMMITTER_DATE=2000-01-01T00:00:00Z
	git -c init.defaultBranch=main init -q r
	cp -r d r
	git -C r add .
	git -C r -c user.name=a -c user.email=a@b -c gc.auto=0 commit -qm one
	git -C r log --stat
	git clone -q r s
	git -C s status
	rm -rf r/.git s/.git
}
need[tar_git]="tar git"

ssh()
{
	command ssh -V
	command ssh -G nowhere.test | head -20
	command ssh -F none -o BatchMode=yes -o ConnectTimeout=2 -p 1 127.0.0.1 true
	echo "status $?"
	printf '%s\n' "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1JMnCgkp5VGcYUZLV8Bl1Vv5uLEZpOT8R0zX1nX0Xf x" >k.pub
	ssh-keygen -lf k.pub
}
need[ssh]="ssh ssh-keygen"

apt()
{
	apt-get --version | head -2
	apt-cache policy bash
	apt-get -s -o Debug::NoLocking=1 install bash 2>&1 | tail -3
	dpkg-query -W -f '${Package} ${Version}\n' bash coreutils
}
need[apt]="apt-get dpkg-query"

# A clean environment stays clean, and its programs run without the library.
env_i()
{
	env -i /bin/sh -c 'env; grep -c fastnet /proc/self/maps; ls /proc/self/fd'
	env -i A=1 perl -e 'print join(",", %ENV), "\n"; exec { "/usr/bin/env" } "env"'
}

setuid()
{
	command setpriv --reuid 65534 --regid 65534 --clear-groups sh -c '
		id; passwd -S nobody; su root -c id </dev/null 2>&1; mount 2>&1 | wc -l >/dev/null; newgrp nogroup </dev/null; echo $?'
	echo "status $?"
}
need[setuid]="setpriv passwd su"

# Daemons close everything they might have inherited.
closeloop()
{
	command perl -MPOSIX -MSocket -e '
		socket(my $s, AF_INET, SOCK_STREAM, 0); my $ok = 0; my %e;
		for my $fd (3 .. 302) { if (defined POSIX::close($fd)) { $ok++ } else { $e{$! + 0}++ } }
		print "$ok ", join(",", %e), "\n"; open(my $f, "<", "/dev/null"); print fileno($f), "\n";
		socket(my $t, AF_INET, SOCK_STREAM, 0); print fileno($t), "\n"; print -d "/proc/self/fd" ? "ok\n" : "no\n"'
	python3 -c '
import os, socket
a = socket.socket(); os.closerange(3, 303); b = socket.socket(); print(b.fileno()); os.system("ls /proc/self/fd"); a.detach()'
}
need[closeloop]="perl python3"

# Between two marks a program makes the calls that it makes, and no others.
strace_calls()
{
	cat >p.c <<-'END'
		#include <fcntl.h>
		#include <poll.h>
		#include <stdio.h>
		#include <stdlib.h>
		#include <sys/epoll.h>
		#include <sys/socket.h>
		#include <unistd.h>
		int main(void)
		{
			struct epoll_event ev = { .events = EPOLLIN };
			int p[2], e, f;
			char c[10];

			getppid();
			f = open("/dev/null", O_RDWR);
			(void)!write(f, "x", 1);
			(void)!read(f, c, 1);
			(void)!pipe(p);
			e = dup(f);
			close(e);
			fcntl(f, F_GETFL);
			(void)!write(p[1], "abc", 3);
			(void)!read(p[0], c, 10);
			poll(&(struct pollfd){ .fd = p[1], .events = POLLOUT }, 1, 0);
			socketpair(AF_UNIX, SOCK_STREAM, 0, p);
			send(p[0], "x", 1, 0);
			recv(p[1], c, 1, 0);
			free(malloc(100));
			getppid();
			return ev.events != EPOLLIN;
		}
	END
	cc -o p p.c
	strace -o trace ./p
	sed -n '/getppid/,/getppid/p' trace | sed -E 's/= [0-9]+$/= N/; /getppid/d; /brk\(|getrandom\(/d'
	rm -f trace p
}
need[strace_calls]="cc strace"

gdb()
{
	printf '#include <unistd.h>\nint f(int x)\n{\n\treturn x + 1;\n}\nint main(void)\n{\n\treturn f(1) + (write(1, "w\\n", 2) == 2) - 3;\n}\n' >g.c
	cc -g -O0 -o g g.c
	command gdb -q -nx -batch -ex 'set debuginfod enabled off' -ex 'break f' -ex run -ex 'print x' -ex backtrace -ex finish \
		-ex 'catch syscall write' -ex continue -ex 'delete' -ex continue -ex 'info sharedlibrary' ./g 2>&1 |
		grep -v 'libfastnet\|^From\|^0x\|libthread_db\|^$\|\[Thread debugging'
	rm -f g
}
need[gdb]="cc gdb"

node()
{
	command node -e '
		const fs = require("fs"), cp = require("child_process"), { Worker } = require("worker_threads");
		console.log(cp.execSync("echo child").toString(), cp.spawnSync("sh", ["-c", "exit 3"]).status);
		console.log(fs.readdirSync("/").includes("proc"), fs.openSync("/dev/null") > 2);
		new Worker("require(\"worker_threads\").parentPort.postMessage(7)", { eval: true }).on("message", m => console.log(m));
		const s = require("net").createServer(c => c.pipe(c)).listen(0, "127.0.0.1", () => {
			const c = require("net").connect(s.address().port, "127.0.0.1", () => c.end("hello"));
			c.on("data", d => console.log(d.toString())); c.on("close", () => s.close()); });
		require("dns").lookup("localhost", 4, (e, a) => console.log(e, a));'
}
need[node]="node"

java()
{
	cat >T.java <<-'END'
		import java.io.*; import java.net.*; import java.nio.file.*; import java.util.concurrent.*;
		class T { public static void main(String[] a) throws Exception {
			System.out.println(new String(new ProcessBuilder("echo", "child").start().getInputStream().readAllBytes()));
			ServerSocket s = new ServerSocket(0, 5, InetAddress.getLoopbackAddress());
			Future<String> f = Executors.newSingleThreadExecutor(r -> { Thread t = new Thread(r); t.setDaemon(true); return t; })
				.submit(() -> { try (Socket c = s.accept()) { return new BufferedReader(new InputStreamReader(c.getInputStream())).readLine(); } });
			try (Socket c = new Socket(s.getInetAddress(), s.getLocalPort())) { c.getOutputStream().write("line\n".getBytes()); }
			System.out.println(f.get()); Files.writeString(Path.of("f"), "text"); Object o = null;
			try { o.hashCode(); } catch (NullPointerException e) { System.out.println("null"); }
			System.exit(6); } }
	END
	command java -Xshare:auto T.java
	echo "status $?"
}
need[java]="java"

openssl()
{
	echo text | command openssl enc -aes-256-cbc -pbkdf2 -iter 10 -S 0001020304050607 -k key | sha256sum
	command openssl version
	command openssl s_client -connect 127.0.0.1:1 </dev/null 2>&1 | sed 's/^[0-9A-F]*:error/error/'
}
need[openssl]="openssl"

# Where there is no systemd it says so, the same way.
systemd_run()
{
	command systemd-run --version | head -1
	command systemd-run --wait --pipe -q true
	echo "status $?"
}
need[systemd_run]="systemd-run"

rsync_find()
{
	mkdir -p a/b/c
	seq 100000 >a/b/c/f
	find a -type f -exec sha1sum {} +
	xargs -P 2 -n 1 echo <<<"1" | sort
	cp -r a z
	diff -r a z && echo equal
	gzip -n a/b/c/f && zcat a/b/c/f.gz | tail -1
	sort -R --random-source=/dev/zero z/b/c/f | sha1sum
	timeout 0.2 sleep 5
	echo "status $?"
}
