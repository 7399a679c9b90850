"""Prints the events of a run until it has ended: python follow.py RUN"""

import asyncio
import json
import os
import sys

import nats

ENDS = ("cerebros.nas.run.completed", "cerebros.nas.run.failed", "cerebros.nas.run.cancelled")


async def main(run: str) -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    # An ordered consumer reads the stream from its beginning and takes nothing away from anybody.
    events = await client.jetstream().subscribe("*.>", stream="CEREBROS", ordered_consumer=True)
    async for message in events.messages:
        if (message.headers or {}).get("Content-Type", "application/json") != "application/json":
            continue  # in Avro, or somebody's garbage
        try:
            event = json.loads(message.data)
        except ValueError:
            continue
        if isinstance(event, dict) and event.get("run_id") == run:
            print(message.metadata.sequence.stream, message.subject, json.dumps(event), flush=True)
            if message.subject in ENDS:
                break
    await client.close()


asyncio.run(main(sys.argv[1]))
