# SPDX-License-Identifier: BSD-3-Clause
# table.py DIR: the matrix as Markdown, from what test/app/matrix/run has left in DIR.
import sys

HEAD = """\
# What runs under Fastnet

Debian 12's packages, unmodified. Every row is run in four ways: on the kernel, preloaded with a configuration that
leaves everything to the kernel ("nothing routed"), preloaded with a DPDK port (`net_af_packet` on a veth), where the
other side is the kernel in another network namespace, and over the fabric, where both sides are preloaded and on one
host. A row that does not work is **red** and says why. What is on the stack and on the kernel is said of port and fabric
in turn, once where it is the same.
Written by `test/app/matrix/run BUILD -long -table doc/MATRIX.md`.

| row | what it does | kernel | nothing routed | port | fabric | on the stack | on the kernel, and why |
|---|---|---|---|---|---|---|---|
"""


def lines(path):
    try:
        with open(path) as f:
            return f.read().splitlines()
    except FileNotFoundError:
        return []


def cell(text):
    return text.replace("|", "\\|")


def verdict(where, row, mode):
    word, _, why = (lines(f"{where}/{row}.{mode}.verdict") or ["skip"])[0].partition(" ")
    if word == "ok":
        return "ok"
    return f"**red**: {cell(why)}" if word == "red" else f"skipped: {cell(why)}"


def account(where, row, kind):
    told = []
    for mode in ("port", "fabric"):
        found = [line.partition(" ")[2] for line in lines(f"{where}/{row}.{mode}.account") if line.startswith(kind + " ")]
        told.append("; ".join(dict.fromkeys(cell(t) for t in found)))
    return told[0] if told[0] == told[1] else " / ".join(t or "-" for t in told)


def main(where):
    print(HEAD, end="")
    for line in lines(where + "/rows"):
        row, title = line.split("\t")
        stack, kernel, why = (account(where, row, kind) for kind in ("stack", "kernel", "why"))
        cells = [row, cell(title), *(verdict(where, row, mode) for mode in ("native", "nothing", "port", "fabric"))]
        cells += [stack, "; ".join(filter(None, (kernel, why)))]
        print("| " + " | ".join(cells) + " |")


main(sys.argv[1])
