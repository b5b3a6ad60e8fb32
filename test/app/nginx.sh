# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The main job: nginx with master and one worker, daemon on, on each kind of port: curl, a large file, wrk, ab;
# clients of the kernel's side at the same time; no processor time while a connection idles; an orderly end.
lab_need nginx curl wrk ab nc ss
for pmd in af_packet af_xdp tap; do
	lab_make $pmd
	lab_offloads off
	nginx_conf 1 on
	under_fastnet nginx -c "$LAB_TMP/nginx.conf"
	await test -s "$LAB_TMP/nginx.pid" || fail "$pmd: nginx does not start"
	await lab_exec_client curl -sf -m 2 "http://$LAB_SERVER_IP/hello" || fail "$pmd: no answer"
	worker=$(nginx_workers)

	[ "$(lab_exec_client curl -s "http://$LAB_SERVER_IP/")" = "hello from nginx" ] || fail "$pmd: wrong page"
	lab_exec_client curl -s "http://$LAB_SERVER_IP/big" | cmp - "$LAB_TMP/www/big" || fail "$pmd: large file damaged"
	lab_exec_client wrk -t1 -c64 -d1s "http://$LAB_SERVER_IP/1k" >"$LAB_TMP/wrk" || fail "$pmd: wrk"
	! grep -qE 'Socket errors|Non-2xx' "$LAB_TMP/wrk" || fail "$pmd: wrk: $(cat "$LAB_TMP/wrk")"
	lab_exec_client ab -q -c 16 -n 2000 "http://$LAB_SERVER_IP/hello" >"$LAB_TMP/ab" 2>&1 || fail "$pmd: ab"
	grep -q '^Failed requests: *0' "$LAB_TMP/ab" || fail "$pmd: ab: $(cat "$LAB_TMP/ab")"
	kernel_has_no_connection 80
	at_least "$worker" tcp_passive_open 2000
	at_least "$worker" tcp_bytes_out 20000000

	[ "$(lab_exec_server curl -s http://127.0.0.1/hello)" = hello ] || fail "$pmd: the kernel's side does not answer"

	ip netns exec "$LAB_CLIENT_NS" nc -d "$LAB_SERVER_IP" 80 &
	idle=$!
	await sh -c "ip netns exec $LAB_CLIENT_NS ss -Htn state established '( dport = :80 )' | grep -q ." || fail "$pmd: no connection"
	before=$(lab_cpu_ticks "$worker")
	read -r -t 1 <> <(:) || :
	after=$(lab_cpu_ticks "$worker")
	[ $((after - before)) -le 3 ] || fail "$pmd: $((after - before)) ticks in a second of nothing to do"
	kill "$idle"
	wait "$idle"
	stop_nginx
done
