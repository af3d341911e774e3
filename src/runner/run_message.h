/* SPDX-License-Identifier: Apache-2.0 */
/* The run message: everything that a child is told about the script that it has to run (protocol/run_fields.def). */
#ifndef PX_RUNNER_RUN_MESSAGE_H
#define PX_RUNNER_RUN_MESSAGE_H

#include "runner/child.h"

/* Sends the run message and the script's stdin. If the child has ended already, this function does not fail:
 * its exit will say so. */
int px_run_message_send(struct px_child *child, const struct px_child_options *options, pyexec_error *error);

#endif
