"""Triton's statistics of models under ``/v2``: what each version has done, as perf_analyzer and Triton's client ask."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from headrace.api.rest.context import caller_of, context_of, identify
from headrace.api.rest.oip import DOCUMENTED, OipRoute
from headrace.api.rest.reply import json_response
from headrace.api.statistics import describe_counts
from headrace.service import ServedModel


class Duration(BaseModel):
    """How often something was done, and how long it took together."""

    count: int
    ns: int


class InferenceStats(BaseModel):
    """What came of requests, and where their time went."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration
    cache_miss: Duration


class BatchStats(BaseModel):
    """Batches of one size."""

    batch_size: int
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


class ModelStats(BaseModel):
    """What a version has done since the server began."""

    name: str
    version: str
    last_inference: int = Field(description="Unix time of the last answer, in milliseconds; 0 before the first.")
    inference_count: int
    execution_count: int
    inference_stats: InferenceStats
    batch_stats: list[BatchStats]


class Statistics(BaseModel):
    """What versions have done."""

    model_stats: list[ModelStats]


router: Final = APIRouter(
    prefix="/v2/models",
    dependencies=[Depends(identify)],
    tags=["inference"],
    responses=DOCUMENTED,
    route_class=OipRoute,
)


@router.get("/stats", summary="Count what the models have done", response_model=Statistics)
async def count_all(request: Request) -> Response:
    """Return what each version that is loaded has done. A model called ``stats`` is described by its versions alone."""
    return _respond(request, context_of(request).service.list_models(caller_of(request)))


@router.get("/{name}/stats", summary="Count what a model has done", response_model=Statistics)
async def count_model(request: Request, name: str) -> Response:
    """Return what each version of a model that is loaded has done."""
    service, caller = context_of(request).service, caller_of(request)
    known = service.show_model(caller, name).manifest.name
    return _respond(request, [each for each in service.list_models(caller) if each.manifest.name == known])


@router.get("/{name}/versions/{version}/stats", summary="Count what a version has done", response_model=Statistics)
async def count_version(request: Request, name: str, version: str) -> Response:
    """Return what a version has done: ``champion``, ``canary``, or what its revision begins with."""
    return _respond(request, [context_of(request).service.show_model(caller_of(request), f"{name}@{version}")])


def _respond(request: Request, served: Sequence[ServedModel]) -> Response:
    return json_response({"model_stats": [describe_counts(context_of(request).counts, each) for each in served]})
