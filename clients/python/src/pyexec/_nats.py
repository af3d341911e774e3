# SPDX-License-Identifier: Apache-2.0
"""A fleet of `pyexec worker` over NATS, with nats-py. docs/scale.md has the protocol."""
from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import re
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Callable, Optional
from urllib.parse import quote

from ._remote import CONNECT_SECONDS, Answer, Connection, Request, Take, problem
from ._transport import encode
from .errors import MALFORMED, ConnectionLostError, InvalidRequestError, OverloadedError, PyexecError, SessionLostError

try:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.errors import Error, NoRespondersError
except ImportError as missing:
    raise ImportError("Pyexec.connect(\"nats://…\") needs nats-py: pip install 'pyexec-client[nats]'") from missing

ACCEPT_SECONDS = 30.0   # a worker answers at once when it takes a request
QUIET_SECONDS = 2.0     # then the worker is asked whether it still has the request
SILENT_SECONDS = 30.0   # without an answer to that, the request is lost
PART_SECONDS = 2.0      # then parts of a body are sent again
PARTS_AHEAD = 4         # parts without an answer
REPEAT_SECONDS = 60.0   # so long a request with a key is sent again when its answer is lost
DISCOVER_SECONDS = 0.3
OVERLOADED_WAIT = 0.2
HEADROOM = 4096         # of a message, for its headers
HELD_BYTES = 96 << 20   # of messages of one request that wait here: four of 8 MiB ahead, and the parts of the longest answer
MESSAGE_BYTES = 512     # of a message besides its content
EVENT_BYTES = 1 << 30   # of all events of one request; its caller may not have read them yet
CALLS = 10000           # of tools, by one request, that wait for their answers
REMEMBERED_SESSIONS = 100000
UNKNOWN = "Whether the code ran is not known."
NEVER = "The code never started."


def _token(text: str) -> str:
    """A name as a part of a subject."""
    return base64.urlsafe_b64encode(text.encode(errors="replace")).decode().rstrip("=")


def _number(text: Optional[str]) -> int:
    """A number of a header. ValueError: it is none."""
    if not re.fullmatch("[0-9]{1,15}", text or ""):
        raise ValueError("%.40r is not a number" % (text,))
    return int(str(text))


def _name(text: Any) -> str:
    """A name from an answer, for a subject. ValueError: it would make another subject."""
    if not isinstance(text, str) or not re.fullmatch("[A-Za-z0-9_-]{1,200}", text):
        raise ValueError("%.40r is not a name" % (text,))
    return text


def _node(answer: Answer) -> str:
    return _name(answer.headers.get("Pyexec-Node"))


class _NoResponders(Exception):
    """Nobody listens on the subject, so nothing was started."""


class _Exchange:
    """One request, from its first message to the last message of its answer."""

    def __init__(self, connection: NatsConnection, client: Client, take: Optional[Take]) -> None:
        self.connection, self.client, self.take = connection, client, take
        self.queue: asyncio.Queue[Msg] = asyncio.Queue()
        self.token = str(next(connection.numbers))
        self.parts: list[bytes] = []
        self.about: Optional[str] = None        # the beginning of subjects about this request
        self.number = 0                         # of the next message
        self.early: dict[int, Msg] = {}         # messages that came before their turn
        self.pieces: list[Msg] = []             # parts of a message that has not come wholly
        self.heard = 0.0
        self.held = 0                           # bytes of messages that wait in the queue, or for others
        self.event_bytes = self.unanswered = 0
        self.flooded = False

    async def run(self, subject: str, headers: dict[str, str], content: bytes) -> Answer:
        room = self.connection.room(self.client)
        self.parts = [content[at:at + room] for at in range(0, len(content), room)] or [b""]
        if len(self.parts) > 1:
            headers.update({"Pyexec-Parts": str(len(self.parts)), "Pyexec-Bytes": str(len(content))})
        self.connection.calls[self.token] = self._put
        over = False
        try:
            await self.client.publish(subject, self.parts[0], self.connection.inbox + "." + self.token, headers)
            while True:
                for message in await self._in_order(await self._next()):
                    answer = await self._message(message)
                    if answer is not None:
                        over = True
                        return answer
        except _NoResponders:
            over = True
            raise
        except Error as failure:
            raise self.lost(str(failure) or type(failure).__name__) from failure
        finally:
            self.connection.calls.pop(self.token, None)
            if not over:
                await self._cancel()

    def _put(self, message: Msg) -> None:
        self.held += self._cost(message)
        if self.held > HELD_BYTES:
            self.flooded = True
        if not self.flooded or self.queue.empty():      # an empty queue would not wake the request
            self.queue.put_nowait(message)

    @staticmethod
    def _cost(message: Msg) -> int:
        return len(message.data) + sum(len(name) + len(value) for name, value in (message.headers or {}).items()) + MESSAGE_BYTES

    def lost(self, why: str, hint: str = UNKNOWN) -> ConnectionLostError:
        return ConnectionLostError("%s: %s" % (self.connection.name, why), hint)

    async def _next(self) -> Msg:
        self.heard = time.monotonic()
        while True:
            if self.flooded:
                raise self.lost("the node sends more than it may without an acknowledgement")
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(self.queue.get(), QUIET_SECONDS if self.about else ACCEPT_SECONDS)
            if self.about is None:
                raise self.lost("no worker has answered for %d seconds" % ACCEPT_SECONDS)
            if not await self._goes_on():
                with contextlib.suppress(asyncio.TimeoutError):     # the last message may be on its way
                    return await asyncio.wait_for(self.queue.get(), 1)
                raise self.lost("the node is gone, or a message of the answer was lost")

    async def _goes_on(self) -> bool:
        try:
            answer = await self.client.request(str(self.about) + ".ping", timeout=QUIET_SECONDS)
        except NoRespondersError:
            return False
        except asyncio.TimeoutError:
            return time.monotonic() - self.heard < SILENT_SECONDS
        self.heard = time.monotonic()
        return (answer.headers or {}).get("Pyexec-Status") == "204"

    async def _acknowledge(self, message: Msg) -> None:
        """The other messages with a reply subject want an answer that is not empty."""
        headers = message.headers or {}
        if message.reply and ("Pyexec-Part" in headers or headers.get("Pyexec-Event") not in ("tool_call", "tool_approval", "continue")):
            await self.client.publish(message.reply)

    async def _in_order(self, message: Msg) -> list[Msg]:
        """Returns the messages whose turn it is."""
        text = (message.headers or {}).get("Pyexec-Seq")
        if text is None:
            return [message]
        number = _number(text)
        if number < self.number or number in self.early:        # it has come before, but its acknowledgement may be lost
            self.held -= self._cost(message)
            if not number and (message.headers or {}).get("Pyexec-Event") == "accepted":
                self._accepted_again(message.data)
            elif number < self.number:
                await self._acknowledge(message)
            return []
        self.early[number] = message
        ready = []
        while self.number in self.early:
            ready.append(self.early.pop(self.number))
            self.number += 1
        return ready

    async def _message(self, message: Msg) -> Optional[Answer]:
        """Takes one message. Returns the answer, if it is the last."""
        headers, data, reply = message.headers or {}, message.data, message.reply
        if headers.get("Status") == "503":
            raise _NoResponders
        await self._acknowledge(message)
        self.pieces.append(message)
        if "Pyexec-Part" in headers:
            if _number(headers["Pyexec-Part"]) != len(self.pieces) - 1:
                raise ValueError("part %s is not the next one" % headers["Pyexec-Part"])
            headers, reply = self.pieces[0].headers or {}, ""
            if len(self.pieces) < _number(headers.get("Pyexec-Parts")):
                return None
            data = b"".join(piece.data for piece in self.pieces)
        self.held -= sum(map(self._cost, self.pieces))
        self.pieces = []
        if "Pyexec-Status" in headers:
            return Answer(_number(headers["Pyexec-Status"]), headers, data)
        name = headers.get("Pyexec-Event", "")
        if name == "accepted":
            self._accepted(data)
        elif name == "continue":
            await self._upload(reply)
        elif self.take is not None and name != "alive":
            self._event(name, data, reply)
        return None

    def _event(self, name: str, data: bytes, reply: str) -> None:
        assert self.take is not None
        is_call = name == "tool_call"
        self.event_bytes += 0 if is_call else len(data)
        self.unanswered += is_call
        if self.event_bytes > EVENT_BYTES or self.unanswered > CALLS:
            raise self.lost("the node sends more events than a client takes")
        self.take(name, data, partial(self._post, str(json.loads(data)["call_id"]), reply) if is_call else None)

    def _accepted_again(self, data: bytes) -> None:
        """A node has sent `open` on to the session's owner, which accepts it too, and counts from there."""
        before = self.about
        self._accepted(data)
        if self.about != before:
            self.number = 1

    def _accepted(self, data: bytes) -> None:
        told = json.loads(data)
        self.about = "pyexec.v1.node.%s.r.%s" % (_name(told["node"]), _name(told["request"]))

    async def _upload(self, subject: str) -> None:
        """Sends the other parts. The worker takes them in their order. If it ends the request, its last message says why."""
        answers: asyncio.Queue[Msg] = asyncio.Queue(4 * PARTS_AHEAD)
        token = str(next(self.connection.numbers))

        def put(answer: Msg) -> None:
            with contextlib.suppress(asyncio.QueueFull):        # more than it asked for
                answers.put_nowait(answer)
        self.connection.calls[token] = put
        arrived, sent, moved = 1, 1, time.monotonic()
        try:
            while arrived < len(self.parts) and self.queue.empty() and time.monotonic() - moved < SILENT_SECONDS:
                while sent < min(len(self.parts), arrived + PARTS_AHEAD):
                    await self.client.publish(subject, self.parts[sent], self.connection.inbox + "." + token, {"Pyexec-Part": str(sent)})
                    sent += 1
                try:
                    answer = await asyncio.wait_for(answers.get(), PART_SECONDS)
                except asyncio.TimeoutError:
                    sent = arrived
                    continue
                number = (answer.headers or {}).get("Pyexec-Part")
                if number is None:      # nobody listens
                    return
                if _number(number) >= sent:
                    raise ValueError("an answer to part %s, which was not sent" % number)
                if _number(number) >= arrived:
                    arrived, moved = _number(number) + 1, time.monotonic()
        finally:
            self.connection.calls.pop(token, None)

    async def _post(self, call_id: str, reply: str, answer: Mapping[str, Any]) -> None:
        """Answers a tool call. Its reply subject takes no parts, and a call in parts has none, so these answers go to the node."""
        self.unanswered -= 1
        content, call = encode(answer), ""
        if not reply or len(content) > self.connection.room(self.client):
            node = str(self.about).split(".")[3]
            reply, call = "pyexec.v1.node.%s.p.%s" % (node, self.connection.principal), "POST /v1/calls/" + quote(call_id, safe="")
        with contextlib.suppress(_NoResponders):        # the run is lost, and its own call says so
            given = await self.connection.ask(reply, call, content)
            if given.status >= 400:
                raise problem(given)

    async def _cancel(self) -> None:
        """Ends the run, at once or when its node is known."""
        if self.about is None:
            self.connection.calls[self.token] = self._cancel_late
            return
        with contextlib.suppress(Error):
            await self.client.publish(self.about + ".cancel")

    def _cancel_late(self, message: Msg) -> None:
        headers = message.headers or {}
        if headers.get("Pyexec-Event") == "accepted":
            with contextlib.suppress(*MALFORMED):
                self._accepted(message.data)
                asyncio.ensure_future(self._cancel())
        self.connection.calls.pop(self.token, None)


class NatsConnection(Connection):
    def __init__(self, url: str, token: Optional[str], credentials: Optional[str], principal: Optional[str],
                 inbox_prefix: Optional[str]) -> None:
        scheme = url.partition("://")[0] + "://"
        self.servers = [one if "://" in one else scheme + one for one in url.split(",")]
        self.name = ",".join(one.rpartition("@")[2].rpartition("//")[2] for one in self.servers)     # without passwords
        self.options: dict[str, Any] = {"token": token, "user_credentials": credentials, "inbox_prefix": inbox_prefix or "_INBOX"}
        self.start_of_runs = "pyexec.v1." + ("as.%s." % _token(principal) if principal else "")
        self.principal = _token(principal or "local")
        self.client: Optional[Client] = None
        self.inbox = ""
        self.numbers = itertools.count()
        self.calls: dict[str, Callable[[Msg], None]] = {}
        self.nodes: dict[str, str] = {}         # of sessions
        self.connecting: Optional[asyncio.Lock] = None      # made in the loop
        super().__init__()

    # ---- The connection ----

    async def _connected(self) -> Client:
        self.connecting = self.connecting or asyncio.Lock()
        async with self.connecting:
            client = self.client
            if client is None or client.is_closed:
                client = self.client = await self._connect()
        end = time.monotonic() + CONNECT_SECONDS
        while not client.is_connected:      # it is being connected again
            if client.is_closed or time.monotonic() > end:
                raise ConnectionLostError("%s: the connection is lost" % self.name, "Check that a NATS server listens there. " + NEVER)
            await asyncio.sleep(0.02)
        return client

    async def _connect(self) -> Client:
        client, failures = Client(), 0

        async def failed(failure: Exception) -> None:
            nonlocal failures
            failures += 1
            if connecting and failures >= len(self.servers):
                raise failure
        connecting = True
        try:
            await asyncio.wait_for(client.connect(self.servers, error_cb=failed, connect_timeout=5, reconnect_time_wait=1,
                                                  max_reconnect_attempts=-1, name="pyexec-client", **self.options), 2 * CONNECT_SECONDS)
            connecting = False
            self.inbox = client.new_inbox()
            await client.subscribe(self.inbox + ".*", cb=self._take, pending_bytes_limit=1 << 30)
        except (Error, OSError, asyncio.TimeoutError, ValueError) as failure:
            with contextlib.suppress(Exception):
                await client.close()
            raise ConnectionLostError("%s: %s" % (self.name, failure or type(failure).__name__),
                                      "Check that a NATS server listens there and that it lets this client in. " + NEVER) from failure
        return client

    def room(self, client: Client) -> int:
        """The bytes of a body that fit into one message."""
        room = client.max_payload - HEADROOM
        if room <= 0:
            raise ConnectionLostError("%s: the NATS server takes messages of at most %d bytes (max_payload)" % (self.name, client.max_payload),
                                      "pyexec needs more than %d: set max_payload of the NATS server. %s" % (HEADROOM, NEVER))
        return room

    async def _take(self, message: Msg) -> None:
        call = self.calls.get(message.subject.rpartition(".")[2])
        if call is not None:
            call(message)

    async def disconnect(self) -> None:
        if self.client is not None:
            with contextlib.suppress(Error, OSError, asyncio.TimeoutError):
                await self.client.close()

    # ---- Requests ----

    async def ask(self, subject: str, call: str, content: Optional[bytes], take: Optional[Take] = None, is_json: bool = True,
                  key: Optional[str] = None) -> Answer:
        # With events the worker says that it has accepted the request. Only then it can be asked about it, or cancel it.
        headers = {"Accept": "text/event-stream"}
        if call:
            headers["Pyexec-Call"] = call
        if not is_json:
            headers["Content-Type"] = "application/octet-stream"
        if key is not None:
            headers["Pyexec-Key"] = key
        return await _Exchange(self, await self._connected(), take).run(subject, headers, content or b"")

    async def exchange(self, request: Request, take: Optional[Take]) -> Answer:
        """A request with a key is sent again when its answer is lost: it is executed now, or was started before. A refusal of a repetition
        does not say that nothing was started, so it is repeated too."""
        if request.key is None:
            return await self._exchange(request, take)
        if not re.fullmatch("[ -~]{1,128}", request.key):
            raise InvalidRequestError("key: it is not 1 to 128 characters of printable ASCII", "Give for example the id of a task.")
        end, lost = time.monotonic() + REPEAT_SECONDS, None
        while True:
            try:
                answer = await self._exchange(request, take)
                if lost is None or answer.status not in (429, 503):
                    return answer
            except (ConnectionLostError, OverloadedError) as failure:
                if lost is None and failure.hint != UNKNOWN:
                    raise
                lost = lost or failure
            if time.monotonic() > end:
                raise lost
            await asyncio.sleep(OVERLOADED_WAIT)

    async def _exchange(self, request: Request, take: Optional[Take]) -> Answer:
        if request.method == "ping":
            await self._connected()
            return Answer(204, {}, b"")
        if request.method == "list_sessions":
            return await self._list_sessions(request)
        if request.method == "create_session":
            return await self._open(request.params["session_id"], request.content)
        if "session_id" in request.params:
            return await self._of_session(request, take)
        environment = (request.params.get("policy") or {}).get("environment")
        call = "%s %s" % (request.verb, request.path)
        if isinstance(environment, str) and re.fullmatch("[A-Za-z0-9_-]+", environment):
            with contextlib.suppress(_NoResponders):        # no node has it: the answer of any node says what is wrong
                return await self.ask(self.start_of_runs + "run." + environment, call, request.content, take, key=request.key)
        return await self._anywhere("run", call, request.content, take, request.key)

    async def _anywhere(self, subject: str, call: str, content: Optional[bytes], take: Optional[Take] = None, key: Optional[str] = None) -> Answer:
        try:
            return await self.ask(self.start_of_runs + subject, call, content, take, key=key)
        except _NoResponders:
            hint = "Check that `pyexec worker --nats URL` runs somewhere, or try again later. " + NEVER
            raise OverloadedError("no node of the fleet has room, or there is none", hint, OVERLOADED_WAIT) from None

    async def _any_node(self) -> str:
        return _node(await self._anywhere("run", "GET /v1/environments", None))

    # ---- Sessions ----

    def _remember(self, session: str, node: str) -> None:
        self.nodes.pop(session, None)
        self.nodes[session] = node
        if len(self.nodes) > REMEMBERED_SESSIONS:
            self.nodes.pop(next(iter(self.nodes)))

    async def _open(self, session: str, content: Optional[bytes]) -> Answer:
        answer = await self._anywhere("open", "", content)
        if answer.status in (200, 201):
            self._remember(session, _node(answer))
        return answer

    async def _of_session(self, request: Request, take: Optional[Take]) -> Answer:
        session, params = request.params["session_id"], request.params
        known, made = session in self.nodes, False
        if not known and request.method == "execute":
            own = {"id": session, "policy": params.get("session_policy"), "packages": params.get("packages")}
            answer = await self._open(session, encode({key: value for key, value in own.items() if value}))
            if answer.status >= 400:
                return answer
            made = answer.status == 201
        elif not known:     # any node knows which one has it, or that there is no such session
            self._remember(session, await self._any_node())
        answer = await self._at_node(request, take)
        if answer.status == 421:
            self._remember(session, _node(answer))
            answer = await self._at_node(request, take)
        if answer.status in (410, 421) or (answer.status == 404 and not known):
            self.nodes.pop(session, None)
        elif request.method == "fork_session" and answer.status < 300:
            for branch in json.loads(answer.body)["sessions"]:
                self._remember(branch, self.nodes[session])
        elif made and answer.status == 200:     # for the caller this call has made it
            result = json.loads(answer.body)
            result["session"]["created"] = True
            answer = answer._replace(body=json.dumps(result).encode())
        return answer

    def _subject(self, session: str) -> str:
        return "pyexec.v1.node.%s.s.%s.%s" % (self.nodes[session], self.principal, _token(session))

    async def _at_node(self, request: Request, take: Optional[Take], again: bool = True) -> Answer:
        session = request.params["session_id"]
        node = self.nodes[session]
        call = request.verb + " " + "".join("/" + part for part in request.path.split("/")[4:])
        try:
            return await self.ask(self._subject(session), call.rstrip(), request.content, take, request.method != "write_file", request.key)
        except _NoResponders:
            self.nodes.pop(session, None)
        # The node is gone, or it only connects to another NATS server. Any node that is asked for the session knows, and makes the fleet
        # forget one that is lost. `open` would make a new one.
        answer = None
        with contextlib.suppress(PyexecError, _NoResponders):
            self._remember(session, await self._any_node())
            answer = await self.ask(self._subject(session), "GET", None)
        self.nodes.pop(session, None)
        if answer and answer.status == 410:
            return answer
        if answer and answer.status in (200, 421) and again:
            self._remember(session, _node(answer))
            return await self._at_node(request, take, again=False)
        raise SessionLostError("the session was at node %s, which is gone" % node,
                               "Its state is lost. The next call with its id makes a new session.")

    async def _list_sessions(self, request: Request) -> Answer:
        nodes, client = set(self.nodes.values()), await self._connected()

        async def found(message: Msg) -> None:
            with contextlib.suppress(*MALFORMED):
                nodes.add(_name(json.loads(message.data)["id"]))
        inbox = client.new_inbox()
        waiting = await client.subscribe(inbox, cb=found)
        await client.publish("$SRV.PING.pyexec", b"", inbox)
        await asyncio.sleep(DISCOVER_SECONDS)
        await waiting.unsubscribe()
        sessions: list[Any] = []
        missing: list[Any] = []
        lists = 0
        for node in sorted(nodes):
            failure: PyexecError
            try:
                answer = await self.ask("pyexec.v1.node.%s.p.%s" % (node, self.principal), "GET /v1/sessions", None)
                if answer.status < 400:
                    found = json.loads(answer.body)["sessions"]
                    if not isinstance(found, list):
                        raise TypeError("the member `sessions` is not a list")
                    sessions += found
                    lists += 1
                    continue
                status, failure = answer.status, problem(answer)
            except _NoResponders:       # it has just ended, and its sessions with it
                continue
            except PyexecError as lost:
                status, failure = 502, lost
            except MALFORMED:
                status, failure = 502, ConnectionLostError("the list of node %s is not valid" % node, "Check that client and node have the same version.")
            missing.append({"node": node, "status": status, "title": failure.message})
        if missing and not lists:
            raise failure
        return Answer(200, {"Content-Type": "application/json"}, json.dumps({"sessions": sessions, "missing": missing}).encode())
