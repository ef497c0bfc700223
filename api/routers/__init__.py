"""The endpoints, a router per noun. Each turns a request into one query and its rows into JSON."""
