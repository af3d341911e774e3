/* SPDX-License-Identifier: Apache-2.0 */
/* From the rows of syscalls.def to a BPF program, and back by checking it. Build time only. */
#ifndef PX_TOOLS_SECCOMP_COMPILE_H
#define PX_TOOLS_SECCOMP_COMPILE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PX_TEST_VALUES 24
#define PX_ROW_TESTS 3
#define PX_PROGRAM_MAX 2048

/* (argument & mask) is one of the values; `wide`: and its upper half is zero. */
struct px_test {
    unsigned argument;
    bool wide;
    uint32_t mask;
    size_t count;
    uint32_t values[PX_TEST_VALUES];
};

enum px_action_kind {
    PX_ACTION_ALLOW,
    PX_ACTION_ONLINE,
    PX_ACTION_ERRNO,
    PX_ACTION_TRAP,
};
struct px_action {
    enum px_action_kind kind;
    unsigned value;   /* of errno */
    const char *name; /* as px_syscall_rule has it */
};

struct px_row {
    const char *call;
    struct px_action action;
    size_t test_count;
    struct px_test tests[PX_ROW_TESTS];
    const char *condition, *reason;
    int number; /* on the target architecture, or -1 when it lacks the call */
    bool setup; /* PX_SETUP has it */
};

/* Which part of the filter: see the end of syscalls.def. */
enum px_part {
    PX_PART_WHOLE,
    PX_PART_ZYGOTE, /* set-up calls allowed */
    PX_PART_CHILD,  /* all but set-up calls allowed */
};

/* Every number of the target that libseccomp knows. */
struct px_known {
    const char *const *names; /* NULL where unknown */
    uint32_t count;           /* greatest known number + 1 */
};

struct px_rules {
    const struct px_row *rows;
    size_t row_count;
    struct px_known known;
    uint32_t audit_arch;
};

struct px_program {
    size_t length;
    struct sock_filter code[PX_PROGRAM_MAX];
};

/* The return value of a row. */
uint32_t px_row_return(const struct px_row *row, bool online);

/* Fills *ret_program. 0, or -1 with a message on stderr. */
int px_rules_compile(const struct px_rules *rules, bool online, enum px_part part, struct px_program *ret_program);

/* What the whole filter is to answer to a call of the target, read straight from the rows. */
uint32_t px_rules_decide(const struct px_rules *rules, bool online, uint32_t number, const uint64_t arguments[6]);

/* Calls `each` with arguments at and around every value that a test of this call names; what no
 * test looks at is `fill`. Stops when `each` returns other than 0, and returns that. */
typedef int px_edge(void *data, uint32_t number, const uint64_t arguments[6]);
int px_rules_edges(const struct px_rules *rules, uint32_t number, uint64_t fill, px_edge *each, void *data);

/* Runs the program on every number with arguments at and around every value that a test
 * names, and compares with the rows. 0, or -1 with the difference on stderr. */
int px_program_verify(const struct px_rules *rules, bool online, enum px_part part, const struct px_program *program);

/* The same for the two parts together against the whole. */
int px_parts_verify(const struct px_rules *rules, bool online, const struct px_program *zygote,
                    const struct px_program *child);

#endif
