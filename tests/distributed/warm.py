"""Imported by the server of these tests' processes: what they would each import when it is first used."""

import torch._dynamo  # noqa: F401  (by the first optimiser)
from recbole.utils import get_model

import recbole_mgr.unimp.trainer  # noqa: F401

for model in ("SASRec", "BPR", "MGRLFpp"):
    get_model(model)
