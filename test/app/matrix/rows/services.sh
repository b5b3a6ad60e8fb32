# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# Services that hand a connection to another program, and those over UDP.
slow
row dnsmasq "dnsmasq: UDP and TCP, asked with dig" dnsmasq dig
dnsmasq()
{
	shown
	serve dnsmasq -d -C /dev/null -p 5353 --no-resolv --no-hosts -u root --address=/here.test/192.0.2.7
	ready 5353 udp
	[ "$(peer dig +short +time=3 -p 5353 @"$HERE" here.test)" = 192.0.2.7 ] || fail "UDP"
	[ "$(peer dig +short +time=3 +tcp -p 5353 @"$HERE" here.test)" = 192.0.2.7 ] || fail "TCP"
	[ "$(lab_exec_server dig +short +time=3 -p 5353 @"$HERE" here.test)" = 192.0.2.7 ] || fail "UDP from this host"
	[ "$(lab_exec_server dig +short +time=3 +tcp -p 5353 @"$HERE" here.test)" = 192.0.2.7 ] || fail "TCP from this host"
}

slow
row dig "dig as a client: UDP and TCP" dnsmasq dig
dig()
{
	peer_serve dnsmasq -d -C /dev/null -p 5353 --no-resolv --no-hosts -u root --address=/here.test/192.0.2.7
	peer_ready 5353 udp
	[ "$(fast dig +short +time=3 -p 5353 @"$THERE" here.test)" = 192.0.2.7 ] || fail "UDP"
	[ "$(fast dig +short +time=3 +tcp -p 5353 @"$THERE" here.test)" = 192.0.2.7 ] || fail "TCP"
	# one that is asked what its sockets are while it waits for the next question
	mkfifo questions
	fast dig +short +time=3 -p 5353 @"$THERE" -f questions >answers &
	client=$!
	exec {ask}<>questions
	echo here.test >&"$ask"
	until_answer grep -qx 192.0.2.7 answers
	look
	exec {ask}>&-
	wait "$client" || fail "questions from a pipe"
}

slow
row named "bind9's named: a zone over UDP and TCP" named dig
named()
{
	cat >zone <<-END
		\$TTL 60
		@ IN SOA ns.here.test. root.here.test. 1 60 60 60 60
		@ IN NS ns.here.test.
		ns IN A 192.0.2.9
	END
	cat >named.conf <<-END
		options { directory "$LAB_TMP"; listen-on port 5353 { any; }; listen-on-v6 { none; }; recursion no;
			pid-file "$LAB_TMP/named.pid"; session-keyfile "$LAB_TMP/session.key"; managed-keys-directory "$LAB_TMP"; };
		controls { };
		zone "here.test" { type primary; file "$LAB_TMP/zone"; };
	END
	shown
	export FASTNET_EARLY_OPEN=on	# it gives its privileges up before it listens
	serve named -g -c "$LAB_TMP/named.conf"
	until_answer peer dig +short +time=1 +tries=1 -p 5353 @"$HERE" ns.here.test
	[ "$(peer dig +short +time=3 -p 5353 @"$HERE" ns.here.test)" = 192.0.2.9 ] || fail "UDP"
	[ "$(peer dig +short +time=3 +tcp -p 5353 @"$HERE" ns.here.test)" = 192.0.2.9 ] || fail "TCP"
	[ "$(lab_exec_server dig +short +time=3 -p 5353 @"$HERE" ns.here.test)" = 192.0.2.9 ] || fail "UDP from this host"
	[ "$(lab_exec_server dig +short +time=3 +tcp -p 5353 @"$HERE" ns.here.test)" = 192.0.2.9 ] || fail "TCP from this host"
}

slow
row git "git daemon: a clone" git
git()
{
	command git init -q --bare r.git
	command git init -q w
	head -c 300000 /dev/urandom >w/file
	command git -C w add file
	command git -C w -c user.name=a -c user.email=a@b commit -qm one
	command git -C w push -q "$LAB_TMP/r.git" HEAD:refs/heads/main
	command git -C r.git symbolic-ref HEAD refs/heads/main
	serve git daemon --export-all --base-path="$LAB_TMP" --reuseaddr "$LAB_TMP"
	ready 9418
	peer timeout 10 git clone -q "git://$HERE/r.git" c || fail "clone"
	same c/file w/file "what was cloned"
}

slow
row ssh "sshd, and ssh as a client: a login by key, 1 MB through it" /usr/sbin/sshd ssh ssh-keygen
ssh()
{
	local sshd=(/usr/sbin/sshd -D -e -h "$LAB_TMP/host" -o StrictModes=no -o PidFile=none -o UsePAM=no
		-o "AuthorizedKeysFile=$LAB_TMP/authorized" -o PermitRootLogin=prohibit-password -f /dev/null)
	local login=(ssh -F none -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=known)

	mkdir -p /run/sshd
	ssh-keygen -q -t ed25519 -N '' -f host
	ssh-keygen -q -t ed25519 -N '' -f key
	cp key.pub authorized
	serve "${sshd[@]}" -p 2222
	ready 2222
	random_file sent 1000000
	peer timeout 15 "${login[@]}" -p 2222 root@"$HERE" cat <sent >got 2>ssh.err || fail "sshd: $(tail -n 2 ssh.err)"
	same got sent "what went through sshd"
	look
	stop	# it holds the port
	peer_serve "${sshd[@]}" -p 2223
	peer_ready 2223
	fast timeout 15 "${login[@]}" -p 2223 root@"$THERE" cat <sent >got 2>ssh.err || fail "ssh: $(tail -n 2 ssh.err)"
	same got sent "what went through ssh"
}

slow
row ruby "Ruby: a thread a connection" ruby
ruby()
{
	cat >s.rb <<-'END'
		require 'socket'
		s = TCPServer.new('0.0.0.0', 8000)
		loop { Thread.new(s.accept) { |c| n = c.gets.to_i; c.write(c.read(n)); c.close } }
	END
	serve ruby s.rb
	ready 8000
	random_file sent 1000000
	{ echo 1000000; cat sent; } | peer nc -w 10 "$HERE" 8000 >got
	same got sent "Ruby's echo"
}

slow
row go "Go with cgo: net/http as it is" go gcc curl
go()
{
	cat >s.go <<-'END'
		package main
		import "C"
		import ("io"; "net/http")
		func main() {
			http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
			http.ListenAndServe("0.0.0.0:8000", nil)
		}
	END
	HOME=$LAB_TMP command go build -o s s.go || fail "go build"
	on_kernel "Go's runtime makes its system calls itself: nothing to replace"
	serve "$LAB_TMP/s"
	ready 8000
	random_file sent 500000
	if [ "$MODE" != port ]; then
		peer curl -s -m 20 --data-binary @sent -o got "http://$HERE:8000/" || fail "POST"
	else
		fast curl -s -m 20 --data-binary @sent -o got http://127.0.0.1:8000/ || fail "POST"
	fi
	same got sent "what was posted"
}

# Sockets in C, which the runtime does not see; profiled (SIGPROF, and SIGURG that stops a goroutine), with nil pointers used.
slow
row go-cgo "Go with cgo: the sockets of a C library, profiled, while goroutines fault" go gcc python3
go-cgo()
{
	cat >s.go <<-'END'
		package main
		/*
		#include <netinet/in.h>
		#include <stdlib.h>
		#include <unistd.h>
		static int server(void) {
			struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(8000) };
			int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
			return bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 50) ? -1 : fd;
		}
		static int next(int fd) { return accept(fd, NULL, NULL); }
		static void echo(int fd) {
			char buf[4096];
			for (ssize_t n; (n = read(fd, buf, sizeof(buf))) > 0; )
				for (ssize_t at = 0, put; at < n; at += put)
					if ((put = write(fd, buf + at, n - at)) <= 0) exit(2);
			close(fd);
		}
		*/
		import "C"
		import ("os"; "runtime/pprof")
		func fault() { defer func() { recover() }(); var p *int; *p = 1 }
		func main() {
			out, _ := os.Create("profile")
			pprof.StartCPUProfile(out)
			fd := C.server()
			for i := 0; i < 2; i++ { go func() { for n := 0; n < 3000000; n++ { fault() } }() }
			for { if c := C.next(fd); c >= 0 { go C.echo(c) } else { os.Exit(1) } }
		}
	END
	cat >c.py <<-'END'
		import os, socket, sys, threading
		bad = []
		def client():
		    s = socket.create_connection((sys.argv[1], 8000), 10)
		    s.settimeout(20)
		    for n in range(150):
		        sent, got = os.urandom(1 + n * 20), b''
		        s.sendall(sent)
		        while len(got) < len(sent):
		            part = s.recv(65536)
		            if not part: break
		            got += part
		        if got != sent: bad.append(n); break
		    s.close()
		threads = [threading.Thread(target=client) for _ in range(8)]
		for t in threads: t.start()
		for t in threads: t.join()
		sys.exit(bool(bad))
	END
	HOME=$LAB_TMP command go build -o s s.go || fail "go build"
	serve "$LAB_TMP/s"
	ready 8000
	peer python3 c.py "$HERE" || fail "an echo"
	kill -0 "$LAB_SERVER_PID" || fail "the server has died"
}

slow
row gunicorn "gunicorn: 2 workers" gunicorn curl
gunicorn()
{
	printf '%s\n' 'def app(e, start):' '    start("200 OK", [])' '    return [b"hello\n"]' >web.py
	serve /usr/bin/gunicorn -w 2 -b 0.0.0.0:8000 web:app
	until_answer peer curl -sf -m 2 "http://$HERE:8000/"
	for i in 1 2 3 4 5 6; do
		[ "$(peer curl -s -m 5 "http://$HERE:8000/")" = hello ] || fail "request $i"
	done
}

slow
row xinetd "xinetd: a program a connection" xinetd
xinetd()
{
	printf 'service t\n{\ntype = UNLISTED\nport = 7000\nsocket_type = stream\nprotocol = tcp\nwait = no\nuser = root\n%s\n}\n' \
		'server = /bin/cat' >xinetd.conf
	serve xinetd -dontfork -f "$LAB_TMP/xinetd.conf" -pidfile "$LAB_TMP/x.pid"
	ready 7000
	[ "$(echo hello | peer nc -N -w 5 "$HERE" 7000)" = hello ] || fail "no echo"
}

slow
row sockperf "sockperf: ping-pong over TCP and UDP" sockperf
sockperf()
{
	serve sockperf server --tcp -i 0.0.0.0 -p 11111
	ready 11111
	peer sockperf ping-pong --tcp -i "$HERE" -p 11111 -t 1 >out 2>&1 || fail "TCP: $(tail -n 3 out)"
	stop INT
	serve sockperf server -i 0.0.0.0 -p 11112
	ready 11112 udp
	peer sockperf ping-pong -i "$HERE" -p 11112 -t 1 >out 2>&1 || fail "UDP: $(tail -n 3 out)"
	look
	stop INT
}
