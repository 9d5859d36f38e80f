"use strict";

const sizes = [0, 1, 125, 126, 127, 65535, 65536, 65537, 1 << 20, 16 << 20];

// Each case returns what was seen, or throws. Its name is the parameter "case"
// of its sockets, by which the server finds them.
const cases = {
  async text(name) {
    const socket = await open("/echo", name);
    for (const n of sizes) await socket.echo(text(n));
    wantEnd(await socket.close(1000), 1000, "", true);
    return `0 B to 16 MiB`;
  },

  async binary(name) {
    const socket = await open("/echo", name);
    for (const n of sizes) await socket.echo(bytes(n, n + 1));
    want(socket.ws.extensions === "", `extensions: ${socket.ws.extensions}`);
    wantEnd(await socket.close(1000), 1000, "", true);
    return `0 B to 16 MiB`;
  },

  async blob(name) {
    const socket = await open("/echo", name);
    socket.ws.binaryType = "blob";
    const sent = bytes(100000);
    socket.send(new Blob([sent]));
    const back = await socket.next();
    want(back instanceof Blob && same(await back.arrayBuffer(), sent), "changed");
    wantEnd(await socket.close(1000), 1000, "", true);
    return "100,000 B";
  },

  async deflate(name) {
    const socket = await open("/deflate", name);
    for (const n of sizes) await socket.echo(text(n));
    for (const n of sizes) await socket.echo(bytes(n, n + 1));
    wantEnd(await socket.close(1000), 1000, "", true);
    return socket.ws.extensions;
  },

  async takeover(name) {
    const socket = await open("/takeover", name);
    for (let i = 0; i < 100; i++) {
      await socket.echo(JSON.stringify({ event: "position changed", number: i, latitude: 52.5, longitude: 13.4 }));
    }
    wantEnd(await socket.close(1000), 1000, "", true);
    return socket.ws.extensions;
  },

  async window(name) {
    const socket = await open("/window", name);
    for (const n of sizes.slice(0, -1)) await socket.echo(text(n));
    wantEnd(await socket.close(1000), 1000, "", true);
    return socket.ws.extensions;
  },

  async subprotocol(name) {
    const socket = await open("/subprotocol", name, ["first", "second", "third"]);
    want(socket.ws.protocol === "second", `subprotocol: ${socket.ws.protocol}`);
    wantEnd(await socket.close(1000), 1000, "", true);
    return "second of three";
  },

  // RFC 6455 §4.2.2 lets a server choose none; what browsers make of that is
  // only noted.
  async "no-subprotocol"(name) {
    const socket = new Socket(address("/subprotocol", name), ["first", "third"]);
    const opened = await socket.opened.then(() => true, () => false);
    if (opened) socket.ws.close(1000);
    return `${opened ? "opened without" : "not opened"}: ${describe(await socket.closed)}`;
  },

  async query(name) {
    const socket = await open("/query?a=b&c=%2Fd%20e&f", name);
    want(await socket.next() === `a=b&c=%2Fd+e&f=&case=${name}`, "changed");
    wantEnd(await socket.closed, 1000, "", true);
    return "whole";
  },

  async cookies(name) {
    await get("/cookie/page");
    const socket = await open("/cookie/socket", name);
    want((await socket.next()).includes("page=1"), "the handshake has no cookie");
    wantEnd(await socket.closed, 1000, "", true);
    const all = await (await get("/cookie/all")).text();
    want(all.includes("socket=1"), `the acceptance's cookie is not in ${JSON.stringify(all)}`);
    return all;
  },

  async "page-closes"(name) {
    const socket = await open("/echo", name);
    wantEnd(await socket.close(), 1005, "", true);
    // The reply has the code alone.
    for (const [code, reason] of [[1000, ""], [1000, "done"], [3000, "a registered code"], [4999, "€".repeat(41)]]) {
      wantEnd(await (await open("/echo", name)).close(code, reason), code, "", true);
    }
    return "1005, 1000, 3000, 4999";
  },

  async "server-closes"(name) {
    const ends = [[1005, ""], [1000, "done"], [1001, "gone"], [1003, ""], [1008, "policy"], [1011, ""], [1012, "again"], [3000, ""], [4999, "€".repeat(41)]];
    for (const [code, reason] of ends) {
      const socket = await open(`/close?code=${code}&reason=${encodeURIComponent(reason)}`, name);
      wantEnd(await socket.closed, code, reason, true);
    }
    return ends.map((end) => end[0]).join(", ");
  },

  async "both-close"(name) {
    const seen = new Set();
    for (let i = 0; i < 20; i++) {
      const socket = await open("/close-at-message", name);
      socket.send("now");
      const end = await socket.close(4001, "page");
      want(end.clean && (end.code === 4001 || end.code === 4002), describe(end));
      seen.add(end.code);
    }
    return [...seen].sort().join(", ");
  },

  async "handler-returns"(name) {
    const socket = await open("/return", name);
    wantEnd(await socket.closed, 1000, "", true);
    return "1000";
  },

  async "handler-panics"(name) {
    const socket = await open("/panic", name);
    wantEnd(await socket.closed, 1011, "", true);
    return "1011";
  },

  async reset(name) {
    const socket = await open("/cut", name);
    socket.send("now");
    const end = await socket.closed;
    wantEnd(end, 1006, "", false);
    return describe(end);
  },

  async "too-big"(name) {
    const socket = await open("/small", name);
    await socket.echo(bytes(1000));
    socket.send(bytes(1001));
    const end = await socket.closed;
    want(end.code === 1009, describe(end)); // whether that is clean, browsers disagree
    return describe(end);
  },

  async refused(name) {
    const seen = [];
    for (const path of ["/forbidden?status=403", "/forbidden?status=401", "/forbidden?status=503", "/nowhere"]) {
      const socket = new Socket(address(path, name));
      wantEnd(await socket.closed, 1006, "", false);
      want(socket.failed, "no error event");
      seen.push((new URL(socket.ws.url)).pathname);
    }
    return `1006 without reason for ${seen.length} refusals`;
  },

  // A route that answers 200, and is none for sockets.
  async "no-socket"(name) {
    const socket = new Socket(address("/hello", name));
    const opened = await socket.opened.then(() => true, () => false);
    const end = await socket.closed;
    want(!end.clean, describe(end));
    return `${opened ? "opened" : "not opened"}: ${describe(end)}`;
  },

  async origin(name) {
    await get("/hello", other);
    const socket = new Socket(address("/same-origin", name, other));
    wantEnd(await socket.closed, 1006, "", false);
    const welcome = await open("/echo", name, [], other);
    await welcome.echo("welcome");
    wantEnd(await welcome.close(1000), 1000, "", true);
    return "1006; welcome where listed";
  },

  async pings(name) {
    const socket = await open("/pings", name);
    const seen = await socket.next();
    wantEnd(await socket.closed, 1000, "", true);
    return seen;
  },

  async fragments(name) {
    const socket = await open("/fragments", name);
    await socket.echo(text(400000));
    await socket.echo(bytes(400000));
    wantEnd(await socket.close(1000), 1000, "", true);
    return "20 and an empty one, each followed by a ping";
  },

  async order(name) {
    const socket = await open("/order?messages=3000", name);
    for (let i = 0; i < 3000; i++) socket.send(String(i));
    for (let i = 0; i < 3000; i++) want(await socket.next() === String(i), `message ${i} is another`);
    wantEnd(await socket.closed, 1000, "3000 in order", true);
    return "3,000 each way";
  },

  // Messages that the server does not read hold up nobody else.
  async stalled(name) {
    const stalled = await open("/stalled", name);
    const total = 32;
    for (let i = 0; i < total; i++) stalled.send(bytes(1 << 20, i));
    const beside = await open("/echo", `${name}-beside`);
    await beside.echo(bytes(1 << 20));
    await get("/bytes?n=1000000");
    const waiting = stalled.ws.bufferedAmount;
    want(waiting > 0, "the server took everything without reading");
    await get(`/release`);
    want(await stalled.next() === String(total << 20), "bytes were lost");
    want(stalled.ws.bufferedAmount === 0, "not everything was sent");
    wantEnd(await stalled.closed, 1000, "", true);
    wantEnd(await beside.close(1000), 1000, "", true);
    return `${(waiting / (1 << 20)).toFixed(1)} of ${total} MiB waited in the page`;
  },

  // 50 sockets beside 200 requests.
  async many(name) {
    const sockets = [];
    while (sockets.length < 50) {
      // Chromium makes a page wait that opens many at once.
      sockets.push(...await Promise.all(Array.from({ length: 10 }, (_, i) => open(i % 2 ? "/deflate" : "/echo", name))));
    }
    const conversations = sockets.map(async (socket, i) => {
      for (let j = 0; j < 20; j++) {
        await socket.echo(j % 2 ? text(j * 997) : bytes(j * 1499, i * 100 + j + 1));
      }
    });
    const requests = Array.from({ length: 200 }, async (_, i) => {
      const n = (i * 1009) % 50000;
      const body = await (await get(`/bytes?n=${n}&of=${i}`)).arrayBuffer();
      want(body.byteLength === n && new Uint8Array(body).every((b) => b === i % 256), `request ${i} was answered otherwise`);
    });
    await Promise.all([...conversations, ...requests]);
    const state = await (await get("/state")).json();
    for (const end of await Promise.all(sockets.map((socket) => socket.close(1000, "all done")))) {
      wantEnd(end, 1000, "", true);
    }
    return `at the same time: ${state}`;
  },

  async reconnect(name) {
    for (let i = 0; i < 30; i++) {
      const socket = await open("/echo", name);
      await socket.echo(String(i));
      wantEnd(await socket.close(1000), 1000, "", true);
    }
    return "30 times";
  },

  async unload(name) {
    await inFrame(name, (frame) => frame.remove());
    return `the server saw ${await ended(name)}`;
  },

  async navigate(name) {
    let navigated;
    await inFrame(name, (frame) => {
      navigated = frame;
      frame.src = "about:blank";
    });
    const seen = await ended(name);
    navigated.remove();
    return `the server saw ${seen}`;
  },

  async worker(name) {
    const worker = new Worker("/page/worker.js");
    const said = new Promise((resolve, reject) => {
      worker.onmessage = (event) => resolve(event.data);
      worker.onerror = () => reject(new Error("the worker failed"));
    });
    worker.postMessage(address("/echo", name));
    want(await said === "open", "the worker's socket did not open");
    worker.terminate();
    return `the server saw ${await ended(name)}`;
  },

  // The second site shuts down: sockets first, while a request goes on.
  async drain(name) {
    await get("/hello", other);
    const sockets = [];
    for (let i = 0; i < 10; i++) {
      const socket = await open("/echo", name, [], other);
      await socket.echo(String(i));
      sockets.push(socket);
    }
    const slow = await get("/slow", other); // its header section is here
    const shutdown = get("/other/shutdown");
    for (const socket of sockets) {
      const end = await socket.closed;
      wantEnd(end, 1001, "", true);
    }
    const rest = (await slow.arrayBuffer()).byteLength;
    want(rest === 200000, `the slow answer has ${rest} bytes`);
    return `10 × 1001; Shutdown: ${await (await shutdown).text()}`;
  },

  // The second site is back, at the same address.
  async "after-drain"(name) {
    await get("/other/start");
    await get("/hello", other);
    const socket = await open("/echo", name, [], other);
    await socket.echo("back");
    wantEnd(await socket.close(1000), 1000, "", true);
    return "open again";
  },

  // The last socket is still open when the browser ends.
  async left(name) {
    const socket = await open("/echo", name);
    await socket.echo("left open");
    window.left = socket;
    return "left open";
  },
};

// Cases that are run only where they are asked for.
const special = {
  // The server resets a socket's stream with HTTP_1_1_REQUIRED.
  async "http1-required"(name) {
    const seen = [];
    for (let i = 0; i < 3; i++) {
      const socket = new Socket(address("/http1", name));
      if (await socket.opened.then(() => true, () => false)) {
        await socket.echo(text(1000));
        wantEnd(await socket.close(1000), 1000, "", true);
        seen.push("open");
      } else {
        wantEnd(await socket.closed, 1006, "", false);
        seen.push("1006");
      }
    }
    return seen.join(", ");
  },
};

// inFrame opens a socket in a frame and then does away with it.
async function inFrame(name, away) {
  const frame = document.createElement("iframe");
  frame.hidden = true;
  const said = new Promise((resolve) => addEventListener("message", (event) => resolve(event.data), { once: true }));
  frame.src = `/page/frame.html?socket=${encodeURIComponent(address("/echo", name))}`;
  document.body.append(frame);
  const first = await said;
  want(first === "open", `the frame's socket says ${JSON.stringify(first)}`);
  away(frame);
}
