"""What the completion server computes with: a checkpoint by transformers, its adapters by PEFT."""

from __future__ import annotations

import threading
from typing import Any


class Model:
    """A checkpoint with adapters; one response at a time."""

    def __init__(self, checkpoint: str, name: str, processed: bool) -> None:
        import torch
        from peft import PeftModel  # before it is ready: it takes as long as some requests may
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(1)
        self.torch, self.with_adapter = torch, PeftModel.from_pretrained
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint)
        self.base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
        self.base.eval()
        self.peft: Any = None
        self.name = name
        self.adapters: dict[str, str] = {}
        self.processed = processed
        self.lock = threading.Lock()

    @property
    def context(self) -> int:
        return int(self.base.config.max_position_embeddings)

    def load(self, name: str, path: str) -> None:
        with self.lock:
            if self.peft is None:
                self.peft = self.with_adapter(self.base, path, adapter_name=name)
            else:
                self.peft.load_adapter(path, adapter_name=name)
            self.peft.eval()
            self.adapters[name] = path

    def complete(self, adapter: str | None, body: dict[str, Any]) -> dict[str, Any]:
        torch = self.torch
        random = torch.Generator().manual_seed(body["seed"])
        ids, logprobs, reason = [], [], "length"
        ends = {self.tokenizer.eos_token_id, *body.get("stop_token_ids", [])}
        with self.lock, torch.no_grad():
            for _ in range(body["max_tokens"]):
                text = torch.tensor([[*body["prompt"], *ids]])
                raw = self._scores(adapter, text).log_softmax(-1)
                drawn = (raw / body["temperature"]).log_softmax(-1)
                token = int(torch.multinomial(drawn.exp(), 1, generator=random))
                ids.append(token)
                logprobs.append(float((drawn if self.processed else raw)[token]))
                said = self.tokenizer.decode(ids, skip_special_tokens=True)
                if token in ends or any(stop in said for stop in body.get("stop", [])):
                    reason = "stop"
                    break
        for stop in body.get("stop", []):
            said = said.split(stop)[0]
        return {"index": 0, "text": said, "finish_reason": reason, "token_ids": ids,
                "prompt_token_ids": body["prompt"],
                "logprobs": {"token_logprobs": logprobs,
                             "tokens": [f"token_id:{i}" for i in ids]}}

    def _scores(self, adapter: str | None, text: Any) -> Any:
        if self.peft is None:
            return self.base(text).logits[0, -1]
        if adapter is None:
            with self.peft.disable_adapter():
                return self.peft(text).logits[0, -1]
        self.peft.set_adapter(adapter)
        return self.peft(text).logits[0, -1]
