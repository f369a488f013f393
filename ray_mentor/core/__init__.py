"""The core: plain PyTorch. Never imports Ray."""
