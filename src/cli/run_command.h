/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of `pyexec run`: what goes in (run_input.c) and what comes out (run_output.c,
 * run_display.c, run_files.c). */
#ifndef PX_CLI_RUN_COMMAND_H
#define PX_CLI_RUN_COMMAND_H

#include "base/buffer.h"
#include "cli/options.h"
#include "cli/settings.h"

struct run_options {
    const char *code;
    bool json;
    struct cli_list env;
    struct cli_list files;
    const char *output;
    struct cli_list return_files;
    const char *working_dir;
    const char *workspace;
    struct cli_list inputs;
    const char *inputs_file;
    const char *value_json;
    const char *save_display;
};

/* Fills the request from options and operands: the code, environment, files and standard input. */
int run_input(pyexec_request *request, const struct cli_arguments *arguments, const struct run_options *options,
              const struct cli_settings *settings, pyexec_error *error);

/* The output of the script, which goes to our own output. */
struct run_stream {
    int write_errno;       /* errno of the first write that failed */
    int failed_stream;     /* 1 or 2 */
    bool stderr_open_line; /* standard error's last byte was not a newline */
    /* For each stream, the output that our reader has not read yet. It is kept here because a slow reader must
     * not keep the run from reaching its limits. The policy's limits of output also limit this. */
    struct px_buffer waiting[2];
};
void run_stream_done(struct run_stream *stream);
/* Called after the run: writes the rest and waits for the reader. Returns 0, or -1 with write_errno set. */
int run_stream_finish(struct run_stream *stream);

/* A pyexec_output_fn; userdata is the struct. */
int run_stream_write(void *userdata, int stream, const char *bytes, size_t length);

/* A pyexec_display_object_fn; userdata is the struct. Writes displays that have a plain text to standard output. */
int run_display_write(void *userdata, const pyexec_display *display);

/* Writes the displays as files display-1.png, display-2.html … into a folder, made if missing. */
int run_displays_save(const char *folder, const pyexec_result *result, pyexec_error *error);

/* Called after a run without --json: prints the last value, and what the user should know about how it ended.
 * Returns the exit status. */
int run_output(struct run_stream *stream, const pyexec_result *result);

/* Writes the result's changed files below a folder, made if missing. */
int run_files_write(const char *folder, const pyexec_result *result, pyexec_error *error);

#endif
