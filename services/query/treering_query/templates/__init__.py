"""Templates: patterns that people see as one, across services.

Masking sees one message and cannot know that `ann` in `session opened for user ann` is data. A template is found by comparison: masked
texts that differ in one position only are joined, and the position opened, once it has shown several distinct values (`evidence` says
how many). It is leave-one-out merging: unlike tree parsers it never joins what differs in more than one position at once.

- A template's id is the id of its oldest pattern. Every pattern id resolves to its template's id, so that an id once shown keeps its
  meaning after templates are joined: it has become an alias.
- What is joined stays joined: a later pass starts from the former result and adds to it, and remembers patterns that have expired.
- Without a former result the partition depends on the set of patterns alone, not on their order; the ids depend on age.
"""

from treering_query.templates.changes import TemplatesChange
from treering_query.templates.joining import NO_TEMPLATES, PatternRow, Template, Templates, find_templates

__all__ = ["NO_TEMPLATES", "PatternRow", "Template", "Templates", "TemplatesChange", "find_templates"]
