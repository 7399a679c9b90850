"""Asks for a search and prints the id of the run: python submit.py [SPEC]"""

import asyncio
import json
import os
import sys
import uuid

import nats

SPEC = '{"dataset_id": "digits", "budget": {"max_trials": 6}, "tags": {"from": "examples/python"}}'


async def main() -> None:
    spec = json.loads(sys.argv[1] if len(sys.argv) > 1 else SPEC)
    run = spec.setdefault("run_id", str(uuid.uuid4()))
    client = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    # The message id makes it safe to send the same request again: the broker drops the second one.
    headers = {"Nats-Msg-Id": f"{run}:0:requested::"}
    await client.jetstream().publish("cerebros.nas.run.requested", json.dumps(spec).encode(), headers=headers)
    print(run)
    await client.close()


asyncio.run(main())
