"""
The receiver: connections in, records into files, acknowledgements out.

One thread does everything, in turn: what a connection brought is cut into lines, written, noted and acknowledged before
the next one is looked at. So what is not written is never acknowledged, a slow disk slows the senders down, and what is
held in memory is no more than the unfinished line of each connection, which is bounded, as is their sum.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
import time

from jsonlog.files.stderr import say
from jsonlog.relay.store import Store
from jsonlog.relay.wire import MAX_HELLO_BYTES, VERSION, Frames, Refused, foreign, message, proof, read_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jsonlog.relay.receive_options import Options

_HELLO_S = 10.0
_STALLED_S = 60.0
_LOOK_S = 2.0
_LINGER_S = 1.0
_QUIET_S = 10.0
_MAX_REASONS = 100


class Receiver:
    """
    What all connections share.

    Args:
        options: As given on the command line.
        store: Where records go.
    """

    def __init__(self, options: Options, store: Store) -> None:
        self.options = options
        self.store = store
        self.connections: set[Connection] = set()
        self.refused = 0
        self.lingering = 0
        """Connections that were refused, and have a moment to read why."""
        self._told: dict[str, float] = {}

    @property
    def held(self) -> int:
        """The bytes of unfinished lines in memory."""
        return sum(connection.held for connection in self.connections)

    def tell(self, who: str, why: str) -> None:
        """Say on stderr whom we refuse and why, the same thing at most every 10 s."""
        now = time.monotonic()
        if now - self._told.get(why, -_QUIET_S) >= _QUIET_S:
            if len(self._told) >= _MAX_REASONS:
                self._told.clear()
            self._told[why] = now
            say(f"refused {who}: {why}")

    def look(self) -> None:
        """End connections that only take up room."""
        now = time.monotonic()
        for connection in list(self.connections):
            connection.look(now)


class Connection(asyncio.Protocol):
    """One connection, from the greeting to its end."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._frames = Frames(MAX_HELLO_BYTES)
        self._nonce = secrets.token_hex(16) if receiver.options.token else ""
        self._is_welcome = False
        self._is_over = self._is_lingering = False
        self._acknowledged = 0
        self._since = time.monotonic()
        self._who = ""

    @property
    def held(self) -> int:
        """How many bytes of an unfinished line it keeps in memory."""
        return self._frames.held

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet, if there is room."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._who = _name_of(transport)
        receiver = self._receiver
        most = receiver.options.max_connections
        if receiver.lingering > most:  # a flood: not even a word
            self._is_over = True
            transport.abort()
            return
        if len(receiver.connections) >= most:
            self._refuse(f"there are {most} connections already; try again later")
            return
        receiver.connections.add(self)
        nonce = {"nonce": self._nonce} if self._nonce else {}
        transport.write(message(jsonlog=VERSION, max_line_bytes=receiver.options.max_line_bytes, **nonce))

    def data_received(self, data: bytes) -> None:
        """Take what came, as far as it is whole."""
        if self._is_over:
            return
        try:
            had = self._frames.held
            self._frames.feed(data)
            if not self._is_welcome:
                self._greet()
            if self._is_welcome:
                self._take()
            if self._frames.held != had + len(data):
                self._since = time.monotonic()
            if self._receiver.held > self._receiver.options.max_memory_bytes:
                self._refuse("too much memory is taken by unfinished lines; try again later")
        except Refused as exc:
            self._refuse(str(exc))
        except OSError as exc:
            self._refuse(f"it cannot write: {exc.strerror or exc}; try again later")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's name)
        """Forget it. An unfinished line will be sent again."""
        self._is_over = True
        self._frames = Frames(0)
        self._receiver.connections.discard(self)
        self._receiver.lingering -= self._is_lingering
        self._is_lingering = False

    def look(self, now: float) -> None:
        """End it if it does not say hello, or leaves a line unfinished for too long."""
        if self._is_over:
            return
        if not self._is_welcome and now - self._since > _HELLO_S:
            self._refuse(f"no hello within {_HELLO_S:.0f} s")
        elif self._frames.held and now - self._since > _STALLED_S:
            self._refuse(f"a line was left unfinished for {_STALLED_S:.0f} s")

    def end(self) -> None:
        """Hang up: the receiver stops. What was not acknowledged will be sent again."""
        self._is_over = True
        self._transport.close()

    def _greet(self) -> None:
        found = self._frames.take(1)
        if not found:
            # Do not wait for the whole of something that cannot become a hello.
            begun = self._frames.peek(16)
            if len(begun) > 4 and begun[4:5] != b"{":
                raise Refused(foreign(begun[4:]) or "not a JSON object")
            return
        hello = read_message(found[0])
        if hello.get("jsonlog") != VERSION:
            raise Refused(f"it speaks version {str(hello.get('jsonlog'))[:20]}, and this is {VERSION}")
        token = self._receiver.options.token
        if token:
            if "proof" not in hello:
                raise Refused("a token is asked for, and it brought none")
            if not hmac.compare_digest(str(hello["proof"]).encode(), proof(token, self._nonce).encode()):
                raise Refused("its token is another one")
        self._is_welcome = True
        self._frames.max_bytes = self._receiver.options.max_line_bytes
        self._transport.write(message(ack=0))

    def _take(self) -> None:
        while frames := self._frames.take(1000):
            before = self._receiver.store.handled
            try:
                self._receiver.store.add(frames)
            finally:
                self._acknowledged += self._receiver.store.handled - before
                self._transport.write(message(ack=self._acknowledged))

    def _refuse(self, why: str) -> None:
        """Say why and hang up, a moment later: to close with bytes unread would take the answer away from the other side."""
        self._is_over = self._is_lingering = True
        self._frames = Frames(0)
        self._receiver.connections.discard(self)
        self._receiver.lingering += 1
        self._receiver.refused += 1
        self._receiver.tell(self._who, why)
        self._transport.write(message(error=why))
        if self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(_LINGER_S, self._transport.abort)


def _name_of(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    if isinstance(peer, tuple):
        return f"{peer[0]}:{peer[1]}"
    return "a client of the Unix socket"


async def serve(options: Options, store: Store, stop: asyncio.Event) -> Receiver:
    """
    Receive until *stop* is set.

    Raises:
        OSError: It cannot listen there.
    """
    loop = asyncio.get_running_loop()
    receiver = Receiver(options, store)
    servers = [await _listen(loop, receiver, place) for place in options.listen]
    try:
        while not stop.is_set():
            receiver.look()
            try:
                await asyncio.wait_for(stop.wait(), _LOOK_S)
            except TimeoutError:
                continue
    finally:
        for server in servers:
            server.close()
        for connection in list(receiver.connections):
            connection.end()
        await asyncio.sleep(0)  # what was acknowledged goes out
        for path in (place for place in options.listen if isinstance(place, str)):
            _unlink(path)
    return receiver


async def _listen(
    loop: asyncio.AbstractEventLoop, receiver: Receiver, place: tuple[str, int] | str
) -> asyncio.AbstractServer:
    def make() -> Connection:
        return Connection(receiver)

    if isinstance(place, str):
        _make_way(place)
        mask = os.umask(0o177 & ~receiver.options.socket_mode)
        try:
            server = await loop.create_unix_server(make, place)
        finally:
            os.umask(mask)
        os.chmod(place, receiver.options.socket_mode)  # noqa: PTH101
        say(f"listening on {place}")
        return server
    server = await loop.create_server(make, *place, backlog=256)
    for one in server.sockets:
        host, port = one.getsockname()[:2]
        say(f"listening on {f'[{host}]' if ':' in host else host}:{port}")
    return server


def _make_way(path: str) -> None:
    """Remove the socket that a receiver left behind when it was killed; one that somebody listens on is left alone."""
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except ConnectionRefusedError:
        _unlink(path)
    except OSError:
        return
    else:
        raise OSError(98, f"{path} is in use")
    finally:
        probe.close()


def _unlink(path: str) -> None:
    try:
        os.unlink(path)  # noqa: PTH108
    except OSError:
        return
