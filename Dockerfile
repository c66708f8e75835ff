# syntax=docker/dockerfile:1
# One target a service: docker build --target ingest|embed|query . Only embed holds PyTorch (the extra `models`), only query holds DuckDB.

FROM python:3.11-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PATH=/opt/treering/bin:$PATH

FROM base AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY sdk sdk
COPY cli cli
COPY services services
RUN pip wheel --no-deps --wheel-dir /wheels .

FROM base AS install
COPY constraints.txt /constraints.txt
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/treering

FROM install AS install-ingest
RUN pip install -c /constraints.txt "$(ls /wheels/treering-*.whl)[ingest]"

FROM install AS install-embed
RUN pip install -c /constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
    && pip install -c /constraints.txt "$(ls /wheels/treering-*.whl)[embed,models]"

FROM install AS install-query
RUN pip install -c /constraints.txt "$(ls /wheels/treering-*.whl)[query]"

# The command line alone, for whoever looks after the services.
FROM install AS install-admin
RUN pip install -c /constraints.txt "$(ls /wheels/treering-*.whl)[cli]"

# A DuckDB CLI to look at the store's files; it has nothing of Treering but where they are listed.
FROM base AS install-duckdb
RUN python -m venv /opt/duckdb && /opt/duckdb/bin/pip install duckdb-cli==1.5.6

# What all of them have when they run: a user without rights, a directory that is its own, and one for the sockets between them.
FROM base AS run
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin treering \
    && install --directory --owner treering --group treering --mode 0700 /data /run/treering
USER 10001:10001
ENV HOME=/tmp
VOLUME /data
STOPSIGNAL SIGTERM

FROM run AS ingest
COPY --from=install-ingest /opt/treering /opt/treering
ENV TREERING_INGEST_DATA_DIR=/data TREERING_INGEST_LISTEN=0.0.0.0:4701 TREERING_INGEST_METRICS_LISTEN=0.0.0.0:4711
EXPOSE 4701 4711
ENTRYPOINT ["python", "-m", "treering_ingest"]

FROM run AS embed
COPY --from=install-embed /opt/treering /opt/treering
ENV HF_HUB_OFFLINE=1 TREERING_EMBED_DATA_DIR=/data TREERING_EMBED_LISTEN=0.0.0.0:4702 TREERING_EMBED_METRICS_LISTEN=0.0.0.0:4712
EXPOSE 4702 4712
ENTRYPOINT ["python", "-m", "treering_embed"]

FROM run AS query
COPY --from=install-query /opt/treering /opt/treering
ENV TREERING_QUERY_DATA_DIR=/data TREERING_QUERY_LISTEN=0.0.0.0:4703 TREERING_QUERY_METRICS_LISTEN=0.0.0.0:4713
EXPOSE 4703 4713
ENTRYPOINT ["python", "-m", "treering_query"]

FROM run AS admin
COPY --from=install-admin /opt/treering /opt/treering
ENTRYPOINT ["treering"]

FROM run AS duckdb
COPY --from=install-duckdb /opt/duckdb /opt/duckdb
COPY docs/duckdb.sql /opt/duckdb/duckdb.sql
WORKDIR /data
ENTRYPOINT ["/opt/duckdb/bin/duckdb", "-init", "/opt/duckdb/duckdb.sql"]
