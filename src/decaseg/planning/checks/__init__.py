"""What would spoil a training, one rule a file; `rules.py` names them. Each looks at a `Survey` and yields problems."""
