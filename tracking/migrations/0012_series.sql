-- Trips by the time they began, of all devices and of one; they are few among the events.
CREATE INDEX event_trip ON event (tenant_id, time, subject) WHERE type = 'trip.started';
CREATE INDEX event_trip_device ON event (tenant_id, subject, time) WHERE type = 'trip.started';
