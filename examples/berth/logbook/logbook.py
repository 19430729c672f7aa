"""Lines of a harbour's logbook."""


def line(berth, ship):
    """What is written when a ship has made fast."""
    return f"{berth}: {ship} made fast"
