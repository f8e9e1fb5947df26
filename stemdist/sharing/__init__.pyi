from .card import card_of
from .hub import Published, PublishError, files_for, publish
from .quality import Quality

__all__ = ["PublishError", "Published", "Quality", "card_of", "files_for", "publish"]
