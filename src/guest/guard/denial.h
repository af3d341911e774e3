/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_GUEST_GUARD_DENIAL_H
#define PX_GUEST_GUARD_DENIAL_H

#include "guest/script.h"

/* Called in the child: denials are sent for this run from here on. */
void px_denial_arm(const struct px_script *run);

#endif
