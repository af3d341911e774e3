/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PX_GUEST_GUARD_DENIAL_H
#define PX_GUEST_GUARD_DENIAL_H

#include "guest/script.h"

/* Child: where denials go from now on. */
void px_denial_arm(const struct px_script *run);

#endif
