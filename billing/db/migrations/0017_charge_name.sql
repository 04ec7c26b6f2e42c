-- What a charge is called on invoices; the meter's name tells it where there is none.
alter table price add column name text;
