"""The FastStream side: a pull subscriber on JetStream that acknowledges and publishes an event per request.

The request and the event go through the broker that our runs go through, and the event is
confirmed by it before the request is acknowledged. The no-op happens in this process: nothing
isolates it.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any, Dict

from faststream import AckPolicy, FastStream
from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub

broker = NatsBroker(os.environ["NATS_URL"], log_level=30)
app = FastStream(broker)
stream = JStream("BENCH_FASTSTREAM", declare=False)

# As large as what our runs end with.
_RESULT: Dict[str, Any] = json.loads(os.environ["BENCH_RESULT"])


@broker.subscriber(
    "bench.faststream.requested",
    stream=stream,
    durable="bench-faststream",
    pull_sub=PullSub(batch_size=100, timeout=1.0),
    ack_policy=AckPolicy.REJECT_ON_ERROR,
    max_workers=64,
)
async def take(request: Dict[str, Any], message: NatsMessage) -> None:
    """Does nothing, says so, and lets the request be acknowledged."""
    await broker.publish(
        _RESULT,
        "bench.faststream.completed",
        headers={"Bench-Id": message.headers["Bench-Id"]},
        stream=stream.name,
        timeout=10.0,
    )


if __name__ == "__main__":
    asyncio.run(app.run())
