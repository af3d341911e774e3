/* SPDX-License-Identifier: Apache-2.0 */
/* The script's standard input when it comes from a descriptor of the caller, read as the script reads it. */
#ifndef PX_RUNNER_INPUT_FEED_H
#define PX_RUNNER_INPUT_FEED_H

#include <stddef.h>

struct px_input_feed {
    size_t held; /* how many bytes of the block are not written yet */
    char block[4096];
};

/* Moves one block from the caller's descriptor to the script's, as far as poll(2) said that both are ready.
 * Closes the script's end at the end of the caller's input. */
void px_input_feed_move(struct px_input_feed *input, int caller_fd, int *script_fd, short caller, short script);

#endif
