"""From a PyTorch checkpoint to a gated ONNX model folder. Needs the extra ``export``; serving never imports it."""
