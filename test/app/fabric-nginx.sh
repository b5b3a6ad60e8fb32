# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# nginx with four workers of another user, through shared memory: reloaded again and again under load without a failed
# request; a worker that is killed takes its own connections with it, and nobody else's.
lab_need nginx ab curl python3 ss
fabric_make
nginx_conf 4 on
fabric_serve nginx -c "$LAB_TMP/nginx.conf"
await test -s "$LAB_TMP/nginx.pid" || fail "nginx does not start"
await lab_exec_client curl -sf -m 2 http://127.0.0.1/hello || fail "no answer"
master=$(cat "$LAB_TMP/nginx.pid")
[ "$(on_fabric curl -s http://127.0.0.1/)" = "hello from nginx" ] || fail "wrong page"
on_fabric curl -s http://127.0.0.1/big | cmp - "$LAB_TMP/www/big" || fail "large file damaged"

reloads=4
[ -z "$LONG" ] || reloads=20
for ((i = 0; i < reloads; i++)); do
	fabric_start ab -q -s 20 -c 16 -n 4000 http://127.0.0.1/hello >"$LAB_TMP/ab" 2>&1
	load=$!
	before=$(nginx_workers)
	kill -HUP "$master"
	# shellcheck disable=SC2086
	await sh -c "! kill -0 $(echo $before) 2>/dev/null" || fail "old workers stay"
	wait "$load" || fail "ab at reload $i: $(cat "$LAB_TMP/ab")"
	grep -q '^Failed requests: *0' "$LAB_TMP/ab" || fail "reload $i: $(cat "$LAB_TMP/ab")"
done
[ "$(reason_of FABRIC ab)" -ge 4000 ] || fail "not through shared memory: $(cat "$LAB_TMP/fastnet.log")"

cat >"$LAB_TMP/load.py" <<'END'
import socket, sys
bad = 0
for line in sys.stdin:
    for i in range(50):
        try:
            s = socket.create_connection(('127.0.0.1', 80), 20)
            s.sendall(b'GET /hello HTTP/1.0\r\n\r\n')
            got = b''
            while True:
                d = s.recv(1000)
                if not d:
                    break
                got += d
            bad += b'200 OK' not in got
        except ConnectionResetError:
            bad += 1
    print(bad, flush=True)
END
coproc LOAD { exec ip netns exec "$LAB_CLIENT_NS" "$RUN" python3 "$LAB_TMP/load.py"; }
for ((i = 0; i < 4; i++)); do
	echo go >&"${LOAD[1]}"
	victim=$(nginx_workers | head -1)
	kill -9 "$victim"
	read -r -t 60 bad <&"${LOAD[0]}" || fail "requests hang after a worker was killed"
	# one client, one request at a time: a worker has one connection
	[ "$bad" -le $((i + 1)) ] || fail "$bad requests failed with $((i + 1)) workers"
done
eval "exec ${LOAD[1]}>&-"
stop_nginx
