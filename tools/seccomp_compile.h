/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the rows of syscalls.def to a BPF program, and checks the program against the rows. Used only at build time. */
#ifndef PX_TOOLS_SECCOMP_COMPILE_H
#define PX_TOOLS_SECCOMP_COMPILE_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PX_TEST_VALUES 24
#define PX_ROW_TESTS 3
#define PX_PROGRAM_MAX 2048

/* True if (argument & mask) is one of the values; with `wide` the argument's upper half must also be zero. */
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
    PX_ACTION_NOTIFY,
};
struct px_action {
    enum px_action_kind kind;
    unsigned value;   /* the errno of PX_ACTION_ERRNO */
    const char *name; /* the same as in px_syscall_rule */
};

struct px_row {
    const char *call;
    struct px_action action;
    size_t test_count;
    struct px_test tests[PX_ROW_TESTS];
    const char *condition, *reason;
    int number; /* on the target architecture; -1: it does not have this call */
    bool setup; /* the row is in PX_SETUP */
};

/* ---- How the tables write the tests of a row ---- */

#define LIST(...) .count = sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), .values = {__VA_ARGS__}
#define IN(n, ...) \
    { \
        .argument = n, .mask = UINT32_MAX, LIST(__VA_ARGS__) \
    }
#define MASKED_IN(n, bits, ...) \
    { \
        .argument = n, .mask = bits, LIST(__VA_ARGS__) \
    }
#define WIDE_IN(n, ...) \
    { \
        .argument = n, .wide = true, .mask = UINT32_MAX, LIST(__VA_ARGS__) \
    }
#define ONLY_BITS(n, bits) \
    { \
        .argument = n, .mask = ~(uint32_t)(bits), LIST(0) \
    }
#define NO_BITS(n, bits) \
    { \
        .argument = n, .mask = (bits), LIST(0) \
    }

#define COUNT_TESTS(...) sizeof((struct px_test[]){__VA_ARGS__}) / sizeof(struct px_test)
#define WHEN(...) .test_count = COUNT_TESTS(__VA_ARGS__), .tests = {__VA_ARGS__}
#define ALWAYS .test_count = 0

/* ---- The architecture of this build: its includer has linux/audit.h and seccomp.h ---- */

#if defined(__x86_64__)
#define TARGET_ARCH SCMP_ARCH_X86_64
#define TARGET_AUDIT AUDIT_ARCH_X86_64
#define TARGET_MACRO "__x86_64__"
#elif defined(__aarch64__)
#define TARGET_ARCH SCMP_ARCH_AARCH64
#define TARGET_AUDIT AUDIT_ARCH_AARCH64
#define TARGET_MACRO "__aarch64__"
#else
#error "pyexec's filters are made for x86-64 and aarch64"
#endif

/* A row PX_SETUP of the tables. */
struct px_setup {
    const char *call, *use;
};

struct px_row_list {
    const struct px_row *rows;
    size_t count;
};

/* What docs/syscalls.md shows. */
struct px_docs {
    struct px_row_list all, with_branches, by_name;
    const struct px_setup *setups, *setups_by_name;
    size_t setup_count, setup_by_name_count;
};

/* Writes docs/syscalls.md to standard output (seccomp_docs.c). */
void px_write_markdown(const struct px_docs *docs);

/* Which part of the filter: see the end of syscalls.def. */
enum px_part {
    PX_PART_WHOLE,
    PX_PART_ZYGOTE, /* allows the set-up calls */
    PX_PART_CHILD,  /* allows all calls except the set-up calls */
};

/* Every number of the target that libseccomp knows. */
struct px_known {
    const char *const *names; /* NULL for a number that is not known */
    uint32_t count;           /* the greatest known number + 1 */
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

/* Returns the decision that the whole filter must make about a call, computed directly from the rows. */
uint32_t px_rules_decide(const struct px_rules *rules, bool online, uint32_t number, const uint64_t arguments[6]);

/* Calls `each` with arguments that are equal to, or next to, each value in the tests of this call. Arguments that no test examines
 * are `fill`. Stops when `each` does not return 0, and returns its value. */
typedef int px_edge(void *data, uint32_t number, const uint64_t arguments[6]);
int px_rules_edges(const struct px_rules *rules, uint32_t number, uint64_t fill, px_edge *each, void *data);

/* Runs the program for every number, with arguments that are equal to, or next to, each value in the tests, and compares its
 * answers with the rows. Returns 0, or -1 after it has written the difference to stderr. */
int px_program_verify(const struct px_rules *rules, bool online, enum px_part part, const struct px_program *program);

/* The same for the two parts: together they must make the decisions of the whole filter. */
int px_parts_verify(const struct px_rules *rules, bool online, const struct px_program *zygote,
                    const struct px_program *child);

#endif
