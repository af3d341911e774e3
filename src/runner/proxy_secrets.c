/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets, as the host sees them: names, hosts and descriptors of values. The values themselves never come into this process. It opens the
 * files and gives the descriptors to the proxy, which reads them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/retry.h"
#include "protocol/egress.h"
#include "protocol/launch.h"
#include "runner/ca_bundle.h"
#include "runner/proxy_private.h"
#include "runner/run.h"

#define PLACEHOLDER_RANDOM 8 /* bytes */

static int refuse(const char *name, const char *why, pyexec_error *error)
{
    px_error_set(error, PYEXEC_INVALID_POLICY, "[egress] secrets: '%s' can't be used: %s", name,
                 why ? why : "the proxy does not answer");
    return px_error_hint(error,
                         "Check the entry and the file with its value. docs/network.md says what they must have.");
}

/* Sends a packet and waits for the answer to it. */
static int ask(struct px_proxy *proxy, json_t *packet, const int *fds, size_t count, const char *name, json_t **ret,
               pyexec_error *error)
{
    if (!packet)
        return px_error_oom(error);
    *ret = px_proxy_send(proxy, packet, fds, count) == 0 ? px_proxy_await_event(proxy) : NULL;
    const char *why = json_string_value(json_object_get(*ret, "why"));
    return !*ret || why ? refuse(name, why, error) : 0;
}

/* The memory file is empty until the first proxy has written the key of the authority into it. */
static int tell_authority(struct px_proxy *proxy, pyexec_error *error)
{
    if (proxy->authority < 0)
        proxy->authority = memfd_create("authority", MFD_CLOEXEC);
    px_auto_fd int roots = px_ca_bundle_make(proxy->options.config->ca_file, NULL, error);
    if (roots < 0)
        return -1;
    if (proxy->authority < 0)
        return px_error_exhausted(error, errno, "can't make a memory file");
    const int fds[] = {proxy->authority, roots};
    px_auto_json json_t *packet = json_pack("{s:s}", "op", "authority"), *answer = NULL;
    if (ask(proxy, packet, fds, PX_COUNT(fds), "authority", &answer, error) < 0)
        return -1;
    const char *pem = json_string_value(json_object_get(answer, "certificate"));
    free(proxy->authority_pem);
    proxy->authority_pem = pem ? strdup(pem) : NULL;
    return proxy->authority_pem ? 0 : px_error_oom(error);
}

static int tell_secret(struct px_proxy *proxy, const struct px_secret_source *source, pyexec_error *error)
{
    px_auto_fd int value = px_secret_source_open(source, error);
    if (value < 0)
        return -1;
    px_auto_json json_t *answer = NULL,
                        *packet = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "op", "secret", "name", source->name,
                                            "host", source->host, "header", source->header, "before", source->before,
                                            "after", source->after);
    return ask(proxy, packet, &value, 1, source->name, &answer, error);
}

int px_proxy_tell_secrets(struct px_proxy *proxy, pyexec_error *error)
{
    const struct px_secret_sources *sources = proxy->options.secrets;
    int result = sources && sources->count ? tell_authority(proxy, error) : 0;
    for (size_t i = 0; result == 0 && sources && i < sources->count; i++)
        result = tell_secret(proxy, &sources->items[i], error);
    return result;
}

int px_proxy_secret_certificates(struct px_proxy *proxy, pyexec_error *error)
{
    pthread_mutex_lock(&proxy->start_lock);
    if (proxy->secret_certificates < 0)
        proxy->secret_certificates = px_ca_bundle_make(proxy->options.config->ca_file, proxy->authority_pem, error);
    int fd = proxy->secret_certificates;
    pthread_mutex_unlock(&proxy->start_lock);
    return fd;
}

/* ---- Runs ---- */

static int add_variable(struct px_proxy_run *run, const char *name, const char *value, pyexec_error *error)
{
    char text[512];
    int length = snprintf(text, sizeof text, "%s=%s", name, value);
    return px_strings_add(&run->variables, text, (size_t)length) < 0 ? px_error_oom(error) : 0;
}

static int add_secret(struct px_proxy_run *run, const struct px_secret_source *source, json_t *list,
                      pyexec_error *error)
{
    unsigned char random[PLACEHOLDER_RANDOM];
    char placeholder[256];
    if (px_random_bytes(random, sizeof random) < 0)
        return px_error_exhausted(error, errno, "can't make a placeholder");
    int at = snprintf(placeholder, sizeof placeholder, "pyexec-secret-%s-", source->variable);
    for (size_t i = 0; i < sizeof random; i++)
        at += snprintf(placeholder + at, sizeof placeholder - (size_t)at, "%02x", random[i]);
    px_json_append(list, json_pack("{s:s, s:s}", "name", source->name, "placeholder", placeholder));
    return add_variable(run, source->variable, placeholder, error);
}

int px_proxy_choose_secrets(struct px_proxy_run *run, const struct px_run_context *context, pyexec_error *error)
{
    static const char *const files[] = {PX_PROXY_CA_VARIABLES};
    const struct px_secret_sources *sources = run->proxy->options.secrets;
    bool granted[PX_SECRETS_MAX];
    if (!sources || !sources->count)
        return 0;
    if (px_secret_sources_grant(sources, context->secrets, granted, error) < 0)
        return -1;
    json_t *list = json_array();
    int result = list ? 0 : px_error_oom(error);
    for (size_t i = 0; result == 0 && i < sources->count; i++)
        if (granted[i] && px_secret_source_applies(&sources->items[i], context->policy))
            result = add_secret(run, &sources->items[i], list, error);
    /* Only such a run trusts the authority of the proxy. */
    for (size_t i = 0; result == 0 && json_array_size(list) && i < PX_COUNT(files); i++)
        result = add_variable(run, files[i], PX_CA_FILE_SECRETS, error);
    px_json_set(run->open, "secrets", list);
    return result;
}

const struct px_strings *px_proxy_variables(const struct px_proxy_run *run)
{
    return &run->variables;
}
