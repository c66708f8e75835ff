"""What strangers may send: statements that reach too far, one a line with `{out}` for a path; ones that only read; bombs."""

REFUSED = """
copy logs to '{out}'
copy (select 1) to '{out}' (format csv)
copy logs from '{file}'
export database '{out}'
import database '{out}'
attach '{out}' as x
detach memory
create table x as select 1
create temp table x as select 1
create view x as select 1
create macro x() as 1
create or replace view logs as select 1
insert into logs select * from logs
update logs set message = 'x'
delete from logs
drop view logs
truncate logs
alter view logs rename to x
set threads = 1
set enable_external_access = true
reset threads
pragma database_list
pragma threads = 1
pragma enable_profiling
call pragma_version()
call enable_logging()
install httpfs
load httpfs
checkpoint
vacuum
analyze
begin transaction
commit
prepare x as select 1
execute x
deallocate x
explain select 1
explain analyze select 1
use memory
show tables
show databases
show all tables
select 1; select 2
select 1; drop view logs
;;select 1; delete from logs
with x as (delete from logs returning *) select * from x
with x as (insert into logs select * from logs returning *) select * from x
with x as (update logs set message = 'x' returning *) select * from x
select * from (with x as (delete from logs returning *) select * from x)
select * from '{file}'
select * from '{file}' as logs
from '{file}'
select * from "{file}"
select * from read_text('{file}')
select * from read_blob('{file}')
select * from read_csv('{file}')
select * from read_csv_auto(['{file}'])
select * from READ_CSV('{file}')
select * from "read_csv"('{file}')
select * from main.read_csv('{file}')
select * from read_json('{file}')
select * from read_json_objects('{file}')
select * from read_ndjson('{file}')
select * from read_parquet('{segment}')
select * from parquet_scan('{segment}')
select * from parquet_metadata('{segment}')
select * from parquet_schema('{segment}')
select * from parquet_file_metadata('{segment}')
select * from sniff_csv('{file}')
select * from glob('/*')
select * from query('select 1')
select * from query_table('logs')
select (select content from read_text('{file}'))
select * from logs where message in (select content from read_text('{file}'))
select * from logs, lateral (select * from read_text('{file}'))
with logs as (select * from read_text('{file}')) select * from logs
with "{file}" as (select 1) select * from "{file}"
with recursive x as (select 1 union all select * from read_text('{file}')) select * from x
from (from (from read_text('{file}')))
pivot read_text('{file}') on content using count(*)
select * from (pivot (from read_text('{file}')) on content in ('a') using count(*))
select * from duckdb_settings()
select * from duckdb_settings
select * from duckdb_databases()
select * from duckdb_secrets()
select * from duckdb_extensions()
select * from duckdb_views()
select * from duckdb_logs()
select * from duckdb_functions()
select * from pragma_database_list()
select * from pragma_database_list
select * from information_schema.tables
select * from pg_catalog.pg_settings
select * from sqlite_master
select * from memory.main.logs
select * from _hot
select * from arrow_scan(1, 2, 3)
select * from python_map_function(1)
select * from which_secret('x', 'y')
select * from json_execute_serialized_sql('x')
select * from summary((select 1))
select * from histogram_values(logs, severity)
select getenv('TREERING_CANARY')
select current_setting('secret_directory')
select current_setting('temp_directory')
select pg_get_viewdef(1)
select sleep_ms(60000)
select pg_sleep(60)
select write_log('x')
select json_serialize_plan('select * from read_text(''{file}'')')
select json_execute_serialized_sql(json_serialize_sql('select 1'))
select invoke(1)
select __internal_decompress_string(1)
select finalize('x')
select nextval('x')
select $1
select ?
select * from logs at (version => 1)
select /* read_csv */ * from --
select * from logs where
select 'unterminated
\u202eselect 1
\ufeffdrop view logs
\uff33\uff25\uff2c\uff25\uff23\uff34 1
select * from \uff4c\uff4f\uff47\uff53
select * from read\u200b_text('{file}')
select * from logs limit (select count(*) from read_text('{file}'))
select * from logs order by (select content from read_text('{file}'))
select * from logs using sample (select 1)
select count(*) over (order by (select content from read_text('{file}'))) from logs
select list_transform([1], lambda x: (select content from read_text('{file}')))
select struct_pack(a := (select content from read_text('{file}')))
select {{'a': (select content from read_text('{file}'))}}
select * from unnest((select list(content) from read_text('{file}')))
values ((select content from read_text('{file}')))
select * from logs union all select * from read_text('{file}')
select * from logs natural join read_text('{file}')
select * from logs semi join read_text('{file}') on true
select exists (from read_text('{file}'))
select columns('x') from read_text('{file}')
merge into logs using logs as l on true when matched then delete
create secret x (type s3)
comment on view logs is 'x'
grant select on logs to public
connect 'x'
"""

ALLOWED = """
select 1
SELECT count(*) FROM logs
from logs select service limit 1;
with x as (select service, count(*) n from logs group by all) select * from x order by n
with recursive t(n) as (select 1 union all select n + 1 from t where n < 5) select * from t
select * from range(5)
select unnest([1, 2, 3])
select severity_text, count(*) filter (where severity > 9) from logs group by all
select time_bucket(interval 1 hour, time) b, count(*) from logs group by b
select attributes['ms']::int from logs where service = 'svc1' qualify row_number() over (order by time) = 1
select l.message from logs l join patterns p using (pattern_id) where p.count > 1
select "offset" from logs order by "offset" desc limit 1
table logs
values (1), (2)
describe logs
summarize logs
select * from (pivot logs on service in ('svc1', 'svc2') using count(*) group by environment)
select regexp_extract(message, '(\\d+)') from logs
select json_extract('{{"a": 1}}', '$.a')
select * from logs tablesample 10%
select 'drop table logs; copy logs to ''x'''
select list_transform([1, 2], lambda x: x + 1)
select max(time) at time zone 'UTC' at time zone 'Europe/Warsaw' from logs
(select 1) union all (select 2)
select main.logs.service from main.logs limit 1
"""

BOMBS = [
    "select len(range(200000000))",
    "select repeat('a', 1500000000)",
    "select length(repeat(repeat('a', 1000000), 1000000))",
    "select list(x) from range(1000000000) t(x)",
    "select string_agg(x::varchar, ',') from range(1000000000) t(x)",
    "select count(distinct (x, y)) from range(100000) a(x), range(100000) b(y)",
    "select count(*) from range(100000000) a, range(100000000) b",
    "with recursive t(n) as (select 1 union all select n + 1 from t) select count(*) from t",
    "with recursive t(n) as (select 1 union all select n from t) select count(*) from t",
    "select x from range(1000000000) t(x) order by hash(x)",
    "select " + "(" * 20000 + "1" + ")" * 20000,
    "select " + "+".join(["1"] * 40000),
    "select " + "not " * 20000 + "true",
    " union all ".join(["select 1"] * 5000),
    "select " + "[" * 5000 + "]" * 5000,
    "select " + "case when true then " * 3000 + "1" + " end" * 3000,
    "select regexp_matches(repeat('a', 100000), '(((a{1,100}){1,100}){1,100})')",
    "select repeat('a', 400000000) as x",
    "select len(range(40000000))",
    "select sum(len(repeat('ab', 20000000 + x::int))) from range(30) t(x)",
]
