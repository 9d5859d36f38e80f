'use strict';
// A client for the short matrix. It takes the origin, the file of the
// authority's certificate, and "h1" or "h2", and prints one line of JSON for each
// feature: {"feature", "result", "detail"}.
//
//   node client.js https://127.0.0.1:8443 authority.pem h2

const assert = require('node:assert');
const crypto = require('node:crypto');
const fs = require('node:fs');
const {op} = require('./frames.js');
const {http1Dialer, http2Dialer} = require('./dial.js');

const [origin, authority, transport] = process.argv.slice(2);
const longReason = 'r'.repeat(123); // the longest (RFC 6455 §5.5)
const patience = 30000; // milliseconds for a feature

// closeNormally closes with 1000 and waits for the orderly end of both sides.
async function closeNormally(socket) {
  socket.close(1000);
  const answer = await socket.want('close');
  assert.strictEqual(answer.code, 1000);
  await orderlyEnd(socket);
}

// orderlyEnd waits for the server's end of the stream (RFC 6455 §7.1.1), ends it
// on this side, and checks that nothing was reset.
async function orderlyEnd(socket) {
  await socket.want('end');
  socket.end();
  const gone = await socket.want('gone');
  assert.ok(!gone.code, `reset with ${gone.code} after both Close frames`);
}

// afterReset shows that the next socket is none the worse for it.
async function afterReset(d) {
  const socket = await d.dial('/echo?case=after+reset');
  socket.write('after');
  await socket.want('message');
  await closeNormally(socket);
  return 'and another socket after it';
}

const features = {
  async echo(d) {
    const socket = await d.dial('/echo?case=echo');
    const sizes = [0, 1, 125, 126, 127, 1000, 16383, 16384, 65535, 65536, 65537, 300000, 1 << 20];
    for (const size of sizes) {
      for (const data of ['x'.repeat(size), crypto.randomBytes(size)]) {
        socket.write(data);
        const got = await socket.want('message');
        assert.strictEqual(got.text, typeof data === 'string');
        assert.ok(got.data.equals(Buffer.from(data)), `${size} bytes came back as ${got.data.length} others`);
      }
    }
    await closeNormally(socket);
    return `${sizes.length} sizes, text and binary`;
  },

  async fragments(d) {
    const socket = await d.dial('/fragments?case=fragments');
    const text = Buffer.from('a fragmented Grüße, 𝄞');
    socket.send(op.text, text.subarray(0, 16), {fin: false}); // within ü
    socket.send(op.continuation, [], {fin: false});
    socket.send(op.ping, Buffer.from('between'));
    socket.send(op.continuation, text.subarray(16, 24), {fin: false});
    socket.send(op.continuation, text.subarray(24)); // within 𝄞
    assert.strictEqual((await socket.want('pong')).data.toString(), 'between');
    const same = await socket.want('message');
    assert.ok(same.data.equals(text));
    const large = await socket.want('message');
    assert.ok(large.frames > 1, 'the server did not fragment');
    assert.strictEqual(large.data.length, 300000);
    await closeNormally(socket);
    return `4 there, ${large.frames} back`;
  },

  async ping(d) {
    const socket = await d.dial('/ping?case=ping');
    for (const payload of ['', 'ping', 'x'.repeat(125)]) {
      socket.send(op.ping, payload);
      assert.strictEqual((await socket.want('pong')).data.toString(), payload);
    }
    socket.write('now you');
    const got = await socket.want('message');
    assert.strictEqual(got.data.toString(), '3 pongs');
    assert.strictEqual(socket.pings, 3);
    await closeNormally(socket);
    return '3 each way';
  },

  async deflate(d) {
    const socket = await d.dial('/deflate?case=deflate', {deflate: true});
    assert.ok(socket.deflate, 'permessage-deflate was declined');
    let wire = 0;
    let inflated = 0;
    for (const data of ['', 'Hello', 'to be or not to be, '.repeat(5000), crypto.randomBytes(100000)]) {
      socket.write(data);
      const got = await socket.want('message');
      assert.ok(got.compressed || data.length === 0, 'not compressed');
      assert.ok(got.data.equals(Buffer.from(data)));
      wire += got.wire;
      inflated += got.data.length;
    }
    assert.ok(wire < inflated * 0.6, `${inflated} bytes took ${wire}`);
    await closeNormally(socket);
    return `${inflated} bytes in ${wire}, no context takeover`;
  },

  async 'close by client'(d) {
    const socket = await d.dial('/echo?case=close+by+client');
    socket.close(4000, longReason);
    assert.strictEqual((await socket.want('close')).code, 4000);
    await orderlyEnd(socket);
    const empty = await d.dial('/echo?case=close+by+client+without+code');
    empty.send(op.close, []);
    assert.strictEqual((await empty.want('close')).code, 1005);
    await orderlyEnd(empty);
    return '4000, and no code';
  },

  async 'close by server'(d) {
    const socket = await d.dial('/close?case=close+by+server');
    const got = await socket.want('close');
    assert.deepStrictEqual([got.code, got.reason], [4000, longReason]);
    await orderlyEnd(socket);
    return '4000';
  },

  async 'reset by client'(d) {
    const socket = await d.dial('/echo?case=reset+by+client');
    socket.write('before');
    await socket.want('message');
    d.reset(socket);
    return afterReset(d);
  },

  async 'reset by server'(d) {
    const socket = await d.dial('/cut?case=reset+by+server');
    socket.write('cut');
    for (;;) {
      const event = await socket.next();
      assert.notStrictEqual(event.kind, 'close', 'a Close frame from a server that cut the socket');
      assert.notStrictEqual(event.kind, 'end', 'an orderly end from a server that cut the socket');
      if (event.kind !== 'gone') continue;
      if (transport === 'h2') assert.strictEqual(event.code, 8, 'not CANCEL');
      break;
    }
    return afterReset(d);
  },

  async '20 sockets'(d) {
    const all = Array.from({length: 20}, () => d.dial('/echo?case=20+sockets'));
    const sockets = await Promise.all(all);
    const messages = 20;
    await Promise.all(sockets.map(async (socket, i) => {
      for (let j = 0; j < messages; j++) {
        const sent = `socket ${i} message ${j} ${'.'.repeat(i * j * 10)}`;
        socket.write(sent);
        if (j % 5 === 0) assert.strictEqual(await d.get('/hello'), 'hello');
        assert.strictEqual((await socket.want('message')).data.toString(), sent);
      }
    }));
    await Promise.all(sockets.map(closeNormally));
    return `${messages} messages each, beside ${20 * messages / 5} requests`;
  },

  async refusal(d) {
    await assert.rejects(d.dial('/forbidden?case=refusal'), {status: 403});
    return '403';
  },
};

// within rejects when a feature takes too long.
function within(milliseconds, promise) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function main() {
  const ca = fs.readFileSync(authority);
  const d = transport === 'h2' ? await within(patience, http2Dialer(origin, ca)) : http1Dialer(origin, ca);
  for (const [feature, run] of Object.entries(features)) {
    let line;
    try {
      line = {feature, result: 'ok', detail: await within(patience, run(d))};
    } catch (error) {
      line = {feature, result: 'failed', detail: error.message};
    }
    console.log(JSON.stringify(line));
  }
  d.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
