// Lists the dead letters, or writes the payload of one as it came: node dead_letters.mjs [ID]
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const wanted = process.argv[2];
const client = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
const letters = await jetstream(client).consumers.get("CEREBROS_DLQ");
let left = (await letters.info()).num_pending;
let isThere = wanted === undefined;
for await (const message of left ? await letters.consume() : []) {
  const verdict = (name) => message.headers?.get(`Cerebros-Dlq-${name}`);
  if (wanted === undefined && verdict("Id")) {
    console.log(["Id", "Class", "Subject", "Reason"].map(verdict).join("\t"));
  } else if (wanted !== undefined && verdict("Id") === wanted) {
    for (const [name, [text]] of message.headers) if (name.startsWith("Cerebros-Dlq-")) console.error(`${name}: ${text}`);
    process.stdout.write(message.data);
    isThere = true;
  }
  if (message.info.pending === 0) break;
}
await client.close();
if (!isThere) console.error(`there is no dead letter ${wanted}`);
process.exitCode = isThere ? 0 : 1;
