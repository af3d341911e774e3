/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_EXECUTOR_VERSION_H
#define PX_EXECUTOR_VERSION_H

/* Set by the build from meson.build's project version. */
#ifndef PX_VERSION
#define PX_VERSION "0.0.0"
#endif

#endif
