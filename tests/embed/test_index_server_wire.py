"""The server adapter against a server that records requests: what goes over the wire is what durable, exact answers need."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from embed_doubles import DIMENSION, LARGE, point, rows
from google.protobuf.message import Message
from qdrant_client import grpc as wire
from qdrant_client.grpc.collections_service_pb2_grpc import add_CollectionsServicer_to_server
from qdrant_client.grpc.points_service_pb2_grpc import add_PointsServicer_to_server
from qdrant_client.grpc.qdrant_pb2_grpc import add_QdrantServicer_to_server

from treering_embed.index import IndexFaultError, IndexSelection
from treering_embed.index.server import ServerIndex, connect
from treering_embed.limits import LATE_DIMENSION


class Recording(wire.CollectionsServicer, wire.PointsServicer, wire.QdrantServicer):
    """Answers the little that the adapter needs, and keeps every request by the name of its rpc."""

    def __init__(self):
        self.requests: list[tuple[str, Message]] = []
        self.collection: wire.CreateCollection | None = None
        self.of_another_version = False
        self.version = "1.15.4"

    def named(self, name: str) -> list[Message]:
        return [request for found, request in self.requests if found == name]

    def _keep(self, name: str, request: Message) -> None:
        self.requests.append((name, request))

    def HealthCheck(self, request, context):
        return wire.HealthCheckReply(title="qdrant", version=self.version)

    def CollectionExists(self, request, context):
        return wire.CollectionExistsResponse(result=wire.CollectionExists(exists=self.collection is not None))

    def Create(self, request, context):
        self._keep("Create", request)
        self.collection = request
        return wire.CollectionOperationResponse(result=True)

    def Get(self, request, context):
        if self.of_another_version:
            return wire.GetCollectionInfoResponse(result=wire.CollectionInfo())
        config = wire.CollectionConfig(
            params=wire.CollectionParams(shard_number=1, vectors_config=self.collection.vectors_config),
            hnsw_config=wire.HnswConfigDiff(m=16, ef_construct=100, full_scan_threshold=10_000),
            wal_config=wire.WalConfigDiff(wal_capacity_mb=32, wal_segments_ahead=0),
            optimizer_config=wire.OptimizersConfigDiff(
                deleted_threshold=0.2, vacuum_min_vector_number=1_000, default_segment_number=0, flush_interval_sec=5
            ),
        )
        return wire.GetCollectionInfoResponse(result=wire.CollectionInfo(status=wire.CollectionStatus.Green, config=config))

    def ListAliases(self, request, context):
        return wire.ListAliasesResponse()

    def UpdateAliases(self, request, context):
        self._keep("UpdateAliases", request)
        return wire.CollectionOperationResponse(result=True)

    def _done(self, name, request):
        self._keep(name, request)
        return wire.PointsOperationResponse(result=wire.UpdateResult(status=wire.UpdateStatus.Completed))

    def CreateFieldIndex(self, request, context):
        return self._done("CreateFieldIndex", request)

    def Upsert(self, request, context):
        return self._done("Upsert", request)

    def Delete(self, request, context):
        return self._done("Delete", request)

    def Query(self, request, context):
        self._keep("Query", request)
        return wire.QueryResponse(result=[wire.ScoredPoint(id=wire.PointId(num=LARGE), score=0.5)])


@pytest.fixture
def recording():
    return Recording()


@pytest.fixture
def index(recording):
    server = grpc.server(ThreadPoolExecutor(2))
    add_CollectionsServicer_to_server(recording, server)
    add_PointsServicer_to_server(recording, server)
    add_QdrantServicer_to_server(recording, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    opened = ServerIndex(connect(f"http://127.0.0.1:{port}", ""), "treering-x", "treering", DIMENSION)
    yield opened
    opened.close()
    server.stop(None).wait()


def test_the_collection_has_both_vectors_a_payload_index_and_the_alias(index, recording):
    params = recording.collection.vectors_config.params_map.map
    assert (params["dense"].size, params["dense"].distance) == (DIMENSION, wire.Distance.Cosine)
    assert (params["tokens"].size, params["tokens"].distance) == (LATE_DIMENSION, wire.Distance.Dot)
    assert params["tokens"].multivector_config.comparator == wire.MultiVectorComparator.MaxSim
    assert params["tokens"].hnsw_config.HasField("m")
    assert params["tokens"].hnsw_config.m == 0
    assert [(request.field_name, request.wait) for request in recording.named("CreateFieldIndex")] == [("service", True)]
    assert recording.named("UpdateAliases") == []
    index.expose()
    actions = recording.named("UpdateAliases")[0].actions
    assert [(a.create_alias.collection_name, a.create_alias.alias_name) for a in actions] == [("treering-x", "treering")]


def test_changes_wait_until_they_are_on_the_server_s_disk(index, recording):
    index.upsert([point(LARGE)])
    index.delete([LARGE])
    upsert, delete = recording.named("Upsert")[0], recording.named("Delete")[0]
    assert (upsert.wait, delete.wait) == (True, True)
    assert upsert.points[0].id.num == LARGE
    assert upsert.points[0].payload["service"].string_value == "api"
    assert delete.points.points.ids[0].num == LARGE


def test_queries_are_exact_and_carry_their_selection(index, recording):
    hits = index.nearest(rows(1, 1, DIMENSION)[0], 7, IndexSelection(frozenset({LARGE}), ("api",)))
    assert (hits.pattern_ids.tolist(), hits.scores.tolist()) == ([LARGE], [0.5])
    query = recording.named("Query")[0]
    assert (query.using, query.limit, query.params.exact, query.with_payload.enable) == ("dense", 7, True, False)
    assert query.filter.must[0].has_id.has_id[0].num == LARGE
    assert list(query.filter.must[1].field.match.keywords.strings) == ["api"]


def test_late_interaction_asks_for_the_named_points_only(index, recording):
    index.late(rows(1, 3, LATE_DIMENSION), frozenset({LARGE}))
    query = recording.named("Query")[0]
    assert (query.using, query.limit) == ("tokens", 1)
    assert len(query.query.nearest.multi_dense.vectors) == 3


def test_a_server_that_is_too_old_is_a_fault_that_says_so(recording, index):
    recording.version = "1.9.7"
    with pytest.raises(IndexFaultError, match=r"version 1\.9\.7, 1\.10 or newer"):
        ServerIndex(index._client, "treering-x", "treering", DIMENSION)


def test_a_server_whose_answers_cannot_be_read_is_a_fault(recording, index):
    recording.of_another_version = True
    with pytest.raises(IndexFaultError, match="get_collection"):
        ServerIndex(index._client, "treering-x", "treering", DIMENSION)
