"""WebSockets of wsproto on streams of h2 (RFC 8441) and on connections of their
own (RFC 6455)."""

import asyncio
import contextlib
import socket as tcp
import ssl
import struct

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection, ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)


class Refused(Exception):
    """The server's answer to the handshake is another status."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class Unexpected(Exception):
    """Something else has happened."""


class Whole:
    """A message that has arrived in pieces."""

    def __init__(self, text):
        self.text = text
        self.frames = 0
        self.parts = []

    def add(self, event):
        self.parts.append(event.data)
        self.frames += event.frame_finished

    @property
    def data(self):
        return ("" if self.text else b"").join(self.parts)


class Socket:
    """A wsproto connection with a queue of what has happened to it.

    Whoever owns the stream calls received, ended and reset; send and end write to
    it.
    """

    def __init__(self, proto, write, end):
        self.proto = proto
        self.write = write
        self.end = end
        self.pings = 0
        self.whole = None
        self.queue = asyncio.Queue()

    async def received(self, data):
        if self.proto.state is ConnectionState.CLOSED:
            raise Unexpected("data after both Close frames")
        self.proto.receive_data(data)
        for event in self.proto.events():
            if isinstance(event, Message):
                if self.whole is None:
                    self.whole = Whole(isinstance(event, TextMessage))
                self.whole.add(event)
                if event.message_finished:
                    self.queue.put_nowait(self.whole)
                    self.whole = None
                continue
            if isinstance(event, Ping):
                self.pings += 1
                await self.write(self.proto.send(event.response()))
                continue
            if isinstance(event, CloseConnection) and self.proto.state is ConnectionState.REMOTE_CLOSING:
                await self.write(self.proto.send(event.response()))
            self.queue.put_nowait(event)

    def ended(self):
        self.queue.put_nowait("end")

    def reset(self, code):
        self.queue.put_nowait(("reset", code))

    async def send(self, event):
        await self.write(self.proto.send(event))

    async def want(self, kind):
        """Returns what happens next, which must be of the kind given."""
        event = await self.queue.get()
        if not isinstance(event, kind):
            raise Unexpected(f"{event!r:.200} instead of {kind.__name__}")
        return event

    async def want_end(self):
        """Waits for the orderly end of the server's direction and ends ours."""
        event = await self.queue.get()
        if event != "end":
            raise Unexpected(f"{event!r:.200} instead of the end of the stream")
        await self.end()

    async def want_reset(self):
        event = await self.queue.get()
        if not isinstance(event, tuple):
            raise Unexpected(f"{event!r:.200} instead of a reset")
        return event[1]


def agreed(extensions, deflate):
    """Returns the extensions that the server has accepted."""
    if not extensions:
        return []
    if not deflate or extensions.split(";")[0].strip() != deflate.name:
        raise Unexpected(f"extensions: {extensions}")
    deflate.finalize(extensions)
    return [deflate]


class HTTP2:
    """One HTTP/2 connection with sockets and requests on it."""

    def __init__(self, authority):
        self.authority = authority
        self.conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.streams = {}  # by id: a queue while there is no response, then a socket or a queue
        self.credit = asyncio.Condition()  # notified when a window has grown
        self.settings = asyncio.Event()

    async def connect(self, host, port, cafile):
        context = ssl.create_default_context(cafile=cafile)
        context.set_alpn_protocols(["h2"])
        self.reader, self.writer = await asyncio.open_connection(host, port, ssl=context)
        if self.writer.get_extra_info("ssl_object").selected_alpn_protocol() != "h2":
            raise Unexpected("the server does not choose h2")
        self.conn.initiate_connection()
        await self.flush()
        self.task = asyncio.create_task(self.run())
        await self.settings.wait()
        # RFC 8441 §3: not before the setting has come.
        if not self.conn.remote_settings.enable_connect_protocol:
            raise Unexpected("no SETTINGS_ENABLE_CONNECT_PROTOCOL")

    async def close(self):
        self.conn.close_connection()
        await self.flush()
        self.writer.close()
        self.task.cancel()

    async def flush(self):
        self.writer.write(self.conn.data_to_send())
        await self.writer.drain()

    async def run(self):
        """Reads until the connection ends."""
        try:
            while data := await self.reader.read(65536):
                for event in self.conn.receive_data(data):
                    await self.handle(event)
                await self.flush()
        finally:
            for stream in self.streams.values():
                if isinstance(stream, Socket):
                    stream.reset("the connection has ended")
                else:
                    stream.put_nowait(None)

    async def handle(self, event):
        if isinstance(event, h2.events.RemoteSettingsChanged):
            self.settings.set()
        if isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            async with self.credit:
                self.credit.notify_all()
        if isinstance(event, h2.events.DataReceived):
            self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        stream = self.streams.get(getattr(event, "stream_id", None))
        if stream is None:
            return
        if not isinstance(stream, Socket):
            stream.put_nowait(event)
        elif isinstance(event, h2.events.DataReceived):
            if event.data:
                asyncio.create_task(self.serialize(stream, event.data))
        elif isinstance(event, h2.events.StreamEnded):
            asyncio.create_task(self.serialize(stream, None))
        elif isinstance(event, h2.events.StreamReset):
            stream.reset(event.error_code)

    async def serialize(self, stream, data):
        """Hands data to a socket, in order, without holding up the reader: an
        answer to it may have to wait for credit."""
        async with stream.lock:
            if data is None:
                stream.ended()
                return
            try:
                await stream.received(data)
            except Exception as e:
                stream.queue.put_nowait(e)

    async def send(self, stream_id, data):
        while data:
            async with self.credit:
                await self.credit.wait_for(lambda: self.conn.local_flow_control_window(stream_id) > 0)
            size = min(self.conn.local_flow_control_window(stream_id), self.conn.max_outbound_frame_size)
            self.conn.send_data(stream_id, data[:size])
            data = data[size:]
            await self.flush()

    def request(self, headers, end_stream):
        stream_id = self.conn.get_next_available_stream_id()
        queue = self.streams[stream_id] = asyncio.Queue()
        self.conn.send_headers(stream_id, headers, end_stream=end_stream)
        return stream_id, queue

    async def dial(self, path, deflate=None):
        headers = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "https"),
            (":path", path),
            (":authority", self.authority),
            ("sec-websocket-version", "13"),
        ]
        if deflate:
            headers.append(("sec-websocket-extensions", f"{deflate.name}; {deflate.offer()}"))
        stream_id, queue = self.request(headers, end_stream=False)
        await self.flush()
        response = await queue.get()
        if not isinstance(response, h2.events.ResponseReceived):
            raise Unexpected(f"{response!r:.200} instead of a response")
        fields = dict(response.headers)
        if fields[":status"] != "200":
            with contextlib.suppress(h2.exceptions.StreamClosedError):  # the server may have reset it
                self.conn.end_stream(stream_id)
                await self.flush()
            raise Refused(int(fields[":status"]))

        async def end():
            self.conn.end_stream(stream_id)
            await self.flush()

        extensions = agreed(fields.get("sec-websocket-extensions"), deflate)
        proto = Connection(ConnectionType.CLIENT, extensions)
        socket = Socket(proto, lambda data: self.send(stream_id, data), end)
        socket.stream_id = stream_id
        socket.lock = asyncio.Lock()
        self.streams[stream_id] = socket
        while not queue.empty():
            await self.handle_again(queue.get_nowait())
        return socket

    async def handle_again(self, event):
        """Handles what has arrived together with the response."""
        stream = self.streams[event.stream_id]
        if isinstance(event, h2.events.DataReceived):
            await self.serialize(stream, bytes(event.data))
        elif isinstance(event, h2.events.StreamEnded):
            await self.serialize(stream, None)
        elif isinstance(event, h2.events.StreamReset):
            stream.reset(event.error_code)

    async def get(self, path):
        headers = [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", self.authority)]
        _, queue = self.request(headers, end_stream=True)
        await self.flush()
        body = b""
        while not isinstance(event := await queue.get(), h2.events.StreamEnded):
            if event is None or isinstance(event, h2.events.StreamReset):
                raise Unexpected(f"{event!r} instead of a response")
            if isinstance(event, h2.events.DataReceived):
                body += event.data
        return body.decode()

    async def cut(self, socket):
        self.conn.reset_stream(socket.stream_id, h2.errors.ErrorCodes.CANCEL)
        await self.flush()


class HTTP1:
    """Connections by Upgrade."""

    def __init__(self, authority):
        self.authority = authority

    async def connect(self, host, port, cafile):
        self.address = host, port
        self.context = ssl.create_default_context(cafile=cafile)

    async def close(self):
        pass

    async def dial(self, path, deflate=None):
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.context)

        async def write(data):
            writer.write(data)
            await writer.drain()

        async def end():
            writer.close()

        proto = WSConnection(ConnectionType.CLIENT)
        await write(proto.send(Request(self.authority, path, extensions=[deflate] if deflate else [])))
        answer = None
        while answer is None:
            data = await reader.read(65536)
            proto.receive_data(data or None)
            answer = next(proto.events(), None)
        if isinstance(answer, RejectConnection):
            writer.close()
            raise Refused(answer.status_code)
        if not isinstance(answer, AcceptConnection):
            raise Unexpected(f"{answer!r:.200} instead of a response")
        socket = Socket(proto, write, end)
        socket.writer = writer
        await socket.received(b"")  # what has arrived together with the response
        socket.task = asyncio.create_task(self.run(socket, reader))
        return socket

    async def run(self, socket, reader):
        """Reads until the connection ends."""
        try:
            while data := await reader.read(65536):
                await socket.received(data)
            socket.ended()
        except OSError as e:
            socket.reset(e)
        except Exception as e:
            socket.queue.put_nowait(e)

    async def get(self, path):
        reader, writer = await asyncio.open_connection(*self.address, ssl=self.context)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self.authority}\r\nConnection: close\r\n\r\n".encode())
        response = (await reader.read()).decode()
        writer.close()
        return response.partition("\r\n\r\n")[2]

    async def cut(self, socket):
        linger = struct.pack("ii", 1, 0)  # RST instead of FIN
        socket.writer.get_extra_info("socket").setsockopt(tcp.SOL_SOCKET, tcp.SO_LINGER, linger)
        socket.writer.transport.abort()
