"""The api's pure parts."""
