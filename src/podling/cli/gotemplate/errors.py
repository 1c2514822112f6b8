"""What a template fails with."""

from __future__ import annotations

from podling.errors import InvalidArgument


class TemplateError(InvalidArgument):
    """A template that is malformed, or that does not fit the value it is given; the words are those of Go."""
