# SPDX-License-Identifier: BSD-3-Clause
"""For processes of the fabric that have no numbers left."""
import errno
import os
import resource


def fill(fd):
    """Duplicates of fd up to a limit of 100 numbers, so that none is left: to be closed again."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
    got = []
    try:
        while True:
            got.append(os.dup(fd))
    except OSError as e:
        assert e.errno == errno.EMFILE
    return got
