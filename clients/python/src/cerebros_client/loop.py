"""An event loop in a thread of its own, and calls into it from any other thread.

Nothing here waits with a lock in its hand, and whoever waits is answered, whatever becomes of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, InvalidStateError, wait
from typing import Any, Generic, TypeVar

from .connect import log
from .errors import CerebrosError

CLOSE_SECONDS = 10.0
"""How long the end may take; what is not over then is left alone."""
_T = TypeVar("_T")


class LoopThread:
    """The thread and its loop. It ends with :meth:`end`, or with the program."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._calls: set[_Call[Any]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._serve, name="cerebros-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Carries out ``work``; whatever ends the waiting, such as Ctrl-C, ends the work.

        Raises:
            CerebrosError: The loop ended, before or meanwhile.
        """
        call = _Call(work)
        self._calls.add(call)
        self._soon(self._begin, call)
        if self._has_ended:  # the thread may have looked for calls before there was this one
            call.refuse()
        try:
            return call.answer.result()
        except BaseException:
            self._soon(call.cancel)
            # Whoever calls next, such as the end of a watch, must not meet it half way.
            wait([call.answer], CLOSE_SECONDS)
            raise
        finally:
            self._calls.discard(call)

    def end(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begins the end and waits for nothing: calls in progress are cancelled, ``farewell`` is the last."""
        self._soon(self._begin_end, farewell)

    def join(self) -> None:
        """Waits for the end that was begun."""
        self._thread.join(CLOSE_SECONDS + 1)

    def _soon(self, act: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(act, *arguments)

    # From here on: in the thread.

    def _serve(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()
            self._has_ended = True
            for call in list(self._calls):
                call.refuse()

    def _begin(self, call: _Call[Any]) -> None:
        if self._ending is None:
            call.begin(self._loop)
        else:
            call.refuse()

    def _begin_end(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._ending is None:
            self._loop.call_later(CLOSE_SECONDS, self._loop.stop)
            self._ending = self._loop.create_task(self._end(farewell))

    async def _end(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            # First the calls, while there is a connection they can say goodbye on; then the rest.
            await _cancelled(call.task for call in list(self._calls) if call.task is not None)
            await farewell()
            await _cancelled(asyncio.all_tasks() - {asyncio.current_task()})
        except Exception as error:
            log.debug("closing: %r", error)
        finally:
            self._loop.stop()


class _Call(Generic[_T]):
    """Work for the loop, and the answer somebody waits for."""

    def __init__(self, work: Coroutine[Any, Any, _T]) -> None:
        self.answer: Future[_T] = Future()
        self.task: asyncio.Task[_T] | None = None
        self._work = work

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self.task = loop.create_task(self._work)
        self.task.add_done_callback(self._settle)

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def refuse(self) -> None:
        """Answers that the client was closed, unless there is an answer already."""
        if self.task is None:
            self._work.close()
        with contextlib.suppress(InvalidStateError):
            self.answer.set_exception(CerebrosError("the client was closed", help="make another one"))

    def _settle(self, task: asyncio.Task[_T]) -> None:
        if task.cancelled():
            self.refuse()
            return
        error = task.exception()
        with contextlib.suppress(InvalidStateError):
            if error is not None:
                self.answer.set_exception(error)
            else:
                self.answer.set_result(task.result())


async def _cancelled(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancels tasks and waits until they are over."""
    given = [task for task in tasks if task is not None]
    for task in given:
        task.cancel()
    if given:
        await asyncio.wait(given)
