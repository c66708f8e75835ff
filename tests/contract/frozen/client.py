"""A program of the first frozen version: it uses what its users use, and prints what it got as JSON. Never changed.

python client.py INGEST EMBED QUERY, with `sdk.zip` on the path.
"""

import json
import sys

import treering
from treering import Client, Endpoints, LogRecord, log_filter

ingest, embed, query = sys.argv[1:]
said = {"sdk": treering.__file__}
with Client(Endpoints(ingest, embed, query), timeout=60) as client:
    with client.uploader() as upload:
        for number in range(300):
            attributes = {"status": str(500 if number % 3 == 0 else 200), "region": "eu"}
            message = f"payment {number} timed out" if number % 3 == 0 else f"payment {number} was accepted"
            upload.send(LogRecord(service="old-checkout", environment="prod", severity=17, message=message, attributes=attributes))
    done = upload.result()
    said["accepted"] = done.accepted
    chosen = log_filter(services=["old-checkout"], min_severity="error", where={"status": "500"})
    seen = {"min_positions": done.positions}

    found = client.search_logs("customers cannot pay", filter=chosen, page_size=5, samples_per_pattern=1, **seen)
    said["found"] = [{"pattern": each.pattern, "count": each.count, "records": len(each.records)} for each in found.results]

    rows = client.aggregate_logs(by=["status"], filter=log_filter(services=["old-checkout"]), order="largest", **seen).rows
    said["aggregate"] = {row.groups[0].value: row.values[0].value for row in rows}

    said["sql"] = client.sql("select count(*) as n from logs where service = 'old-checkout'", **seen).rows()
    said["patterns"] = sorted(each.text for each in client.patterns(filter=log_filter(services=["old-checkout"]), page_size=1, **seen))

    tail = client.tail(filter=log_filter(services=["old-checkout"]), start=[], backlog=3, timeout=60)
    said["tail"] = [next(tail).record.message for _ in range(3)]
    tail.close()

    try:
        client.search_logs("")
    except treering.TreeringError as error:
        said["error"] = {"kind": type(error).__name__, "reason": error.reason, "field": error.metadata.get("field")}
    said["status"] = {
        "ingest": client.get_ingest_status().end_offset_exclusive > 0,
        "query": client.get_query_status().record_count > 0,
        "embed": client.get_embed_status().pattern_count > 0,
    }
sys.stdout.write(json.dumps(said))
