"use strict";

// patience is how long a case may take, in milliseconds.
const patience = 60000;

// run runs a case and returns its result.
async function run(name, test) {
  const start = performance.now();
  const result = { case: name, passed: true, seen: "" };
  let timer;
  try {
    result.seen = await Promise.race([
      test(name),
      new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`not done in ${patience} ms`)), patience); }),
    ]);
  } catch (error) {
    result.passed = false;
    result.seen = String(error);
  }
  clearTimeout(timer);
  result.milliseconds = Math.round(performance.now() - start);
  return result;
}

function show(result) {
  const row = document.getElementById("results").insertRow();
  row.insertCell().textContent = result.case;
  const verdict = row.insertCell();
  verdict.textContent = verdict.className = result.passed ? "passed" : "failed";
  row.insertCell().textContent = result.seen;
  row.insertCell().textContent = result.milliseconds;
}

function about(term, description) {
  const list = document.getElementById("about");
  list.append(Object.assign(document.createElement("dt"), { textContent: term }));
  list.append(Object.assign(document.createElement("dd"), { textContent: description }));
}

async function post(path, value) {
  const response = await fetch(path, { method: "POST", body: JSON.stringify(value) });
  want(response.ok, `${path}: ${response.status}`);
}

async function main() {
  about("Browser", navigator.userAgent);
  about("Run", query.get("run"));
  about("This page came by", performance.getEntriesByType("navigation")[0].nextHopProtocol);
  const chosen = query.has("special") ? { [query.get("special")]: special[query.get("special")] } : { ...cases };
  delete chosen[query.get("without")];
  for (const [name, test] of Object.entries(chosen)) {
    const result = await run(name, test);
    show(result);
    await post("/result", result);
  }
  await post("/done", {
    agent: navigator.userAgent,
    page: performance.getEntriesByType("navigation")[0].nextHopProtocol,
    requests: [...new Set(performance.getEntriesByType("resource").map((entry) => entry.nextHopProtocol))],
  });
}

main();
