"""Lists the dead letters, or writes the payload of one as it came: python dead_letters.py [ID]"""

import asyncio
import os
import sys

import nats


async def main(wanted: str | None) -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    jetstream = client.jetstream()
    left = (await jetstream.stream_info("CEREBROS_DLQ")).state.messages
    letters = await jetstream.subscribe("cerebros.dlq.>", stream="CEREBROS_DLQ", ordered_consumer=True)
    is_there = wanted is None
    while left:
        message = await letters.next_msg(timeout=10)
        left = message.metadata.num_pending
        verdict = {name: text for name, text in message.headers.items() if name.startswith("Cerebros-Dlq-")}
        if wanted is None and verdict:
            print(*(verdict[f"Cerebros-Dlq-{name}"] for name in ("Id", "Class", "Subject", "Reason")), sep="\t")
        elif wanted is not None and verdict.get("Cerebros-Dlq-Id") == wanted:
            print(*(f"{name}: {text}" for name, text in sorted(verdict.items())), sep="\n", file=sys.stderr)
            sys.stdout.buffer.write(message.data)
            is_there = True
    await client.close()
    if not is_there:
        sys.exit(f"there is no dead letter {wanted}")


asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
