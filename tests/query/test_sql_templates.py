"""Templates in SQL: which one a pattern belongs to, and what there is of each."""

from typing import Any

from tests.query.conftest import MakeFrame, Serving
from treering.v1.log_pb2 import LogRecord

USERS = ("ann", "bob", "cyd", "dan")


async def test_templates_are_joined_through_patterns(serving: Serving, frame: MakeFrame) -> None:
    sessions = [LogRecord(service=f"login{place % 2}", message=f"session opened for user {user} today") for place, user in enumerate(USERS)]
    records = [*sessions, *sessions, LogRecord(service="mail", message="sent 5 mails")]
    async with serving() as (store, client):
        await store.open_log(7, 0)
        await store.deliver(7, [frame(0, records[:5])], len(records))
        await store.seal()
        await store.deliver(7, [frame(5, records[5:])], len(records))
        await store.templates.settled()

        async def ask(query: str) -> list[dict[str, Any]]:
            return (await client.sql(query)).rows()

        templates = await ask("select * from Templates order by count desc")
        assert [(row["text"], row["services"], row["pattern_count"], row["count"]) for row in templates] == [
            ("session opened for user <*> today", ["login0", "login1"], 4, 8),
            ("sent <*> mails", ["mail"], 1, 1),
        ]
        joined = "select template_id, count(*) n from logs join patterns using (pattern_id) group by all order by n desc"
        assert [(row["template_id"], row["n"]) for row in await ask(joined)] == [(row["template_id"], row["count"]) for row in templates]
        columns = [row["column_name"] for row in await ask("describe patterns")]
        assert columns == ["pattern_id", "service", "text", "example", "count", "first_time", "last_time", "template_id"]
