# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
row memcached "memcached -t 4 as nobody: 20 connections, TCP and UDP" memcached python3
memcached()
{
	FASTNET_EARLY_OPEN=yes serve memcached -u nobody -t 4 -p 11211 -l 0.0.0.0 -U 11211
	ready 11211
	peer python3 - "$HERE" <<-'END' || fail "a client failed"
		import socket, sys, threading
		failed = []
		def work(k):
		    try:
		        s = socket.create_connection((sys.argv[1], 11211), timeout=10)
		        f = s.makefile("rb")
		        for i in range(200):
		            v = (b"%d." % k) * (100 + 200 * (i % 20))
		            s.sendall(b"set k%d 0 0 %d\r\n%s\r\nget k%d\r\n" % (k, len(v), v, k))
		            want = b"STORED\r\nVALUE k%d 0 %d\r\n%s\r\nEND\r\n" % (k, len(v), v)
		            if f.read(len(want)) != want: raise ValueError("wrong answer")
		        u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		        u.settimeout(5)
		        u.connect((sys.argv[1], 11211))
		        for i in range(20):
		            u.send(bytes([0, i, 0, 0, 0, 1, 0, 0]) + b"version\r\n")
		            got = u.recv(2000)
		            if got[:2] != bytes([0, i]) or not got[8:].startswith(b"VERSION"): raise ValueError("UDP")
		    except Exception as e:
		        failed.append((k, e))
		threads = [threading.Thread(target=work, args=(k,)) for k in range(20)]
		for t in threads: t.start()
		for t in threads: t.join()
		if failed: sys.exit(str(failed))
	END
}
