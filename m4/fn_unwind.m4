dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_UNWIND: crash backtraces; only the header is needed to build, the library is opened at run time.
AC_DEFUN([FN_UNWIND], [
  PKG_CHECK_MODULES([UNWIND], [libunwind], [have_unwind=yes], [have_unwind=no])
  AS_IF([test "x$have_unwind" = xyes], [AC_DEFINE([HAVE_UNWIND], [1], [libunwind is there])])
])
