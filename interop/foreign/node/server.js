'use strict';
// A server for the short matrix, over HTTP/1.1 and HTTP/2. It takes the files of
// its certificate and its key, listens on a port of its own, and prints lines of
// JSON: first {"port"}, then one for each socket that has ended or was refused.
//
//   node server.js certificate.pem key.pem

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const http2 = require('node:http2');
const {op} = require('./frames.js');
const {Socket, describe} = require('./socket.js');

const longReason = 'r'.repeat(123);

function print(line) {
  console.log(JSON.stringify(line));
}

// conversations are what a socket is for, by path. They end when the socket does.
const conversations = {
  '/echo': echo,
  '/deflate': echo,

  async '/fragments'(socket) {
    const got = await socket.want('message');
    socket.write(`${got.frames} frames: ${got.data}`);
    const text = Buffer.from('a fragmented Grüße, 𝄞');
    socket.send(op.text, text.subarray(0, 16), {fin: false}); // within ü
    socket.send(op.continuation, [], {fin: false});
    socket.send(op.ping, Buffer.from('between'));
    socket.send(op.continuation, text.subarray(16, 24), {fin: false});
    socket.send(op.continuation, text.subarray(24)); // within 𝄞
    assert.strictEqual((await socket.want('pong')).data.toString(), 'between');
    return echo(socket);
  },

  async '/ping'(socket) {
    for (const payload of ['', 'ping', 'x'.repeat(125)]) {
      socket.send(op.ping, payload);
      assert.strictEqual((await socket.want('pong')).data.toString(), payload);
    }
    socket.write('3 pongs');
    return echo(socket);
  },

  async '/close'(socket) {
    socket.close(4000, longReason);
    return socket.want('close');
  },

  async '/cut'(socket) {
    await socket.want('message');
    socket.stream.close ? socket.stream.close(http2.constants.NGHTTP2_CANCEL) : socket.stream.destroy();
    return socket.want('gone');
  },
};

async function echo(socket) {
  for (;;) {
    const event = await socket.next();
    if (event.kind !== 'message') return event;
    socket.write(event.text ? event.data.toString() : event.data);
  }
}

// converse has the conversation of a path and reports how it ended. The server
// ends the stream first (RFC 6455 §7.1.1).
async function converse(socket, path, seen) {
  let end;
  try {
    let event = await conversations[path](socket);
    end = describe(event);
    if (event.kind === 'close') {
      socket.end();
      while (event.kind !== 'gone') event = await socket.next();
      if (event.code) end += `, then reset with ${event.code}`;
    } else {
      while (event.kind !== 'gone') event = await socket.next();
      end = describe(event);
    }
  } catch (error) {
    end = `failed: ${error.message}`;
    socket.stream.destroy();
  }
  print({...seen, end});
}

const extension = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

function deflates(path, headers) {
  return path === '/deflate' && /^permessage-deflate\b/.test(headers['sec-websocket-extensions'] || '');
}

const [certificate, key] = process.argv.slice(2);
const server = http2.createSecureServer({
  cert: fs.readFileSync(certificate),
  key: fs.readFileSync(key),
  allowHTTP1: true,
  settings: {enableConnectProtocol: true},
});

let sessions = 0;
server.on('session', (session) => { session.number = ++sessions; });

server.on('stream', (stream, headers) => {
  const path = headers[':path'];
  const seen = {
    path, method: headers[':method'], protocol: headers[':protocol'], session: stream.session.number,
    fields: Object.keys(headers).filter((name) => !name.startsWith(':')),
  };
  if (seen.method !== 'CONNECT' || seen.protocol !== 'websocket' || !conversations[path]) {
    stream.respond({':status': 403}, {endStream: true});
    print({...seen, end: 'refused'});
    return;
  }
  const deflate = deflates(path, headers);
  stream.respond({':status': 200, ...(deflate && {'sec-websocket-extensions': extension})});
  converse(new Socket(stream, {client: false, deflate}), path, seen);
});

server.on('upgrade', (request, connection, head) => {
  const path = request.url;
  const seen = {path, method: request.method, session: 0, fields: Object.keys(request.headers)};
  if (!conversations[path]) {
    connection.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
    print({...seen, end: 'refused'});
    return;
  }
  const accept = crypto.createHash('sha1')
    .update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  const deflate = deflates(path, request.headers);
  connection.write(`HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${
    deflate ? `Sec-WebSocket-Extensions: ${extension}\r\n` : ''}Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
  converse(new Socket(connection, {client: false, deflate, head}), path, seen);
});

server.listen(0, '127.0.0.1', () => print({port: server.address().port}));
