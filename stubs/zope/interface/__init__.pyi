from collections.abc import Callable
from typing import Any, TypeVar

_T = TypeVar("_T")

class Interface:
    @classmethod
    def providedBy(cls, value: object) -> bool: ...
    @classmethod
    def implementedBy(cls, value: type) -> bool: ...

class Attribute:
    def __init__(self, __name__: str, __doc__: str = "") -> None: ...

def implementer(*interfaces: Any) -> Callable[[_T], _T]: ...
