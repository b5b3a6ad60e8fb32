# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Processes of different users, privileged or not, talk through shared memory: what they say is right, and neither maps
# anything of the other's but the memory that is for their pair. Those of one user share.
lab_need redis-server redis-cli redis-benchmark nginx python3 /usr/bin/python3 setpriv
fabric_make
chmod 755 "$LAB_TMP"
touch "$LAB_TMP/fastnet.log"
chmod 666 "$LAB_TMP/fastnet.log"
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
as()	# as USER CMD…: under the library
{
	ip netns exec "$LAB_CLIENT_NS" setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups "$RUN" "${@:2}"
}
as_start()	# likewise, in the background
{
	ip netns exec "$LAB_CLIENT_NS" setpriv --reuid="$1" --regid="$(id -g "$1")" --clear-groups "$RUN" "${@:2}" <&0 &
	lab_pids+=("$!")
}
# A server that echoes, and says who it is; a client that stays until its input ends.
cat >"$LAB_TMP/echo.py" <<'END'
import os, socket, sys, threading
l = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", flush=True)
def serve(c):
    while d := c.recv(100000):
        c.sendall(d)
while True:
    threading.Thread(target=serve, args=l.accept()[:1], daemon=True).start()
END
cat >"$LAB_TMP/ask.py" <<'END'
import os, random, socket, sys, threading
port, total = int(sys.argv[1]), int(sys.argv[2])
def talk(s, data):
    t = threading.Thread(target=s.sendall, args=(data,))
    t.start()
    got = bytearray()
    while len(got) < len(data):
        d = s.recv(1 << 20)
        if not d:
            break
        got += d
    t.join()
    return got == data
ok = True
keep = []
for n in (1, 100, 441, 5000, 100000, total):
    s = socket.create_connection(("127.0.0.1", port))
    ok &= talk(s, random.randbytes(n)) and talk(s, b"again" * 300)
    keep.append(s)
print("right" if ok else "wrong", os.getpid(), flush=True)
sys.stdin.read()
END
# memory PID NAME: the inodes of what it maps by that name
memory()
{
	awk -v n="/memfd:fastnet-$2" '$6 == n { print $5 }' "/proc/$1/maps" | sort -u
}
common()	# common PID PID NAME: how many memory files of that name both map
{
	comm -12 <(memory "$1" "$3") <(memory "$2" "$3") | wc -l
}
# pair SERVER_USER CLIENT_USER PORT: a server's and a client's memory while they talk
pair()
{
	local server client said

	rm -f "$LAB_TMP/in"
	mkfifo "$LAB_TMP/in"
	exec 8<>"$LAB_TMP/in"
	as_start "$1" /usr/bin/python3 "$LAB_TMP/echo.py" "$3" >"$LAB_TMP/echo.$3"
	await grep -q ready "$LAB_TMP/echo.$3" || fail "the echo of $1 does not listen"
	server=$(lab_exec_client ss -Hltnp "sport = :$3" | sed -nE 's/.*pid=([0-9]+).*/\1/p')
	as_start "$2" /usr/bin/python3 "$LAB_TMP/ask.py" "$3" 10000000 <"$LAB_TMP/in" >"$LAB_TMP/ask.$3" 8>&-
	await grep -q . "$LAB_TMP/ask.$3" || fail "$2 gets no answer from $1"
	read -r said client <"$LAB_TMP/ask.$3"
	[ "$said" = right ] || fail "what $2 hears of $1 is $said"
	at_least "$server" tcp_passive_open 6
	[ "$(common "$server" "$client" channel)" = 1 ] || fail "$1 and $2 share $(common "$server" "$client" channel) channels"
	shared=$(common "$server" "$client" payload) alone=$(common "$server" "$client" alone)
	[ -n "$(memory "$server" payload)" ] && [ -n "$(memory "$client" payload)" ] || fail "a process without payload memory"
	# the server keeps the page, for other images to which its listener may go
	find "/proc/$server/fd" "/proc/$client/fd" -lname '*memfd:fastnet-*' -printf '%l\n' | grep -vE 'fastnet-(payload|arena|page)' &&
		fail "a descriptor of what was handed over stays"
	exec 8>&-
}
pair daemon nobody 7001
[ "$shared $alone" = "0 2" ] || fail "daemon and nobody share $shared payload memories, and have $alone of their pair"
pair root nobody 7002
[ "$shared $alone" = "0 2" ] || fail "root and nobody share $shared payload memories, and have $alone of their pair"
pair nobody root 7003
[ "$shared $alone" = "0 2" ] || fail "nobody and root share $shared payload memories, and have $alone of their pair"
pair daemon daemon 7004
[ "$shared $alone" = "2 0" ] || fail "daemon and daemon share $shared payload memories, and have $alone of their pair"

# A client that becomes somebody else: whom it meets from then on does not see what it had as the other.
cat >"$LAB_TMP/become.py" <<'END'
import os, socket, sys
def talk(port):
    s = socket.create_connection(("127.0.0.1", port), 20)
    s.sendall(b"root's own " * 2000)
    n = 22000
    while n:
        n -= len(s.recv(n)) or sys.exit("end of file")
    return s
keep = [talk(int(sys.argv[1])), talk(int(sys.argv[1]))]
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
keep += [talk(int(port)) for port in sys.argv[1:]]
print("became", os.getpid(), flush=True)
sys.stdin.read()
END
pid_of()
{
	lab_exec_client ss -Hltnp "sport = :$1" | sed -nE 's/.*pid=([0-9]+).*/\1/p'
}
as_start root /usr/bin/python3 "$LAB_TMP/echo.py" 7005 >"$LAB_TMP/echo.7005"
as_start nobody /usr/bin/python3 "$LAB_TMP/echo.py" 7006 >"$LAB_TMP/echo.7006"
await grep -q ready "$LAB_TMP/echo.7005" && await grep -q ready "$LAB_TMP/echo.7006" || fail "no servers"
exec 8<>"$LAB_TMP/in"
as_start root /usr/bin/python3 "$LAB_TMP/become.py" 7005 7006 <"$LAB_TMP/in" >"$LAB_TMP/became" 8>&-
await grep -q became "$LAB_TMP/became" || fail "a client that becomes somebody else gets no answer"
client=$(sed -n 's/became //p' "$LAB_TMP/became")
at_least "$(pid_of 7005)" tcp_passive_open 3
at_least "$(pid_of 7006)" tcp_passive_open 1
[ "$(common "$(pid_of 7005)" "$client" payload)" = 2 ] || fail "root and root do not share"
own=$(awk '$2 == "rw-s" && $6 == "/memfd:fastnet-payload" { print $5 }' "/proc/$client/maps")
[ -n "$own" ] && memory "$(pid_of 7006)" payload | grep -qx "$own" && fail "nobody maps the payload memory of one who was root"
[ "$(common "$(pid_of 7006)" "$client" alone)" = 1 ] || fail "what one who was root says to nobody is not in memory of its own"
[ "$(common "$(pid_of 7005)" "$client" alone)" = 2 ] || fail "whoever is not root any more is met anew"
exec 8>&-

# redis as its own user, clients of another.
mkdir "$LAB_TMP/redis"
chown redis "$LAB_TMP/redis"
as_start redis redis-server --port 6379 --bind 127.0.0.1 --dir "$LAB_TMP/redis" --save '' >/dev/null
await lab_exec_client redis-cli ping || fail "no redis"
pid=$(lab_exec_client redis-cli info server | tr -d '\r' | sed -n 's/^process_id://p')
head -c 3000000 /dev/urandom | base64 -w0 >"$LAB_TMP/value"
before=$(counter "$pid" tcp_passive_open)
as nobody redis-cli -x set big <"$LAB_TMP/value" >/dev/null
as nobody redis-cli get big | head -c "$(stat -c %s "$LAB_TMP/value")" | cmp - "$LAB_TMP/value" ||
	fail "a large value came back damaged"
as www-data redis-benchmark -q -t get,set,lrange_100 -n 3000 -c 50 -P 16 >/dev/null ||
	fail "redis-benchmark"
[ $(($(counter "$pid" tcp_passive_open) - before)) -ge 150 ] || fail "not through shared memory"
[ "$(memory "$pid" payload | wc -l)" = 1 ] || fail "redis maps the payload memory of others"

# nginx: the master's name, the workers of another user who answer, root's client.
nginx_conf 2 off
chown www-data "$LAB_TMP/www"
fabric_serve nginx -c "$LAB_TMP/nginx.conf"
await lab_exec_client /usr/bin/python3 -c 'import socket; socket.create_connection(("127.0.0.1", 80), 2)' || fail "no nginx"
cat >"$LAB_TMP/get.py" <<'END'
import http.client, sys
n = 0
for i in range(20):
    c = http.client.HTTPConnection("127.0.0.1", 80, timeout=20)
    c.request("GET", "/big" if i % 10 == 0 else "/1k")
    n += len(c.getresponse().read())
print(n)
END
for user in root nobody; do
	[ "$(as $user /usr/bin/python3 "$LAB_TMP/get.py")" = $((2 * 20000000 + 18 * 1024)) ] || fail "nginx and $user"
done
n=0
for pid in $(nginx_workers); do
	n=$((n + $(counter "$pid" tcp_passive_open)))
	[ "$(ps -o user= -p "$pid")" = www-data ] || fail "a worker is $(ps -o user= -p "$pid")"
	[ "$(memory "$pid" payload | wc -l)" = 1 ] || fail "a worker maps the payload memory of others"
done
[ $n -ge 40 ] || fail "$n connections of nginx through shared memory"
stop_nginx
