"""
Observe the stream objects of SDKs.

Such an object keeps its identity: its class is changed to a subclass, which reports the items and the end.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from .generators import Followed


def attach(call: Followed, stream: Any, *, is_manager: bool) -> bool:
    """
    Make *stream* report to *call*, by changing its class to a subclass.

    Returns:
        Whether the class could be changed.
    """
    cls = type(stream)
    try:
        subclass = _classes.get(cls)
        if subclass is None:
            subclass = _classes[cls] = _manager_class(cls) if is_manager else _stream_class(cls)
        stream.__class__ = subclass
        setattr(stream, _attribute(cls), call)
    except TypeError:  # a class with slots, or one that cannot be subclassed
        return False
    return True


_classes: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def _attribute(cls: type) -> str:
    """Return where the subclass of *cls* finds its call; a stream that several functions return has several."""
    return f"_fluxloop_call_{len(cls.__mro__)}"


def _stream_class(cls: type) -> type:
    """Return a subclass of *cls* whose instances report their items. It overrides only methods that *cls* has."""
    base: Any = cls
    call_of = attrgetter(_attribute(cls))

    def iter_(self: Any) -> Any:
        return self

    def next_(self: Any) -> Any:
        call = call_of(self)
        call.resume()
        try:
            item = base.__next__(self)
        except StopIteration:
            call.pause()
            call.exhausted(None)
            raise
        except BaseException as exc:
            call.raised(exc)
            raise
        call.pause()
        return call.on_item(item)

    async def anext_(self: Any) -> Any:
        call = call_of(self)
        call.resume()
        try:
            item = await base.__anext__(self)
        except StopAsyncIteration:
            call.pause()
            call.exhausted(None)
            raise
        except BaseException as exc:
            call.raised(exc)
            raise
        call.pause()
        return call.on_item(item)

    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return base.close(self, *args, **kwargs)
        finally:
            call_of(self).failed(GeneratorExit())

    methods = {
        "__iter__": iter_,
        "__aiter__": iter_,
        "__next__": next_,
        "__anext__": anext_,
        "close": close,
    }
    return _subclass(cls, methods | _exits(cls))


def _manager_class(cls: type) -> type:
    """Return a subclass of *cls* whose instances follow the stream that entering them returns."""
    base: Any = cls
    call_of = attrgetter(_attribute(cls))

    def enter_(self: Any) -> Any:
        stream = base.__enter__(self)
        attach(call_of(self), stream, is_manager=False)
        return stream

    async def aenter_(self: Any) -> Any:
        stream = await base.__aenter__(self)
        attach(call_of(self), stream, is_manager=False)
        return stream

    return _subclass(cls, {"__enter__": enter_, "__aenter__": aenter_} | _exits(cls))


def _exits(cls: type) -> dict[str, Callable[..., Any]]:
    base: Any = cls
    call_of = attrgetter(_attribute(cls))

    def exit_(self: Any, *exc_info: Any) -> Any:
        try:
            return base.__exit__(self, *exc_info)
        finally:
            call_of(self).failed(exc_info[1] or GeneratorExit())

    async def aexit_(self: Any, *exc_info: Any) -> Any:
        try:
            return await base.__aexit__(self, *exc_info)
        finally:
            call_of(self).failed(exc_info[1] or GeneratorExit())

    return {"__exit__": exit_, "__aexit__": aexit_}


def _subclass(cls: type, methods: dict[str, Callable[..., Any]]) -> type:
    present = {name: method for name, method in methods.items() if hasattr(cls, name)}
    return type(cls.__name__, (cls,), {**present, "__module__": cls.__module__, "__qualname__": cls.__qualname__})
