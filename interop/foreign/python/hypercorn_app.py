"""Hypercorn with an application for the short matrix. It takes the files of its
certificate and its key, listens on a port of its own, and prints lines of JSON:
first {"port"}, then one for each socket that has ended or was refused.

    python3 hypercorn_app.py certificate.pem key.pem
"""

import asyncio
import json
import socket
import sys

from hypercorn.asyncio import serve
from hypercorn.config import Config

LONG_REASON = "r" * 123


def report(**line):
    print(json.dumps(line), flush=True)


async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    fields = [name.decode().lower() for name, _ in scope["headers"]]
    seen = {"path": scope["path"], "protocol": scope["type"], "version": scope["http_version"], "fields": fields}
    if scope["type"] != "websocket" or scope["path"] not in ("/echo", "/deflate", "/close"):
        await send({"type": "websocket.close"})
        report(end="refused", **seen)
        return
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/close":
        await send({"type": "websocket.close", "code": 4000, "reason": LONG_REASON})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
    report(end=f"Close {event['code']}", **seen)


def main(certificate, key):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(100)  # the port is announced before Hypercorn starts
    config = Config()
    config.certfile = certificate
    config.keyfile = key
    config.bind = [f"fd://{listener.fileno()}"]
    report(port=listener.getsockname()[1])
    asyncio.run(serve(application, config))


main(*sys.argv[1:])
