"""What answers cost, for people and as JSON."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from treering_cli.output import note

if TYPE_CHECKING:
    from treering.v1.query_pb2 import QueryCost


@dataclass(frozen=True)
class Costs:
    """The option that asks what an answer cost."""

    cost: Annotated[
        bool, typer.Option("--cost", help="Say on standard error what the answer cost: records, segments and bytes read, time.")
    ] = False

    def show(self, cost: "QueryCost", *, json: bool = False) -> None:
        """Says it, if it was asked for."""
        if not self.cost:
            return
        from treering_cli.escaping import to_json  # noqa: PLC0415 - start-up

        note(to_json({"cost": cost_json(cost)}) if json else f"treering: {_in_words(cost)}")


def total(costs: Iterable["QueryCost"]) -> "QueryCost":
    """The cost of several answers together."""
    from treering.v1.query_pb2 import QueryCost  # noqa: PLC0415 - start-up

    whole = QueryCost()
    for cost in costs:
        for field in QueryCost.DESCRIPTOR.fields:
            setattr(whole, field.name, getattr(whole, field.name) + getattr(cost, field.name))
    return whole


def cost_json(cost: "QueryCost") -> dict[str, Any]:
    """The contract's fields by their names."""
    return {field.name: getattr(cost, field.name) for field in cost.DESCRIPTOR.fields}


def _in_words(cost: "QueryCost") -> str:
    segments = cost.segments_read + cost.segments_skipped
    return (
        f"read {cost.rows_read:,} records, {cost.segments_read:,} of {segments:,} segments ({cost.bytes_read:,} bytes); "
        f"waited {cost.wait_ms:,} ms, worked {cost.work_ms:,} ms"
    )
