"""The computation of all-MiniLM-L6-v2, made of OpenVINO's operators and the model's tensors.

It is BERT (Devlin and others, 2019) with six layers of twelve heads, distilled (MiniLM, Wang and others, 2020), and the mean over the
wordpieces as sentence vector (Sentence-BERT, Reimers and Gurevych, 2019). The numbers below are those of the model's `config.json`; they
belong to the weights whose checksum `weights` knows. Tests compare the vectors with those of the SentenceTransformer.
"""

from collections.abc import Mapping

import numpy as np

from treering_embed.encoder import Matrix
from treering_embed.encoder.inference import Model, Node, opset13

_LAYERS = 6
_HEADS = 12
_EPSILON = 1e-12
"""Added to variances, and the least length that is divided by."""

_WORDPIECE, _NUMBER = [1], [2]
"""Axes of the hidden state: wordpieces of a text, numbers of a wordpiece."""

Tensors = Mapping[str, Matrix]


def build_graph(tensors: Tensors, max_wordpieces: int) -> Model:
    """The model as a graph.

    Inputs, both int64 of (texts, wordpieces): the wordpieces, and 1 where there is one, 0 where a row is padded. Outputs, both float32:
    (texts, dimension), the vector of each text, and (texts, wordpieces, dimension), that of each wordpiece; all of unit length.

    Args:
        tensors: The weights, by the names that BERT gives them. Their memory is shared, not copied.
        max_wordpieces: In a text.
    """
    ids, mask = opset13.parameter([-1, -1], np.int64), opset13.parameter([-1, -1], np.int64)
    attended = opset13.unsqueeze(opset13.greater(mask, np.int64(0)), [1, 2])  # the same for all heads and for each wordpiece that asks
    hidden = _embedded(tensors, ids, max_wordpieces)
    for layer in range(_LAYERS):
        hidden = _layer(tensors, f"encoder.layer.{layer}", hidden, attended)
    present = opset13.unsqueeze(opset13.convert(mask, "f32"), _NUMBER)
    # A padded wordpiece is multiplied by 0 and adds nothing to the sum.
    total = opset13.reduce_sum(opset13.multiply(hidden, present), _WORDPIECE)  # of the mean's direction
    return Model([opset13.result(_unit(total, [1])), opset13.result(_unit(hidden, _NUMBER))], [ids, mask], "all-MiniLM-L6-v2")


def _embedded(tensors: Tensors, ids: Node, max_wordpieces: int) -> Node:
    """Each wordpiece's own vector, that of its position, and that of the first sentence, as there is only one."""
    table, kind = "embeddings.position_embeddings.weight", tensors["embeddings.token_type_embeddings.weight"][0]
    positions = opset13.constant(tensors[table][:max_wordpieces] + kind)
    width = opset13.gather(opset13.shape_of(ids), [1], 0)
    pieces = opset13.gather(_weight(tensors, "embeddings.word_embeddings.weight"), ids, 0)
    return _normalised(tensors, "embeddings.LayerNorm", opset13.add(pieces, opset13.slice(positions, [0], width, [1], [0])))


def _layer(tensors: Tensors, name: str, hidden: Node, attended: Node) -> Node:
    """Attention, then the feed-forward network; what goes in is added to what comes out, and the sum normalised, each time."""
    asked, keys, values = (_heads(_linear(tensors, f"{name}.attention.self.{part}", hidden)) for part in ("query", "key", "value"))
    mixed = opset13.scaled_dot_product_attention(asked, keys, values, attended)
    joined = opset13.reshape(opset13.transpose(mixed, [0, 2, 1, 3]), [0, 0, -1], special_zero=True)
    attention = _linear(tensors, f"{name}.attention.output.dense", joined)
    hidden = _normalised(tensors, f"{name}.attention.output.LayerNorm", opset13.add(attention, hidden))
    # The exact gelu, as BERT was trained; the tanh approximation is a little off in every layer.
    inner = opset13.gelu(_linear(tensors, f"{name}.intermediate.dense", hidden), "ERF")
    return _normalised(tensors, f"{name}.output.LayerNorm", opset13.add(_linear(tensors, f"{name}.output.dense", inner), hidden))


def _heads(rows: Node) -> Node:
    """(texts, wordpieces, numbers) as (texts, heads, wordpieces, numbers of a head)."""
    return opset13.transpose(opset13.reshape(rows, [0, 0, _HEADS, -1], special_zero=True), [0, 2, 1, 3])


def _linear(tensors: Tensors, name: str, rows: Node) -> Node:
    # The weights are stored as (outputs, inputs), as torch keeps them.
    product = opset13.matmul(rows, _weight(tensors, f"{name}.weight"), transpose_a=False, transpose_b=True)
    return opset13.add(product, _weight(tensors, f"{name}.bias"))


def _normalised(tensors: Tensors, name: str, rows: Node) -> Node:
    centred = opset13.mvn(rows, _NUMBER, normalize_variance=True, eps=_EPSILON, eps_mode="inside_sqrt")
    return opset13.add(opset13.multiply(centred, _weight(tensors, f"{name}.weight")), _weight(tensors, f"{name}.bias"))


def _unit(rows: Node, axis: list[int]) -> Node:
    return opset13.normalize_l2(rows, axis, _EPSILON, "max")


def _weight(tensors: Tensors, name: str) -> Node:
    return opset13.constant(tensors[name], shared_memory=True)
