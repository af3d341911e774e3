# SPDX-License-Identifier: Apache-2.0
"""A running `pyexec serve`, over its UNIX socket or TCP, with httpx. Cancelling a call closes its connection, which cancels the run."""
from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from typing import Any, Optional

from ._remote import CONNECT_SECONDS, Answer, Connection, Request, Take
from ._transport import refuse_key
from .errors import ConnectionLostError

try:
    import httpx
except ImportError as missing:
    raise ImportError("Pyexec.connect() needs httpx: pip install 'pyexec-client[http]'") from missing


class HttpConnection(Connection):
    def __init__(self, url: str, token: Optional[str]) -> None:
        socket = url[len("unix:"):] if url.startswith("unix:") else None
        self.name = url
        self.client = httpx.AsyncClient(
            base_url="http://localhost" if socket else url,
            headers={"Authorization": "Bearer " + token} if token else None,
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=httpx.Limits(max_keepalive_connections=20)),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS))
        super().__init__()

    async def disconnect(self) -> None:
        await self.client.aclose()

    async def exchange(self, request: Request, take: Optional[Take]) -> Answer:
        refuse_key(request.key)
        headers = {"Content-Type": "application/json"} if request.is_json else {}
        if take is not None:
            headers["Accept"] = "text/event-stream"
        sent = self.client.build_request(request.verb, request.path, content=request.content, headers=headers)
        try:
            if take is not None:
                return await self._events(sent, take)
            response = await self.client.send(sent)
        except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
            raise ConnectionLostError("%s: %s" % (self.name, failure or type(failure).__name__),
                                      "Check that `pyexec serve` listens there. The code never started.") from failure
        except httpx.HTTPError as failure:
            raise ConnectionLostError("%s: %s" % (self.name, failure or type(failure).__name__),
                                      "Check that `pyexec serve` listens there. Whether the code ran is not known.") from failure
        return Answer(response.status_code, response.headers, response.content)

    async def _events(self, request: httpx.Request, take: Take) -> Answer:
        response = await self.client.send(request, stream=True)
        try:
            if response.status_code >= 400:
                return Answer(response.status_code, response.headers, await response.aread())
            name, data = "", ""
            async for line in response.aiter_lines():
                key, _, value = line.partition(":")
                if key == "event":
                    name = value.strip()
                elif key == "data":
                    data = value
                elif not line and data:
                    if name in ("result", "error"):
                        return Answer(200 if name == "result" else 500, {"Content-Type": "application/json"}, data.encode())
                    if name == "tool_call":
                        take(name, data.encode(), functools.partial(self._post, json.loads(data)["call_id"]))
                    else:
                        take(name, data.encode(), None)
                    name, data = "", ""
        finally:
            await response.aclose()
        raise ConnectionLostError("%s: the events ended without a result" % self.name)

    async def _post(self, call_id: str, answer: Mapping[str, Any]) -> None:
        await self.request("answer", {"call_id": call_id, **answer})
