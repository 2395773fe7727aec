from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

class Attempt:
    def __enter__(self) -> Any: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool: ...

class TransactionManager:
    def __init__(self, explicit: bool = False) -> None: ...
    def begin(self) -> Any: ...
    def get(self) -> Any: ...
    def commit(self) -> None: ...
    def abort(self) -> None: ...
    def savepoint(self, optimistic: bool = False) -> Any: ...
    def attempts(self, number: int = 3) -> Iterator[Attempt]: ...
    def __enter__(self) -> Any: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

class ThreadTransactionManager(TransactionManager):
    manager: TransactionManager

manager: ThreadTransactionManager
begin: Callable[[], Any]
get: Callable[[], Any]
commit: Callable[[], None]
abort: Callable[[], None]
