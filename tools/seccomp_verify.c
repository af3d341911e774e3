/* SPDX-License-Identifier: Apache-2.0 */
/* Checks a compiled filter: runs it, and compares its answers with the rows of syscalls.def. The answers of the rows are computed
 * here, one row after another, without the compiler's tree. A difference fails the build. */
#include "seccomp_compile.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>

static bool test_holds(const struct px_test *test, const uint64_t arguments[6])
{
    uint64_t argument = arguments[test->argument];
    if (test->wide && argument >> 32 != 0)
        return false;
    for (size_t i = 0; i < test->count; i++)
        if (((uint32_t)argument & test->mask) == test->values[i])
            return true;
    return false;
}

static bool is_setup(const struct px_rules *rules, uint32_t number)
{
    for (size_t i = 0; i < rules->row_count; i++)
        if (rules->rows[i].number == (int)number)
            return rules->rows[i].setup;
    return false;
}

/* Returns the value that seccomp(2) must return, computed directly from the rows. */
static uint32_t decide(const struct px_rules *rules, bool online, enum px_part part, uint32_t arch, uint32_t number,
                       const uint64_t arguments[6])
{
    if (arch != rules->audit_arch || number >= 0x40000000u)
        return SECCOMP_RET_TRAP;
    if (part == PX_PART_ZYGOTE && is_setup(rules, number))
        return SECCOMP_RET_ALLOW;
    if (part == PX_PART_CHILD && !is_setup(rules, number))
        return SECCOMP_RET_ALLOW;
    for (size_t i = 0; i < rules->row_count; i++) {
        const struct px_row *row = &rules->rows[i];
        if (row->number < 0 || (uint32_t)row->number != number)
            continue;
        bool holds = true;
        for (size_t t = 0; t < row->test_count; t++)
            holds = holds && test_holds(&row->tests[t], arguments);
        if (holds)
            return px_row_return(row, online);
    }
    if (number < rules->known.count && rules->known.names[number])
        return SECCOMP_RET_TRAP;
    return SECCOMP_RET_ERRNO | ENOSYS;
}

uint32_t px_rules_decide(const struct px_rules *rules, bool online, uint32_t number, const uint64_t arguments[6])
{
    return decide(rules, online, PX_PART_WHOLE, rules->audit_arch, number, arguments);
}

/* Runs the program like the kernel, but only knows the instructions that the compiler uses. Returns 0xffffffff when the program
 * jumps out of its end or has another instruction. */
static uint32_t run(const struct px_program *program, const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t i = 0; i < program->length; i++) {
        const struct sock_filter *in = &program->code[i];
        bool jump = false;
        switch (in->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            memcpy(&a, (const char *)data + in->k, sizeof a);
            continue;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= in->k;
            continue;
        case BPF_RET | BPF_K:
            return in->k;
        case BPF_JMP | BPF_JA:
            i += in->k;
            continue;
        case BPF_JMP | BPF_K | BPF_JEQ:
            jump = a == in->k;
            break;
        case BPF_JMP | BPF_K | BPF_JGT:
            jump = a > in->k;
            break;
        case BPF_JMP | BPF_K | BPF_JGE:
            jump = a >= in->k;
            break;
        case BPF_JMP | BPF_K | BPF_JSET:
            jump = (a & in->k) != 0;
            break;
        default:
            return UINT32_MAX;
        }
        i += jump ? in->jt : in->jf;
    }
    return UINT32_MAX;
}

struct check {
    const struct px_rules *rules;
    const struct px_program *program;
    const struct px_program *second; /* the second part, or NULL */
    bool online;
    enum px_part part;
};

/* If there are two filters, the kernel uses the answer whose action comes first in the list of seccomp(2). That is the smaller
 * action, compared as signed numbers. */
static uint32_t stricter(uint32_t left, uint32_t right)
{
    return (int32_t)(left & SECCOMP_RET_ACTION_FULL) <= (int32_t)(right & SECCOMP_RET_ACTION_FULL) ? left : right;
}

static int check_one(const struct check *check, uint32_t arch, uint32_t number, const uint64_t arguments[6])
{
    struct seccomp_data data = {.nr = (int)number, .arch = arch};
    for (int i = 0; i < 6; i++)
        data.args[i] = arguments[i];
    uint32_t got = run(check->program, &data);
    if (check->second)
        got = stricter(got, run(check->second, &data));
    uint32_t want = decide(check->rules, check->online, check->part, arch, number, arguments);
    if (got == want)
        return 0;
    fprintf(stderr,
            "seccomp_gen: arch %#x, call %u (%#llx, %#llx, %#llx, %#llx): "
            "the program says %#x, the rules %#x\n",
            arch, number, (unsigned long long)arguments[0], (unsigned long long)arguments[1],
            (unsigned long long)arguments[2], (unsigned long long)arguments[3], got, want);
    return -1;
}

/* The values of one argument to test: the values in the tests of this call, their neighbours, values that differ from them in one
 * bit, and all of these with bits in the upper half. */
#define INTERESTING_MAX 4096
struct interesting {
    size_t count;
    uint64_t values[INTERESTING_MAX];
};

static void add_value(struct interesting *set, uint64_t value)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->values[i] == value)
            return;
    if (set->count < INTERESTING_MAX)
        set->values[set->count++] = value;
}

static void find_interesting(const struct px_rules *rules, uint32_t number, unsigned argument, bool bits,
                             struct interesting *set)
{
    set->count = 0;
    add_value(set, 0);
    add_value(set, UINT64_MAX);
    for (size_t i = 0; i < rules->row_count; i++) {
        const struct px_row *row = &rules->rows[i];
        if (row->number != (int)number)
            continue;
        for (size_t t = 0; t < row->test_count; t++) {
            const struct px_test *test = &row->tests[t];
            for (size_t v = 0; test->argument == argument && v < test->count; v++) {
                uint64_t value = test->values[v];
                add_value(set, value);
                add_value(set, value + 1);
                add_value(set, (uint32_t)(value - 1));
                add_value(set, value | 1ull << 32);
                for (unsigned bit = 0; bits && bit < 64; bit++)
                    add_value(set, value ^ 1ull << bit);
            }
        }
    }
}

/* Returns only the rows of one call, so that the many decisions about this call are fast. */
static struct px_rules rules_of(const struct px_rules *rules, uint32_t number)
{
    struct px_rules of = *rules;
    of.row_count = 0;
    for (size_t i = 0; i < rules->row_count; i++) {
        if (rules->rows[i].number != (int)number)
            continue;
        if (of.row_count == 0)
            of.rows = &rules->rows[i];
        of.row_count++;
    }
    return of;
}

int px_rules_edges(const struct px_rules *all, uint32_t number, uint64_t fill, px_edge *each, void *data)
{
    static struct interesting set;
    struct px_rules rules = rules_of(all, number);
    for (unsigned argument = 0; argument < 6; argument++) {
        find_interesting(&rules, number, argument, true, &set);
        for (size_t i = 0; i < set.count; i++) {
            /* Gives the other arguments values that the tests accept, so that only this argument decides. */
            uint64_t arguments[6] = {fill, fill, fill, fill, fill, fill};
            for (size_t r = 0; r < rules.row_count; r++)
                for (size_t t = 0; t < rules.rows[r].test_count; t++)
                    arguments[rules.rows[r].tests[t].argument] = rules.rows[r].tests[t].values[0];
            arguments[argument] = set.values[i];
            int result = each(data, number, arguments);
            if (result != 0)
                return result;
        }
    }
    return 0;
}

static int check_edge(void *data, uint32_t number, const uint64_t arguments[6])
{
    const struct check *check = data;
    return check_one(check, check->rules->audit_arch, number, arguments);
}

/* Checks all combinations of the values of the first three arguments, and then the values of each argument alone. */
static int check_call(const struct check *all, uint32_t number)
{
    static struct interesting sets[3];
    struct px_rules rules = rules_of(all->rules, number);
    struct check check = *all;
    check.rules = &rules;
    for (unsigned argument = 0; argument < 3; argument++)
        find_interesting(&rules, number, argument, false, &sets[argument]);
    for (size_t i = 0; i < sets[0].count; i++)
        for (size_t j = 0; j < sets[1].count; j++)
            for (size_t k = 0; k < sets[2].count; k++) {
                uint64_t arguments[6] = {sets[0].values[i], sets[1].values[j], sets[2].values[k]};
                if (check_one(&check, rules.audit_arch, number, arguments) < 0)
                    return -1;
            }
    return px_rules_edges(&rules, number, 0, check_edge, &check);
}

static int check_all(const struct check *check)
{
    static const uint32_t far[] = {0x3fffffff, 0x40000000, 0x40000001, 0x400000ff,
                                   0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
    static const uint64_t none[6];
    uint32_t native = check->rules->audit_arch;
    for (uint32_t number = 0; number < 2048; number++) {
        if (check_call(check, number) < 0 || check_one(check, native, number | 0x40000000u, none) < 0)
            return -1;
        for (unsigned bit = 0; bit < 32; bit++)
            if (check_one(check, native ^ 1u << bit, number, none) < 0)
                return -1;
    }
    for (size_t i = 0; i < sizeof far / sizeof *far; i++)
        if (check_one(check, native, far[i], none) < 0)
            return -1;
    return 0;
}

int px_program_verify(const struct px_rules *rules, bool online, enum px_part part, const struct px_program *program)
{
    struct check check = {rules, program, NULL, online, part};
    return check_all(&check);
}

int px_parts_verify(const struct px_rules *rules, bool online, const struct px_program *zygote,
                    const struct px_program *child)
{
    struct check check = {rules, zygote, child, online, PX_PART_WHOLE};
    return check_all(&check);
}
