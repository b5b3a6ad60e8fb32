# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A client that has written more than the server's window takes, and then does something else than calling its sockets: the
# server has all of it long before the client comes back, and the end too when the client has shut its half down. Whether the
# server accepts before or after the client has written, whether it has written as much itself, which the client then has of a
# server that does something else, and whether they are of one user or of two.
fabric_make

cat >"$LAB_TMP/ends.py" <<'PY'
import os, signal, socket, sys
BYTES = 1000000
TEXT = b"".join(b"%09d\n" % i for i in range(BYTES // 10))
what, how, directory = sys.argv[1:4]
def mark(name, text=""):
    with open(os.path.join(directory, name + ".new"), "w") as f: f.write(text)
    os.rename(os.path.join(directory, name + ".new"), os.path.join(directory, name))
def wait_for(name):
    import time
    while not os.path.exists(os.path.join(directory, name)): time.sleep(0.002)
signal.alarm(30)
if what == "server":
    l = socket.socket(); l.bind(("127.0.0.1", 0)); l.listen()
    mark("port", str(l.getsockname()[1]))
    if how == "late":
        wait_for("written")
    c, _ = l.accept()
    if how == "both":
        c.sendall(TEXT)
    got = 0
    while got < BYTES + (how == "shut"):
        part = c.recv(65536)
        if not part: break
        assert part == TEXT[got:got + len(part)]
        got += len(part)
    print("server has", got, "before the client goes on" if not os.path.exists(os.path.join(directory, "on")) else "late")
    mark("read")
    if how == "both":
        wait_for("done")	# likewise
        assert c.recv(9) == b"more"
    c.close()
else:
    wait_for("port")
    if len(sys.argv) > 4: os.setuid(int(sys.argv[4]))
    c = socket.socket()
    c.connect(("127.0.0.1", int(open(os.path.join(directory, "port")).read())))
    c.sendall(TEXT)
    if how == "shut": c.shutdown(socket.SHUT_WR)
    mark("written")
    wait_for("read")	# without a call on a socket
    mark("on")
    if how == "both":
        got = 0
        while got < BYTES:
            part = c.recv(65536)
            assert part and part == TEXT[got:got + len(part)]
            got += len(part)
        c.send(b"more")
        mark("done")
    c.close()
PY

# case HOW [UID]
ends()
{
	local dir=$LAB_TMP/$1-${2:-own} server client

	mkdir -m 777 "$dir"
	fabric_start python3 "$LAB_TMP/ends.py" server "$1" "$dir" >"$dir/out"
	server=$!
	fabric_start python3 "$LAB_TMP/ends.py" client "$1" "$dir" ${2:+"$2"}
	client=$!
	wait "$client" && wait "$server" || fail "$1 ${2:-}: $(cat "$dir/out") client or server has not come to its end"
	[ "$(cat "$dir/out")" = "server has 1000000 before the client goes on" ] || fail "$1 ${2:-}: $(cat "$dir/out")"
}

chmod 755 "$LAB_TMP"
for how in early late shut both; do
	ends $how
done
ends late 65534
ends both 65534
# who has become another user cannot write to the log
[ "$(grep -c "FABRIC_LISTEN 1 tcp_passive_open 1" "$LAB_TMP/fastnet.log")" = 6 ] || fail "the connections were not the fabric's"
