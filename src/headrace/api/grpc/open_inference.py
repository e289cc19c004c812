"""The Open Inference Protocol over gRPC, as ``proto/open_inference.proto`` has it.

Tensors come back as they came: as raw bytes, or as typed contents. Triton's client reads raw ones only, and sends them.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from headrace.api.grpc.exchange import Exchange
from headrace.api.grpc.fields import merge_floats
from headrace.api.grpc.generated import open_inference_pb2 as pb
from headrace.api.grpc.rpcs import Declarations, Streamed, Unary, answer_each
from headrace.api.open_inference import (
    EXTENSIONS,
    InferParameters,
    ask_model,
    choose_outputs,
    describe,
    make_tensors,
)
from headrace.api.statistics import describe_counts
from headrace.api.tensors import BINARY_SIZE, InputTensor, OutputTensor, read_texts
from headrace.api.validation import validate
from headrace.errors import HeadraceError, RequestInvalid, ServiceUnready
from headrace.service import ServedModel
from headrace.version import VERSION


async def _server_live(_exchange: Exchange, _message: pb.ServerLiveRequest) -> Message:
    return pb.ServerLiveResponse(live=True)


async def _server_ready(exchange: Exchange, _message: pb.ServerReadyRequest) -> Message:
    try:
        exchange.context.require_ready()
    except ServiceUnready:
        return pb.ServerReadyResponse(ready=False)
    return pb.ServerReadyResponse(ready=True)


async def _model_ready(exchange: Exchange, message: pb.ModelReadyRequest) -> Message:
    _find(exchange, message.name, message.version)
    exchange.context.require_ready()
    return pb.ModelReadyResponse(ready=True)


async def _server_metadata(_exchange: Exchange, _message: pb.ServerMetadataRequest) -> Message:
    return pb.ServerMetadataResponse(name="headrace", version=VERSION, extensions=EXTENSIONS)


async def _model_metadata(exchange: Exchange, message: pb.ModelMetadataRequest) -> Message:
    return pb.ModelMetadataResponse(**describe(_find(exchange, message.name, message.version).manifest))


async def _repository_index(exchange: Exchange, _message: pb.RepositoryIndexRequest) -> Message:
    served = exchange.context.service.list_models(exchange.caller)
    models = [{"name": each.manifest.name, "version": each.manifest.revision, "state": "READY"} for each in served]
    return pb.RepositoryIndexResponse(models=models)


async def _statistics(exchange: Exchange, message: pb.ModelStatisticsRequest) -> Message:
    service, caller = exchange.context.service, exchange.caller
    if message.version:
        served = [_find(exchange, message.name, message.version)]
    else:
        only = _find(exchange, message.name, "").manifest.name if message.name else None
        served = [each for each in service.list_models(caller) if only in {None, each.manifest.name}]
    stats = [describe_counts(exchange.context.counts, each) for each in served]
    return pb.ModelStatisticsResponse(model_stats=stats)


async def _infer(exchange: Exchange, message: pb.ModelInferRequest) -> pb.ModelInferResponse:
    service, name = exchange.context.service, _versioned(message.model_name, message.model_version)
    parameters = validate(_read_parameters(message.parameters), InferParameters)
    texts = _read_texts(message)
    task = service.task_of(exchange.caller, name)
    wanted = choose_outputs([each.name for each in message.outputs] or None, task)
    answer = await exchange.ask(ask_model(name, task, texts, parameters.options()))
    response = pb.ModelInferResponse(
        model_name=answer.model, model_version=answer.revision, id=message.id or exchange.request_id
    )
    is_raw = bool(message.raw_input_contents) or parameters.binary_data_output
    for tensor in make_tensors(answer, task, wanted):
        _add_output(response, tensor, is_raw=is_raw)
    return response


async def _infer_in_stream(exchange: Exchange, message: pb.ModelInferRequest) -> pb.ModelStreamInferResponse:
    try:
        return pb.ModelStreamInferResponse(infer_response=await _infer(exchange, message))
    except HeadraceError as error:
        failed = pb.ModelInferResponse(model_name=message.model_name, id=message.id)
        return pb.ModelStreamInferResponse(error_message=error.message, infer_response=failed)


def _find(exchange: Exchange, name: str, version: str) -> ServedModel:
    return exchange.context.service.show_model(exchange.caller, _versioned(name, version))


def _versioned(name: str, version: str) -> str:
    return f"{name}@{version}" if version else name


def _read_parameters(parameters: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    chosen = {name: (value, value.WhichOneof("parameter_choice")) for name, value in parameters.items()}
    return {name: getattr(value, choice) for name, (value, choice) in chosen.items() if choice is not None}


def _read_texts(message: pb.ModelInferRequest) -> Mapping[str, tuple[str, ...]]:
    """Return the texts of a request by the names of their tensors; raises as ``read_texts``."""
    raws: Sequence[bytes] = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise RequestInvalid(
            f"raw_input_contents has {len(raws)} tensors and there are {len(message.inputs)} inputs; send one for each",
            field="raw_input_contents",
        )
    tensors = []
    for index, given in enumerate(message.inputs):
        if raws and given.HasField("contents"):
            raise RequestInvalid(  # Triton's own words, which its tests look for
                f"contents field must not be specified when using raw_input_contents for {given.name[:80]!r} for model"
                f" {message.model_name[:80]!r}",
                field=f"inputs[{index}].contents",
            )
        fields: dict[str, Any] = {"name": given.name, "datatype": given.datatype, "shape": list(given.shape)}
        if raws:
            fields["parameters"] = {BINARY_SIZE: len(raws[index])}
        else:
            fields["data"] = [_decode(text, index) for text in given.contents.bytes_contents]
        tensors.append(validate(fields, InputTensor))
    return read_texts(tensors, b"".join(raws))


def _decode(text: bytes, index: int) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RequestInvalid("a text is no valid UTF-8", field=f"inputs[{index}].contents") from error


def _add_output(response: pb.ModelInferResponse, tensor: OutputTensor, *, is_raw: bool) -> None:
    output = response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
    if is_raw:
        response.raw_output_contents.append(tensor.as_bytes()[1])
    elif tensor.datatype == "BYTES":
        output.contents.bytes_contents.extend(str(each).encode() for each in tensor.data)
    else:
        merge_floats(output.contents, "fp32_contents", tensor.as_bytes()[1])


SERVICES: Final[Declarations] = {
    pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]: {
        "ServerLive": Unary(_server_live, is_open=True),
        "ServerReady": Unary(_server_ready, is_open=True),
        "ModelReady": Unary(_model_ready),
        "ServerMetadata": Unary(_server_metadata),
        "ModelMetadata": Unary(_model_metadata),
        "ModelInfer": Unary(_infer, needs_engine=True),
        "ModelStreamInfer": Streamed(answer_each(_infer_in_stream, in_order=True)),
        "RepositoryIndex": Unary(_repository_index),
        "ModelStatistics": Unary(_statistics),
    }
}
