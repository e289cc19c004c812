from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Truncate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TRUNCATE_UNSPECIFIED: _ClassVar[Truncate]
    TRUNCATE_ERROR: _ClassVar[Truncate]
    TRUNCATE_TRUNCATE: _ClassVar[Truncate]
    TRUNCATE_CHUNK: _ClassVar[Truncate]

class Aggregation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AGGREGATION_UNSPECIFIED: _ClassVar[Aggregation]
    AGGREGATION_NONE: _ClassVar[Aggregation]
    AGGREGATION_SIMPLE: _ClassVar[Aggregation]
    AGGREGATION_FIRST: _ClassVar[Aggregation]
    AGGREGATION_AVERAGE: _ClassVar[Aggregation]
    AGGREGATION_MAX: _ClassVar[Aggregation]
TRUNCATE_UNSPECIFIED: Truncate
TRUNCATE_ERROR: Truncate
TRUNCATE_TRUNCATE: Truncate
TRUNCATE_CHUNK: Truncate
AGGREGATION_UNSPECIFIED: Aggregation
AGGREGATION_NONE: Aggregation
AGGREGATION_SIMPLE: Aggregation
AGGREGATION_FIRST: Aggregation
AGGREGATION_AVERAGE: Aggregation
AGGREGATION_MAX: Aggregation

class AnswerOptions(_message.Message):
    __slots__ = ("truncate", "top_k", "threshold", "max_answer_tokens")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_ANSWER_TOKENS_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    top_k: int
    threshold: float
    max_answer_tokens: int
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., top_k: _Optional[int] = ..., threshold: _Optional[float] = ..., max_answer_tokens: _Optional[int] = ...) -> None: ...

class AnswerRequest(_message.Message):
    __slots__ = ("model", "inputs", "query", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    query: str
    options: AnswerOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., query: _Optional[str] = ..., options: _Optional[_Union[AnswerOptions, _Mapping]] = ...) -> None: ...

class ClassifyOptions(_message.Message):
    __slots__ = ("truncate", "top_k", "threshold", "raw")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    top_k: int
    threshold: float
    raw: bool
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., top_k: _Optional[int] = ..., threshold: _Optional[float] = ..., raw: _Optional[bool] = ...) -> None: ...

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "inputs", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    options: ClassifyOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[ClassifyOptions, _Mapping]] = ...) -> None: ...

class EmbedOptions(_message.Message):
    __slots__ = ("truncate", "normalize", "dimensions", "prompt")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    normalize: bool
    dimensions: int
    prompt: str
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., normalize: _Optional[bool] = ..., dimensions: _Optional[int] = ..., prompt: _Optional[str] = ...) -> None: ...

class EmbedRequest(_message.Message):
    __slots__ = ("model", "inputs", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    options: EmbedOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[EmbedOptions, _Mapping]] = ...) -> None: ...

class ExtractOptions(_message.Message):
    __slots__ = ("truncate", "aggregation", "threshold")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    AGGREGATION_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    aggregation: Aggregation
    threshold: float
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., aggregation: _Optional[_Union[Aggregation, str]] = ..., threshold: _Optional[float] = ...) -> None: ...

class ExtractRequest(_message.Message):
    __slots__ = ("model", "inputs", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    options: ExtractOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[ExtractOptions, _Mapping]] = ...) -> None: ...

class FillOptions(_message.Message):
    __slots__ = ("truncate", "top_k", "threshold")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    top_k: int
    threshold: float
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., top_k: _Optional[int] = ..., threshold: _Optional[float] = ...) -> None: ...

class FillRequest(_message.Message):
    __slots__ = ("model", "inputs", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    options: FillOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[FillOptions, _Mapping]] = ...) -> None: ...

class RegressOptions(_message.Message):
    __slots__ = ("truncate",)
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ...) -> None: ...

class RegressRequest(_message.Message):
    __slots__ = ("model", "inputs", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    options: RegressOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[RegressOptions, _Mapping]] = ...) -> None: ...

class RerankOptions(_message.Message):
    __slots__ = ("truncate", "top_k", "raw")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    top_k: int
    raw: bool
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., top_k: _Optional[int] = ..., raw: _Optional[bool] = ...) -> None: ...

class RerankRequest(_message.Message):
    __slots__ = ("model", "inputs", "query", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    query: str
    options: RerankOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., query: _Optional[str] = ..., options: _Optional[_Union[RerankOptions, _Mapping]] = ...) -> None: ...

class SimilarityOptions(_message.Message):
    __slots__ = ("truncate", "dimensions", "prompt", "query_prompt")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    QUERY_PROMPT_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    dimensions: int
    prompt: str
    query_prompt: str
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., dimensions: _Optional[int] = ..., prompt: _Optional[str] = ..., query_prompt: _Optional[str] = ...) -> None: ...

class SimilarityRequest(_message.Message):
    __slots__ = ("model", "inputs", "query", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    query: str
    options: SimilarityOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., query: _Optional[str] = ..., options: _Optional[_Union[SimilarityOptions, _Mapping]] = ...) -> None: ...

class ZeroshotOptions(_message.Message):
    __slots__ = ("truncate", "template", "multi_label", "top_k", "threshold")
    TRUNCATE_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    truncate: Truncate
    template: str
    multi_label: bool
    top_k: int
    threshold: float
    def __init__(self, truncate: _Optional[_Union[Truncate, str]] = ..., template: _Optional[str] = ..., multi_label: _Optional[bool] = ..., top_k: _Optional[int] = ..., threshold: _Optional[float] = ...) -> None: ...

class ZeroshotRequest(_message.Message):
    __slots__ = ("model", "inputs", "labels", "options")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    inputs: _containers.RepeatedScalarFieldContainer[str]
    labels: _containers.RepeatedScalarFieldContainer[str]
    options: ZeroshotOptions
    def __init__(self, model: _Optional[str] = ..., inputs: _Optional[_Iterable[str]] = ..., labels: _Optional[_Iterable[str]] = ..., options: _Optional[_Union[ZeroshotOptions, _Mapping]] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("tokens", "cached")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    CACHED_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    cached: int
    def __init__(self, tokens: _Optional[int] = ..., cached: _Optional[int] = ...) -> None: ...

class TimingsMs(_message.Message):
    __slots__ = ("queue", "tokenize", "run", "total")
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    TOKENIZE_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    queue: float
    tokenize: float
    run: float
    total: float
    def __init__(self, queue: _Optional[float] = ..., tokenize: _Optional[float] = ..., run: _Optional[float] = ..., total: _Optional[float] = ...) -> None: ...

class AnswerSpan(_message.Message):
    __slots__ = ("text", "score", "start", "end")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    text: str
    score: float
    start: int
    end: int
    def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class AnswerResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "answers", "no_answer")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    NO_ANSWER_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    answers: _containers.RepeatedCompositeFieldContainer[AnswerSpan]
    no_answer: float
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., answers: _Optional[_Iterable[_Union[AnswerSpan, _Mapping]]] = ..., no_answer: _Optional[float] = ...) -> None: ...

class AnswerResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[AnswerResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[AnswerResult, _Mapping]]] = ...) -> None: ...

class LabelScore(_message.Message):
    __slots__ = ("label", "score")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    label: str
    score: float
    def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class ClassifyResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "labels")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    labels: _containers.RepeatedCompositeFieldContainer[LabelScore]
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., labels: _Optional[_Iterable[_Union[LabelScore, _Mapping]]] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[ClassifyResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[ClassifyResult, _Mapping]]] = ...) -> None: ...

class EmbedResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "embedding")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    embedding: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., embedding: _Optional[_Iterable[float]] = ...) -> None: ...

class EmbedResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[EmbedResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[EmbedResult, _Mapping]]] = ...) -> None: ...

class EntitySpan(_message.Message):
    __slots__ = ("label", "score", "start", "end", "text")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    label: str
    score: float
    start: int
    end: int
    text: str
    def __init__(self, label: _Optional[str] = ..., score: _Optional[float] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class ExtractResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "entities")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    ENTITIES_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    entities: _containers.RepeatedCompositeFieldContainer[EntitySpan]
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., entities: _Optional[_Iterable[_Union[EntitySpan, _Mapping]]] = ...) -> None: ...

class ExtractResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[ExtractResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[ExtractResult, _Mapping]]] = ...) -> None: ...

class MaskWord(_message.Message):
    __slots__ = ("text", "score")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    text: str
    score: float
    def __init__(self, text: _Optional[str] = ..., score: _Optional[float] = ...) -> None: ...

class MaskFound(_message.Message):
    __slots__ = ("start", "end", "words")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    WORDS_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    words: _containers.RepeatedCompositeFieldContainer[MaskWord]
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ..., words: _Optional[_Iterable[_Union[MaskWord, _Mapping]]] = ...) -> None: ...

class FillResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "masks")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    masks: _containers.RepeatedCompositeFieldContainer[MaskFound]
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., masks: _Optional[_Iterable[_Union[MaskFound, _Mapping]]] = ...) -> None: ...

class FillResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[FillResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[FillResult, _Mapping]]] = ...) -> None: ...

class RegressResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "value")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    value: float
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...

class RegressResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[RegressResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[RegressResult, _Mapping]]] = ...) -> None: ...

class RerankResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "index", "score")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    index: int
    score: float
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., index: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class RerankResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[RerankResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[RerankResult, _Mapping]]] = ...) -> None: ...

class SimilarityResult(_message.Message):
    __slots__ = ("tokens", "truncated", "windows", "score")
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    WINDOWS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    tokens: int
    truncated: bool
    windows: int
    score: float
    def __init__(self, tokens: _Optional[int] = ..., truncated: _Optional[bool] = ..., windows: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class SimilarityResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[SimilarityResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[SimilarityResult, _Mapping]]] = ...) -> None: ...

class ZeroshotResponse(_message.Message):
    __slots__ = ("model", "revision", "usage", "timings_ms", "results")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    TIMINGS_MS_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    model: str
    revision: str
    usage: Usage
    timings_ms: TimingsMs
    results: _containers.RepeatedCompositeFieldContainer[ClassifyResult]
    def __init__(self, model: _Optional[str] = ..., revision: _Optional[str] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., timings_ms: _Optional[_Union[TimingsMs, _Mapping]] = ..., results: _Optional[_Iterable[_Union[ClassifyResult, _Mapping]]] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("id", "answer", "classify", "embed", "extract", "fill", "regress", "rerank", "similarity", "zeroshot")
    ID_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CLASSIFY_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    EXTRACT_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    REGRESS_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    ZEROSHOT_FIELD_NUMBER: _ClassVar[int]
    id: str
    answer: AnswerRequest
    classify: ClassifyRequest
    embed: EmbedRequest
    extract: ExtractRequest
    fill: FillRequest
    regress: RegressRequest
    rerank: RerankRequest
    similarity: SimilarityRequest
    zeroshot: ZeroshotRequest
    def __init__(self, id: _Optional[str] = ..., answer: _Optional[_Union[AnswerRequest, _Mapping]] = ..., classify: _Optional[_Union[ClassifyRequest, _Mapping]] = ..., embed: _Optional[_Union[EmbedRequest, _Mapping]] = ..., extract: _Optional[_Union[ExtractRequest, _Mapping]] = ..., fill: _Optional[_Union[FillRequest, _Mapping]] = ..., regress: _Optional[_Union[RegressRequest, _Mapping]] = ..., rerank: _Optional[_Union[RerankRequest, _Mapping]] = ..., similarity: _Optional[_Union[SimilarityRequest, _Mapping]] = ..., zeroshot: _Optional[_Union[ZeroshotRequest, _Mapping]] = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "retryable", "field")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    retryable: bool
    field: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., retryable: _Optional[bool] = ..., field: _Optional[str] = ...) -> None: ...

class StreamResponse(_message.Message):
    __slots__ = ("id", "error", "answer", "classify", "embed", "extract", "fill", "regress", "rerank", "similarity", "zeroshot")
    ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    CLASSIFY_FIELD_NUMBER: _ClassVar[int]
    EMBED_FIELD_NUMBER: _ClassVar[int]
    EXTRACT_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    REGRESS_FIELD_NUMBER: _ClassVar[int]
    RERANK_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    ZEROSHOT_FIELD_NUMBER: _ClassVar[int]
    id: str
    error: Error
    answer: AnswerResponse
    classify: ClassifyResponse
    embed: EmbedResponse
    extract: ExtractResponse
    fill: FillResponse
    regress: RegressResponse
    rerank: RerankResponse
    similarity: SimilarityResponse
    zeroshot: ZeroshotResponse
    def __init__(self, id: _Optional[str] = ..., error: _Optional[_Union[Error, _Mapping]] = ..., answer: _Optional[_Union[AnswerResponse, _Mapping]] = ..., classify: _Optional[_Union[ClassifyResponse, _Mapping]] = ..., embed: _Optional[_Union[EmbedResponse, _Mapping]] = ..., extract: _Optional[_Union[ExtractResponse, _Mapping]] = ..., fill: _Optional[_Union[FillResponse, _Mapping]] = ..., regress: _Optional[_Union[RegressResponse, _Mapping]] = ..., rerank: _Optional[_Union[RerankResponse, _Mapping]] = ..., similarity: _Optional[_Union[SimilarityResponse, _Mapping]] = ..., zeroshot: _Optional[_Union[ZeroshotResponse, _Mapping]] = ...) -> None: ...

class Model(_message.Message):
    __slots__ = ("name", "revision", "role", "share", "task", "runtime", "precision", "dimensions", "labels", "mask", "prompts", "max_tokens", "pooling", "normalize", "source", "license")
    class PromptsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    DIMENSIONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    PROMPTS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    POOLING_FIELD_NUMBER: _ClassVar[int]
    NORMALIZE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    LICENSE_FIELD_NUMBER: _ClassVar[int]
    name: str
    revision: str
    role: str
    share: float
    task: str
    runtime: str
    precision: str
    dimensions: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    mask: str
    prompts: _containers.ScalarMap[str, str]
    max_tokens: int
    pooling: str
    normalize: bool
    source: str
    license: str
    def __init__(self, name: _Optional[str] = ..., revision: _Optional[str] = ..., role: _Optional[str] = ..., share: _Optional[float] = ..., task: _Optional[str] = ..., runtime: _Optional[str] = ..., precision: _Optional[str] = ..., dimensions: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ..., mask: _Optional[str] = ..., prompts: _Optional[_Mapping[str, str]] = ..., max_tokens: _Optional[int] = ..., pooling: _Optional[str] = ..., normalize: _Optional[bool] = ..., source: _Optional[str] = ..., license: _Optional[str] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...
