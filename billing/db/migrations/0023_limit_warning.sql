-- Thresholds that limits have reached are few among the events.
create index event_limit_warning on event (time, id) where type = 'weir.limit_warning.v1';
