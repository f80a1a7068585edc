"""TCP proxies that cut, stall and delay what goes through them, or lead it elsewhere.

All proxies of a :class:`Network` live on one event loop in a thread of their own. The methods
without an underscore may be called from any thread, and have taken effect when they return.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from streams.engine.worker import new_loop

CALL_TIMEOUT_S = 10.0
"""How long a method waits for the network's thread."""

HELD_BYTES_MAX = 4 * 1024 * 1024
"""What a direction of a connection holds back before it reads no further."""

T = TypeVar("T")


class Network:
    """The thread that carries all bytes. Use as a context manager."""

    def __init__(self) -> None:
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._proxies: list[Proxy] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all proxies and end the thread."""
        if self._loop.is_closed() or not self._thread.is_alive():
            return
        for proxy in self._proxies:
            proxy.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()

    def proxy(self, *targets: int) -> Proxy:
        """A proxy on a free port of 127.0.0.1 that leads to ports there, taking turns.

        A target that refuses is passed over, as a load balancer would.
        """
        proxy = Proxy(self._loop, targets)
        self._proxies.append(proxy)
        return proxy


class Proxy:
    """One listening port, ``port``, and the connections through it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, targets: Sequence[int]) -> None:
        self._loop = loop
        self._targets = list(targets)
        self._turn = 0
        self._cut = False
        self._stalled = False
        self._delay_s = 0.0
        self._ends: set[_End] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._server = self._call(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Reset all connections and every new one, until :meth:`mend`."""
        self._change(self._set_cut)

    def reset(self) -> None:
        """Reset all connections there are; new ones go through."""
        self._change(self._reset)

    def stall(self) -> None:
        """Carry nothing in either direction and keep connections open, until :meth:`mend`."""
        self._change(lambda: self._set_stalled(True))

    def delay(self, delay_ms: int) -> None:
        """Carry everything so much later in each direction, until :meth:`mend`."""
        self._change(lambda: setattr(self, "_delay_s", delay_ms / 1000))

    def mend(self) -> None:
        """Carry everything at once again."""
        self._change(self._mend)

    def lead_to(self, *targets: int) -> None:
        """Lead new connections to other ports; those there are stay where they are."""
        self._change(lambda: setattr(self, "_targets", list(targets)))

    def connections(self) -> int:
        """How many connections go through it."""

        async def count() -> int:
            return len(self._ends) // 2

        return self._call(count())

    def close(self) -> None:
        """Listen no longer and reset what is open."""
        self._change(self._close)

    def _change(self, work: Callable[[], None]) -> None:
        async def run() -> None:
            work()

        self._call(run())

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    # All below runs on the network's thread.

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(
            lambda: _End(self._loop, self, self._arrived), "127.0.0.1", 0, backlog=512
        )

    def _set_cut(self) -> None:
        self._cut = True
        self._reset()

    def _reset(self) -> None:
        for end in list(self._ends):
            end.abort()

    def _set_stalled(self, stalled: bool) -> None:
        self._stalled = stalled
        for end in self._ends:
            end.flow()

    def _mend(self) -> None:
        self._cut = False
        self._delay_s = 0.0
        self._set_stalled(False)

    def _close(self) -> None:
        self._server.close()
        self._set_cut()

    def holds(self) -> tuple[bool, float]:
        """Whether nothing is carried now, and how much later what comes now is, in seconds."""
        return self._stalled, self._delay_s

    def _arrived(self, client: _End) -> None:
        if self._cut:
            client.abort()
            return
        task = self._loop.create_task(self._connect(client))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _connect(self, client: _End) -> None:
        for _ in range(len(self._targets)):
            port = self._targets[self._turn % len(self._targets)]
            self._turn += 1
            try:
                _, server = await self._loop.create_connection(
                    lambda: _End(self._loop, self, None), "127.0.0.1", port
                )
            except OSError:
                continue
            if self._cut or client.closed:
                server.abort()
                break
            client.peer, server.peer = server, client
            for end in (client, server):
                self._ends.add(end)
                end.flow()
            return
        client.abort()

    def left(self, end: _End) -> None:
        """One end of a connection is gone."""
        self._ends.discard(end)


class _End(asyncio.Protocol):
    """One end of a connection through a proxy: what is read here is written to its peer."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        proxy: Proxy,
        arrived: Callable[[_End], None] | None,
    ) -> None:
        self._loop = loop
        self._proxy = proxy
        self._arrived = arrived
        self._transport: Any = None
        self._held: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._reading = True
        self._full = False
        self.peer: _End | None = None
        self.closed = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._pause()  # until there is a peer
        if self._arrived is not None:
            self._arrived(self)

    def data_received(self, data: bytes) -> None:
        stalled, delay_s = self._proxy.holds()
        if not (stalled or delay_s or self._held) and self.peer is not None:
            self.peer.write(data)
            return
        self._held.append((self._loop.time() + delay_s, data))
        self._held_bytes += len(data)
        self.flow()

    def connection_lost(self, _: Exception | None) -> None:
        self.closed = True
        self._proxy.left(self)
        self._release()

    def pause_writing(self) -> None:
        self._full = True
        if self.peer is not None:
            self.peer.flow()

    def resume_writing(self) -> None:
        self._full = False
        if self.peer is not None:
            self.peer.flow()

    def write(self, data: bytes) -> None:
        """Send to whoever is at this end."""
        if not self.closed:
            self._transport.write(data)

    def abort(self) -> None:
        """End with a reset, at both ends."""
        for end in (self, self.peer):
            if end is not None and end._transport is not None:
                end._held.clear()
                end._transport.abort()

    def flow(self) -> None:
        """Read as far as may be read, and let go of what is due."""
        stalled, _ = self._proxy.holds()
        peer = self.peer
        if stalled or peer is None or peer._full or self._held_bytes > HELD_BYTES_MAX:
            self._pause()
        elif not self._reading and not self.closed:
            self._reading = True
            self._transport.resume_reading()
        if self._held and self._timer is None and peer is not None and not stalled:
            self._timer = self._loop.call_at(self._held[0][0], self._release)

    def _pause(self) -> None:
        if self._reading and not self.closed:
            self._reading = False
            self._transport.pause_reading()

    def _release(self) -> None:
        """Write what is due to the peer; and when this end is gone, end the peer behind it."""
        self._timer = None
        now = self._loop.time()
        stalled, _ = self._proxy.holds()
        peer = self.peer
        while self._held and peer is not None and not stalled and self._held[0][0] <= now:
            _, data = self._held.popleft()
            self._held_bytes -= len(data)
            peer.write(data)
        if self.closed and not self._held and peer is not None and not peer.closed:
            peer._transport.close()
        self.flow()
