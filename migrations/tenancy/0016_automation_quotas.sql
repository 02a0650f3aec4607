-- Limits of rules: those of the tier, unless the account has its own.
alter table accounts
    add column max_automations integer constraint accounts_max_automations check (max_automations >= 0),
    add column max_automation_executions_per_hour integer
        constraint accounts_max_automation_executions_per_hour check (max_automation_executions_per_hour >= 0);

alter table usage drop constraint usage_quota;
alter table usage add constraint usage_quota
    check (quota in ('open_tasks_per_user', 'storage_mebibytes', 'ai_tokens_per_month', 'automations'));
alter table usage_warnings drop constraint usage_warnings_quota;
alter table usage_warnings add constraint usage_warnings_quota
    check (quota in ('users', 'open_tasks_per_user', 'storage_mebibytes', 'ai_tokens_per_month', 'automations'));
