// Asks for nothing: the workers push facts, and each message holds some of them. All text goes in by textContent: what
// the server says is never read as markup.
"use strict";

const WORKERS = 4;
const HISTORY = 60;

const at = id => document.getElementById(id);
const clock = seconds => new Date(seconds * 1000).toLocaleTimeString([], { hourCycle: "h23" });
const milliseconds = us => (us / 1000).toFixed(1) + " ms";
const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
const sentBy = Number(document.body.dataset.sentBy);

const known = { workers: [], leader: null, clients: {}, takeovers: [], runs: [], connected_to: null };
let readings = []; // oldest first
let awaited = null; // the term that has been killed and not yet followed
let lost = null; // while there is no connection: when it broke, and whose it was

function element(name, text, kind) {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function table(body, rows) {
  body.replaceChildren(...rows.map(cells => {
    const row = document.createElement("tr");
    row.append(...cells.map(cell => cell instanceof Node ? cell : element("td", cell)));
    return row;
  }));
}

function card(pid) {
  const made = document.createElement("li");
  if (pid === undefined) {
    made.className = "missing";
    made.append(element("span", "a new worker starts …", "dim"));
    return made;
  }
  const leads = known.leader?.pid === pid;
  if (leads) made.className = "leads";
  made.dataset.pid = pid;
  made.append(element("b", "pid " + pid), element("span", pid in known.clients ? counted(known.clients[pid], "client") : "…", "clients"));
  const marks = element("p", "", "marks");
  if (leads) marks.append(element("span", "on duty", "on"));
  if (pid === known.connected_to && !lost) marks.append(element("span", "this tab"));
  if (pid === sentBy) marks.append(element("span", "sent this page"));
  made.append(marks);
  return made;
}

function showWorkers() {
  const missing = Array(Math.max(0, WORKERS - known.workers.length)).fill(undefined);
  at("workers").replaceChildren(...[...known.workers, ...missing].map(card));
}

function showTerm() {
  const { leader, takeovers } = known;
  if (leader && awaited !== null && leader.term > awaited) awaited = null;
  at("leader").textContent = leader ? "pid " + leader.pid : "nobody";
  at("since").textContent = leader ? `term ${leader.term}, since ${clock(leader.since)}` : "\u00a0";
  at("kill").disabled = awaited !== null || !leader || lost !== null;
  const newest = takeovers.at(-1);
  if (newest) {
    at("takeover").textContent = newest.us === null ? "…" : milliseconds(newest.us);
    at("heir").textContent = newest.us === null ? `${newest.killed} is killed` : `${newest.heir} follows ${newest.killed}`;
  }
  table(at("takeovers"), takeovers.slice(0, -1).reverse().map(one =>
    [clock(one.at / 1e6), `${one.killed} → ${one.heir ?? "nobody"}`, one.us === null ? "–" : milliseconds(one.us)]));
}

function showReadings({ beat, pid, reading, history }) {
  readings = (history ?? [...readings, reading]).slice(-HISTORY);
  const newest = readings.at(-1);
  if (!newest) return;
  at("cpu").textContent = newest.cpu.toFixed(0) + " %";
  at("memory").textContent = newest.memory.toFixed(0) + " %";
  at("load").textContent = newest.load.toFixed(2);
  at("beat").textContent = beat;
  at("pulse").getAnimations().forEach(one => { one.cancel(); one.play(); });
  // By time and not by number, so that a second nobody read is seen.
  const points = readings.map(one => [HISTORY - 1 - (newest.at - one.at) / 1e6, 100 - one.cpu]);
  at("curve").setAttribute("points", points.join(" "));
  at("area").setAttribute("points", [[points[0][0], 100], ...points, [HISTORY - 1, 100]].join(" "));
  at("reader").textContent = `read at ${clock(newest.at / 1e6)} by pid ${pid}; a new worker goes on counting`;
}

function showRuns() {
  table(at("runs"), known.runs.map(run => [
    run.task, run.first === run.slot ? clock(run.slot) : `${clock(run.first)} to ${clock(run.slot)}`,
    run.pid, element("td", run.term, "term"), run.outcome,
  ]));
}

function showLink(text, kind) {
  at("linked").textContent = text;
  at("link").className = kind;
}

function learn(facts) {
  if (facts.killed) awaited = facts.killed.term;
  if (facts.connected_to) linked(facts.connected_to);
  for (const name of Object.keys(known)) if (name in facts) known[name] = facts[name];
  if (facts.collector) showReadings(facts.collector);
  showWorkers();
  showTerm();
  showRuns();
}

function linked(pid) {
  const back = lost && `: pid ${lost.pid} went away, and this tab was back by itself after ${((Date.now() - lost.at) / 1000).toFixed(1)} s`;
  showLink(`connected to pid ${pid}${back || ""}`, "linked");
  lost = null;
}

const socket = io({ reconnectionDelay: 200, reconnectionDelayMax: 1000 });
socket.on("facts", learn);
socket.on("disconnect", () => {
  lost = { at: Date.now(), pid: known.connected_to };
  showLink(`pid ${lost.pid}, which held this tab's connection, is gone; connecting to another …`, "waits");
  showWorkers();
  showTerm();
});
socket.on("connect_error", () => showLink("no worker answers; trying again …", "waits"));

at("kill").onclick = async () => {
  at("kill").disabled = true;
  at("refused").hidden = true;
  try {
    const answer = await fetch("kill", { method: "POST", headers: { "X-Demo": "kill", "X-Term": known.leader.term } });
    if (!answer.ok) throw new Error("nobody is on duty just now");
  } catch (error) {
    at("refused").textContent = "not killed: " + error.message;
    at("refused").hidden = false;
    showTerm();
  }
};
