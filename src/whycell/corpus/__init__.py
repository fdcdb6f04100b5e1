"""Many files: find, choose, fetch, mix."""

__all__: list[str] = []
