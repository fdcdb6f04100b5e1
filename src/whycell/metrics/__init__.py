"""How right it is: numpy in, numbers out, every formula with its source."""

__all__: list[str] = []
