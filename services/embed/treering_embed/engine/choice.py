"""Which model serves from the start, and whether everything is to be embedded anew for another one.

The last decision wins: `treering reindex --model` holds over restarts until the setting `model` is changed; then the setting holds.
The index that is there goes on serving with the model that made it until its successor is complete.
"""

import dataclasses
import hashlib
from dataclasses import dataclass

import structlog

from treering_embed.encoder.models import Models
from treering_embed.encoder.prepare import PreparedModel
from treering_embed.encoder.renderings import RENDERING_VERSION
from treering_embed.limits import LATE_DIMENSION
from treering_embed.registry.notes import IndexNote
from treering_embed.settings import EmbedSettings
from treering_runtime.errors import StartError
from treering_runtime.patterns import RULES_VERSION

_LOG = structlog.get_logger()


@dataclass(frozen=True)
class Choice:
    """How to start.

    Args:
        model: Serves from now on.
        note: Of the index that it serves; another than the registry's where nothing of that one can be used.
        successor: The model that everything is to be embedded with; empty = none.
        problem: What is lost by it, for people; empty = nothing.
    """

    model: PreparedModel
    note: IndexNote
    successor: str = ""
    problem: str = ""


def index_identity(model: PreparedModel) -> str:
    """Names everything that vectors depend on: model and its preparation, renderings, masking rules, the reduced dimension."""
    parts = (model.identity, model.encoder.dimension, RENDERING_VERSION, RULES_VERSION, LATE_DIMENSION)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def complete(note: IndexNote, model: PreparedModel) -> IndexNote:
    """The note, now that its model is prepared."""
    return dataclasses.replace(note, identity=index_identity(model), model_identity=model.identity, model_sha256=model.weights.sha256)


async def choose(models: Models, settings: EmbedSettings, current: IndexNote | None, successor: IndexNote | None, number: int) -> Choice:
    """Decides, and loads the model that serves.

    Args:
        models: Where models come from.
        settings: Name the model, and those that may be chosen; what was chosen and is not among them any more is chosen no longer.
        current: The index of the registry.
        successor: The one that was being made.
        number: For a new index.

    Raises:
        StartError: The wanted model cannot be used.
    """
    latest, configured = successor or current, settings.model
    # A changed setting overrides what was chosen by hand; so does a list of models that the choice is not on any more.
    stands = latest is not None and latest.configured == configured and latest.model in settings.allowed_models
    wanted = latest.model if latest and stands else configured
    if current is None:
        return await _anew(models, wanted, configured, number, "")
    # Before the model that serves is loaded: a wrong setting is told at once, not after seconds.
    wanted_identity = await models.identify(wanted)
    try:
        serving = await _load(models, current)
    except StartError as lost:
        _LOG.warning("the model of the index cannot be used", problem=str(lost))
        problem = f"the index cannot be used any more ({lost}); patterns are found again as they are embedded anew"
        return await _anew(models, wanted, configured, number, problem)
    # The wanted model is the one that serves, and nothing else is being made: only the note changes.
    if wanted_identity == serving.identity and index_identity(serving) == current.identity and not _same(successor, wanted):
        return Choice(serving, dataclasses.replace(current, model=wanted, configured=configured))
    return Choice(serving, current, wanted)


def _same(successor: IndexNote | None, wanted: str) -> bool:
    return successor is not None and successor.model == wanted


async def _anew(models: Models, wanted: str, configured: str, number: int, problem: str) -> Choice:
    model = await models.prepare(wanted)
    return Choice(model, complete(IndexNote(wanted, configured, number), model), problem=problem)


async def _load(models: Models, current: IndexNote) -> PreparedModel:
    """The model that made an index.

    Raises:
        StartError: It is gone, was changed, or cannot be run here.
    """
    # Checked before loading: vectors of changed files would be compared with those of the old ones, and rank wrongly.
    if await models.identify(current.model) != current.model_identity:
        raise StartError(f"model={current.model}: its files are not those that made the index")
    return await models.prepare(current.model)
