-- What comes late into no closed period (before the first subscription, between two, into one whose invoice is a draft) can
-- change the level with which closed periods after it began: it is late for these, and names no period of its own.
alter table late_event
  alter column subscription_id drop not null,
  alter column period_index drop not null,
  add check ((subscription_id is null) = (period_index is null));
create index late_event_in_order on late_event (customer_id, seq);
comment on index late_event_in_order is 'listAdjustable: what came since a period was closed or adjusted';

-- Up to which late row what came late for a closed period stands on an invoice that is final.
alter table subscription_period add column adjusted_seq int8 not null default 0;
