"""Rankings in three dialects that share their paths.

Clients of Cohere and Jina send documents and get an object; those of text-embeddings-inference send texts and get a
list.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, cast

from fastapi import APIRouter, Depends
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from headrace.api.asked import Asked
from headrace.api.rest.context import identify
from headrace.api.rest.reply import json_response, spell_usage
from headrace.api.rest.shed import Sheddable
from headrace.api.rest.tei import BY_NAME, ERRORS, TEI_ERRORS, Cut, TeiRoute, add_question, compute_headers
from headrace.errors import RequestInvalid
from headrace.options import Options
from headrace.types import Answer, Ranking


def _read_documents(value: Any) -> Any:
    """Return the texts of documents: each is a text, or an object that has one."""
    if not isinstance(value, list):
        return value
    return [each["text"] if isinstance(each, dict) and "text" in each else each for each in value]


class RankRequest(Cut):
    """Documents or texts to rank by how well they answer a query."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"query": "a dull film", "documents": ["The plot was thin.", "I sold my car."]}]
        }
    )

    model: str | None = Field(default=None, description="Name of the model; by default the first that ranks.")
    query: str
    documents: Annotated[list[str] | None, BeforeValidator(_read_documents)] = Field(
        default=None, description="Texts, or objects with a text: the answer is an object with results."
    )
    texts: list[str] | None = Field(default=None, description="Instead of documents: the answer is a list of scores.")
    top_n: int | None = Field(default=None, ge=0, description="How many, the best first; by default or with 0 all.")
    return_documents: bool = False
    return_text: bool = False
    raw_scores: bool = False

    def asked(self) -> Asked:
        """Return what the service is asked.

        Raises:
            RequestInvalid: There are both documents and texts, or neither.
        """
        if (self.documents is None) == (self.texts is None):
            raise RequestInvalid("send documents, or texts and no documents", field="documents")
        options = Options(truncate=self.choice(), top_k=self.top_n or None, raw=self.raw_scores)
        texts = tuple(self.ranked())
        return {"task": "rerank", "inputs": texts, "query": self.query, "model": self.model, "options": options}

    def respond(self, answer: Answer, request_id: str) -> Response:
        """Return the response."""
        rankings = cast("Sequence[Ranking]", answer.results)
        if self.documents is None:
            response = json_response([self._score(ranking) for ranking in rankings])
            response.headers.update(compute_headers(self.ranked(), answer))
            return response
        return json_response(
            {
                "id": request_id,
                "model": answer.model,
                "results": [self._result(ranking) for ranking in rankings],
                "usage": spell_usage(answer),
                "meta": {"billed_units": {"search_units": 1}},
            }
        )

    def ranked(self) -> Sequence[str]:
        """Return what is ranked."""
        return self.documents or self.texts or ()

    def _score(self, ranking: Ranking) -> dict[str, Any]:
        scored: dict[str, Any] = {"index": ranking.index, "score": ranking.score}
        return {**scored, "text": self.ranked()[ranking.index]} if self.return_text else scored

    def _result(self, ranking: Ranking) -> dict[str, Any]:
        result: dict[str, Any] = {"index": ranking.index, "relevance_score": ranking.score}
        if self.return_documents:
            result["document"] = {"text": self.ranked()[ranking.index]}
        return result


router: Final = APIRouter(dependencies=[Depends(identify)], tags=["rerank"], responses=TEI_ERRORS, route_class=TeiRoute)
_PATHS: Final = ("/rerank", "/v1/rerank", "/v2/rerank")
SHEDDABLE: Final[Mapping[str, Sheddable]] = {
    where: Sheddable("rerank", ERRORS) for path in _PATHS for where in (path, BY_NAME + path)
}
SHAPES: Final[tuple[type[BaseModel], ...]] = (RankRequest,)
"""What its routes refer to in the OpenAPI document."""

for _path in _PATHS:
    add_question(router, _path, RankRequest, "Rank documents")
