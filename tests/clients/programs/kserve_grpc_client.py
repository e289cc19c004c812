"""Asks with KServe's own client of gRPC."""

import asyncio

import numpy as np
from expected import GRPC, KEY, TEXTS, VECTORS, as_float32
from kserve import InferenceGRPCClient, InferInput, InferRequest

HEADERS = (("authorization", f"Bearer {KEY}"),)


async def main() -> None:
    client = InferenceGRPCClient(GRPC, retries=0)
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("tiny", headers=HEADERS)
    for is_binary in (False, True):
        given = InferInput("text", [len(TEXTS)], "BYTES")
        given.set_data_from_numpy(np.array(TEXTS, dtype=object), binary_data=is_binary)
        request = InferRequest(model_name="tiny", infer_inputs=[given], request_id="mine")
        answer = await client.infer(request, headers=HEADERS)
        (output,) = answer.outputs
        assert as_float32(output.as_numpy().tolist()) == VECTORS
        assert answer.id == "mine"
    await client.close()


asyncio.run(main())
