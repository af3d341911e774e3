/* SPDX-License-Identifier: Apache-2.0 */
/* The versions of CPython whose tests docs/support.md lists. Older ones are refused, newer ones are not. */
#ifndef PX_BASE_PYTHON_VERSIONS_H
#define PX_BASE_PYTHON_VERSIONS_H

#include "base/cleanup.h"

#define PX_PYTHON_OLDEST_MINOR 8
#define PX_PYTHON_NEWEST_MINOR 15
#define PX_PYTHON_VERSIONS \
    "CPython 3." PX_TEXT(PX_PYTHON_OLDEST_MINOR) " to 3." PX_TEXT(PX_PYTHON_NEWEST_MINOR) " with the GIL"

#endif
