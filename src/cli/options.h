/* SPDX-License-Identifier: Apache-2.0 */
/* The only parser of options. Each command has rows, from which the parser fills the command's struct. The
 * flags of the policy come from the policy's own tables. They are only collected here: settings.c applies them
 * after the configuration file and the environment. */
#ifndef PX_CLI_OPTIONS_H
#define PX_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "pyexec.h"

/* Values of an option that may be given several times; they point into argv. */
struct cli_list {
    const char **items;
    size_t count;
};

enum cli_kind {
    CLI_SWITCH, /* bool */
    CLI_TEXT,   /* const char *; the last value given, or NULL */
    CLI_LIST,   /* struct cli_list */
};

struct cli_option {
    const char *name;     /* without the dashes */
    char letter;          /* or 0 */
    const char *argument; /* the name of the value in the help; NULL for a switch */
    const char *meaning;  /* one sentence; NULL: not listed */
    enum cli_kind kind;   /* these two by CLI_INTO */
    size_t offset;
};

/* The variable that gets the value of a row. The type of the member says which kind of option it is. */
#define CLI_INTO(type, member) \
    _Generic(((type *)0)->member, bool: CLI_SWITCH, const char *: CLI_TEXT, \
             struct cli_list: CLI_LIST), \
    offsetof(type, member)

/* A flag of the policy, in the order given. */
struct cli_flag {
    const char *name;
    const char *value;
    bool is_short; /* an index into px_policy_flag_aliases(), else a field */
};

/* Options that every command has. */
struct cli_arguments {
    bool help;
    const char *config;
    const char *allow_missing;
    struct cli_list operands;
    struct cli_flag *flags;
    size_t flag_count;
};

struct cli_command;

/* Parses argv[0] to argv[argc - 1] (without the command's name) into `arguments` and `options`, both zeroed by
 * the caller. invalid_request names the flag and the most similar known one. */
int cli_parse(const struct cli_command *command, int argc, char **argv, struct cli_arguments *arguments, void *options,
              pyexec_error *error);
void cli_parse_done(const struct cli_command *command, struct cli_arguments *arguments, void *options);

/* The rows that all commands have, and those of commands with policy flags. */
const struct cli_option *cli_common_options(size_t *ret_count);
const struct cli_option *cli_settings_options(size_t *ret_count);

/* The policy flag of a field as it is typed ("timeout", "cpu-time-seconds"). */
#define CLI_FLAG_MAX 64
struct px_field_info;
const char *cli_policy_flag(const struct px_field_info *info, char name[CLI_FLAG_MAX]);
/* The name of its value in the help ("DURATION"); NULL for booleans. */
const char *cli_policy_argument(const struct px_field_info *info);

#endif
