"""A pickup service: asks for pickups, hears of them by webhook, plans a failed one anew."""
