/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_EXECUTOR_VERSION_H
#define PX_EXECUTOR_VERSION_H

/* The build sets it from the project version in meson.build. */
#ifndef PX_VERSION
#define PX_VERSION "0.0.0"
#endif

#endif
