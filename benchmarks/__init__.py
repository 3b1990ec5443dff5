"""The instrument: our command and the usual way of its peers, as whole processes, side by side."""
