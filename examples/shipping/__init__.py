"""A dispatch desk: shipments, their stops and troubles. An event is a hint to read anew."""
