# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A program that sleeps in select() for ever on a listener whose port another holds: no CPU meanwhile, and the port is
# taken when the holder ends.
lab_need python3 nc
lab_make af_packet
lab_offloads off
under_fastnet python3 -c '
import socket, time
s = socket.socket(); s.bind(("0.0.0.0", 8001)); s.listen(); s.accept(); time.sleep(60)'
holder=$LAB_SERVER_PID
await lab_exec_client nc -z -w1 "$LAB_SERVER_IP" 8001 || fail "the first server does not answer"
under_fastnet python3 -c '
import select, socket
s = socket.socket(); s.bind(("0.0.0.0", 8000)); s.listen(5)
select.select([s], [], [])
c, a = s.accept(); c.sendall(b"taken\n"); c.close()'
second=$LAB_SERVER_PID
await grep -q "held by PID $holder" "$LAB_TMP/fastnet.log" || fail "the second server was not told who holds the port"
before=$(lab_cpu_ticks "$second")
read -r -t 0.5 <> <(:) || :
after=$(lab_cpu_ticks "$second")
[ $((after - before)) -le 2 ] || fail "it uses the processor while it waits: $((after - before)) ticks in half a second"
kill "$holder"
answer()
{
	[ "$(lab_exec_client nc -w 1 "$LAB_SERVER_IP" 8000)" = taken ]
}
await answer || fail "the port was not taken when it was free"
