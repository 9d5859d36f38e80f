"""A client for the short matrix. It takes the origin, the file of the authority's
certificate, and "h1" or "h2", and prints one line of JSON for each feature:
{"feature", "result", "detail"}.

    python3 client.py https://127.0.0.1:8443 authority.pem h2
"""

import asyncio
import json
import os
import sys
from urllib.parse import urlsplit

from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason

from sockets import HTTP1, HTTP2, Refused, Whole

LONG_REASON = "r" * 123  # the longest (RFC 6455 §5.5)
PATIENCE = 30  # seconds for a feature


def message(data, finished=True):
    if isinstance(data, str):
        return TextMessage(data, message_finished=finished)
    return BytesMessage(data, message_finished=finished)


def equal(got, want):
    if got != want:
        raise AssertionError(f"{got!r:.200} instead of {want!r:.200}")


async def close_normally(socket):
    """Closes with 1000 and waits for the orderly end of both sides."""
    await socket.send(CloseConnection(1000))
    equal((await socket.want(CloseConnection)).code, 1000)
    await socket.want_end()


async def echo(d):
    socket = await d.dial("/echo?case=echo")
    sizes = 0, 1, 125, 126, 127, 1000, 16383, 16384, 65535, 65536, 65537, 300000, 1 << 20
    for size in sizes:
        for data in "x" * size, os.urandom(size):
            await socket.send(message(data))
            got = await socket.want(Whole)
            equal(got.text, isinstance(data, str))
            equal(got.data, data)
    await close_normally(socket)
    return f"{len(sizes)} sizes, text and binary"


async def fragments(d):
    socket = await d.dial("/fragments?case=fragments")
    parts = "a fragmented ", "", "Grüße, ", "𝄞"
    await socket.send(message(parts[0], False))
    await socket.send(message(parts[1], False))
    await socket.send(Ping(b"between"))
    await socket.send(message(parts[2], False))
    await socket.send(message(parts[3]))
    equal((await socket.want(Pong)).payload, b"between")
    equal((await socket.want(Whole)).data, "".join(parts))
    large = await socket.want(Whole)
    equal(large.frames > 1, True)
    equal(len(large.data), 300000)
    await close_normally(socket)
    return f"{len(parts)} there, {large.frames} back"


async def ping(d):
    socket = await d.dial("/ping?case=ping")
    for payload in b"", b"ping", b"x" * 125:
        await socket.send(Ping(payload))
        equal((await socket.want(Pong)).payload, payload)
    await socket.send(message("now you"))
    equal((await socket.want(Whole)).data, "3 pongs")
    equal(socket.pings, 3)
    await close_normally(socket)
    return "3 each way"


async def deflate(d):
    extension = PerMessageDeflate()
    socket = await d.dial("/deflate?case=deflate", extension)
    equal(extension.enabled(), True)
    for data in "", "Hello", "Hello", "to be or not to be, " * 5000, os.urandom(100000):
        await socket.send(message(data))
        equal((await socket.want(Whole)).data, data)
    await close_normally(socket)
    takeover = not extension.client_no_context_takeover and not extension.server_no_context_takeover
    equal(takeover, True)
    return "with context takeover"


async def close_by_client(d):
    socket = await d.dial("/echo?case=close+by+client")
    await socket.send(CloseConnection(4000, LONG_REASON))
    equal((await socket.want(CloseConnection)).code, 4000)
    await socket.want_end()
    empty = await d.dial("/echo?case=close+by+client+without+code")
    await empty.send(CloseConnection(CloseReason.NO_STATUS_RCVD))
    equal((await empty.want(CloseConnection)).code, CloseReason.NO_STATUS_RCVD)
    await empty.want_end()
    return "4000, and no code"


async def close_by_server(d):
    socket = await d.dial("/close?case=close+by+server")
    got = await socket.want(CloseConnection)
    equal((got.code, got.reason), (4000, LONG_REASON))
    await socket.want_end()
    return "4000"


async def after_reset(d):
    """Shows that the next socket is none the worse for it."""
    socket = await d.dial("/echo?case=after+reset")
    await socket.send(message("after"))
    equal((await socket.want(Whole)).data, "after")
    await close_normally(socket)
    return "and another socket after it"


async def reset_by_client(d):
    socket = await d.dial("/echo?case=reset+by+client")
    await socket.send(message("before"))
    await socket.want(Whole)
    await d.cut(socket)
    return await after_reset(d)


async def reset_by_server(d):
    socket = await d.dial("/cut?case=reset+by+server")
    await socket.send(message("cut"))
    code = await socket.want_reset()
    if isinstance(d, HTTP2):
        equal(code, 8)  # CANCEL
    return await after_reset(d)


async def twenty(d):
    sockets = await asyncio.gather(*(d.dial("/echo?case=20+sockets") for _ in range(20)))
    messages = 20

    async def talk(i, socket):
        for j in range(messages):
            sent = f"socket {i} message {j} {'.' * (i * j * 10)}"
            await socket.send(message(sent))
            if j % 5 == 0:
                equal(await d.get("/hello"), "hello")
            equal((await socket.want(Whole)).data, sent)

    await asyncio.gather(*(talk(i, socket) for i, socket in enumerate(sockets)))
    await asyncio.gather(*(close_normally(socket) for socket in sockets))
    return f"{messages} messages each, beside {20 * messages // 5} requests"


async def refusal(d):
    try:
        await d.dial("/forbidden?case=refusal")
    except Refused as e:
        equal(e.status, 403)
        return "403"
    raise AssertionError("accepted")


FEATURES = {
    "echo": echo,
    "fragments": fragments,
    "ping": ping,
    "deflate": deflate,
    "close by client": close_by_client,
    "close by server": close_by_server,
    "reset by client": reset_by_client,
    "reset by server": reset_by_server,
    "20 sockets": twenty,
    "refusal": refusal,
}


async def main(origin, cafile, transport):
    url = urlsplit(origin)
    d = (HTTP2 if transport == "h2" else HTTP1)(url.netloc)
    await asyncio.wait_for(d.connect(url.hostname, url.port, cafile), PATIENCE)
    for feature, run in FEATURES.items():
        try:
            line = {"result": "ok", "detail": await asyncio.wait_for(run(d), PATIENCE)}
        except Exception as e:
            line = {"result": "failed", "detail": f"{type(e).__name__}: {e}"}
        print(json.dumps({"feature": feature, **line}), flush=True)
    await d.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
