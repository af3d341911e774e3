# SPDX-License-Identifier: Apache-2.0
"""Cells that are commands for the kernel: `%fork`, `%switch`, `%sessions` and `%undo`. A command is alone in its cell."""
from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ..aio import AsyncPyexec, AsyncSession
from ..errors import InvalidRequestError, SessionNotForkableError
from .magics import UsageError

COMMAND = re.compile(r"\s*%(?P<name>fork|switch|sessions|undo)(?P<words>(?:[ \t]+\S+)*)\s*\Z")
NEEDS_FORKABLE = "Install the kernel with --set forkable=true, and restart the notebook."
NEEDS_CHECKPOINTS = "Install the kernel with --set auto_checkpoint=true, and restart the notebook. Each cell can be undone once."
KNOWN = "%fork makes one session, %fork 3 three, %fork up down two with these ids; %switch ID continues in one; %sessions lists them; %undo [CELL] undoes the last cell or goes back to before CELL."


class Commands:
    """The sessions of a notebook. Cells run in the current one."""

    def __init__(self, client: AsyncPyexec, session: AsyncSession) -> None:
        self.client, self.session = client, session
        self._made = 0

    async def run(self, name: str, words: Sequence[str]) -> str:
        """Returns the text for the user."""
        if name == "fork":
            return await self._fork(words)
        if name == "switch":
            return await self._switch(words)
        if name == "undo":
            return await self._undo(words)
        if words:
            raise UsageError("%sessions takes no arguments", KNOWN)
        sessions = await self.client.sessions()
        return "".join(["%s %s: %d %s\n" % ("*" if one["id"] == self.session.id else " ", one["id"], one["execution_count"],
                                         "cell" if one["execution_count"] == 1 else "cells")
                        for one in sessions]
                       + ["! the sessions of node %s are missing: %s\n" % (one["node"], one["title"]) for one in sessions.missing])

    async def _ids(self) -> set[str]:
        return {str(one["id"]) for one in await self.client.sessions()}

    def _new_ids(self, count: int, taken: Iterable[str]) -> list[str]:
        """Makes short ids, because the user types them."""
        ids: list[str] = []
        while len(ids) < count:
            self._made += 1
            name = "branch%d" % self._made
            if name not in taken:
                ids.append(name)
        return ids

    async def _fork(self, words: Sequence[str]) -> str:
        for word in words:
            if word.startswith("-"):
                raise UsageError("%%fork takes no flags and no negative numbers: %s" % word[:20], KNOWN)
        ids, taken = words, await self._ids()
        if self.session.id not in taken:        # no cell has run yet
            await self.session.execute("", silent=True)
        if len(words) < 2 and all(word.isdecimal() for word in words):
            count = int(words[0][:5]) if words else 1
            if not 1 <= count <= 1000:
                raise UsageError("%%fork makes 1 to 1000 sessions, not %s" % words[0][:20], KNOWN)
            ids = self._new_ids(count, taken)
        try:
            made = [branch.id for branch in await self.session.fork(ids=ids)]
        except SessionNotForkableError as failure:
            if "without forkable" in failure.message:
                failure.hint = NEEDS_FORKABLE
            raise
        return "%s\n%%switch %s continues there. This session stays as it is.\n" % (", ".join(made), made[0])

    async def _undo(self, words: Sequence[str]) -> str:
        if len(words) > 1 or not all(word.isdecimal() and len(word) < 16 and int(word) for word in words):
            raise UsageError("%undo takes at most the number of a cell", KNOWN)
        try:
            undone = await self.session.undo(int(words[0]) if words else None)
        except InvalidRequestError as failure:
            if "has no checkpoint" in failure.message:
                failure.hint = NEEDS_CHECKPOINTS
            raise
        return "The session is as it was before <cell %d>.\n" % undone.to

    async def _switch(self, words: Sequence[str]) -> str:
        if len(words) != 1:
            raise UsageError("%switch needs the id of a session", KNOWN)
        if words[0] not in await self._ids():
            raise UsageError("there is no session '%s'" % words[0][:128], "%sessions lists them.")
        self.session = self.client.session(words[0])
        return ""
