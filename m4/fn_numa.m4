dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_NUMA: the plugin binds memory and the keeper to the port's node.
AC_DEFUN([FN_NUMA], [
  PKG_CHECK_MODULES([NUMA], [numa], [have_numa=yes], [have_numa=no])
  AS_IF([test "x$have_numa" = xyes], [AC_DEFINE([HAVE_NUMA], [1], [libnuma is there])])
])
