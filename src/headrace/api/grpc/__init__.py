"""The gRPC door: our own API, the Open Inference Protocol and that of text-embeddings-inference, on one port."""
