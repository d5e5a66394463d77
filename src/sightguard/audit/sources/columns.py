"""Which column means what, and one row of a data set as an item."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sightguard.audit.items import Item, Place
from sightguard.errors import DataError

PICTURES = (
    "image",
    "images",
    "image_path",
    "image_file",
    "file_name",
    "filename",
    "img",
    "picture",
    "path",
    "jpg",
    "jpeg",
    "png",
    "webp",
)
TEXTS = (
    "conversations",
    "messages",
    "text",
    "caption",
    "captions",
    "txt",
    "prompt",
    "question",
    "questions",
    "query",
    "instruction",
)
IDS = ("id", "question_id", "pid", "key", "uid", "index", "image_id")
LICENCES = ("licence", "license", "license_name", "rights")
LABELS = (
    "safe_type", "safe_level", "label", "labels", "safe", "safety_label", "rating", "category", "harmful_category", "subcategory",
    "harmful_subcategory", "type", "refused_to_answer",
)  # fmt: skip
_USERS = ("human", "user")
SIGN = "<image>"


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns; None: the first that is there of those that data sets use."""

    image: str | None = None
    text: str | None = None

    def pictures(self, names: Collection[str]) -> list[str]:
        """Return the columns of pictures among `names`, best first."""
        return [name for name in ((self.image,) if self.image else PICTURES) if name in names]

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


Locate = Callable[[str], Place]
"""Where the picture of a name lies."""


def item_of(row: Any, default_id: str, columns: Columns, locate: Locate) -> Item:
    """Return one row as an item. What is wrong with it is told by the item, since one bad row must not end an audit.

    Args:
        row: the row; lists and texts are both taken.
        default_id: its id if it has none.
        columns: which column means what.
        locate: where the picture of a name lies.
    """
    if not isinstance(row, Mapping):
        return Item(default_id, error=f"expected an object; got {type(row).__name__}")
    id = next((str(row[name]) for name in IDS if row.get(name) not in (None, "")), default_id)
    label = {name: row[name] for name in LABELS if row.get(name) is not None}
    known: dict[str, Any] = {
        "licence": next((str(row[name]) for name in LICENCES if row.get(name)), None),
        "label": json.dumps(label, ensure_ascii=False, default=str) if label else None,
    }
    try:
        names = _names(row, columns)
        turns = _turns(row, columns)
        several = turns if len(turns) > 1 else ()
        return Item(id, "\n".join(turns), tuple(locate(name) for name in names), turns=several, **known)
    except DataError as error:
        return Item(id, error=str(error), **known)


def _names(row: Mapping[str, Any], columns: Columns) -> list[str]:
    found = next((row[name] for name in columns.pictures(row) if row.get(name) not in (None, "", [])), None)
    names = found if isinstance(found, list) else [] if found is None else [found]
    names = [name.get("path") or name.get("url") if isinstance(name, Mapping) else name for name in names]
    odd = next((name for name in names if not isinstance(name, str) or not name), None)
    if odd is not None:
        raise DataError(f"expected the path of a picture, or a list of them; got {odd!r:.80}")
    if far := next((name for name in names if name.startswith(("http://", "https://", "data:"))), None):
        raise DataError(
            f"{far.split(':')[0]}: addresses are not fetched; expected the path of a picture. Download it first."
        )
    return names


def _turns(row: Mapping[str, Any], columns: Columns) -> tuple[str, ...]:
    """Return the words beside a picture: those of each turn of the user, or one text."""
    wanted = (columns.text,) if columns.text else TEXTS
    found = next((row[name] for name in wanted if row.get(name) not in (None, "", [])), "")
    if isinstance(found, list):
        return tuple(filter(None, (_turn(turn, number) for number, turn in enumerate(found))))
    if not isinstance(found, str):
        raise DataError(f"expected a text, or a list of texts or turns; got {found!r:.80}")
    return (found.replace(SIGN, "").strip(),)


def _turn(turn: Any, number: int) -> str:
    """Return what the user says in one turn, and nothing for what is answered; plain texts all count."""
    if isinstance(turn, Mapping):
        who = str(turn.get("from", turn.get("role", ""))).lower()
        turn = turn.get("value", turn.get("content")) if who in _USERS else ""
        if isinstance(turn, list):
            turn = "\n".join(str(part.get("text", "")) for part in turn if isinstance(part, Mapping))
    if not isinstance(turn, str):
        raise DataError(f"turn {number} should be a text, or hold 'from' and 'value'; got {turn!r:.80}")
    return turn.replace(SIGN, "").strip()
