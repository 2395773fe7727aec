from typing import Any

class WeakRef:
    oid: bytes | None
    dm: Any
    def __init__(self, ob: object) -> None: ...
    def __call__(self) -> Any: ...
