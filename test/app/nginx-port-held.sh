# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# One family of processes holds a port. A second worker is told who, serves its kernel sockets, and takes the port when the
# first has gone; a reload ends with the new worker on the port.
lab_need nginx curl
lab_make af_packet
lab_offloads off
nginx_conf 2 on
under_fastnet nginx -c "$LAB_TMP/nginx.conf"
await lab_exec_client curl -sf -m 2 "http://$LAB_SERVER_IP/hello" || fail "no answer"
await grep -q "is held by PID" "$LAB_TMP/fastnet.log" || fail "the second worker was not told who holds the port"
holder=$(sed -nE 's/.*held by PID ([0-9]+).*/\1/p' "$LAB_TMP/fastnet.log" | head -1)
nginx_workers | grep -qx "$holder" || fail "PID $holder does not hold the port: $(nginx_workers)"
[ "$(lab_exec_server curl -s http://127.0.0.1/hello)" = hello ] || fail "the kernel's side does not answer"
kill -KILL "$holder"
await lab_exec_client curl -sf -m 1 "http://$LAB_SERVER_IP/hello" || fail "nobody took the port when it was free"
kill -HUP "$(cat "$LAB_TMP/nginx.pid")"
await lab_exec_client curl -sf -m 1 "http://$LAB_SERVER_IP/hello" || fail "no answer after the reload"
stop_nginx
