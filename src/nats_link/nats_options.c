/* SPDX-License-Identifier: Apache-2.0 */
#include "nats_link/nats_options.h"

#include <string.h>

static const char *text_of(const json_t *config, const char *key)
{
    return json_string_value(json_object_get(config, key));
}

static natsStatus set_servers(natsOptions *options, const json_t *config)
{
    const json_t *urls = json_object_get(config, "url");
    const char *list[64];
    size_t count = json_array_size(urls) < PX_COUNT(list) ? json_array_size(urls) : PX_COUNT(list);
    bool secure = text_of(config, "ca_file") || text_of(config, "certificate");
    for (size_t i = 0; i < count; i++) {
        list[i] = json_string_value(json_array_get(urls, i));
        secure |= strncmp(list[i], "tls://", 6) == 0;
    }
    natsStatus status = natsOptions_SetServers(options, list, (int)count);
    return status == NATS_OK && secure ? natsOptions_SetSecure(options, true) : status;
}

static natsStatus set_identity(natsOptions *options, const json_t *config)
{
    const char *user = text_of(config, "user"), *password = text_of(config, "password"),
               *token = text_of(config, "token"), *creds = text_of(config, "creds"), *nkey = text_of(config, "nkey"),
               *seed = text_of(config, "nkey_seed_file"), *ca = text_of(config, "ca_file"),
               *certificate = text_of(config, "certificate"), *key = text_of(config, "certificate_key");
    natsStatus status = NATS_OK;
    if (user)
        status = natsOptions_SetUserInfo(options, user, password ? password : "");
    if (status == NATS_OK && token)
        status = natsOptions_SetToken(options, token);
    if (status == NATS_OK && creds)
        status = natsOptions_SetUserCredentialsFromFiles(options, creds, NULL);
    if (status == NATS_OK && nkey)
        status = natsOptions_SetNKeyFromSeed(options, nkey, seed);
    if (status == NATS_OK && ca)
        status = natsOptions_LoadCATrustedCertificates(options, ca);
    if (status == NATS_OK && certificate)
        status = natsOptions_LoadCertificatesChain(options, certificate, key ? key : certificate);
    return status;
}

natsStatus px_nats_options_set(natsOptions *options, const json_t *config)
{
    natsStatus status = set_servers(options, config);
    return status == NATS_OK ? set_identity(options, config) : status;
}
