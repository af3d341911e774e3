/* SPDX-License-Identifier: Apache-2.0 */
/* Help texts, made from the tables that the parser uses. */
#ifndef PX_CLI_HELP_H
#define PX_CLI_HELP_H

#include "base/buffer.h"
#include "cli/commands.h"

void cli_help_program(struct px_buffer *out);
void cli_help_command(const struct cli_command *command, struct px_buffer *out);

/* "pyexec run [policy flags] [-c CODE] … [FILE | -]", without the options that are not listed. */
void cli_help_synopsis(const struct cli_command *command, struct px_buffer *out);

/* "-c, --code CODE", or only the long form if there is no letter. */
void cli_help_option(const struct cli_option *option, struct px_buffer *out);

/* Breaks text into lines of at most 80 columns that begin at column `indent`; the cursor is there already. */
void cli_help_wrap(struct px_buffer *out, size_t indent, const char *text);

/* Exit statuses, for help and the man page; the last row has a NULL meaning. */
struct cli_exit_row {
    const char *status;
    const char *meaning;
    const char *commands; /* the commands that have it, separated by spaces; NULL: all */
};
extern const struct cli_exit_row cli_exit_rows[];

#endif
