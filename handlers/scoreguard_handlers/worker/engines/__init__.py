"""The engines that run graphs: ONNX Runtime for scores, TorchScript for gradients."""
