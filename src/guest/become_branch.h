/* SPDX-License-Identifier: Apache-2.0 */
/* The copies of a session that its process makes between two calls, when the host asks for one: a branch, which becomes a
 * session of its own, and a checkpoint, which waits until the session returns to it. */
#ifndef PX_GUEST_BECOME_BRANCH_H
#define PX_GUEST_BECOME_BRANCH_H

#include <stdbool.h>

#include "protocol/wire.h"

/* Called when the next message on the channel is PX_RUN_FORK, or PX_RUN_CHECKPOINT (`checkpoint`): reads it, and clones this
 * process. Returns 0 in the source, which has told the host how it went, and in the copy, which has its own descriptors and has
 * said that it is locked; in a checkpoint this can be hours later. Returns -1 when the process must end. */
int px_branch_make(struct px_wire_writer *writer, bool checkpoint);

/* Called when the next message is PX_RUN_TEMPLATE: reads it, and makes this process a template, which clones itself again and again, each
 * time when the kernel lets the clone pass. Returns 0 in each test, which has its own descriptors, and -1 when the process must end. */
int px_branch_become_template(struct px_wire_writer *writer);

#endif
