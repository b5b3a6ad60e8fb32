# SPDX-License-Identifier: BSD-3-Clause
"""What processes that lie to the fabric have in common: its name and layout (shim/peer.h), messages' types, memory files."""
import fcntl, mmap, os

NAME = os.environ['FABRIC_NAME']
VERSION, SLOTS = int(NAME.rsplit('/', 1)[1]), 1024
RING = (64 + SLOTS * 64 + 4095) & ~4095
HELLO, WELCOME, PAYLOAD, PAGE, INBOX, ATTACH = 1, 2, 3, 4, 5, 6
SHRINK, GROW, SEAL, FUTURE = 2, 4, 1, 16
FIXED = SHRINK | GROW | SEAL
F_ADD_SEALS = 1033

def name_of(cookie):
    return '\0%s/%016x' % (NAME, cookie)

def memory(size, seals):
    """A file of that size, mapped, and then sealed."""
    fd = os.memfd_create('liar', os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    m = mmap.mmap(fd, size)
    fcntl.fcntl(fd, F_ADD_SEALS, seals)
    return fd, m
