"""What you may implement: a `Runner`, and the `Attempt` that it is given."""

from ._runner import Attempt, Runner

__all__ = ["Attempt", "Runner"]
