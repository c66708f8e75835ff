"""`treering search`: finds records by what they say."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from treering_cli import near_keys
from treering_cli.connection import Connection
from treering_cli.costs import Costs, cost_json, total
from treering_cli.escaping import escape
from treering_cli.output import answer, answer_json, note, rfc3339
from treering_cli.selecting import Selecting


def search(
    text: Annotated[str, typer.Argument(help="What is looked for, in any words.")] = "",
    *,
    like: Annotated[
        int | None,
        typer.Option(metavar="OFFSET", min=0, help="Records like the one at this offset (its pattern first), instead of a text."),
    ] = None,
    selecting: Selecting,
    connection: Connection,
    costs: Costs,
    mode: Annotated[
        Literal["hybrid", "semantic", "keyword"], typer.Option(help="hybrid: literal hits first, then by meaning; or one of the two alone.")
    ] = "hybrid",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many results.")] = 10,
    flat: Annotated[bool, typer.Option("--flat", help="One result for each record instead of one for each pattern.")] = False,
    samples: Annotated[int, typer.Option(min=0, max=100, help="How many records are shown for each pattern.")] = 3,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out what fits less; never a literal hit.")] = 0.0,
    page_token: Annotated[
        str, typer.Option(metavar="TOKEN", help="Go on after an earlier answer: its `next_page_token`, with the same text and filters.")
    ] = "",
    page: Annotated[
        int, typer.Option(min=1, max=1000, help="Show this page of `--limit` results; each page before it is asked for first.")
    ] = 1,
    json: Annotated[bool, typer.Option("--json", help="Answer with JSON.")] = False,
) -> None:
    """Find records by what they say, in words that they need not contain."""
    _check(text, like)
    asked, chosen = [], selecting.filter()
    with connection.client() as client:

        def ask(after: str) -> Any:
            answered = client.search_logs(
                text,
                like=_position(like),
                mode=mode,
                filter=chosen,
                page_size=limit,
                flat=flat,
                samples_per_pattern=samples,
                min_score=min_score,
                page_token=after,
            )
            asked.append(answered.cost)
            return answered

        found = _page(ask, page_token, page)
        if not found.results:
            near_keys.hint(client, chosen)
    if json:
        answer_json(_as_json(found) | {"cost": cost_json(total(asked))})
    else:
        _show(found)
        if found.next_page_token:
            note(f"treering: there is more; the next page comes with --page {page + 1}" if not page_token else _MORE)
    if found.degraded_because:
        note(f"treering: {found.degraded_because}")
    costs.show(total(asked), json=json)


_MORE = "treering: there is more; --page-token takes the `next_page_token` of the answer to --json"


def _check(text: str, like: int | None) -> None:
    if like is not None and text:
        raise typer.BadParameter("a text and --like; ask for one of the two")
    if like is None and not text.strip():
        raise typer.BadParameter("the text is empty; say what you look for, for example: treering search 'payment timed out'")


def _position(offset: int | None) -> Any:
    from treering.v1.log_pb2 import Position  # noqa: PLC0415 - start-up

    return None if offset is None else Position(offset=offset)


def _page(ask: Callable[[str], Any], page_token: str, page: int) -> Any:
    """The answer of a page, counted from the token; the last one there is, without results, where it lies beyond the end."""
    found = ask(page_token)
    for _ in range(page - 1):
        if not found.next_page_token:
            found.ClearField("results")
            return found
        found = ask(found.next_page_token)
    return found


def _why(result: Any) -> list[str]:
    from treering.v1.query_pb2 import SearchReason  # noqa: PLC0415 - start-up

    return [SearchReason.Name(reason).removeprefix("SEARCH_REASON_").lower() for reason in result.why]


def _as_json(found: Any) -> dict[str, Any]:
    from treering_cli.records_json import record_json  # noqa: PLC0415 - start-up

    results = [
        {
            "score": round(result.score, 6),
            "pattern": result.pattern,
            "pattern_id": str(result.pattern_id),
            "template_id": str(result.template_id),
            "service": result.service,
            "count": result.count,
            "why": _why(result),
            "weak": result.weak,
            "words_only": result.words_only,
            "records": [record_json(record) for record in result.records],
        }
        for result in found.results
    ]
    scan = found.literal_scan
    scanned = {"attempted": scan.attempted, "complete": scan.complete, "scanned_back_to": rfc3339(scan.scanned_back_to_unix_nano)}
    rest = {"degraded_because": found.degraded_because, "next_page_token": found.next_page_token}
    return {"results": results, "literal_scan": scanned, **rest}


def _show(found: Any) -> None:
    from treering_cli.records_json import record_line  # noqa: PLC0415 - start-up

    if not found.results:
        note("nothing found; try other words, or fewer filters")
    for result in found.results:
        mark = " (weak)" if result.weak else " (words only: it has no vector)" if result.words_only else ""
        count = f"{result.count:,} record{'s' if result.count != 1 else ''}"
        answer(f"{result.score:.2f}  {escape(result.service)}: {escape(result.pattern)}")
        answer(f"      {', '.join(_why(result))}{mark}, {count}, pattern {result.pattern_id}")
        for record in result.records:
            answer(f"      {record_line(record)}")
