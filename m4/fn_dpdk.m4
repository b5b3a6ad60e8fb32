dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_DPDK: the NIC plugin needs DPDK; its CFLAGS (-march, a forced include) are confined to the plugin.
AC_DEFUN([FN_DPDK], [
  AC_ARG_WITH([dpdk], [AS_HELP_STRING([--without-dpdk], [do not build the DPDK NIC plugin])], [], [with_dpdk=yes])
  have_dpdk=no
  AS_IF([test "x$with_dpdk" != xno],
    [PKG_CHECK_MODULES([DPDK], [libdpdk >= 22.11], [have_dpdk=yes],
      [AC_MSG_ERROR([DPDK 22.11 or later not found (Debian: libdpdk-dev); --without-dpdk builds without network ports])])])
  AM_CONDITIONAL([DPDK], [test "x$have_dpdk" = xyes])
])
