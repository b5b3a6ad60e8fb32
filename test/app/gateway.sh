# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# Who takes a destination outside of the port's net: the port by its gateway; the kernel where its routing table has
# something better than a default route, unless the socket or a rule names the port; nobody when neither has a route.
lab_need python3
lab_make af_packet
lab_offloads off
lab_exec_client ip addr add 10.66.0.1/32 dev lo
# the kernel's own way there
ip link add "fd$$" netns "$LAB_CLIENT_NS" type veth peer name "fe$$" netns "$LAB_SERVER_NS"
ip -n "$LAB_CLIENT_NS" addr add 10.7.0.1/24 dev "fd$$"
ip -n "$LAB_CLIENT_NS" link set "fd$$" up
ip -n "$LAB_SERVER_NS" addr add 10.7.0.2/24 dev "fe$$"
ip -n "$LAB_SERVER_NS" link set "fe$$" up

# The far end tells each client who it is: TCP and UDP.
cat >"$LAB_TMP/far.py" <<'END'
import select, socket
s = socket.create_server(("10.66.0.1", 8003))
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
u.bind(("10.66.0.1", 8003))
print("ready", flush=True)
while True:
    for r in select.select([s, u], [], [])[0]:
        if r is s:
            c, a = s.accept()
            c.sendall(a[0].encode())
            c.close()
        else:
            a = u.recvfrom(100)[1]
            u.sendto(a[0].encode(), a)
END
ip netns exec "$LAB_CLIENT_NS" python3 "$LAB_TMP/far.py" >"$LAB_TMP/far.log" 2>&1 &
lab_pids+=("$!")
await grep -q ready "$LAB_TMP/far.log" || fail "no far end: $(cat "$LAB_TMP/far.log")"

# goes WHAT REASON ANSWER BOUND KINDS [VARIABLE=VALUE…]: a connection and a datagram to the far end, or those of them that are
# named; each socket has that reason.
cat >"$LAB_TMP/near.py" <<'END'
import socket, sys
for kind in sys.argv[2:]:
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    s.settimeout(10)
    try:
        if sys.argv[1]:
            s.bind((sys.argv[1], 0))
        s.connect(("10.66.0.1", 8003))
        if kind == "udp":
            s.send(b"who?")
        print(s.recv(100).decode())
    except OSError as e:
        print(e.strerror)
END
goes()
{
	local what=$1 reason=$2 want=$3 bound=$4 kinds=$5 got

	shift 5
	: >"$LAB_TMP/fastnet.log"
	# shellcheck disable=SC2086
	got=$(lab_exec_server env FASTNET_LOG="$LAB_TMP/fastnet.log" FASTNET_LOG_LEVEL=info "$@" \
		timeout 30 "$RUN" --nic "$spec" python3 "$LAB_TMP/near.py" "$bound" $kinds)
	[ "$got" = "$(for _ in $kinds; do echo "$want"; done)" ] || fail "$what: $got, not $want"
	[ "$(reason_of "$reason" python3)" = "$(wc -w <<<"$kinds")" ] || fail "$what: not $reason"
}
without_gateway=${LAB_SPEC% gateway=*}

spec=$LAB_SPEC
goes "the gateway's" GATEWAY "$LAB_SERVER_IP" "" "tcp udp"
spec=$without_gateway
goes "neither has a route" NO_ROUTE "Network is unreachable" "" "tcp udp"

ip -n "$LAB_SERVER_NS" route add default via 10.7.0.1
spec=$LAB_SPEC
goes "a default route is not better than the gateway" GATEWAY "$LAB_SERVER_IP" "" "tcp udp"
spec=$without_gateway
goes "a default route, and no gateway" NO_ROUTE 10.7.0.2 "" "tcp udp"

ip -n "$LAB_SERVER_NS" route add 10.66.0.0/24 via 10.7.0.1
spec=$LAB_SPEC
goes "the kernel's route is better" KERNEL_ROUTE 10.7.0.2 "" "tcp udp"
goes "bound to the port's address" GATEWAY "$LAB_SERVER_IP" "$LAB_SERVER_IP" tcp
goes "bound to the port's address" PORT "$LAB_SERVER_IP" "$LAB_SERVER_IP" udp
goes "the rule says so" GATEWAY "$LAB_SERVER_IP" "" "tcp udp" FASTNET_RULES="accelerate address=10.66.0.0/16"
goes "bound to the kernel's address" BOUND_ELSEWHERE 10.7.0.2 10.7.0.2 tcp
