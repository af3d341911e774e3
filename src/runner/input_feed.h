/* SPDX-License-Identifier: Apache-2.0 */
/* The script's standard input, when it comes from a descriptor of the caller: it is read from there as fast as the
 * script reads it. */
#ifndef PX_RUNNER_INPUT_FEED_H
#define PX_RUNNER_INPUT_FEED_H

#include <stddef.h>

struct px_input_feed {
    size_t held; /* how many bytes of the block are still to be written */
    char block[4096];
};

/* Moves one block from the caller's descriptor to the script's, when poll(2) said that both are ready. At the end
 * of the caller's input it closes the script's end. */
void px_input_feed_move(struct px_input_feed *input, int caller_fd, int *script_fd, short caller, short script);

#endif
