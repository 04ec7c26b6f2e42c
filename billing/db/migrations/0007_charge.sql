-- Charges of every kind: fixed amounts have no meter, and a charge has a discount, a cap and a minimum.

alter table price
  alter column meter drop not null,
  alter column unit drop not null,
  add column discount_percent numeric not null default 0 check (discount_percent between 0 and 100),
  add column cap numeric check (cap >= 0),
  add column minimum numeric check (minimum >= 0),
  add constraint price_flat check ((terms ->> 'kind' = 'flat') = (meter is null) and (meter is null) = (unit is null));

-- From an instant on another price for the usage of a charge. Added and never changed: what was used before keeps its price.
create table price_change (
  price_id text not null references price (id),
  effective_at timestamptz not null,
  terms jsonb not null,
  created_at timestamptz not null,
  primary key (price_id, effective_at)
);

-- The order in which late rows came, so that an adjustment can say up to where it counts them.
alter table late_event add column seq int8 generated always as identity;
create index late_event_of_customer on late_event (customer_id, subscription_id, period_index, seq);
comment on index late_event_of_customer is 'listAdjustable, when a period of the customer closes';

-- An adjustment bills what a period that was closed before comes to by now, less what was billed for it. `adjusts` says
-- which period, up to which late row, and what had been billed. A fixed amount of a plan names its price as usage does.
alter table invoice_line
  drop constraint invoice_line_check,
  drop constraint invoice_line_kind_check,
  add constraint invoice_line_kind_check check (kind in ('fee', 'usage', 'adjustment')),
  add column adjusts_subscription text,
  add column adjusts_period integer,
  add column late_seq int8,
  add column billed_quantity_num numeric,
  add column billed_quantity_den numeric check (billed_quantity_den > 0),
  add column billed_num numeric,
  add column billed_den numeric check (billed_den > 0),
  add column billed_nanos numeric,
  add constraint invoice_line_usage check (kind = 'fee' or price_id is not null),
  add constraint invoice_line_adjusts check (
    (kind = 'adjustment') = (adjusts_subscription is not null)
    and num_nonnulls(adjusts_subscription, adjusts_period, late_seq, billed_quantity_num, billed_quantity_den, billed_num,
                     billed_den, billed_nanos) in (0, 8)),
  add foreign key (adjusts_subscription, adjusts_period)
    references subscription_period (subscription_id, period_index);
create index invoice_line_adjusts on invoice_line (adjusts_subscription, adjusts_period);
comment on index invoice_line_adjusts is 'sumBilled: what was billed for a period';
