"""Whatever is sent, the service answers as its own OpenAPI schema says: never with an error of ours.

Requests are made of the schema (bodies, queries and paths), with ids that the run knows among them, and some bodies are
any JSON instead. This is what schemathesis does, for the few kinds of schemas that we have.
"""

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from recbole_mgr.serving.http.app import create_app
from recbole_mgr.serving.http.service import Service

KNOWN = ["i1", "i2", "i3", "u1", "lf", "text", "title"]
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def values_of(schema: dict, components: dict) -> st.SearchStrategy:
    """Values that a schema allows."""

    def inner(part: dict) -> st.SearchStrategy:
        return values_of(part, components)

    if "$ref" in schema:
        return inner(components[schema["$ref"].rpartition("/")[2]])
    if "anyOf" in schema:
        return st.one_of(*map(inner, schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if kind == "object":
        if "properties" not in schema:
            values = schema.get("additionalProperties") or {"type": "null"}
            return st.dictionaries(st.sampled_from(KNOWN), inner(values), max_size=3)
        required = set(schema.get("required", ()))
        fields = {name: inner(part) for name, part in schema["properties"].items()}
        return st.fixed_dictionaries(
            {name: values for name, values in fields.items() if name in required},
            optional={name: values for name, values in fields.items() if name not in required},
        )
    if kind == "array":
        least = schema.get("minItems", 0)
        return st.lists(inner(schema["items"]), min_size=least, max_size=least + 3)
    if kind == "string":
        least = schema.get("minLength", 0)
        return st.sampled_from(KNOWN) | st.text(min_size=least, max_size=least + 10)
    if kind == "integer":
        lowest = schema.get("minimum", 0)
        return st.integers(lowest, min(schema.get("maximum", 1000), lowest + 1000))
    if kind == "number":
        lowest = schema.get("minimum", schema.get("exclusiveMinimum", -1000))
        return st.floats(lowest, schema.get("maximum", 1000), exclude_min="exclusiveMinimum" in schema)
    return {"boolean": st.booleans(), "null": st.none()}[kind]


@st.composite
def requests_to(draw, schema: dict):
    """Method, path, query and body of a request to one of the routes of a schema."""
    components = schema["components"]["schemas"]
    path, method = draw(st.sampled_from([(path, method) for path, of in schema["paths"].items() for method in of]))
    operation = schema["paths"][path][method]
    query, address = {}, path
    for parameter in operation.get("parameters", ()):
        value = draw(values_of(parameter["schema"], components))
        if parameter["in"] == "path":
            address = address.replace(f"{{{parameter['name']}}}", draw(st.sampled_from(KNOWN)))
        elif value is not None:
            query[parameter["name"]] = value
    body = None
    if "requestBody" in operation:
        expected = values_of(operation["requestBody"]["content"]["application/json"]["schema"], components)
        body = draw(st.one_of(expected, expected, ANY_JSON))
    return method, address, query, body, operation["responses"]


@pytest.fixture(scope="module")
def client(run):
    service = Service({"lf": run.folder}, device="cpu")
    app = create_app(service, hosts=("testserver",))
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_every_answer_is_one_that_the_schema_names(client):
    seen = set()

    @given(request=requests_to(client.app.openapi()))
    @settings(
        max_examples=200,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def keeps(request):
        method, path, query, body, responses = request
        answer = client.request(method, path, params=query, json=body)
        assert str(answer.status_code) in responses, (request, answer.text)
        assert answer.status_code < 500, (request, answer.text)
        seen.add(answer.status_code)

    keeps()
    assert {200, 422} <= seen  # some requests made sense, and some did not
