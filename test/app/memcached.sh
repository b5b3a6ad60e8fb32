# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# memcached -t 4: threads with a set each, connections handed over between them; privileges dropped before it listens.
lab_need memcached python3
lab_make af_xdp
FASTNET_EARLY_OPEN=yes under_fastnet memcached -u nobody -t 4 -p 11211 -l 0.0.0.0 -U 0
await lab_exec_client nc -z -w1 "$LAB_SERVER_IP" 11211 || fail "no answer"
timeout 60 ip netns exec "$LAB_CLIENT_NS" python3 - "$LAB_SERVER_IP" <<-'END' || fail "a client failed"
	import socket, sys, threading
	failed = []
	def work(k):
	    try:
	        s = socket.create_connection((sys.argv[1], 11211), timeout=10)
	        f = s.makefile("rb")
	        for i in range(300):
	            v = (b"%d." % k) * 100
	            s.sendall(b"set k%d 0 0 %d\r\n%s\r\nget k%d\r\n" % (k, len(v), v, k))
	            want = b"STORED\r\nVALUE k%d 0 %d\r\n%s\r\nEND\r\n" % (k, len(v), v)
	            if f.read(len(want)) != want: raise ValueError("wrong answer")
	    except Exception as e:
	        failed.append((k, e))
	threads = [threading.Thread(target=work, args=(k,)) for k in range(20)]
	for t in threads: t.start()
	for t in threads: t.join()
	if failed: sys.exit(str(failed))
END
at_least "$LAB_SERVER_PID" tcp_passive_open 20
at_least "$LAB_SERVER_PID" tcp_fast 3000
