/* SPDX-License-Identifier: Apache-2.0 */
/* How commands reach NATS: `pyexec worker`, `pyexec serve --nats`, `pyexec fleet`. */
#ifndef PX_CLI_NATS_COMMAND_H
#define PX_CLI_NATS_COMMAND_H

#include "base/json.h"
#include "cli/options.h"
#include "policy/config.h"

struct px_fleet;

struct cli_nats_flags {
    struct cli_list urls;
    const char *creds;
};

#define CLI_NATS_OPTION(type, member) \
    { \
        "nats", 0, "URL", "A NATS server, as nats://HOST:4222 or tls://HOST:4222; may be given several times.", \
            CLI_INTO(type, member) \
    }
#define CLI_CREDS_OPTION(type, member) \
    { \
        "creds", 0, "FILE", "The credentials of this program's NATS user.", CLI_INTO(type, member) \
    }

/* Sets the flags, and checks that a NATS server is named. */
int cli_nats_set(struct px_nats_config *nats, const struct cli_nats_flags *flags, pyexec_error *error);
/* Which servers, and who this program is there, for the programs that connect. NULL with `error`. */
json_t *cli_nats_describe(const struct px_nats_config *nats, pyexec_error *error);

/* Loads a module: from the folder of the program after a build, from libexec of the same prefix after installation. NULL with
 * `error`; its hint is `hint`. */
void *cli_module_open(const char *name, const char *hint, pyexec_error *error);

/* Connects to the nodes of a fleet. With `now` it fails if no NATS server can be reached at once. */
struct px_fleet *cli_fleet_open(const struct cli_nats_flags *flags, const char *config_file, bool now,
                                pyexec_error *error);

#endif
