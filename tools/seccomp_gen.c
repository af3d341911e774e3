/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the system call filters at build time.
 *
 *     seccomp_gen OUTPUT.c        the two BPF programs, the names of the calls, the rules
 *     seccomp_gen --markdown      docs/syscalls.md on standard output
 *     seccomp_gen --edges offline|online|by-name
 *                                 calls whose arguments are equal to, or next to, the values in the rules, one on each line
 *     seccomp_gen --verdicts offline|online|by-name
 *                                 the list's answer to each such line of standard input
 *
 * The numbers and names of the architecture's calls come from libseccomp. The library itself (sandbox/seccomp.c) does not need
 * libseccomp: it uses the output of this program. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <termios.h>

#include "base/branches.h"
#include "sandbox/limits.h"
#include "seccomp_compile.h"

/* Some C libraries' headers do not have these. They are the same on x86-64 and aarch64. */
#define PX_TCGETS2 0x802C542Au
#define PX_FICLONE 0x40049409u
#define PX_FUTEX_LOCK_PI2 13u
#define PX_RENAME_NOREPLACE 1u
#define PX_RENAME_EXCHANGE 2u
#define PX_FALLOC_KEEP_SIZE FALLOC_FL_KEEP_SIZE
#define PX_FALLOC_PUNCH_HOLE FALLOC_FL_PUNCH_HOLE
#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#define F_OFD_SETLKW 38
#endif
#define PX_MSG_FLAGS \
    (MSG_PEEK | MSG_DONTROUTE | MSG_TRUNC | MSG_DONTWAIT | MSG_EOR | MSG_WAITALL | MSG_CONFIRM | MSG_ERRQUEUE | \
     MSG_NOSIGNAL | MSG_MORE | MSG_WAITFORONE | MSG_CMSG_CLOEXEC)
#define PX_TCP_OPTIONS TCP_NODELAY, TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT, TCP_QUICKACK, TCP_USER_TIMEOUT
#define PX_IP_OPTIONS IP_TOS, IP_TTL, IP_MTU_DISCOVER, IP_RECVERR
#define PX_IPV6_OPTIONS IPV6_UNICAST_HOPS, IPV6_MTU_DISCOVER, IPV6_RECVERR, IPV6_V6ONLY, IPV6_TCLASS

#define PX_SET_ID "a workspace may be a host folder, where they would mean something to the host"
#ifndef MAP_SHARED_VALIDATE
#define MAP_SHARED_VALIDATE 3
#endif
#ifndef MAP_TYPE
#define MAP_TYPE 0xf
#endif
#define EXIT_USAGE 2

#define ALLOW \
    { \
        PX_ACTION_ALLOW, 0, "allow" \
    }
#define ONLINE \
    { \
        PX_ACTION_ONLINE, EPERM, "online" \
    }
#define ERRNO(e) \
    { \
        PX_ACTION_ERRNO, e, "errno " #e \
    }
#define NOTIFY \
    { \
        PX_ACTION_NOTIFY, 0, "notify" \
    }
#define TRAP \
    { \
        PX_ACTION_TRAP, 0, "trap" \
    }

static struct px_row rows[] = {
#define PX_CALL(name, act, tests_, words, why) \
    {.call = #name, .action = act, .condition = words, .reason = why, tests_},
#define PX_SETUP(name, use)
#include "sandbox/syscalls.def"
#undef PX_CALL
#undef PX_SETUP
};
#define ROW_COUNT (sizeof rows / sizeof rows[0])

/* The rows of a session that can be forked. Each replaces the row of the same system call above. */
static struct px_row changed[] = {
#define PX_CALL(name, act, tests_, words, why) \
    {.call = #name, .action = act, .condition = words, .reason = why, tests_},
#include "sandbox/syscalls_forkable.def"
#undef PX_CALL
};
#define CHANGED_COUNT (sizeof changed / sizeof changed[0])

/* All rows for such a session. Its filter is the zygote's part, and this child's part: the set-up calls and those that
 * differ. */
static struct px_row forkable[ROW_COUNT + CHANGED_COUNT];
static size_t forkable_count;

/* The rows of a run with allowed_hosts, in the same way. */
static struct px_row changed_named[] = {
#define PX_CALL(name, act, tests_, words, why) \
    {.call = #name, .action = act, .condition = words, .reason = why, tests_},
#define PX_SETUP(name, use)
#include "sandbox/syscalls_named.def"
#undef PX_CALL
#undef PX_SETUP
};
#define CHANGED_NAMED_COUNT (sizeof changed_named / sizeof changed_named[0])

/* All rows for such a run. */
static struct px_row named[ROW_COUNT + CHANGED_NAMED_COUNT];
static size_t named_count;

static const struct px_setup setups[] = {
#define PX_CALL(name, act, tests_, words, why)
#define PX_SETUP(name, why) {#name, why},
#include "sandbox/syscalls.def"
#undef PX_CALL
#undef PX_SETUP
};
#define SETUP_COUNT (sizeof setups / sizeof setups[0])

/* What the zygotes of runs with allowed_hosts call besides. */
static const struct px_setup setups_named[] = {
#define PX_CALL(name, act, tests_, words, why)
#define PX_SETUP(name, why) {#name, why},
#include "sandbox/syscalls_named.def"
#undef PX_CALL
#undef PX_SETUP
};
#define SETUP_NAMED_COUNT (sizeof setups_named / sizeof setups_named[0])

/* Calls that Debian 12's libseccomp may not know. Numbers from 424 are the same on all architectures (the kernel's
 * scripts/syscall.tbl). */
static const struct newer {
    const char *call;
    int number;
} newer[] = {
    {"set_mempolicy_home_node", 450},
    {"cachestat", 451},
    {"fchmodat2", 452},
    {"map_shadow_stack", 453},
    {"futex_wake", 454},
    {"futex_wait", 455},
    {"futex_requeue", 456},
    {"statmount", 457},
    {"listmount", 458},
    {"lsm_get_self_attr", 459},
    {"lsm_set_self_attr", 460},
    {"lsm_list_modules", 461},
    {"mseal", 462},
    {"setxattrat", 463},
    {"getxattrat", 464},
    {"listxattrat", 465},
    {"removexattrat", 466},
    {"open_tree_attr", 467},
    {"file_getattr", 468},
    {"file_setattr", 469},
};
#define NEWER_COUNT (sizeof newer / sizeof newer[0])

#define NAMES_MAX 560
static char *names[NAMES_MAX];

static struct px_known find_names(void)
{
    struct px_known known = {.names = (const char *const *)names};
    for (uint32_t number = 0; number < NAMES_MAX; number++) {
        names[number] = seccomp_syscall_resolve_num_arch(TARGET_ARCH, (int)number);
        for (size_t i = 0; !names[number] && i < NEWER_COUNT; i++)
            if (newer[i].number == (int)number)
                names[number] = strdup(newer[i].call);
        if (names[number])
            known.count = number + 1;
    }
    return known;
}

#define NO_SUCH_CALL (-2)

/* Returns the number of the call. -1: this architecture lacks the call; NO_SUCH_CALL: all architectures lack it. */
static int find_number(const char *call)
{
    for (size_t i = 0; i < NEWER_COUNT; i++)
        if (strcmp(newer[i].call, call) == 0)
            return newer[i].number;
    int number = seccomp_syscall_resolve_name_arch(TARGET_ARCH, call);
    if (number == __NR_SCMP_ERROR)
        return NO_SUCH_CALL;
    return number < 0 ? -1 : number;
}

static int complain(const char *call, const char *what)
{
    fprintf(stderr, "seccomp_gen: '%s': %s\n", call, what);
    return -1;
}

/* Sets the numbers of the rows. Checks that some architecture has each call, that all rows of a call are consecutive, and that only
 * the last of them has no test. */
static int number_rows(struct px_row *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct px_row *row = &list[i];
        row->number = find_number(row->call);
        if (row->number == NO_SUCH_CALL)
            return complain(row->call, "no such system call");
        bool last = i + 1 == count || strcmp(list[i + 1].call, row->call) != 0;
        if (last != (row->test_count == 0))
            return complain(row->call, "the last row of a call, and only this row, must have no tests");
        for (size_t j = 0; last && j < i; j++)
            if (strcmp(list[j].call, row->call) == 0 && strcmp(list[j + 1].call, row->call) != 0)
                return complain(row->call, "its rows are not consecutive");
    }
    return 0;
}

static bool is_among(const char *call, const struct px_row *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(list[i].call, call) == 0)
            return true;
    return false;
}

/* Puts the rows of syscalls.def and those that replace some of them into `all`. Returns how many there are. */
static size_t join_rows(struct px_row *all, const struct px_row *others, size_t count)
{
    size_t joined = 0;
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (!is_among(rows[i].call, others, count))
            all[joined++] = rows[i];
    for (size_t i = 0; i < count; i++)
        all[joined++] = others[i];
    return joined;
}

static int mark_setup(struct px_row *all, size_t count, const struct px_setup *list, size_t list_count)
{
    for (size_t s = 0; s < list_count; s++) {
        bool found = false;
        for (size_t i = 0; i < count; i++)
            if (strcmp(all[i].call, list[s].call) == 0)
                found = all[i].setup = true;
        if (!found)
            return complain(list[s].call, "PX_SETUP without a row");
    }
    return 0;
}

static int join_all(void)
{
    if (mark_setup(rows, ROW_COUNT, setups, SETUP_COUNT) < 0)
        return -1;
    for (size_t i = 0; i < CHANGED_COUNT; i++)
        changed[i].setup = true;
    forkable_count = join_rows(forkable, changed, CHANGED_COUNT);
    named_count = join_rows(named, changed_named, CHANGED_NAMED_COUNT);
    return mark_setup(named, named_count, setups_named, SETUP_NAMED_COUNT);
}

/* What the filters are made of. */
enum rules { PLAIN, WITH_BRANCHES, NAMED, RULES_COUNT };

/* The online filter's rules, those to compare with it, and their name. */
struct comparison {
    const struct px_rules *plain, *other;
    const char *file;
    bool branches;
};

/* Checks that the changed rows allow nothing more than the online filter, except in the calls that a new branch makes. Questions
 * count as allowed. */
static int check_stricter(void *data, uint32_t number, const uint64_t arguments[6])
{
    const struct comparison *comparison = data;
    uint32_t was = px_rules_decide(comparison->plain, true, number, arguments);
    uint32_t is = px_rules_decide(comparison->other, false, number, arguments) & SECCOMP_RET_ACTION_FULL;
    if ((is != SECCOMP_RET_ALLOW && is != SECCOMP_RET_USER_NOTIF) || was == SECCOMP_RET_ALLOW)
        return 0;
    const char *name = comparison->plain->known.names[number];
    if (comparison->branches &&
        (strcmp(name, "clone") == 0 || strcmp(name, "capset") == 0 || strcmp(name, "prctl") == 0))
        return 0;
    fprintf(stderr, "seccomp_gen: %s allows what syscalls.def refuses: %s\n", comparison->file, name);
    return -1;
}

static int check_rows(const struct px_row *list, size_t count, struct comparison comparison)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].number >= 0 &&
            px_rules_edges(comparison.other, (uint32_t)list[i].number, 0, check_stricter, &comparison) < 0)
            return -1;
    return 0;
}

static int check_changed(const struct px_rules rules[RULES_COUNT])
{
    struct comparison branches = {&rules[PLAIN], &rules[WITH_BRANCHES], "syscalls_forkable.def", true};
    struct comparison by_name = {&rules[PLAIN], &rules[NAMED], "syscalls_named.def", false};
    return check_rows(changed, CHANGED_COUNT, branches) < 0 ? -1
                                                            : check_rows(changed_named, CHANGED_NAMED_COUNT, by_name);
}

static void write_string(FILE *out, const char *string)
{
    fputc('"', out);
    for (; *string; string++) {
        if (*string == '"' || *string == '\\')
            fputc('\\', out);
        fputc(*string, out);
    }
    fputc('"', out);
}

static void write_program(FILE *out, const char *name, const struct px_program *program)
{
    fprintf(out, "static const struct sock_filter %s[] = {\n", name);
    for (size_t i = 0; i < program->length; i++) {
        const struct sock_filter *in = &program->code[i];
        fprintf(out, "    {0x%02x, %u, %u, 0x%08x},\n", in->code, in->jt, in->jf, in->k);
    }
    fprintf(out, "};\n\n");
}

/* Writes one string with all names, and offsets into it. A table of pointers would need a relocation for each call whenever the
 * library is loaded. */
static void write_names(FILE *out, const struct px_known *known)
{
    fprintf(out, "static const char name_text[] =\n    \"\\0\"\n");
    for (uint32_t i = 0; i < known->count; i++)
        if (names[i])
            fprintf(out, "    \"%s\\0\"\n", names[i]);
    fprintf(out, "    ;\n\nstatic const uint16_t name_offsets[] = {\n");
    size_t offset = 1;
    for (uint32_t i = 0; i < known->count; i++) {
        fprintf(out, "    %zu,\n", names[i] ? offset : 0);
        offset += names[i] ? strlen(names[i]) + 1 : 0;
    }
    fprintf(out, "};\n\n"
                 "const char *px_syscall_name(int number)\n{\n"
                 "    size_t count = sizeof name_offsets / sizeof name_offsets[0];\n"
                 "    if (number < 0 || (size_t)number >= count ||\n"
                 "        name_offsets[number] == 0)\n"
                 "        return NULL;\n"
                 "    return name_text + name_offsets[number];\n}\n\n");
}

static void write_rules(FILE *out)
{
    fprintf(out, "static const struct px_syscall_rule rules[] = {\n");
    for (size_t i = 0; i < ROW_COUNT; i++) {
        const char *const fields[] = {rows[i].call, rows[i].action.name, rows[i].condition, rows[i].reason};
        for (int f = 0; f < 4; f++) {
            fputs(f == 0 ? "    {" : ", ", out);
            write_string(out, fields[f]);
        }
        fprintf(out, "},\n");
    }
    fprintf(out, "};\n\n"
                 "const struct px_syscall_rule *px_syscall_rules(size_t *ret_count)\n{\n"
                 "    *ret_count = sizeof rules / sizeof rules[0];\n"
                 "    return rules;\n}\n");
}

/* The filters of enum px_filter, in its order. */
static const struct filter {
    const char *name, *constant;
    bool online;
    enum px_part part;
    enum rules rules;
} filters[] = {
    {"offline", "PX_FILTER_OFFLINE", false, PX_PART_WHOLE, PLAIN},
    {"online", "PX_FILTER_ONLINE", true, PX_PART_WHOLE, PLAIN},
    {"by_name", "PX_FILTER_NAMED", false, PX_PART_WHOLE, NAMED},
    {"zygote_offline", "PX_FILTER_ZYGOTE_OFFLINE", false, PX_PART_ZYGOTE, PLAIN},
    {"zygote_online", "PX_FILTER_ZYGOTE_ONLINE", true, PX_PART_ZYGOTE, PLAIN},
    {"zygote_by_name", "PX_FILTER_ZYGOTE_NAMED", false, PX_PART_ZYGOTE, NAMED},
    {"child", "PX_FILTER_CHILD", false, PX_PART_CHILD, PLAIN},
    {"child_by_name", "PX_FILTER_CHILD_NAMED", false, PX_PART_CHILD, NAMED},
    {"child_forkable", "PX_FILTER_CHILD_FORKABLE", false, PX_PART_CHILD, WITH_BRANCHES},
};
#define FILTER_COUNT (sizeof filters / sizeof filters[0])

/* The parts that a process has together: a zygote's, and that of one of its children. */
static bool go_together(const struct filter *zygote, const struct filter *child)
{
    return zygote->part == PX_PART_ZYGOTE && child->part == PX_PART_CHILD &&
           (zygote->rules == NAMED) == (child->rules == NAMED);
}

static int make_programs(const struct px_rules rules[RULES_COUNT], struct px_program programs[FILTER_COUNT])
{
    for (size_t i = 0; i < FILTER_COUNT; i++) {
        const struct px_rules *own = &rules[filters[i].rules];
        if (px_rules_compile(own, filters[i].online, filters[i].part, &programs[i]) < 0 ||
            px_program_verify(own, filters[i].online, filters[i].part, &programs[i]) < 0)
            return -1;
    }
    for (size_t i = 0; i < FILTER_COUNT; i++)
        for (size_t j = 0; j < FILTER_COUNT; j++)
            if (go_together(&filters[i], &filters[j]) &&
                px_parts_verify(&rules[filters[j].rules], filters[i].online, &programs[i], &programs[j]) < 0)
                return -1;
    return 0;
}

static int write_source(const char *path, const struct px_known *known, const struct px_program programs[FILTER_COUNT])
{
    FILE *out = fopen(path, "w");
    if (!out) {
        perror(path);
        return -1;
    }
    fprintf(out, "/* Made by tools/seccomp_gen.c from sandbox/syscalls.def. Do not edit. */\n"
                 "#ifndef " TARGET_MACRO "\n#error \"made for another architecture\"\n#endif\n"
                 "#include <stddef.h>\n#include <stdint.h>\n\n"
                 "#include \"sandbox/seccomp.h\"\n#include \"sandbox/seccomp_programs.h\"\n\n");
    for (size_t i = 0; i < FILTER_COUNT; i++)
        write_program(out, filters[i].name, &programs[i]);
    fprintf(out, "const struct sock_fprog px_seccomp_programs[PX_FILTER_COUNT] = {\n");
    for (size_t i = 0; i < FILTER_COUNT; i++)
        fprintf(out, "    [%s] = {sizeof %s / sizeof %s[0], (struct sock_filter *)%s},\n", filters[i].constant,
                filters[i].name, filters[i].name, filters[i].name);
    fprintf(out, "};\n\n");
    write_names(out, known);
    write_rules(out);
    if (ferror(out) | (fclose(out) != 0)) {
        perror(path);
        return -1;
    }
    return 0;
}

static int print_edge(void *data, uint32_t number, const uint64_t arguments[6])
{
    (void)data;
    printf("%#x", number);
    for (int i = 0; i < 6; i++)
        printf(" %#llx", (unsigned long long)arguments[i]);
    return putchar('\n') == EOF;
}

/* An argument that no rule examines is -1, which is neither a descriptor nor an address. */
static int write_edges(const struct px_rules *rules)
{
    int failed = 0;
    for (uint32_t number = 0; number < rules->known.count && !failed; number++)
        for (size_t i = 0; i < rules->row_count && !failed; i++)
            if (rules->rows[i].number == (int)number && rules->rows[i].test_count > 0) {
                failed = px_rules_edges(rules, number, UINT64_MAX, print_edge, NULL);
                break;
            }
    return failed;
}

static int write_verdicts(const struct px_rules *rules, bool online)
{
    unsigned long long call[7];
    while (scanf("%llx %llx %llx %llx %llx %llx %llx", &call[0], &call[1], &call[2], &call[3], &call[4], &call[5],
                 &call[6]) == 7) {
        uint64_t arguments[6];
        for (int i = 0; i < 6; i++)
            arguments[i] = call[i + 1];
        uint32_t number = (uint32_t)call[0];
        uint32_t answer = px_rules_decide(rules, online, number, arguments);
        const char *name = number < rules->known.count ? rules->known.names[number] : NULL;
        switch (answer & SECCOMP_RET_ACTION_FULL) {
        case SECCOMP_RET_ALLOW:
            printf("allow 0 %s\n", name ? name : "-");
            break;
        case SECCOMP_RET_ERRNO:
            printf("errno %u %s\n", answer & SECCOMP_RET_DATA, name ? name : "-");
            break;
        default:
            printf("trap 0 %s\n", name ? name : "-");
        }
    }
    return ferror(stdout);
}

int main(int argc, char **argv)
{
    bool verdicts = argc == 3 && strcmp(argv[1], "--verdicts") == 0;
    bool edges = argc == 3 && strcmp(argv[1], "--edges") == 0;
    if (argc != 2 && !verdicts && !edges) {
        fprintf(stderr, "usage: seccomp_gen OUTPUT.c | --markdown | --edges offline|online|by-name | "
                        "--verdicts offline|online|by-name\n");
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--markdown") == 0) {
        px_write_markdown(&(struct px_docs){.all = {rows, ROW_COUNT},
                                            .with_branches = {changed, CHANGED_COUNT},
                                            .by_name = {changed_named, CHANGED_NAMED_COUNT},
                                            .setups = setups,
                                            .setup_count = SETUP_COUNT,
                                            .setups_by_name = setups_named,
                                            .setup_by_name_count = SETUP_NAMED_COUNT});
        return 0;
    }
    struct px_known known = find_names();
    static struct px_program programs[FILTER_COUNT];
    if (number_rows(rows, ROW_COUNT) < 0 || number_rows(changed, CHANGED_COUNT) < 0 ||
        number_rows(changed_named, CHANGED_NAMED_COUNT) < 0 || join_all() < 0)
        return 1;
    struct px_rules rules_of[RULES_COUNT] = {
        [PLAIN] = {rows, ROW_COUNT, known, TARGET_AUDIT},
        [WITH_BRANCHES] = {forkable, forkable_count, known, TARGET_AUDIT},
        [NAMED] = {named, named_count, known, TARGET_AUDIT},
    };
    if (edges || verdicts) {
        const struct px_rules *asked = &rules_of[strcmp(argv[2], "by-name") == 0 ? NAMED : PLAIN];
        return edges ? write_edges(asked) : write_verdicts(asked, strcmp(argv[2], "online") == 0);
    }
    if (check_changed(rules_of) < 0 || make_programs(rules_of, programs) < 0)
        return 1;
    if (write_source(argv[1], &known, programs) < 0)
        return 1;
    for (size_t i = 0; i < NAMES_MAX; i++)
        free(names[i]);
    return 0;
}
