dnl SPDX-License-Identifier: BSD-3-Clause
dnl FN_SUMMARY: what configure found, and what make will build.
AC_DEFUN([FN_SUMMARY], [
  AS_IF([test "x$enable_sanitizers$enable_fuzz" = xnono], [fn_lib=yes],
    [fn_lib="no (sanitizer or fuzzing build)"])
  AC_MSG_NOTICE([])
  AC_MSG_NOTICE([fastnet $PACKAGE_VERSION])
  AC_MSG_NOTICE([  compiler           $CC $CFLAGS])
  AC_MSG_NOTICE([  libfastnet.so      $fn_lib])
  AC_MSG_NOTICE([  DPDK NIC plugin    $have_dpdk])
  AC_MSG_NOTICE([  libnuma            $have_numa])
  AC_MSG_NOTICE([  libunwind          $have_unwind])
  AC_MSG_NOTICE([  unit tests         $have_criterion])
  AC_MSG_NOTICE([  fuzz targets       $enable_fuzz])
  AC_MSG_NOTICE([  invariant checks   $enable_checks])
  AC_MSG_NOTICE([  sanitizers         $enable_sanitizers])
])
