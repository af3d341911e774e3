/* SPDX-License-Identifier: Apache-2.0 */
/* When to read the output of a run. A script that prints many short lines writes each of them at once, and the thread that reads would
 * wake for every line. So after two short reads soon after each other, the stream rests for a millisecond: its next lines are read
 * together. A stream is read at once when the other one has output, because that was written later; and when it fills its pipe during
 * a rest, it does not rest for a while, because the script would wait for its reader. Nothing here reads. */
#ifndef PX_RUNNER_OUTPUT_REST_H
#define PX_RUNNER_OUTPUT_REST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct px_output_rest {
    int stream; /* the one that rests, if until_ns is in the future */
    int64_t until_ns;
    int64_t never_before_ns; /* no rest until then */
    int64_t read_ns[2];      /* when each stream was last read */
    size_t pipe_bytes;       /* how much a pipe holds; 0: not known yet */
};

static inline bool px_output_rests(const struct px_output_rest *rest, int stream, int64_t now)
{
    return rest->stream == stream && now < rest->until_ns;
}

/* `bytes` of the stream, whose pipe is `fd`, were read at `now`. */
void px_output_rest_after(struct px_output_rest *rest, int stream, int fd, size_t bytes, int64_t now);

#endif
