/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the system call filter of pyexec-egress at build time, from src/egress/egress_syscalls.def: egress_filter OUTPUT.c
 *
 * It has the compiler and the check of the scripts' filter (seccomp_compile.h). */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "seccomp_compile.h"

static const struct px_row listed[] = {
#define PX_EGRESS_CALL(name, tests_, why) \
    {.call = #name, .action = {PX_ACTION_ALLOW, 0, "allow"}, .condition = "", .reason = why, tests_},
#include "egress/egress_syscalls.def"
#undef PX_EGRESS_CALL
};
#define LISTED_COUNT (sizeof listed / sizeof listed[0])

/* A row with tests is followed by one that refuses. */
static struct px_row rows[2 * LISTED_COUNT];
static size_t row_count;

#define NAMES_MAX 560
static char *names[NAMES_MAX];

static int number_rows(void)
{
    for (size_t i = 0; i < LISTED_COUNT; i++) {
        int number = seccomp_syscall_resolve_name_arch(TARGET_ARCH, listed[i].call);
        if (number == __NR_SCMP_ERROR) {
            fprintf(stderr, "egress_filter: '%s': no such system call\n", listed[i].call);
            return -1;
        }
        rows[row_count] = listed[i];
        rows[row_count++].number = number < 0 ? -1 : number;
        if (listed[i].test_count) {
            rows[row_count] = rows[row_count - 1];
            rows[row_count].action = (struct px_action){PX_ACTION_ERRNO, EPERM, "errno EPERM"};
            rows[row_count++].test_count = 0;
        }
    }
    return 0;
}

static struct px_known find_names(void)
{
    struct px_known known = {.names = (const char *const *)names};
    for (uint32_t number = 0; number < NAMES_MAX; number++) {
        names[number] = seccomp_syscall_resolve_num_arch(TARGET_ARCH, (int)number);
        if (names[number])
            known.count = number + 1;
    }
    return known;
}

static int write_source(const char *path, const struct px_program *program)
{
    FILE *out = fopen(path, "w");
    if (!out) {
        perror(path);
        return -1;
    }
    fprintf(out, "/* Made by egress_filter from src/egress/egress_syscalls.def. */\n"
                 "#include \"egress/egress_filter.h\"\n\nstatic struct sock_filter code[] = {\n");
    for (size_t i = 0; i < program->length; i++)
        fprintf(out, "    {0x%02x, %u, %u, 0x%08x},\n", program->code[i].code, program->code[i].jt, program->code[i].jf,
                program->code[i].k);
    fprintf(out, "};\nconst struct sock_fprog px_egress_filter = {%zu, code};\n", program->length);
    if (ferror(out) | (fclose(out) != 0)) {
        perror(path);
        return -1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct px_program program;
    if (argc != 2) {
        fprintf(stderr, "usage: egress_filter OUTPUT.c\n");
        return 2;
    }
    if (number_rows() < 0)
        return 1;
    struct px_rules rules = {rows, row_count, find_names(), TARGET_AUDIT};
    if (px_rules_compile(&rules, false, PX_PART_WHOLE, &program) < 0 ||
        px_program_verify(&rules, false, PX_PART_WHOLE, &program) < 0 || write_source(argv[1], &program) < 0)
        return 1;
    for (size_t i = 0; i < NAMES_MAX; i++)
        free(names[i]);
    return 0;
}
