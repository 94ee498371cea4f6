// Asks /api each second, and ten times a second while a take-over is awaited. All text goes in by textContent: what
// the server says is never read as markup.
"use strict";

const at = id => document.getElementById(id);
const clock = seconds => new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });
const milliseconds = us => (us / 1000).toFixed(1) + " ms";
let awaited = null; // the term that has been killed and not yet followed

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function table(body, rows) {
  body.replaceChildren(...rows.map(cells => {
    const row = document.createElement("tr");
    row.append(...cells.map(cell => element("td", cell)));
    return row;
  }));
}

function showWorkers({ workers, leader, answered_by: answered }) {
  at("workers").replaceChildren(...workers.map(pid => {
    const card = document.createElement("li");
    card.append(element("b", "pid " + pid));
    if (leader && leader.pid === pid) {
      card.className = "leads";
      card.append(element("span", "on duty", "on"));
    }
    if (pid === answered) card.append(element("span", "answered this request", "dim"));
    return card;
  }));
}

function showTerm({ leader, takeovers }) {
  at("leader").textContent = leader ? "pid " + leader.pid : "nobody";
  at("since").textContent = leader ? `term ${leader.term}, since ${clock(leader.since)}` : "\u00a0";
  if (leader && awaited !== null && leader.term > awaited) awaited = null;
  at("kill").disabled = awaited !== null || !leader;
  const newest = takeovers.at(-1);
  if (newest) {
    at("takeover").textContent = newest.us === null ? "…" : milliseconds(newest.us);
    at("heir").textContent = newest.us === null ? `${newest.killed} is killed` : `${newest.heir} follows ${newest.killed}`;
  }
  table(at("takeovers"), takeovers.slice(0, -1).reverse().map(one =>
    [clock(one.at / 1e6), `${one.killed} → ${one.heir ?? "nobody"}`, one.us === null ? "–" : milliseconds(one.us)]));
}

function showReadings({ collector }) {
  const history = collector.history || [];
  const newest = history.at(-1);
  if (!newest) return;
  at("cpu").textContent = newest.cpu.toFixed(0) + " %";
  at("memory").textContent = newest.memory.toFixed(0) + " %";
  at("load").textContent = newest.load.toFixed(2);
  at("beat").textContent = collector.beat;
  at("curve").setAttribute("points", history.map((one, x) => `${x},${100 - one.cpu}`).join(" "));
  at("reader").textContent = `read at ${clock(newest.at / 1e6)} by pid ${collector.pid}; a new worker goes on counting`;
}

function showRuns({ runs }) {
  table(at("runs"), runs.map(run => [
    run.task, run.first === run.slot ? clock(run.slot) : `${clock(run.first)} to ${clock(run.slot)}`,
    run.pid, run.term, run.outcome,
  ]));
}

function trouble(text) {
  at("trouble").textContent = text;
  at("trouble").hidden = !text;
}

async function show() {
  try {
    const facts = await (await fetch("api", { signal: AbortSignal.timeout(3000) })).json();
    for (const part of [showWorkers, showTerm, showReadings, showRuns]) part(facts);
    trouble("");
  } catch (error) {
    trouble("no answer from the server: " + error.message);
  }
  setTimeout(show, awaited === null ? 1000 : 100);
}

at("kill").onclick = async () => {
  at("kill").disabled = true;
  try {
    const answer = await fetch("kill", { method: "POST", headers: { "X-Demo": "kill" } });
    if (!answer.ok) throw new Error("nobody is on duty just now");
    awaited = (await answer.json()).term;
  } catch (error) {
    trouble("not killed: " + error.message);
  }
};

show();
