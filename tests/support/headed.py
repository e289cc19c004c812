"""Checkpoints of tiny models with heads, and what the service answers with them."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import tokenizers
import torch
import transformers
from tests.support.records import MemoryRecords
from tests.unit.export.conftest import Silent, make_tokenizer, tiny_bert

from headrace.api.context import Context
from headrace.api.rest.app import build_app
from headrace.app import open_service
from headrace.auth.keys import KeyGuard, digest_of
from headrace.auth.loopback import LoopbackGuard
from headrace.auth.standing import Standing
from headrace.events.memory import MemoryEvents
from headrace.export.conversion import convert_here
from headrace.export.importer import ImportRequest, import_model
from headrace.export.quiet import quiet_libraries
from headrace.idempotency import Idempotency
from headrace.keyring import Keyring
from headrace.models.store import LocalStore
from headrace.observe.base import Observers
from headrace.observe.counts import VersionCounts
from headrace.observe.metrics import Metrics
from headrace.options import Options
from headrace.readers import Readers
from headrace.settings import LoadedSettings, load_settings
from headrace.tokens import Tokens
from headrace.types import Answer, Caller, Request, Scope, TaskName
from headrace.users import Users, UsersOff

NAME: Final = "mills"
WINDOW: Final = 40
TEXTS: Final = ("the water wheel", "a", "", "wheel water the wheel", "the " * 60)
_INPUTS: Final = ("input_ids", "token_type_ids", "attention_mask")  # as the tokenizers of BERT have them
_CALLER: Final = Caller("tester", frozenset(Scope))


def write_headed(
    folder: Path,
    head: type[transformers.PreTrainedModel],
    labels: Mapping[int, str],
    *,
    tokenizer: tokenizers.Tokenizer | None = None,
    seed: int = 0,
    **config: Any,
) -> Path:
    """Write a random BERT with a head; ``config`` changes its configuration."""
    torch.manual_seed(seed)
    tokenizer = tokenizer or make_tokenizer()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    sizes = tiny_bert(id2label=dict(labels), **config)
    sizes.vocab_size = max(sizes.vocab_size, tokenizer.get_vocab_size())
    with quiet_libraries():
        head(sizes).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {"unk_token": ("[UNK]",), "pad_token": ("[PAD]", "<pad>"), "mask_token": ("[MASK]", "<mask>")}
    named = {role: name for role, names in special.items() for name in names if tokenizer.token_to_id(name) is not None}
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": WINDOW,
                **named,
                "model_input_names": list(_INPUTS),
            }
        )
    )
    return folder


def import_into(home: Path, checkpoint: Path) -> None:
    """Import a checkpoint as a model of the store in a folder."""
    import_source(home, str(checkpoint))


def import_source(home: Path, source: str, sha256: str | None = None) -> None:
    """Import from any source, as ``import_into`` does."""
    import_model(
        ImportRequest(source=source, name=NAME, sha256=sha256), LocalStore(home / "models"), Silent(), convert_here
    )


async def ask(home: Path, texts: tuple[str, ...], task: TaskName, **options: Any) -> Answer:
    """Return what the service answers with the model of a store."""
    (answer,) = await ask_all(home, [texts], task, **options)
    return answer


async def ask_all(home: Path, asked: Sequence[tuple[str, ...]], task: TaskName, **options: Any) -> list[Answer]:
    """Return what it answers to several requests, one after the other."""
    async with open_service(_settings(home), [NAME]) as service:
        return [
            await service.run(
                Request(
                    task=task,
                    inputs=texts,
                    caller=_CALLER,
                    request_id="test",
                    deadline=time.monotonic() + 60,
                    options=Options(**options),
                )
            )
            for texts in asked
        ]


@contextlib.asynccontextmanager
async def rest_client(home: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of the REST application with the model of a store."""
    loaded = _settings(home)
    async with open_service(loaded, [NAME]) as service:
        records, standing = MemoryRecords(), Standing()
        keyring = Keyring(records, KeyGuard(()), tuple, digest_of, standing)
        context = Context(
            service=service,
            keyring=keyring,
            idempotency=Idempotency(records),
            users=Users(records, UsersOff(), keyring.settle_soon),
            tokens=Tokens(None, standing, records, keyring.settle_soon, 600),
            readers=Readers(MemoryEvents(16), Observers([]), 1),
            guard=LoopbackGuard(),
            settings=loaded.settings,
            observer=Observers([]),
            metrics=Metrics(),
            counts=VersionCounts(),
        )
        transport = httpx.ASGITransport(build_app(context))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


def _settings(home: Path) -> LoadedSettings:
    return load_settings({"store.home": str(home), "engine.isolation": "none", "engine.tune": False})
