"""What clients send and get: the schemas of requests and answers, with their limits."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, StringConstraints

MOST_LISTS, MOST_ITEMS, MOST_NEW, MOST_K = 64, 2_000, 100, 500
Token = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class Strict(BaseModel):
    """A request: what is not known is refused."""

    model_config = ConfigDict(extra="forbid")


class RecommendBody(Strict):
    """Whom to recommend what."""

    run: str | None = Field(None, description="name of the run; the first one where none is named")
    users: list[Token] | None = Field(None, max_length=MOST_LISTS, description="users of the training data")
    histories: list[Annotated[list[Token], Field(max_length=MOST_ITEMS)]] | None = Field(
        None, max_length=MOST_LISTS, description="item ids, oldest first; instead of users"
    )
    k: int = Field(10, ge=1, le=MOST_K, description="items of each list")
    mask_history: bool = Field(False, description="leave out what is in the history")
    only: list[Token] | None = Field(None, min_length=1, description="recommend none but these items")
    beam_size: int | None = Field(None, ge=1, le=2_000, description="width of the search; the run's own by default")
    unknown: Literal["fail", "skip"] = Field("fail", description="what to do about ids that the run does not know")


class ItemScore(BaseModel):
    """An item of a list; ``score`` is what it was ranked by."""

    item_id: str
    score: float
    title: str
    number: int | None = None


class RankedItems(BaseModel):
    """One list, best first; ``user`` is the user's id or the number of the history."""

    user: str
    items: list[ItemScore]


class RecommendAnswer(BaseModel):
    """Lists in the order of the request, and the ids that were skipped."""

    run: str
    lists: list[RankedItems]
    unknown: list[str]


class ExplainBody(Strict):
    """A history whose list is to be explained."""

    run: str | None = None
    history: list[Token] = Field(min_length=1, max_length=MOST_ITEMS)
    k: int = Field(10, ge=1, le=50)
    mask_history: bool = False
    only: list[Token] | None = Field(None, min_length=1)


class NewItem(Strict):
    """An item to let in, with a vector of each modality, encoded as the catalogue's were."""

    item_id: Token
    title: str = Field("", max_length=2_000)
    vectors: dict[str, Annotated[list[float], Field(min_length=1, max_length=20_000)]]


class NewItemsBody(Strict):
    """Items to let in, until the run is reloaded."""

    run: str | None = None
    items: list[NewItem] = Field(min_length=1, max_length=MOST_NEW)


class ProductBody(Strict):
    """A product in words and by a photo, to see where it would stand; nobody else gets to see it."""

    run: str | None = None
    words: dict[Token, Annotated[str, StringConstraints(max_length=2_000)]] = Field(
        default_factory=dict, max_length=50, description="by field of the items, such as title and brand"
    )
    picture: Base64Bytes | None = Field(None, description="content of a picture file, in base64")
    k: int = Field(10, ge=1, le=MOST_K, description="items of the lists that are looked at")
    users: int = Field(300, ge=0, le=2_000, description="users whose lists are looked at, at most")


class NearItem(BaseModel):
    """An item whose semantic ID shares ``shared`` codes with the product's."""

    item_id: str
    shared: int
    number: int | None


class SeenBy(BaseModel):
    """A user in whose list the product would stand at ``rank``."""

    user: str
    rank: int


class ProductAnswer(BaseModel):
    """The product's semantic ID, its neighbours, and who of ``asked`` users would see it among ``k`` items."""

    digits: list[dict[str, str]]
    codes: list[int]
    near: list[NearItem]
    seen: list[SeenBy]
    asked: int
    k: int


class RunBody(Strict):
    """A run, the first one where none is named."""

    run: str | None = None
