"""What you may implement: an `Observer`; a `Runner`, and the `Attempt` it is given."""

from ._events import Observer
from ._runner import Attempt, Runner

__all__ = ["Attempt", "Observer", "Runner"]
