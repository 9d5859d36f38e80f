"use strict";

const query = new URLSearchParams(location.search);

// other is the origin of the second site, which is shut down under the page.
const other = query.get("other");

// address returns the URL of a socket of a case on a site.
function address(path, name, origin = location.origin) {
  const url = new URL(path, origin);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.searchParams.set("case", name);
  return url.href;
}

// A Socket is a WebSocket of which no event is missed.
class Socket {
  constructor(url, protocols = []) {
    this.ws = new WebSocket(url, protocols);
    this.ws.binaryType = "arraybuffer";
    this.arrived = [];
    this.failed = false;
    const opening = Promise.withResolvers();
    const closing = Promise.withResolvers();
    this.opened = opening.promise;
    this.closed = closing.promise;
    this.opened.catch(() => {});
    this.ws.onopen = () => opening.resolve();
    this.ws.onerror = () => { this.failed = true; };
    this.ws.onmessage = (event) => {
      this.arrived.push(event.data);
      this.wake?.();
    };
    this.ws.onclose = (event) => {
      this.end = { code: event.code, reason: event.reason, clean: event.wasClean, error: this.failed };
      opening.reject(new Error(`not opened: ${describe(this.end)}`));
      closing.resolve(this.end);
      this.wake?.();
    };
  }

  // next returns the next message.
  async next() {
    while (this.arrived.length === 0) {
      if (this.end) throw new Error(`no message: ${describe(this.end)}`);
      await new Promise((resolve) => { this.wake = resolve; });
    }
    return this.arrived.shift();
  }

  send(data) { this.ws.send(data); }

  // close closes the socket and returns how that ended.
  close(...args) {
    this.ws.close(...args);
    return this.closed;
  }

  // echo sends data and wants the same back.
  async echo(data) {
    this.send(data);
    const back = await this.next();
    want(same(back, data), `${size(data)} bytes came back as ${size(back)}, or changed`);
  }
}

// open returns a socket that is open.
async function open(path, name, protocols, origin) {
  const socket = new Socket(address(path, name, origin), protocols);
  await socket.opened;
  return socket;
}

function want(condition, otherwise) {
  if (!condition) throw new Error(otherwise);
}

function describe(end) {
  return `${end.code}${end.reason ? " " + JSON.stringify(end.reason) : ""}${end.clean ? "" : ", not clean"}${end.error ? ", error" : ""}`;
}

function wantEnd(end, code, reason, clean) {
  want(end.code === code && end.reason === reason && end.clean === clean,
    `ended with ${describe(end)} instead of ${describe({ code, reason, clean })}`);
}

function size(data) {
  return typeof data === "string" ? data.length : data.byteLength;
}

function same(a, b) {
  if (typeof a === "string" || typeof b === "string") return a === b;
  const x = new Uint8Array(a), y = new Uint8Array(b);
  return x.length === y.length && x.every((value, i) => value === y[i]);
}

// text returns n bytes of UTF-8 with characters of every length.
function text(n) {
  const piece = "aé€😀-"; // 1 + 2 + 3 + 4 + 1 bytes
  return piece.repeat(Math.floor(n / 11)) + "x".repeat(n % 11);
}

// bytes returns n bytes that do not compress, other ones for each seed.
function bytes(n, seed = 1) {
  const words = new Uint32Array(Math.ceil(n / 4));
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return words.buffer.slice(0, n);
}

// get sends an ordinary request and returns its answer.
async function get(path, origin = location.origin) {
  const response = await fetch(new URL(path, origin), {
    cache: "no-store",
    credentials: "include", // a request without them has a connection of its own
  });
  want(response.ok, `${path}: ${response.status}`);
  return response;
}

// ended waits until the server has seen the end of all sockets of a case, and
// returns their status codes.
async function ended(name) {
  return (await get(`/ended?case=${name}`)).json();
}
