"""What you may implement: an `Observer`; a `Runner`, and the `Attempt` it is given; a
`Journal`, and the `Record` and `Successes` that go to and fro.
"""

from ._events import Observer
from ._journal import Journal, Record, Successes
from ._runner import Attempt, Runner

__all__ = ["Attempt", "Journal", "Observer", "Record", "Runner", "Successes"]
