"""The front door: the command line, the embedded servers and the demo."""
