#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# fastnet-stat on processes whose records were written by hand (fake.c): what is shown, which errors are told, and that
# damaged or hostile records do no harm. A process is sh, waiting in its `read`.
# Environment: STAT is the tool, FAKE_LIBRARY the library.

. "${srcdir:-.}/test/tools/lib.sh"
: "${STAT:=tools/fastnet-stat}" "${FAKE_LIBRARY:=test/tools/.libs/libfastnet.so}"
FAKE_LIBRARY=$(realpath "$FAKE_LIBRARY") || exit 99

mkfifo "$work/in" "$work/ready"
# an end that stays open, so that nobody reads end of file
exec 3<>"$work/in"

# start FAKE: a process with that fake; its PID in $pid
start() {
	FAKE=$1 LD_PRELOAD=$FAKE_LIBRARY sh -c 'echo >"$0"; read x' "$work/ready" <"$work/in" &
	pid=$!
	pids="$pids $pid"
	read -r _ <"$work/ready"
}

# line TEXT...: a line of the output has these, in this order, whatever the blanks between
line() { tr -s ' \t' ' ' <"$work/out" | grep -qF -- "$*"; }

# ---- what is shown ----
start good
good=$pid
run "$STAT" "$good"
check "shows a process" [ $status = 0 ]
check "nothing is amiss" [ "$(grep -c 'made no sense' "$work/out")" = 0 ]
check "its head" out_has "fake: PID $good, fastnet "
check "an open port" out_has "port eth0: open, dpdk:net_af_packet0,iface=veth1, 10.9.0.2/24 gateway 10.9.0.1"
check "a port that another process holds" out_has "port eth1: held by PID 4711"
check "a NIC's counters" out_has "rx_packets:1001"
check "a listener with its queue" line "tcp LISTEN 2 511 *:80 *:*"
check "a connection with its queues" line "tcp ESTAB 300 700 10.9.0.2:80 10.9.0.1:40001"
check "its congestion control and options" line "reno ts sack wscale:0,0 rto:204 rtt:1.500/0.250"
check "its window in segments" line "cwnd:10 bytes_acked:123456 bytes_received:654321"
check "what is in flight" line "unacked:500 retrans:0/3"
check "times on the stack's clock" line "lastsnd:7ms"
check "a connection in TIME_WAIT" line "tcp TIME-WAIT 0 0 10.9.0.2:80 10.9.0.1:40000"
check "a UDP socket" line "udp UNCONN 48 0 10.9.0.2:53 *:*"
check "no free object" [ "$(grep -c '^tcp\|^udp' "$work/out")" = 4 ]
check "counters with their text" line "4242 tcp_in TCP segments received"
check "no counter that is zero" [ "$(grep -c 'tcp_rto' "$work/out")" = 0 ]
check "drop reasons with their text" line "17 TCP_PAWS TCP: old timestamp"
check "sockets by reason" line "1 kernel: rule at …"
check "decisions with their reason" line "fd 7 tcp connect 10.9.0.1:5432 kernel: rule at fastnet.conf:12"
check "a listener's decision" line "fd 6 tcp listen 0.0.0.0:80 accelerated: wildcard address"
check "a socket that never had an address" line "fd 9 AF_UNIX socket kernel: AF_UNIX"
check "an IPv6 address" line "fd 8 udp connect [::1]:53 kernel: IPv6"

run "$STAT" --all "$good"
check "--all: counters that are zero" line "0 tcp_rto retransmission timeouts"

kill -STOP "$good"
run "$STAT" "$good"
check "a stopped process answers" line "tcp ESTAB 300 700"
kill -CONT "$good"

run "$STAT"
check "the list names it" line "$good fake"
check "and its ports" out_has "eth0:open eth1:held"

if command -v python3 >/dev/null; then
	run "$STAT" --json "$good"
	check "--json" python3 - "$work/out" "$good" <<'P'
import json, sys
(p,) = json.load(open(sys.argv[1]))
assert p["pid"] == int(sys.argv[2]) and p["stack"] and not p["damaged"], p
assert [q["state"] for q in p["ports"]] == ["open", "held"] and p["ports"][1]["holder"] == 4711
est = [s for s in p["sockets"] if s["state"] == "ESTAB"]
assert len(p["sockets"]) == 4 and len(est) == 1
assert est[0]["local"] == {"address": "10.9.0.2", "port": 80} and est[0]["recvq"] == 300
assert est[0]["info"]["rtt_us"] == 1500 and est[0]["info"]["unacked_bytes"] == 500
assert p["counters"]["tcp_in"] == 4242 and p["drops"]["TCP_PAWS"] == 17
assert p["reasons"]["WILDCARD"] == 1 and p["nics"][0]["mac"] == "02:00:00:00:00:09"
assert [d["fd"] for d in p["decisions"]] == [6, 7, 8, 9]
assert [d["accelerated"] for d in p["decisions"]] == [True, False, False, False]
assert p["decisions"][1]["text"] == "kernel: rule at fastnet.conf:12"
P
	run "$STAT" --json
	check "--json without PID" python3 -c 'import json, sys; assert int(sys.argv[2]) in [p["pid"] for p in json.load(open(sys.argv[1]))]' \
		"$work/out" "$good"
else
	skip "no python3"
fi

# the last ones, of 4 and 300
span()	# how many connects, the lowest port, the highest
{
	tr -s ' \t' ' ' <"$work/out" | sed -n 's/.* fd 5 tcp connect 0\.0\.0\.0:\([0-9]*\) .*/\1/p' | sort -n >"$work/ports"
	echo "$(wc -l <"$work/ports") $(head -n 1 "$work/ports") $(tail -n 1 "$work/ports")"
}
start many
run "$STAT" "$pid"
check "the last 20 decisions" [ "$(span)" = "20 1280 1299" ]
run "$STAT" --all "$pid"
check "--all: the last 256" [ "$(span)" = "256 1044 1299" ]

start nostack
run "$STAT" "$pid"
check "a process without a stack" out_has "no stack so far"
check "has decisions all the same" out_has "kernel: rule at fastnet.conf:12"
check "and ports" [ "$(grep -c 'the kernel.s$\|no port' "$work/out")" = 0 ]
start portless
run "$STAT" "$pid"
check "a process without ports, but with the fabric" out_has "only what goes to processes of this host, through shared memory, is"
start nothing
run "$STAT" "$pid"
check "one without either" out_has "no port is configured: every socket is the kernel's"
start wrong
run "$STAT" "$pid"
check "one with a wrong configuration" out_has "the configuration is wrong: every socket is the kernel's"
start nostack
run "$STAT" "$good" "$pid"
check "two processes" [ "$(grep -c '^fake: PID' "$work/out")" = 2 ]

# ---- errors ----
gone=$(sh -c 'echo $$')
run "$STAT" "$gone" "$good"
check "a process that is gone" err_has "$gone: no such process"
check "fails, but the other one is shown" [ $status = 1 ]
check "and it is" out_has "fake: PID $good"
run "$STAT" $$
check "a process without the library" err_has "not under Fastnet"
run "$STAT" nginx
check "a PID that is none: 2" [ $status = 2 ]
run "$STAT" --colour
check "a wrong option: 2" [ $status = 2 ]
run "$STAT" --version
check "--version" out_has 'fastnet-stat (fastnet) '
run "$STAT" --help
check "--help" out_has 'Usage: fastnet-stat'
start inert
run "$STAT" "$pid"
check "a library that is inert" err_has "is loaded but inert"
start layout
run "$STAT" "$pid"
check "another version of the library" err_has "is of another version"
run "$STAT"
check "is told in the list as well" err_has "$pid: its libfastnet.so is of another version"
start magic
run "$STAT" "$pid"
check "a library without its record" err_has "has no record that could be read"
if [ "$(id -u)" = 0 ] && command -v setpriv >/dev/null; then
	cp "$STAT" "$work/stat" && chmod 755 "$work" "$work/stat"
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$work/stat" "$good"
	check "no permission" err_has "$good: no permission"
else
	skip "not root: nobody else to be"
fi

# ---- records that make no sense ----
for how in stack wild chunk made size per_chunk nics tcp; do
	start $how
	run "$STAT" "$pid"
	check "damaged: $how" [ $status = 0 ]
	check "damaged: $how is told" out_has "made no sense"
done
for how in text ports reason; do
	start $how
	run "$STAT" --all "$pid"
	check "odd: $how" [ $status = 0 ]
	run "$STAT" --json "$pid"
	check "odd: $how as JSON" [ $status = 0 ]
done
start text
run "$STAT" "$pid"
check "control characters do not reach the terminal" [ "$(tr -d '[:print:][:space:]' <"$work/out" | tr -d '…' | wc -c)" = 0 ]

finish
