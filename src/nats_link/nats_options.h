/* SPDX-License-Identifier: Apache-2.0 */
/* Which NATS servers a program connects to, and who it is there. */
#ifndef PX_NATS_LINK_NATS_OPTIONS_H
#define PX_NATS_LINK_NATS_OPTIONS_H

#include <nats/nats.h>

#include "base/json.h"

/* `config` has the keys of [nats], with the text of the files `password_file` and `token_file` as `password` and `token`. */
natsStatus px_nats_options_set(natsOptions *options, const json_t *config);

#endif
