'use strict';
// The two bootstraps: extended CONNECT on one HTTP/2 session (RFC 8441) and
// Upgrade on connections of their own (RFC 6455 §4).

const crypto = require('node:crypto');
const http2 = require('node:http2');
const https = require('node:https');
const net = require('node:net');
const tls = require('node:tls');
const {Socket} = require('./socket.js');

const offer = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';

function handshakeHeaders(deflate) {
  const headers = {'sec-websocket-version': '13'};
  if (deflate) headers['sec-websocket-extensions'] = offer;
  return headers;
}

function agreed(headers, deflate) {
  const extensions = headers['sec-websocket-extensions'];
  if (!extensions) return false;
  if (!deflate) throw new Error(`extensions that were not offered: ${extensions}`);
  if (!/^permessage-deflate *;/.test(extensions)) throw new Error(`extensions: ${extensions}`);
  for (const needed of ['server_no_context_takeover', 'client_no_context_takeover']) {
    if (!extensions.includes(needed)) throw new Error(`${needed} is missing: ${extensions}`);
  }
  return true;
}

// http2Dialer opens a session and returns what both dialers have: dial, get, and
// close.
async function http2Dialer(origin, ca) {
  const session = http2.connect(origin, {ca});
  session.on('error', () => {}); // the streams' errors tell
  const settings = await new Promise((resolve, reject) => {
    session.once('remoteSettings', resolve);
    session.once('error', reject);
    session.once('close', () => reject(new Error('the session ended before its settings')));
  });
  // RFC 8441 §3: not before the setting has come.
  if (!settings.enableConnectProtocol) throw new Error('no SETTINGS_ENABLE_CONNECT_PROTOCOL');
  return {
    async dial(path, {deflate = false} = {}) {
      const stream = session.request({
        ':method': 'CONNECT',
        ':protocol': 'websocket',
        ':scheme': 'https',
        ':path': path,
        ...handshakeHeaders(deflate),
      }, {endStream: false});
      const headers = await new Promise((resolve, reject) => {
        stream.once('response', resolve);
        stream.once('error', reject);
        stream.once('close', () => reject(new Error(`no response, reset with ${stream.rstCode}`)));
      });
      if (headers[':status'] !== 200) {
        stream.resume();
        stream.end();
        throw Object.assign(new Error(`status ${headers[':status']}`), {status: headers[':status']});
      }
      return new Socket(stream, {client: true, deflate: agreed(headers, deflate)});
    },
    get(path) {
      return new Promise((resolve, reject) => {
        const stream = session.request({':path': path});
        let body = '';
        stream.setEncoding('utf8');
        stream.on('data', (chunk) => { body += chunk; });
        stream.on('end', () => resolve(body));
        stream.on('error', reject);
      });
    },
    reset(socket) { socket.stream.close(http2.constants.NGHTTP2_CANCEL); },
    close() { session.close(); },
  };
}

const guid = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

function http1Dialer(origin, ca) {
  const agent = new https.Agent({ca, keepAlive: true});
  const {hostname: host, port} = new URL(origin);
  return {
    dial(path, {deflate = false} = {}) {
      const tcp = net.connect(port, host);
      const key = crypto.randomBytes(16).toString('base64');
      const request = https.request(origin + path, {
        createConnection: () => tls.connect({socket: tcp, host, ca}),
        headers: {
          connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': key, ...handshakeHeaders(deflate),
        },
      });
      return new Promise((resolve, reject) => {
        request.on('error', reject);
        request.on('response', (response) => {
          response.resume();
          response.on('end', () => tcp.destroy());
          reject(Object.assign(new Error(`status ${response.statusCode}`), {status: response.statusCode}));
        });
        request.on('upgrade', (response, connection, head) => {
          const want = crypto.createHash('sha1').update(key + guid).digest('base64');
          if (response.headers['sec-websocket-accept'] !== want) {
            reject(new Error('wrong sec-websocket-accept'));
            return;
          }
          try {
            const socket = new Socket(connection, {client: true, deflate: agreed(response.headers, deflate), head});
            resolve(Object.assign(socket, {tcp}));
          } catch (error) {
            reject(error);
          }
        });
        request.end();
      });
    },
    get(path) {
      return new Promise((resolve, reject) => {
        https.get(origin + path, {agent}, (response) => {
          let body = '';
          response.setEncoding('utf8');
          response.on('data', (chunk) => { body += chunk; });
          response.on('end', () => resolve(body));
        }).on('error', reject);
      });
    },
    reset(socket) { socket.tcp.resetAndDestroy(); },
    close() { agent.destroy(); },
  };
}

module.exports = {http2Dialer, http1Dialer};
