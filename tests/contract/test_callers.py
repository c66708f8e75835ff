"""Who a caller is, is asked in few places: where shares and turns are counted, and where a question is handed on."""

import ast
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


def test_only_shares_turns_and_what_hands_on_ask_who_calls() -> None:
    files = (ROOT / "services").rglob("*.py")
    words = ("treering_runtime import caller", "treering_runtime.caller import")
    found = {str(file.relative_to(ROOT / "services")) for file in files if any(word in file.read_text() for word in words)}
    assert found == MAY_ASK


MAY_SEE_RIGHTS_AND_SCOPE = {
    "runtime/treering_runtime/boundary.py",
    "runtime/treering_runtime/caller.py",
}
"""The boundary is where every call passes before a handler sees it; nothing is limited there yet."""

_FACTS = {"rights", "scope", "Rights", "Scope"}


def test_only_the_boundary_sees_rights_and_scope_of_a_caller() -> None:
    services = ROOT / "services"
    found = {str(file.relative_to(services)) for file in services.rglob("*.py") if _sees(ast.parse(file.read_text()))}
    assert found - MAY_SEE_RIGHTS_AND_SCOPE == set()
    assert "runtime/treering_runtime/caller.py" in found


def _sees(tree: ast.Module) -> bool:
    """Whether a module gets rights or scope from `caller`, or from whatever looks like one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "treering_runtime.caller" and {each.name for each in node.names} & _FACTS:
            return True
        if isinstance(node, ast.Attribute) and node.attr in _FACTS:
            return True
    return False


def test_a_module_that_looks_at_them_is_seen() -> None:
    for text in ("caller.rights()", "from treering_runtime.caller import Scope", "callers.current_caller().scope.services"):
        assert _sees(ast.parse(text))
    assert not _sees(ast.parse("from treering_runtime import caller\ncaller.current()"))
