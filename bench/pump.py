"""What a proxy costs that does nothing: `websockets` on both legs, bytes handed on as they came. The yardstick."""

from __future__ import annotations

import argparse
import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

BACKLOG = 1024


async def pump(source: Connection, sink: Connection) -> None:
    try:
        while True:
            # Undecoded: text frames stay bytes.
            await sink.send(await source.recv(decode=False), text=True)
    except ConnectionClosed:
        await sink.close()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()

    async def carry(caller: ServerConnection) -> None:
        async with connect(options.upstream, compression=None, max_size=None, proxy=None) as upstream:
            await asyncio.gather(pump(caller, upstream), pump(upstream, caller))

    async with serve(carry, "127.0.0.1", options.port, compression=None, max_size=None, backlog=BACKLOG) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
