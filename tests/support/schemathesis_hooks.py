# SPDX-License-Identifier: Apache-2.0
"""Tells schemathesis about the media types of `pyexec serve` (SCHEMATHESIS_HOOKS)."""
import schemathesis


@schemathesis.serializer("application/x-tar")
def tar(_, value):
    return value if isinstance(value, bytes) else str(value).encode()
