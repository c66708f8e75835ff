"""Safeguards of the embedding service."""

from safeguards.mutant import Mutant

MUTANTS = (
    Mutant(
        "flush-before-indexed",
        "services/embed/treering_embed/filling.py",
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
)
