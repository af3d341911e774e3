/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of `pyexec run`: what goes in (run_input.c), what comes out (run_output.c, run_display.c, run_files.c), and the
 * same through a server (run_server.c, run_body.c). */
#ifndef PX_CLI_RUN_COMMAND_H
#define PX_CLI_RUN_COMMAND_H

#include "base/buffer.h"
#include "cli/options.h"
#include "cli/run_outcome.h"
#include "cli/settings.h"
#include "env_build/env_script.h"

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
    const char *server;
    const char *token_file;
    struct cli_list with;
};

/* One `pyexec run`. */
struct run_call {
    const struct run_options *options;
    const struct cli_arguments *arguments;
    pyexec_request *request;
    const struct env_script *script; /* what it says about its packages */
};

/* Fills the request from options and operands: the code, environment, files and standard input. */
int run_input(pyexec_request *request, const struct cli_arguments *arguments, const struct run_options *options,
              const struct cli_settings *settings, pyexec_error *error);
#define RUN_SERVER_BYTES ((int64_t)32 << 20) /* the most that a server takes (docs/http.md, Errors: 413) */

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

/* The exit status of `pyexec run` when its own output has failed. Prints the reason if somebody should know it. */
int run_write_failed(const struct run_stream *stream);

/* A pyexec_output_fn; userdata is the struct. */
int run_stream_write(void *userdata, int stream, const char *bytes, size_t length);

/* A pyexec_display_object_fn; userdata is the struct. Writes displays that have a plain text to standard output. */
int run_display_write(void *userdata, const pyexec_display *display);

/* Writes the displays as files display-1.png, display-2.html … into a folder, made if missing. */
int run_displays_save(const char *folder, const struct run_outcome *outcome, pyexec_error *error);

/* Called after a run without --json: prints the last value, and what the user should know about how it ended.
 * `terminated` is the signal that ended it early, or 0. Returns the exit status. */
int run_output(struct run_stream *stream, const struct run_outcome *outcome, int terminated);

/* Writes the result's changed files below a folder, made if missing. */
int run_files_write(const char *folder, const struct run_outcome *outcome, pyexec_error *error);

/* Prints and writes everything that the options ask for. Returns the exit status. */
int run_report(const struct run_options *options, struct run_stream *stream, const struct run_outcome *outcome,
               int terminated, pyexec_error *error);

/* Runs the script through the server of settings->cli. Returns the exit status. If nobody listens there and the settings
 * allow it, *ret_alone becomes true, and nothing has happened. */
int run_on_server(const struct run_call *call, const struct cli_settings *settings, bool *ret_alone,
                  pyexec_error *error);

/* Reads what the script itself says about its packages, unless --environment is given. */
int run_packages_read(const struct cli_settings *settings, const struct run_options *options,
                      const pyexec_request *request, struct env_script *ret, pyexec_error *error);
/* Chooses the environment for --with and for the script, and makes it if it is not there. */
int run_packages_make(struct cli_settings *settings, const struct run_options *options, const struct env_script *script,
                      pyexec_error *error);
/* The packages of both, for a server. */
json_t *run_packages_to_json(const struct run_options *options, const struct env_script *script);

/* Appends the body of POST /v1/execute. `input` NULL: the client sends standard input while the script runs. */
int run_body_make(const struct run_call *call, const struct px_policy *policy, const char *input, size_t input_length,
                  struct px_buffer *ret, pyexec_error *error);

#endif
