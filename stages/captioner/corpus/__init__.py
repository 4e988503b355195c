"""Captions archives of pictures with Ray Data, on this machine or on a cluster: the package's extra [corpus]."""
