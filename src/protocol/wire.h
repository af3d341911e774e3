/* SPDX-License-Identifier: Apache-2.0 */
/* The wire: every message between pyexec's processes, and who may send it.
 *
 *   host ⇄ supervisor   one SOCK_SEQPACKET; both are trusted; fixed structs (px_launch_*)
 *   host ⇄ zygote       one SOCK_SEQPACKET; both are trusted; fixed structs (px_clone_*)
 *   host → child        one SOCK_SEQPACKET; trusted in this direction (PX_RUN fields)
 *   child → host        the same socket; HOSTILE: the fields of the table below; px_child_result_parse()
 *                       checks kind, count and size
 *
 * A message on the child's socket consists of packets, and a packet of fields: {u16 kind, u16 zero, u32 length,
 * bytes}, in native byte order, unaligned, at most PX_PACKET_MAX bytes in all. A longer field is sent in parts,
 * one after another, and the receiver appends them. */
#ifndef PX_PROTOCOL_WIRE_H
#define PX_PROTOCOL_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "pyexec.h"

#define PX_PACKET_MAX 32768
#define PX_FIELD_HEADER 8
#define PX_CODE_MAX (10u << 20)  /* docs/rpc.md, execute_once */
#define PX_DENIALS_MAX 100       /* docs/results.md */
#define PX_VALUE_MAX (16u << 20) /* the maximum of max_value_bytes */
#define PX_TRACEBACK_MAX (256u << 10)
#define PX_WIRE_NAME_MAX 512
#define PX_DISPLAYS_MAX 1000             /* the maximum of max_displays */
#define PX_DISPLAY_BYTES_MAX (64u << 20) /* the maximum of max_display_bytes */
#define PX_DISPLAY_FORMS_MAX 32          /* MIME types in one display */
#define PX_FORMS_MAX (PX_DISPLAYS_MAX * PX_DISPLAY_FORMS_MAX)
#define PX_MIME_MAX 127                       /* bytes in the name of a MIME type (RFC 6838 allows 127 for each part) */
#define PX_METADATA_MAX (64u << 10)           /* bytes of JSON in one display */
#define PX_TOOLS_MAX 256                      /* tools in one execution */
#define PX_TOOL_NAME_MAX 128                  /* bytes */
#define PX_TOOLS_TEXT_MAX (4u << 20)          /* bytes of all definitions together, as JSON */
#define PX_TOOL_VALUE_MAX (8u << 20)          /* bytes of the arguments of one call, or of its answer */
#define PX_TOOL_CALLS_AT_ONCE 64              /* calls without an answer; the next call waits in the child */
#define PX_TOOL_ARGUMENTS_AT_ONCE (32u << 20) /* bytes of the arguments of these calls together */

/* The fields that a child sends: FIELD(name, maximum total size, maximum count). DONE ends the result. A field
 * after it, or of an unknown kind, breaks the protocol. */
#define PX_RESULT_FIELDS(FIELD) \
    FIELD(SETUP_ERROR, sizeof(pyexec_error), 1) /* a pyexec_error; only before LOCKED */ \
    FIELD(LOCKED, 16, 1)             /* the first field after lock-down, when nothing of the caller's has run: \
                                   u64 CPU time used, u64 CLOCK_REALTIME, both in ns */ \
    FIELD(OUTCOME, 1, 1)             /* u8, enum px_outcome */ \
    FIELD(EXIT_CODE, 4, 1)           /* i32 */ \
    FIELD(VALUE, PX_VALUE_MAX, 1024) /* UTF-8, in parts */ \
    FIELD(VALUE_TRUNCATED, 1, 1)     /* u8 */ \
    FIELD(ERROR_TYPE, PX_WIRE_NAME_MAX, 1) \
    FIELD(ERROR_MESSAGE, PX_VALUE_MAX, 1024) \
    FIELD(ERROR_LINE, 4, 1) /* i32, 0: unknown */ \
    FIELD(TRACEBACK, PX_TRACEBACK_MAX, 64) \
    FIELD(DENIAL, PX_DENIALS_MAX * 2048, PX_DENIALS_MAX) /* u8 layer, i32 line, u16 length of `what`, what, hint */ \
    FIELD(DENIALS_DROPPED, 8, 1)                         /* u64 */ \
    FIELD(SUGGESTION, 1024, 1)                           /* the interpreter's "Did you mean" and the like */ \
    FIELD(CRASH, 2, 1)                                   /* u8 signal, u8 1 if the address space was used up */ \
    FIELD(DONE, 0, 1) \
    FIELD(VALUE_JSON, PX_VALUE_MAX, 1024)                              /* JSON text, in parts */ \
    FIELD(VALUE_JSON_ERROR, 1024, 1)                                   /* why there is no VALUE_JSON */ \
    FIELD(DISPLAY, PX_DISPLAYS_MAX, PX_DISPLAYS_MAX)                   /* begins a display: u8, PX_DISPLAY_… */ \
    FIELD(DISPLAY_FORM, PX_FORMS_MAX *PX_MIME_MAX, PX_FORMS_MAX)       /* a MIME type; its data follows */ \
    FIELD(DISPLAY_DATA, PX_DISPLAY_BYTES_MAX, PX_FORMS_MAX * 3)        /* bytes, UTF-8 or JSON text, in parts */ \
    FIELD(DISPLAY_METADATA, PX_DISPLAY_BYTES_MAX, PX_DISPLAYS_MAX * 4) /* JSON text, in parts */ \
    FIELD(DISPLAY_END, 0, PX_DISPLAYS_MAX) \
    FIELD(DISPLAYS_DROPPED, 8, 1) /* u64 */ \
    FIELD(READY, 0, 1)            /* ready to be stopped; sent if the run asked for it (PX_RUN_FLAG_DROP_STOP) */ \
    FIELD(ADVICE, 2048, 1)        /* a complete hint about something that only the child can see */ \
    FIELD(TOOL_CALL, INT64_MAX, UINT32_MAX)      /* begins a call: u64 number, greater than the last; name */ \
    FIELD(TOOL_ARGUMENTS, INT64_MAX, UINT32_MAX) /* JSON text of an object, in parts */ \
    FIELD(TOOL_CALL_END, 0, UINT32_MAX) \
    FIELD(TOOL_ABANDON, INT64_MAX, UINT32_MAX) /* u64 number: nothing waits for this answer any more */

enum px_result_field {
    PX_RESULT_NONE,
#define PX_RESULT_KIND(name, size, count) PX_RESULT_##name,
    PX_RESULT_FIELDS(PX_RESULT_KIND)
#undef PX_RESULT_KIND
        PX_RESULT_KINDS
};

/* How the script ended, as the child says. */
enum px_outcome {
    PX_OUTCOME_OK,
    PX_OUTCOME_ERROR,   /* an uncaught exception, or sys.exit(n) with n not 0 */
    PX_OUTCOME_MEMORY,  /* an uncaught MemoryError */
    PX_OUTCOME_TRAPPED, /* a system call outside the filter; a DENIAL names it */
    PX_OUTCOME_KINDS
};

/* What refused something; also the `layer` of a denial in the result. */
enum px_denial_layer {
    PX_DENIAL_IMPORTS,
    PX_DENIAL_FILES,
    PX_DENIAL_NETWORK,
    PX_DENIAL_SYSCALL,
    PX_DENIAL_PROCESSES,
    PX_DENIAL_TOOLS,
    PX_DENIAL_KINDS
};
const char *px_denial_layer_name(enum px_denial_layer layer);

/* The byte of the DISPLAY field. */
enum {
    PX_DISPLAY_SHOWN,      /* by display() or a library */
    PX_DISPLAY_LAST_VALUE, /* the value of the last expression */
    PX_DISPLAY_KINDS
};

/* Fields of the run message, host → child. A list is sent as one field for each item. Code that does not fit into
 * the message comes in a memory file; the descriptors have the order tools, code, variables, stdin. A message with
 * descriptors begins with a field that has one (PX_RUN_INPUT, PX_RUN_TOOLS_FILE, PX_RUN_CODE_FILE or
 * PX_RUN_VARIABLES_FILE): the child looks at this field before it reads the message. */
enum px_run_field {
    PX_RUN_NONE,
    PX_RUN_FLAGS,             /* u32, PX_RUN_FLAG_… */
    PX_RUN_CODE,              /* UTF-8, without a NUL at the end */
    PX_RUN_CODE_FILE,         /* u64: length of the code in its memory file */
    PX_RUN_INPUT,             /* empty: the last descriptor of the message becomes stdin */
    PX_RUN_VARIABLES,         /* a JSON object of names and values */
    PX_RUN_VARIABLES_FILE,    /* u64: their length in a memory file */
    PX_RUN_FILENAME,          /* "<cell>" */
    PX_RUN_MAX_VALUE,         /* u64 */
    PX_RUN_VALUE_JSON,        /* u8, enum px_value_json */
    PX_RUN_MAX_DISPLAYS,      /* u64 */
    PX_RUN_MAX_DISPLAY_BYTES, /* u64 */
    PX_RUN_TIMEOUT_MS,        /* u64, only for the text of messages; the host measures the time */
    PX_RUN_CPU_SECONDS,       /* u64, 0: no limit; only for the text of messages */
    PX_RUN_MEMORY_BYTES,      /* u64, 0: no limit; only for the text of messages */
    PX_RUN_MAX_OPEN_FILES,    /* u64; UINT64_MAX: no limit */
    PX_RUN_MAX_THREADS,       /* u64, only for the text of messages */
    PX_RUN_FILES,             /* u8, enum px_files */
    PX_RUN_WORKSPACE,         /* absolute path of the workspace in the sandbox */
    PX_RUN_WORKING_DIR,       /* absolute path, inside the workspace */
    PX_RUN_ALLOWED_IMPORT,    /* one field for each name */
    PX_RUN_BANNED_IMPORT,     /* one field for each name */
    PX_RUN_ENV,               /* NAME=VALUE, one field for each */
    PX_RUN_END,               /* the last field of the last packet */
    PX_RUN_TOOLS,             /* a JSON array of the tools that the script may call */
    PX_RUN_TOOLS_FILE,        /* u64: its length in a memory file, whose descriptor is the first of the message */
    /* The answer of one tool call. It is sent during the run, in separate packets. */
    PX_RUN_TOOL_ANSWER, /* begins an answer: u64 number of the call, u8 enum px_tool_answer, u32 bytes that follow */
    PX_RUN_TOOL_TEXT,   /* JSON text, in parts */
    PX_RUN_KINDS
};
enum {
    PX_RUN_FLAG_WHITELIST = 1 << 0,
    PX_RUN_FLAG_BLOCK_DUNDER = 1 << 1,
    PX_RUN_FLAG_LAST_EXPRESSION = 1 << 2,
    PX_RUN_FLAG_NETWORK = 1 << 3,      /* the script may use the network */
    PX_RUN_FLAG_SESSION = 1 << 4,      /* the state stays, and more runs follow on the channel */
    PX_RUN_FLAG_SAME_IMPORTS = 1 << 5, /* the sets of the last run hold; this message has none */
    PX_RUN_FLAG_DROP_STOP = 1 << 6,    /* the last run was told to stop, perhaps too late: the child drops
                                               a late signal and then sends READY */
};

/* Whether the last value is sent as JSON, and how JSON writes tables. */
enum px_value_json { PX_VALUE_JSON_NONE, PX_VALUE_JSON_RECORDS, PX_VALUE_JSON_SPLIT, PX_VALUE_JSON_KINDS };

/* How a tool call ended. The text of its answer is the result, an object {"message", "data"}, or {"reason",
 * "hint"}. */
enum px_tool_answer { PX_TOOL_RESULT, PX_TOOL_ERROR, PX_TOOL_DENIED, PX_TOOL_ANSWERS };

/* Writing fields. A packet is built in a buffer of PX_PACKET_MAX bytes. px_wire_put() sends it when it is full,
 * and splits long fields. These functions need only sendmsg() and their own memory, so they work in the child
 * after lock-down. They return 0, or -1 with errno when the other side is gone. */
struct px_wire_writer {
    int socket;
    size_t length;
    char packet[PX_PACKET_MAX];
};
int px_wire_put(struct px_wire_writer *writer, uint16_t kind, const void *bytes, size_t length);
int px_wire_flush(struct px_wire_writer *writer);

/* Adds a whole field to a message that is sent later. */
void px_wire_add(struct px_buffer *message, uint16_t kind, const void *bytes, size_t length);

/* Reads the next field of one packet. Returns 1 with the field, 0 at the end, or -1 when the packet is malformed. */
struct px_wire_field {
    uint16_t kind;
    uint32_t length;
    const char *bytes; /* points into the packet; not aligned */
};
int px_wire_next(const char *packet, size_t size, size_t *offset, struct px_wire_field *ret);

/* Signals that the host sends to a child. The guest installs Python-level handlers for them. */
#define PX_SIGNAL_TIMEOUT 40 /* raises TimeoutError; a real-time signal, because scripts seldom use these */
#define PX_SIGNAL_CPU 41     /* raises TimeoutError when the limit of CPU time is reached */
/* SIGINT raises KeyboardInterrupt (interrupt and cancel). */
#define PX_SIGNAL_NUDGE \
    42 /* does nothing, but ends a wait in a system call, so that
                                           Python handles a signal that came just before it */

#endif
