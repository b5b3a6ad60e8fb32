# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# python3 -m http.server: a thread a connection, blocking calls, select in the acceptor.
lab_need python3 curl
lab_make af_packet
lab_offloads off
mkdir "$LAB_TMP/www"
head -c 5000000 /dev/urandom >"$LAB_TMP/www/file"
under_fastnet python3 -m http.server 8000 --directory "$LAB_TMP/www"
await lab_exec_client curl -sf -m 2 -o /dev/null "http://$LAB_SERVER_IP:8000/" || fail "no answer"
pids=()
for i in 1 2 3 4 5 6; do
	lab_exec_client curl -sf -m 30 -o "$LAB_TMP/got$i" "http://$LAB_SERVER_IP:8000/file" &
	pids+=($!)
done
wait "${pids[@]}"
for i in 1 2 3 4 5 6; do
	cmp "$LAB_TMP/got$i" "$LAB_TMP/www/file" || fail "file $i damaged"
done
pid=$(pgrep -P "$LAB_SERVER_PID" python3 || echo "$LAB_SERVER_PID")
at_least "$pid" tcp_bytes_out 30000000
at_least "$pid" tcp_passive_open 6
