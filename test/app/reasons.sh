# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# What fastnet-stat tells of sockets that stay with the kernel: IPv6 destinations have their reason, a datagram socket is
# asked about once a destination and recorded once a reason, and an inert library says that it is one. No port is opened.
lab_need python3
LAB_TMP=$(mktemp -d)
trap 'rm -rf "$LAB_TMP"' EXIT
mkfifo "$LAB_TMP/ready" "$LAB_TMP/go"
exec 7<>"$LAB_TMP/go"

# subject SCRIPT [VARIABLE=VALUE…]: a python program under the library that waits when it is through; its PID in $pid.
subject()
{
	local script=$1

	shift
	env "$@" LD_PRELOAD="$BUILD/.libs/libfastnet.so" FASTNET_LOG="$LAB_TMP/fastnet.log" \
		FASTNET_NIC="dpdk:net_af_packet0,iface=none address=10.77.0.2/24" \
		python3 -c "$script"'
open("'"$LAB_TMP"'/ready", "w").write("x")
open("'"$LAB_TMP"'/go").read(1)' <&7 &
	pid=$!
	read -r -n 1 _ <"$LAB_TMP/ready"
}

# decisions KEY…: those keys of each decision, a line each.
decisions()
{
	"$STAT" --json "$pid" | python3 -c '
import json, sys
for d in json.load(sys.stdin)[0]["decisions"]:
    print(*(d.get(k) for k in sys.argv[1:]))' "$@"
}

finish()
{
	echo >&7
	wait "$pid" || fail "the program failed"
}

subject '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(100):
    s.sendto(b"x", ("127.0.0.1", 9 + i % 2))
t = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
t.connect_ex(("::1", 1))
u = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for i in range(100):
    u.sendto(b"x", ("::1", 9))
v = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v.bind(("::1", 0))
assert [x.fileno() for x in (s, t, u, v)] == [3, 4, 5, 6], s'
decisions fd reason >"$LAB_TMP/got"
diff - "$LAB_TMP/got" <<'END' || fail "other decisions than expected"
3 LOCAL
4 IP6
5 IP6
6 IP6
END
finish

subject 'pass' FASTNET_DISABLE=1
"$STAT" "$pid" >"$LAB_TMP/got" 2>&1
grep -q "loaded but inert" "$LAB_TMP/got" || fail "a disabled library is not told: $(cat "$LAB_TMP/got")"
finish
