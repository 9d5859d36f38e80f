// The page's "Compare" tab: what sockets and requests cost in this browser, to
// the page's own origin and to one that has HTTP/1.1 alone. The server counts
// connections and bytes of everything that is marked with a comparison's number.

const $ = (id) => document.getElementById(id);

const ways = [
  { origin: location.origin, title: "this page’s origin" },
  { origin: document.documentElement.dataset.http1, title: "HTTP/1.1 alone" },
];
const patience = 30_000; // milliseconds for a socket or a request

function make(tag, props = {}, ...children) {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
}

const milliseconds = (ms) => (ms < 10 ? ms.toFixed(1) : Math.round(ms)) + " ms";
const kilobytes = (n) => (n / 1000).toLocaleString("en", { maximumFractionDigits: 1 }) + " kB";
const count = (n, noun) => `${n} ${noun}${n === 1 ? "" : "s"}`;
const version = (protocol) => ({ "HTTP/1.1": 1, "HTTP/2": 2, "HTTP/3": 3 })[protocol] ?? 0;

// ---- Tabs: arrow keys go from one to the other, and #compare opens the second.

const tabs = [$("try-tab"), $("compare-tab")];

function select(tab, focus) {
  for (const t of tabs) {
    const selected = t === tab;
    t.setAttribute("aria-selected", selected);
    t.tabIndex = selected ? 0 : -1;
    $(t.getAttribute("aria-controls")).hidden = !selected;
  }
  if (focus) tab.focus();
}
for (const tab of tabs) {
  tab.onclick = () => select(tab);
  tab.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) select(tabs[(tabs.indexOf(tab) + step + tabs.length) % tabs.length], true);
  };
}

// ---- A comparison.

async function post(path, value) {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(value),
    signal: AbortSignal.timeout(patience),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// open opens a socket and has a message echoed. It resolves to the socket and
// the time until its first message.
function open(way, number, i) {
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const socket = new WebSocket(`${way.origin.replace("https:", "wss:")}/echo?comparison=${number}`);
    const fail = (why) => {
      reject(new Error(why));
      socket.close();
    };
    const timer = setTimeout(() => fail("took too long"), patience);
    const message = `comparison ${number}, socket ${i}`;
    let first;
    socket.onmessage = (event) => {
      if (first === undefined) {
        first = performance.now() - begun;
        socket.send(message);
        return;
      }
      clearTimeout(timer);
      if (event.data === message) resolve({ socket, first });
      else fail("another message came back");
    };
    socket.onclose = (event) => {
      clearTimeout(timer);
      reject(new Error(`closed with ${event.code}`));
    };
  });
}

async function request(way, number, i) {
  const response = await fetch(`${way.origin}/whoami?comparison=${number}&request=${i}`, { signal: AbortSignal.timeout(patience) });
  if (!response.ok) throw new Error(String(response.status));
  return response.json();
}

// close closes a socket and waits for its end.
function close(socket) {
  return new Promise((resolve) => {
    if (socket.readyState === WebSocket.CLOSED) return resolve();
    socket.onclose = resolve;
    socket.close(1000);
  });
}

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

// compare does one way, and returns the server's verdict.
async function compare(way, sockets, requests) {
  const { number } = await post("/comparisons", {});
  const begun = performance.now();
  const opening = Array.from({ length: sockets }, (_, i) => open(way, number, i));
  const fetching = Array.from({ length: requests }, (_, i) => request(way, number, i));
  const [opened, fetched] = [await Promise.allSettled(opening), await Promise.allSettled(fetching)];
  const all = performance.now() - begun;
  const good = opened.filter((o) => o.status === "fulfilled").map((o) => o.value);
  const answered = fetched.filter((f) => f.status === "fulfilled").length;
  const firsts = good.map((g) => g.first);
  const verdict = await post(`/comparisons/${number}`, {
    sockets: good.length,
    requests: answered,
    failed: sockets - good.length + requests - answered,
    first: median(firsts),
    slowest: Math.max(0, ...firsts),
    all,
  });
  await Promise.all(good.map((g) => close(g.socket)));
  return verdict;
}

// ---- What came of it.

function show(way, v) {
  const h = "h" + version(v.protocol);
  const number = (text) => make("td", { className: "num" }, text);
  // A verdict of nothing is no result.
  if (v.page.sockets === 0) {
    const link = make("a", { href: way.origin + "/whoami", target: "_blank", rel: "noopener" }, way.origin);
    $("verdicts").prepend(make("tr", {}, make("td", {}, String(v.number)), make("td", {}, way.title),
      make("td", { colSpan: 10, className: "bad" }, "No socket opened. If this browser does not trust ", link, ", open that once, go on past the warning, and run this again.")));
    return;
  }
  const dots = make("span", { className: "dots " + h, ariaHidden: "true" });
  dots.append(...Array.from({ length: Math.min(v.connections, 250) }, () => make("i")));
  const failed = v.page.failed > 0 ? make("span", { className: "bad" }, ` (${v.page.failed} failed)`) : "";
  $("verdicts").prepend(make("tr", {},
    make("td", {}, String(v.number)),
    make("td", {}, way.title, make("br"), make("span", { className: "way" }, way.origin)),
    make("td", {}, make("span", { className: "badge " + h }, v.protocol || "several")),
    number(v.page.sockets), make("td", { className: "num" }, String(v.page.requests), failed),
    make("td", {}, make("div", { className: "tallied" }, make("b", {}, String(v.connections)), dots)),
    number(v.new), number(kilobytes(v.received)), number(kilobytes(v.sent)),
    number(milliseconds(v.page.first)), number(milliseconds(v.page.slowest)), number(milliseconds(v.page.all))));
}

// conclude puts a pair of verdicts into a sentence.
function conclude(verdicts) {
  const good = verdicts.filter((v) => v.page.sockets > 0);
  if (good.length === 0) return "";
  const parts = good.map((v, i) => {
    const what = i === 0 ? `${count(v.page.sockets, "socket")} and ${count(v.page.requests, "request")} took ` : "";
    return `${what}${count(v.connections, "connection")} with sockets over ${v.protocol || "several protocols"} (${v.new === 0 ? "open already" : v.new === v.connections ? "all of them new" : count(v.new, "new one")})`;
  });
  return parts.join(", and ") + ".";
}

let running = false;

async function run() {
  if (running) return;
  running = true;
  $("run-now").disabled = true;
  const sockets = $("sockets-wanted").valueAsNumber;
  const requests = $("requests-wanted").valueAsNumber;
  try {
    if ($("verdicts").querySelector(".empty")) $("verdicts").replaceChildren();
    const verdicts = [];
    for (const way of ways) {
      $("run-state").textContent = `${way.title} …`;
      const v = await compare(way, sockets, requests);
      verdicts.push(v);
      show(way, v);
    }
    $("outcome").textContent = conclude(verdicts);
    $("run-state").textContent = "done";
  } catch (error) {
    $("run-state").textContent = `failed: ${error.message}`;
  } finally {
    running = false;
    $("run-now").disabled = false;
  }
}

$("http1-origin").textContent = ways[1].origin;
$("run").onsubmit = (event) => {
  event.preventDefault();
  run();
};

// #compare opens the tab; #compare=30,24 runs it with so many sockets and
// requests.
const wanted = location.hash.match(/^#compare(?:=(\d{1,3}),(\d{1,3}))?$/);
if (wanted) {
  select($("compare-tab"));
  if (wanted[1]) {
    $("sockets-wanted").value = wanted[1];
    $("requests-wanted").value = wanted[2];
    if ($("run").reportValidity()) run();
  }
}
