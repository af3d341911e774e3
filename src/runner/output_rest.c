/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/output_rest.h"

#include <fcntl.h>

#include "base/clock.h"

#define LINE_REST_NS PX_NS_PER_MS /* how late a line may be passed on */
#define SHORT_BYTES 512           /* a longer read was worth its wake-up */
#define BUSY_NS (20 * PX_NS_PER_MS)

/* A pipe holds 64 KiB, or two pages when its user has too many of them (pipe(7), pipe-user-pages-soft). */
static bool fills_pipe(struct px_output_rest *rest, int fd, size_t bytes)
{
    if (!rest->pipe_bytes) {
        int size = fcntl(fd, F_GETPIPE_SZ);
        rest->pipe_bytes = size > 0 ? (size_t)size : 1;
    }
    return bytes >= rest->pipe_bytes / 2;
}

void px_output_rest_after(struct px_output_rest *rest, int stream, int fd, size_t bytes, int64_t now)
{
    bool soon = now - rest->read_ns[stream] < 2 * LINE_REST_NS;
    rest->read_ns[stream] = now;
    if (!soon)
        return;
    if (fills_pipe(rest, fd, bytes))
        rest->never_before_ns = now + BUSY_NS;
    if (bytes >= SHORT_BYTES || now < rest->never_before_ns)
        return;
    rest->stream = stream;
    rest->until_ns = now + LINE_REST_NS;
}
