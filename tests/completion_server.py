"""A small OpenAI-compatible completion server in a process of its own, as vLLM is one: tests sample
from it through real HTTP.

`python completion_server.py CHECKPOINT PORT [--name NAME] [--processed] [--key KEY] [--no-loading]`
serves a checkpoint with transformers, and PEFT adapters that are loaded while it runs. It knows
nothing of prefloop's own code. `POST /fault {"kind": ..., "times": n}` makes it misbehave from then
on; `GET /seen` tells what it was asked.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from completion_model import Model


class State:
    """What the server is told to do wrong, and what it saw."""

    def __init__(self, key: str, loading: bool) -> None:
        self.key = key
        self.loading = loading
        self.kind = ""
        self.times = self.after = 0
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.now = self.most = 0
        self.lock = threading.Lock()

    def takes(self, *kinds: str) -> bool:
        """Whether the fault is one of these and due now."""
        with self.lock:
            if self.kind not in kinds or self.times <= 0:
                return False
            if self.after > 0:
                self.after -= 1
                return False
            self.times -= 1
            return True


class Handler(BaseHTTPRequestHandler):
    """Routes of vLLM's server that prefloop uses."""

    model: Model
    state: State
    working = 0
    """1 while a completion is being made here."""

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.state.paths.append(self.path)
        if self.path == "/seen":
            state = self.state
            self._send(200, {"asked": state.asked, "paths": state.paths, "most": state.most,
                             "headers": state.headers, "loaded": self.model.adapters})
        elif self.path == "/v1/models" and self._may():
            names = [self.model.name, *self.model.adapters]
            self._send(200, {"object": "list", "data": [{"id": n, "object": "model"}
                                                        for n in names]})
        elif self.path != "/v1/models":
            self._send(404, {"detail": "Not Found"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/fault":
            self.state.kind, self.state.times = body["kind"], body["times"]
            self.state.after = body["after"]
            self.state.asked.clear()
            self.state.paths.clear()
            self.state.headers.clear()
            self.state.most = 0
            self._send(200, {})
            return
        self.state.paths.append(self.path)
        if not self._may():
            return
        if self.path == "/v1/completions":
            self._completion(body)
        elif self.path == "/v1/load_lora_adapter" and self.state.loading:
            self._load(body)
        elif self.path == "/v1/unload_lora_adapter" and self.state.loading:
            self.model.adapters.pop(body["lora_name"], None)
            self._text(200, "Success")
        else:
            self._send(404, {"detail": "Not Found"})

    def _may(self) -> bool:
        if self.state.takes("redirect"):
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:9/v1/elsewhere")
            self.end_headers()
            return False
        given = self.headers.get("Authorization", "")
        if self.state.key and given != f"Bearer {self.state.key}":
            self._error(401, f"wrong key {given}")
            return False
        return True

    def _load(self, body: dict[str, Any]) -> None:
        name, path = body["lora_name"], body["lora_path"]
        if name in self.model.adapters:
            self._error(400, f"The lora adapter '{name}' has already been loaded. If you want to "
                             "load the adapter in place, set 'load_inplace' to True.")
        elif not Path(path, "adapter_config.json").is_file():
            self._error(404, f"Loading lora {name} failed: No adapter found for {path}")
        else:
            self.model.load(name, path)
            self._text(200, f"Success: LoRA adapter '{name}' added successfully.")

    def _completion(self, body: dict[str, Any]) -> None:
        state = self.state
        with state.lock:
            state.asked.append(body)
            state.headers.append(dict(self.headers))
            state.now += 1
            self.working = 1
            state.most = max(state.most, state.now)
        try:
            self._answer(body)
        finally:
            self._worked()

    def _worked(self) -> None:
        """Before the answer is sent: whoever has it may ask again at once."""
        with self.state.lock:
            self.state.now -= self.working
            self.working = 0

    def _answer(self, body: dict[str, Any]) -> None:
        state, name = self.state, body["model"]
        if state.takes("500"):
            self._error(500, "the engine is dead")
        elif state.takes("429"):
            self._error(429, "too many requests", ("Retry-After", "0"))
        elif state.takes("hang"):
            time.sleep(60)
        elif state.takes("drop"):
            self.connection.shutdown(socket.SHUT_RDWR)
        elif state.takes("die"):
            os._exit(1)
        elif state.takes("malformed"):
            self._text(200, '{"choices": [')
        elif state.takes("key"):
            self._error(400, f"bad request with {self.headers.get('Authorization')}")
        elif name not in (self.model.name, *self.model.adapters):
            self._error(404, f"The model `{name}` does not exist.")
        elif len(body["prompt"]) + body["max_tokens"] > self.model.context:
            self._error(400, f"This model's maximum context length is {self.model.context} tokens.")
        else:
            adapter = None if name == self.model.name or state.takes("bare") else name
            if state.takes("cool"):
                body = {**body, "temperature": 0.05}
            self._send(200, self._spoiled({
                "object": "text_completion", "model": name,
                "choices": [self.model.complete(adapter, body)]}))

    def _spoiled(self, answer: dict[str, Any]) -> dict[str, Any]:
        choice = answer["choices"][0]
        if self.state.takes("no-ids"):
            del choice["token_ids"]
            choice["logprobs"]["tokens"] = ["word"] * len(choice["logprobs"]["tokens"])
        elif self.state.takes("named-ids"):
            del choice["token_ids"]
        elif self.state.takes("no-logprobs"):
            choice["logprobs"] = None
        elif self.state.takes("wrong-model"):
            answer["model"] = "another"
        elif self.state.takes("prompt"):
            choice["prompt_token_ids"] = choice["prompt_token_ids"][1:]
        elif self.state.takes("two"):
            answer["choices"] *= 2
        elif self.state.takes("strange-ids"):
            choice["token_ids"][-1] = 10 ** 6
        elif self.state.takes("cut"):
            choice["token_ids"] = choice["token_ids"][:1]
            choice["logprobs"]["token_logprobs"] = choice["logprobs"]["token_logprobs"][:1]
        return answer

    def _error(self, status: int, message: str, *headers: tuple[str, str]) -> None:
        self._send(status, {"error": {"message": message, "type": "x", "code": status}}, *headers)

    def _send(self, status: int, document: Any, *headers: tuple[str, str]) -> None:
        self._text(status, json.dumps(document), *headers)

    def _text(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        data = text.encode()
        self._worked()
        self.send_response(status)
        for header in headers:
            self.send_header(*header)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Quiet(ThreadingHTTPServer):
    """Says nothing of clients that hang up."""

    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """Quiet."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("port", type=int)
    parser.add_argument("--name", default="")
    parser.add_argument("--processed", action="store_true")
    parser.add_argument("--key", default="")
    parser.add_argument("--no-loading", action="store_true")
    given = parser.parse_args()
    Handler.model = Model(given.checkpoint, given.name or given.checkpoint, given.processed)
    Handler.state = State(given.key, not given.no_loading)
    server = Quiet(("127.0.0.1", given.port), Handler)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
