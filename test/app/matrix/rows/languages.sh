# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
# A child that starts slowly gets the server while a connection that went to a worker is still under way.
slow
known node fabric "sometimes the child gets no client of the fabric: its sender had a relay then"
row node "node: http and net, cluster of two workers, child_process, handles sent to a child" node curl python3
node()
{
	cat >child.js <<-'END'
		process.on('message', (what, handle) => {
			if (what == 'server')
				return handle.on('connection', c => c.end('child'));
			handle.write('child: ');
			handle.pipe(handle);
		});
	END
	cat >s.js <<-'END'
		const cluster = require('cluster'), http = require('http'), net = require('net'), cp = require('child_process');
		if (cluster.isPrimary) {
			cluster.fork(); cluster.fork();
			net.createServer(c => c.pipe(c)).listen(8001, '0.0.0.0');
			const child = cp.fork('child.js');
			net.createServer({ pauseOnConnect: true }, c => child.send('socket', c)).listen(8003, '0.0.0.0');
			const never = new Int32Array(new SharedArrayBuffer(4));
			// while it waits, who comes is for the child alone
			const shared = net.createServer(c => { c.end('parent'); Atomics.wait(never, 0, 0, 300); });
			shared.listen(8004, '0.0.0.0', () => child.send('server', shared));
			process.on('SIGTERM', () => {
				for (const w of [child, ...Object.values(cluster.workers)]) w.kill();
				process.exit(0);
			});
		} else
			http.createServer((q, r) => cp.execFile('echo', ['hello'], (e, out) => r.end(e ? String(e) : out)))
				.listen(8000, '0.0.0.0');
	END
	serve node s.js
	until_answer peer curl -sf -m 2 "http://$HERE:8000/"
	for i in 1 2 3 4 5 6; do
		[ "$(peer curl -s -m 5 "http://$HERE:8000/")" = hello ] || fail "request $i"
	done
	[ "$(printf 'echo\n' | peer nc -N -w 5 "$HERE" 8001)" = echo ] || fail "net"
	[ "$(printf 'echo\n' | peer nc -N -w 5 "$HERE" 8003)" = "child: echo" ] || fail "a socket sent to a child"
	cat >all.py <<-'END'
		import socket, sys
		all = [socket.create_connection((sys.argv[1], 8004), 5) for _ in range(8)]
		for s in all:
		    s.settimeout(10)
		    print(s.recv(10, socket.MSG_WAITALL).decode())
	END
	node_answers peer "$HERE" || fail "a server that a child has, too: $(cat answers)"
	if [ "$MODE" = port ]; then
		# one process holds the port; of the kernel's side of the listener the child has its share
		until_answer node_child lab_exec_server 127.0.0.1
	else
		until_answer node_child peer "$HERE"
	fi
}
# node_answers BY ADDRESS: parent and child have the server, and everybody gets an answer.
node_answers()
{
	"$1" python3 all.py "$2" >answers && [ "$(grep -cx 'child\|parent' answers)" = 8 ]
}
node_child()
{
	node_answers "$@" && grep -qx child answers
}

slow
row node-single "node: http server and client, dgram" node curl
node-single()
{
	cat >s.js <<-'END'
		const http = require('http'), u = require('dgram').createSocket('udp4');
		u.on('message', (m, r) => u.send(m, r.port, r.address)); u.bind(8002);
		http.createServer((q, r) => q.pipe(r)).listen(8000);
	END
	serve node s.js
	until_answer peer curl -sf -m 2 "http://$HERE:8000/"
	random_file sent 2000000
	peer curl -s -m 20 --data-binary @sent -o got "http://$HERE:8000/" || fail "POST"
	same got sent "what was posted"
	[ "$(printf dgram | peer nc -u -W 1 -w 5 "$HERE" 8002)" = dgram ] || fail "dgram"
}

slow
row java "Java: HttpServer, NIO, a process builder while 200 connections are open" java curl python3
java()
{
	cat >S.java <<-'END'
		import com.sun.net.httpserver.*; import java.net.*; import java.util.concurrent.*;
		class S { public static void main(String[] a) throws Exception {
			HttpServer s = HttpServer.create(new InetSocketAddress(8000), 200);
			s.createContext("/", x -> { byte[] b = x.getRequestBody().readAllBytes();
				x.sendResponseHeaders(200, b.length == 0 ? -1 : b.length); x.getResponseBody().write(b); x.close(); });
			s.createContext("/run", x -> { byte[] b = new ProcessBuilder("echo", "hello").start().getInputStream().readAllBytes();
				x.sendResponseHeaders(200, b.length); x.getResponseBody().write(b); x.close(); });
			s.setExecutor(Executors.newFixedThreadPool(8)); s.start();
			for (int i = 0; i < 30000000; i++) try { nothing(i % 3 == 0 ? new int[1] : null); } catch (NullPointerException e) { } }
			static int nothing(int[] a) { return a.length; } }	// compiled, that is a SIGSEGV
	END
	# the 201st idle one it would close
	serve java -Dsun.net.httpserver.maxIdleConnections=300 S.java
	until_answer peer curl -sf -m 2 "http://$HERE:8000/"
	random_file sent 2000000
	peer curl -s -m 20 --data-binary @sent -o got "http://$HERE:8000/" || fail "POST"
	same got sent "what was posted"
	java_held
	await test -e held || fail "200 connections: $(cat held.log)"
	case $MODE in
	port | fabric) at_least "$LAB_SERVER_PID" tcp_passive_open 200 ;;
	esac
	for i in 1 2 3; do
		[ "$(peer curl -s -m 10 "http://$HERE:8000/run")" = hello ] || fail "a process"
		# not meant for the process, which closes them all: none becomes the kernel's
		! relays || fail "connections were converted for a process that is not to have them"
	done
	timeout 10 sh -c ': >go'
	wait "$holder" || fail "200 connections: $(cat held.log)"
}
# 200 connections that have had an answer each when the file `held` is there, and get another once `go` is written to.
java_held()
{
	mkfifo go
	cat >held.py <<-'END'
		import socket, sys
		def ask(s):
		    s.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\nkept")
		    got = b""
		    while not got.endswith(b"kept"):
		        part = s.recv(4096)
		        if not part: sys.exit("closed after %r" % got)
		        got += part
		    if not got.startswith(b"HTTP/1.1 200 "): sys.exit("answered %r" % got)
		all = [socket.create_connection((sys.argv[1], 8000), 10) for _ in range(200)]
		for s in all: ask(s)
		open("held", "w").close()
		open("go").read()
		for s in all: ask(s)
	END
	peer python3 held.py "$HERE" >held.log 2>&1 &
	holder=$!
}

slow
row java-client "Java: HttpClient, a large file and 30 requests at once" java python3
java-client()
{
	mkdir -p www
	head -c 3000000 /dev/urandom >www/big
	echo hello >www/small
	peer_serve python3 -c 'import http.server as h, os; os.chdir("www"); h.ThreadingHTTPServer.request_queue_size = 64
h.ThreadingHTTPServer(("0.0.0.0", 8080), h.SimpleHTTPRequestHandler).serve_forever()'
	peer_ready 8080
	cat >C.java <<-'END'
		import java.net.*; import java.net.http.*; import java.nio.file.*; import java.util.stream.*;
		class C { public static void main(String[] a) throws Exception {
			HttpClient c = HttpClient.newHttpClient();
			c.send(HttpRequest.newBuilder(URI.create(a[0] + "/big")).build(), HttpResponse.BodyHandlers.ofFile(Path.of("got")));
			var all = IntStream.range(0, 30).mapToObj(i -> c.sendAsync(HttpRequest.newBuilder(URI.create(a[0] + "/small")).build(),
				HttpResponse.BodyHandlers.ofString())).collect(Collectors.toList());
			for (var f : all) if (!f.get().body().equals("hello\n")) System.exit(3);
			System.exit(0); } }
	END
	fast java C.java "http://$THERE:8080" || fail "HttpClient: $?"
	same got www/big "a large file"
}

slow
row python-tls "Python: ssl and a pool of processes" python3 curl openssl
python-tls()
{
	command openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 2 -subj /CN=here 2>/dev/null
	cat >s.py <<-'END'
		import http.server, multiprocessing, os, signal, ssl
		class Web(http.server.BaseHTTPRequestHandler):
		    def do_POST(self):
		        body = pool.apply(bytes.upper, (self.rfile.read(int(self.headers["Content-Length"])),))
		        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
		        self.wfile.write(body)
		def end(*_): pool.terminate(); os._exit(0)
		pool = multiprocessing.Pool(2)
		signal.signal(signal.SIGTERM, end)
		s = http.server.ThreadingHTTPServer(("0.0.0.0", 8443), Web)
		tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
		tls.load_cert_chain("cert.pem", "key.pem")
		s.socket = tls.wrap_socket(s.socket, server_side=True)
		s.serve_forever()
	END
	serve python3 s.py
	until_answer peer curl -skf -m 2 -d x "https://$HERE:8443/"
	head -c 700000 /dev/zero | tr '\0' a >sent
	tr a A <sent >want
	for i in 1 2 3; do
		peer curl -sk -m 20 --data-binary @sent -H Expect: -o got "https://$HERE:8443/" || fail "POST: $?"
		same got want "what was posted"
	done
}

row python "Python: http.server with a process a request; asyncio and subprocess" python3 curl nc
python()
{
	python_http
	cat >s.py <<-'END'
		import asyncio, subprocess
		async def one(r, w):
		    n = int((await r.readline()).decode() or 0)
		    w.write(await r.readexactly(n) if n else subprocess.check_output(["echo", "hello"]))
		    await w.drain()
		    w.close()
		async def main():
		    async with await asyncio.start_server(one, "0.0.0.0", 8000) as s: await s.serve_forever()
		asyncio.run(main())
	END
	serve python3 s.py
	ready 8000
	[ "$(echo 0 | peer nc -w 5 "$HERE" 8000)" = hello ] || fail "subprocess"
	random_file sent 1000000
	{ echo 1000000; cat sent; } | peer nc -w 10 "$HERE" 8000 >got
	same got sent "asyncio's echo"
}
python_http()
{
	mkdir www
	echo hello >www/index.html
	head -c 1000000 /dev/urandom >www/big
	cat >web.py <<-'END'
		import http.server, os, socketserver
		class Web(http.server.SimpleHTTPRequestHandler):
		    def end_headers(self):
		        self.send_header("PID", str(os.getpid()))
		        super().end_headers()
		class Server(socketserver.ForkingMixIn, http.server.HTTPServer): pass
		os.chdir("www")
		Server(("0.0.0.0", 8000), Web).serve_forever()
	END
	serve python3 web.py
	ready 8000
	for i in 1 2 3; do
		[ "$(peer curl -s -m 5 -D "head$i" "http://$HERE:8000/")" = hello ] || fail "request $i of http.server"
	done
	[ "$(grep -h '^PID: ' head? | sort -u | wc -l)" = 3 ] || fail "not a process a request: $(grep -h '^PID: ' head?)"
	peer curl -s -m 20 --parallel -o 'got#1' "http://$HERE:8000/big?[1-4]" || fail "http.server: $?"
	for i in 1 2 3 4; do
		same "got$i" www/big "what http.server sent"
	done
	look
	stop	# it holds the port
}

row openssl "openssl s_server and s_client" openssl
openssl()
{
	command openssl req -x509 -newkey rsa:2048 -nodes -keyout k -out c -days 2 -subj /CN=here 2>/dev/null
	serve openssl s_server -accept 4433 -key k -cert c -www
	ready 4433
	peer curl -sk -m 10 "https://$HERE:4433/" | grep -q s_server || fail "s_server"
	look
	stop	# it holds the port
	peer_serve openssl s_server -accept 4434 -key k -cert c -www
	peer_ready 4434
	printf 'GET / HTTP/1.0\r\n\r\n' | fast openssl s_client -ign_eof -connect "$THERE:4434" 2>/dev/null | grep -q s_server ||
		fail "s_client"
}

row bash "bash: /dev/tcp" bash python3
bash()
{
	mkdir www
	echo hello >www/index.html
	peer_serve python3 -m http.server 8080 -d www
	peer_ready 8080
	fast bash -c "exec 3<>/dev/tcp/$THERE/8080; printf 'GET / HTTP/1.0\r\n\r\n' >&3; cat <&3" | grep -q hello || fail "no answer"
}
