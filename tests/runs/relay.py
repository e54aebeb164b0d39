"""Ports of one machine, on another one: ``relay.py LISTEN_ADDRESS ADDRESS PORT...``, as ssh -L has them."""

from __future__ import annotations

import asyncio
import contextlib
import sys


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with contextlib.suppress(OSError):
        writer.close()


async def main(listen: str, address: str, ports: list[int]) -> None:
    for port in ports:

        async def joined(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int = port
        ) -> None:
            try:
                there, to = await asyncio.open_connection(address, port)
            except OSError:
                writer.close()
                return
            await asyncio.gather(pump(reader, to), pump(there, writer))

        await asyncio.start_server(joined, listen, port)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], sys.argv[2], [int(port) for port in sys.argv[3:]]))
