# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash disable=SC2034,SC2154
haproxy_conf()	# haproxy_conf GLOBAL-LINE…
{
	mkdir -p www
	echo hello >www/index.html
	head -c 3000000 /dev/urandom >www/big
	peer_serve python3 -m http.server 8080 -d www
	peer_ready 8080
	{
		printf 'global\n'
		printf '\t%s\n' "$@"
		cat <<-END
			defaults
				mode http
				timeout connect 5s
				timeout client 20s
				timeout server 20s
			frontend web
				bind :80
				default_backend there
			frontend plain
				mode tcp
				bind :81
				default_backend plain
			backend there
				server s1 $THERE:8080 check inter 200ms
			backend plain
				mode tcp
				server s1 $THERE:8080
		END
	} >haproxy.cfg
}

haproxy_works()
{
	local port

	for port in 80 81; do
		until_answer peer curl -sf -m 2 -o /dev/null "http://$HERE:$port/"
		[ "$(peer curl -s "http://$HERE:$port/")" = hello ] || fail "wrong page on port $port"
		peer curl -s -o got "http://$HERE:$port/big" || fail "a large file on port $port"
		same got www/big "a large file on port $port"
	done
	peer ab -q -c 8 -n 200 "http://$HERE/" >ab.out 2>&1 || fail "ab: $(cat ab.out)"
	grep -q '^Failed requests: *0' ab.out || fail "ab: $(cat ab.out)"
}

row haproxy "HAProxy in front of a server on the other side: HTTP and TCP, health checks, threads" haproxy curl ab python3
haproxy()
{
	haproxy_conf "maxconn 500"
	serve /usr/sbin/haproxy -db -f haproxy.cfg
	haproxy_works
}

row haproxy-user "HAProxy, master-worker, as user haproxy in a chroot" haproxy curl ab python3
haproxy-user()
{
	mkdir empty
	haproxy_conf "maxconn 500" "user haproxy" "group haproxy" "chroot $LAB_TMP/empty"
	serve /usr/sbin/haproxy -Ws -f haproxy.cfg
	haproxy_works
	stop USR1
}

row haproxy-reload "HAProxy: reload of the master (SIGUSR2), listeners handed over with -x" haproxy curl ab python3
haproxy-reload()
{
	haproxy_conf "maxconn 500" "stats socket $LAB_TMP/stats mode 600 level admin expose-fd listeners"
	serve /usr/sbin/haproxy -W -S "$LAB_TMP/master" -f haproxy.cfg -x "$LAB_TMP/stats"
	haproxy_works
	old=$(pgrep -P "$LAB_SERVER_PID" | head -1)
	kill -USR2 "$LAB_SERVER_PID"
	lab_await_exit "$old" 10 || fail "the old worker stays"
	haproxy_works
	haproxy_works
}
