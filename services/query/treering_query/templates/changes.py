"""What a pass changed: as much as has to be saved."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from treering_query.templates.joining import Template, Templates


@dataclass(frozen=True)
class TemplatesChange:
    """From one result to the next."""

    new: list[Template]
    """Oldest first."""
    grown: list[Template]
    """Templates that were there and have another text now, or more open positions."""
    gone: Collection[int]
    """Ids that are no template any more: joined to another one, or without a pattern."""
    moved: Mapping[int, int]
    """Template ids of patterns that are new or have got another one."""
    forgotten: Collection[int]
    """Patterns that are not remembered any more."""
    shows: bool
    """True when a pattern is listed otherwise than before: under another id than its own, or under another text."""

    @property
    def is_empty(self) -> bool:
        """True when nothing has changed."""
        return not (self.new or self.grown or self.gone or self.moved or self.forgotten)


def change(former: Templates, latter: Templates) -> TemplatesChange:
    """What has to be done to the former result to get the latter."""
    ours, theirs = latter.by_id, former.by_id
    # By value: a template that took in a pattern may have the same text as before.
    grown = [template for identity, template in ours.items() if theirs.get(identity, template) != template]
    moved = {pattern: template for pattern, template in latter.template_ids.items() if former.template_ids.get(pattern) != template}
    return TemplatesChange(
        new=[template for identity, template in ours.items() if identity not in theirs],
        grown=grown,
        gone=theirs.keys() - ours.keys(),
        moved=moved,
        forgotten=former.template_ids.keys() - latter.template_ids.keys(),
        # A template of one pattern, under its own id, is what the list shows anyway: nothing has to be made again.
        shows=bool(grown) or any(pattern != template for pattern, template in moved.items()),
    )


def alive(templates: Templates, pattern_ids: Collection[int]) -> Templates:
    """Without the templates of which no pattern is left, and without the ids that lead to them."""
    kept = {templates.template_ids[pattern] for pattern in pattern_ids if pattern in templates.template_ids}
    # The same object tells the caller that nothing was forgotten.
    if len(kept) == len(templates.by_id):
        return templates
    by_id = {identity: template for identity, template in templates.by_id.items() if identity in kept}
    return Templates(by_id, {pattern: template for pattern, template in templates.template_ids.items() if template in kept})
