dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_CRITERION: unit tests.
AC_DEFUN([FN_CRITERION], [
  PKG_CHECK_MODULES([CRITERION], [criterion], [have_criterion=yes], [have_criterion=no])
  AM_CONDITIONAL([CRITERION], [test "x$have_criterion" = xyes])
])
