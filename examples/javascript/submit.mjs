// Asks for a search and prints the id of the run: node submit.mjs [SPEC]
import { randomUUID } from "node:crypto";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const SPEC = '{"dataset_id": "digits", "budget": {"max_trials": 6}, "tags": {"from": "examples/javascript"}}';

const spec = { run_id: randomUUID(), ...JSON.parse(process.argv[2] ?? SPEC) };
const client = await connect({ servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222" });
// The message id makes it safe to send the same request again: the broker drops the second one.
const msgID = `${spec.run_id}:0:requested::`;
await jetstream(client).publish("cerebros.nas.run.requested", JSON.stringify(spec), { msgID });
console.log(spec.run_id);
await client.close();
