"""Self-contained HTML pages of text, tables and figures; they need the extra ``report``."""
