/* SPDX-License-Identifier: Apache-2.0 */
/* The wire: every message between pyexec's processes, and who may send it.
 *
 *   host ⇄ supervisor   one SOCK_SEQPACKET; both are trusted; fixed structs (px_launch_*)
 *   host ⇄ zygote       one SOCK_SEQPACKET; both are trusted; fixed structs (px_clone_*)
 *   host → child        one SOCK_SEQPACKET; trusted in this direction (run_fields.def)
 *   child → host        the same socket; HOSTILE: the fields of child_fields.def; px_child_result_parse()
 *                       checks kind, count, size and range
 *
 * A message on the child's socket consists of packets, and a packet of fields: {u16 kind, u16 zero, u32 length,
 * bytes}, in native byte order, unaligned, at most PX_PACKET_MAX bytes in total. A longer field is sent in parts,
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
#define PX_RUN_PATH_MAX 4096
#define PX_DISPLAYS_MAX 1000             /* the maximum of max_displays */
#define PX_DISPLAY_BYTES_MAX (64u << 20) /* the maximum of max_display_bytes */
#define PX_DISPLAY_FORMS_MAX 32          /* MIME types in one display */
#define PX_FORMS_MAX (PX_DISPLAYS_MAX * PX_DISPLAY_FORMS_MAX)
#define PX_MIME_MAX 127                       /* bytes in the name of a MIME type (RFC 6838 allows 127 for each part) */
#define PX_METADATA_MAX (64u << 10)           /* bytes of JSON in one display */
#define PX_TOOLS_MAX 1256                     /* tools in one execution, with those of modules */
#define PX_TOOL_NAME_MAX 128                  /* bytes */
#define PX_TOOLS_TEXT_MAX (4u << 20)          /* bytes of all definitions together, as JSON */
#define PX_TOOL_VALUE_MAX (8u << 20)          /* bytes of the arguments of one call, or of its answer */
#define PX_TOOL_CALLS_AT_ONCE 64              /* calls without an answer; the next call waits in the child */
#define PX_TOOL_ARGUMENTS_AT_ONCE (32u << 20) /* bytes of the arguments of these calls together */

/* The fields that a child sends. DONE ends the result. */
enum px_result_field {
    PX_RESULT_NONE,
#define PX_CHILD_NUMBER(NAME, ...) PX_RESULT_##NAME,
#define PX_CHILD_TEXT(NAME, ...) PX_RESULT_##NAME,
#define PX_CHILD_MARK(NAME, ...) PX_RESULT_##NAME,
#define PX_CHILD_OTHER(NAME, ...) PX_RESULT_##NAME,
#include "protocol/child_fields.def"
    PX_RESULT_KINDS
};

/* How the script ended. This is a claim of the child. */
enum px_outcome {
    PX_OUTCOME_OK,
    PX_OUTCOME_ERROR,   /* an uncaught exception, or sys.exit(n) with n not 0 */
    PX_OUTCOME_MEMORY,  /* an uncaught MemoryError */
    PX_OUTCOME_TRAPPED, /* a system call outside the filter; a DENIAL names it */
    PX_OUTCOME_KINDS
};

/* The part of pyexec that refused an action. It is also the `layer` of a denial in the result. */
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
    PX_DISPLAY_SHOWN,      /* shown by display() or by a library */
    PX_DISPLAY_LAST_VALUE, /* the value of the last expression */
    PX_DISPLAY_KINDS
};

/* The fields of the run message. */
enum px_run_field {
    PX_RUN_NONE,
#define PX_RUN_MARK(NAME, ...) PX_RUN_##NAME,
#define PX_RUN_LONG(NAME, ...) PX_RUN_##NAME, PX_RUN_##NAME##_FILE,
#define PX_RUN_NUMBER(NAME, ...) PX_RUN_##NAME,
#define PX_RUN_TEXT(NAME, ...) PX_RUN_##NAME,
#define PX_RUN_LIST(NAME, ...) PX_RUN_##NAME,
#define PX_RUN_ANSWER(NAME) PX_RUN_##NAME,
#include "protocol/run_fields.def"
    PX_RUN_KINDS
};

/* The maximum number of memory files that come with a run message. */
enum {
    PX_RUN_FILES_MAX = 0
#define PX_RUN_LONG(...) +1
#include "protocol/run_fields.def"
};

/* The bits of the field FLAGS. */
enum {
    PX_RUN_FLAG_WHITELIST = 1 << 0,
    PX_RUN_FLAG_BLOCK_DUNDER = 1 << 1,
    PX_RUN_FLAG_LAST_EXPRESSION = 1 << 2,
    PX_RUN_FLAG_NETWORK = 1 << 3,      /* the script may use the network */
    PX_RUN_FLAG_SESSION = 1 << 4,      /* the state stays, and more runs follow on the channel */
    PX_RUN_FLAG_SAME_IMPORTS = 1 << 5, /* use the import sets of the last run; this message has none */
    PX_RUN_FLAG_DROP_STOP = 1 << 6,    /* the last run was told to stop, perhaps too late: the child drops
                                               a late signal and then sends READY */
    PX_RUN_FLAG_CALL = 1 << 7,    /* no code: VARIABLES is the call of a function, whose value is sent as VALUE_JSON */
    PX_RUN_FLAG_TEST = 1 << 8,    /* sends null as VALUE_JSON if the code has run to its end */
    PX_RUN_FLAG_COMPILE = 1 << 9, /* only compiles the code, and keeps it for branches */
    PX_RUN_FLAG_COMPILED = 1 << 10,      /* no code: runs what was kept */
    PX_RUN_FLAG_PREPARE_CALLS = 1 << 11, /* before the code runs, prepares what CALL needs */
    PX_RUN_FLAG_BY_NAME = 1 << 12,       /* the script may connect to the proxy (allowed_hosts) */
    PX_RUN_FLAGS_ALL = (PX_RUN_FLAG_BY_NAME << 1) - 1,
};

/* Says whether the last value is sent as JSON, and how JSON writes tables. */
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

/* A field that is a number: its size in the packet, the struct member that it becomes, and its range. */
struct px_wire_number {
    uint8_t wire_size, member_size; /* bytes: 1, 4 or 8 */
    bool is_signed;
    size_t offset;
    int64_t minimum;
    uint64_t maximum;
};
#define PX_WIRE_NUMBER(wire, owner, member, minimum_, maximum_) \
    { \
        .wire_size = sizeof(wire), .member_size = sizeof(((owner *)NULL)->member), .is_signed = (wire)-1 < (wire)1, \
        .offset = offsetof(owner, member), .minimum = (minimum_), .maximum = (uint64_t)(maximum_) \
    }

/* Writes the number into the struct. Returns 0, or -1 when the field has another size or is out of range. */
int px_wire_take_number(const struct px_wire_number *row, const struct px_wire_field *field, void *owner);

/* Appends the bytes of the field. Returns 0, or -1 when the text would be longer than `maximum` or there is no
 * memory. */
int px_wire_take_text(struct px_buffer *to, const struct px_wire_field *field, size_t maximum);

/* Signals that the host sends to a child. The guest installs Python-level handlers for them. */
#define PX_SIGNAL_TIMEOUT 40 /* raises TimeoutError; a real-time signal, because scripts seldom use these */
#define PX_SIGNAL_CPU 41     /* raises TimeoutError when the limit of CPU time is reached */
/* SIGINT raises KeyboardInterrupt (interrupt and cancel). */
#define PX_SIGNAL_NUDGE \
    42 /* does nothing, but ends a wait in a system call, so that
                                           Python handles a signal that came just before it */

#endif
