/* SPDX-License-Identifier: Apache-2.0 */
/* A script's standard input that comes from a descriptor of the caller's, as the script reads. */
#ifndef PX_RUNNER_INPUT_FEED_H
#define PX_RUNNER_INPUT_FEED_H

#include <stddef.h>

struct px_input_feed {
    size_t held; /* bytes of block not yet written */
    char block[4096];
};

/* Moves a block from the caller's descriptor to the script's, one at a time; what poll(2) said of both. Closes the
 * script's at the caller's end. */
void px_input_feed_move(struct px_input_feed *input, int caller_fd, int *script_fd, short caller, short script);

#endif
