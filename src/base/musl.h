/* SPDX-License-Identifier: Apache-2.0 */
/* Included first in every file of a build with musl: functions of glibc that musl does not have. musl.c and signal_names.c have them. */
#ifndef PX_BASE_MUSL_H
#define PX_BASE_MUSL_H

const char *strerrordesc_np(int number);
const char *sigdescr_np(int number);
const char *sigabbrev_np(int number);

#endif
