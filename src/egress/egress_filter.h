/* SPDX-License-Identifier: Apache-2.0 */
/* The filter that tools/egress_filter.c makes of egress_syscalls.def. */
#ifndef PX_EGRESS_EGRESS_FILTER_H
#define PX_EGRESS_EGRESS_FILTER_H

#include <linux/filter.h>

extern const struct sock_fprog px_egress_filter;

#endif
