"""Options that several commands share, as dataclasses: a parameter of such a type becomes an option for each of its fields."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, get_type_hints

_Result = TypeVar("_Result")


def with_groups(command: Callable[..., _Result]) -> Callable[..., _Result]:
    """A command whose dataclass parameters are spread into options; the dataclasses are put together again when it is called."""
    hints = get_type_hints(command, include_extras=True)
    signature = inspect.signature(command)
    groups = {name: hints[name] for name in signature.parameters if dataclasses.is_dataclass(hints[name])}
    fields = {name: dataclasses.fields(group) for name, group in groups.items()}
    parameters = [
        parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY)
        for name, parameter in signature.parameters.items()
        if name not in groups
    ]
    for name, group in groups.items():
        types = get_type_hints(group, include_extras=True)
        parameters += [
            inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name])
            for field in fields[name]
        ]

    @functools.wraps(command)
    def spread(**values: Any) -> _Result:
        built = {name: group(**{field.name: values.pop(field.name) for field in fields[name]}) for name, group in groups.items()}
        return command(**values, **built)

    spread.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # what inspect and typer read
    spread.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del spread.__wrapped__  # or its own annotations would be read instead
    return spread
