'use strict';
// A WebSocket on a Duplex stream: a stream of an HTTP/2 session, or an upgraded
// connection of HTTP/1.1.

const {op, encode, decode, deflate, inflate} = require('./frames.js');

const utf8 = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true});

class Socket {
  // head is what was read from the stream already.
  constructor(stream, {client, deflate = false, head = Buffer.alloc(0)}) {
    this.stream = stream;
    this.client = client;
    this.deflate = deflate;
    this.chunks = [];
    this.buffered = 0;
    this.needed = 0; // bytes until there is a frame
    this.message = undefined; // being received
    this.closeSent = false;
    this.closeReceived = undefined;
    this.pings = 0; // received
    this.events = [];
    this.waiting = [];
    stream.on('data', (chunk) => this.take(chunk));
    stream.on('end', () => { if (!stream.aborted) this.emit({kind: 'end'}); });
    stream.on('error', (error) => this.emit({kind: 'error', error}));
    stream.on('close', () => this.emit({kind: 'gone', code: stream.rstCode}));
    if (head.length > 0) this.take(head);
  }

  emit(event) {
    const waiter = this.waiting.shift();
    if (waiter) waiter(event);
    else this.events.push(event);
  }

  // next returns what happens next: {kind: 'message' | 'pong' | 'close' | 'end' |
  // 'error' | 'gone', …}.
  next() {
    if (this.events.length > 0) return Promise.resolve(this.events.shift());
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  // want returns what happens next, which must be of the kind given.
  async want(kind) {
    const event = await this.next();
    if (event.kind !== kind) {
      throw new Error(`${describe(event)} instead of ${kind}`);
    }
    return event;
  }

  take(chunk) {
    this.chunks.push(chunk);
    this.buffered += chunk.length;
    if (this.buffered < this.needed) return;
    let buffer = Buffer.concat(this.chunks);
    try {
      for (;;) {
        const got = decode(buffer, this);
        if (got.needed) {
          this.needed = got.needed;
          break;
        }
        buffer = buffer.subarray(got.taken);
        this.frame(got.frame);
      }
    } catch (error) {
      this.emit({kind: 'error', error});
      this.stream.destroy();
      return;
    }
    this.chunks = [buffer];
    this.buffered = buffer.length;
  }

  frame(f) {
    if (this.closeReceived) throw new Error('a frame after Close');
    switch (f.opcode) {
      case op.ping:
        this.pings++;
        this.send(op.pong, f.payload);
        return;
      case op.pong:
        this.emit({kind: 'pong', data: Buffer.from(f.payload)});
        return;
      case op.close:
        this.closed(f.payload);
        return;
      case op.continuation:
        if (!this.message) throw new Error('a continuation of nothing');
        break;
      default:
        if (this.message) throw new Error('a message within a message');
        this.message = {opcode: f.opcode, compressed: f.rsv1, parts: []};
    }
    this.message.parts.push(Buffer.from(f.payload));
    if (!f.fin) return;
    const {opcode, compressed, parts} = this.message;
    this.message = undefined;
    const wire = Buffer.concat(parts);
    const data = compressed ? inflate(wire) : wire;
    if (opcode === op.text) utf8.decode(data);
    this.emit({kind: 'message', text: opcode === op.text, data, frames: parts.length, compressed, wire: wire.length});
  }

  closed(payload) {
    if (payload.length === 1) throw new Error('a Close frame of one byte');
    this.closeReceived = payload.length === 0
      ? {kind: 'close', code: 1005, reason: ''}
      : {kind: 'close', code: payload.readUInt16BE(0), reason: utf8.decode(payload.subarray(2))};
    if (!this.closeSent) this.send(op.close, payload.subarray(0, 2));
    this.emit(this.closeReceived);
  }

  send(opcode, payload, options = {}) {
    if (opcode === op.close) this.closeSent = true;
    this.stream.write(encode(opcode, Buffer.from(payload), {...options, client: this.client}));
  }

  // write sends a whole message, compressed if that was agreed.
  write(data) {
    const opcode = typeof data === 'string' ? op.text : op.binary;
    const payload = Buffer.from(data);
    if (this.deflate) this.send(opcode, deflate(payload), {rsv1: true});
    else this.send(opcode, payload);
  }

  // close begins the closing handshake.
  close(code, reason = '') {
    this.send(op.close, Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]));
  }

  // end ends our direction in an orderly way.
  end() {
    this.stream.end();
  }
}

function describe(event) {
  switch (event.kind) {
    case 'close': return `Close ${event.code} ${JSON.stringify(event.reason)}`;
    case 'message': return `a message of ${event.data.length} bytes`;
    case 'error': return `error ${event.error.message}`;
    case 'gone': return `gone with code ${event.code}`;
    default: return event.kind;
  }
}

module.exports = {Socket, describe};
