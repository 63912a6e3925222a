"""What runs a graph: ONNX Runtime for scores, TorchScript for gradients."""
