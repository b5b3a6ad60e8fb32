# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Programs that hand a connection to another program: bash's /dev/tcp with a dup2 for each redirection, socat's children.
lab_need bash socat nc cmp
lab_make af_packet
lab_offloads off

printf 'one\ntwo\nthree\n' | lab_exec_client timeout 20 nc -l -p 9001 -N >"$LAB_TMP/received" &
peer=$!
await sh -c "ip netns exec $LAB_CLIENT_NS ss -Hltn 'sport = :9001' | grep -q ." || fail "nc does not listen"
# shellcheck disable=SC2016
said=$(lab_exec_server timeout 20 "$RUN" --nic "$LAB_SPEC" bash -c '
	exec 3<>"/dev/tcp/$1/9001"
	echo hello >&3
	read -r x <&3
	read -r y <&3
	echo "$x $y" >&3
	cat <&3' bash "$LAB_CLIENT_IP") || fail "bash: status $?"
wait "$peer"
[ "$said" = three ] || fail "bash has read: $said"
[ "$(cat "$LAB_TMP/received")" = "hello
one two" ] || fail "bash has written: $(cat "$LAB_TMP/received")"

head -c 1000000 /dev/urandom >"$LAB_TMP/in"
for way in EXEC:cat EXEC:cat,nofork; do
	under_fastnet socat TCP-LISTEN:7001,fork,reuseaddr "$way"
	lab_await_port 7001 || fail "socat does not listen"
	for i in 1 2 3; do
		timeout 20 ip netns exec "$LAB_CLIENT_NS" nc -N "$LAB_SERVER_IP" 7001 <"$LAB_TMP/in" |
			cmp - "$LAB_TMP/in" || fail "$way: what came back differs ($i)"
	done
	kernel_has_no_connection 7001
	lab_stop_server
done
exit 0
