# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=bash
# The fabric where little is allowed: after chroot, without descriptors, address space or netlink, in the sandbox of Debian's
# redis unit, beside a library of another layout, and 300 processes at once. Whatever cannot be had means the kernel, with
# its reason, and every byte arrives.
lab_need ss redis-server redis-cli python3 /usr/bin/python3 setpriv unshare prlimit
fabric_make
chmod 755 "$LAB_TMP"
touch "$LAB_TMP/fastnet.log"
chmod 666 "$LAB_TMP/fastnet.log"
export FASTNET_LOG=$LAB_TMP/fastnet.log FASTNET_LOG_LEVEL=info
python=/usr/bin/python3
cat >"$LAB_TMP/echo.py" <<'END'
import socket, sys, threading
l = socket.create_server(("127.0.0.1", 7001), backlog=1024)
print("ready", flush=True)
def serve(c):
    while d := c.recv(100000):
        c.sendall(d)
threading.stack_size(1 << 17)
while True:
    threading.Thread(target=serve, args=l.accept()[:1], daemon=True).start()
END
cat >"$LAB_TMP/ask.py" <<'END'
import encodings.idna, os, resource, socket, sys
def talk(n=100000):
    data = os.urandom(n)
    with socket.create_connection(("127.0.0.1", 7001), 20) as s:
        s.sendall(data)
        got = b""
        while len(got) < n:
            got += s.recv(n) or sys.exit("end of file")
    assert got == data
how = sys.argv[1]
if how == "chroot":
    os.chroot(sys.argv[2])
if how == "chroot-later":
    talk()
    os.chroot(sys.argv[2])
if how == "drop":
    talk()
    os.chroot(sys.argv[2])
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    talk()
if how == "descriptors":
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")), 100))
if how == "crowd":
    talk()
    r, w = os.pipe()
    for i in range(300):
        if not os.fork():
            os.close(w)
            os.read(r, 1)
            talk(3000)
            os._exit(0)
    os.close(w)
    assert all(os.wait()[1] == 0 for i in range(300))
talk()
END
ip netns exec "$LAB_CLIENT_NS" prlimit --nofile=8192 setpriv --reuid=1 --regid=1 --clear-groups "$RUN" $python "$LAB_TMP/echo.py" >"$LAB_TMP/echo" &
lab_pids+=("$!")
await grep -q ready "$LAB_TMP/echo" || fail "no server"
server=$(lab_exec_client ss -Hltnp "sport = :7001" | sed -nE 's/.*pid=([0-9]+).*/\1/p')
# by HOW CMD…: a client that talks through shared memory; the command runs it. kernel HOW CMD…: it does not, and says so.
run()
{
	lab_exec_client "${@:2}" "$RUN" timeout 60 $python "$LAB_TMP/ask.py" "$1" "$LAB_TMP/root" || fail "$*"
}
by()
{
	local before more

	before=$(counter "$server" tcp_passive_open)
	run "$@"
	more=$(($(counter "$server" tcp_passive_open) - before))
	[ "$more" -ge "${talks[$1]:-1}" ] || fail "$*: $more times, not through shared memory: $(tail -1 "$LAB_TMP/fastnet.log")"
}
# How often ask.py talks, HOW it may be.
declare -A talks=([chroot-later]=2 [drop]=3 [crowd]=302)
kernel()
{
	local before

	before=$(reason_of FABRIC_FAILED python3)
	run "$@"
	[ "$(reason_of FABRIC_FAILED python3)" -gt "$before" ] || fail "$*: no reason: $(tail -1 "$LAB_TMP/fastnet.log")"
}
mkdir "$LAB_TMP/root"
by plain env
by chroot env
by chroot-later env
by drop env
by plain setpriv --reuid=65534 --regid=65534 --clear-groups
kernel descriptors env
kernel plain prlimit --as=600000000
by crowd env

# What Debian's redis unit allows: no netlink, no resources, no other users.
cat >"$LAB_TMP/sandbox.py" <<'END'
import ctypes, errno, os, struct, sys
NETLINK, KILL, ALLOW, ERRNO = 16, 0x80000000, 0x7fff0000, 0x00050000
killed = {"mbind": 237, "set_mempolicy": 238, "sched_setaffinity": 203, "sched_setscheduler": 144, "sched_setparam": 142,
          "sched_setattr": 314, "setrlimit": 160, "setpriority": 141, "ioprio_set": 251, "pidfd_getfd": 438, "mount": 165,
          "ptrace": 101, "process_vm_readv": 310, "perf_event_open": 298, "bpf": 321, "chroot": 161}
ld, jeq, ret = 0x20, 0x15, 0x06
code = [(ld, 0, 0, 0)]
for nr in killed.values():
    code += [(jeq, 0, 1, nr), (ret, 0, 0, KILL)]
code += [(jeq, 0, 3, 41), (ld, 0, 0, 16), (jeq, 0, 1, NETLINK), (ret, 0, 0, ERRNO | errno.EAFNOSUPPORT), (ret, 0, 0, ALLOW)]
text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *c) for c in code))
prog = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, prog, 0, 0) == 0, ctypes.get_errno()
os.execvp(sys.argv[1], sys.argv[1:])
END
kernel plain $python "$LAB_TMP/sandbox.py"
mkdir "$LAB_TMP/redis"
chown redis "$LAB_TMP/redis"
private=
setpriv --reuid=redis --regid=redis --clear-groups unshare -U true 2>/dev/null && private="unshare -U --map-user=$(id -u redis)"
# shellcheck disable=SC2086
ip netns exec "$LAB_CLIENT_NS" setpriv --reuid=redis --regid=redis --clear-groups $private $python "$LAB_TMP/sandbox.py" \
	"$RUN" redis-server --port 6379 --bind 127.0.0.1 --dir "$LAB_TMP/redis" --save '' >"$LAB_TMP/redis.log" 2>&1 &
lab_pids+=("$!")
await lab_exec_client redis-cli ping || fail "redis does not start in the sandbox: $(cat "$LAB_TMP/redis.log")"
pid=$(lab_exec_client redis-cli info server | tr -d '\r' | sed -n 's/^process_id://p')
head -c 1000000 /dev/urandom | base64 -w0 >"$LAB_TMP/value"
for user in root redis nobody; do
	for i in 1 2 3; do
		lab_exec_client setpriv --reuid=$user --regid="$(id -g $user)" --clear-groups "$RUN" redis-cli -x set big <"$LAB_TMP/value" >/dev/null
		lab_exec_client setpriv --reuid=$user --regid="$(id -g $user)" --clear-groups "$RUN" redis-cli get big |
			head -c "$(stat -c %s "$LAB_TMP/value")" | cmp - "$LAB_TMP/value" || fail "$user and the redis in the sandbox"
	done
done
at_least "$pid" tcp_passive_open 18
