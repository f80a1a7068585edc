"""Runs an engine app as this process's job until a signal or a failure ends it."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from faust.worker import Worker

from streams.engine.app import EngineApp
from streams.engine.errors import EngineFailed, ExitCode
from streams.engine.watchdog import Deadline, end_process

logger = logging.getLogger(__name__)

_LEFTOVER_TIMEOUT_S = 1.0


class EngineWorker(Worker):
    """Faust's worker without its banner, spinner, log set-up, debugger and exit."""

    def __init__(self, app: EngineApp, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            app,
            loop=loop,
            quiet=True,
            override_logging=False,
            redirect_stdouts=False,
        )
        self.spinner = None
        self._engine = app
        self._asked_to_stop = asyncio.Event()
        app.on_failure = self._on_failure

    def run(self) -> int:
        """Start the app, wait for its end, stop it; the exit code of the process."""
        return self.loop.run_until_complete(self._work())

    async def _work(self) -> int:
        start = asyncio.ensure_future(self.start())
        asked = asyncio.ensure_future(self._asked_to_stop.wait())
        await asyncio.wait({start, asked}, return_when=asyncio.FIRST_COMPLETED)
        settings = self._engine.engine_settings
        deadline = Deadline(settings.stop_timeout_s, self._code_so_far(), end_process)
        code = ExitCode.OK
        if start.done() and (error := start.exception()) is not None:
            logger.critical("the worker did not start: %s", error, exc_info=error)
            code = ExitCode.START_FAILED
        await self.stop()
        asked.cancel()
        if not start.done():
            start.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await start
        deadline.cancel()
        if self._engine.failure is not None:
            return self._engine.failure.code
        if self.crash_reason is not None:
            logger.critical("the worker crashed: %r", self.crash_reason)
            return ExitCode.AGENT_RAISED
        return code

    def _code_so_far(self) -> ExitCode:
        failure = self._engine.failure
        return ExitCode.STOP_TIMED_OUT if failure is None else failure.code

    def _on_failure(self, failure: EngineFailed) -> None:
        logger.info("stopping: %s", failure.reason)
        self._asked_to_stop.set()

    def install_signal_handlers(self) -> None:
        """SIGTERM and SIGINT stop the worker in order; a second one changes nothing."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        logger.info("%s: stopping", number.name)
        self._asked_to_stop.set()


def new_loop() -> asyncio.AbstractEventLoop:
    """A uvloop event loop where uvloop is installed, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def run_worker(
    app: EngineApp, *, loop_factory: Callable[[], asyncio.AbstractEventLoop] = new_loop
) -> int:
    """Run `app` until SIGTERM, SIGINT or a failure; returns the exit code (see `ExitCode`).

    Bounded: a stop that takes longer than `stop_timeout_s` ends the process there and then.
    Logging is left as the caller set it up.
    """
    loop = loop_factory()
    asyncio.set_event_loop(loop)
    try:
        code = EngineWorker(app, loop).run()
        loop.run_until_complete(_cancel_leftovers(loop))
        loop.run_until_complete(loop.shutdown_asyncgens())
        return int(code)
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _cancel_leftovers(loop: asyncio.AbstractEventLoop) -> None:
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_LEFTOVER_TIMEOUT_S)


@asynccontextmanager
async def running(app: EngineApp) -> AsyncIterator[EngineApp]:
    """The app started in the current event loop, and stopped at the end. For tests and tools."""
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
