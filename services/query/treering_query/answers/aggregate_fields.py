"""Fields and metrics of an aggregation as SQL; the names and numbers in it are ours, values are bound."""

from treering.v1 import query_pb2 as pb
from treering_query.meaning.meant import Meant
from treering_query.reading.attributes import value_of
from treering_query.values.pattern_ids import relation
from treering_runtime.errors import invalid_field

_FIELDS = {
    pb.LOG_FIELD_SERVICE: "service",
    pb.LOG_FIELD_ENVIRONMENT: "environment",
    pb.LOG_FIELD_SEVERITY: "severity",
    pb.LOG_FIELD_PATTERN: "pattern_id",
    pb.LOG_FIELD_TEMPLATE: "template_id",
    pb.LOG_FIELD_MESSAGE: "message",
    pb.LOG_FIELD_TRACE_ID: "lower(hex(trace_id))",
}
# Each takes a text that is made a number by `_number`; what is none does not count.
_NUMERIC = {
    pb.AGGREGATE_FUNCTION_MIN: "min({})",
    pb.AGGREGATE_FUNCTION_MAX: "max({})",
    pb.AGGREGATE_FUNCTION_AVG: "avg({})",
    pb.AGGREGATE_FUNCTION_SUM: "sum({})",
}


class Expressions:
    """Turns fields and metrics into SQL and collects the values they bind.

    Args:
        meant: The scores of the texts that fields ask about.
    """

    def __init__(self, meant: Meant) -> None:
        self._meant = meant
        self.parameters: dict[str, object] = {}
        """Values by the names that the SQL binds."""
        self.columns: set[str] = set()
        """What was looked at so far."""

    def field(self, ref: pb.FieldRef, name: str) -> str:
        """The expression of a field that the request has under `name`.

        Raises:
            ServiceError: INVALID_FIELD.
        """
        if ref.WhichOneof("field_kind") == "attribute":
            return self._attribute(ref.attribute, name)
        if ref.WhichOneof("field_kind") == "about":
            return self._about(ref.about, name)
        # A look-up in a table of ours: no text of the caller's becomes a part of the SQL.
        if ref.field not in _FIELDS:
            raise invalid_field(name, "names neither a field of the contract nor an attribute")
        expression = _FIELDS[ref.field]
        self.columns.add(expression)
        return expression

    def _about(self, text: str, name: str) -> str:
        if text not in self._meant.texts:
            raise invalid_field(name, "the text is empty; say in some words what the records are about")
        self.columns.add("pattern_id")
        patterns = relation(self._bind(self._meant.about(text)).removeprefix("$"))
        # As a text, like every other group, and never null.
        return f"(case when pattern_id in (select id from {patterns}) then 'true' else 'false' end)"

    def _attribute(self, key: str, name: str) -> str:
        if not key:
            raise invalid_field(f"{name}.attribute", "empty; name the attribute")
        self.columns.add("attributes")
        return value_of(key, self._bind)

    def _bind(self, value: object) -> str:
        # `a` and not `f`: the values of the filter travel in the same statement.
        name = f"a{len(self.parameters)}"
        self.parameters[name] = value
        return f"${name}"

    def metric(self, metric: pb.Metric, name: str) -> str:
        """The expression of a metric that the request has under `name`; `{count}` for one that counts.

        Raises:
            ServiceError: INVALID_FIELD.
        """
        wanted = function(metric)
        if wanted in {pb.AGGREGATE_FUNCTION_COUNT, pb.AGGREGATE_FUNCTION_RATE}:
            # Filled in by the run: statistics sum a column where records are counted.
            return "{count}"
        if wanted == pb.AGGREGATE_FUNCTION_DISTINCT:
            return f"count(distinct {self.field(metric.of, f'{name}.of')})"
        if metric.of.WhichOneof("field_kind") != "attribute":
            raise invalid_field(f"{name}.of", "this function wants an attribute")
        number = _number(self._attribute(metric.of.attribute, f"{name}.of"))
        if wanted in _NUMERIC:
            return _NUMERIC[wanted].format(number)
        if not metric.HasField("quantile"):
            raise invalid_field(f"{name}.quantile", "unset; the 95th percentile is 0.95")
        return f"quantile_cont({number}, {self._bind(metric.quantile)}::double)"


def function(metric: pb.Metric) -> pb.AggregateFunction.ValueType:
    """What a metric computes."""
    return metric.function if metric.HasField("function") else pb.AGGREGATE_FUNCTION_COUNT


def _number(text: str) -> str:
    """A text as a number; NULL where it is none or not finite."""
    # One NaN or infinity would make the sum and the average of its group useless.
    return f"(case when isfinite(try_cast({text} as double)) then try_cast({text} as double) end)"
