"""Who a caller is, is asked in few places: where shares and turns are counted, and where a question is handed on."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAY_ASK = {
    "embed/treering_embed/encoder/queue.py",
    "ingest/treering_ingest/intake.py",
    "query/treering_query/meaning/embed_client.py",
    "query/treering_query/streams/hub.py",
    "runtime/treering_runtime/admission.py",
    "runtime/treering_runtime/boundary.py",
    "runtime/treering_runtime/shares.py",
}


def test_only_shares_turns_and_what_hands_on_ask_who_calls():
    files = (ROOT / "services").rglob("*.py")
    words = ("treering_runtime import caller", "treering_runtime.caller import")
    found = {str(file.relative_to(ROOT / "services")) for file in files if any(word in file.read_text() for word in words)}
    assert found == MAY_ASK
