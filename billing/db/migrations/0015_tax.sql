-- One rate of tax on what the lines of a document come to, by the policies of the subscription.
alter table invoice add column tax_nanos numeric not null default 0;
comment on column invoice.total_nanos is 'The sum of the printed lines and of tax_nanos';
update subscription set policies = policies || '{"tax_percent": "0"}';
update subscription_period set policies = policies || '{"tax_percent": "0"}';
