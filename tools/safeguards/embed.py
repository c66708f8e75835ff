"""Safeguards of the embedding service."""

from safeguards.mutant import Mutant

_EMBED = "services/embed/treering_embed"
_SETTLE = "            await self._settled(marked)\n"
_DELETE = "            if gone:\n                await self._on_index(self._engine.index.delete, gone)\n"

MUTANTS = (
    Mutant(
        "flush-before-indexed",
        f"{_EMBED}/filling.py",
        "        await self._on_index(self._engine.index.flush)\n",
        "",
        ("tests/embed/test_indexer.py",),
    ),
    Mutant(
        "telemetry-of-openvino",
        "services/embed/treering_embed/encoder/inference.py",
        'sys.modules["openvino_telemetry"] = None',
        'sys.modules["openvino_telemetry_"] = None',
        ("tests/embed/test_without_torch.py::test_openvino_reports_nothing_and_writes_nothing_at_home",),
    ),
    Mutant(
        "model-check-at-start",
        "services/embed/treering_embed/encoder/compiled.py",
        "        self._check()\n",
        "",
        ("tests/embed/test_model.py::test_a_processor_that_computes_something_else_is_noticed_at_the_start",),
    ),
    Mutant(
        "basis-of-the-index",
        "services/embed/treering_embed/encoder/prepare.py",
        "    if (directory / _BASIS_FILE).exists():\n",
        "    if False:\n",
        ("tests/embed/test_prepare.py::test_the_basis_of_an_index_is_never_derived_again",),
    ),
    Mutant(
        "extra-models-asked-for",
        "services/embed/treering_embed/models.py",
        "        check_installed(settings.model, reference=self._reference)\n",
        "",
        ("tests/embed/test_without_torch.py::test_what_is_not_installed_is_named_with_the_remedy_before_the_service_serves",),
    ),
    Mutant(
        "padding-attended",
        "services/embed/treering_embed/encoder/graph.py",
        "    attended = opset13.unsqueeze(opset13.greater(mask, np.int64(0)), [1, 2])",
        "    attended = opset13.unsqueeze(opset13.greater(mask, np.int64(-1)), [1, 2])",
        ("tests/embed/test_model.py::test_the_built_model_computes_what_the_sentence_transformer_does",),
    ),
    Mutant(
        "new-patterns-give-way-to-our-sinks-only",
        f"{_EMBED}/encoder/backoff.py",
        "        if not self._is_behind():\n            return 0.0\n",
        "",
        ("tests/embed/test_backoff.py",),
    ),
    Mutant(
        "new-patterns-give-way-for-a-bounded-time",
        f"{_EMBED}/encoder/backoff.py",
        "min(self._not_before, give_way_until)",
        "self._not_before",
        ("tests/embed/test_backoff.py",),
    ),
    Mutant(
        "pauses-are-of-processor-time",
        f"{_EMBED}/encoder/backoff.py",
        "CONTENTION_BACKOFF * computed_s",
        "CONTENTION_BACKOFF * (duration_s - computed_s)",
        ("tests/embed/test_backoff.py",),
    ),
    Mutant(
        "closed-model-refuses",
        f"{_EMBED}/encoder/queue.py",
        "            if not self._closed:\n",
        "            if True:\n",
        ("tests/embed/test_encode_queue.py",),
    ),
    Mutant(
        "no-delivery-while-patterns-are-forgotten",
        f"{_EMBED}/sink.py",
        "        async with self._taking:\n            # first,",
        "        if True:\n            # first,",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "no-vector-is-written-while-patterns-are-forgotten",
        f"{_EMBED}/meaning.py",
        "                await held.enter_async_context(engine.writing)\n",
        "                pass\n",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "forgetting-goes-on-without-its-caller",
        f"{_EMBED}/meaning.py",
        "return await self._kept.tasks.run(self._forget(pattern_ids, below))",
        "return await self._forget(pattern_ids, below)",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "reindex-begins-without-its-caller",
        f"{_EMBED}/reindexing.py",
        "await self._kept.tasks.run(self._begin_checked(wanted, before))",
        "await self._begin_checked(wanted, before)",
        ("tests/embed/test_cancelled.py",),
    ),
    Mutant(
        "done-patterns-are-settled-before-the-index-is-asked",
        f"{_EMBED}/filling.py",
        f"{_SETTLE}{_DELETE}",
        f"{_DELETE}{_SETTLE}",
        ("tests/embed/test_indexer.py",),
    ),
    Mutant(
        "what-grows-with-the-patterns-is-made-on-other-threads",
        "services/embed/treering_embed/service.py",
        "(message := await asyncio.to_thread(lambda: next(messages, None)))",
        "(message := next(messages, None))",
        ("tests/embed/test_loop_lag.py",),
    ),
    Mutant(
        "models-of-the-list-only",
        "services/embed/treering_embed/reindexing.py",
        "if wanted not in self._settings.allowed_models:",
        "if not wanted:",
        ("tests/embed/test_reindex.py",),
    ),
    Mutant(
        "a-model-that-is-taken-off-the-list-is-left",
        "services/embed/treering_embed/choice.py",
        " and latest.model in settings.allowed_models",
        "",
        ("tests/embed/test_reindex.py",),
    ),
    Mutant(
        "no-proxy-to-the-index-server",
        "services/embed/treering_embed/index/server.py",
        'grpc_options={"grpc.enable_http_proxy": 0}',
        'grpc_options={"grpc.enable_http_proxy": 1}',
        ("tests/contract/test_proxies.py",),
    ),
    Mutant(
        "only-what-was-last-seen-below-is-forgotten",
        "services/embed/treering_embed/registry.py",
        " and patterns.last_offset <= ends.value ->> 1",
        "",
        ("tests/embed/test_registry.py",),
    ),
    Mutant(
        "the-link-is-committed-with-the-progress",
        "services/embed/treering_embed/registry.py",
        "(signed(key), end, known.get(key))",
        "(signed(key), end, None)",
        ("tests/embed/test_registry.py",),
    ),
    Mutant(
        "status-says-what-is-tried-again",
        "services/embed/treering_embed/service.py",
        "(of_model, *self._waiting_for.values())",
        "(of_model,)",
        ("tests/embed/test_indexer.py::test_the_status_says_what_is_tried_again_until_it_is_done",),
    ),
)
