"""Run time, server side: the chain, its TorchServe entry, and the gRPC gateway."""
