/* SPDX-License-Identifier: Apache-2.0 */
/* How much memory a session has. Its pages are shared with the zygote, and those of a branch with its source. */
#include "base/fds.h"
#include "base/retry.h"
#include "result/result_rows.h"
#include "result/result_types.h"

const struct pyexec_session_info *px_session_info_memory(const struct pyexec_session_info *info)
{
    struct pyexec_session_info *own = (struct pyexec_session_info *)(uintptr_t)info;
    char text[4096];
    if (own->measured)
        return own;
    own->measured = true;
    ssize_t n = own->memory < 0 ? -1 : px_pread(own->memory, text, sizeof text - 1, 0);
    text[n < 0 ? 0 : n] = '\0';
    own->memory_bytes = px_number_after(text, "Pss:", 0) * 1024;
    own->private_memory_bytes =
        (px_number_after(text, "Private_Clean:", 0) + px_number_after(text, "Private_Dirty:", 0)) * 1024;
    return own;
}
