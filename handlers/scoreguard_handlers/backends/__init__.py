"""Where the chain runs: in this process, or in TorchServe's workers."""
