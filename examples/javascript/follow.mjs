// Prints the events of a run until it has ended: node follow.mjs RUN
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const ENDS = ["completed", "failed", "cancelled"].map((end) => `cerebros.nas.run.${end}`);

const parsed = (message) => {
  if ((message.headers?.get("Content-Type") || "application/json") !== "application/json") return null; // in Avro
  try { return message.json(); } catch { return null; } // somebody's garbage
};

const run = process.argv[2];
const client = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
// An ordered consumer reads the stream from its beginning and takes nothing away from anybody.
const events = await jetstream(client).consumers.get("CEREBROS");
for await (const message of await events.consume()) {
  const event = parsed(message);
  if (event?.run_id !== run) continue;
  console.log(message.seq, message.subject, JSON.stringify(event));
  if (ENDS.includes(message.subject)) break;
}
await client.close();
