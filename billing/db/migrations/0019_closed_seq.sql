-- The last late row of the customer when a period closed, under the lock that every late row shares: what the period began
-- with is as of that row. An instant cannot say it, since a batch may wait for the close longer than its own clock tells.
alter table subscription_period add column closed_seq int8;
update subscription_period as period set closed_seq = coalesce((
  select max(seq) from late_event
  where late_event.customer_id = period.customer_id and late_event.received_at <= period.closed_at), 0)
where closed_at is not null;
alter table subscription_period add check ((closed_at is null) = (closed_seq is null));
