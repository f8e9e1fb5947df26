from .card import card_of
from .quality import Quality

__all__ = ["Quality", "card_of"]
