"""Both clients behind one interface, so that one suite runs for both.

`Client` is as it is. `LoopClient` is `AsyncClient` for threads: it has an event loop on a thread of its own and waits for each call.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeAlias, TypeVar

from treering import AsyncClient, Client, Endpoints, Uploader, UploadResult
from treering.uploader import run_blocking
from treering.uploader_aio import AsyncUploader
from treering.v1.log_pb2 import LogRecord

T = TypeVar("T")


class LoopClient:
    def __init__(self, endpoints: Endpoints) -> None:
        self._started = threading.Event()
        self._thread = threading.Thread(target=asyncio.run, args=(self._serve(endpoints),))
        self._thread.start()
        self._started.wait()

    async def _serve(self, endpoints: Endpoints) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with AsyncClient(endpoints) as self.client:
            self._started.set()
            await self._stop.wait()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def uploader(
        self, *arguments: str, **options: float | Callable[[BaseException, Any], None] | Callable[[BaseException, object], Any]
    ) -> "LoopUploader":
        return LoopUploader(self, self.client.uploader(*arguments, **options))

    def call(self, method: str, *arguments: Any, **options: Any) -> Any:
        """The answer of a method, or the list of what it yields."""

        async def all_of() -> list[Any] | Any:
            answer = getattr(self.client, method)(*arguments, **options)
            return [part async for part in answer] if hasattr(answer, "__aiter__") else await answer

        return self.run(all_of())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


class LoopUploader:
    def __init__(self, client: LoopClient, uploader: AsyncUploader) -> None:
        self.run = client.run
        self._inner = uploader
        self._core, self._driver = uploader._core, uploader._driver

    def send(self, *arguments: int | LogRecord | str) -> None:
        return self.run(self._inner.send(*arguments))

    def flush(self, timeout: float | None = None) -> bool:
        async def flush() -> bool:
            async with asyncio.timeout(timeout):
                await self._inner.flush()
            return True

        return self.run(flush())

    def close(self, timeout: float | None = None) -> UploadResult:
        return self.run(self._inner.close(timeout))

    def abort(self) -> UploadResult:
        return self.run(self._inner.abort())

    def result(self) -> UploadResult:
        return self._inner.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.run(self._inner.__aexit__(*error))


AnyClient: TypeAlias = Client | LoopClient
Connect: TypeAlias = type[Client] | type[LoopClient]
AnyUploader: TypeAlias = Uploader | LoopUploader


def until(uploader: AnyUploader, met: Callable[[], bool]) -> None:
    """Returns when `met`, also when nobody is woken for it."""
    wait = uploader.run if isinstance(uploader, LoopUploader) else run_blocking
    while not wait(uploader._core._until(met, 0.01)):
        pass


def has_ended(uploader: AnyUploader) -> bool:
    """Whether nothing is sent any more."""
    wait = uploader.run if isinstance(uploader, LoopUploader) else run_blocking
    return wait(uploader._driver.ended(0))


def answer(client: AnyClient, method: str, *arguments: str, **options: int) -> list[Any] | Any:
    """The answer of a client's method, or the list of what it yields."""
    if isinstance(client, LoopClient):
        return client.call(method, *arguments, **options)
    found = getattr(client, method)(*arguments, **options)
    return list(found) if hasattr(found, "__next__") else found
