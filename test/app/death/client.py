# SPDX-License-Identifier: BSD-3-Clause
# client.py KILLS ADDRESS [COMMAND…]: serving processes are killed, one after another, in the middle of their work; three
# live on. The command tells what is known when somebody has waited in vain.
import os, random, signal, socket, subprocess, sys, threading, time
kills = int(sys.argv[1])
rng = random.Random(kills)
resets, rounds, over = 0, 0, False
gone = (ConnectionResetError, BrokenPipeError)
begun, told = time.monotonic(), threading.Lock()
class Stalled(Exception):
    pass
class Step:	# what is waited for: named when nothing comes
    def __init__(self, what, c=None):
        self.what, self.c, self.start = what, c, time.monotonic()
    def __enter__(self):
        return self
    def __exit__(self, kind, error, trace):
        if kind is not TimeoutError:
            return
        if told.acquire(blocking=False) and sys.argv[3:]:
            subprocess.run(sys.argv[3:])
        at = " of port %d" % self.c.getsockname()[1] if self.c else ""
        raise Stalled("%s%s: begun at %.3f s" % (self.what, at, self.start - begun)) from None
def connect():
    with Step("connect"):
        c = socket.create_connection((sys.argv[2], 8000), timeout=20)
    pid = b""
    with Step("greeting", c):
        while not pid.endswith(b"\n"):
            d = c.recv(1)
            if not d:
                raise ConnectionResetError
            pid += d
    return c, int(pid)
def write(c, data):
    try:
        c.sendall(data)
    except gone + (TimeoutError,):	# who reads tells
        pass
def exchange(c, data):	# True: all of it came back
    t = threading.Thread(target=write, args=(c, data))
    t.start()
    got = b""
    try:
        with Step("exchange", c) as step:
            while len(got) < len(data):
                d = c.recv(65536)
                if not d:
                    break
                got += d
                step.what = "exchange, %d bytes came" % len(got)
    finally:
        t.join()
        assert got == data[:len(got)], "other bytes came back"
    return len(got) == len(data)
def live(failures):	# a connection that nobody kills
    global resets, rounds
    c = None
    try:
        while not over:
            try:
                if not c:
                    c, pid = connect()
                if exchange(c, os.urandom(60000)):
                    rounds += 1
                    continue
            except gone:
                pass
            resets += 1
            c = None
    except BaseException as e:
        failures.append(repr(e))
failures = []
lives = [threading.Thread(target=live, args=(failures,), daemon=True) for i in range(3)]
for t in lives:
    t.start()
worst, lost = 0, 0
for i in range(kills):
    try:
        c, pid = connect()
        c.setblocking(False)
        end = time.monotonic() + rng.random() * 0.004
        while time.monotonic() < end:
            try:
                c.send(b"x" * 16384)
                c.recv(65536)
            except BlockingIOError:
                pass
    except gone:	# what another one's death left torn
        lost += 1
        continue
    t = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    c.settimeout(20)
    try:
        with Step("end of %d" % pid, c):
            while c.recv(65536):
                pass
    except gone:
        pass
    worst = max(worst, time.monotonic() - t)
    c.close()
before, until = rounds, time.monotonic() + 20
while rounds < before + 6 and time.monotonic() < until and not failures:
    time.sleep(0.01)
over = True
for t in lives:
    t.join()
assert not failures, failures
assert rounds >= before + 6, "the others do not go on"
assert worst < 10, "a death was noticed after %.3f s" % worst
print("killed", kills - lost, "lost", lost, "resets", resets, "rounds", rounds, "worst %.0f ms" % (worst * 1000))
