"""The service's routes."""

from __future__ import annotations

import asyncio
import base64
import hmac
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException, Query
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import generate_latest
from starlette.middleware.trustedhost import TrustedHostMiddleware

from recbole_mgr.semantic_id.table import Digit
from recbole_mgr.serving.beams import plain_beams
from recbole_mgr.serving.http.batching import Asked, QueueFull
from recbole_mgr.serving.http.bodies import (
    ExplainBody,
    NewItemsBody,
    ProductAnswer,
    ProductBody,
    RecommendAnswer,
    RecommendBody,
    RunBody,
)
from recbole_mgr.serving.http.service import Service
from recbole_mgr.serving.http.tasks import add_task_routes
from recbole_mgr.serving.messages import Request
from recbole_mgr.serving.new_product import place_product
from recbole_mgr.serving.product_encoders import Product
from recbole_mgr.serving.recommender import Recommender
from recbole_mgr.version import __version__


def create_app(
    service: Service,
    *,
    token: str | None = None,
    timeout: float = 10.0,
    most_bytes: int = 1 << 20,
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost"),
    numbers: Mapping[str, int] | None = None,
) -> FastAPI:
    """The application.

    Args:
        service: the runs.
        token: what clients must send as ``Authorization: Bearer <token>``, or a browser as a password; None: nothing.
        timeout: seconds after which a request is given up.
        most_bytes: of a request's body.
        hosts: names by which the service may be called; others are refused, so that no page of another site can
            reach it by a name that it points here.
        numbers: item token -> its number on the pages, where pages are served too.
    """
    numbers = numbers or {}

    @asynccontextmanager
    async def lifespan(_: FastAPI):
        await service.start()
        yield
        await service.close()

    app = FastAPI(
        title="recbole-mgr",
        version=__version__,
        description="Recommendations of trained runs. All errors are JSON with a `detail`.",
        docs_url=None,  # FastAPI's pages load scripts from the network
        redoc_url=None,
        lifespan=lifespan,
        responses={
            status: {"description": what}
            for status, what in {
                400: "something in the request is not known to the run",
                401: "the token is missing or wrong",
                404: "no such run, user or item",
                413: "the body is too large",
                503: "too many requests wait; try again",
                504: "the answer took too long",
            }.items()
        },
    )

    def recommender_of(run: str | None):
        try:
            return service.recommender(run)
        except KeyError:
            raise HTTPException(404, f"no run {run!r}; there are {', '.join(service.runs)}") from None

    async def in_thread(function, *arguments, **options) -> Any:
        try:
            return await asyncio.wait_for(asyncio.to_thread(function, *arguments, **options), timeout)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        except asyncio.TimeoutError:  # another class than TimeoutError before Python 3.11
            raise HTTPException(504, f"not done within {timeout:g} s") from None

    @app.post("/recommend", response_model=RecommendAnswer)
    async def recommend(body: RecommendBody) -> JSONResponse:
        """Lists for users or histories. Requests of many clients are computed together."""
        if (body.users is None) == (body.histories is None):
            raise HTTPException(400, "give either users or histories")
        if body.beam_size is not None and body.beam_size < body.k:
            raise HTTPException(400, f"beam_size: {body.beam_size} is below k: {body.k}")
        recommender = recommender_of(body.run)
        if body.users is not None:
            requests = [Request(user) for user in body.users]
        else:
            requests = [Request(str(number), history) for number, history in enumerate(body.histories, start=1)]
        unknown = list(dict.fromkeys(token for request in requests for token in recommender.unknown_in(request)))
        unknown += [token for token in dict.fromkeys(body.only or ()) if not recommender.knows(token)]
        if unknown and body.unknown == "fail":
            raise HTTPException(400, f"not known: {', '.join(map(repr, unknown[:10]))}; correct them, or unknown: skip")
        only = tuple(token for token in body.only if recommender.knows(token)) if body.only else None
        if only == ():
            raise HTTPException(400, "only: names no item of the catalogue, so nothing could be recommended")
        batcher = service.batcher(body.run)
        futures = []
        try:
            for request in requests:
                if request.history is not None and not request.history and body.unknown == "fail":
                    raise HTTPException(400, f"history {request.name} is empty")
                futures.append(batcher.submit(Asked(request, body.k, body.mask_history, only, body.beam_size)))
            if futures:
                await asyncio.wait(futures, timeout=timeout)
            if not all(future.done() for future in futures):
                raise HTTPException(504, f"not done within {timeout:g} s")
            listed = [future.result() for future in futures]
        except QueueFull:
            raise HTTPException(503, "too many requests wait; try again", headers={"Retry-After": "1"}) from None
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        finally:
            for future in futures:
                future.cancel()  # no effect on those that are done
        lists = [
            {
                "user": request.name,
                "items": [
                    {"item_id": token, "score": score, "title": title, "number": numbers.get(token)}
                    for token, score, title in zip(*found, strict=True)
                ],
            }
            for request, found in zip(requests, listed, strict=True)
        ]
        # a response as it is: to check our own answer against its model takes as long as a fifth of a search
        return JSONResponse({"run": body.run or service.runs[0], "lists": lists, "unknown": unknown})

    @app.post("/explain")
    async def explain(body: ExplainBody) -> dict[str, Any]:
        """The list of one history and the beams behind it, digit by digit."""
        recommender = recommender_of(body.run)
        beams, table = await in_thread(
            recommender.explain, body.history, k=body.k, mask_history=body.mask_history, only=body.only
        )
        tokens = table.item_tokens
        digits = [plain_digit(digit) for digit in table.digits]
        plain = plain_beams(beams, lambda item_id: numbers.get(tokens[item_id - 1], -1) if item_id else -1)
        ids = [tokens[item_id - 1] for item_id in beams.item_ids]
        codes = {token: table.codes[item_id].tolist() for token, item_id in zip(ids, beams.item_ids, strict=True)}
        return {"digits": digits, "item_ids": ids, "codes": codes, **plain}

    @app.get("/items")
    async def items(
        query: Annotated[str, Query(max_length=200)] = "",
        run: str | None = None,
        offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """Items whose id or title has all words of a query, with their semantic IDs."""
        return await in_thread(recommender_of(run).find_items, query, offset=offset, limit=limit)

    @app.get("/users/{user}")
    async def user(user: str, run: str | None = None) -> dict[str, Any]:
        """The history of a user whom the run knows."""
        history = recommender_of(run).history_of(user)
        if history is None:
            raise HTTPException(404, f"no user {user!r}, or the run keeps no histories")
        return {"user": user, "history": [{"item_id": token, "number": numbers.get(token)} for token in history]}

    @app.post("/new-items")
    async def new_items(body: NewItemsBody) -> dict[str, Any]:
        """Let items in that the run has not been trained on; they are there until it is reloaded."""
        recommender = recommender_of(body.run)
        modalities = recommender.modalities
        widths = {m: {len(item.vectors[m]) for item in body.items if m in item.vectors} for m in modalities}
        for item in body.items:
            if unknown := set(item.vectors) - set(modalities):
                raise HTTPException(400, f"item {item.item_id!r}: the run has no modality {sorted(unknown)[0]!r}")
        features = {}
        for modality, found in widths.items():
            if len(found) > 1:
                raise HTTPException(400, f"{modality}: vectors of {len(found)} different lengths; encode all alike")
            if found:
                missing = [float("nan")] * found.pop()
                features[modality] = np.array([item.vectors.get(modality, missing) for item in body.items], np.float32)
        tokens, titles = [item.item_id for item in body.items], [item.title for item in body.items]
        new = await in_thread(service.add_items, body.run, tokens, features, titles)
        return {**new._asdict(), "codes": {token: recommender.codes_of(token) for token in new.added}}

    @app.post("/new-product")
    async def new_product(body: ProductBody) -> ProductAnswer:
        """Where a product would stand that the run has not been trained on, by its photo and its words."""
        recommender = recommender_of(body.run)
        if not isinstance(recommender, Recommender):
            raise HTTPException(400, "this run scores items that it knows; a new product needs one with semantic IDs")
        product = Product(body.words, body.picture)
        placed = await in_thread(place_product, recommender, product, k=body.k, most_users=body.users)
        digits = recommender.run.network.semantic_ids.digits
        return ProductAnswer(
            digits=[plain_digit(digit) for digit in digits],
            codes=placed.codes,
            near=[{"item_id": item, "shared": shared, "number": numbers.get(item)} for item, shared in placed.near],
            seen=[one._asdict() for one in placed.seen],
            asked=placed.asked,
            k=body.k,
        )

    @app.post("/reload")
    async def reload(body: RunBody) -> dict[str, Any]:
        """Read the run's directory anew; no request is lost meanwhile."""
        recommender_of(body.run)
        try:
            return {"items": await asyncio.to_thread(service.reload, body.run)}
        except ValueError as error:
            raise HTTPException(400, str(error)) from error

    @app.get("/runs")
    async def runs() -> list[dict[str, Any]]:
        """The runs that answer."""
        return [{"run": run, **service.recommender(run).about} for run in service.runs]

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service answers; needs no token."""
        return {"status": "ok", "version": __version__}

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        """Counts and times for Prometheus."""
        return PlainTextResponse(generate_latest(service.numbers.registry), media_type="text/plain; version=0.0.4")

    add_task_routes(app, service, recommender_of, timeout=timeout, numbers=numbers)
    app.add_middleware(_Guard, service=service, token=token, most_bytes=most_bytes)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))
    return app


def plain_digit(digit: Digit) -> dict[str, str]:
    """A digit as pages show it."""
    return {"name": digit.name, "modality": digit.modality, "kind": digit.kind}


class _Guard:
    """Before a request reaches its route: the token, the size of the body; and after it: counts and times."""

    def __init__(self, app, *, service: Service, token: str | None, most_bytes: int) -> None:
        self._app, self._numbers, self._token, self._most_bytes = app, service.numbers, token, most_bytes

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500
        read = 0

        async def counted_receive():
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most_bytes:
                raise HTTPException(413, f"the body is larger than {self._most_bytes:,} bytes")
            return message

        async def watched_send(message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        headers = {name.lower(): value for name, value in scope["headers"]}
        refusal = self._refusal(scope["path"], headers)
        try:
            if refusal:
                await refusal(scope, receive, watched_send)
            else:
                await self._app(scope, counted_receive, watched_send)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._numbers.requests.labels(route, str(status)).inc()
            self._numbers.seconds.labels(route).observe(time.perf_counter() - started)

    def _refusal(self, path: str, headers: Mapping[bytes, bytes]) -> JSONResponse | None:
        sent = _sent_token(headers.get(b"authorization", b""))
        if self._token is not None and path != "/health" and not hmac.compare_digest(sent, self._token.encode()):
            ask = {"WWW-Authenticate": 'Basic realm="recbole-mgr", charset="UTF-8"'}  # a browser then asks for it
            return JSONResponse({"detail": "the token is missing or wrong"}, 401, ask)
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._most_bytes:
            return JSONResponse({"detail": f"the body is larger than {self._most_bytes:,} bytes"}, 413)
        return None


def _sent_token(authorization: bytes) -> bytes:
    """The token of ``Bearer <token>``, or the password of ``Basic ...``, whatever the user's name."""
    scheme, _, value = authorization.partition(b" ")
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return value if scheme.lower() == b"bearer" else b""
