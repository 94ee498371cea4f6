// Many real Socket.IO clients in one process, told what to do by lines of JSON on standard input; one line answers each.
// A client counts what it receives, by event, and checks that numbered events come in order.
import { createRequire } from "node:module";
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";

const { io } = createRequire(process.argv[2])("socket.io-client");
const clients = [];

class Client {
  constructor(url, options) {
    this.drops = [];
    this.upgraded = false;
    this.connects = 0;
    this.errors = 0;
    this.events = {};
    this.socket = io(url, { forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500, ...options });
    this.socket.on("connect", () => {
      this.connects += 1;
      const engine = this.socket.io.engine;
      this.upgraded = engine.transport.name === "websocket";
      engine.on("upgrade", () => (this.upgraded = true));
    });
    this.socket.on("disconnect", (reason, why) => {
      this.drops.push([reason, why?.message, why?.description, why?.context?.responseText?.slice(0, 100)].join(" ").trim());
      this.upgraded = false;
    });
    this.socket.on("connect_error", () => (this.errors += 1));
    this.socket.onAny((event, ...args) => this.receive(event, args));
  }

  receive(event, args) {
    const answer = typeof args.at(-1) === "function" ? args.pop() : null;
    const seen = (this.events[event] ??= { count: 0, last: -1, outOfOrder: 0, bytes: 0 });
    const data = args[0] ?? {};
    seen.count += 1;
    if (typeof data.n === "number") {
      if (data.n !== 0 && data.n !== seen.last + 1) seen.outOfOrder += 1;
      seen.last = data.n;
    }
    if (data.filling !== undefined) {
      seen.bytes += data.filling.length ?? data.filling.byteLength;
      seen.kind = Buffer.isBuffer(data.filling) ? "binary" : typeof data.filling;
      seen.hash = createHash("sha1").update(data.filling).digest("hex");
    }
    if (answer) answer({ from: this.socket.id });
  }

  state() {
    const engine = this.socket.io.engine;
    return {
      sid: this.socket.id ?? null,
      session: engine?.id ?? null,
      connected: this.socket.connected,
      upgraded: this.upgraded,
      connects: this.connects,
      drops: this.drops,
      errors: this.errors,
      events: this.events,
    };
  }
}

const ask = (client, within, event, ...args) =>
  client.socket.timeout(within).emitWithAck(event, ...args).catch((error) => ({ error: String(error) }));

const orders = {
  open: ({ url, count, options }) => {
    for (let i = 0; i < count; i += 1) clients.push(new Client(url, options ?? {}));
  },
  state: () => clients.map((client) => client.state()),
  // ``within``: milliseconds; a machine may stand still for seconds.
  ask: ({ event, args, only, within }) =>
    Promise.all((only ?? [...clients.keys()]).map((i) => ask(clients[i], within ?? 20000, event, ...(args ?? [])))),
  forget: () => clients.forEach((client) => Object.assign(client, { events: {}, drops: [], connects: 0 })),
  close: () => {
    clients.forEach((client) => client.socket.disconnect());
    clients.length = 0;
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { order, ...rest } = JSON.parse(line);
  const answer = await orders[order](rest);
  process.stdout.write(`${JSON.stringify(answer ?? null)}\n`);
}
// Taking leave: a poll that nobody waits for any more would hold a thread of its server for 25 s.
orders.close();
setTimeout(() => process.exit(0), 2000).unref();
