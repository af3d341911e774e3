# SPDX-License-Identifier: Apache-2.0
"""Text for models. It has at most TEXT_BYTES, so that one result can't fill a model's context."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .types import Result

TEXT_BYTES = 20_000
_HEAD_BYTES = 12_000
_DISPLAYS_NAMED = 50


def bounded(text: str) -> str:
    """Returns the text. If it has more than TEXT_BYTES of UTF-8, its middle is left out, and a line says how much.
    The end is kept because errors are there. Characters are never cut."""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) <= TEXT_BYTES:
        return text
    head, tail = _HEAD_BYTES, len(data) - (TEXT_BYTES - _HEAD_BYTES)
    while data[head] & 0xC0 == 0x80:
        head -= 1
    while data[tail] & 0xC0 == 0x80:
        tail += 1
    return "%s\n[... %d bytes left out ...]\n%s" % (
        data[:head].decode("utf-8", "surrogatepass"), tail - head, data[tail:].decode("utf-8", "surrogatepass"))


def error_is_shown(result: Result) -> bool:
    """True if stderr shows the error: its traceback, or error_repr. (The traceback of a syntax error does
    not contain error_repr.)"""
    traceback = (result.error.traceback or "").strip("\n") if result.error is not None else ""
    return bool((traceback and traceback in result.stderr) or (result.error_repr and result.error_repr in result.stderr))


def display_lines(result: Result) -> list[str]:
    """Lines for the displays: the plain text of each, and the names of its other types. The plain text of the
    last value is last_value_repr."""
    lines = []
    for display in result.display[:_DISPLAYS_NAMED]:
        plain = display.data.get("text/plain")
        types = [mime_type for mime_type in display.data if mime_type != "text/plain"]
        if isinstance(plain, str) and not display.last_value:
            lines.append(plain)
        if types:
            lines.append("[display: %s]" % ", ".join(types))
    more = len(result.display) - _DISPLAYS_NAMED
    if more > 0:
        lines.append("[%d more displays are not named]" % more)
    if result.display_dropped:
        lines.append("[%d displays beyond the policy's limits were dropped]" % result.display_dropped)
    return lines


def cut_lines(result: Result) -> list[str]:
    """The streams that the policy's limits cut."""
    streams = (("stdout", result.stdout_truncated, result.stdout_bytes), ("stderr", result.stderr_truncated, result.stderr_bytes))
    return ["[%s is cut: the script wrote %d bytes]" % (name, count) for name, cut, count in streams if cut]


def explain(result: Result) -> str:
    parts = [result.stdout.rstrip("\n"), result.stderr.rstrip("\n")]
    if result.last_value_repr is not None:
        parts.append(result.last_value_repr + (" [cut]" if result.last_value_truncated else ""))
    parts.extend(display_lines(result))
    if result.error_repr and not error_is_shown(result):
        parts.append(result.error_repr)
    if result.status not in ("ok", "error"):
        parts.append("The run ended as %s." % result.status)
    parts.extend(cut_lines(result))
    if result.session is not None and result.session.restored is not None:
        parts.append("The session is as it was before this call: its variables and files.")
    if result.session is not None and result.session.restarted:
        parts.append("The session had been restarted (%s): names of earlier calls are gone." % result.session.restarted)
    if result.error is not None and result.error.hint and result.error.hint not in "".join(parts):
        parts.append("Hint: " + result.error.hint)
    return bounded("\n".join(part for part in parts if part))
