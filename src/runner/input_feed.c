/* SPDX-License-Identifier: Apache-2.0 */
#include "runner/input_feed.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/retry.h"

void px_input_feed_move(struct px_input_feed *input, int caller_fd, int *script_fd, short caller, short script)
{
    if (!input->held && caller) {
        ssize_t n = px_read(caller_fd, input->block, sizeof input->block);
        if (n > 0)
            input->held = (size_t)n;
        else if (n == 0 || errno != EAGAIN)
            px_close_fd(script_fd);
        return;
    }
    if (!input->held || !script)
        return;
    ssize_t n = px_send(*script_fd, input->block, input->held, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
        memmove(input->block, input->block + n, input->held - (size_t)n);
        input->held -= (size_t)n;
    } else if (n < 0 && errno != EAGAIN) {
        px_close_fd(script_fd);
    }
}
