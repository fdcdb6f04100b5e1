"""What many explanations say together."""

__all__: list[str] = []
