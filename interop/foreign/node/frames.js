'use strict';
// The framing of RFC 6455 §5 and the messages of RFC 7692, written from the
// RFCs with Node's standard modules, for a peer that is strict about what it
// receives.

const crypto = require('node:crypto');
const zlib = require('node:zlib');

const op = {continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10};

// encode returns one frame. client says whether it is masked (§5.3).
function encode(opcode, payload, {fin = true, rsv1 = false, client}) {
  const head = [(fin ? 0x80 : 0) | (rsv1 ? 0x40 : 0) | opcode];
  const mask = client ? 0x80 : 0;
  if (payload.length < 126) {
    head.push(mask | payload.length);
  } else if (payload.length < 65536) {
    head.push(mask | 126, payload.length >> 8, payload.length & 255);
  } else {
    const length = Buffer.alloc(8);
    length.writeBigUInt64BE(BigInt(payload.length));
    head.push(mask | 127, ...length);
  }
  if (!client) return Buffer.concat([Buffer.from(head), payload]);
  const key = crypto.randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, applyMask(payload, key)]);
}

function applyMask(payload, key) {
  const masked = Buffer.allocUnsafe(payload.length);
  for (let i = 0; i < payload.length; i++) masked[i] = payload[i] ^ key[i & 3];
  return masked;
}

// decode returns the first frame of buffer and how many bytes it takes, or how
// many bytes it needs if it is not all there. It throws where §5.2 says to fail.
function decode(buffer, {client, deflate}) {
  if (buffer.length < 2) return {needed: 2};
  const frame = {fin: (buffer[0] & 0x80) !== 0, rsv1: (buffer[0] & 0x40) !== 0, opcode: buffer[0] & 15};
  const masked = (buffer[1] & 0x80) !== 0;
  let length = buffer[1] & 127;
  let at = 2;
  if (length >= 126) {
    at += length === 126 ? 2 : 8;
    if (buffer.length < at) return {needed: at};
    length = length === 126 ? buffer.readUInt16BE(2) : Number(buffer.readBigUInt64BE(2));
    if (length < (at === 4 ? 126 : 65536)) throw new Error('length not in its shortest form');
  }
  if (buffer[0] & 0x30) throw new Error('RSV2 or RSV3 set');
  if (frame.rsv1 && !(deflate && (frame.opcode === op.text || frame.opcode === op.binary))) throw new Error('RSV1 set');
  if (!Object.values(op).includes(frame.opcode)) throw new Error(`opcode ${frame.opcode}`);
  if (frame.opcode >= 8 && (!frame.fin || length > 125)) throw new Error('control frame fragmented or too long');
  if (masked === client) throw new Error(masked ? 'masked frame from a server' : 'unmasked frame from a client');
  if (masked) at += 4;
  if (buffer.length < at + length) return {needed: at + length};
  frame.payload = buffer.subarray(at, at + length);
  if (masked) frame.payload = applyMask(frame.payload, buffer.subarray(at - 4, at));
  return {frame, taken: at + length};
}

// The four bytes that end a flushed deflate stream and are not sent (RFC 7692
// §7.2.1).
const tail = Buffer.from([0x00, 0x00, 0xff, 0xff]);

// deflate and inflate transform one message without context takeover.
function deflate(payload) {
  const out = zlib.deflateRawSync(payload, {finishFlush: zlib.constants.Z_SYNC_FLUSH});
  return out.subarray(0, out.length - tail.length);
}

function inflate(payload) {
  return zlib.inflateRawSync(Buffer.concat([payload, tail]), {finishFlush: zlib.constants.Z_SYNC_FLUSH});
}

module.exports = {op, encode, decode, deflate, inflate};
