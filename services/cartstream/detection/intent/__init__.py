"""How likely a shopper is to leave without buying: an additive model whose every score is explained, and how one is trained."""

from cartstream.detection.intent.model import Explained, IntentModel, load_model

__all__ = ["Explained", "IntentModel", "load_model"]
