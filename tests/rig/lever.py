"""A running `lever serve`, and plain calls to it."""

from __future__ import annotations

import urllib.error
import urllib.request

import grpc

from loadtest.rig.server import Server
from service.pb.lever.v1 import personalization_pb2 as pb
from service.pb.lever.v1.personalization_pb2_grpc import PersonalizationServiceStub

LOCAL = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
HERO = """\
experiment: hero
state: active
arms:
  - id: calm
    payload: {title: Calm}
  - id: loud
    payload: {title: Loud}
default_arm: calm
algorithm: {name: beta}
metrics:
  - {id: click, primary: true, unit: 1, min: 0, max: 1, window: 1h, aggregate: first}
"""


class Lever(Server):
    """A server and its first visitor, of the experiment HERO."""

    def said(self) -> str:
        """Its log so far."""
        return self.log.read_text()

    def page(self, path: str, key: str = "") -> tuple[int, str]:
        """Status and text of a page of the operators' port."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.addheaders = [("authorization", f"Bearer {key}")] if key else []
        try:
            with opener.open(f"http://{self.http}{path}", timeout=20) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def select(self, channel: grpc.Channel) -> pb.SelectResponse:
        """One choice for ann."""
        request = pb.SelectRequest(experiment="hero", subject="ann")
        return PersonalizationServiceStub(channel).Select(request, timeout=30, wait_for_ready=True)

    def reward(self, channel: grpc.Channel, decision_id: str) -> int:
        """A click; its outcome."""
        request = pb.RewardRequest(decision_id=decision_id)
        return int(PersonalizationServiceStub(channel).Reward(request, timeout=30, wait_for_ready=True).outcome)
