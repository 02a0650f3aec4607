//! Rule RPCs.

use baton_access::{Principal, principal};
use baton_errors::{Error, Reason, Result};
use baton_proto::baton::automation::v1::{
    AdoptAutomationRequest, AdoptAutomationResponse, Automation, AutomationFilter, AutomationWarning,
    BacktestAutomationRequest, BacktestAutomationResponse, CreateAutomationRequest, CreateAutomationResponse,
    CreateRecurringReminderRequest, CreateRecurringReminderResponse, DeleteAutomationRequest, DeleteAutomationResponse,
    GetAutomationRequest, GetAutomationResponse, GetCatalogueRequest, GetCatalogueResponse, ListAutomationsRequest,
    ListAutomationsResponse, ReminderFrequency, TestAutomationRequest, TestAutomationResponse, ToggleAutomationRequest,
    ToggleAutomationResponse, UpdateAutomationRequest, UpdateAutomationResponse,
    automation_service_server::AutomationService,
};
use baton_rules::{
    Action,
    warnings::{self, Node},
};
use baton_store::{Idempotency, Page, Preconditions, Tx};
use chrono_tz::Tz;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{AUDIENCE, Rpc, actor, backtest, catalogue, preview, require_task_rights, rule_id};
use crate::{
    application::{deletion, pausing, timers},
    clients::memberships::may_call_urls,
    convert::{event, rule as convert},
    events::publish,
    reminder::{self, Frequency},
    rule::{MAX_RULES_PER_ACCOUNT, MAX_RULES_PER_PERSON, PausedReason, Rule, Terms},
    state_timer::is_open,
    store, webhook,
};

/// What a rule may do for its creator. Each call is checked against the creator's current rights besides.
const SCOPES: [&str; 1] = ["tasks:write"];

#[tonic::async_trait]
impl AutomationService for Rpc {
    async fn create_automation(
        &self,
        request: Request<CreateAutomationRequest>,
    ) -> Result<Response<CreateAutomationResponse>, Status> {
        let call = Idempotency::of("CreateAutomation", request.metadata(), request.get_ref())?;
        let principal = principal(&request)?.clone();
        let new = request.into_inner();
        let (terms, _) =
            convert::terms(&new, timezone_of_account(&principal), "")?.canonical(Some(self.db.clock().now()), "")?;
        let enabled = new.enabled.unwrap_or(true);
        let mut rule = self.new_rule(&principal, (new.name, new.description), terms, enabled);
        self.seal(&principal, &mut rule, &[], "")?;
        let automation = self.create(&principal, &call, rule).await?;
        Ok(Response::new(CreateAutomationResponse { automation: Some(automation) }))
    }

    async fn create_recurring_reminder(
        &self,
        request: Request<CreateRecurringReminderRequest>,
    ) -> Result<Response<CreateRecurringReminderResponse>, Status> {
        let call = Idempotency::of("CreateRecurringReminder", request.metadata(), request.get_ref())?;
        let principal = principal(&request)?.clone();
        let new = request.into_inner();
        let task_id: Uuid = new.task_id.parse().map_err(|_| Error::from(Reason::TaskNotFound))?;
        let contact = self.auth.contact(&self.tokens, principal.user_id()).await?;
        let timezone = contact.map(|contact| contact.timezone).filter(|zone| zone.parse::<Tz>().is_ok());
        let timezone = timezone.unwrap_or_else(|| timezone_of_account(&principal).to_owned());
        let now = self.db.clock().now();
        let frequency = match new.frequency() {
            ReminderFrequency::Hourly => Frequency::Hourly { around_the_clock: new.around_the_clock },
            ReminderFrequency::Unspecified | ReminderFrequency::Daily => Frequency::Daily,
            ReminderFrequency::Weekly => Frequency::Weekly,
        };
        let (terms, _) = reminder::terms(frequency, new.message, task_id, timezone).canonical(Some(now), "")?;
        let rule = self.new_rule(&principal, (reminder::NAME.to_owned(), String::new()), terms, true);
        let automation = match self.replayed(&principal, &call).await? {
            Some(automation) => automation,
            None => {
                self.require_open_task(&principal, task_id).await?;
                self.create(&principal, &call, rule).await?
            }
        };
        Ok(Response::new(CreateRecurringReminderResponse { automation: Some(automation) }))
    }

    async fn list_automations(
        &self,
        request: Request<ListAutomationsRequest>,
    ) -> Result<Response<ListAutomationsResponse>, Status> {
        let principal = principal(&request)?;
        let actor = actor(principal);
        let ListAutomationsRequest { filter, page } = request.get_ref();
        let AutomationFilter { created_by, enabled } = filter.clone().unwrap_or_default();
        let wanted: Option<Uuid> = created_by.as_deref().and_then(|id| id.parse().ok());
        let list = (wanted, enabled);
        let page = Page::of(page.as_ref(), &list)?;
        // Others' rules do not exist for whoever does not manage them.
        let created_by = if actor.manages { wanted } else { Some(actor.user_id) };
        let mut tx = self.db.begin_list(principal.tenant()).await?;
        let (mut rules, total) = if !actor.manages && wanted.is_some_and(|wanted| wanted != actor.user_id) {
            (Vec::new(), 0)
        } else {
            store::rule::list(&mut tx, created_by, enabled, &page).await?
        };
        drop(tx);
        let meta = page.meta(&mut rules, total, &list, |rule| (None, rule.id));
        let automations = rules.into_iter().map(convert::automation).collect::<Result<_>>()?;
        Ok(Response::new(ListAutomationsResponse { automations, meta: Some(meta) }))
    }

    async fn get_automation(
        &self,
        request: Request<GetAutomationRequest>,
    ) -> Result<Response<GetAutomationResponse>, Status> {
        let principal = principal(&request)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let rule = store::rule::get(&mut tx, rule_id(&request.get_ref().id)?).await?;
        drop(tx);
        let rule = actor(principal).sees(rule)?;
        Ok(Response::new(GetAutomationResponse { automation: Some(convert::automation(rule)?) }))
    }

    async fn update_automation(
        &self,
        request: Request<UpdateAutomationRequest>,
    ) -> Result<Response<UpdateAutomationResponse>, Status> {
        let expected = Preconditions::of(request.metadata())?;
        let principal = principal(&request)?.clone();
        let actor = actor(&principal);
        let UpdateAutomationRequest { id, automation, update_mask } = request.into_inner();
        let mask = update_mask.unwrap_or_default().paths;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let before = actor.sees(store::rule::lock(&mut tx, rule_id(&id)?).await?)?;
        actor.owns(&before)?;
        expected.check(before.version)?;
        let mut after = before.clone();
        let now = self.db.clock().now();
        convert::change(&mut after, &mask, automation.unwrap_or_default(), (timezone_of_account(&principal), now))?;
        if after.terms != before.terms {
            require_task_rights(&principal)?;
            self.seal(&principal, &mut after, &before.terms.actions, "automation.")?;
        }
        if after != before {
            if after.terms != before.terms {
                after.terms_version += 1;
            }
            (after.version, after.updated_at) = (before.version + 1, self.db.clock().now());
            store::rule::save(&mut tx, &after).await?;
            // The time zone belongs to a schedule.
            let trigger = |rule: &Rule| {
                let definition = rule.terms.definition("")?;
                Ok::<_, Error>((
                    definition.trigger.schedule.is_some().then_some(definition.timezone),
                    definition.trigger,
                ))
            };
            if trigger(&after)? != trigger(&before)? {
                store::timer::clear(&mut tx, after.id).await?;
                timers::begin(&mut tx, &after).await?;
            }
            tx.publish(publish::updated(&after)).await?;
        }
        let warnings = warnings_about(&mut tx, &after).await?;
        tx.commit().await?;
        let automation = Automation { warnings, ..convert::automation(after)? };
        Ok(Response::new(UpdateAutomationResponse { automation: Some(automation) }))
    }

    async fn delete_automation(
        &self,
        request: Request<DeleteAutomationRequest>,
    ) -> Result<Response<DeleteAutomationResponse>, Status> {
        let expected = Preconditions::of(request.metadata())?;
        let principal = principal(&request)?;
        let id = rule_id(&request.get_ref().id)?;
        let mut tx = self.db.begin(principal.tenant()).await?;
        let rule = actor(principal).sees(store::rule::lock(&mut tx, id).await?)?;
        expected.check(rule.version)?;
        deletion::delete(&mut tx, rule).await?;
        tx.commit().await?;
        self.wait_for_actions(principal.account_id(), id).await?;
        Ok(Response::new(DeleteAutomationResponse {}))
    }

    async fn toggle_automation(
        &self,
        request: Request<ToggleAutomationRequest>,
    ) -> Result<Response<ToggleAutomationResponse>, Status> {
        let call = Idempotency::of("ToggleAutomation", request.metadata(), request.get_ref())?;
        let expected = Preconditions::of(request.metadata())?;
        let principal = principal(&request)?.clone();
        let ToggleAutomationRequest { id, enabled } = request.into_inner();
        let id = rule_id(&id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        if let Some(response) = tx.recall::<ToggleAutomationResponse>(&call).await? {
            drop(tx);
            if response.automation.as_ref().is_some_and(|rule| !rule.enabled) {
                self.wait_for_actions(principal.account_id(), id).await?;
            }
            return Ok(Response::new(response));
        }
        let seen = actor(&principal).sees(store::rule::get(&mut tx, id).await?)?;
        drop(tx);
        expected.check(seen.version)?;
        let enable = enabled.unwrap_or(!seen.enabled);
        if enable {
            actor(&principal).owns(&seen)?;
            require_task_rights(&principal)?;
        }
        // No transaction waits for another service.
        let granted = match seen.delegation_id {
            None if enable => Some(self.grant(&principal, self.db.clock().new_id(), &seen.name).await?),
            _ => None,
        };
        let set = self.set_enabled(&principal, (id, enable), granted, (&call, &expected)).await;
        let used = set.as_ref().is_ok_and(|(_, delegation_id)| *delegation_id == granted);
        if let Some(unused) = granted.filter(|_| !used) {
            self.release(unused).await;
        }
        let (response, _) = set?;
        if !enable {
            self.wait_for_actions(principal.account_id(), id).await?;
        }
        Ok(Response::new(response))
    }

    async fn adopt_automation(
        &self,
        request: Request<AdoptAutomationRequest>,
    ) -> Result<Response<AdoptAutomationResponse>, Status> {
        let call = Idempotency::of("AdoptAutomation", request.metadata(), request.get_ref())?;
        let expected = Preconditions::of(request.metadata())?;
        let principal = principal(&request)?.clone();
        let id = rule_id(&request.get_ref().id)?;
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        if let Some(response) = tx.recall(&call).await? {
            return Ok(Response::new(response));
        }
        let seen = actor(&principal).sees(store::rule::get(&mut tx, id).await?)?;
        drop(tx);
        expected.check(seen.version)?;
        // No transaction waits for another service.
        let granted = self.grant(&principal, self.db.clock().new_id(), &seen.name).await?;
        let adopted = self.adopt(&principal, id, granted, (&call, &expected)).await;
        if !adopted.as_ref().is_ok_and(|(_, used)| *used) {
            self.release(granted).await;
        }
        Ok(Response::new(adopted?.0))
    }

    async fn test_automation(
        &self,
        request: Request<TestAutomationRequest>,
    ) -> Result<Response<TestAutomationResponse>, Status> {
        Ok(Response::new(preview::run(self, principal(&request)?, request.get_ref()).await?))
    }

    async fn backtest_automation(
        &self,
        request: Request<BacktestAutomationRequest>,
    ) -> Result<Response<BacktestAutomationResponse>, Status> {
        let principal = principal(&request)?;
        Ok(Response::new(backtest::run(self, principal, request.get_ref()).await?))
    }

    async fn get_catalogue(
        &self,
        request: Request<GetCatalogueRequest>,
    ) -> Result<Response<GetCatalogueResponse>, Status> {
        principal(&request)?;
        Ok(Response::new(catalogue::get()))
    }
}

impl Rpc {
    /// A new rule of the caller's, without a grant.
    fn new_rule(
        &self,
        principal: &Principal,
        (name, description): (String, String),
        terms: Terms,
        enabled: bool,
    ) -> Rule {
        let now = self.db.clock().now();
        Rule {
            id: self.db.clock().new_id(),
            account_id: principal.account_id(),
            created_by: principal.user_id(),
            name,
            description,
            terms,
            enabled,
            enabled_at: now,
            paused_reason: None,
            delegation_id: None,
            execution_count: 0,
            last_executed_at: None,
            version: 1,
            terms_version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// Checks and seals what a rule's webhooks need. `before` are the actions that it had.
    fn seal(&self, principal: &Principal, rule: &mut Rule, before: &[Action], path: &str) -> Result<()> {
        if !webhook::calls_any(&rule.terms.actions) {
            return Ok(());
        }
        if !may_call_urls(principal.role()) {
            return Err(Reason::WebhookNotAllowed.into());
        }
        webhook::check_urls(&rule.terms.actions, &self.allowed_networks, path)?;
        webhook::seal(&self.sealer, rule.id, &mut rule.terms.actions, before, path)
    }

    /// The rule to try: one that is not saved, or one that the caller sees; and what precedes the names of its fields in errors.
    pub(super) async fn rule_of(
        &self,
        principal: &Principal,
        rule: (Option<&CreateAutomationRequest>, Option<&str>),
    ) -> Result<(Rule, &'static str)> {
        const PATH: &str = "automation.";
        match rule {
            (Some(new), None) => {
                let terms = convert::terms(new, timezone_of_account(principal), PATH)?;
                Ok((self.new_rule(principal, (new.name.clone(), String::new()), terms, true), PATH))
            }
            (None, Some(id)) => {
                let mut tx = self.db.begin_read(principal.tenant()).await?;
                Ok((actor(principal).sees(store::rule::get(&mut tx, rule_id(id)?).await?)?, ""))
            }
            _ => Err(Error::invalid("automation", "must be given, or `automation_id`")),
        }
    }

    /// What a call that was made before returned.
    async fn replayed(&self, principal: &Principal, call: &Idempotency) -> Result<Option<Automation>> {
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let response: Option<CreateAutomationResponse> = tx.recall(call).await?;
        Ok(response.and_then(|response| response.automation))
    }

    /// Gets a grant for a new rule, and saves it.
    async fn create(&self, principal: &Principal, call: &Idempotency, mut rule: Rule) -> Result<Automation> {
        if let Some(automation) = self.replayed(principal, call).await? {
            return Ok(automation);
        }
        let mut tx = self.db.begin_read(principal.tenant()).await?;
        let used = store::rule::count_of(&mut tx, principal.user_id()).await?;
        drop(tx);
        if used >= MAX_RULES_PER_PERSON {
            return Err(Reason::AutomationLimit.into());
        }
        let delegation_id = self.grant(principal, rule.id, &rule.name).await?;
        rule.delegation_id = Some(delegation_id);
        let saved = self.save_new(principal, call, rule).await;
        if !matches!(saved, Ok((_, true))) {
            self.release(delegation_id).await;
        }
        saved?.0.automation.ok_or_else(|| Error::internal("a response without its rule"))
    }

    /// Requires a task that the caller sees, and that is not closed.
    async fn require_open_task(&self, principal: &Principal, task_id: Uuid) -> Result<()> {
        let account_id = principal.account_id();
        let credentials = self.delegations.credentials_of_caller(&principal.caller, account_id, AUDIENCE).await?;
        let task = self.tasks.task(&credentials, task_id).await?.ok_or_else(|| Error::from(Reason::TaskNotFound))?;
        let status = event::status(task.status()).unwrap_or_default();
        if is_open(status) { Ok(()) } else { Err(Error::from(Reason::TaskWrongState).with("from", status)) }
    }

    /// Asks auth for a grant of the caller. `key` makes the call safe to repeat.
    async fn grant(&self, principal: &Principal, key: Uuid, name: &str) -> Result<Uuid> {
        self.delegations.create(&principal.caller, principal.account_id(), &SCOPES, name, key).await
    }

    /// Ends a grant that nothing needs any more, or tries to.
    async fn release(&self, delegation_id: Uuid) {
        if let Err(error) = self.delegations.release(&[delegation_id]).await {
            tracing::warn!(%error, delegation.id = %delegation_id, "cannot release a grant");
        }
    }

    /// Enables or disables a rule. One without a grant gets `granted`. Returns the response, and the grant of the rule.
    async fn set_enabled(
        &self,
        principal: &Principal,
        (id, enable): (Uuid, bool),
        granted: Option<Uuid>,
        (call, expected): (&Idempotency, &Preconditions),
    ) -> Result<(ToggleAutomationResponse, Option<Uuid>)> {
        let actor = actor(principal);
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(call).await? {
            return Ok((response, None));
        }
        let mut rule = actor.sees(store::rule::lock(&mut tx, id).await?)?;
        expected.check(rule.version)?;
        if enable && !rule.enabled {
            actor.owns(&rule)?;
            rule.delegation_id = Some(rule.delegation_id.or(granted).ok_or_else(|| Error::from(Reason::Unavailable))?);
            let now = self.db.clock().now();
            (rule.enabled, rule.enabled_at, rule.paused_reason) = (true, now, None);
            (rule.version, rule.updated_at) = (rule.version + 1, now);
            store::rule::save(&mut tx, &rule).await?;
            timers::begin(&mut tx, &rule).await?;
            tx.publish(publish::enabled(&rule)).await?;
        } else if !enable && rule.enabled {
            rule.enabled = false;
            (rule.version, rule.updated_at) = (rule.version + 1, self.db.clock().now());
            store::rule::save(&mut tx, &rule).await?;
            pausing::cancel_executions(&mut tx, &rule).await?;
            tx.publish(publish::disabled(&rule)).await?;
        }
        let delegation_id = rule.delegation_id;
        let response = ToggleAutomationResponse { automation: Some(convert::automation(rule)?) };
        tx.remember(call, &response).await?;
        tx.commit().await?;
        Ok((response, delegation_id))
    }

    /// Lets a rule act for the caller by the grant. Returns the response, and whether the rule needs the grant: one of the
    /// caller's own that has one keeps it.
    async fn adopt(
        &self,
        principal: &Principal,
        id: Uuid,
        granted: Uuid,
        (call, expected): (&Idempotency, &Preconditions),
    ) -> Result<(AdoptAutomationResponse, bool)> {
        let user_id = principal.user_id();
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(call).await? {
            return Ok((response, false));
        }
        let mut rule = actor(principal).sees(store::rule::lock(&mut tx, id).await?)?;
        expected.check(rule.version)?;
        let adopts = rule.created_by != user_id || rule.delegation_id.is_none();
        if adopts {
            if rule.created_by != user_id && store::rule::lock_count_of(&mut tx, user_id).await? >= MAX_RULES_PER_PERSON
            {
                return Err(Reason::AutomationLimit.into());
            }
            pausing::cancel_executions(&mut tx, &rule).await?;
            pausing::release(&mut tx, rule.delegation_id.into_iter().collect()).await?;
            let now = self.db.clock().now();
            (rule.created_by, rule.delegation_id) = (user_id, Some(granted));
            if rule.paused_reason == Some(PausedReason::CreatorLeft) {
                (rule.enabled, rule.enabled_at, rule.paused_reason) = (true, now, None);
            }
            (rule.version, rule.terms_version, rule.updated_at) = (rule.version + 1, rule.terms_version + 1, now);
            store::rule::save(&mut tx, &rule).await?;
            timers::begin(&mut tx, &rule).await?;
            tx.publish(publish::adopted(&rule)).await?;
        }
        let response = AdoptAutomationResponse { automation: Some(convert::automation(rule)?) };
        tx.remember(call, &response).await?;
        tx.commit().await?;
        Ok((response, adopts))
    }

    /// Saves a new rule. Returns the response, and whether the rule was saved now: a call that was repeated meanwhile has been.
    async fn save_new(
        &self,
        principal: &Principal,
        call: &Idempotency,
        rule: Rule,
    ) -> Result<(CreateAutomationResponse, bool)> {
        let mut tx = self.db.begin(principal.tenant()).await?;
        if let Some(response) = tx.replay(call).await? {
            return Ok((response, false));
        }
        let per_account = principal.membership.limits.automations.map_or(MAX_RULES_PER_ACCOUNT, i64::from);
        if !store::rule::insert(&mut tx, &rule, MAX_RULES_PER_PERSON, per_account.min(MAX_RULES_PER_ACCOUNT)).await? {
            return Err(Reason::AutomationLimit.into());
        }
        let count = store::rule::lock_count_of_account(&mut tx).await?;
        tx.publish(publish::usage(rule.account_id, count)).await?;
        timers::begin(&mut tx, &rule).await?;
        tx.publish(publish::created(&rule)).await?;
        let warnings = warnings_about(&mut tx, &rule).await?;
        let automation = Automation { warnings, ..convert::automation(rule)? };
        let response = CreateAutomationResponse { automation: Some(automation) };
        tx.remember(call, &response).await?;
        tx.commit().await?;
        Ok((response, true))
    }
}

/// What is surprising about a rule among the enabled ones of its account.
async fn warnings_about(tx: &mut Tx, rule: &Rule) -> Result<Vec<AutomationWarning>> {
    let account_id = rule.account_id;
    let others = store::rule::enabled(tx.connection(), account_id).await?;
    let own: Vec<Uuid> =
        others.iter().filter(|other| other.created_by == rule.created_by).map(|other| other.id).collect();
    let node = |id: Uuid, terms: &Terms| Some(Node { id, definition: terms.definition("").ok()? });
    let Some(saved) = node(rule.id, &rule.terms) else { return Ok(Vec::new()) };
    let others: Vec<Node> =
        others.iter().filter(|other| other.id != rule.id).filter_map(|other| node(other.id, &other.terms)).collect();
    Ok(convert::warnings(warnings::of(&saved, &others), |id| id == rule.id || own.contains(&id)))
}

fn timezone_of_account(principal: &Principal) -> &str {
    &principal.membership.settings.timezone
}
