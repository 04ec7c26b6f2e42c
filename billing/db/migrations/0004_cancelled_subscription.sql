-- A subscription that is ended before it began ends where it begins: it has no period, and nothing is billed.
alter table subscription drop constraint subscription_check;
alter table subscription add constraint subscription_not_negative check (end_at >= start_at);

-- Amounts of any size: a number that does not fit would keep its period from ever being closed.
alter table plan_version alter column fee_nanos type numeric;
alter table invoice alter column total_nanos type numeric;
alter table invoice_line alter column amount_nanos type numeric;
