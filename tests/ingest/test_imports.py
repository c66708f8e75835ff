import subprocess
import sys

FORBIDDEN = ("torch", "duckdb", "pyarrow", "qdrant_client", "qdrant_edge", "numpy", "ptars", "sentence_transformers")


def test_ingest_imports_nothing_of_columns_vectors_or_sql() -> None:
    code = "import sys, treering_ingest.__main__, treering_ingest.wal.inspect; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "treering_ingest.process" in modules
    assert {module.partition(".")[0] for module in modules}.isdisjoint(FORBIDDEN)


def test_domain_modules_import_no_grpc() -> None:
    code = "import sys, treering_ingest.upload, treering_ingest.wal.inspect; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "grpc" not in modules
