"""How well frauds are found: labelled histories, and the protocol that a model is judged by."""
