"""The wire: HTTP/1.1 by llhttp where the extra ``fast`` is installed, else by h11 in pure Python.

Uvicorn bounds what a request's head may take with h11 only, so it is bounded here.
"""

from __future__ import annotations

import asyncio
from typing import Literal

HEAD_BYTES_MAX = 64 * 1024
"""What a request may take in bytes beside its body, about: request line, headers, framing."""

PROTOCOL: type[asyncio.Protocol] | Literal["h11"]
"""What uvicorn is to speak with."""

try:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
except ImportError:
    PROTOCOL = "h11"
else:

    class BoundedProtocol(HttpToolsProtocol):
        """Ends a connection whose request has no end to its head, or to its trailers."""

        _beside_body_bytes = 0

        def data_received(self, data: bytes) -> None:
            """Some bytes came."""
            self._beside_body_bytes += len(data)
            super().data_received(data)
            if self._beside_body_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
                self.send_400_response("Request header fields too large.")

        def on_body(self, body: bytes) -> None:
            """Some of them are of the body, which the site bounds."""
            self._beside_body_bytes -= len(body)
            super().on_body(body)

        def on_message_complete(self) -> None:
            """A request is whole."""
            self._beside_body_bytes = 0
            super().on_message_complete()

    PROTOCOL = BoundedProtocol
