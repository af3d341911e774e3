/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a policy from JSON, or one field from text (NAME=VALUE). The first byte of the input chooses. A policy that is accepted must
 * pass px_policy_check(), and must be the same after it was written as JSON and read again. An error must be printable UTF-8. */
#include "base/cleanup.h"
#include "fuzz.h"
#include "policy/policy.h"

/* Requires that the policy is the same after it was written as JSON and read again. */
static void require_round_trip(const struct px_policy *policy)
{
    pyexec_error error;
    struct px_policy again;
    json_t *object = px_policy_to_json(policy);
    require(object && px_policy_init(&again, &error) == 0);
    require(px_policy_merge_json(&again, object, PX_ORIGIN_REQUEST, &error) == 0);
    json_t *second = px_policy_to_json(&again);
    require(second && json_equal(object, second));
    json_decref(object);
    json_decref(second);
    px_policy_done(&again);
}

static int from_json(struct px_policy *policy, const char *text, size_t length, pyexec_error *error)
{
    json_t *object = json_loadb(text, length, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    if (!object)
        return 0;
    int status = px_policy_merge_json(policy, object, PX_ORIGIN_REQUEST, error);
    json_decref(object);
    return status;
}

static int from_text(struct px_policy *policy, char *text, pyexec_error *error)
{
    char *value = strchr(text, '=');
    if (!value)
        return 0;
    *value++ = '\0';
    if (text[0] == '-')
        return px_policy_set_short(policy, text + 1, value, PX_ORIGIN_FLAG, error);
    return px_policy_set_text(policy, text, value, PX_ORIGIN_FLAG, error);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    pyexec_error error;
    struct px_policy policy;
    if (!size)
        return 0;
    px_auto_free char *text = strndup((const char *)data + 1, size - 1);
    require(text && px_policy_init(&policy, &error) == 0);
    int status = 0;
    switch (data[0]) {
    case 'j':
        status = from_json(&policy, (const char *)data + 1, size - 1, &error);
        break;
    case 't':
        status = from_text(&policy, text, &error);
        break;
    default:
        break;
    }
    if (status < 0)
        require_error(&error, PYEXEC_INVALID_POLICY);
    else if (px_policy_check(&policy, &error) < 0)
        require_error(&error, PYEXEC_INVALID_POLICY);
    if (status == 0)
        require_round_trip(&policy);
    px_policy_done(&policy);
    return 0;
}
