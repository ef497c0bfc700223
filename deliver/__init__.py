"""The delivery process: events sent to webhooks and channels, in order, at least once."""
