"""The gRPC door: our own API, the Open Inference Protocol and that of text-embeddings-inference, on one port."""

from headrace.settings import instruct_libraries

instruct_libraries()
