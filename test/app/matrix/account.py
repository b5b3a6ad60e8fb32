# SPDX-License-Identifier: BSD-3-Clause
# account.py DIR: what the processes of a row did, from what fastnet-stat said of those that lived (DIR/stat.json) and what
# the others wrote into the log when they ended (DIR/fastnet.log). Lines `stack WHAT` and `kernel REASON`; `here` when
# the library was there at all.
import json
import re
import sys

COUNTERS = {
    "tcp_passive_open": "accepted",
    "tcp_active_open": "connected",
    "udp_in": "datagrams",
    "udp_out": "datagrams",
}
# Not a fallback: a choice that the program has not made yet, and what lies on both sides.
QUIET = {"UNDECIDED", "WILDCARD"}
# What stands for a reason's number when all that have met it ended before anybody looked: the log has no numbers.
UNTOLD = {
    "FAMILY": "a family other than IPv4 and IPv6",
    "TYPE": "a type other than stream and datagram",
    "PROTO": "other than TCP and UDP",
    "OPTION": "that the stack has not got",
    "RULE": "the configuration",
    "ERRNO": "an error of the system's",
}


def texts(reason_def):
    found = {}
    for m in re.finditer(r'FN_REASON\((\w+),\s*(\w+),\s*(\w+),\s*"(.*)"\)', reason_def):
        name, side, arg, text = m.groups()
        text = text.removeprefix("kernel: ").replace("PID %s", "another process").replace("%s", UNTOLD.get(arg, "?"))
        found[name] = text if side == "KERNEL" else None
    return found


def documents(text):
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        value, end = decoder.raw_decode(text, at)
        yield from value
        at = end + len(text[end:]) - len(text[end:].lstrip())


def read(path):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except FileNotFoundError:
        return ""


def main(where, reason_def):
    names, details, here = {}, {}, False
    for process in documents(read(where + "/stat.json")):
        here = True
        for name, n in process["reasons"].items():
            names[name] = names.get(name, 0) + n
        for name, n in (process.get("counters") or {}).items():
            names[name] = names.get(name, 0) + n
        for d in process["decisions"]:
            if not d["accelerated"]:
                details.setdefault(d["reason"], set()).add(d["text"].removeprefix("kernel: "))
    for m in re.finditer(r"info: sockets:((?: \w+ \d+)+)", read(where + "/fastnet.log")):
        here = True
        words = m.group(1).split()
        for name, n in zip(words[::2], words[1::2]):
            names[name] = names.get(name, 0) + int(n)
    known = texts(read(reason_def))
    if here:
        print("here")
    did = {text for name, text in COUNTERS.items() if names.get(name)}
    for text in sorted(did):
        print("stack", text)
    for name in sorted(names):
        if not names[name] or name in QUIET or known.get(name) is None:
            continue
        told = {re.sub(r"PID \d+", "another process", t) for t in details.get(name, ())}
        for text in sorted(told or {known[name]}):
            print("kernel", text)


main(sys.argv[1], sys.argv[2])
