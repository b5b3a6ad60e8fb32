# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A process with threads that serve connections forks again and again meanwhile, by fork() and by clone(2): children that
# end at once, close what they have first, talk on a connection of their own, or are killed. Not a byte is lost, every
# connection stays on the stack, and descriptors, mappings, threads, sockets and buffers are as many as before.
lab_need python3
lab_make af_packet
lab_offloads off
forks=240 limit=280
[ -z "$LONG" ] || forks=10000 limit=1100
server=$BUILD/test/app/forker/server
[ -x "$server" ] || lab_skip "$server is not built"
under_fastnet "$server" 8000
lab_await_port 8000 || fail "the server does not answer"
cat >"$LAB_TMP/client.py" <<'END'
import os, socket, sys, threading
forks, served, over, wrong = int(sys.argv[1]), 0, False, []
def connect(what):
    c = socket.create_connection(("10.9.0.2", 8000), timeout=30)
    c.sendall(what)
    return c
def load(c):
    global served
    try:
        while not over:
            data, got = os.urandom(5000), b""
            c.sendall(data)
            while len(got) < len(data):
                d = c.recv(65536)
                assert d, "a connection ended"
                got += d
            assert got == data, "other bytes came back"
            served += 1
    except Exception as e:
        wrong.append(e)
def counts(want=b""):
    c = connect(b"c")
    c.sendall(want + b"\n")
    text, maps = c.recv(1000).split(b"; ")
    return text, int(maps.split()[0])
def whole(n):
    c, text = connect(b"f"), b""
    c.settimeout(1000)
    c.sendall(b"%d" % n)
    while not text.endswith(b"done\n"):
        d = c.recv(65536)
        assert d, "the one that forks has ended"
        text += d
    heard = text.count(b"child\n")
    assert heard == (n + 2) // 5, "%d children were heard" % heard
    c.close()
conns = [connect(b"e") for i in range(6)]
threads = [threading.Thread(target=load, args=(c,)) for c in conns]
for t in threads:
    t.start()
whole(20)		# whatever is made once is made
before = counts()
whole(forks)
after = counts(before[0])
over = True
for t in threads:
    t.join()
assert not wrong, wrong
assert before[0] == after[0], "%s, then %s" % (before, after)
# libc's allocator makes and splits some, whatever forks
assert after[1] - before[1] < min(50, forks), "mappings: %d, then %d" % (before[1], after[1])
print("forked", forks, "times while", served, "answers of 5000 bytes came;", after)
END
lab_exec_client timeout $limit python3 "$LAB_TMP/client.py" $forks || fail "the client says so"
kernel_has_no_connection 8000
at_least "$LAB_SERVER_PID" images_died $((forks / 5))
# killed ones among them; and every connection has gone
alone()
{
	[ "$(lab_exec_server "$STAT" "$LAB_SERVER_PID" | awk '$2 == "tcp_sockets" { print $1 }')" = 1 ]
}
await alone || fail "sockets are left: $(lab_exec_server "$STAT" "$LAB_SERVER_PID")"
