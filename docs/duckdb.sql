-- Makes `logs` of what is sealed now, for a DuckDB CLI in the data directory of the query service: duckdb -init .../duckdb.sql
-- Records in the memory of the service are not in it. `.read` this file again to see what was sealed, merged or dropped since.
set variable files = (
  select list(s.file) from (select unnest(segments) as s from read_json('manifest.json'))
);
create or replace temp view logs as from read_parquet(getvariable('files'), union_by_name = true);
