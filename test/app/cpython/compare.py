# SPDX-License-Identifier: BSD-3-Clause
"""The tests whose outcomes differ between two JUnit files of CPython's regrtest: name, tab, first, tab, second."""
import sys
import xml.etree.ElementTree as tree


def outcomes(path):
    found = {}
    try:
        cases = tree.parse(path).iter("testcase")
    except (OSError, tree.ParseError):
        return None
    for case in cases:
        kinds = {child.tag for child in case}
        outcome = next((k for k in ("error", "failure", "skipped") if k in kinds), "ok")
        found[case.get("name")] = outcome
    return found


first, second = outcomes(sys.argv[1]), outcomes(sys.argv[2])
if first is None and second is None:
    sys.exit()
if first is None or second is None:
    print("all", "-" if first is None else "runs", "-" if second is None else "runs", sep="\t")
    sys.exit()
for name in sorted(first.keys() | second.keys()):
    a, b = first.get(name, "absent"), second.get(name, "absent")
    if a != b:
        print(name, a, b, sep="\t")
