/* SPDX-License-Identifier: Apache-2.0 */
/* What the owners and the types of result.def are in C. Only the library includes this. */
#ifndef PX_RESULT_RESULT_TYPES_H
#define PX_RESULT_RESULT_TYPES_H

#include "policy/policy.h"
#include "result/result.h"

struct pyexec_session_info {
    char *id, *principal; /* principal: NULL where there are none */
    bool busy;
    uint64_t calls;
    int64_t age_ms, idle_ms;
    const char *restarted;
    struct px_policy policy; /* of one that was asked for alone; else empty */
    char *policy_json;       /* made on demand */
};

/* owner → its C object */
#define PX_ITEM_Result pyexec_result
#define PX_ITEM_Error pyexec_result
#define PX_ITEM_Display pyexec_display
#define PX_ITEM_ChangedFile pyexec_file
#define PX_ITEM_Denial pyexec_denial
#define PX_ITEM_Usage pyexec_result
#define PX_ITEM_ToolUsage pyexec_result
#define PX_ITEM_SessionOfResult pyexec_result
#define PX_ITEM_File pyexec_file
#define PX_ITEM_FolderEntry pyexec_file
#define PX_ITEM_Session pyexec_session_info
#define PX_ITEM_SessionDetails pyexec_session_info

/* owner → the name of the accessor of a key */
#define PX_ACCESSOR_Result(key) pyexec_result_##key
#define PX_ACCESSOR_Error(key) pyexec_result_error_##key
#define PX_ACCESSOR_Display(key) pyexec_display_##key
#define PX_ACCESSOR_ChangedFile(key) pyexec_file_##key
#define PX_ACCESSOR_Denial(key) pyexec_denial_##key
#define PX_ACCESSOR_Usage(key) pyexec_result_##key
#define PX_ACCESSOR_ToolUsage(key) pyexec_result_tool_calls_##key
#define PX_ACCESSOR_SessionOfResult(key) pyexec_result_session_##key
#define PX_ACCESSOR_File(key) pyexec_file_##key
#define PX_ACCESSOR_FolderEntry(key) pyexec_file_##key
#define PX_ACCESSOR_Session(key) pyexec_session_info_##key
#define PX_ACCESSOR_SessionDetails(key) pyexec_session_info_##key

/* Appends an object of that owner as JSON, and its members without the braces. */
void px_result_write(struct px_buffer *out, enum px_result_owner owner, const void *item);
void px_result_write_members(struct px_buffer *out, enum px_result_owner owner, const void *item);

#endif
