-- People of a shipper, a carrier or a consignee: they see the shipments of that party, nothing else.
-- They hold role viewer, so that none of them counts among those who administer the tenant.
ALTER TABLE user_account ADD COLUMN party text CHECK (party IS NULL OR role = 'viewer');
