/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/nats_command.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/fds.h"
#include "base/libexec.h"
#include "gateway/gateway_open.h"

#define SECRET_FILE_MAX 4096

int cli_nats_set(struct px_nats_config *nats, const struct cli_nats_flags *flags, pyexec_error *error)
{
    px_auto_buffer struct px_buffer urls = {0};
    for (size_t i = 0; i < flags->urls.count; i++)
        px_buffer_printf(&urls, "%s%s", i ? "," : "", flags->urls.items[i]);
    px_auto_free char *creds = flags->creds ? realpath(flags->creds, NULL) : NULL;
    if (flags->creds && !creds)
        return px_error_of_request(error, errno, "Give a file that this user may read.", "--creds: '%s'", flags->creds);
    if ((urls.length && px_nats_config_set_text(nats, "url", px_buffer_string(&urls), error) < 0) ||
        (creds && px_nats_config_set_text(nats, "creds", creds, error) < 0))
        return -1;
    if (nats->url.count)
        return 0;
    px_error_set(error, PYEXEC_INVALID_POLICY, "no NATS server is named");
    return px_error_hint(error, "Give --nats nats://HOST:4222, or [nats] url in the configuration.");
}

/* Returns the first line of a file. */
static json_t *first_line(const char *path, const char *key, pyexec_error *error)
{
    char text[SECRET_FILE_MAX];
    ssize_t length = px_read_small_file(AT_FDCWD, path, text, sizeof text);
    if (length < 0) {
        px_error_errno(error, PYEXEC_INVALID_POLICY, errno, "%s: can't read '%s'", key, path);
        px_error_hint(error, "Give a file that user %u may read.", (unsigned)geteuid());
        return NULL;
    }
    text[strcspn(text, "\r\n")] = '\0';
    json_t *line = json_string(text);
    if (!line)
        px_error_oom(error);
    return line;
}

/* Adds the first line of a file, if one is named. */
static int add_secret(json_t *config, const char *key, const char *path, const char *file_key, pyexec_error *error)
{
    json_t *line = path ? first_line(path, file_key, error) : NULL;
    if (line)
        px_json_set(config, key, line);
    return path && !line ? -1 : 0;
}

json_t *cli_nats_describe(const struct px_nats_config *nats, pyexec_error *error)
{
    const struct {
        const char *key, *value;
    } texts[] = {{"creds", nats->creds},
                 {"user", nats->user},
                 {"nkey", nats->nkey},
                 {"nkey_seed_file", nats->nkey_seed_file},
                 {"ca_file", nats->ca_file},
                 {"certificate", nats->certificate},
                 {"certificate_key", nats->certificate_key},
                 {"inbox_prefix", nats->inbox_prefix}};
    json_t *urls = json_array();
    for (size_t i = 0; i < nats->url.count; i++)
        px_json_append(urls, json_string(nats->url.items[i]));
    px_auto_json json_t *config = json_pack("{s:o}", "url", urls);
    for (size_t i = 0; i < PX_COUNT(texts); i++)
        if (texts[i].value)
            px_json_set(config, texts[i].key, json_string(texts[i].value));
    if (add_secret(config, "password", nats->password_file, "password_file", error) < 0 ||
        add_secret(config, "token", nats->token_file, "token_file", error) < 0)
        return NULL;
    return json_incref(config);
}

void *cli_module_open(const char *name, const char *hint, pyexec_error *error)
{
    px_auto_free char *path = px_libexec_find(name, R_OK);
    void *module = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (module)
        return module;
    px_error_set(error, PYEXEC_INTERNAL, "the module %s can't be loaded: %s", name,
                 path ? dlerror() : "it is not there");
    px_error_hint(error, "%s", hint);
    return NULL;
}

struct px_fleet *cli_fleet_open(const struct cli_nats_flags *flags, const char *config_file, bool now,
                                pyexec_error *error)
{
    char problem[400];
    px_auto(px_nats_config_done) struct px_nats_config nats = {0};
    const struct px_config into = {.nats = &nats};
    if (px_nats_config_init(&nats, error) < 0 || px_config_load_into(config_file, &into, error) < 0 ||
        cli_nats_set(&nats, flags, error) < 0)
        return NULL;
    px_auto_json json_t *config = cli_nats_describe(&nats, error);
    void *module =
        config ? cli_module_open("pyexec_gateway.so",
                                 "Install the package pyexec-worker, or build with libnats (libnats-dev).", error)
               : NULL;
    if (!module)
        return NULL;
    px_gateway_fn start = (px_gateway_fn)(uintptr_t)dlsym(module, PX_GATEWAY_SYMBOL);
    struct px_fleet *fleet = start ? start(config, now, problem, sizeof problem) : NULL;
    if (fleet)
        return fleet;
    px_error_set(error, PYEXEC_INTERNAL, "can't connect to NATS (%s): %s", nats.url.items[0],
                 start ? problem : "the module is of another version");
    px_error_hint(
        error, "Check that a NATS server listens there, and that it lets this user in ([nats] in the configuration).");
    return NULL;
}
