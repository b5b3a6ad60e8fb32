# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# A configuration file with all three kinds of sections, and what a program sees of it: the settings by getsockopt, by when
# something happens, and by what is refused; the port; a rule. Which setting is which member of the stack's is
# test/unit/conf_stack's business.
lab_need python3
lab_make af_packet
lab_offloads off
cat >"$LAB_TMP/fastnet.conf" <<END
[fastnet]
log = $LAB_TMP/fastnet.log
log_level = info
hugepages = no
max_udp = 16
arena_max = 32M
sndbuf = 20000
rcvbuf = 50000
sndbuf_max = 30000
congestion = reno
syn_retries = 1
fin_timeout_ms = 7000

[nic eth0]
type = dpdk
devargs = $LAB_DEVARGS
address = $LAB_SERVER_IP/24
gateway = $LAB_CLIENT_IP
buffers = 2047

[rules]
rule = kernel tcp listen port=8001
rule = accelerate program=python3
END

cat >"$LAB_TMP/server.py" <<'END'
import errno, socket
SOL, TCP = socket.SOL_SOCKET, socket.IPPROTO_TCP
def says(what, value, want):
    print("%s %s" % (what, "right" if value == want else "%r, not %r" % (value, want)), flush=True)

ruled = socket.create_server(("0.0.0.0", 8001))
l = socket.create_server(("0.0.0.0", 8000))
print("ready", flush=True)
c, a = l.accept()
says("congestion", c.getsockopt(TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0"), b"reno")
says("rcvbuf", c.getsockopt(SOL, socket.SO_RCVBUF), 50000)
says("syn_retries", c.getsockopt(TCP, socket.TCP_SYNCNT), 1)
says("fin_timeout_ms", c.getsockopt(TCP, socket.TCP_LINGER2), 7)
size = sum(int(e, 16) - int(b, 16) for b, e in (
    m.split()[0].split("-") for m in open("/proc/self/maps") if "fastnet-arena" in m))
says("arena_max", size, 32 << 20)
while c.recv(65536):
    pass
# more than the window: a send buffer may grow up to sndbuf_max here
c.setblocking(False)
try:
    while True:
        c.send(bytes(1000))
except BlockingIOError:
    pass
says("sndbuf_max", c.getsockopt(SOL, socket.SO_SNDBUF), 30000)
c.close()

# a new socket that is decided by its connect, to where nobody answers ARP
s = socket.socket()
s.setblocking(False)
s.connect_ex(("10.9.0.1", 8002))
says("sndbuf", s.getsockopt(SOL, socket.SO_SNDBUF), 20000)
s.close()

# 16 datagram sockets of the stack's, the others are the kernel's, which has no route
sent = []
for i in range(20):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        u.connect(("10.9.0.1", 9))
        sent.append(u)
    except OSError as e:
        assert e.errno == errno.ENETUNREACH, e
says("max_udp", len(sent), 16)
print("done", flush=True)
END
cat >"$LAB_TMP/client.py" <<'END'
import socket, time
end = time.monotonic() + 10
while True:
    c = socket.socket()
    c.settimeout(10)
    if not c.connect_ex(("10.9.0.2", 8000)):
        break
    assert time.monotonic() < end, "the server does not answer"
c.shutdown(socket.SHUT_WR)
while c.recv(65536):
    pass
END

# by fastnet-run's option, and by the environment
for how in "$RUN --conf $LAB_TMP/fastnet.conf" "env FASTNET_CONF=$LAB_TMP/fastnet.conf $RUN"; do
	: >"$LAB_TMP/fastnet.log"
	# shellcheck disable=SC2086
	lab_start_server env -u FASTNET_HUGEPAGES $how python3 "$LAB_TMP/server.py"
	lab_exec_client timeout 20 python3 "$LAB_TMP/client.py" || fail "the client fails"
	lab_await_line '^done' 20 || fail "the server does not get through"
	wait "$LAB_SERVER_PID"
	diff - "$LAB_TMP/server.log" <<-'END' || fail "other settings than in the file"
		ready
		congestion right
		rcvbuf right
		syn_retries right
		fin_timeout_ms right
		arena_max right
		sndbuf_max right
		sndbuf right
		max_udp right
		done
	END
	[ "$(reason_of RULE python3)" = 1 ] || fail "the rule has not decided: $(cat "$LAB_TMP/fastnet.log")"
	grep -q 'port eth0 .* is open' "$LAB_TMP/fastnet.log" || fail "no such port"
done
