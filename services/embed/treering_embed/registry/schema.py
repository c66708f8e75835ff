"""The tables of the registry."""

SCHEMA = """
create table if not exists meta (key text primary key, value blob not null) without rowid;
create table if not exists progress (log_id integer primary key, next_offset integer not null, link integer);
create table if not exists patterns (
    number integer primary key,          -- order of registration
    pattern_id integer not null unique,
    mask_version integer not null,
    service text not null,
    text text not null,                  -- masked message
    example text not null,               -- message of the first record
    log_id integer not null,
    first_offset integer not null,
    last_offset integer not null,        -- end of the last batch of log_id that held it; of others: `other_logs`
    day integer not null,                -- of registration, days since 1970
    state integer not null,              -- State
    last_seen integer not null default 0 -- when the last batch that held it was committed, seconds since 1970
);
drop index if exists pending;            -- of earlier versions
create index if not exists waiting on patterns (service, number) where state = 0;
create table if not exists successor (   -- of the index that is being made; a pattern without a row waits
    pattern_id integer primary key, state integer not null, reason text not null
);
create table if not exists set_aside (pattern_id integer primary key, reason text not null);  -- why a pattern is UNREADABLE
create table if not exists quarantine (
    log_id integer not null, first_offset integer not null, record_count integer not null, reason text not null, payload blob not null,
    arrival_time integer not null default 0,  -- nanoseconds since 1970
    primary key (log_id, first_offset)
);
create table if not exists gone (         -- patterns of a day that were deleted: they count for the caps of their day
    day integer not null, service text not null, count integer not null, primary key (day, service)
) without rowid;
create trigger if not exists count_gone after delete on patterns begin
    insert into gone values (old.day, old.service, 1) on conflict do update set count = count + 1;
end;
"""
