"""Are Trio's own types hidden by the stubs of trio-typing?

They are if mypy lets the last line through: the stubs take any argument for any function.
"""

import trio


async def pause(seconds: float) -> None:
    await trio.sleep(seconds)


async def main() -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pause, "not a number")
