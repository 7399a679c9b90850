"""An event loop in a thread of its own, and calls into it from any other thread.

Nothing here waits with a lock in its hand, and whoever waits is answered, whatever becomes of the loop. The
garbage collector runs in any thread, this one too: what it may call (``leave``, ``end``) waits for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from concurrent.futures import Future, InvalidStateError, wait
from typing import Any, Generic, TypeVar

from .connect import end_tasks, log
from .errors import CerebrosError

CLOSE_SECONDS = 10.0
"""How long the end may take; what is not over then is left alone."""
_AGAIN_SECONDS = 0.5
"""What is cancelled and not over by then is cancelled again: see :func:`~.connect.end_tasks`."""
_T = TypeVar("_T")


class LoopThread:
    """The thread and its loop. It ends with :meth:`end`, or with the program."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._calls: set[_Call[Any]] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Task[None] | None = None
        self._has_ended = False
        self._thread = threading.Thread(target=self._serve, name="cerebros-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Carries out ``work``; whatever ends the waiting, such as Ctrl-C, ends the work.

        Raises:
            CerebrosError: The loop ended, before or meanwhile, or is itself what asks.
        """
        if self._is_this_thread():
            work.close()
            raise CerebrosError(
                "a call in the client's own thread cannot be waited for",
                help="a finalizer such as __del__ made it, which may run in any thread: leave it out there",
            )
        call = _Call(work)
        self._calls.add(call)
        self._soon(self._begin, call)
        if self._has_ended:  # the thread may have looked for calls before there was this one
            call.refuse()
        try:
            return call.answer.result()
        except BaseException:
            # Whoever calls next, such as the end of a watch, must not meet it half way.
            for _ in range(int(CLOSE_SECONDS / _AGAIN_SECONDS)):
                self._soon(call.cancel)
                if wait([call.answer], _AGAIN_SECONDS).done:
                    break
            raise
        finally:
            self._calls.discard(call)

    def leave(self, events: AsyncGenerator[Any, None]) -> None:
        """Begins the end of a generator, and waits for nothing."""
        self._soon(self._leave, events)

    def end(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begins the end and waits for nothing: calls in progress are cancelled, ``farewell`` is the last."""
        self._soon(self._begin_end, farewell)

    def join(self) -> None:
        """Waits for the end that was begun."""
        if not self._is_this_thread():
            self._thread.join(CLOSE_SECONDS + 1)

    def _is_this_thread(self) -> bool:
        return threading.current_thread() is self._thread

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

    def _leave(self, events: AsyncGenerator[Any, None]) -> None:
        if self._ending is None:
            leaving = self._loop.create_task(_closed(events))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)

    def _begin_end(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self._ending is None:
            self._loop.call_later(CLOSE_SECONDS, self._loop.stop)
            self._ending = self._loop.create_task(self._end(farewell))

    async def _end(self, farewell: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            # First the calls, while there is a connection they can say goodbye on; then the rest.
            await end_tasks({call.task for call in list(self._calls) if call.task is not None})
            if self._leaving:
                await asyncio.wait(self._leaving)
            await farewell()
            await end_tasks({task for task in asyncio.all_tasks() if task is not asyncio.current_task()})
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


async def _closed(events: AsyncGenerator[Any, None]) -> None:
    try:
        await events.aclose()
    except Exception as error:
        log.debug("leaving: %r", error)
