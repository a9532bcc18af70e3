"""What you may implement: an `Observer`; a `Runner`, and the `Attempt` it is given; a
`Journal`, and the `Record` it is given.
"""

from ._events import Observer
from ._journal import Journal, Record
from ._runner import Attempt, Runner

__all__ = ["Attempt", "Journal", "Observer", "Record", "Runner"]
