"""Content of files by path, of which what takes long is made when it is asked for."""

from collections.abc import Callable, Iterator, Mapping

Content = bytes | Callable[[], bytes]


class Files(Mapping[str, bytes]):
    """A read-only mapping from path to content.

    Args:
        contents: in the order of iteration; a function is called whenever its file is read.
    """

    def __init__(self, contents: Mapping[str, Content]) -> None:
        self._contents = dict(contents)

    def __getitem__(self, path: str) -> bytes:
        content = self._contents[path]
        return content() if callable(content) else content

    def __iter__(self) -> Iterator[str]:
        return iter(self._contents)

    def __len__(self) -> int:
        return len(self._contents)
