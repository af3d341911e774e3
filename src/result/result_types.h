/* SPDX-License-Identifier: Apache-2.0 */
/* The C types for the owners and types of result.def. Only the library includes this. */
#ifndef PX_RESULT_RESULT_TYPES_H
#define PX_RESULT_RESULT_TYPES_H

#include "policy/policy.h"
#include "result/result.h"

struct pyexec_session_info {
    char *id, *principal; /* principal: NULL where there are no principals */
    bool busy;
    uint64_t calls;
    int64_t age_ms, idle_ms;
    const char *restarted;
    struct px_policy policy; /* only when one session was asked for; else empty */
    char *policy_json;       /* made when it is first asked for */
    char *tools_json;        /* the tools of all its calls, a list; only when one session was asked for */
    int memory;              /* smaps_rollup of its process (proc_pid_smaps(5)), or -1 */
    bool measured;           /* the rest was read: it can take 25 ms for 1 GiB */
    uint64_t memory_bytes, private_memory_bytes;
};

/* Reads how much memory the session has, at the first call. Returns `info`. */
const struct pyexec_session_info *px_session_info_memory(const struct pyexec_session_info *info);

/* the C type of each owner */
#define PX_ITEM_Result pyexec_result
#define PX_ITEM_Error pyexec_result
#define PX_ITEM_Display pyexec_display
#define PX_ITEM_ChangedFile pyexec_file
#define PX_ITEM_Denial pyexec_denial
#define PX_ITEM_Usage pyexec_result
#define PX_ITEM_ToolUsage pyexec_result
#define PX_ITEM_SessionOfResult pyexec_result
#define PX_ITEM_Restored pyexec_result
#define PX_ITEM_EnvironmentOfResult pyexec_result
#define PX_ITEM_File pyexec_file
#define PX_ITEM_FolderEntry pyexec_file
#define PX_ITEM_Session pyexec_session_info
#define PX_ITEM_SessionDetails pyexec_session_info

/* the name of the accessor for a key of each owner */
#define PX_ACCESSOR_Result(key) pyexec_result_##key
#define PX_ACCESSOR_Error(key) pyexec_result_error_##key
#define PX_ACCESSOR_Display(key) pyexec_display_##key
#define PX_ACCESSOR_ChangedFile(key) pyexec_file_##key
#define PX_ACCESSOR_Denial(key) pyexec_denial_##key
#define PX_ACCESSOR_Usage(key) pyexec_result_##key
#define PX_ACCESSOR_ToolUsage(key) pyexec_result_tool_calls_##key
#define PX_ACCESSOR_SessionOfResult(key) pyexec_result_session_##key
#define PX_ACCESSOR_Restored(key) pyexec_result_session_restored_##key
#define PX_ACCESSOR_EnvironmentOfResult(key) pyexec_result_environment_##key
#define PX_ACCESSOR_File(key) pyexec_file_##key
#define PX_ACCESSOR_FolderEntry(key) pyexec_file_##key
#define PX_ACCESSOR_Session(key) pyexec_session_info_##key
#define PX_ACCESSOR_SessionDetails(key) pyexec_session_info_##key

/* The first appends an object of this owner as JSON, the second only its members, without the braces. */
void px_result_write(struct px_buffer *out, enum px_result_owner owner, const void *item);
void px_result_write_members(struct px_buffer *out, enum px_result_owner owner, const void *item);

#endif
