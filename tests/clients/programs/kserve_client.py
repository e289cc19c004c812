"""Asks with KServe's own client of REST."""

import asyncio

import numpy as np
from expected import KEY, TEXTS, URL, VECTORS, as_float32
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

HEADERS = {"authorization": f"Bearer {KEY}"}


async def main() -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(URL)
    assert await client.is_server_ready(URL)
    assert await client.is_model_ready(URL, "tiny", headers=HEADERS)
    assert not await client.is_model_ready(URL, "nothing", headers=HEADERS)
    for is_binary in (False, True):
        given = InferInput("text", [len(TEXTS)], "BYTES")
        given.set_data_from_numpy(np.array(TEXTS, dtype=object), binary_data=is_binary)
        request = InferRequest(model_name="tiny", infer_inputs=[given], request_id="mine")
        answer = await client.infer(URL, request, model_name="tiny", headers=HEADERS)
        (output,) = answer.outputs
        assert as_float32(output.as_numpy().tolist()) == VECTORS
        assert answer.id == "mine"


asyncio.run(main())
