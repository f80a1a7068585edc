"""A worker in a process of its own, for the tests that kill, stop and freeze one.

Reads its orders as JSON from the command line and writes what it did, a line each, to a file:
`assigned`, `begin`/`end` of every batch with its offsets, `healed`.
"""

import asyncio
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from streams.engine import Batch, EngineSettings, Outgoing, engine_app, run_worker


def main() -> int:
    orders: dict[str, Any] = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    journal = Path(orders["journal"]).open("a", buffering=1)  # noqa: SIM115 - ends with the process

    def note(kind: str, **fields: Any) -> None:
        journal.write(json.dumps({"kind": kind, "pid": os.getpid(), "at": time.time(), **fields}))
        journal.write("\n")

    async def heal(partitions: set[tuple[str, int]]) -> None:
        note("heal", partitions=sorted(partitions))
        await asyncio.sleep(orders.get("heal_s", 0.0))
        if orders.get("heal_raises"):
            raise RuntimeError("the shard cannot be healed")
        note("healed", partitions=sorted(partitions))

    settings = EngineSettings.embedded(
        orders["brokers"], orders["group"], **orders.get("settings", {})
    )
    app = engine_app("test", settings, on_assigned=heal)

    async def work(batch: Batch) -> None:
        spans = [(message.partition, message.offset) for message in batch]
        note("begin", offsets=spans)
        if orders.get("raise_on") in {message.value.decode() for message in batch}:
            raise RuntimeError("an agent that raises")
        if orders.get("blocks"):
            time.sleep(orders["batch_s"])  # noqa: ASYNC251 - the loop is to be blocked
        else:
            await asyncio.sleep(orders.get("batch_s", 0.0))
        if orders.get("output"):
            await app.producer.send_batch(
                [Outgoing(orders["output"], message.key, message.value) for message in batch]
            )
        note("end", offsets=spans)

    @app.agent(app.topic(orders["topic"], value_serializer="raw"))
    async def agent(stream: Any) -> None:
        async for batch in stream.batches():
            await work(batch)
            if not orders.get("never_acks"):
                batch.ack()

    code = run_worker(app)
    note("exit", code=code)
    return code


if __name__ == "__main__":
    sys.exit(main())
