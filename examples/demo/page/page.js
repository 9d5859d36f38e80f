// The demo's page: opens sockets to the server it came from, sends requests
// beside them, and draws which transport connection each of them went by. The
// server names the connection in a response's Demo-Connection field and in the
// first message of a socket.

const $ = (id) => document.getElementById(id);

// make returns an element with properties and children.
function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

const milliseconds = (ms) => (ms < 10 ? ms.toFixed(1) : Math.round(ms)) + " ms";
const version = (protocol) => ({ "HTTP/1.1": 1, "HTTP/2": 2, "HTTP/3": 3 })[protocol] ?? 0;
const badge = (protocol) => make("span", { className: "badge h" + version(protocol) }, protocol);
const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;

// ---- Connections: what this page knows of them, by the server's names.

const document_ = { ...document.documentElement.dataset }; // protocol and connection
const connections = new Map(); // id → { id, protocol, requests }

function connectionOf(id, protocol) {
  let c = connections.get(id);
  if (!c) {
    c = { id, protocol, requests: 0 };
    connections.set(id, c);
  }
  return c;
}

function drawLanes() {
  const lanes = [...connections.values()]
    .map((c) => ({ ...c, sockets: sockets.filter((s) => s.state === "open" && s.connection === c.id) }))
    .filter((c) => c.sockets.length > 0 || c.requests > 0 || c.id === document_.connection);
  $("lanes").replaceChildren(...lanes.map((c) => {
    const load = make("div", { className: "load" });
    if (c.id === document_.connection) load.append(make("span", { className: "chip" }, "this page"));
    if (c.requests > 0) load.append(make("span", { className: "chip" }, count(c.requests, "request")));
    for (const s of c.sockets) {
      const chip = make("button", {
        type: "button",
        className: "chip socket" + (s === chosen ? " chosen" : ""),
        onclick: () => choose(s),
      }, "socket " + s.number);
      const since = performance.now() - (s.flashed ?? -Infinity);
      if (since < flashing) {
        chip.classList.add("busy");
        chip.style.animationDelay = `-${since}ms`; // this chip takes the place of an earlier one
      }
      load.append(chip);
    }
    const name = make("div", { className: "name" }, make("b", {}, c.id), " ", badge(c.protocol),
      make("small", {}, (c.id.startsWith("quic") ? "one QUIC handshake" : "one TCP and one TLS handshake")));
    return make("div", { className: "lane http" + version(c.protocol) }, name, load);
  }));
}

// explain puts into words what the drawing shows.
function explain() {
  const opened = sockets.filter((s) => s.connection);
  const lead = $("lead");
  const strong = (text) => make("b", {}, text);
  const came = ["This page came over ", strong(document_.protocol), " on connection ", strong(document_.connection)];
  const latest = opened.at(-1);
  if (!latest) {
    lead.replaceChildren(...came, ".");
    return;
  }
  if (latest.connection === document_.connection) {
    lead.replaceChildren(...came, ", and its sockets are on the same one: each is a further stream, beside the page's requests. ",
      `The browser had that connection open, and on it the server had announced extended CONNECT (RFC ${latest.protocol === "HTTP/3" ? 9220 : 8441}). `,
      `So opening a socket takes one round trip and no further ${latest.protocol === "HTTP/3" ? "QUIC" : "TCP or TLS"} handshake.`);
    return;
  }
  const own = version(latest.protocol) === 1;
  const elsewhere = [". Its latest socket came by ", strong(latest.protocol), " on ", strong(latest.connection), ": "];
  const why = !own
    ? "another connection than the page's, which the sockets share."
    : version(document_.protocol) === 1
      ? "HTTP/1.1 has no streams, so every socket takes a TCP connection and a TLS handshake of its own (RFC 6455)."
      : `a TCP connection and a TLS handshake of its own, because this browser opens sockets by HTTP/1.1 although the page's connection could carry them.`;
  lead.replaceChildren(...came, ...elsewhere, why);
}

// ---- Sockets.

const sockets = []; // oldest first
let socketNumber = 0;
let chosen = null;
const maxListed = 200;

function openSocket() {
  const s = { number: ++socketNumber, state: "opening", log: [], waiting: [], begun: performance.now() };
  sockets.push(s);
  chosen ??= s;
  s.ws = new WebSocket(`wss://${location.host}/echo`);
  s.ws.binaryType = "arraybuffer";
  s.ws.onopen = () => {
    s.opening = performance.now() - s.begun;
  };
  s.ws.onmessage = (event) => (s.connection ? echoed(s, event.data) : greeted(s, event.data));
  s.ws.onclose = (event) => {
    s.state = "closed";
    s.end = event;
    note(s, `closed with ${event.code}${event.reason ? ` “${event.reason}”` : ""}, ${event.wasClean ? "cleanly" : "not cleanly"}`);
    forget();
    pollSoon();
    draw();
  };
  draw();
  return s;
}

// greeted takes a socket's first message.
function greeted(s, data) {
  const at = JSON.parse(data);
  Object.assign(s, { protocol: at.protocol, connection: at.connection, state: "open" });
  connectionOf(at.connection, at.protocol);
  note(s, `opened by ${at.protocol} on ${at.connection}`);
  pollSoon();
}

function send(s, data) {
  if (s.state !== "open") return;
  s.waiting.push(performance.now());
  s.ws.send(data);
  note(s, "→ " + describe(data));
  flash(s);
}

function echoed(s, data) {
  s.trip = performance.now() - (s.waiting.shift() ?? performance.now());
  note(s, "← " + describe(data), milliseconds(s.trip));
  flash(s);
}

const describe = (data) =>
  typeof data === "string" ? (data.length > 200 ? data.slice(0, 200) + "…" : data) : `${data.byteLength.toLocaleString("en")} bytes`;

function note(s, text, meta = "") {
  s.log.push([text, meta]);
  if (s.log.length > maxListed) s.log.shift();
  draw();
}

// forget keeps the list of closed sockets short.
function forget() {
  const closed = sockets.filter((s) => s.state === "closed");
  for (const s of closed.slice(0, Math.max(0, closed.length - 10))) {
    if (s !== chosen) sockets.splice(sockets.indexOf(s), 1);
  }
}

// flash lets a socket's chip light up for as many milliseconds as flashing says,
// which is the length of the animation in page.css.
const flashing = 500;
function flash(s) {
  s.flashed = performance.now();
  draw();
}

function choose(s) {
  chosen = s;
  draw();
}

function drawSockets() {
  const live = sockets.filter((s) => s.state === "open").length;
  $("count").value = live;
  $("fewer").disabled = $("all").disabled = live === 0;
  const rows = sockets.toReversed().map((s) => {
    const state = s.state !== "closed" ? s.state : `closed ${s.end.code}`;
    return make("tr", {
      className: (s === chosen ? "chosen " : "") + (s.state === "closed" ? "ended" : ""),
      onclick: () => choose(s),
    },
    make("td", {}, make("button", { type: "button", className: "pick" }, String(s.number))),
    make("td", {}, s.protocol ? badge(s.protocol) : "–"),
    make("td", { className: "id" }, s.connection ?? "–"),
    make("td", { className: "num" }, s.opening === undefined ? "–" : milliseconds(s.opening)),
    make("td", { className: "num" }, s.trip === undefined ? "–" : milliseconds(s.trip)),
    make("td", { className: "state" + (s.end && !s.end.wasClean ? " bad" : "") }, state));
  });
  const none = make("tr", { className: "empty" }, make("td", { colSpan: 6 }, "No sockets yet: press +."));
  $("rows").replaceChildren(...(rows.length > 0 ? rows : [none]));
}

function drawLog() {
  $("conversation").hidden = !chosen;
  if (!chosen) return;
  $("who").textContent = `Socket ${chosen.number}` + (chosen.connection ? `, ${chosen.protocol} on ${chosen.connection}` : "");
  for (const id of ["send", "close"]) {
    for (const control of $(id).elements) control.disabled = chosen.state !== "open";
  }
  const log = $("log");
  log.replaceChildren(...chosen.log.map(([text, meta]) =>
    make("li", {}, text, meta ? make("span", { className: "meta" }, "  " + meta) : "")));
  log.scrollTop = log.scrollHeight;
}

// draw brings the page up to date, once for all that happens between two frames.
let drawing = false;
function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawSockets();
    drawLog();
    drawLanes();
    drawFetches();
    explain();
  });
}

// ---- Ordinary requests.

const fetches = []; // newest first
let fetchNumber = 0;

// request fetches path and returns the decoded answer and how it came.
async function request(path) {
  const begun = performance.now();
  const response = await fetch(path);
  const answer = await response.json();
  const took = performance.now() - begun;
  const connection = response.headers.get("Demo-Connection") ?? "?";
  return { path, took, connection, answer };
}

// nextHop returns what the browser says about the protocol of a request. Its
// entry can come a little after the response.
async function nextHop(path) {
  for (let i = 0; i < 10; i++) {
    const entry = performance.getEntriesByName(new URL(path, location).href).at(-1);
    if (entry) return entry.nextHopProtocol || "not told";
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return "not told";
}

async function fetchOnce() {
  const path = `/whoami?${++fetchNumber}`;
  try {
    const r = await request(path);
    connectionOf(r.connection, r.answer.protocol).requests++;
    fetches.unshift({ path, took: r.took, connection: r.connection, protocol: await nextHop(path) });
  } catch (error) {
    fetches.unshift({ path, error });
  }
  fetches.length = Math.min(fetches.length, maxListed);
  if (performance.getEntriesByType("resource").length > 200) performance.clearResourceTimings();
  draw();
}

const hopVersion = (hop) => ({ "http/1.1": 1, h2: 2, h3: 3 })[hop] ?? 0;

function drawFetches() {
  $("fetches").replaceChildren(...fetches.map((f) => make("tr", {},
    make("td", { className: "id" }, f.path),
    make("td", {}, f.error ? "" : make("span", { className: "badge h" + hopVersion(f.protocol) }, f.protocol)),
    make("td", { className: "id" + (f.error ? " bad" : "") }, f.error ? "failed" : f.connection),
    make("td", { className: "num" }, f.error ? "" : milliseconds(f.took)))));
}

// ---- The server's count, once a second while the page is seen, and when a socket
// has opened or closed.

let soon;
function pollSoon() {
  clearTimeout(soon);
  soon = setTimeout(poll, 100);
}

function total(id, n, noun) {
  $(id).textContent = n;
  $(id).previousElementSibling.textContent = n === 1 ? noun : noun + "s";
}

async function poll() {
  try {
    const { connection, answer } = await request("/status");
    const mine = answer.connections.find((c) => c.id === connection);
    if (mine) connectionOf(connection, mine.protocol).requests++;
    total("tcp", answer.tcp, "TCP connection");
    total("quic", answer.quic, "QUIC connection");
    total("open", answer.sockets, "open socket");
    $("source").textContent = "counted by the server, all visitors together";
    $("source").classList.remove("bad");
    draw();
  } catch {
    $("source").textContent = "the server does not answer";
    $("source").classList.add("bad");
  }
}

// ---- What the visitor does.

$("more").onclick = () => openSocket();
$("ten").onclick = () => { for (let i = 0; i < 10; i++) openSocket(); };
$("fewer").onclick = () => sockets.findLast((s) => s.state === "open")?.ws.close(1000, "one fewer");
$("all").onclick = () => { for (const s of sockets) send(s, `to socket ${s.number} and the others`); };
$("send").onsubmit = (event) => {
  event.preventDefault();
  send(chosen, $("text").value);
};
$("binary").onclick = () => send(chosen, new Uint8Array(65536).buffer);
$("close").onsubmit = (event) => {
  event.preventDefault();
  const code = Number($("code").value);
  const allowed = code === 1000 || (code >= 3000 && code <= 4999);
  $("code").setCustomValidity(allowed ? "" : "A page may close with 1000 or with 3000 to 4999.");
  const length = new TextEncoder().encode($("reason").value).length; // what maxlength counts is UTF-16
  $("reason").setCustomValidity(length <= 123 ? "" : `A reason has 123 bytes of UTF-8 at most, not ${length}.`);
  if ($("close").reportValidity()) chosen.ws.close(code, $("reason").value);
};
for (const id of ["code", "reason"]) $(id).oninput = () => $(id).setCustomValidity("");
$("fetch").onclick = () => fetchOnce();
$("twenty").onclick = () => { for (let i = 0; i < 20; i++) fetchOnce(); };

connectionOf(document_.connection, document_.protocol).requests++;
draw();
for (let i = 0; i < 3; i++) await fetchOnce();
for (let i = 0; i < 3; i++) openSocket();
await poll();
setInterval(() => { if (!document.hidden) poll(); }, 1000);
