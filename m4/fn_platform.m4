dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_PLATFORM: the interposer knows x86-64 Linux only (vfork stub, raw system calls); say so early.
AC_DEFUN([FN_PLATFORM], [
  AC_CANONICAL_HOST
  AS_CASE([$host], [x86_64-*-linux-gnu*], [],
    [AC_MSG_ERROR([fastnet runs on x86-64 Linux with glibc only so far, not on $host])])
])
